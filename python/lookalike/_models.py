"""Models and files: what a model file says of an `Encoder`, and what a pickle keeps of a model."""

from __future__ import annotations

from typing import Any

from ._lookalike import Model


def parameters_of(recipe: dict[str, Any], shape: tuple[int, int, int]) -> dict[str, Any]:
    """The parameters of an `Encoder` that a model file's recipe says, so that a clone learns by the
    same recipe. A teacher is not in the file."""
    height, width, channels = shape
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
        # Left out of the file where it is 0.
        "colour_weight": recipe.get("colour_weight", 0.0),
        "augmentation": recipe.get("chosen", {}).get("by", "auto"),
        "input_size": (height, width),
        "channels": channels,
        "resize": recipe["fit"],
        "random_state": recipe["seed"],
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
