"""Training speed of the article's convolutional autoencoder in Keras or PyTorch, on the CPU."""
import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import mnist
import numpy as np

p = argparse.ArgumentParser(description=__doc__)
p.add_argument("--mnist", required=True)
p.add_argument("--framework", choices=["keras", "torch"], required=True)
p.add_argument("--images", type=int, default=12032)
p.add_argument("--batch", type=int, default=128)
p.add_argument("--epochs", type=int, default=3, help="the first one warms up")
p.add_argument("--threads", type=int, default=os.cpu_count())
p.add_argument("--dtype", choices=["f32", "bf16"], default="f32", help="torch only")
p.add_argument("--channels-last", action="store_true", help="torch only")
p.add_argument("--seconds", type=float, default=20,
               help="torch only: end an epoch after this long; the rate is that of the images done")
a = p.parse_args()
x = mnist.images(a.mnist)[: a.images]
# Started at the mean pixel's logit, as ours is: with a bias of 0 this network sits on an all-black
# plateau, where a saturated sigmoid's denormals would be what is measured.
output_bias = float(np.log(x.mean() / (1 - x.mean())))


def report(epoch, loss, seconds, n):
    print(f"epoch {epoch} loss {loss:.5f} images/s {n / seconds:.0f}", flush=True)


if a.framework == "keras":
    import keras
    import tensorflow as tf
    from keras import layers as L

    tf.config.threading.set_intra_op_parallelism_threads(a.threads)
    tf.config.threading.set_inter_op_parallelism_threads(a.threads)
    x = x[..., None]
    inp = keras.Input((28, 28, 1))
    h = L.MaxPooling2D(2, padding="same")(L.Conv2D(32, 3, activation="relu", padding="same")(inp))
    h = L.MaxPooling2D(2, padding="same")(L.Conv2D(32, 3, activation="relu", padding="same")(h))
    d = L.UpSampling2D(2)(L.Conv2D(32, 3, activation="relu", padding="same")(h))
    d = L.UpSampling2D(2)(L.Conv2D(32, 3, activation="relu", padding="same")(d))
    last = L.Conv2D(1, 3, activation="sigmoid", padding="same",
                    bias_initializer=keras.initializers.Constant(output_bias))
    model = keras.Model(inp, last(d))
    model.compile(optimizer="adam", loss="mse")
    for epoch in range(a.epochs):
        t = time.perf_counter()
        loss = model.fit(x, x, batch_size=a.batch, epochs=1, verbose=0).history["loss"][0]
        report(epoch, loss, time.perf_counter() - t, len(x))
else:
    import torch
    from torch import nn

    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    fmt = torch.channels_last if a.channels_last else torch.contiguous_format
    c = lambda i, o: nn.Conv2d(i, o, 3, padding=1)
    up = lambda: nn.Upsample(scale_factor=2)
    model = nn.Sequential(
        c(1, 32), nn.ReLU(), nn.MaxPool2d(2), c(32, 32), nn.ReLU(), nn.MaxPool2d(2),
        c(32, 32), nn.ReLU(), up(), c(32, 32), nn.ReLU(), up(), c(32, 1), nn.Sigmoid(),
    ).to(memory_format=fmt)
    nn.init.constant_(model[-2].bias, output_bias)
    data = torch.from_numpy(x[:, None]).contiguous(memory_format=fmt)
    opt = torch.optim.Adam(model.parameters(), 1e-3)
    for epoch in range(a.epochs):
        limit = a.seconds if epoch else a.seconds / 3
        order = torch.randperm(len(data))
        t, total, steps = time.perf_counter(), 0.0, 0
        for i in range(0, len(data) - a.batch + 1, a.batch):
            batch = data[order[i : i + a.batch]]
            with torch.autocast("cpu", torch.bfloat16, enabled=a.dtype == "bf16"):
                loss = ((model(batch).float() - batch) ** 2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            total, steps = total + loss.item(), steps + 1
            if time.perf_counter() - t > limit:
                break
        report(epoch, total / steps, time.perf_counter() - t, steps * a.batch)
