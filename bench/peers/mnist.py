"""Reads the MNIST IDX files (.gz): images as float32 in [0, 1], shape (n, 28, 28), and labels."""
import gzip
from pathlib import Path

import numpy as np


def images(folder, split="train"):
    return read(folder, split, "images-idx3", 16).reshape(-1, 28, 28).astype("float32") / 255


def labels(folder, split="train"):
    return read(folder, split, "labels-idx1", 8)


def read(folder, split, kind, header):
    name = "train" if split == "train" else "t10k"
    with gzip.open(Path(folder) / f"{name}-{kind}-ubyte.gz") as f:
        return np.frombuffer(f.read(), np.uint8, offset=header)
