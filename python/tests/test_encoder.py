"""Learning and encoding."""

import copy
import json
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from lookalike import Encoder, Neighbors, errors


def quick(**parameters):
    return Encoder(
        **{"architecture": "conv", "epochs": 2, "random_state": 0, "progress": False, **parameters}
    )


def test_the_attributes_say_what_was_learned(encoder, digits):
    assert encoder.shape_ == (28, 28, 1)
    assert encoder.metric_ == "cosine"
    assert encoder.n_parameters_ > 100_000
    assert encoder.recipe_["objective"] == "look"
    assert encoder.record_["data"]["images"] == 400
    assert [epoch["epoch"] for epoch in encoder.history_] == list(
        range(1, len(encoder.history_) + 1)
    )
    assert all(np.isfinite(epoch["loss"]) for epoch in encoder.history_)
    codes = encoder.transform(digits.images)
    assert codes.dtype == np.float32 and codes.shape == (400, encoder.n_features_out_)
    assert codes.flags.writeable


def test_the_article_s_network_has_the_article_s_codes(article, digits):
    assert article.n_features_out_ == 7 * 7 * 32
    assert article.metric_ == "euclidean"
    made = article.reconstruct(digits.images[:5])
    assert made.shape == (5, 28, 28) and made.dtype == np.uint8
    # It learned something: nearer to the images than a mean image is.
    error = np.square(made - digits.images[:5].astype(float)).mean()
    assert error < np.square(digits.images[:5] - digits.images.mean(0)).mean()


def test_a_random_state_decides_everything(digits):
    images = digits.images[:60]
    first, again, other = (
        quick(random_state=state).fit(images).transform(images[:9]) for state in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    states = (np.random.RandomState(1), np.random.default_rng(1), None)
    for state in states:
        assert quick(random_state=state).fit(images).recipe_["seed"] >= 0
    with pytest.raises(errors.ParameterError, match="random_state"):
        quick(random_state="seven").fit(images)


def test_the_same_by_the_program(digits, tmp_path):
    """One recipe, one model file, whoever trains; and either reads the other's."""
    arguments = (
        "train mnist:test --out there.safetensors --arch conv --epochs 1 --limit 200 --json".split()
    )
    subprocess.run([sys.executable, "-m", "lookalike", *arguments], capture_output=True, check=True)
    there = Encoder.load("there.safetensors")
    here = quick(epochs=1).fit(digits.images[:200])
    np.testing.assert_array_equal(here.transform(digits.images), there.transform(digits.images))
    assert there.get_params()["architecture"] == "conv"
    assert len(there.history_) == 1
    here.save("here.safetensors")
    shown = subprocess.run(
        [sys.executable, "-m", "lookalike", "info", "here.safetensors", "--json"],
        capture_output=True,
        check=True,
    )
    assert json.loads(shown.stdout)["code_dim"] == 1568


def test_copies_and_pickles_are_the_same_encoder(article, digits):
    for other in (copy.deepcopy(article), pickle.loads(pickle.dumps(article))):
        np.testing.assert_array_equal(
            other.transform(digits.images[:5]), article.transform(digits.images[:5])
        )
        assert other.get_params() == article.get_params()
    assert not hasattr(pickle.loads(pickle.dumps(quick())), "model_")


def test_callbacks_hear_of_every_epoch(digits):
    heard = []
    encoder = quick(epochs=3, callbacks=[heard.append]).fit(digits.images[:200])
    assert heard == encoder.history_ and [epoch["epoch"] for epoch in heard] == [1, 2, 3]
    assert heard[0].keys() == {"epoch", "loss", "seconds"}


def test_epochs_are_logged(digits, caplog):
    with caplog.at_level(logging.INFO, "lookalike"):
        quick(epochs=1, compare=False).fit(digits.images[:100])
    assert [record.getMessage()[:13] for record in caplog.records] == ["epoch 1: loss"]


def test_a_stopped_run_is_kept_and_goes_on(digits):
    images = digits.images[:400]
    whole = quick(epochs=4, batch_size=16).fit(images)

    class Enough(Exception):
        pass

    def stop(epoch):
        raise Enough

    with pytest.raises(Enough):
        quick(epochs=4, batch_size=16, checkpoint="run.checkpoint", callbacks=[stop]).fit(images)
    assert os.path.exists("run.checkpoint")
    with pytest.raises(errors.CheckpointError, match="seed"):
        quick(epochs=4, batch_size=16, checkpoint="run.checkpoint", random_state=5).fit(images)
    heard = []
    resumed = quick(
        epochs=4, batch_size=16, checkpoint="run.checkpoint", callbacks=[heard.append]
    ).fit(images)
    assert not os.path.exists("run.checkpoint")
    assert [epoch["epoch"] for epoch in heard] == [2, 3, 4]
    np.testing.assert_array_equal(whole.transform(images), resumed.transform(images))


def test_what_a_callback_raises_stops_the_run_where_it_is(digits):
    """The run waits for its callbacks, so that it goes on with the very next epoch."""

    def stop(epoch):
        if epoch["epoch"] == 2:
            raise RuntimeError("enough")

    quick = {"architecture": "conv", "epochs": 4, "random_state": 0, "progress": False}
    quick |= {"checkpoint": "run.checkpoint", "batch_size": 16}
    with pytest.raises(RuntimeError, match="enough"):
        Encoder(**quick, callbacks=[stop]).fit(digits.images[:64])
    heard = []
    Encoder(**quick, callbacks=[heard.append]).fit(digits.images[:64])
    assert [epoch["epoch"] for epoch in heard] == [3, 4]


def test_interruptions_stop_training(digits, caplog):
    def interrupt(epoch):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        quick(epochs=1000, checkpoint="run.checkpoint", callbacks=[interrupt]).fit(
            digits.images[:100]
        )
    assert os.path.exists("run.checkpoint")
    with caplog.at_level(logging.WARNING, "lookalike"), pytest.raises(KeyboardInterrupt):
        quick(epochs=1000, callbacks=[interrupt]).fit(digits.images[:100])
    # Kept as well, and named.
    remove_kept(caplog.records[-1].getMessage())


def remove_kept(said):
    """Remove the temporary checkpoint that was named."""
    kept = re.search(r"checkpoint='(.*?)'", said)[1]
    assert os.path.exists(kept)
    os.remove(kept)


def test_a_run_that_a_callback_stopped_is_named_by_the_exception(digits, caplog):
    def stop(epoch):
        raise ValueError("enough")

    with caplog.at_level(logging.WARNING, "lookalike"), pytest.raises(ValueError) as caught:
        quick(callbacks=[stop]).fit(digits.images[:100])
    if hasattr(caught.value, "__notes__"):
        assert caught.value.__notes__ == [caplog.records[-1].getMessage()]
    remove_kept(caplog.records[-1].getMessage())


def test_codes_are_judged_unless_that_is_not_wanted(digits):
    images = digits.images[:100]
    little = {"epochs": 4, "batch_size": 16}
    with pytest.warns(errors.LookalikeWarning, match="judged without labels, .* worse .* by HOG"):
        judged = quick(**little).fit(images)
    assert judged.record_["comparison"]["images"] == 100
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "judged")
        assert "comparison" not in quick(**little, compare=False).fit(images).record_


