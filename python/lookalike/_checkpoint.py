"""Where a run is kept that nobody named a file for."""

from __future__ import annotations

import os
import tempfile
import uuid


def own_checkpoint() -> str:
    """A name for a checkpoint that nobody named, among temporary files."""
    return os.path.join(tempfile.gettempdir(), f"lookalike-{uuid.uuid4().hex}.checkpoint")


def remove(path: str) -> None:
    """Remove a file that may be gone already."""
    try:
        os.remove(path)
    except FileNotFoundError:
        pass
