"""What scikit-learn expects of estimators, without loading it: that would take longer than all else
here."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

from .errors import InputError, NotFittedError, ParameterError

if TYPE_CHECKING:
    import numpy as np
    from typing_extensions import Self

_MISSING = object()
_not_fitted_class: type[NotFittedError] | None = None


class Estimator:
    """Parameters by name, as `sklearn.base.BaseEstimator` has them."""

    @classmethod
    def _parameters(cls) -> list[inspect.Parameter]:
        signature = inspect.signature(cls.__init__)
        return [parameter for name, parameter in signature.parameters.items() if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters.

        Parameters
        ----------
        deep : bool
            Whether to give those of parameters that are estimators themselves, too.

        Returns
        -------
        dict
            Names and values.
        """
        parameters: dict[str, Any] = {}
        for parameter in self._parameters():
            value = getattr(self, parameter.name)
            parameters[parameter.name] = value
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                inner = value.get_params()
                parameters.update(
                    (f"{parameter.name}__{name}", found) for name, found in inner.items()
                )
        return parameters

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters.

        Parameters
        ----------
        **parameters
            Names and values; `outer__inner` is a parameter of a parameter.

        Returns
        -------
        self
        """
        nested: dict[str, dict[str, Any]] = {}
        known = [parameter.name for parameter in self._parameters()]
        for name, value in parameters.items():
            name, separator, inner = name.partition("__")
            if name not in known:
                raise ParameterError(
                    f"Invalid parameter {name!r} for {type(self).__name__}: it has {', '.join(known)}"
                )
            if separator:
                nested.setdefault(name, {})[inner] = value
            else:
                setattr(self, name, value)
        for name, inner_parameters in nested.items():
            getattr(self, name).set_params(**inner_parameters)
        return self

    def __repr__(self) -> str:
        changed = []
        for parameter in self._parameters():
            value = getattr(self, parameter.name, _MISSING)
            if value is not parameter.default and repr(value) != repr(parameter.default):
                changed.append(f"{parameter.name}={value!r}")
        return f"{type(self).__name__}({', '.join(changed)})"

    def _is_fitted(self) -> bool:
        raise NotImplementedError

    def __sklearn_is_fitted__(self) -> bool:
        return self._is_fitted()

    def _check_fitted(self) -> None:
        if not self._is_fitted():
            name = type(self).__name__
            raise _not_fitted(
                f"This {name} instance is not fitted yet. Call 'fit' with images before using this estimator."
            )


def _not_fitted(message: str) -> NotFittedError:
    """An error that is scikit-learn's own as well, where that is loaded."""
    global _not_fitted_class
    exceptions = sys.modules.get("sklearn.exceptions")
    if exceptions is None:
        return NotFittedError(message)
    if _not_fitted_class is None:
        bases = (NotFittedError, exceptions.NotFittedError)
        # Pickled by the function that makes it, as workers of joblib do: by its name another class
        # would be found.
        members = {
            "__module__": "lookalike.errors",
            "__reduce__": lambda error: (_not_fitted, error.args),
        }
        _not_fitted_class = type("NotFittedError", bases, members)
    return _not_fitted_class(message)


