"""The article's encoder, read from a Lookalike model file into PyTorch, gives the same codes.

    lookalike train mnist:train --arch conv --out article.safetensors
    lookalike index mnist:test --model article.safetensors --gallery test.gallery --no-diffusion
    lookalike export --gallery test.gallery --codes codes.npy --payload payload.jsonl
    python codes.py article.safetensors codes.npy payload.jsonl ../../datasets/mnist/t10k-images-idx3-ubyte.gz

Needs numpy, safetensors and torch. Ends with an error if a code differs by more than 1e-4.
"""

import gzip
import json
import sys

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

model_file, codes_file, payload_file, images_file = sys.argv[1:]

with safe_open(model_file, "pt") as f:
    about = json.loads(f.metadata()["lookalike"])
    weights = {name: f.get_tensor(name) for name in f.keys() if name.startswith("encoder.")}
assert about["config"]["architecture"] == "conv", "this example reads --arch conv"

encoder = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
)
names = {"0": "encoder.conv1", "3": "encoder.conv2"}
encoder.load_state_dict({
    f"{index}.{kind}": weights[f"{name}.{kind}"]
    for index, name in names.items() for kind in ("weight", "bias")
})

with gzip.open(images_file) as f:
    pixels = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
ours = np.load(codes_file)
keys = [int(json.loads(line)["key"]) for line in open(payload_file)]

worst = 0.0
with torch.no_grad():
    for start in range(0, len(keys), 500):
        batch = torch.from_numpy(pixels[keys[start : start + 500]].astype("float32") / 255)
        # A code is laid out height x width x channels.
        theirs = encoder(batch).permute(0, 2, 3, 1).reshape(len(batch), -1).numpy()
        worst = max(worst, float(np.abs(theirs - ours[start : start + 500]).max()))
print(f"{len(keys)} codes of {ours.shape[1]} floats, largest difference {worst:.2e}")
sys.exit(worst > 1e-4)
