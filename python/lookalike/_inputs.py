"""Whatever a caller has as images, as the extension takes it: the name of a source, or batches.

A batch is a tuple of keys, labels, content and shape. With a shape, the content is the pixels of
all its images one after another, as `bytes`; without, it is a list of paths (`str`) and files
(`bytes`).
"""

from __future__ import annotations

import itertools
import math
import numbers
import operator
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Union

from .errors import ImageError, InputError, MissingPackageError, ParameterError

if TYPE_CHECKING:
    import numpy as np

    Batch = tuple[
        list[str],
        list[Union[str, None]],
        Union[bytes, list[Union[str, bytes]]],
        Union[tuple[int, int, int], None],
    ]
    # A path, a picture file's bytes, or pixels with their height, width and channels.
    Content = tuple[Union[str, bytes], Union[tuple[int, int, int], None]]
    # Height, width and channels of pixels; empty for what is no pixels; None if nobody knows yet.
    Shape = Union[tuple[int, ...], None]

# Bytes of pixels, and images, that a batch has at most; and images of a batch that come one by one.
_BATCH_BYTES = 8 << 20
_BATCH_IMAGES = 1024
_BATCH_ITEMS = 16
# Images of an iterator that are kept, to look at them before all are read. The library looks at 64,
# the last of which may be the first of a batch.
_HEAD = 64 + _BATCH_ITEMS


class Batches:
    """Images that are given in batches, as often as they are asked for.

    Parameters
    ----------
    name : str
        The source's name.
    length : int or None
        How many images there are, if that is known.
    make : callable
        Begins anew with the first and gives batches without labels, whose keys are numbers.
    keys, labels : sequence, optional
        Other keys, and labels.
    shapes : callable, optional
        Gives the shapes of the images as far as they can be told without reading them.
    """

    def __init__(
        self,
        name: str,
        length: int | None,
        make: Callable[[], Iterator[tuple[int, Any, tuple[int, int, int] | None]]],
        *,
        one_shot: bool = False,
        keys: Sequence[str] | None = None,
        labels: Sequence[Any] | None = None,
        features: int | None = None,
        shapes: Callable[[], Iterable[Shape]] = tuple,
    ) -> None:
        self.name = name
        self.length = length
        self.one_shot = one_shot
        self.features = features
        self._make = make
        self._shapes = shapes
        # By position, whatever the index of a pandas Series says.
        self._keys = _listed("keys", keys)
        self._labels = _listed("labels", labels)
        if length is not None:
            self._check_count(length)

    def batches(self) -> Iterator[Batch]:
        """All images, in order."""
        at = 0
        for count, content, shape in self._make():
            numbers = range(at, at + count)
            at += count
            self._check_count(at, at_least=True)
            if self._keys is None:
                keys = [str(number) for number in numbers]
            else:
                keys = [str(self._keys[number]) for number in numbers]
            labels: list[str | None] = [None] * count
            if self._labels is not None:
                labels = [label_of(self._labels[number]) for number in numbers]
            yield keys, labels, content, shape
        self._check_count(at)

    def may_have_shape(self, shape: tuple[int, int, int]) -> bool:
        """Whether all images may be pixels of this shape, as far as can be told without reading
        them."""
        return all(known is None or known == shape for known in self._shapes())

    def _check_count(self, images: int, at_least: bool = False) -> None:
        for what, values in (("keys", self._keys), ("labels", self._labels)):
            if values is None or len(values) == images or (at_least and len(values) > images):
                continue
            raise InputError(
                f"{len(values)} {what} for {images} images{' or more' if at_least else ''}: give one for each image"
            )


def label_of(value: Any) -> str | None:
    """A label as text; None where there is none, which pandas writes as NaN, NaT or NA. It makes
    floats of whole numbers beside a NaN, which are whole numbers again here."""
    if value is None or type(value).__name__ == "NAType" or value != value:
        return None
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        number = float(value)
        return str(int(number)) if number.is_integer() else str(value)
    return str(value)


def _listed(what: str, values: Any) -> list[Any] | None:
    """Keys or labels as a list."""
    if values is None:
        return None
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InputError(
            f"{what}={values!r}: expected a list with one for each image, not "
            f"{type(values).__name__}"
        )
    return list(values)


