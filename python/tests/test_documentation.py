"""Examples in docstrings, in docs/python.md, and the notebook: run as they are."""

import doctest
import importlib
import os
import pathlib

import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize(
    "name",
    [
        "lookalike",
        "lookalike.errors",
        "lookalike.datasets",
        "lookalike._encoder",
        "lookalike._neighbors",
        "lookalike._gallery",
    ],
)
def test_docstrings(name, monkeypatch):
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert failed == 0 and tried > 0


def test_the_guide(capfd):
    pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    failed, tried = doctest.testfile(
        str(ROOT / "docs" / "python.md"), module_relative=False, optionflags=OPTIONS
    )
    assert failed == 0, capfd.readouterr().out
    assert tried > 0


def test_the_readme(pictures, tmp_path):
    """Its example, with one epoch."""
    text = (ROOT / "python" / "README.md").read_text(encoding="utf-8")
    example = text.split("```python\n")[1].split("```")[0]
    quick = example.replace("Encoder(", "Encoder(epochs=1, progress=False, ")
    assert quick != example
    (tmp_path / "photos").symlink_to(pictures)
    Image.open(pictures / "spots" / "01.png").save(tmp_path / "query.jpg")
    found = {}
    exec(quick, found)
    assert found["codes"].shape[0] == 40 and found["indices"].shape == (1, 5)
    with found["Gallery"].open("photos.gallery") as gallery:
        assert len(gallery) == 40


def test_the_notebook(tmp_path, monkeypatch):
    """With few images and epochs, which its first cell takes from the environment."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for package in ("ipykernel", "matplotlib", "sklearn"):
        pytest.importorskip(package)
    monkeypatch.setenv("ARTICLE_IMAGES", "2000")
    monkeypatch.setenv("ARTICLE_EPOCHS", "1")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(ROOT / "examples" / "notebooks" / "article.ipynb", as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"image/png", "text/html"} <= kinds
    assert os.listdir(tmp_path)
