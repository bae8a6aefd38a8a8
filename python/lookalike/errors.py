"""What can go wrong. Every class is a `LookalikeError`, and where Python has a word for it, that
too.

>>> from lookalike import Gallery
>>> try:
...     Gallery.open("no-such.gallery")
... except FileNotFoundError as error:
...     print(type(error).__name__)
GalleryNotFoundError
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "FileError",
    "GalleryClosedError",
    "GalleryError",
    "GalleryExistsError",
    "GalleryFileError",
    "GalleryInUseError",
    "GalleryMismatchError",
    "GalleryNotFoundError",
    "GalleryReadOnlyError",
    "ImageError",
    "InputError",
    "LookalikeError",
    "LookalikeWarning",
    "MissingPackageError",
    "ModelError",
    "ModelNotFoundError",
    "NoSuchImageError",
    "NotFittedError",
    "ParameterError",
    "QueryError",
    "SourceError",
    "SourceNotFoundError",
    "TrainingError",
]


class LookalikeError(Exception):
    """Anything that this package raises by itself."""


class LookalikeWarning(UserWarning):
    """Something that works, and probably not as was meant."""


class FileError(LookalikeError, OSError):
    """A file that cannot be read or written, or a disk that is full."""


class InputError(LookalikeError, ValueError, TypeError):
    """What was passed cannot be used as images: floats, ragged lists, nothing at all."""


class ParameterError(LookalikeError, ValueError):
    """A parameter that cannot work; the message says which would."""


class SourceError(LookalikeError, ValueError):
    """A source of images that cannot be opened or read, or images that cannot be learned from."""


class SourceNotFoundError(SourceError, FileNotFoundError):
    """There is no source of that name."""


class ImageError(LookalikeError, ValueError):
    """An image that cannot be read or decoded."""


class TrainingError(LookalikeError, RuntimeError):
    """Training failed because the loss diverged."""


class CheckpointError(LookalikeError, ValueError):
    """A checkpoint of another run."""


class ModelError(LookalikeError, ValueError):
    """A model file that cannot be used, or an encoder that cannot do what was asked."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no model file."""


class NotFittedError(LookalikeError, ValueError, AttributeError):
    """An estimator was used before `fit`. Where scikit-learn is loaded, it is its class too."""


class GalleryError(LookalikeError):
    """A gallery that cannot be opened, changed or searched."""


class GalleryNotFoundError(GalleryError, FileNotFoundError):
    """There is no gallery."""


class GalleryExistsError(GalleryError, FileExistsError):
    """Something is already where a gallery was to be made."""


class GalleryInUseError(GalleryError, BlockingIOError):
    """Another process, or another object of this one, has the gallery open."""


class GalleryReadOnlyError(GalleryError, PermissionError):
    """The gallery was to be changed, and can only be read."""


class GalleryFileError(GalleryError, FileError):
    """A file of a gallery that cannot be read or written, or a disk that is full."""


class GalleryMismatchError(GalleryError, ValueError):
    """The gallery was made for another encoder."""


class GalleryClosedError(GalleryError, ValueError):
    """The gallery was closed."""


class NoSuchImageError(GalleryError, KeyError):
    """The gallery has no such image."""

    def __str__(self) -> str:
        # `KeyError` would show the message in quotes.
        return str(self.args[0]) if self.args else ""


class QueryError(LookalikeError, ValueError):
    """What was searched with, or how, cannot be answered."""


class MissingPackageError(LookalikeError, ImportError):
    """Another package is needed for this, and is not installed."""
