#!/usr/bin/env python3
"""What benches/decode.rs measures, with Pillow: python3 decode.py FOLDER. Needs Pillow and NumPy."""

import collections
import io
import pathlib
import sys
import threading
import time

import numpy as np
from PIL import Image

ENOUGH = 1.5


def decode(data, side):
    picture = Image.open(io.BytesIO(data))
    # As Pillow's own thumbnail() does, with its reducing gap of 2.
    picture.draft(None, (2 * side, 2 * side))
    if picture.mode != "RGB":
        picture = picture.convert("RGB")
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC))


def rate(name, files, threads, side):
    start, busy = time.perf_counter(), time.process_time()
    counts = [0] * threads

    def work(thread):
        while time.perf_counter() - start < ENOUGH:
            decode(files[(thread + counts[thread] * threads) % len(files)], side)
            counts[thread] += 1

    workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds, busy, count = time.perf_counter() - start, time.process_time() - busy, sum(counts)
    print(
        f"{name}: {1e3 * seconds / count:.2f} ms an image, {1e3 * busy / count:.2f} ms of processor time, "
        f"{count / seconds:.1f} images/s",
        flush=True,
    )


groups = collections.defaultdict(list)
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    groups[path.name.split("-")[0]].append(path.read_bytes())
for group in sorted(groups):
    for side in [28, 64, 128]:
        for threads in [1, 2]:
            rate(f"{group} to {side}, {threads} threads (Pillow)", groups[group], threads, side)
