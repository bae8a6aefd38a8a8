"""How far long work is: a bar where somebody looks, calls after each epoch, and lines in the
log."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from .errors import LookalikeWarning

logger = logging.getLogger("lookalike")


class Observer:
    """Hears of long work from the extension.

    Parameters
    ----------
    progress : bool or None
        Whether to show a bar; None: on a terminal and in notebooks. Without the package tqdm there
        is none.
    callbacks : iterable of callable, optional
        Each is called after every epoch with a dict of `epoch` (from 1), `loss` and `seconds`.
    """

    def __init__(
        self,
        progress: bool | None = None,
        callbacks: Iterable[Callable[[dict[str, Any]], Any]] | None = None,
    ) -> None:
        if progress is None:
            progress = _in_notebook() or (sys.stderr is not None and sys.stderr.isatty())
        self._shows = bool(progress)
        self._callbacks = tuple(callbacks or ())
        self._bar: Any = None
        # What the bar counts.
        self._what = ""
        self.history: list[dict[str, Any]] = []

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.close()

    def _show(self, what: str, done: int, total: int | None, **about: Any) -> None:
        if not self._shows:
            return
        if self._bar is not None and total is None and self._bar.total and what != self._what:
            # Beside what the bar counts, as what was stored beside what was gone through.
            self._bar.set_postfix({what: done}, refresh=False)
            return
        if self._bar is None or what != self._what:
            if self._bar is not None:
                self._bar.close()
            self._what = what
            self._bar = _bar(what, total)
            if self._bar is None:
                self._shows = False
                return
        self._bar.total = total
        if about:
            self._bar.set_postfix(about, refresh=False)
        self._bar.update(done - self._bar.n)

    def progress(self, phase: str, done: int, total: int | None) -> None:
        self._show(phase, done, total)

    def step(self, done: int, total: int | None, about: dict[str, Any]) -> None:
        epoch = f"{about['epoch']}/{about['epochs']}"
        rate = f"{about['images_per_second']:.0f}/s"
        self._show("training", done, total, epoch=epoch, loss=f"{about['loss']:.5f}", images=rate)

    def epoch(self, number: int, loss: float, seconds: float) -> None:
        about = {"epoch": number, "loss": loss, "seconds": seconds}
        self.history.append(about)
        logger.info("epoch %d: loss %.5f, %.1f s", number, loss, seconds)
        for callback in self._callbacks:
            callback(dict(about))

    def note(self, message: str) -> None:
        logger.info("%s", message)


def warn(message: str) -> None:
    """Give a `LookalikeWarning` at the line that called the package, however deep the package calls
    itself."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _is_own(frame.f_globals.get("__name__")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, LookalikeWarning, stacklevel=level)


def _is_own(module: Any) -> bool:
    return isinstance(module, str) and module.split(".")[0] == __name__.split(".")[0]


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


def _bar(what: str, total: int | None) -> Any:
    try:
        with warnings.catch_warnings():
            # That notebooks' own bars are not installed; there is a plain one then.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(desc=what, total=total, leave=False, mininterval=0)