def test_a_run_that_was_stopped_while_it_was_judged_goes_on_with_that(digits):
    """Its model is finished, and kept as a checkpoint."""
    images = digits.images[:200]
    kept = {"checkpoint": "run.checkpoint", "epochs": 1}
    whole = quick(epochs=1).fit(images)

    class Stop(Exception):
        pass

    def progress(self, phase, done, total):
        if phase == "judging":
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lookalike._progress.Observer.progress", progress)
        with pytest.raises(Stop):
            quick(**kept).fit(images)
    heard = []
    resumed = quick(**kept, callbacks=[heard.append]).fit(images)
    assert not heard and not os.path.exists("run.checkpoint")
    np.testing.assert_array_equal(whole.transform(images), resumed.transform(images))
    assert resumed.record_["comparison"] == whole.record_["comparison"]


def test_other_threads_run_meanwhile(digits, encoder, gallery):
    """The interpreter's lock is free while the extension works. It is asked for only by the other
    thread, which would wait ten seconds before Python made this one give it up."""
    codes = np.random.default_rng(0).normal(size=(20_000, 64)).astype(np.float32)
    neighbors = Neighbors(n_neighbors=5).fit(codes)
    interval = sys.getswitchinterval()
    for work in (
        lambda: quick(epochs=1).fit(digits.images),
        lambda: encoder.transform(np.tile(digits.images, (10, 1, 1))),
        lambda: neighbors.kneighbors(codes),
        lambda: neighbors.kneighbors(),
        lambda: gallery.index(np.tile(digits.images, (10, 1, 1)), name="again", progress=False),
        lambda: gallery.duplicates(progress=False),
    ):
        begun, ran = threading.Event(), threading.Event()

        def other(begun=begun, ran=ran):
            begun.wait()
            ran.set()

        thread = threading.Thread(target=other)
        thread.start()
        sys.setswitchinterval(10)
        try:
            begun.set()
            work()
            assert ran.is_set()
        finally:
            sys.setswitchinterval(interval)
            begun.set()
            thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_forked_workers_encode_what_they_inherit_and_what_they_are_sent():
    script = """
import multiprocessing, os
import numpy as np
import lookalike
from lookalike import Encoder, Neighbors, datasets
images = datasets.load_mnist("test", limit=60).images
quick = dict(architecture="conv", epochs=1, random_state=0, progress=False)
encoder = Encoder(**quick).fit(images)
expected = encoder.transform(images)

def work(sent):
    assert lookalike.set_threads() == 1 and lookalike.set_threads(2) == 2
    codes = sent.transform(images)
    np.testing.assert_array_equal(encoder.transform(image for image in images), codes)
    again = Encoder(**quick).fit(images).transform(images)
    np.testing.assert_array_equal(again, codes)
    assert Neighbors(n_neighbors=1).fit(codes).kneighbors(codes)[1].ravel().tolist() == list(range(60))
    return codes

with multiprocessing.get_context("fork").Pool(2) as pool:
    for codes in pool.map(work, [encoder, encoder]):
        np.testing.assert_array_equal(codes, expected)
"""
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_process_that_was_forked_during_work_is_told(article, digits):
    """Its other threads, and whatever they held, stayed behind."""

    def images():
        yield digits.images[0]
        child = os.fork()
        if child == 0:
            try:
                article.transform(digits.images[:3])
            except errors.LookalikeError as error:
                os._exit(0 if "spawn" in str(error) else 2)
            os._exit(1)
        told.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    told = []
    article.transform(images())
    assert told == [0]


