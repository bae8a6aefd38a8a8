"""An exported encoder gives the same codes in ONNX Runtime.

    lookalike train mnist:train --out model.safetensors
    lookalike index mnist:test --model model.safetensors --gallery test.gallery --no-diffusion
    lookalike export --gallery test.gallery --codes codes.npy --payload payload.jsonl --onnx encoder.onnx
    python codes.py encoder.onnx codes.npy payload.jsonl ../../datasets/mnist/t10k-images-idx3-ubyte.gz

The last argument may also be the folder that was indexed, if its pictures have the encoder's size: ONNX Runtime does
not resize them, and another program's resizing is not quite ours. Needs numpy and onnxruntime, and Pillow for a folder.
Ends with an error if a float of a code differs by more than 1e-4 of the code's length.
"""

import gzip
import json
import os
import sys
import time

import numpy as np
import onnxruntime

encoder_file, codes_file, payload_file, images = sys.argv[1:]

encoder = onnxruntime.InferenceSession(encoder_file, providers=["CPUExecutionProvider"])
_, height, width, channels = encoder.get_inputs()[0].shape
about = encoder.get_modelmeta().custom_metadata_map
print(f"images of {width} x {height} pixels, {channels} channel(s); pictures of other sizes: "
      f"{about['lookalike.fit']}; compare codes by {about['lookalike.metric']} distance")

ours = np.load(codes_file)
keys = [json.loads(line)["key"] for line in open(payload_file)]
if os.path.isdir(images):
    from PIL import Image

    def read(key):
        picture = Image.open(os.path.join(images, key)).convert("L" if channels == 1 else "RGB")
        assert picture.size == (width, height), f"{key} is {picture.size}; resize it before indexing"
        return np.asarray(picture).reshape(height, width, channels)

    pixels = np.stack([read(key) for key in keys])
else:
    with gzip.open(images) as f:
        pixels = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, height, width, channels)
    pixels = pixels[[int(key) for key in keys]]

start = time.perf_counter()
theirs = [encoder.run(["codes"], {"images": pixels[at : at + 64]})[0] for at in range(0, len(keys), 64)]
seconds = time.perf_counter() - start
theirs = np.concatenate(theirs)
lengths = np.linalg.norm(ours, axis=1, keepdims=True)
worst = float((np.abs(theirs - ours) / np.maximum(lengths, 1e-6)).max())
print(f"{len(keys)} codes of {ours.shape[1]} floats, largest difference {worst:.2e}, "
      f"{len(keys) / seconds:.0f} images a second")
sys.exit(worst > 1e-4)
