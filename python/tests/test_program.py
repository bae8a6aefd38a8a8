"""The program in the package, and the package as a whole."""

import inspect
import os
import re
import signal
import subprocess
import sys

import lookalike
import pytest
from lookalike import _lookalike


def run(*arguments, **how):
    return subprocess.run(
        [sys.executable, "-m", "lookalike", *arguments], capture_output=True, text=True, **how
    )


def test_it_is_the_program():
    shown = run("--version")
    assert shown.returncode == 0 and shown.stdout.split()[-1] == lookalike.__version__
    assert "search" in run("--help").stdout
    wrong = run("search")
    assert wrong.returncode == 2 and "Usage: lookalike search" in wrong.stderr
    failed = run("info", "nowhere")
    assert failed.returncode == 1 and failed.stderr.startswith("lookalike: ")
    script = os.path.join(os.path.dirname(sys.executable), "lookalike")
    if os.path.exists(script):
        assert (
            subprocess.run([script, "--version"], capture_output=True, text=True).stdout
            == shown.stdout
        )


def test_it_trains_and_an_interruption_keeps_the_checkpoint(tmp_path):
    command = [sys.executable, "-m", "lookalike", "train", "mnist:test", "--out", "m.safetensors"]
    command += ["--arch", "conv", "--epochs", "100000", "--sample", "100", "--seed", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("epoch 2:"):
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "--resume" in said
    assert (tmp_path / "m.safetensors.checkpoint").exists()


# The program, replaced by work that never ends and holds no lock, as a command without a handler of
# its own.
ENDLESS = """
import sys, threading
import lookalike._lookalike as extension
from lookalike.__main__ import main

def endless(arguments):
    print("begun", flush=True)
    threading.Event().wait()

extension.run_program = endless
main()
"""


def test_an_interruption_ends_commands_without_a_handler():
    process = subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == -signal.SIGINT


def test_importing_loads_nothing_else():
    script = "import sys, lookalike; print(sorted({'numpy', 'sklearn', 'torch', 'pandas', 'PIL'} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True
        ).stdout.strip()
        == "[]"
    )
    script = "import sys; from lookalike import Encoder, Gallery, Neighbors, datasets; print('sklearn' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True
        ).stdout.strip()
        == "False"
    )


def test_the_package_is_typed_and_its_stub_is_whole():
    import ast
    from importlib import resources

    files = resources.files("lookalike")
    assert files.joinpath("py.typed").is_file()
    tree = ast.parse(files.joinpath("_lookalike.pyi").read_text(encoding="utf-8"))
    stubs = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            stubs[node.name] = {
                inner.name for inner in node.body if isinstance(inner, ast.FunctionDef)
            }
        elif isinstance(node, ast.FunctionDef):
            stubs[node.name] = None
    there = {name for name in dir(_lookalike) if not name.startswith("_")}
    assert there == set(stubs)
    for name, members in stubs.items():
        if members is not None:
            assert {
                member for member in vars(getattr(_lookalike, name)) if not member.startswith("_")
            } == members


def test_all_that_is_public_is_described():
    from lookalike import Encoder, Gallery, Neighbors, datasets, errors
    from lookalike._answers import Answer, Table

    for thing in (Encoder, Gallery, Neighbors, datasets, errors, lookalike.set_threads):
        assert thing.__doc__
    for kind in (Encoder, Gallery, Neighbors, Answer, Table):
        for name, member in inspect.getmembers(kind):
            if name.startswith("_"):
                continue
            called, said = f"{kind.__name__}.{name}", inspect.getdoc(member) or ""
            assert said, called
            # Not what is Python's own, such as the methods of a sequence.
            if getattr(member, "__module__", "").startswith("lookalike."):
                signature = inspect.signature(member)
                takes = bool(set(signature.parameters) - {"self"})
                gives = signature.return_annotation != "None"
                assert bool(re.search("Parameters\n---", said)) == takes, called
                assert bool(re.search("(Returns|Yields)\n---", said)) == gives, called
    assert set(lookalike.__all__) <= set(dir(lookalike))
    assert issubclass(errors.GalleryInUseError, errors.GalleryError)
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, (errors.LookalikeError, UserWarning))


def test_the_number_of_threads_is_said_once():
    script = "import lookalike; print(lookalike.set_threads(1), lookalike.set_threads(2))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout.split() == ["1", "1"]
    assert "threads=2 comes too late: 1 compute already" in found.stderr
    for threads in (0, -1, 1025, 2.5, "many"):
        with pytest.raises(lookalike.errors.ParameterError, match="threads=.* from 1 to 1024"):
            lookalike.set_threads(threads)
