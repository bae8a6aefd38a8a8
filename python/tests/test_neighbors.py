"""Exact neighbours in memory."""

import numpy as np
import pytest
from lookalike import Encoder, Neighbors, errors


@pytest.fixture(scope="module")
def codes():
    return np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32)


@pytest.mark.parametrize(
    ("metric", "theirs"),
    [("euclidean", "euclidean"), ("cosine", "cosine"), ("manhattan", "manhattan")],
)
def test_the_same_as_scikit_learn(codes, metric, theirs):
    neighbors = pytest.importorskip("sklearn.neighbors")
    reference = neighbors.NearestNeighbors(n_neighbors=7, metric=theirs, algorithm="brute").fit(
        codes
    )
    own = Neighbors(n_neighbors=7, metric=metric).fit(codes)
    queries = codes[:50] + 0.01
    for ours, expected in zip(own.kneighbors(queries), reference.kneighbors(queries)):
        np.testing.assert_allclose(ours, expected, atol=1e-5)
    # Without queries nobody is its own neighbour.
    np.testing.assert_array_equal(
        own.kneighbors(return_distance=False), reference.kneighbors(return_distance=False)
    )
    for mode in ("connectivity", "distance"):
        ours, expected = (
            own.kneighbors_graph(queries, mode=mode),
            reference.kneighbors_graph(queries, mode=mode),
        )
        np.testing.assert_allclose(ours.toarray(), expected.toarray(), atol=1e-5)
    assert own.kneighbors(queries, n_neighbors=2)[1].shape == (50, 2)


def test_the_inner_product(codes):
    distances, indices = Neighbors(n_neighbors=3, metric="dot").fit(codes).kneighbors(codes[:4])
    products = codes[:4] @ codes.T
    np.testing.assert_array_equal(indices, np.argsort(-products, axis=1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(-products, axis=1)[:, :3], rtol=1e-5)


def test_images_by_an_encoder(encoder, digits):
    neighbors = Neighbors(encoder, n_neighbors=3).fit(digits.images)
    assert neighbors.effective_metric_ == "cosine"
    assert neighbors.keys_[:3] == ["0", "1", "2"]
    distances, indices = neighbors.kneighbors(digits.images[:10])
    np.testing.assert_array_equal(indices[:, 0], np.arange(10))
    np.testing.assert_allclose(distances[:, 0], 0, atol=1e-6)
    # Codes are queries as well.
    np.testing.assert_array_equal(neighbors.kneighbors(neighbors.codes_[:10])[1], indices)
    # Most are of the same digit, which nobody told it.
    others = neighbors.kneighbors(return_distance=False)
    assert (digits.target[others[:, 0]] == digits.target).mean() > 0.6


def test_files_by_an_encoder(colour_encoder, pictures):
    neighbors = Neighbors(colour_encoder, n_neighbors=2).fit(str(pictures))
    distances, indices = neighbors.kneighbors([str(pictures / "spots" / "01.png")])
    assert neighbors.keys_[indices[0, 0]] == "spots/01.png"
    assert neighbors.labels_[indices[0, 0]] == "spots"
    assert distances.shape == (1, 2)


def test_an_encoder_that_is_not_fitted_is(digits):
    unfitted = Encoder(architecture="conv", epochs=1, random_state=0, progress=False)
    neighbors = Neighbors(unfitted, n_neighbors=2).fit(digits.images[:50])
    assert not unfitted._is_fitted()
    assert neighbors.encoder_._is_fitted()
    assert neighbors.kneighbors(digits.images[:5])[1][:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda codes: Neighbors(n_neighbors=0).fit(codes), "at least 1"),
        (lambda codes: Neighbors(n_neighbors=2.5).fit(codes), "whole number"),
        (lambda codes: Neighbors(metric="l7").fit(codes), "l7"),
        (lambda codes: Neighbors().fit(codes).kneighbors(codes, 301), "n_samples_fit"),
        (lambda codes: Neighbors().fit(codes).kneighbors(n_neighbors=300), "own neighbour"),
        (lambda codes: Neighbors().fit(codes).kneighbors(codes[:, :3]), "20 features"),
        (lambda codes: Neighbors().fit(codes[0]), "2D"),
        (lambda codes: Neighbors().fit(codes[:0]), "0 sample"),
        (lambda codes: Neighbors().fit(codes * np.nan), "NaN"),
        (lambda codes: Neighbors().fit([["a"]]), "numbers"),
        (lambda codes: Neighbors().fit(codes).kneighbors_graph(mode="x"), "mode"),
        (lambda codes: Neighbors().kneighbors(codes), "not fitted"),
        (lambda codes: Neighbors(5).fit(codes), "encoder=5: expected an Encoder"),
    ],
)
def test_what_cannot_be_answered_is_refused(codes, use, said):
    with pytest.raises(errors.LookalikeError, match=said) as caught:
        use(codes)
    assert isinstance(caught.value, ValueError)


def test_codes_beside_an_encoder_come_as_anything(article, digits):
    pandas = pytest.importorskip("pandas")
    article.save("model.safetensors")
    neighbors = Neighbors("model.safetensors", n_neighbors=2).fit(digits.images[:50])
    codes = article.transform(digits.images[:5])
    expected = neighbors.kneighbors(digits.images[:5], return_distance=False).tolist()
    for given in (codes, codes.tolist(), list(codes), pandas.DataFrame(codes)):
        assert neighbors.kneighbors(given, return_distance=False).tolist() == expected
    for wrong in (digits.images / 255, codes[:, :9]):
        with pytest.raises(errors.InputError, match="1568, and these are .* arrays of uint8"):
            neighbors.kneighbors(wrong)


def test_copies_find_the_same(codes):
    import copy
    import pickle

    own = Neighbors(n_neighbors=3).fit(codes)
    size = len(pickle.dumps(own))
    assert size < codes.nbytes * 1.2
    for other in (copy.deepcopy(own), pickle.loads(pickle.dumps(own))):
        np.testing.assert_array_equal(other.kneighbors(codes[:9])[1], own.kneighbors(codes[:9])[1])


def test_an_iterator_is_refused_before_it_is_learned_from(digits):
    images = iter(digits.images[:20])
    with pytest.raises(errors.InputError, match="read twice"):
        Neighbors(Encoder()).fit(images)
    assert len(list(images)) == 20
