"""Find images that look alike, with a network that learns from your own images, without labels.

>>> from lookalike import Encoder, Gallery, Neighbors, datasets

`Encoder` learns from images and turns them into codes, `Neighbors` finds the nearest codes in
memory, `Gallery` keeps them on disk, `datasets` has images to begin with. The first two are
estimators as scikit-learn has them. All errors are of the classes in `lookalike.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors
from ._lookalike import __version__

if TYPE_CHECKING:
    from . import datasets
    from ._encoder import Encoder
    from ._gallery import Gallery
    from ._neighbors import Neighbors

__all__ = ["Encoder", "Gallery", "Neighbors", "__version__", "datasets", "errors", "set_threads"]

# Loaded when they are first asked for, because NumPy takes longer to load than all of this.
_LAZY = {
    "Encoder": "_encoder",
    "Gallery": "_gallery",
    "Neighbors": "_neighbors",
    "datasets": "datasets",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'lookalike' has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f".{_LAZY[name]}", __name__)
    value = module if name == "datasets" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


def set_threads(threads: int | None = None) -> int:
    """Say how many threads compute; to be called before anything is computed.

    Parameters
    ----------
    threads : int, optional
        How many; by default as many as there are cores.

    Returns
    -------
    int
        How many threads compute. The first call, or the first computation, decides.
    """
    from ._lookalike import set_threads

    return set_threads(threads)
