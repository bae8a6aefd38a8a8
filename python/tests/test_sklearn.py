"""scikit-learn's contract: `check_estimator`, pipelines, `clone`, `set_output`."""

import inspect
import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn
from lookalike import Encoder, Neighbors, errors
from sklearn.base import clone
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import check_array, check_is_fitted

SIDE = 8

# Checks that cannot apply, and why. Checks that scikit-learn itself skips here (such as that of the
# array API, without its variable in the environment) are shown as skipped.
EXPECTED_TO_FAIL: dict[str, dict[str, str]] = {"FloatEncoder": {}, "Neighbors": {}}


class FloatEncoder(Encoder):
    """An encoder for scikit-learn's checks, which make tables of floats: each row becomes a picture
    of 8 x 8 pixels, its columns one after another and again. All else is `Encoder`'s own."""

    def __init__(
        self,
        *,
        architecture="conv",
        epochs=1,
        image_shape=(SIDE, SIDE),
        progress=False,
        random_state=0,
    ):
        super().__init__(
            architecture=architecture,
            epochs=epochs,
            image_shape=image_shape,
            progress=progress,
            random_state=random_state,
        )

    def _input(self, X):
        table = check_array(X)
        columns = table.shape[1]
        known = getattr(self, "columns_", columns)
        if columns != known:
            raise ValueError(
                f"X has {columns} features, but FloatEncoder is expecting {known} features as input"
            )
        pixels = 255 / (1 + np.exp(-table[:, np.arange(SIDE * SIDE) % columns].astype(float) / 10))
        return super()._input(pixels.round().astype(np.uint8))

    def fit(self, X, y=None):
        self.__dict__.pop("columns_", None)
        columns = check_array(X).shape[1]
        super().fit(X, y)
        self.columns_ = self.n_features_in_ = columns
        return self

    def encode(self, X):
        # The pictures have 64 pixels, whatever the table has.
        kept = self.__dict__.pop("n_features_in_", None)
        try:
            return super().encode(X)
        finally:
            if kept is not None:
                self.n_features_in_ = kept


@pytest.mark.parametrize(
    "estimator", [Neighbors(), FloatEncoder()], ids=lambda estimator: type(estimator).__name__
)
def test_check_estimator(estimator):
    reasons = EXPECTED_TO_FAIL[type(estimator).__name__]
    passed, skipped, failed = [], [], {}
    for instance, check in estimator_checks_generator(estimator):
        name = getattr(check, "func", check).__name__
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", errors.LookalikeWarning)
                check(instance)
            passed.append(name)
        except pytest.skip.Exception:
            skipped.append(name)
        except BaseException as error:  # Whatever a check raises.
            if type(error).__name__ == "SkipTest":
                skipped.append(name)
            elif name not in reasons:
                failed[name] = error
    print(
        f"{type(estimator).__name__}: {len(passed)} checks passed; skipped: {', '.join(skipped) or 'none'}; expected to fail: {reasons or 'none'}"
    )
    assert not failed
    assert len(passed) > 35


def test_parameters_are_those_of_the_signature():
    names = set(inspect.signature(Encoder.__init__).parameters) - {"self"}
    assert set(Encoder().get_params()) == names
    nested = Neighbors(Encoder(epochs=3))
    assert nested.get_params()["encoder__epochs"] == 3
    assert nested.set_params(encoder__epochs=5, n_neighbors=2).encoder.epochs == 5
    with pytest.raises(ValueError, match="Invalid parameter"):
        nested.set_params(depth=3)


def test_clones_are_not_fitted(encoder):
    fresh = clone(encoder)
    assert fresh.get_params() == encoder.get_params() and not fresh._is_fitted()
    check_is_fitted(encoder)
    with pytest.raises(NotFittedError):
        check_is_fitted(fresh)
    with pytest.raises(NotFittedError) as caught:
        fresh.transform([np.zeros((8, 8), np.uint8)])
    # As it comes from a worker of joblib.
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is type(caught.value) and again.args == caught.value.args


@pytest.mark.parametrize(
    "parameters",
    [
        {"architecture": "conv", "optimiser": "adamw", "weight_decay": 0.1, "loss": "bce"},
        {
            "objective": "augment",
            "augmentation": "mild",
            "batch_size": 16,
            "code_dim": 24,
            "colour_weight": 0.3,
            "learning_rate": 0.0013,
            "schedule": "constant",
            "resize": "pad",
        },
        {
            "augmentation_strength": 0.3,
            "mirror": True,
            "turn": True,
            "colour_strength": 0.2,
            "precision": "f32",
        },
        {"augmentation": "auto", "turn": True, "mirror": True, "colour_strength": 0.7},
        {"objective": "denoise", "noise": 0.1, "mask": 0.5},
    ],
    ids=["conv", "bottleneck", "strength", "auto", "denoise"],
)
def test_a_clone_of_a_loaded_encoder_learns_by_the_same_recipe(parameters):
    images = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), np.uint8)
    encoder = Encoder(**parameters, epochs=1, random_state=5, progress=False).fit(images)
    encoder.save("model.safetensors")
    again = clone(Encoder.load("model.safetensors")).set_params(progress=False).fit(images)
    assert again.recipe_ == encoder.recipe_
    np.testing.assert_array_equal(again.transform(images), encoder.transform(images))


def test_pipelines(digits):
    images, labels = digits.images[:100], digits.target[:100]
    quick = Encoder(architecture="conv", epochs=1, random_state=0, progress=False)
    found = Pipeline(
        [("codes", quick), ("cluster", HDBSCAN(min_cluster_size=3, copy=True))]
    ).fit_predict(images)
    assert found.shape == (100,)
    pipeline = make_pipeline(clone(quick), KNeighborsClassifier(3))
    search = GridSearchCV(pipeline, {"encoder__epochs": [1, 2]}, cv=2).fit(images, labels)
    assert search.best_score_ > 0.4
    graph = make_pipeline(clone(quick), KMeans(3, n_init=1)).fit(images)
    assert list(graph[:-1].get_feature_names_out()[:2]) == ["encoder0", "encoder1"]


def test_output_in_data_frames(article, digits):
    pandas = pytest.importorskip("pandas")
    images = digits.images[:7]
    codes = article.transform(images)
    framed = clone(article).set_output(transform="pandas")
    framed._take(article.model_)
    frame = framed.transform(images)
    assert isinstance(frame, pandas.DataFrame) and list(frame.columns[:2]) == [
        "encoder0",
        "encoder1",
    ]
    np.testing.assert_array_equal(frame.to_numpy(), codes)
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(article.transform(images), pandas.DataFrame)
    assert isinstance(article.transform(images), np.ndarray)
    with pytest.raises(ValueError, match="unknown output"):
        framed.set_output(transform="paper")
