"""Models and files: what a model file says of an `Encoder`, and what a pickle keeps of a model."""

from __future__ import annotations

from typing import Any

from ._lookalike import Model

# Objectives that see images with random changes.
_AUGMENTING = ("look", "augment", "distil")


def parameters_of(recipe: dict[str, Any], shape: tuple[int, int, int]) -> dict[str, Any]:
    """The parameters of an `Encoder` that a model file's recipe says, so that a clone learns by the
    same recipe. A teacher is not in the file."""
    height, width, channels = shape
    denoises = recipe["objective"] == "denoise"
    return {
        "architecture": recipe["architecture"],
        "objective": recipe["objective"] if recipe["objective"] != "distil" else None,
        "epochs": recipe["epochs"],
        # Networks whose codes have a length of their own are recorded with 0.
        "code_dim": recipe["code_dim"] or None,
        "batch_size": recipe["batch"],
        "learning_rate": recipe["learning_rate"],
        "weight_decay": recipe["weight_decay"],
        "loss": recipe["loss"],
        "optimiser": recipe["optimiser"],
        "schedule": recipe["schedule"],
        # Left out of files from before it was a choice.
        "precision": recipe.get("precision", "f32"),
        # Left out of the file where it is 0.
        "colour_weight": recipe.get("colour_weight", 0.0),
        **_augmentation_of(recipe),
        "noise": recipe["noise"]["gaussian"] if denoises else None,
        "mask": recipe["noise"]["mask"] if denoises else None,
        "input_size": (height, width),
        "channels": channels,
        "resize": recipe["fit"],
        "random_state": recipe["seed"],
    }


def _augmentation_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """The parameters of an `Encoder` about the random changes of its training images."""
    if recipe["objective"] not in _AUGMENTING:
        return {}
    chosen = recipe.get("chosen")
    if chosen is not None:
        # What was said and what was found out look the same in the file.
        return {
            "augmentation": chosen["by"],
            "mirror": chosen["mirror"],
            "turn": chosen.get("turn", False),
            "colour_strength": chosen["colour_strength"],
        }
    # Kept as ranges, of which these are those of strength 1.
    ranges = recipe["distortion"]
    return {
        "augmentation_strength": float(f"{ranges['rotation_degrees'] / 17:.6g}"),
        "mirror": ranges["mirror"],
        "turn": ranges.get("turn", False),
        "colour_strength": float(f"{ranges.get('brightness', 0.0) / 0.2:.6g}"),
    }


def history_of(record: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The epochs of all stages that a model file records, numbered from 1."""
    if record is None:
        return []
    history: list[dict[str, Any]] = []
    for stage in [{"epochs": record["epochs"]}, *record.get("later", [])]:
        for epoch in stage["epochs"]:
            history.append({"epoch": len(history) + 1, **epoch})
    return history


def state_of(model: Model) -> str | bytes:
    """What a pickle keeps: the path of an encoder that others have trained, or the file of ours."""
    return model.path or model.to_bytes()


def model_of(state: str | bytes, device: str) -> Model:
    """The model that `state_of` kept."""
    if isinstance(state, bytes):
        return Model.from_bytes(state, device)
    return Model.load(state, device)
