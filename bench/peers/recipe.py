"""Our default recipe in PyTorch, as well as a good PyTorch user would write it, on the CPU.

The augmented autoencoder of `lookalike train`: the same network, initial weights' distribution,
optimiser, learning rates, loss and distortions. Prints what training took and what the codes of
MNIST's test images are worth (P@5: cosine, each image asked against all others).
"""
import argparse
import math
import os
import time

import mnist
import torch
import torch.nn.functional as F
from torch import nn

CODE, BATCH, PEAK_RATE = 64, 256, 4e-3
ROTATION, SCALE, SHEAR, SHIFT, ELASTIC, ELASTIC_GRID = math.radians(17), 0.15, 0.2, 0.10, 0.2, 4

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--mnist", required=True)
p.add_argument("--epochs", type=int, default=12)
p.add_argument("--images", type=int, default=60000)
p.add_argument("--threads", type=int, default=os.cpu_count())
p.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
p.add_argument("--channels-last", action="store_true")
p.add_argument("--compile", choices=["no", "yes"], default="no")
p.add_argument("--seed", type=int, default=0)
p.add_argument("--seconds", type=float, default=math.inf,
               help="end an epoch after this long; the rate is that of the images done")
p.add_argument("--no-score", action="store_true", help="speed only")
a = p.parse_args()
torch.set_num_threads(a.threads)
torch.set_flush_denormal(True)
torch.manual_seed(a.seed)
layout = torch.channels_last if a.channels_last else torch.contiguous_format


def he(layer):
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    return layer


def small(layer):
    """A twentieth of Glorot's variance, for the layers that give codes and images."""
    nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(0.05))
    nn.init.zeros_(layer.bias)
    return layer


def down(i, o):
    return [he(nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False)), nn.BatchNorm2d(o), nn.ReLU(inplace=True)]


def up(i, o, odd):
    # An odd side, 7 of 4, loses the padding at its end.
    before = [nn.ZeroPad2d((1, 0, 1, 0))] if odd else []
    return [nn.Upsample(scale_factor=2), *before, he(nn.Conv2d(i, o, 3, padding=0 if odd else 1, bias=False)),
            nn.BatchNorm2d(o), nn.ReLU(inplace=True)]


class Autoencoder(nn.Module):
    """28x28x1 -> 14x14x32 -> 7x7x64 -> 4x4x128 -> 64 floats, and back to logits."""

    def __init__(self, mean_pixel):
        super().__init__()
        self.encoder = nn.Sequential(*down(1, 32), *down(32, 64), *down(64, 128), nn.Flatten(),
                                     small(nn.Linear(2048, CODE)))
        wide = he(nn.Linear(CODE, 2048))
        nn.init.zeros_(wide.bias)
        last = small(nn.Conv2d(16, 1, 3, padding=1))
        nn.init.constant_(last.bias, math.log(mean_pixel / (1 - mean_pixel)))
        self.decoder = nn.Sequential(wide, nn.ReLU(inplace=True), nn.Unflatten(1, (128, 4, 4)),
                                     *up(128, 64, True), *up(64, 32, False), *up(32, 16, False), last)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def evenly(n, width):
    return (2 * torch.rand(n) - 1) * width


def distort(x):
    """A random view of every image: rotation, scale, shear, shift and a smooth elastic field,
    composed into one map and sampled once. Beyond the border is black, as MNIST's borders are."""
    n, _, height, width = x.shape
    angle, scale, shear = evenly(n, ROTATION), 1 + evenly(n, SCALE), evenly(n, SHEAR)
    sin, cos = scale * angle.sin(), scale * angle.cos()
    # The coordinates run from -1 to 1, so a shift by a part of the side is twice that.
    theta = torch.stack([cos, cos * shear - sin, 2 * evenly(n, SHIFT),
                         sin, sin * shear + cos, 2 * evenly(n, SHIFT)], 1).view(n, 2, 3)
    field = ELASTIC * (2 * torch.rand(n, 2, ELASTIC_GRID, ELASTIC_GRID) - 1)
    field = F.interpolate(field, (height, width), mode="bicubic", align_corners=False)
    places = F.affine_grid(theta, x.shape, align_corners=False) + field.permute(0, 2, 3, 1)
    return F.grid_sample(x, places, align_corners=False)


def train(images):
    model = Autoencoder(images.mean().item()).to(memory_format=layout)
    run = torch.compile(model) if a.compile == "yes" else model
    optimiser = torch.optim.AdamW(model.parameters(), PEAK_RATE, weight_decay=0.01, fused=True)
    steps = math.ceil(len(images) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_RATE, total_steps=a.epochs * steps, cycle_momentum=False)
    for epoch in range(a.epochs):
        t, total, done = time.perf_counter(), 0.0, 0
        for picked in torch.randperm(len(images)).split(BATCH):
            clean = images[picked]
            view = distort(clean).contiguous(memory_format=layout)
            with torch.autocast("cpu", torch.bfloat16, enabled=a.dtype == "bf16"):
                logits = run(view)
            loss = F.binary_cross_entropy_with_logits(logits.float(), clean)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total, done = total + loss.item() * len(picked), done + len(picked)
            if time.perf_counter() - t > a.seconds:
                break
        seconds = time.perf_counter() - t
        print(f"epoch {epoch} loss {total / done:.5f} images/s {done / seconds:.0f}", flush=True)
    return model


@torch.inference_mode()
def precision_at_5(model):
    model.eval()
    test = torch.from_numpy(mnist.images(a.mnist, "test")[:, None])
    digits = torch.from_numpy(mnist.labels(a.mnist, "test").copy())
    codes = torch.cat([model.encoder(batch) for batch in test.contiguous(memory_format=layout).split(500)])
    codes = F.normalize(codes)
    right = 0
    for i, asked in enumerate(codes.split(1000)):
        likeness = asked @ codes.T
        own = torch.arange(len(asked))
        likeness[own, 1000 * i + own] = -math.inf
        found = digits[likeness.topk(5).indices]
        right += (found == digits[1000 * i + own, None]).sum().item()
    return right / (5 * len(codes))


images = torch.from_numpy(mnist.images(a.mnist)[: a.images, None])
start = time.perf_counter()
model = train(images)
print(f"training seconds {time.perf_counter() - start:.2f}", flush=True)
if not a.no_score:
    print(f"P@5 {precision_at_5(model):.4f}", flush=True)