class Transformer(Estimator):
    """An estimator whose answers may be put into other containers (`set_output`)."""

    # Read by scikit-learn's own function for it.
    _sklearn_auto_wrap_output_keys = {"transform"}

    def set_output(self, *, transform: str | None = None) -> Self:
        """Say what `transform` gives.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            Arrays of NumPy, or data frames; None: as before.

        Returns
        -------
        self
        """
        if transform is not None:
            if transform not in ("default", "pandas", "polars"):
                raise ParameterError(
                    f"unknown output {transform!r}: expected one of default, pandas, polars"
                )
            if not hasattr(self, "_sklearn_output_config"):
                self._sklearn_output_config: dict[str, str] = {}
            self._sklearn_output_config["transform"] = transform
        return self

    def _contained(self, values: np.ndarray, original: Any) -> Any:
        """The values in the container that was asked for, of this estimator or of scikit-learn as a
        whole."""
        asked = getattr(self, "_sklearn_output_config", {}).get("transform")
        if asked in (None, "default") and "sklearn" not in sys.modules:
            return values
        try:
            from sklearn.utils._set_output import _wrap_data_with_container
        except ImportError:
            return values if asked in (None, "default") else _framed(self, values, asked)
        return _wrap_data_with_container("transform", values, original, self)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Name the numbers of a code: the class's name in small letters, and the number.

        Parameters
        ----------
        input_features : ignored
            There for scikit-learn.

        Returns
        -------
        ndarray of str, shape (n_features_out_,)
        """
        import numpy as np

        self._check_fitted()
        prefix = type(self).__name__.lower()
        return np.asarray(
            [f"{prefix}{number}" for number in range(self.n_features_out_)], dtype=object
        )

    n_features_out_: int


def _framed(estimator: Transformer, values: np.ndarray, asked: str) -> Any:
    """A data frame, without scikit-learn."""
    from ._inputs import need

    names = list(estimator.get_feature_names_out())
    if asked == "pandas":
        return need("pandas", "set_output(transform='pandas')").DataFrame(
            values, columns=names, copy=False
        )
    return need("polars", "set_output(transform='polars')").DataFrame(values, schema=names)


def tags(*, two_dimensional: bool, three_dimensional: bool, is_transformer: bool) -> Any:
    """What scikit-learn knows of an estimator."""
    from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

    return Tags(
        estimator_type="transformer" if is_transformer else None,
        target_tags=TargetTags(required=False),
        transformer_tags=TransformerTags(preserves_dtype=[]) if is_transformer else None,
        input_tags=InputTags(two_d_array=two_dimensional, three_d_array=three_dimensional),
    )


def seed_of(random_state: Any) -> int:
    """A seed of 64 bits from what scikit-learn calls a random state."""
    import numbers

    import numpy as np

    if isinstance(random_state, numbers.Integral):
        if not 0 <= int(random_state) < 1 << 64:
            raise ParameterError(f"random_state={random_state}: a seed is from 0 to 2**64 - 1")
        return int(random_state)
    if random_state is None:
        return int(np.random.randint(0, 1 << 31))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(0, 1 << 31))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(0, 1 << 31))
    raise ParameterError(
        f"random_state={random_state!r}: expected a seed, a RandomState, a Generator or None"
    )


def as_codes(values: Any, dims: int | None = None) -> np.ndarray:
    """Codes as rows of finite floats."""
    import numpy as np

    from ._inputs import as_array

    values = as_array(values)
    if hasattr(values, "toarray"):
        raise InputError("Sparse data was passed, and codes are dense: pass values.toarray()")
    array = np.asarray(values)
    if array.dtype.kind == "c":
        raise InputError("Complex data not supported: codes are real numbers")
    if array.dtype.kind not in "fiub":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"codes are rows of numbers, and these are not: {error}") from error
    if array.ndim != 2:
        raise InputError(
            f"Expected 2D array, got {'scalar' if array.ndim == 0 else f'{array.ndim}D'} array instead: codes are rows. Reshape your data "
            "either using array.reshape(-1, 1) or array.reshape(1, -1)"
        )
    if array.shape[0] == 0:
        raise InputError(
            f"Found array with 0 sample(s) (shape={array.shape}) while a minimum of 1 is required."
        )
    if array.shape[1] == 0:
        raise InputError(
            f"Found array with 0 feature(s) (shape={array.shape}) while a minimum of 1 is required."
        )
    codes = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(codes).all():
        raise InputError(
            "Input contains NaN or infinity, or a value too large for float32: codes are finite numbers"
        )
    if dims is not None and codes.shape[1] != dims:
        raise InputError(
            f"X has {codes.shape[1]} features, but Neighbors is expecting {dims} features as input: codes of one encoder have one length"
        )
    return codes
