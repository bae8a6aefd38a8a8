"""What is measured: the items of the table, their contestants and their targets."""
import re
from dataclasses import dataclass, field
from typing import Callable

from . import setup

OURS = "Lookalike"
# PyTorch as a user may set it up: name, options of the peers' scripts.
TORCH = [("PyTorch f32", []),
         ("PyTorch f32 channels-last", ["--channels-last"]),
         ("PyTorch bf16 channels-last", ["--dtype", "bf16", "--channels-last"])]
TORCH_NAMES = [name for name, _ in TORCH]


@dataclass
class Reading:
    """One number that a contestant's outcome holds."""

    name: str
    read: Callable  # of an Outcome, a list of numbers: their median counts
    better: str = ""  # "more", "less", or "" for what is shown but not compared
    digits: int = 0


@dataclass
class Contestant:
    name: str
    command: list
    repeat: int = 1  # processes in each round

    @property
    def ours(self):
        return self.name == OURS


@dataclass
class Target:
    """A ratio of `reading` against the best of `against`, or with no `against` a bound on ours."""

    text: str
    reading: str
    bound: float
    against: list = field(default_factory=list)


@dataclass
class Item:
    name: str
    title: str
    contestants: list
    readings: list
    targets: list = field(default_factory=list)
    once: bool = False  # measured in one round only
    needs: Callable = lambda: None  # prepares; says what is missing, or None


def numbers(pattern, skip=0):
    """Reads the numbers that `pattern` finds in the output, without the first `skip`."""
    return lambda outcome: [float(n) for n in re.findall(pattern, outcome.output, re.M)][skip:]


@dataclass
class Sizes:
    """How much work; `quick` only shows that everything runs."""

    train: int = 12032
    encode: int = 20000
    recipe: int = 12800
    codes: int = 60000
    queries: int = 5000
    singles: int = 2000
    starts: int = 20
    memory: int = 60000
    epochs: tuple = (2, 3, 4, 6, 8, 10, 12)
    seconds: float = 20  # the longest a pass of a slow peer may take

    @staticmethod
    def quick():
        return Sizes(train=1280, encode=1280, recipe=1280, codes=6000, queries=500, singles=200,
                     starts=3, memory=2560, epochs=(1,), seconds=3)


