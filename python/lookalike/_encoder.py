"""`Encoder`: learns from images, and turns them into codes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ._base import Transformer, tags
from ._encoding import Codes, encode, image_column
from ._inputs import Batches, as_input, check_read_twice
from ._lookalike import Model
from ._models import history_of, model_of, parameters_of, state_of
from ._parameters import location, string
from ._progress import warn
from ._training import options_of, teacher_of, tell_judgement, train
from .errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from typing_extensions import Self

# What to pass to `fit` with a teacher, which sees the images before they are learned from.
_NOT_STREAMED = "a data set that is not streamed"


class Encoder(Transformer):
    """Learns to describe images by vectors, their codes: images that look alike have codes near
    each other.

    A transformer as scikit-learn has them. Without labels, and by default deterministic for a
    `random_state`.

    Parameters
    ----------
    architecture : {"bottleneck", "conv", "compact"}
        The network: ours, for images of any size, the article's, or the one of the article's
        notebook.
    objective : {"look", "augment", "reconstruct", "denoise", "variational"}, optional
        What is learned; by default "look" with ours and "reconstruct" with the article's.
    teacher : Encoder or path, optional
        A fitted encoder, or the file or folder of one, perhaps slow, whose codes are to be learned
        by this one: see `Encoder.load` for those that others have trained. A clone has a clone of
        the teacher, which has learned nothing; a path is the same in all clones.
    effort : {"quick", "default", "best"}
        How long to learn: an eighth of the usual epochs; as many; or as many and twice the rounds
        of refining, and with other objectives than "look" four times as many.
    epochs : int, optional
        Passes over the images, whatever the effort; by default as many as suit the images.
    code_dim : int, optional
        Numbers that the bottleneck learns for a code. Codes of "look" have further ones behind
        these.
    batch_size : int, optional
        Images of a training step.
    learning_rate, weight_decay : float, optional
        Of the optimiser.
    loss : {"mse", "bce"}, optional
        How reconstructions are judged.
    optimiser : {"adam", "adamw"}, optional
        Who takes the steps.
    schedule : {"constant", "onecycle"}, optional
        How the learning rate moves.
    precision : {"auto", "f32", "bf16"}
        The numbers that training multiplies: "auto" is bf16 where the processor is faster in it,
        and f32 elsewhere; bf16 needs a processor with AVX512-BF16. Codes are always made in f32.
    colour_weight : float, optional
        Weight of the image's colours behind a code, with other objectives than "look".
    augmentation : {"auto", "none", "mild", "strong"}
        The random changes that codes should not depend on; "auto" looks which suit the images.
        This and the next four count with the objectives "look", "augment" and with a teacher.
    augmentation_strength : float, optional
        How strong the changes of place are (rotation, scale, shear and others), instead of
        `augmentation`: 1 suits handwriting, 0.3 images whose pose and proportions matter.
    mirror : bool, optional
        Whether images are mirrored left to right; by default as `augmentation` finds out.
    turn : bool, optional
        Whether it means nothing which way round an image lies, as on surfaces and under a
        microscope: then images are turned by quarters and codes are means over these turns. By
        default as `augmentation` finds out.
    colour_strength : float, optional
        How strong the changes of colour are, 0 for none; by default as `augmentation` finds out.
    noise : float, optional
        Standard deviation of the noise of the objective "denoise", where pixels are 0 to 1.
    mask : float, optional
        Share of the pixels that the objective "denoise" blackens.
    input_size : (int, int), optional
        Height and width in pixels that images are brought to; by default their own, if they are
        small and alike, and otherwise 64 x 64.
    channels : {1, 3}, optional
        Grey or colour; by default as the images are.
    resize : {"stretch", "crop", "pad"}
        How images of other proportions are brought to that size.
    image_shape : tuple of int, optional
        Height, width and perhaps channels of the images in the rows of 2-D arrays.
    sample : int, optional
        Learn from a fair sample of so many images; by default from as many as have 1 GiB of pixels.
    random_state : int, RandomState, Generator or None
        The seed. With None every `fit` draws another one.
    device : {"auto", "cpu", "cuda", "vulkan", "metal"}
        What computes. The wheel has the CPU alone.
    checkpoint : path, optional
        Where the run is kept every 30 seconds, after each epoch and when it is interrupted. `fit`
        goes on from this file if it is there, which takes the same `random_state`, and removes it
        when it is done. By default a file in the folder for temporary files, which an interrupted
        `fit` names.
    callbacks : iterable of callable, optional
        Each is called after every epoch with a dict of `epoch` (from 1), `loss` and `seconds`. What
        it raises stops the run, as Ctrl-C does, and keeps its checkpoint.
    compare : bool
        Whether to judge the codes without labels beside simple descriptors, such as pixels and
        gradients, when all is learned: a warning says so where one of those is better, and
        `record_` has the scores. Takes some seconds.
    progress : bool, optional
        Whether to show a bar (with tqdm); by default on a terminal and in notebooks.

    Attributes
    ----------
    n_features_out_ : int
        Numbers of a code.
    n_features_in_ : int
        Values of a row, where `image_shape` said what images rows of 2-D arrays are.
    shape_ : (int, int, int)
        Height, width and channels of the network's input.
    metric_ : str
        The metric that suits the codes: "cosine" or "euclidean".
    history_ : list of dict
        `epoch`, `loss` and `seconds` of every epoch of this run; losses of different stages cannot
        be compared.
    recipe_, record_ : dict or None
        All that decided the training, and what is known of it, as in the model file.
    n_parameters_ : int or None
        Learned numbers, those of the decoder among them.

    Examples
    --------
    >>> from lookalike import Encoder, datasets
    >>> images, _ = datasets.load_mnist("test", limit=500, return_X_y=True)
    >>> encoder = Encoder(architecture="conv", epochs=3, random_state=0).fit(images)
    >>> codes = encoder.transform(images)
    >>> codes.shape, codes.dtype.name
    ((500, 1568), 'float32')
    >>> encoder.shape_, encoder.metric_
    ((28, 28, 1), 'euclidean')
    """

    def __init__(
        self,
        *,
        architecture: str = "bottleneck",
        objective: str | None = None,
        teacher: Encoder | str | os.PathLike[str] | None = None,
        effort: str = "default",
        epochs: int | None = None,
        code_dim: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        loss: str | None = None,
        optimiser: str | None = None,
        schedule: str | None = None,
        precision: str = "auto",
        colour_weight: float | None = None,
        augmentation: str = "auto",
        augmentation_strength: float | None = None,
        mirror: bool | None = None,
        turn: bool | None = None,
        colour_strength: float | None = None,
        noise: float | None = None,
        mask: float | None = None,
        input_size: tuple[int, int] | None = None,
        channels: int | None = None,
        resize: str = "stretch",
        image_shape: tuple[int, ...] | None = None,
        sample: int | None = None,
        random_state: Any = None,
        device: str = "auto",
        checkpoint: str | os.PathLike[str] | None = None,
        callbacks: Iterable[Callable[[dict[str, Any]], Any]] | None = None,
        compare: bool = True,
        progress: bool | None = None,
    ) -> None:
        self.architecture = architecture
        self.objective = objective
        self.teacher = teacher
        self.effort = effort
        self.epochs = epochs
        self.code_dim = code_dim
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.loss = loss
        self.optimiser = optimiser
        self.schedule = schedule
        self.precision = precision
        self.colour_weight = colour_weight
        self.augmentation = augmentation
        self.augmentation_strength = augmentation_strength
        self.mirror = mirror
        self.turn = turn
        self.colour_strength = colour_strength
        self.noise = noise
        self.mask = mask
        self.input_size = input_size
        self.channels = channels
        self.resize = resize
        self.image_shape = image_shape
        self.sample = sample
        self.random_state = random_state
        self.device = device
        self.checkpoint = checkpoint
        self.callbacks = callbacks
        self.compare = compare
        self.progress = progress

    # Learning.

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from images. The interpreter's lock is free meanwhile; Ctrl-C stops, and keeps a
        checkpoint.

        Parameters
        ----------
        X : images
            One of: the name of a source (a folder, an archive, a table, `mnist:train` …); a list of
            paths, of PIL images, of arrays or of the bytes of picture files; an array of uint8, n x
            height x width or n x height x width x channels, also of another package by DLPack (a
            tensor of PyTorch on the CPU), where it lies; an `Image` column of a Hugging Face data
            set, or one with a single such column; an iterator of images, which is read once and
            need not fit into memory.
        y : ignored
            There for scikit-learn.

        Returns
        -------
        self
        """
        # Whatever is refused, before the first image is taken from an iterator.
        teacher = teacher_of(self)
        options = options_of(self, teacher)
        if teacher is not None:
            check_read_twice(X, _NOT_STREAMED)
        images = self._input(X)
        if teacher is not None:
            check_read_twice(images, _NOT_STREAMED)
        model, history = train(images, self, options, teacher)
        self._take(model)
        self.history_ = history
        if isinstance(images, Batches) and images.features is not None:
            self.n_features_in_ = images.features
        if model.collapsed:
            warn(
                "this model has learned nothing: it is no better than answering every image with "
                "the mean image, and its codes are useless. Try more epochs, another learning_rate "
                "or another random_state."
            )
        else:
            tell_judgement(model)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Learn from images, and encode them.

        Parameters
        ----------
        X : images
            As for `fit`, but no iterator, which is read only once.
        y : ignored
            There for scikit-learn.

        Returns
        -------
        ndarray of float32, shape (n_images, n_features_out_)
        """
        check_read_twice(X)
        return self.fit(X, y).transform(X)

    def _take(self, model: Model) -> None:
        vars(self).pop("_model_state", None)
        self.model_ = model
        self.n_features_out_ = model.dims
        self.shape_ = model.shape
        self.metric_ = model.metric
        self.n_parameters_ = model.parameters
        about = model.about
        self.recipe_: dict[str, Any] | None = None if about is None else json.loads(about[0])
        self.record_: dict[str, Any] | None = None if about is None else json.loads(about[1])

    def _is_fitted(self) -> bool:
        return "model_" in vars(self) or "_model_state" in vars(self)

    def _input(self, X: Any) -> str | Batches:
        return as_input(X, image_shape=self.image_shape)

    # Encoding.

    def transform(self, X: Any) -> Any:
        """Encode images.

        Parameters
        ----------
        X : images
            As for `fit`. Of a source, images that cannot be read are passed over, with a warning;
            in a list, one that cannot be read is an error.

        Returns
        -------
        ndarray of float32, shape (n_images, n_features_out_)
            In the order of the images, or the container that `set_output` said.
        """
        return self._contained(self.encode(X).codes, X)

    def encode(self, X: Any) -> Codes:
        """Encode images, and say which they are.

        Parameters
        ----------
        X : images
            As for `transform`.

        Returns
        -------
        Codes
            `codes`, `keys` and `labels`, in one order.
        """
        self._check_fitted()
        images = self._input(X)
        expected = getattr(self, "n_features_in_", None)
        if (
            isinstance(images, Batches)
            and images.features is not None
            and expected not in (None, images.features)
        ):
            raise InputError(
                f"X has {images.features} features, but {type(self).__name__} is expecting {expected} features as input"
            )
        return encode(self.model_, images, self.progress)

    def encode_text(self, text: str) -> np.ndarray:
        """Encode words, with an encoder that others have trained and that knows some.

        Parameters
        ----------
        text : str
            Words, such as "a red car".

        Returns
        -------
        ndarray of float32, shape (n_features_out_,)
        """
        import numpy as np

        self._check_fitted()
        return np.frombuffer(self.model_.encode_text(string("text", text)), np.float32)

    def embed(
        self, batch: dict[str, list[Any]], *, column: str | None = None
    ) -> dict[str, np.ndarray]:
        """Encode a batch of a Hugging Face data set, for `dataset.map(encoder.embed,
        batched=True)`.

        Parameters
        ----------
        batch : dict of list
            Columns of the batch.
        column : str, optional
            The column of images; by default the first that has some.

        Returns
        -------
        dict
            The column `code`, which `dataset.add_faiss_index("code")` takes: float32, shape
            (n_images, n_features_out_).
        """
        if column is None:
            column = image_column(batch)
        elif column not in batch:
            raise InputError(
                f"there is no column {column!r} in this batch, which has {', '.join(batch)}"
            )
        return {"code": self.encode(list(batch[column])).codes}

    def reconstruct(self, X: Any) -> np.ndarray:
        """What the decoder makes of images, so that one can see what codes keep.

        Parameters
        ----------
        X : images
            As for `transform`.

        Returns
        -------
        ndarray of uint8, shape (n_images, height, width) or (n_images, height, width, channels)
            In the network's own shape `shape_`.
        """
        import numpy as np

        self._check_fitted()
        height, width, channels = self.shape_
        made = np.frombuffer(self.model_.reconstruct(self._input(X)), np.uint8)
        return made.reshape((-1, height, width) if channels == 1 else (-1, height, width, channels))

    # Out again.

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file, which the program `lookalike` reads as well; all of it or nothing.

        Parameters
        ----------
        path : path
            Where, such as "photos.safetensors".
        """
        self._check_fitted()
        self.model_.save(location("path", path))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "auto") -> Self:
        """Read a model file, or an encoder that others have trained.

        Parameters
        ----------
        path : path
            A model file of `save` or of the program, or the folder or ONNX file of another encoder.
        device : str
            As for the class.

        Returns
        -------
        Encoder
            Fitted, with the parameters that are known.
        """
        return cls._of_model(Model.load(location("path", path), device), device)

    @classmethod
    def _of_model(cls, model: Model, device: str = "auto") -> Self:
        encoder = cls(device=device)
        encoder._take(model)
        recipe = encoder.recipe_
        if recipe is not None:
            encoder.set_params(**parameters_of(recipe, encoder.shape_))
        encoder.history_ = history_of(encoder.record_)
        return encoder

    def to_onnx(self, path: str | os.PathLike[str] | None = None) -> bytes:
        """The encoder as an ONNX file: `images`, uint8, n x height x width x channels, become
        `codes`, float32.

        Scaling, normalisation, the network and what stands in codes behind it are inside; bringing
        pictures of other sizes to the network's shape is not.

        Parameters
        ----------
        path : path, optional
            Where to write it.

        Returns
        -------
        bytes
            The file.
        """
        self._check_fitted()
        if path is None:
            return self.model_.to_onnx()
        return self.model_.save_onnx(location("path", path))

    def to_torch(self) -> torch.nn.Module:
        """The encoder as a module of PyTorch: a tensor of uint8 or floats of 0 to 255, n x height x
        width x channels (or n x height x width of grey ones), becomes codes of float32, n x
        n_features_out_.

        Returns
        -------
        torch.nn.Module
            What was learned are its parameters, so that it can be learned further; everything else
            are buffers.
        """
        self._check_fitted()
        from ._torch import OnnxModule

        return OnnxModule(self.model_.to_onnx())

    # What scikit-learn and pickle ask for.

    def __sklearn_tags__(self) -> Any:
        return tags(
            two_dimensional=self.image_shape is not None,
            three_dimensional=True,
            is_transformer=True,
        )

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        model = state.pop("model_", None)
        if model is not None:
            state["_model_state"] = state_of(model)
        return state

    def __getattr__(self, name: str) -> Any:
        # What a pickle keeps becomes a model when it is first used. Whatever prevents that is then
        # raised where somebody hears of it, which is not so where a worker process unpickles what
        # it was sent.
        state = vars(self).get("_model_state") if name == "model_" else None
        if state is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.model_ = model_of(state, self.device)
        vars(self).pop("_model_state", None)
        return self.model_

    def _repr_html_(self) -> str:
        from ._display import describe

        if not self._is_fitted():
            return describe(repr(self), {"state": "not fitted"})
        height, width, channels = self.shape_
        about: dict[str, Any] = {
            "images": f"{height} x {width}, {'grey' if channels == 1 else 'colour'}",
            "codes": f"{self.n_features_out_} numbers, {self.metric_}",
        }
        if self.record_ is not None:
            about["learned from"] = (
                f"{self.record_['data']['images']} images of {self.record_['data']['name']}"
            )
        else:
            about["encoder"] = self.model_.description
        return describe(repr(self), about)
