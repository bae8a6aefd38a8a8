"""What `lookalike index` does with a folder of photographs, by Pillow or PyTorch's loader, and ONNX Runtime: list, read,
hash, decode, resize to 64x64, keep a thumbnail of 128 pixels, encode, write the codes."""
import argparse
import hashlib
import io
import os
import pathlib
import sqlite3
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")
import numpy as np
from PIL import Image, ImageOps

p = argparse.ArgumentParser(description=__doc__)
p.add_argument("--photos", required=True)
p.add_argument("--peer", required=True, choices=["pillow", "pillow-draft", "torch-loader"])
p.add_argument("--batch", type=int, default=64)
p.add_argument("--threads", type=int, default=os.cpu_count())
a = p.parse_args()
SIDE, THUMBNAIL = 64, 128


def prepare(path):
    """An image's hash, pixels (3x64x64, 0 to 1) and thumbnail. Python's own hash has no BLAKE3; BLAKE2 is as fast."""
    data = path.read_bytes()
    picture = Image.open(io.BytesIO(data))
    if a.peer == "pillow-draft":
        # As Pillow's own thumbnail() does: decoded no larger than twice what is needed.
        picture.draft("RGB", (2 * SIDE, 2 * SIDE))
    picture = ImageOps.exif_transpose(picture).convert("RGB")
    small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32) / 255
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    kept = io.BytesIO()
    picture.save(kept, "JPEG", quality=80)
    return hashlib.blake2b(data, digest_size=32).hexdigest(), np.ascontiguousarray(small.transpose(2, 0, 1)), kept.getvalue()


class Photos:
    """For PyTorch's loader."""

    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return prepare(self.paths[index])


def batches(paths):
    if a.peer == "torch-loader":
        from torch.utils.data import DataLoader

        collate = lambda items: items
        yield from DataLoader(Photos(paths), batch_size=a.batch, num_workers=a.threads, collate_fn=collate)
    else:
        from multiprocessing import Pool

        with Pool(a.threads) as pool:
            items = []
            for item in pool.imap(prepare, paths, chunksize=8):
                items.append(item)
                if len(items) == a.batch:
                    yield items
                    items = []
            if items:
                yield items


def encoder():
    """The default network's encoder for 64x64 in colour; its weights do not matter here."""
    import onnxruntime as ort
    import torch
    from torch import nn

    layers = []
    for i, o in [(3, 32), (32, 64), (64, 128)]:
        layers += [nn.Conv2d(i, o, 3, stride=2, padding=1), nn.BatchNorm2d(o), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 8 * 8, 64)).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "encoder.onnx")
        torch.onnx.export(model, torch.zeros(1, 3, SIDE, SIDE), path, input_names=["x"], output_names=["y"],
                          dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, dynamo=False)
        options = ort.SessionOptions()
        options.intra_op_num_threads = a.threads
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    session = encoder()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        paths = sorted(q for q in pathlib.Path(a.photos).rglob("*") if q.suffix.lower() in (".jpg", ".jpeg"))
        store = sqlite3.connect(os.path.join(folder, "codes.db"))
        store.execute("create table images (path text primary key, hash text, thumbnail blob, code blob)")
        done = 0
        names = iter(paths)
        for items in batches(paths):
            codes = session.run(None, {"x": np.stack([pixels for _, pixels, _ in items])})[0]
            rows = [(str(next(names)), hash, kept, code.tobytes()) for (hash, _, kept), code in zip(items, codes)]
            store.executemany("insert into images values (?, ?, ?, ?)", rows)
            store.commit()
            done += len(items)
        seconds = time.perf_counter() - start
        megabytes = sum(q.stat().st_size for q in paths) / 2**20
        print(f"{a.peer} images/s {done / seconds:.1f}\nMiB/s {megabytes / seconds:.1f}", flush=True)
