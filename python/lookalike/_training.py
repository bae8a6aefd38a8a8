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
from ._parameters import (
    NETWORK_SIDES,
    as_json,
    choice,
    file_path,
    real,
    sides,
    upto,
    whole,
    word,
    word_or_none,
)
from ._progress import Observer, warn
from .errors import LookalikeError, ParameterError

if TYPE_CHECKING:
    from ._encoder import Encoder

logger = logging.getLogger("lookalike")

# Networks whose codes have a length of their own.
_FIXED_LENGTH = ("conv", "compact")


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
    if choice("compare", encoder.compare) is None:
        raise ParameterError("compare=None: expected True or False")
    if encoder.code_dim is not None and encoder.architecture in _FIXED_LENGTH:
        raise ParameterError(
            f"code_dim={encoder.code_dim!r}: codes of architecture={encoder.architecture!r} have "
            "the length that follows from the images' size; leave code_dim out, or take "
            "architecture='bottleneck'"
        )
    return {
        "architecture": word(encoder.architecture),
        "objective": word_or_none(encoder.objective) if teacher is None else "distil",
        "effort": word(encoder.effort),
        "seed": seed_of(encoder.random_state),
        "size": _size(encoder.input_size),
        "channels": _channels(encoder.channels),
        "fit": word(encoder.resize),
        "code_dim": _count("code_dim", encoder.code_dim),
        "loss": word_or_none(encoder.loss),
        "optimiser": word_or_none(encoder.optimiser),
        "schedule": word_or_none(encoder.schedule),
        "learning_rate": _number("learning_rate", encoder.learning_rate),
        "weight_decay": _number("weight_decay", encoder.weight_decay),
        "batch": _count("batch_size", encoder.batch_size),
        "epochs": _count("epochs", encoder.epochs),
        "precision": word(encoder.precision),
        "colour_weight": _number("colour_weight", encoder.colour_weight),
        "augmentation": word(encoder.augmentation),
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

    A run that was interrupted, or stopped by what a callback raised, keeps its checkpoint, and the
    exception says where; one that failed keeps only a checkpoint that `Encoder(checkpoint=...)`
    named.
    """
    named = encoder.checkpoint is not None
    checkpoint = (
        file_path("checkpoint", encoder.checkpoint)
        if encoder.checkpoint is not None
        else _temporary_checkpoint()
    )
    wishes = {
        "device": word(encoder.device),
        "sample": encoder.sample,
        "checkpoint": checkpoint,
        "resume": named and os.path.exists(checkpoint),
        "compare": bool(encoder.compare),
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
                kept = (
                    f"the run is kept in {checkpoint}: Encoder(checkpoint={checkpoint!r}, "
                    f"random_state={options['seed']}, ...).fit goes on with it"
                )
                if not named:
                    kept += "; remove the file if that is not wanted"
                logger.warning("%s", kept)
                # Python 3.10 has no notes.
                if hasattr(error, "add_note"):
                    error.add_note(kept)
            raise
    _remove(checkpoint)
    return model, observer.history


def tell_judgement(model: Model) -> None:
    """Say what was found of a model without labels, as the program does: a warning where its codes
    are worse than what needs no learning."""
    if model.judged is None:
        return
    verdict, own, name, best = model.judged
    if verdict == "worse":
        warn(
            "judged without labels, its codes are worse than a simple descriptor: "
            f"{own:.2f}, but {best:.2f} by {name}. Try more images, or another "
            "augmentation_strength."
        )
        return
    outcome = {
        "better": "better than any simple descriptor",
        "even": "about as good as the best simple descriptor",
    }[verdict]
    logger.info(
        "judged without labels, its codes are %s: %.2f, and %.2f by %s", outcome, own, best, name
    )


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
    found = sides("input_size", size, NETWORK_SIDES)
    return None if found is None else found[::-1]
