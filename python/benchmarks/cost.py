"""What calling through Python costs: importing, and training, encoding and indexing MNIST's 60,000
images beside the program `lookalike` and the crate's example `speed`, in turn.

    python cost.py --program ../../target/release/lookalike --speed
    ../../target/release/examples/speed

Seconds are printed as the clock has them and as the processors worked (user and system). On a busy
machine the second are to be compared, of which the others take nothing.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TRAIN = "from lookalike import Encoder; Encoder(architecture='conv', epochs=1, random_state=0, progress=False).fit({images}).save('{out}')"
# As `speed encode --passes 5` does, which warms up once.
PASSES = 5
ENCODE = "from lookalike import Encoder; encoder = Encoder.load('{model}'); images = {images}; [encoder.transform(images) for _ in range(1 + {passes})]"
INDEX = "from lookalike import Encoder, Gallery; Gallery.create('{out}', Encoder.load('{model}')).index({images}, progress=False)"
NAMED = "'mnist:train'"
ARRAY = "__import__('lookalike').datasets.load_mnist('train').images"


def measure(command):
    """Seconds by the clock, and of the processors."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, worked


def python(code):
    return [sys.executable, "-W", "ignore", "-c", code]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default=shutil.which("lookalike"))
    parser.add_argument("--speed")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp())
    model = folder / "model.safetensors"
    subprocess.run(
        [
            arguments.program,
            "train",
            "mnist:train",
            "--limit",
            "1000",
            "--arch",
            "conv",
            "--epochs",
            "1",
            "--out",
            model,
        ],
        check=True,
    )

    def of(name):
        return folder / f"{time.perf_counter_ns()}-{name}"

    def program(*words):
        return lambda: [arguments.program, *map(str, words)]

    contestants = {
        ("import", "Python alone"): lambda: python("pass"),
        ("import", "import lookalike"): lambda: python("import lookalike"),
        ("import", "all its classes"): lambda: python(
            "from lookalike import Encoder, Gallery, Neighbors, datasets"
        ),
        ("train", "program"): lambda: [
            arguments.program,
            "train",
            "mnist:train",
            "--arch",
            "conv",
            "--epochs",
            "1",
            "--out",
            str(of("m")),
        ],
        ("train", "Python, source"): lambda: python(TRAIN.format(images=NAMED, out=of("m"))),
        ("train", "Python, array"): lambda: python(TRAIN.format(images=ARRAY, out=of("m"))),
        ("index", "program"): lambda: [
            arguments.program,
            "index",
            "mnist:train",
            "--model",
            str(model),
            "--gallery",
            str(of("g")),
            "--no-diffusion",
        ],
        ("index", "Python, source"): lambda: python(
            INDEX.format(images=NAMED, model=model, out=of("g"))
        ),
        ("encode", "Python, array"): lambda: python(
            ENCODE.format(images=ARRAY, model=model, passes=PASSES)
        ),
        ("encode", "Python, source"): lambda: python(
            ENCODE.format(images=NAMED, model=model, passes=PASSES)
        ),
    }
    if arguments.speed:
        contestants["encode", "Rust"] = lambda: [
            arguments.speed,
            "encode",
            "--images",
            "60000",
            "--passes",
            str(PASSES),
        ]
    found = {}
    for number in range(arguments.rounds):
        for (what, who), command in contestants.items():
            repeats = 5 if what == "import" else 1
            for _ in range(repeats):
                found.setdefault((what, who), []).append(measure(command()))
                print(
                    number,
                    what,
                    who,
                    *(f"{seconds:.2f}" for seconds in found[what, who][-1]),
                    file=sys.stderr,
                )
        for old in folder.glob("*-*"):
            shutil.rmtree(old) if old.is_dir() else os.remove(old)
    shutil.rmtree(folder)
    report = {
        f"{what}: {who}": {
            "clock": statistics.median(one[0] for one in times),
            "processors": statistics.median(one[1] for one in times),
        }
        for (what, who), times in found.items()
    }
    for name, seconds in report.items():
        print(
            f"{name:28} {seconds['clock']:8.2f} s  {seconds['processors']:8.2f} s of the processors"
        )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
