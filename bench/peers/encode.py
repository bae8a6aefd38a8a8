"""Encoding speed of the article's encoder (28x28x1 -> 7x7x32) in one of its peers, on the CPU."""
import argparse
import os
import tempfile
import time
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
warnings.filterwarnings("ignore", category=DeprecationWarning)
import mnist
import numpy as np

p = argparse.ArgumentParser(description=__doc__)
p.add_argument("--mnist", required=True)
p.add_argument("--peer", required=True,
               choices=["onnxruntime-f32", "torch-f32", "torch-f32-channels-last", "torch-bf16-channels-last", "keras"])
p.add_argument("--images", type=int, default=20000)
p.add_argument("--batch", type=int, default=256)
p.add_argument("--passes", type=int, default=3, help="timed passes, after one that warms up")
p.add_argument("--threads", type=int, default=os.cpu_count())
p.add_argument("--seconds", type=float, default=20,
               help="end a pass after this long; the rate is that of the images done")
a = p.parse_args()
x = mnist.images(a.mnist)[: a.images]
nchw = np.ascontiguousarray(x[:, None])


def rate(encode, data):
    """Times `encode` batch by batch."""
    for n in range(a.passes + 1):
        limit = a.seconds if n else a.seconds / 3
        t, done = time.perf_counter(), 0
        for i in range(0, a.images, a.batch):
            encode(data[i : i + a.batch])
            done = min(i + a.batch, a.images)
            if time.perf_counter() - t > limit:
                break
        if n:
            report(done, time.perf_counter() - t)


def report(n, seconds):
    print(f"{a.peer} images/s {n / seconds:.0f}", flush=True)


if a.peer == "keras":
    import keras
    import tensorflow as tf
    from keras import layers as L

    tf.config.threading.set_intra_op_parallelism_threads(a.threads)
    tf.config.threading.set_inter_op_parallelism_threads(a.threads)
    inp = keras.Input((28, 28, 1))
    h = L.MaxPooling2D(2)(L.Conv2D(32, 3, activation="relu", padding="same")(inp))
    h = L.MaxPooling2D(2)(L.Conv2D(32, 3, activation="relu", padding="same")(h))
    encoder = keras.Model(inp, h)
    # Whole passes: `predict` is Keras's own loop over batches.
    for n in range(a.passes + 1):
        t = time.perf_counter()
        encoder.predict(x[..., None], batch_size=a.batch, verbose=0)
        if n:
            report(a.images, time.perf_counter() - t)
else:
    import torch
    from torch import nn

    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    c = lambda i, o: nn.Conv2d(i, o, 3, padding=1)
    model = nn.Sequential(c(1, 32), nn.ReLU(), nn.MaxPool2d(2), c(32, 32), nn.ReLU(), nn.MaxPool2d(2)).eval()
    if a.peer == "onnxruntime-f32":
        import onnxruntime as ort

        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "encoder.onnx")
            torch.onnx.export(model, torch.from_numpy(nchw[:1]), path, input_names=["x"], output_names=["y"],
                              dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, dynamo=False)
            options = ort.SessionOptions()
            options.intra_op_num_threads = a.threads
            session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            rate(lambda batch: session.run(None, {"x": batch}), nchw)
    else:
        data = torch.from_numpy(nchw)
        if a.peer.endswith("channels-last"):
            model = model.to(memory_format=torch.channels_last)
            data = data.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled="bf16" in a.peer):
            rate(model, data)
