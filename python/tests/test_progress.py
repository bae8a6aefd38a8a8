"""Bars: one for each phase, closed at the end; without tqdm, none."""

import sys

import pytest
from lookalike._progress import Observer


class Bar:
    """What a bar was told."""

    all: list["Bar"] = []

    def __init__(self, desc, total, **how):
        self.desc, self.total, self.n, self.closed, self.beside = desc, total, 0, False, {}
        self.all.append(self)

    def update(self, by):
        self.n += by

    def set_postfix(self, beside, refresh):
        self.beside = beside

    def close(self):
        self.closed = True


@pytest.fixture
def bars(monkeypatch):
    monkeypatch.setattr(Bar, "all", [])
    tqdm = pytest.importorskip("tqdm.auto")
    monkeypatch.setattr(tqdm, "tqdm", Bar)
    return Bar.all


def test_a_bar_follows_its_phase(bars):
    with Observer(True) as observer:
        observer.progress("indexing", 0, 100)
        observer.progress("storing", 7, None)
        observer.progress("indexing", 40, 100)
        observer.progress("comparing codes", 5, 10)
    first, second = bars
    assert (first.desc, first.n, first.total, first.beside) == ("indexing", 40, 100, {"storing": 7})
    assert (second.desc, second.n, first.closed, second.closed) == (
        "comparing codes",
        5,
        True,
        True,
    )


def test_a_bar_without_an_end_counts(bars):
    with Observer(True) as observer:
        observer.progress("encoding", 16, None)
        observer.progress("encoding", 48, None)
        observer.progress("storing", 3, None)
    assert [(bar.desc, bar.n, bar.total) for bar in bars] == [
        ("encoding", 48, None),
        ("storing", 3, None),
    ]


def test_a_bar_that_is_switched_off_does_not_stop_the_work(monkeypatch):
    pytest.importorskip("tqdm.auto")
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with Observer(True) as observer:
        for done in (1, 2):
            observer.progress("indexing", done, 10)
            observer.progress("storing", done, None)


def test_training_tells_epoch_loss_and_rate(bars):
    about = {
        "epoch": 2,
        "epochs": 3,
        "loss": 0.25,
        "images_per_second": 1234.5,
        "seconds_left": 9.0,
    }
    with Observer(True) as observer:
        observer.step(20, 60, about)
    assert bars[0].beside == {"epoch": "2/3", "loss": "0.25000", "images": "1234/s"}


def test_nobody_looks(bars, capfd, digits):
    from lookalike import Encoder

    quick = {"architecture": "conv", "epochs": 1, "random_state": 0}
    Encoder(**quick).fit(digits.images[:100])
    assert not bars
    Encoder(**quick, progress=True).fit(digits.images[:100])
    assert [bar.desc for bar in bars] == ["training", "judging"]
    assert all(bar.n == bar.total for bar in bars)


def test_encoding_is_shown_whatever_images_come_as(bars, digits):
    from lookalike import Encoder

    quick = {"architecture": "conv", "epochs": 1, "random_state": 0}
    encoder = Encoder(**quick, progress=False).fit(digits.images[:60])
    encoder.set_params(progress=True)
    for images in (digits.images, list(digits.images), [image[:20] for image in digits.images]):
        bars.clear()
        encoder.transform(images)
        assert [(bar.desc, bar.n, bar.total) for bar in bars] == [("encoding", 400, 400)]


def test_without_tqdm_there_is_no_bar(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with Observer(True) as observer:
        observer.progress("indexing", 0, 100)
        observer.progress("indexing", 5, 100)