def test_a_pickle_is_loaded_when_it_is_used(article, digits, tmp_path):
    """So that a worker process that cannot load what it was sent says why."""
    state = article.__getstate__()
    assert "model_" not in state
    sent = Encoder.__new__(Encoder)
    vars(sent).update(state)
    assert sent._is_fitted() and "model_" not in vars(sent)
    np.testing.assert_array_equal(
        sent.transform(digits.images[:3]), article.transform(digits.images[:3])
    )
    broken = pickle.loads(pickle.dumps(article))
    vars(broken)["_model_state"] = b"1234"
    broken = pickle.loads(pickle.dumps(broken))
    assert broken._is_fitted()
    with pytest.raises(errors.ModelError):
        broken.transform(digits.images[:3])


def test_the_recipe_says_how_images_were_changed(digits):
    parameters = {"augmentation": "mild", "turn": np.True_, "mirror": True, "precision": "f32"}
    made = Encoder(**parameters, epochs=1, random_state=0, progress=False).fit(digits.images[:60])
    assert made.recipe_["precision"] == "f32"
    assert made.recipe_["distortion"]["turn"] and made.recipe_["distortion"]["mirror"]
    made.save("turned.safetensors")
    loaded = Encoder.load("turned.safetensors")
    assert (loaded.turn, loaded.mirror, loaded.precision) == (True, True, "f32")
    assert loaded.augmentation_strength is None


