"""Numbers and options that a caller passed, checked by name and as the extension takes them."""

from __future__ import annotations

import json
import math
import numbers
import os
from typing import Any

from .errors import LookalikeError, ParameterError

# What the library calls options that have other names here.
_NAMES = {"batch": "batch_size", "filter": "where", "fit": "resize"}


def whole(
    name: str, value: Any, least: int = 0, error: type[LookalikeError] = ParameterError
) -> int:
    """A whole number, of Python or of NumPy."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise error(f"{name}={value!r}: expected a whole number of at least {least}")
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


def sides(name: str, value: Any) -> tuple[int, int] | None:
    """Height and width in pixels, or None."""
    if value is None:
        return None
    try:
        height, width = (whole(name, side, 1) for side in value)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"{name}={value!r}: expected a height and a width in pixels, as in (64, 64)"
        ) from error
    return height, width


def file_path(name: str, value: Any, expected: str = "a path") -> str:
    """The absolute path of a file or folder."""
    if not isinstance(value, (str, os.PathLike)):
        raise ParameterError(f"{name}={value!r}: expected {expected}")
    return os.path.abspath(os.fspath(value))


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
    shown = f"{_NAMES.get(name, name)}={value!r}"
    if isinstance(value, float) and not math.isfinite(value):
        raise ParameterError(f"{shown}: expected a finite number")
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise ParameterError(f"{shown}: expected a number or text, not {type(value).__name__}")
