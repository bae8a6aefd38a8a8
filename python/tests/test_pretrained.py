"""Encoders that others have trained: a tiny CLIP of digits and their names."""

import pathlib
import pickle

import numpy as np
import pytest

from lookalike import Encoder, Gallery, Neighbors, errors

CLIP = pathlib.Path(__file__).parents[2] / "crates/lookalike-pretrained/tests/fixtures/tiny-clip"


@pytest.fixture(scope="module")
def clip():
    return Encoder.load(CLIP)


def test_it_encodes_images_and_words(clip, digits):
    codes = clip.transform(digits.images[:20])
    assert codes.shape == (20, clip.n_features_out_) and clip.recipe_ is None
    assert clip.encode_text("a seven").shape == (clip.n_features_out_,)
    again = pickle.loads(pickle.dumps(clip))
    np.testing.assert_array_equal(again.transform(digits.images[:20]), codes)
    neighbors = Neighbors(clip, n_neighbors=1).fit(digits.images[:20])
    assert neighbors.kneighbors(digits.images[:3])[1].ravel().tolist() == [0, 1, 2]
    assert "encoder" in clip._repr_html_()


def test_a_gallery_of_its_codes_is_asked_by_words(clip, digits):
    with Gallery.create("clip.gallery", clip) as gallery:
        gallery.index(digits.images[:50], name="digits", labels=digits.target[:50], progress=False)
        assert len(gallery.search(text="seven", k=3)) == 3
        both = gallery.search(like=digits.images[0], unlike=digits.images[1], k=3)
        assert len(both) == 3
        np.testing.assert_array_equal(gallery.encoder.shape_, clip.shape_)
    with Gallery.open("clip.gallery", models=[CLIP]) as gallery:
        assert gallery.search(digits.images[4], k=1).keys == ["4"]


def test_a_small_encoder_learns_its_codes(clip, digits):
    options = {"epochs": 20, "random_state": 0, "progress": False}
    student = Encoder(teacher=CLIP, **options).fit(digits.images)
    assert student.recipe_["objective"] == "distil"
    assert student.recipe_["teacher"]["name"] == CLIP.name
    # What is near to the teacher is near to the student, far more often than by chance.
    first, others = clip.transform(digits.images), student.transform(digits.images)
    near = [Neighbors(n_neighbors=5, metric="cosine").fit(codes).kneighbors()[1] for codes in (first, others)]
    shared = np.mean([len(set(ours) & set(theirs)) / 5 for ours, theirs in zip(*near)])
    assert shared > 0.2
    # An encoder in memory is the same teacher.
    again = Encoder(teacher=clip, **options).fit(digits.images)
    np.testing.assert_array_equal(again.transform(digits.images[:9]), others[:9])
    for wrong, said in (
        ({"teacher": Encoder()}, "fit it first"),
        ({"teacher": clip, "objective": "look"}, "exclude"),
        ({"objective": "distil"}, "teacher="),
    ):
        with pytest.raises(errors.ParameterError, match=said):
            Encoder(**wrong).fit(digits.images)
    with pytest.raises(errors.InputError, match="iterator"):
        Encoder(teacher=clip).fit(iter(digits.images))


def test_what_it_cannot_do_is_said(clip, tmp_path):
    for use in (
        lambda: clip.save(tmp_path / "model"),
        lambda: clip.to_onnx(tmp_path / "model.onnx"),
        lambda: clip.reconstruct([np.zeros((9, 9), np.uint8)]),
    ):
        with pytest.raises(errors.ModelError, match="not an autoencoder of ours"):
            use()