class Items:
    """All items for these programs, sizes and threads."""

    def __init__(self, python, release, work, threads, sizes, env, photos=None):
        self.python, self.release, self.work, self.photos = str(python), release, work, photos
        self.threads, self.sizes, self.env = ["--threads", str(threads)], sizes, env

    def all(self):
        s = self.sizes
        return [self.train(128), self.train(32), self.encode(), self.recipe(), self.exact(), self.approximate(),
                self.memory(), self.startup(), self.index()]

    def speed(self, *arguments):
        return [str(self.release / "examples" / "speed"), *map(str, arguments), *self.threads]

    def lookalike(self, *arguments):
        return [str(self.release / "lookalike"), *map(str, arguments), *self.threads]

    def peer(self, script, *arguments):
        return [self.python, str(setup.PEERS / script), *map(str, arguments), *self.threads]

    def train(self, batch):
        size = ["--images", self.sizes.train, "--batch", batch]
        data = ["--mnist", setup.MNIST, *size]
        limit = ["--seconds", self.sizes.seconds]
        torch = [Contestant(name, self.peer("train.py", "--framework", "torch", *data, *limit, *options))
                 for name, options in TORCH]
        return Item(
            f"train-{batch}", f"Training the article's network, batch {batch}",
            [Contestant(OURS, self.speed("train", "--arch", "conv", *size)),
             Contestant("Keras f32", self.peer("train.py", "--framework", "keras", *data)), *torch],
            [Reading("images/s", numbers(r"images/s (\d+)", skip=1), "more"),
             Reading("loss", lambda outcome: numbers(r"loss ([\d.]+)")(outcome)[-1:], digits=4)],
            [Target(f"training, batch {batch}, against Keras f32", "images/s", 2.0, ["Keras f32"]),
             Target(f"training, batch {batch}, against the fastest PyTorch", "images/s", 1.3, TORCH_NAMES)]
            if batch == 128 else [],
        )

    def encode(self):
        peers = [("ONNX Runtime f32", "onnxruntime-f32"), ("PyTorch f32", "torch-f32"),
                 ("PyTorch f32 channels-last", "torch-f32-channels-last"),
                 ("PyTorch bf16 channels-last", "torch-bf16-channels-last"), ("Keras f32", "keras")]
        size = ["--images", self.sizes.encode]
        return Item(
            "encode", "Encoding with the article's encoder",
            [Contestant(OURS, self.speed("encode", *size)),
             *(Contestant(name, self.peer("encode.py", "--mnist", setup.MNIST, "--peer", peer, *size,
                                          "--seconds", self.sizes.seconds)) for name, peer in peers)],
            [Reading("images/s", numbers(r"images/s (\d+)"), "more")],
            [Target("encoding, against ONNX Runtime f32", "images/s", 1.0, ["ONNX Runtime f32"])],
        )

    def recipe(self):
        """Two epochs on a part of the images, the second of which counts."""
        size = ["--epochs", 2, "--images", self.sizes.recipe]
        return Item(
            "recipe", "Training by the default recipe, batch 256",
            [Contestant(OURS, self.speed("train", "--arch", "bottleneck", *size)),
             *(Contestant(name, self.recipe_peer(options, *size, "--no-score", "--seconds", self.sizes.seconds))
               for name, options in TORCH)],
            [Reading("images/s", numbers(r"images/s (\d+)", skip=1), "more")],
        )

    def recipe_peer(self, options, *arguments):
        return self.peer("recipe.py", "--mnist", setup.MNIST, *arguments, *options)

    def recipe_ours(self, *arguments):
        return self.speed("recipe", *arguments)

    def codes_folder(self):
        return self.work / f"codes-{self.sizes.codes}"

    def codes(self):
        s = self.sizes
        return setup.codes(self.python, self.codes_folder(), s.codes, s.queries, self.env)

    def neighbours(self, way, peers):
        asked = ["--folder", self.codes_folder(), "--singles", self.sizes.singles]
        return [Contestant(OURS, self.speed("neighbours", "--way", way, *asked)),
                *(Contestant(name, self.peer("neighbours.py", "--peer", peer, *asked)) for name, peer in peers)]

    def exact(self):
        s = self.sizes
        return Item(
            "exact", f"Exact neighbours, {s.codes:,} codes of 64 floats, k = 6",
            self.neighbours("exact", [("FAISS flat", "faiss-flat"), ("scikit-learn", "scikit-learn")]),
            [Reading(f"batch of {s.queries:,}, queries/s", numbers(r"^batch queries/s (\d+)"), "more"),
             Reading("one at a time, queries/s", numbers(r"^single queries/s (\d+)"), "more"),
             Reading("recall", numbers(r"^recall ([\d.]+)"), digits=4)],
            [Target("exact neighbours in batch, against FAISS flat", f"batch of {s.queries:,}, queries/s", 1.5,
                    ["FAISS flat"]),
             Target("recall of exact neighbours", "recall", 1.0)],
            needs=self.codes,
        )

    def approximate(self):
        s = self.sizes
        return Item(
            "approximate", f"Approximate neighbours, {s.codes:,} codes of 64 floats, k = 6, one caller",
            self.neighbours("approximate", [("FAISS HNSW (M 16, ef 64)", "faiss-hnsw"), ("USearch", "usearch")]),
            [Reading("queries/s", numbers(r"^single queries/s (\d+)"), "more"),
             Reading("recall", numbers(r"^recall ([\d.]+)"), digits=4),
             Reading("build, s", numbers(r"^build seconds ([\d.]+)"), "less", digits=1)],
            [Target("approximate neighbours, one caller, against FAISS HNSW", "queries/s", 1.2,
                    ["FAISS HNSW (M 16, ef 64)"]),
             Target("their recall", "recall", 1)],
            needs=self.codes,
        )

    def memory(self):
        limit = self.sizes.memory
        model = self.work / "memory.safetensors"
        ours = self.lookalike("train", "mnist:train", "--epochs", 1, "--limit", limit, "--restart", "--out", model)
        return Item(
            "memory", "Peak memory of training by the default recipe, 1 epoch",
            [Contestant(OURS, ours),
             *(Contestant(name, self.recipe_peer(options, "--epochs", 1, "--images", limit, "--no-score",
                                                 "--seconds", self.sizes.seconds)) for name, options in TORCH[:2])],
            [Reading("MiB", lambda outcome: [outcome.peak_bytes / 2**20], "less")],
            [Target("peak memory of the default training, MiB", "MiB", 600)],
            once=True,
        )

    def startup(self):
        s, folder = self.sizes, self.work / "startup"
        search = self.lookalike("search", "mnist:test#7", "--gallery", folder / "test.gallery", "--json")
        imports = [self.python, "-c", "import torch, faiss"]
        return Item(
            "startup", "From typing `lookalike search` to its answer, 10,000 images",
            [Contestant(OURS, search, s.starts),
             Contestant("Python: importing PyTorch and FAISS alone", imports, min(s.starts, 5))],
            [Reading("ms", lambda outcome: [outcome.seconds * 1e3], "less", digits=1)],
            needs=lambda: setup.gallery(self.release / "lookalike", folder, 2000, self.env),
        )

    def index(self):
        """The whole way from files to a gallery, opened and written to disk at the end."""
        folder, gallery = self.work / "index", self.work / "index" / "photos.gallery"
        ours = self.lookalike("index", self.photos, "--model", folder / "model.safetensors", "--gallery", gallery,
                              "--no-diffusion", "--json")
        # A gallery that is there already has nothing to do.
        fresh = ["sh", "-c", 'rm -rf "$0" && exec "$@"', str(gallery), *ours]
        peers = [("Pillow, ONNX Runtime", "pillow"), ("Pillow reducing JPEG, ONNX Runtime", "pillow-draft"),
                 ("PyTorch's loader, ONNX Runtime", "torch-loader")]
        count, size = setup.weigh(self.photos) if self.photos else (0, 0)
        seconds = numbers(r'"seconds":([\d.]+)')
        return Item(
            "index", f"Indexing {count:,} photographs (JPEG, {size / max(count, 1) / 2**20:.1f} MiB each), colour, 64x64",
            [Contestant(OURS, fresh),
             *(Contestant(name, self.peer("index.py", "--photos", self.photos, "--peer", peer))
               for name, peer in peers)],
            [Reading("images/s", lambda o: numbers(r"images/s ([\d.]+)")(o) or [count / s for s in seconds(o)], "more",
                     digits=1),
             Reading("MiB/s", lambda o: numbers(r"MiB/s ([\d.]+)")(o) or [size / 2**20 / s for s in seconds(o)], "more",
                     digits=1)],
            [Target("indexing photographs, against the fastest in Python", "images/s", 2.0, [name for name, _ in peers])],
            needs=lambda: setup.photos(self.release / "lookalike", folder, self.photos, self.env),
        )
