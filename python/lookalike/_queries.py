"""What a gallery is asked, as the extension takes it: a tuple of a kind, what it consists of, and a
region."""

from __future__ import annotations

import numbers
import operator
import os
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Union

from ._answers import Point
from ._base import as_codes
from ._inputs import as_array, as_content
from .errors import InputError, QueryError

if TYPE_CHECKING:
    Region = Union[tuple[int, int, int, int], None]
    Asked = tuple[str, Any, Region]
    # Gives the id of the image of a gallery that a name means.
    Find = Callable[[str], Union[str, None]]


def as_query(query: Any, find: Find, region: Sequence[int] | None = None) -> Asked:
    """Recognise a query.

    Parameters
    ----------
    query : str, path, UUID, Point, image, or code
        See `Gallery.search`.
    find : callable
        Gives the id of the image of the gallery that a name means, or None.
    region : (int, int, int, int), optional
        Left, top, width and height in pixels.
    """
    part = _region(region)
    if isinstance(query, Point):
        return "id", query.id, part
    if isinstance(query, uuid.UUID):
        return "id", str(query), part
    if isinstance(query, str) and _is_id(query):
        return "id", query, part
    if isinstance(query, str) and "#" in query and not os.path.exists(query):
        # "SOURCE#KEY" of images that were in memory, which cannot be opened again.
        found = find(query)
        if found is not None:
            return "id", found, part
    if isinstance(query, (str, os.PathLike)):
        return "path", os.fspath(query), part
    query = as_array(query)
    if _is_floats(query, 1) or _is_vector(query):
        return "code", as_codes([query]).tobytes(), part
    if _is_floats(query, 2):
        raise InputError(
            f"a query is one code, a vector of floats, or one image of uint8, and this is an array "
            f"of {query.dtype} of {query.shape[0]} x {query.shape[1]}: pass a row, as in codes[0], "
            "or bring the image to 0 to 255 and convert it, as in "
            "(image * 255).round().astype('uint8')"
        )
    content, shape = as_content(query)
    if shape is not None:
        return "pixels", (content, list(shape)), part
    return ("path" if isinstance(content, str) else "bytes"), content, part


def as_examples(like: Any, unlike: Any, find: Find, *, more: bool = False) -> Asked:
    """A query by examples, or more of them for one that is kept, which may be none."""
    liked, disliked = _several(like), _several(unlike)
    if not (liked or more):
        raise QueryError("a search by examples needs at least one that is liked: like=[...]")
    return (
        "examples",
        tuple([as_query(example, find) for example in some] for some in (liked, disliked)),
        None,
    )


def _several(examples: Any) -> list[Any]:
    if examples is None:
        return []
    is_several = isinstance(examples, (list, tuple)) and not _is_vector(examples)
    return list(examples) if is_several else [examples]


def in_words(query: Any) -> str:
    """What was asked, for people."""
    if isinstance(query, Point):
        return query.key
    if isinstance(query, (str, os.PathLike, uuid.UUID)):
        return str(query)
    return "a code" if _is_floats(query, 1) or _is_vector(query) else "an image"


def _is_vector(query: Any) -> bool:
    """Whether it is a list of numbers, as a code written out."""
    return (
        isinstance(query, (list, tuple))
        and len(query) > 0
        and all(isinstance(value, numbers.Real) for value in query)
    )


def _is_floats(query: Any, dimensions: int) -> bool:
    """Whether it is an array of floats, such as a code, a vector of them."""
    return (
        getattr(query, "ndim", None) == dimensions
        and getattr(query, "dtype", None) is not None
        and query.dtype.kind == "f"
    )


def _is_id(text: str) -> bool:
    if len(text) != 36:
        return False
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _region(region: Sequence[int] | None) -> Region:
    if region is None:
        return None
    try:
        left, top, width, height = (operator.index(number) for number in region)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"region={region!r}: expected left, top, width and height in whole pixels, as in "
            "(10, 20, 100, 80)"
        ) from error
    if min(left, top) < 0 or min(width, height) < 1:
        raise InputError(
            f"region={region!r}: width and height are at least 1, left and top at least 0"
        )
    return left, top, width, height