def _check_unique(keys: Iterable[Any]) -> None:
    """Refuse keys that are there twice: the later image would take the place of the earlier."""
    seen: set[str] = set()
    for key in map(str, keys):
        if key in seen:
            raise ParameterError(
                f"keys: {key!r} is the key of two images, of which one would take the other's "
                "place: give each a key of its own"
            )
        seen.add(key)


def as_input(
    images: Any,
    *,
    name: str | None = None,
    keys: Sequence[str] | None = None,
    labels: Sequence[Any] | None = None,
    image_shape: tuple[int, ...] | None = None,
    paths_as_keys: bool = False,
) -> str | Batches:
    """Recognise images.

    Parameters
    ----------
    images : str, path, sequence, array, tensor, dataset or iterable
        See `Encoder.fit`.
    name : str, optional
        What the source is called, if it has no name of its own.
    keys, labels : sequence, optional
        For each image a key and a label; not for a source that has its own.
    image_shape : tuple, optional
        Height, width and perhaps channels of the images in the rows of a 2-D array.
    paths_as_keys : bool
        Whether the keys of files are their absolute paths, and not their numbers.
    """
    if isinstance(images, (str, os.PathLike)):
        if keys is not None or labels is not None:
            raise InputError("a source has keys and labels of its own: leave keys and labels out")
        return os.fspath(images)
    keys = _listed("keys", keys)
    _check_unique(keys or ())
    given = {"keys": keys, "labels": labels}
    name = name or "memory"
    images = _plain(images, image_shape)
    if _is_array(images):
        return _of_array(images, name, image_shape, given)
    if isinstance(images, dict):
        raise InputError(_advice_on(images))
    if isinstance(images, (bytes, bytearray)) or _is_picture(images):
        raise InputError(
            f"one image is no collection: put the {type(images).__name__} into a list, [image]"
        )
    if isinstance(images, Sequence) or (
        hasattr(images, "__len__") and hasattr(images, "__getitem__")
    ):
        return _of_sequence(images, name, paths_as_keys, given)
    if isinstance(images, Iterable):
        return _of_iterator(iter(images), name, given)
    raise InputError(
        f"{type(images).__name__} is no images: pass a folder or another source, a list of paths or PIL images, or an "
        "array of uint8, n x height x width or n x height x width x channels"
    )


def _advice_on(images: dict[str, Any]) -> str:
    """What to pass instead of a dict."""
    names = ", ".join(map(str, images))
    values = images.values()
    if any(hasattr(value, "cast_column") for value in values):
        split = next(iter(images))
        return f"this is several data sets ({names}): pass one of them, as in images[{split!r}]"
    if images and all(isinstance(value, Sequence) for value in values):
        column = next((name for name in images if "image" in str(name)), next(iter(images)))
        if "bytes" not in images and "path" not in images:
            return (
                f"this is a batch of columns ({names}): pass the one that has the images, as in "
                f"images[{column!r}]"
            )
    return "one image is no collection: put the dict into a list, [image]"


def _plain(images: Any, image_shape: tuple[int, ...] | None) -> Any:
    """Arrays of other packages as NumPy's, where they lie; columns of data sets as they are
    read."""
    images = as_array(images)
    if hasattr(images, "toarray"):
        raise InputError(
            "a sparse matrix is no images: pass images.toarray(), as uint8, and say "
            "image_shape=(height, width)"
        )
    if _is_array(images) and (images.dtype == object or images.dtype.kind == "U"):
        return list(images)
    if hasattr(images, "features") and hasattr(images, "cast_column"):
        return _image_column(images)
    if type(images).__module__.split(".")[0] == "pandas":
        if hasattr(images, "tolist"):
            return images.tolist()
        if image_shape is None:
            raise InputError(
                "a pandas DataFrame is no images: pass the column that has them, frame['image'], or say "
                "image_shape=(height, width) where its rows are pixels"
            )
        return images.to_numpy()
    return images


def check_read_twice(
    images: Any, instead: str = "use fit and transform with an iterator each"
) -> None:
    """Refuse what can be read only once, where it is to be learned from and encoded."""
    if hasattr(images, "__next__") or (isinstance(images, Batches) and images.one_shot):
        raise InputError(
            "an iterator can be read once, and is read twice here: pass a list, or " + instead
        )


