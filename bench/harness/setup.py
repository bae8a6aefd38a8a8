"""Everything that must be there before the first round: the peers, our programs, the data."""
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from . import process

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
PEERS = BENCH / "peers"
MNIST = ROOT / "datasets" / "mnist"
REQUIREMENTS, CONSTRAINTS = BENCH / "requirements.txt", BENCH / "constraints.txt"


def say(text):
    print(text, file=sys.stderr, flush=True)


def peers(folder):
    """The Python of the peers' virtual environment, made if it is missing or of other versions."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + CONSTRAINTS.read_bytes()).hexdigest()
    mark = folder / "installed-requirements"
    if mark.exists() and mark.read_text() == wanted:
        return python
    say(f"installing the peers into {folder} (some GB, once)")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(CONSTRAINTS)]
    if subprocess.run([*install, "-r", str(REQUIREMENTS)]).returncode:
        say("not all peers can be installed together: trying them one by one")
        failed = [peer for peer in requirements() if subprocess.run([*install, peer]).returncode]
        for peer in failed:
            say(f"{peer} cannot be installed here: what needs it will be reported as missing")
        if failed == requirements():
            # No network, perhaps: the next run tries again.
            return python
    mark.write_text(wanted)
    return python


def requirements():
    lines = REQUIREMENTS.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def build():
    """Builds our programs; returns the folder with them. The whole workspace at once, always: a part
    of it would be built with other features of what its crates share."""
    say("building Lookalike (the first time takes a quarter of an hour on two cores)")
    subprocess.run(["cargo", "build", "--release", "--locked", "--workspace", "--bins", "--examples"], cwd=ROOT, check=True)
    return target()


def target():
    described = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"],
                               cwd=ROOT, check=True, capture_output=True)
    return Path(json.loads(described.stdout)["target_directory"]) / "release"


def environment(threads):
    """The same number of threads for everybody, by every name that it goes by; and no GPU for anybody."""
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS",
             "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"]
    return {**os.environ, **{name: str(threads) for name in names},
            "CUDA_VISIBLE_DEVICES": "", "LOOKALIKE_DATA": str(MNIST), "PYTHONDONTWRITEBYTECODE": "1",
            # Their progress and warnings cost nothing then, and errors stay readable.
            "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}


def codes(python, folder, images, queries, env):
    """Writes the codes and the right answers for the neighbours' items, once; says why not, if not."""
    folder.mkdir(parents=True, exist_ok=True)
    # The truth is written first, so the codes are there only if both are.
    if (folder / "codes.f32").exists():
        return None
    say("making the codes for the neighbours")
    command = [str(python), str(PEERS / "neighbours.py"), "--prepare", "--folder", str(folder),
               "--mnist", str(MNIST), "--images", str(images), "--queries", str(queries)]
    return attempt(command, env)


def gallery(lookalike, folder, limit, env):
    """Makes a gallery of MNIST's test images for the start-up's item, once; says why not, if not."""
    model, made = folder / "model.safetensors", folder / "made"
    if made.exists():
        return None
    folder.mkdir(parents=True, exist_ok=True)
    say("making a gallery to search")
    train = [lookalike, "train", "mnist:test", "--limit", limit, "--epochs", 1, "--restart", "--out", model]
    index = [lookalike, "index", "mnist:test", "--model", model, "--no-diffusion", "--gallery", folder / "test.gallery"]
    for command in train, index:
        error = attempt([str(part) for part in command], env)
        if error:
            return error
    made.touch()
    return None


def weigh(photos):
    """How many photographs there are, and their bytes."""
    sizes = [path.stat().st_size for path in Path(photos).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")]
    return len(sizes), sum(sizes)


def photos(lookalike, folder, photos, env):
    """Makes a model for the photographs, once; says why not, if not."""
    if not photos:
        return "--photos FOLDER was not given"
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model.safetensors"
    if model.exists():
        return None
    say("making a model for the photographs")
    return attempt([str(part) for part in [lookalike, "train", photos, "--sample", 100, "--epochs", 1, "--size", "64x64",
                                           "--channels", 3, "--out", model]], env)


def attempt(command, env):
    """Runs a command; says why it failed, if it did."""
    try:
        process.run(command, env, 1800, ROOT)
    except process.Failed as error:
        return str(error)
    return None
