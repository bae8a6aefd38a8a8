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

# As many as the program takes.
_MAX_THREADS = 1024
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

    In a process that was forked after this package had been used, one thread computes until this
    says otherwise.

    Parameters
    ----------
    threads : int, optional
        How many, at most 1024; by default as many as there are cores.

    Returns
    -------
    int
        How many threads compute. The first call, or the first computation, decides; a call that
        comes too late for its number warns.
    """
    from ._lookalike import set_threads
    from ._parameters import whole
    from ._progress import warn

    if threads is not None:
        threads = whole("threads", threads, 1, most=_MAX_THREADS)
    found = set_threads(threads)
    if threads not in (None, found):
        warn(
            f"threads={threads} comes too late: {found} compute already, since the first call of "
            "set_threads or the first computation; call it before that"
        )
    return found