def from_dlpack(tensor: Any) -> np.ndarray:
    """The tensor of another package as an array of NumPy, without a copy."""
    import numpy as np

    try:
        return np.from_dlpack(tensor)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"cannot read the {type(tensor).__name__} through DLPack: {error}. Move it to the CPU (`.cpu()`) and detach it "
            "(`.detach()`)"
        ) from error


def as_array(values: Any) -> Any:
    """What others keep in memory as an array of NumPy, where it lies; all else as it is."""
    if _is_array(values) or _is_picture(values):
        return values
    if hasattr(values, "__dlpack__"):
        return from_dlpack(values)
    # What can be counted may read a file for each image that is taken from it.
    if isinstance(values, memoryview) or (
        hasattr(values, "__array__") and not hasattr(values, "__len__")
    ):
        import numpy as np

        return np.asarray(values)
    return values


def _is_array(images: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(images, numpy.ndarray)


def _is_picture(image: Any) -> bool:
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(image, pil.Image)


def _image_column(dataset: Any) -> Any:
    """The only column of pictures of a Hugging Face data set: as files and not decoded, unless a
    transform is to see them."""
    columns = [
        name
        for name, feature in (dataset.features or {}).items()
        if type(feature).__name__ == "Image"
    ]
    if len(columns) != 1:
        found = ", ".join(columns) or "none"
        raise InputError(
            f"the data set should have one column of images, and has {found}: pass dataset['column']"
        )
    if (getattr(dataset, "format", None) or {}).get("type") == "custom":
        return _Transformed(dataset, columns[0])
    from datasets import Image

    cast = dataset.cast_column(columns[0], Image(decode=False))
    return cast[columns[0]] if hasattr(cast, "__len__") else (row[columns[0]] for row in cast)


class _Transformed:
    """A column of a Hugging Face data set as its transform (`set_transform`) gives it."""

    def __init__(self, dataset: Any, column: str) -> None:
        self._dataset = dataset
        self._column = column

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, at: int) -> Any:
        row = self._dataset[at]
        if self._column not in row:
            raise InputError(
                f"the transform of the data set leaves no column {self._column!r}, but "
                f"{', '.join(row)}: pass the images that it makes, as in "
                "[row['pixels'] for row in dataset]"
            )
        return row[self._column]


def _check_dtype(array: np.ndarray) -> None:
    kind = array.dtype.kind
    if array.dtype == "uint8":
        return
    if kind == "f":
        advice = (
            "bring them to 0 to 255 and convert them, as in (images * 255).round().astype('uint8')"
        )
    elif kind == "b":
        advice = "convert them, as in images.astype('uint8') * 255"
    elif array.dtype == "uint16":
        advice = "keep their upper 8 bits, as in (images >> 8).astype('uint8')"
    elif kind in "iu":
        advice = "bring them to 0 to 255 and convert them; astype alone would wrap what is beyond"
    else:
        advice = "make real numbers from 0 to 255 of them"
    raise InputError(f"images are arrays of uint8, 0 to 255, and these are {array.dtype}: {advice}")


def _image_size(shape: tuple[int, ...], what: str) -> tuple[int, int, int]:
    """Height, width and channels of one image of this shape."""
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3:
        raise InputError(
            f"{what} has {len(shape)} dimensions: an image has a height, a width and perhaps channels"
        )
    height, width, channels = shape
    if channels not in (1, 3):
        advice = "images have 1 channel (grey) or 3 (red, green, blue), in the last dimension"
        if height in (1, 3):
            advice += "; these seem to have them first, so move them, as in numpy.moveaxis(images, -3, -1) or images.permute(0, 2, 3, 1)"
        elif channels == 4:
            advice += "; leave the fourth out, as in images[..., :3]"
        raise InputError(f"{what} has {channels} channels: {advice}")
    if height == 0 or width == 0:
        raise InputError(f"{what} is {height} x {width} pixels: an image has at least one")
    return height, width, channels


