"""`Neighbors`: exact nearest neighbours in memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ._base import Estimator, as_codes, tags
from ._inputs import as_array, check_read_twice, need
from ._lookalike import nearest_neighbours
from ._parameters import location, whole
from .errors import InputError, ParameterError

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix
    from typing_extensions import Self

    from ._encoder import Encoder

_METRICS = ("cosine", "euclidean", "dot", "manhattan")


class Neighbors(Estimator):
    """The nearest neighbours of images by their codes, or of any vectors; exact, by comparing with
    all.

    Has `kneighbors` and `kneighbors_graph` as `sklearn.neighbors.NearestNeighbors` has them.

    Parameters
    ----------
    encoder : Encoder or path, optional
        Makes codes of images. One that is not fitted is fitted on the images of `fit`, as a copy;
        a path is what `Encoder.load` reads.
        Without an encoder, `fit` and `kneighbors` take codes, rows of numbers.
    n_neighbors : int
        How many neighbours.
    metric : {"cosine", "euclidean", "dot", "manhattan"}, optional
        How codes are compared: 1 - cosine, L2, the inner product negated, L1. By default as suits
        the encoder, and "euclidean" without one.

    Attributes
    ----------
    codes_ : ndarray of float32, shape (n_samples_fit_, n_features_in_)
        The codes that are searched.
    n_samples_fit_, n_features_in_ : int
        How many codes there are, and the numbers of each.
    keys_ : list of str or None
        The key of each image: its path within its source, or its number.
    labels_ : list or None
        The label of each image where its source says one.
    encoder_ : Encoder or None
        The fitted encoder.
    effective_metric_ : str
        The metric in use.

    Examples
    --------
    >>> import numpy as np
    >>> from lookalike import Neighbors
    >>> codes = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]])
    >>> distances, indices = Neighbors(n_neighbors=2).fit(codes).kneighbors([[0.9, 0.0]])
    >>> indices.tolist()
    [[1, 0]]
    >>> [f"{distance:.1f}" for distance in distances[0]]
    ['0.1', '0.9']
    """

    def __init__(
        self,
        encoder: Encoder | str | os.PathLike[str] | None = None,
        *,
        n_neighbors: int = 5,
        metric: str | None = None,
    ) -> None:
        self.encoder = encoder
        self.n_neighbors = n_neighbors
        self.metric = metric

    def fit(self, X: Any, y: Any = None) -> Self:
        """Encode images and keep their codes.

        Parameters
        ----------
        X : images or array-like of shape (n_samples, n_features)
            Images as for `Encoder.fit`, or codes where there is no encoder.
        y : ignored
            There for scikit-learn.

        Returns
        -------
        self
        """
        if self.metric is not None and self.metric not in _METRICS:
            raise ParameterError(
                f"unknown metric {self.metric!r}: expected one of {', '.join(_METRICS)}"
            )
        whole("n_neighbors", self.n_neighbors, 1)
        encoder = self._given_encoder()
        if encoder is None:
            self.codes_ = as_codes(X)
            self.keys_ = self.labels_ = None
        else:
            if not encoder._is_fitted():
                check_read_twice(X)
                encoder = type(encoder)(**encoder.get_params(deep=False)).fit(X)
            found = encoder.encode(X)
            self.codes_, self.keys_, self.labels_ = found
        self._keep(self.codes_)
        self.encoder_ = encoder
        self.n_samples_fit_, self.n_features_in_ = self.codes_.shape
        self.effective_metric_ = self.metric or (
            encoder.metric_ if encoder is not None else "euclidean"
        )
        return self

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any:
        """Find the nearest neighbours.

        Parameters
        ----------
        X : images or array-like of shape (n_queries, n_features), optional
            What neighbours are wanted of; by default all that was fitted, each without itself.
        n_neighbors : int, optional
            How many; by default as the estimator says.
        return_distance : bool
            Whether to give distances too.

        Returns
        -------
        distances : ndarray of float32, shape (n_queries, n_neighbors)
            Smaller is nearer. Only if `return_distance`.
        indices : ndarray of int64, shape (n_queries, n_neighbors)
            Rows of what was fitted; of equal distances the lower first.
        """
        import numpy as np

        self._check_fitted()
        count = whole("n_neighbors", self.n_neighbors if n_neighbors is None else n_neighbors, 1)
        most = self.n_samples_fit_ - (X is None)
        if count > most:
            raise InputError(
                f"Expected n_neighbors <= n_samples_fit, but n_neighbors = {count}, n_samples_fit = {self.n_samples_fit_}"
                + (", and none is its own neighbour" if X is None else "")
            )
        queries = None
        rows = self.n_samples_fit_
        if X is not None:
            queries = self._codes_of(X)
            rows = len(queries)
        distances, indices = nearest_neighbours(
            self._bytes,
            None if queries is None else queries.tobytes(),
            self.n_features_in_,
            self.effective_metric_,
            count,
        )
        found = np.frombuffer(indices, np.int64).reshape(rows, count)
        if not return_distance:
            return found
        return np.frombuffer(distances, np.float32).reshape(rows, count), found

    def kneighbors_graph(
        self, X: Any = None, n_neighbors: int | None = None, mode: str = "connectivity"
    ) -> csr_matrix:
        """The graph that joins each query to its neighbours.

        Parameters
        ----------
        X, n_neighbors
            As for `kneighbors`.
        mode : {"connectivity", "distance"}
            What edges weigh: 1, or the distance.

        Returns
        -------
        scipy.sparse.csr_matrix, shape (n_queries, n_samples_fit_)
        """
        import numpy as np

        sparse = need("scipy.sparse", "kneighbors_graph")
        if mode not in ("connectivity", "distance"):
            raise ParameterError(f"unknown mode {mode!r}: expected connectivity or distance")
        distances, indices = self.kneighbors(X, n_neighbors)
        rows, count = indices.shape
        weights = (
            np.ones(rows * count)
            if mode == "connectivity"
            else distances.ravel().astype(np.float64)
        )
        starts = np.arange(0, rows * count + 1, count)
        return sparse.csr_matrix(
            (weights, indices.ravel(), starts), shape=(rows, self.n_samples_fit_)
        )

    def _given_encoder(self) -> Encoder | None:
        from ._encoder import Encoder

        if self.encoder is None or isinstance(self.encoder, Encoder):
            return self.encoder
        expected = "an Encoder, the path of one, or None"
        return Encoder.load(location("encoder", self.encoder, expected))

    def _codes_of(self, X: Any) -> np.ndarray:
        if self.encoder_ is None:
            return as_codes(X, self.n_features_in_)
        codes = _floats_of(X)
        if codes is None:
            return self.encoder_.encode(X).codes
        if codes.ndim != 2 or codes.shape[1] != self.n_features_in_:
            raise InputError(
                f"floats beside an encoder are codes of it, n x {self.n_features_in_}, and these "
                f"are {' x '.join(map(str, codes.shape))}; images are arrays of uint8, 0 to 255"
            )
        return as_codes(codes)

    def _keep(self, codes: np.ndarray) -> None:
        """Keep codes as bytes, which the extension reads where they lie, and as an array on
        these."""
        import numpy as np

        self._bytes = codes.tobytes()
        self.codes_ = np.frombuffer(self._bytes, np.float32).reshape(codes.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_bytes"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "codes_" in state:
            self._keep(self.codes_)

    def _is_fitted(self) -> bool:
        return hasattr(self, "codes_")

    def __sklearn_tags__(self) -> Any:
        images = self.encoder is not None
        return tags(two_dimensional=not images, three_dimensional=images, is_transformer=False)


def _floats_of(X: Any) -> np.ndarray | None:
    """The array of floats that this is, as codes are; None if it is none."""
    import numpy as np

    if type(X).__module__.split(".")[0] == "pandas" and hasattr(X, "to_numpy"):
        array = X.to_numpy()
    elif isinstance(X, (list, tuple)) and X and _is_row(X[0]):
        try:
            array = np.asarray(X)
        except ValueError:
            return None
    else:
        array = as_array(X)
    return array if isinstance(array, np.ndarray) and array.dtype.kind == "f" else None


def _is_row(value: Any) -> bool:
    """Whether it may be a row of numbers."""
    return isinstance(value, (list, tuple)) or getattr(value, "ndim", None) == 1
