"""`Gallery`: codes kept on disk, and found again."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._answers import Point
from ._display import describe
from ._encoder import Encoder
from ._findings import Findings
from ._inputs import as_input
from ._lookalike import Store
from ._parameters import as_json, location, string, whole
from ._points import PICTURE_SIDE, id_of
from ._progress import Observer, warn
from ._searching import Searching
from ._tables import Tables
from .errors import GalleryClosedError, InputError

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger("lookalike")


class Gallery(Searching, Findings, Tables):
    """Images' codes, what is known about them and small pictures, kept in a folder or on a Qdrant
    cluster.

    Made by `Gallery.create` and `Gallery.open`. What a method reported done is on disk. A gallery
    in a folder is open in one process at a time, the program `lookalike` among them: `close` it, or
    use it in a `with` statement.

    Attributes
    ----------
    path : str
        Where it is.
    dims : int
        Numbers of a code.
    metric : str
        The metric that it was made for.

    Examples
    --------
    >>> from lookalike import Encoder, Gallery, datasets
    >>> images, labels = datasets.load_mnist("test", limit=300, return_X_y=True)
    >>> encoder = Encoder(architecture="conv", epochs=3, random_state=0).fit(images)
    >>> with Gallery.create("digits.gallery", encoder) as gallery:
    ...     summary = gallery.index(images, name="digits", labels=labels)
    ...     answer = gallery.search(images[7], k=3)
    >>> summary["added"], len(answer), answer[0].key, float(answer.distances[0])
    (300, 3, '7', 0.0)
    """

    def __init__(self, store: Store, path: str) -> None:
        self._store = store
        self.path = path
        about = self.describe()
        self.dims: int = about["dims"]
        self.metric: str = about["metric"]

    # Making, opening, closing.

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        encoder: Encoder | str | os.PathLike[str],
        *,
        metric: str | None = None,
        device: str = "auto",
    ) -> Self:
        """Make an empty gallery.

        Parameters
        ----------
        path : path
            A folder that is not there, or an address as "qdrant://host:6334/photos".
        encoder : Encoder or path
            A fitted one, whose codes it is for, or what `Encoder.load` reads.
        metric : {"cosine", "euclidean", "dot", "manhattan"}, optional
            How codes are compared; by default as suits the encoder.
        device : str
            What computes, as for `Encoder`.

        Returns
        -------
        Gallery
        """
        if not isinstance(encoder, Encoder):
            encoder = Encoder.load(location("encoder", encoder, "an Encoder or the path of one"))
        encoder._check_fitted()
        name = location("path", path)
        return cls(Store.create(name, encoder.model_, metric, device), name)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        models: Sequence[str | os.PathLike[str]] = (),
        device: str = "auto",
    ) -> Self:
        """Open a gallery.

        Parameters
        ----------
        path : path
            Its folder or address.
        models : sequence of path
            Model files among which its own is; a gallery in a folder has it.
        device : str
            What computes, as for `Encoder`.

        Returns
        -------
        Gallery
        """
        name = location("path", path)
        given = [models] if isinstance(models, (str, os.PathLike)) else models
        own = [location("models", model, "paths of model files") for model in given]
        return cls(Store.open(name, own, device), name)

    def close(self) -> None:
        """Close it, so that others may open it. Closing twice does no harm."""
        self._store.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._store.closed

    def __enter__(self) -> Self:
        if self.closed:
            raise GalleryClosedError(f"the gallery {self.path} was closed: open it again")
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # Filling.

    def index(
        self,
        X: Any,
        *,
        name: str | None = None,
        keys: Sequence[str] | None = None,
        labels: Sequence[Any] | None = None,
        image_shape: tuple[int, ...] | None = None,
        prune: bool = False,
        prune_emptied: bool = False,
        reread: bool = False,
        diffusion: bool = False,
        thumbnail: int = PICTURE_SIDE,
        tiles: int | None = None,
        exif: bool | None = None,
        progress: bool | None = None,
    ) -> dict[str, Any]:
        """Bring the gallery in step with a source: what is new or changed is read, encoded and
        stored.

        Can be stopped anywhere, by Ctrl-C too; run again, it completes the work.

        Parameters
        ----------
        X : images
            As for `Encoder.fit`. What cannot be read is passed over, with a warning, in a list as
            well: images are known by their keys.
        name : str
            What images in memory are called together. An image's id follows from this and its key,
            so that the same name and key later mean the same image. Not needed for sources, which
            have one, and for lists of paths, which are called "files" without one.
        keys : sequence of str, optional
            A key of its own for each image in memory; by default its number, and of a path the
            path.
        labels : sequence, optional
            A label for each image in memory. They are kept, and nothing learns from them.
        image_shape : tuple of int, optional
            Height, width and perhaps channels of the images in the rows of 2-D arrays.
        prune : bool
            Remove the images that the source no longer has. A list of paths needs a name for this.
        prune_emptied : bool
            As `prune`, also where a folder that had images lists none now, or the whole source:
            without this, that is an error, because a disk may not be mounted.
        reread : bool
            Read every image anew, even if its file has not changed.
        diffusion : bool
            Build the neighbour graph that `search(rerank="diffusion")` needs.
        thumbnail : int
            The longer side of the small pictures that are kept, in pixels; 0: none.
        tiles : int, optional
            Keep codes of at most so many overlapping windows of each image, 4 to 1000 (30 is
            usual), in which `search(tiles=True)` finds parts of images; 0: keep none any more. By
            default as before.
        exif : bool, optional
            Whether to keep what cameras wrote about photographs (when, where, with what); False
            also forgets it of the images that are gone through. By default as before, and True in a
            new gallery.
        progress : bool, optional
            Whether to show a bar; by default on a terminal and in notebooks.

        Returns
        -------
        dict
            Counts: `images`, `encoded`, `tiled` (images of which windows were made), `added`,
            `changed`, `unchanged`, `removed`, `skipped`, `not_stored` (only on a cluster), `flat`
            (nothing but the background), `points`; `notes`.
        """
        if name is not None:
            string("name", name)
        is_source = isinstance(X, (str, os.PathLike))
        if is_source and name is not None:
            raise InputError("a source has a name of its own: leave name out")
        # Before the first image is taken from an iterator.
        if not is_source and name is None and not _are_paths(X):
            raise InputError(
                "images in memory need a name, under which they are known later: "
                "index(images, name='photos')"
            )
        if not is_source and name is None and (prune or prune_emptied):
            raise InputError(
                "lists of paths without a name are one source, called 'files', of which prune "
                "would remove all images that are not in this list: give each list a name, as in "
                "index(paths, name='photos', prune=True)"
            )
        filling = {
            "prune": prune,
            "prune_emptied": prune_emptied,
            "reread": reread,
            "diffusion": diffusion,
            "thumbnail": whole("thumbnail", thumbnail),
            "tiles": None if tiles is None else whole("tiles", tiles),
            "exif": exif,
        }
        images = as_input(
            X,
            name=name or "files",
            keys=keys,
            labels=labels,
            image_shape=image_shape,
            paths_as_keys=True,
        )
        with Observer(progress) as observer:
            text, why = self._store.index(images, as_json(filling), observer)
        summary: dict[str, Any] = json.loads(text)
        summary.setdefault("notes", [])
        if why is not None:
            warn(f"{summary['skipped']} images were passed over; the first, {why}")
        if summary["points"] == 0:
            warn(
                f"the gallery {self.path} is empty: {X if is_source else name or 'the list'} holds "
                "no image that could be read"
            )
        for note in summary["notes"]:
            logger.info("%s", note)
        return summary

    def delete(self, ids: Any) -> int:
        """Remove images.

        Parameters
        ----------
        ids : sequence of str, UUID or Point, or one of them
            Which.

        Returns
        -------
        int
            How many were there.
        """
        several = [ids] if isinstance(ids, (str, uuid.UUID, Point)) else ids
        return self._store.delete([id_of(one) for one in several])

    def forget(self, source: str) -> int:
        """Remove all images of a source.

        Parameters
        ----------
        source : str
            Its name, as in `sources`.

        Returns
        -------
        int
            How many there were.
        """
        return self._store.forget(string("source", source))

    # What it is.

    def describe(self) -> dict[str, Any]:
        """Say what the gallery is.

        Returns
        -------
        dict
            `name`, `metric`, `dims`, `points`, `indexed` (points that the index covers; the others
            are compared one by one), `model_fingerprint`, `created` (seconds since 1970), and
            `diffusion` ("absent", "fresh" or "stale").
        """
        about: dict[str, Any] = json.loads(self._store.describe())
        return about

    @property
    def encoder(self) -> Encoder:
        """The encoder of its codes, fitted."""
        return Encoder._of_model(self._store.model())

    def __repr__(self) -> str:
        if self.closed:
            return f"Gallery({self.path!r}, closed)"
        return (
            f"Gallery({self.path!r}, {len(self)} images, {self.dims} numbers a code, {self.metric})"
        )

    def _repr_html_(self) -> str:
        if self.closed:
            return describe(repr(self), {})
        return describe(repr(self), {"images": len(self), **self.sources()})


def _are_paths(X: Any) -> bool:
    return isinstance(X, (list, tuple)) and all(
        isinstance(image, (str, os.PathLike)) for image in X
    )
