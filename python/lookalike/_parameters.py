"""Numbers and options that a caller passed, checked by name and as the extension takes them."""

from __future__ import annotations

import json
import math
import numbers
import os
from typing import Any

from .errors import LookalikeError, ParameterError

# What the library calls options that have other names here.
_NAMES = {
    "batch": "batch_size",
    "filter": "where",
    "fit": "resize",
    "strength": "augmentation_strength",
}
# Sides of images in pixels that the library has at most, and those that networks take.
_MAX_SIDE = 65_535
NETWORK_SIDES = (8, 1024)


def name_of(option: str) -> str:
    """What an option of the library is called here."""
    return _NAMES.get(option, option)


def whole(
    name: str,
    value: Any,
    least: int = 0,
    error: type[LookalikeError] = ParameterError,
    most: float = math.inf,
) -> int:
    """A whole number, of Python or of NumPy."""
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or not least <= value <= most:
        bounds = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
        raise error(f"{name}={value!r}: expected a whole number {bounds}")
    return int(value)


def real(name: str, value: Any, error: type[LookalikeError] = ParameterError) -> float:
    """A number that is not NaN, of Python or of NumPy."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or math.isnan(value):
        raise error(f"{name}={value!r}: expected a number")
    return float(value)


def upto(most: float, name: str, value: Any) -> float | None:
    """A number from 0 to `most`, of Python or of NumPy, or None."""
    if value is None:
        return None
    number = real(name, value)
    if not 0 <= number <= most:
        raise ParameterError(f"{name}={value!r}: expected a number from 0 to {most}")
    return number


def sides(
    name: str, value: Any, bounds: tuple[int, int] = (1, _MAX_SIDE)
) -> tuple[int, int] | None:
    """Height and width in pixels within these bounds, or None."""
    if value is None:
        return None
    least, most = bounds
    try:
        height, width = (whole(name, side, least, most=most) for side in value)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"{name}={value!r}: expected a height and a width of {least} to {most} pixels, as in "
            "(64, 64)"
        ) from error
    return height, width


def location(name: str, value: Any, expected: str = "a path") -> str:
    """A path or an address, as it was written."""
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        if isinstance(path, str):
            return path
    raise ParameterError(f"{name}={value!r}: expected {expected}, not {type(value).__name__}")


def file_path(name: str, value: Any, expected: str = "a path") -> str:
    """The absolute path of a file or folder."""
    return os.path.abspath(location(name, value, expected))


def string(name: str, value: Any, expected: str = "text") -> str:
    """A text."""
    if not isinstance(value, str):
        raise ParameterError(f"{name}={value!r}: expected {expected}, not {type(value).__name__}")
    return value


def filter_of(where: Any) -> str | None:
    """A filter, or None."""
    return None if where is None else string("where", where, "a filter such as 'label=3', or None")


def word(value: Any) -> str:
    """One of several words, of which the library says which there are where it knows none such."""
    return value if isinstance(value, str) else repr(value)


def word_or_none(value: Any) -> str | None:
    """As `word`, where None means what suits."""
    return None if value is None else word(value)


def choice(name: str, value: Any) -> bool | None:
    """True, False or None; of Python or of NumPy."""
    found = value.item() if getattr(value, "shape", None) == () else value
    if found is None or isinstance(found, bool):
        return found
    raise ParameterError(f"{name}={value!r}: expected True, False or None")


def as_json(options: dict[str, Any]) -> str:
    """Options as the extension reads them, NumPy's numbers as Python's own."""
    return json.dumps(_plain("options", options))


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(key, inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(name, inner) for inner in value]
    if getattr(value, "shape", None) == ():
        value = value.item()
    shown = f"{name_of(name)}={value!r}"
    if isinstance(value, float) and not math.isfinite(value):
        raise ParameterError(f"{shown}: expected a finite number")
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise ParameterError(f"{shown}: expected a number or text, not {type(value).__name__}")
