"""Images in memory: MNIST, and those of any source.

>>> from lookalike import datasets
>>> digits = datasets.load_mnist("test", limit=100)
>>> digits.images.shape, digits.target[:5].tolist()
((100, 28, 28), [7, 2, 1, 0, 4])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ._inputs import as_input
from ._lookalike import load_images as _load_images
from ._parameters import sides, whole
from .errors import ParameterError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Images", "load_images", "load_mnist"]


class Images(NamedTuple):
    """Images of one shape."""

    images: np.ndarray
    """uint8, shape (n_images, height, width), or (n_images, height, width, 3) of colour images."""
    target: np.ndarray
    """Labels: int64 if all are whole numbers, else str objects; None where there is none."""
    keys: list[str]
    """The key of each image: its path within the source, or its number."""

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.images.shape))
        return f"Images of {shape}, uint8: images, target, keys"


def load_mnist(split: str = "train", *, limit: int | None = None, return_X_y: bool = False) -> Any:
    """Handwritten digits, from this machine, or downloaded once.

    Parameters
    ----------
    split : {"train", "test"}
        60,000 images, or 10,000.
    limit : int, optional
        Only the first so many.
    return_X_y : bool
        Give the images and their labels alone.

    Returns
    -------
    Images
        Of 28 x 28 pixels, or the tuple of `images` and `target`.
    """
    if split not in ("train", "test"):
        raise ParameterError(f"unknown part {split!r} of MNIST: expected train or test")
    found = load_images(f"mnist:{split}", limit=limit)
    return (found.images, found.target) if return_X_y else found


def load_images(
    source: Any,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    limit: int | None = None,
    image_shape: tuple[int, ...] | None = None,
) -> Images:
    """Images of any source, brought to one shape.

    Parameters
    ----------
    source : images
        As for `Encoder.fit`.
    size : (int, int), optional
        Height and width in pixels; by default those of the first image.
    channels : {1, 3}, optional
        With `size` only: grey, or colour (the default).
    limit : int, optional
        Only the first so many.
    image_shape : tuple of int, optional
        As for `Encoder`.

    Returns
    -------
    Images
    """
    import numpy as np

    if channels not in (None, 1, 3):
        raise ParameterError(f"channels={channels}: expected 1 (grey) or 3 (colour)")
    if limit is not None:
        limit = whole("limit", limit, 1)
    sized = sides("size", size)
    if sized is None and channels is not None:
        raise ParameterError("channels goes with size: give both")
    shape = None if sized is None else [*sized, channels or 3]
    given = as_input(source, image_shape=image_shape)
    pixels, (height, width, count), keys, labels = _load_images(given, shape, limit)
    own = (height, width) if count == 1 else (height, width, count)
    return Images(np.frombuffer(pixels, np.uint8).reshape(len(keys), *own), _target(labels), keys)


def _target(labels: list[str | None]) -> np.ndarray:
    import numpy as np

    if labels and all(
        label is not None and label.isascii() and label.isdigit() and len(label) < 19
        for label in labels
    ):
        return np.array([int(label) for label in labels if label is not None], np.int64)
    return np.array(labels, dtype=object)