def test_bf16_is_learned_in_or_refused(digits):
    try:
        made = quick(precision="bf16", epochs=1).fit(digits.images[:40])
    except errors.ParameterError as error:
        assert "bf16" in str(error)
    else:
        assert made.recipe_["precision"] == "bf16"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"architecture": "resnet"}, "architecture: unknown option `resnet`, expected one of"),
        ({"architecture": None}, "architecture: unknown option `None`, expected one of `conv`"),
        ({"effort": None}, "effort: unknown option `None`, expected one of `quick`"),
        ({"precision": None}, "precision: unknown option `None`, expected one of `auto`"),
        ({"resize": "squeeze"}, "resize: unknown option `squeeze`, expected one of `stretch`"),
        ({"code_dim": 64}, "code_dim=64: codes of architecture='conv'"),
        ({"compare": "no"}, "compare='no': expected True, False"),
        ({"epochs": 0}, "epochs=0: expected a whole number of at least 1"),
        ({"epochs": "many"}, "epochs='many'"),
        ({"sample": 2.5}, "sample=2.5"),
        ({"channels": 2}, r"channels=2: expected 1 \(grey\), 3 \(colour\) or None"),
        ({"learning_rate": -1.0}, "learning rate"),
        ({"learning_rate": "fast"}, "learning_rate='fast': expected a number"),
        ({"objective": "look"}, "bottleneck"),
        ({"objective": "distil"}, "teacher"),
        ({"device": "abacus"}, "device"),
        ({"input_size": 28}, "input_size"),
        ({"input_size": (7, 28)}, r"input_size=\(7, 28\): expected a height and a width of 8 to"),
        ({"input_size": (100_000, 100_000)}, r"input_size=.*: .* of 8 to 1024 pixels"),
        ({"callbacks": print}, "callbacks"),
        ({"teacher": 3}, "teacher=3: expected an Encoder or a path"),
        ({"checkpoint": 3}, "checkpoint=3: expected a path"),
        ({"batch_size": float("nan")}, "batch_size=nan: expected a whole number"),
        ({"weight_decay": float("inf")}, "weight_decay=inf: expected a finite number"),
        ({"loss": object()}, "loss: unknown option `<object .*`, expected `mse` or `bce`"),
        ({"augmentation": "wild", "architecture": "bottleneck"}, "wild"),
        ({"precision": "f16"}, "unknown option `f16`, expected one of `auto`, `f32`, `bf16`"),
        ({"turn": 1}, "turn=1: expected True, False or None"),
        ({"mirror": "yes"}, "mirror='yes'"),
        ({"augmentation_strength": -1}, "augmentation_strength=-1: expected a number from 0 to 5"),
        ({"colour_strength": True}, "colour_strength=True"),
        ({"noise": float("nan")}, "noise=nan"),
        ({"mask": 2}, "mask=2: expected a number from 0 to 1"),
    ],
)
def test_parameters_that_cannot_work_are_refused(digits, parameters, said):
    with pytest.raises(errors.LookalikeError, match=said) as caught:
        quick(**parameters).fit(digits.images[:20])
    assert isinstance(caught.value, ValueError)


def test_what_is_read_once_is_refused_before_it_is_read(article, digits):
    images = iter(digits.images[:40])
    for parameters in ({"teacher": article}, {"input_size": 28}, {"objective": "distil"}):
        with pytest.raises(errors.LookalikeError):
            Encoder(**parameters).fit(images)
    assert len(list(images)) == 40

    class Stream:
        """Can be read again, but not by who was given an iterator of it."""

        read = 0

        def __iter__(self):
            for image in digits.images[:40]:
                self.read += 1
                yield image

    stream = Stream()
    with pytest.raises(errors.InputError, match="a data set that is not streamed"):
        Encoder(teacher=article).fit(stream)
    assert stream.read == 1


def test_one_image_cannot_be_learned_from(digits):
    with pytest.raises(errors.SourceError, match="at least 2"):
        Encoder(epochs=1, random_state=0, progress=False).fit(digits.images[:1])


def test_before_fit_there_is_nothing(digits, tmp_path):
    for use in (
        lambda encoder: encoder.transform(digits.images),
        lambda encoder: encoder.save("model"),
        lambda encoder: encoder.to_onnx(),
        lambda encoder: encoder.get_feature_names_out(),
        lambda encoder: encoder.reconstruct(digits.images),
    ):
        with pytest.raises(errors.NotFittedError, match="not fitted"):
            use(Encoder())


def test_what_cannot_be_written_is_no_missing_model(article, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in ("nowhere/model", "file/model"):
        for write in (article.save, article.to_onnx):
            with pytest.raises(errors.FileError, match="model") as caught:
                write(path)
            assert isinstance(caught.value, OSError)
            assert not isinstance(caught.value, errors.ModelError)


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(errors.ParameterError, match="path=3: expected a path, not int"):
        Encoder.load(3)
    with pytest.raises(FileNotFoundError):
        Encoder.load("nowhere.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"1234")
    with pytest.raises(errors.ModelError, match="bad.safetensors"):
        Encoder.load("bad.safetensors")


def test_a_model_that_learned_nothing_warns(digits):
    with pytest.warns(errors.LookalikeWarning, match="learned nothing"):
        quick(epochs=1, learning_rate=1e-9).fit(digits.images[:40])


def test_pictures_are_learned_from_in_colour(colour_encoder, pictures):
    assert colour_encoder.shape_ == (20, 24, 3)
    assert Encoder(epochs=1, input_size=(16, 16), channels=1, random_state=0, progress=False).fit(
        pictures
    ).shape_ == (16, 16, 1)
    assert (
        Encoder(epochs=1, sample=10, random_state=0, progress=False)
        .fit(pictures)
        .record_["data"]["images"]
        == 10
    )


def test_it_says_what_it_is(encoder):
    assert repr(Encoder()) == "Encoder()"
    assert repr(Encoder(epochs=3, random_state=0)) == "Encoder(epochs=3, random_state=0)"
    assert "176 numbers" in encoder._repr_html_()
    assert "not fitted" in Encoder()._repr_html_()
