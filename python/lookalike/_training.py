"""How an `Encoder` is trained: its parameters as the extension takes them, its teacher, and the
checkpoint of a run."""

from __future__ import annotations

import logging
import os
import tempfile
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ._base import seed_of
from ._inputs import Batches
from ._lookalike import Model
from ._parameters import as_json, choice, file_path, real, sides, upto, whole
from ._progress import Observer
from .errors import LookalikeError, ParameterError

if TYPE_CHECKING:
    from ._encoder import Encoder

logger = logging.getLogger("lookalike")


def teacher_of(encoder: Encoder) -> Model | None:
    """The model whose codes are to be learned, if there is one."""
    from ._encoder import Encoder

    teacher = encoder.teacher
    if teacher is None:
        if encoder.objective == "distil":
            raise ParameterError("objective='distil' needs an encoder to learn from: teacher=")
        return None
    if encoder.objective not in (None, "distil"):
        raise ParameterError(
            f"objective={encoder.objective!r} and a teacher exclude each other: what is learned is "
            "the teacher's codes"
        )
    if not isinstance(teacher, Encoder):
        return Model.load(file_path("teacher", teacher, "an Encoder or a path"), encoder.device)
    if not teacher._is_fitted():
        raise ParameterError(
            "the teacher has learned nothing: fit it first, or give the path of its file, which "
            "clones share"
        )
    return teacher.model_


def options_of(encoder: Encoder, teacher: Model | None) -> dict[str, Any]:
    """The options of a training run, under the library's names."""
    # What is no option of the library, and to be refused as early.
    _count("sample", encoder.sample)
    if encoder.checkpoint is not None:
        file_path("checkpoint", encoder.checkpoint)
    if not isinstance(encoder.callbacks, (Iterable, type(None))):
        raise ParameterError(f"callbacks={encoder.callbacks!r}: expected a list of functions")
    return {
        "architecture": encoder.architecture,
        "objective": encoder.objective if teacher is None else "distil",
        "effort": encoder.effort,
        "seed": seed_of(encoder.random_state),
        "size": _size(encoder.input_size),
        "channels": _channels(encoder.channels),
        "fit": encoder.resize,
        "code_dim": _count("code_dim", encoder.code_dim),
        "loss": encoder.loss,
        "optimiser": encoder.optimiser,
        "schedule": encoder.schedule,
        "learning_rate": _number("learning_rate", encoder.learning_rate),
        "weight_decay": _number("weight_decay", encoder.weight_decay),
        "batch": _count("batch_size", encoder.batch_size),
        "epochs": _count("epochs", encoder.epochs),
        "precision": encoder.precision,
        "colour_weight": _number("colour_weight", encoder.colour_weight),
        "augmentation": encoder.augmentation,
        "strength": upto(5, "augmentation_strength", encoder.augmentation_strength),
        "mirror": choice("mirror", encoder.mirror),
        "turn": choice("turn", encoder.turn),
        "colour_strength": upto(5, "colour_strength", encoder.colour_strength),
        "noise": upto(10, "noise", encoder.noise),
        "mask": upto(1, "mask", encoder.mask),
    }


def train(
    images: str | Batches, encoder: Encoder, options: dict[str, Any], teacher: Model | None
) -> tuple[Model, list[dict[str, Any]]]:
    """Train a model, and give it with the history of this run.

    A run that was interrupted keeps its checkpoint; one that failed keeps only a checkpoint that
    `Encoder(checkpoint=...)` named.
    """
    named = encoder.checkpoint is not None
    checkpoint = (
        file_path("checkpoint", encoder.checkpoint)
        if encoder.checkpoint is not None
        else _temporary_checkpoint()
    )
    wishes = {
        "device": encoder.device,
        "sample": encoder.sample,
        "checkpoint": checkpoint,
        "resume": named and os.path.exists(checkpoint),
        "options": options,
    }
    with Observer(encoder.progress, encoder.callbacks) as observer:
        try:
            model = Model.train(images, as_json(wishes), observer, teacher)
        except BaseException as error:
            goes_on = isinstance(error, KeyboardInterrupt) or not isinstance(error, LookalikeError)
            if not goes_on and not named:
                # Another try would end in the same way.
                _remove(checkpoint)
            elif goes_on and os.path.exists(checkpoint):
                logger.warning(
                    "the run is kept in %s: Encoder(checkpoint=%r, random_state=%d, ...).fit goes "
                    "on with it",
                    checkpoint,
                    checkpoint,
                    options["seed"],
                )
            raise
    _remove(checkpoint)
    return model, observer.history


def _temporary_checkpoint() -> str:
    """A name among temporary files, for a checkpoint that nobody named."""
    return os.path.join(tempfile.gettempdir(), f"lookalike-{uuid.uuid4().hex}.checkpoint")


def _remove(path: str) -> None:
    """Remove a file that may be gone already."""
    try:
        os.remove(path)
    except FileNotFoundError:
        pass


def _count(name: str, value: Any) -> int | None:
    return None if value is None else whole(name, value, 1)


def _number(name: str, value: Any) -> float | None:
    return None if value is None else real(name, value)


def _channels(channels: int | None) -> int | None:
    if channels not in (None, 1, 3):
        raise ParameterError(f"channels={channels!r}: expected 1 (grey), 3 (colour) or None")
    return channels


def _size(size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Width and height, as the library has them."""
    found = sides("input_size", size)
    return None if found is None else found[::-1]