def _of_array(
    array: np.ndarray, name: str, image_shape: tuple[int, ...] | None, given: dict[str, Any]
) -> Batches:
    features = None
    if array.ndim == 2 and image_shape is not None:
        values = _pixels_of(image_shape)
        if array.shape[1] != values:
            raise InputError(
                f"rows of {array.shape[1]} values are no images of image_shape={image_shape}, which have {values}"
            )
        features = values
        array = array.reshape(len(array), *image_shape)
    if array.ndim not in (3, 4):
        advice = (
            "for images in rows, say image_shape=(height, width)"
            if array.ndim == 2
            else "put one image into a list, [image]"
        )
        raise InputError(
            f"an array of {array.ndim} dimensions is no images, which are n x height x width (x channels): {advice}"
        )
    if len(array) == 0:
        raise InputError("there are no images: the array is empty")
    _check_dtype(array)
    shape = _image_size(array.shape[1:], "each image")
    height, width, channels = shape
    step = max(1, min(_BATCH_IMAGES, _BATCH_BYTES // (height * width * channels)))

    def make() -> Iterator[tuple[int, bytes, tuple[int, int, int]]]:
        for at in range(0, len(array), step):
            part = array[at : at + step]
            yield len(part), part.tobytes(), shape

    return Batches(name, len(array), make, features=features, shapes=lambda: [shape], **given)


def _pixels_of(image_shape: Any) -> int:
    """How many values a row of a 2-D array has, which is an image of this shape."""
    try:
        values = math.prod(operator.index(side) for side in image_shape)
    except TypeError:
        values = 0
    if values < 1:
        raise ParameterError(
            f"image_shape={image_shape!r}: expected a height, a width and perhaps channels, as in "
            "(28, 28)"
        )
    return values


def _of_sequence(images: Any, name: str, paths_as_keys: bool, given: dict[str, Any]) -> Batches:
    length = len(images)
    if length == 0:
        raise InputError("there are no images: the list is empty")
    if (
        paths_as_keys
        and given["keys"] is None
        and all(isinstance(image, (str, os.PathLike)) for image in images)
    ):
        given = {**given, "keys": [os.path.abspath(os.fspath(path)) for path in images]}
    # Other sequences may read a file for each image that is taken from them.
    known = images if isinstance(images, (list, tuple)) else ()
    return Batches(
        name,
        length,
        lambda: _grouped(iter(images)),
        shapes=lambda: map(_shape_of, known),
        **given,
    )


def _of_iterator(images: Iterator[Any], name: str, given: dict[str, Any]) -> Batches:
    """Images that come once. The first are kept, so that they can be looked at before all are
    read, and let go as soon as more are."""
    head: list[Content] = []
    read = 0

    def contents() -> Iterator[Content]:
        nonlocal read
        for at in range(read):
            if at >= len(head):
                raise InputError(
                    "these images come from an iterator, which was read already: pass a list, or a "
                    "new iterator"
                )
            yield head[at]
        for image in images:
            read += 1
            content = as_content(image)
            if read <= _HEAD:
                head.append(content)
            else:
                head.clear()
            yield content

    def make() -> Iterator[tuple[int, Any, tuple[int, int, int] | None]]:
        return _groups(contents())

    try:
        first = next(images)
    except StopIteration:
        raise InputError("there are no images: the iterator is empty") from None
    images = itertools.chain([first], images)
    return Batches(name, None, make, one_shot=True, **given)


def _grouped(images: Iterator[Any]) -> Iterator[tuple[int, Any, tuple[int, int, int] | None]]:
    return _groups(as_content(image) for image in images)


def _groups(contents: Iterator[Content]) -> Iterator[tuple[int, Any, tuple[int, int, int] | None]]:
    """Batches of images of one shape each, or of files."""
    group: list[Any] = []
    shape: tuple[int, int, int] | None = None
    size = 0
    for content, own in contents:
        if group and (own != shape or len(group) == _BATCH_ITEMS or size > _BATCH_BYTES):
            yield len(group), group if shape is None else b"".join(group), shape
            group, size = [], 0
        group.append(content)
        size += len(content)
        shape = own
    if group:
        yield len(group), group if shape is None else b"".join(group), shape


def as_content(image: Any) -> Content:
    """One image: the path or the bytes of its file, or its pixels with their shape."""
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image), None
    if isinstance(image, (bytes, bytearray)) or (isinstance(image, memoryview) and image.ndim == 1):
        return bytes(image), None
    if isinstance(image, dict):
        return _of_hugging_face(image)
    if image is None:
        raise InputError("None is no image: leave out rows without one")
    if _is_picture(image):
        return _of_picture(image)
    image = as_array(image)
    if isinstance(image, (list, tuple)):
        image = _of_nested(image)
    if _is_array(image):
        _check_dtype(image)
        shape = _image_size(image.shape, "an image")
        return image.tobytes(), shape
    raise InputError(
        f"{type(image).__name__} is no image: pass paths, PIL images, arrays of uint8 or the bytes of picture files"
    )


def _shape_of(image: Any) -> Shape:
    """The shape of an image as `as_content` will give it."""
    if _is_array(image):
        return (*image.shape, 1) if image.ndim == 2 else tuple(image.shape)
    if _is_picture(image):
        # That of a picture with a note that it is to be turned is seen when it is turned.
        channels = {"L": 1, "RGB": 3}.get(image.mode)
        return None if channels is None else (image.height, image.width, channels)
    return () if isinstance(image, (str, os.PathLike, bytes, bytearray, dict)) else None


def _of_nested(rows: Any) -> np.ndarray:
    import numpy as np

    try:
        array = np.asarray(rows)
    except ValueError as error:
        raise InputError(f"a list of rows of different lengths is no image: {error}") from error
    if array.dtype.kind in "iu" and array.size and 0 <= array.min() and array.max() <= 255:
        return array.astype(np.uint8)
    return array


def _of_hugging_face(image: dict[str, Any]) -> Content:
    """A picture of a data set that was not decoded."""
    if image.get("bytes") is not None:
        return bytes(image["bytes"]), None
    if image.get("path") is not None:
        return os.fspath(image["path"]), None
    raise InputError(
        "a dict is an image where it has 'bytes' or 'path', as Hugging Face data sets have it"
    )


def _of_picture(image: Any) -> Content:
    """A PIL image: upright; pixels where they are grey or RGB, and otherwise a PNG file, so that
    what is transparent or has 16 bits is read as in files."""
    from PIL import ImageOps

    try:
        upright = ImageOps.exif_transpose(image)
        return _of_upright(image if upright is None else upright)
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        name = getattr(image, "filename", "") or "a PIL image"
        raise ImageError(
            f"cannot read {name}: {error}; its file may be damaged, or closed before it was read"
        ) from error


# What a PIL image is converted to before it is written as a PNG file.
_PNG_MODES = {"PA": "RGBA", "La": "LA", "RGBa": "RGBA", "I;16B": "I;16", "I;16L": "I;16"}


def _of_upright(image: Any) -> Content:
    import io

    import numpy as np

    if image.mode in ("L", "RGB"):
        pixels = np.asarray(image)
        return pixels.tobytes(), _image_size(pixels.shape, "a PIL image")
    if image.mode == "F":
        raise InputError(
            "a PIL image of floats (mode F) is no image of 0 to 255: convert it, as in image.convert('L')"
        )
    if image.mode == "I":
        image = _of_16_bits(image)
    if image.mode == "LAB":
        image = _of_lab(image)
    if image.mode in ("1", "P", "LA", "RGBA", "I;16", *_PNG_MODES):
        if image.mode in _PNG_MODES:
            image = image.convert(_PNG_MODES[image.mode])
        file = io.BytesIO()
        image.save(file, "PNG")
        return file.getvalue(), None
    return _of_upright(image.convert("RGB"))


def _of_16_bits(image: Any) -> Any:
    """A PIL image of 32 bits as one of 16, which PIL has made it of where it was a PNG file."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise InputError(
            f"a PIL image of mode I is read as one of 16 bits, 0 to 65535, and this one has "
            f"{values.min()} to {values.max()}: bring it to that range"
        )
    return Image.fromarray(values.astype(np.uint16))


def _of_lab(image: Any) -> Any:
    """A PIL image of L*a*b* as RGB, to which PIL itself does not convert it."""
    from PIL import ImageCms

    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "LAB", "RGB"))


def need(package: str, what: str) -> Any:
    """Another package, or the error that says how it is installed."""
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError as error:
        root = {"sklearn": "scikit-learn"}.get(package.split(".")[0], package.split(".")[0])
        raise MissingPackageError(f"{what} needs the package {root}: pip install {root}") from error
