"""How a model encodes images: any images, or all at once those of its own shape."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ._inputs import Batches
from ._lookalike import Model, room_for_floats
from ._progress import Observer, warn
from .errors import ImageError, InputError, SourceError

if TYPE_CHECKING:
    import numpy as np

# Seconds between two reports of progress, as the extension makes them.
_PAUSE = 0.1


class Codes(NamedTuple):
    """Codes and what they are of."""

    codes: np.ndarray
    """float32, shape (n_images, n_features_out_)."""
    keys: list[str]
    """The key of each image: its path within a source, or its number."""
    labels: list[str | None]
    """The label of each image, where its source says one. Nothing learns from it."""

    def __repr__(self) -> str:
        count, dims = self.codes.shape
        return f"Codes of {count} images, {dims} numbers each: codes, keys, labels"


def encode(model: Model, images: str | Batches, progress: bool | None) -> Codes:
    """Encode images, and say which they are."""
    import numpy as np

    with Observer(progress) as observer:
        fitting = _encode_fitting(model, images, observer)
        if fitting is not None:
            return fitting
        values, keys, labels, skipped = model.encode(images, observer)
    codes = np.frombuffer(values, np.float32).reshape(len(keys), model.dims)
    if skipped is not None:
        count, why = skipped
        if isinstance(images, Batches):
            raise ImageError(f"{count} of the images cannot be read; the first, {why}")
        warn(f"{count} images were passed over; the first, {why}")
    if not keys:
        raise SourceError(f"there are no images to encode: {images} holds none that can be read")
    return Codes(codes, keys, labels)


def _encode_fitting(model: Model, images: str | Batches, observer: Observer) -> Codes | None:
    """Codes of images that are of the network's own shape, all at once; None if they may be of
    others."""
    import numpy as np

    if not isinstance(images, Batches) or images.one_shot or images.length is None:
        return None
    if model.path is not None or not images.may_have_shape(model.shape):
        return None
    first = next(images.batches(), None)
    if first is None or first[3] != model.shape:
        return None
    values = room_for_floats(images.length * model.dims)
    keys: list[str] = []
    labels: list[str | None] = []
    told = time.monotonic()
    for some, named, content, shape in images.batches():
        if shape != model.shape or not isinstance(content, bytes):
            return None
        offset = 4 * len(keys) * model.dims
        model.encode_fitting(content, values, offset)
        keys += some
        labels += named
        if time.monotonic() - told >= _PAUSE or len(keys) == images.length:
            observer.progress("encoding", len(keys), images.length)
            told = time.monotonic()
    if len(keys) != images.length:
        raise InputError(
            f"{images.length} images were announced and {len(keys)} given: `len` and what is "
            "iterated over should agree"
        )
    codes = np.frombuffer(values, np.float32).reshape(len(keys), model.dims)
    return Codes(codes, keys, labels)


def image_column(batch: dict[str, list[Any]]) -> str:
    """The first column of a batch of a Hugging Face data set that has images."""
    for name, values in batch.items():
        if len(values) and _is_image(values[0]):
            return name
    raise InputError(
        f"none of the columns {', '.join(batch)} has images: say which, as in "
        "functools.partial(encoder.embed, column='image')"
    )


def _is_image(value: Any) -> bool:
    import numpy as np

    if isinstance(value, dict):
        return "bytes" in value or "path" in value
    if isinstance(value, np.ndarray):
        return value.ndim in (2, 3) and value.dtype == np.uint8
    return type(value).__module__.startswith("PIL.") or isinstance(value, bytes)
