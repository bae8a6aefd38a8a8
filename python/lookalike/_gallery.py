"""`Gallery`: codes kept on disk, and found again."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from . import _lookalike
from ._answers import Answer, Point
from ._display import describe, query_picture
from ._encoder import Encoder
from ._findings import Findings
from ._inputs import Batches, as_input
from ._lookalike import Store
from ._progress import Observer, warn
from ._queries import as_examples, as_query, in_words
from ._tables import Tables
from .errors import (
    GalleryClosedError,
    InputError,
    NoSuchImageError,
    QueryError,
)

if TYPE_CHECKING:
    import numpy as np
    from typing_extensions import Self

logger = logging.getLogger("lookalike")

# Points that are read at a time.
_PAGE = 1000
# The longer side of the pictures that are shown, in pixels.
_SIDE = 128


class Gallery(Findings, Tables):
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
        encoder: Encoder,
        *,
        metric: str | None = None,
        device: str = "auto",
    ) -> Self:
        """Make an empty gallery.

        Parameters
        ----------
        path : path
            A folder that is not there, or an address as "qdrant://host:6334/photos".
        encoder : Encoder
            A fitted one, whose codes it is for.
        metric : {"cosine", "euclidean", "dot", "manhattan"}, optional
            How codes are compared; by default as suits the encoder.
        device : str
            What computes, as for `Encoder`.

        Returns
        -------
        Gallery
        """
        encoder._check_fitted()
        name = os.fspath(path)
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
        name = os.fspath(path)
        return cls(Store.open(name, [os.fspath(model) for model in models], device), name)

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
        prune: bool = False,
        reread: bool = False,
        diffusion: bool = False,
        thumbnail: int = _SIDE,
        tiles: int | None = None,
        progress: bool | None = None,
    ) -> dict[str, Any]:
        """Bring the gallery in step with a source: what is new or changed is read, encoded and
        stored.

        Can be stopped anywhere, by Ctrl-C too; run again, it completes the work.

        Parameters
        ----------
        X : images
            As for `Encoder.fit`.
        name : str
            What images in memory are called together. An image's id follows from this and its key,
            so that the same name and key later mean the same image. Not needed for sources and for
            lists of paths.
        keys : sequence of str, optional
            A key for each image in memory; by default its number, and of a path the path.
        labels : sequence, optional
            A label for each image in memory. They are kept, and nothing learns from them.
        prune : bool
            Remove the images that the source no longer has.
        reread : bool
            Read every image anew, even if its file has not changed.
        diffusion : bool
            Build the neighbour graph that `search(rerank="diffusion")` needs.
        thumbnail : int
            The longer side of the small pictures that are kept, in pixels; 0: none.
        tiles : int, optional
            Keep codes of so many overlapping windows of each image, 30 or more, in which
            `search(tiles=True)` finds parts of images; 0: keep none any more. By default as before.
        progress : bool, optional
            Whether to show a bar; by default on a terminal and in notebooks.

        Returns
        -------
        dict
            Counts: `images`, `encoded`, `added`, `changed`, `unchanged`, `removed`, `skipped`,
            `points`; `notes`.
        """
        is_source = isinstance(X, (str, os.PathLike))
        if is_source and name is not None:
            raise InputError("a source has a name of its own: leave name out")
        images = as_input(X, name=name or "files", keys=keys, labels=labels, paths_as_keys=True)
        if isinstance(images, Batches) and name is None and not _are_paths(X):
            raise InputError(
                "images in memory need a name, under which they are known later: index(images, name='photos')"
            )
        filling = {
            "prune": prune,
            "reread": reread,
            "diffusion": diffusion,
            "thumbnail": int(thumbnail),
            "tiles": None if tiles is None else int(tiles),
        }
        with Observer(progress) as observer:
            text, why = self._store.index(images, json.dumps(filling), observer)
        summary: dict[str, Any] = json.loads(text)
        summary.setdefault("notes", [])
        if why is not None:
            warn(f"{summary['skipped']} images were passed over; the first, {why}")
        for note in summary["notes"]:
            logger.info("%s", note)
        return summary

    def delete(self, ids: Sequence[Any]) -> int:
        """Remove images.

        Parameters
        ----------
        ids : sequence of str, UUID or Point
            Which.

        Returns
        -------
        int
            How many were there.
        """
        return self._store.delete([_id(one) for one in ids])

    def forget(self, source: str) -> int:
        """Remove all images of a source; gives how many."""
        return self._store.forget(source)

    # Asking.

    def search(
        self,
        query: Any = None,
        k: int = 5,
        *,
        region: Sequence[int] | None = None,
        like: Any = None,
        unlike: Any = None,
        text: str | None = None,
        where: str | None = None,
        metric: str | None = None,
        exact: bool = False,
        max_distance: float | None = None,
        exclude_self: bool = False,
        rerank: str | None = None,
        diverse: float | None = None,
        strategy: str | None = None,
        tiles: bool = False,
        named: str | None = None,
    ) -> Answer:
        """Find the images that are most like a query.

        Parameters
        ----------
        query : str, path, image, UUID, Point or ndarray, optional
            The path of a picture, or "SOURCE#KEY", as in "mnist:test#7"; a PIL image, an array of
            uint8 or the bytes of a picture file; the id of an image of the gallery, or that image;
            a code, a vector of floats.
        k : int
            How many.
        region : (int, int, int, int), optional
            Look at this part of the query alone: left, top, width and height in pixels.
        like, unlike : query or list of queries, optional
            Examples, instead of a query.
        text : str, optional
            Words, instead of a query, where the encoder knows some.
        where : str, optional
            A filter: "label=3", "width>=100 and label!='cat'".
        metric : str, optional
            Another metric than the gallery's; answered exactly.
        exact : bool
            Compare with every image instead of trusting the index.
        max_distance : float, optional
            Only neighbours at this distance or nearer.
        exclude_self : bool
            Leave the query itself out, where the gallery has it.
        rerank : {"diffusion"}, optional
            Rank along the neighbour graph, which `index(diffusion=True)` builds.
        diverse : float, optional
            Neighbours that differ among themselves: 0, only different, to 1, only near.
        strategy : {"learned", "average", "best_score"}, optional
            How examples are weighed: by a classifier that they teach, by their mean, or by the
            nearest of them.
        tiles : bool
            Find the query as a part of images, too, where `index(tiles=...)` kept windows of them.
            A hit's `region` says where.
        named : str, optional
            A search that `save_search` kept, asked again; further examples count as well.

        Returns
        -------
        Answer
            The neighbours, best first; a contact sheet in a notebook.
        """
        given = [
            name
            for name, value in (("query", query), ("like", like), ("text", text))
            if value is not None
        ]
        if named is not None and set(given) - {"like"}:
            raise QueryError(f"named is a search by examples, and cannot go with {given[0]}")
        if named is None and len(given) != 1:
            raise QueryError(
                f"ask with one of query, like and text; given {'are ' + ', '.join(given) if given else 'is none of them'}"
            )
        if region is not None and query is None:
            without = given[0] if given else "named"
            raise QueryError(f"region is a part of query, and cannot go with {without}")
        if rerank not in (None, "none", "diffusion"):
            raise QueryError(f"rerank={rerank!r}: expected 'diffusion' or None")
        if isinstance(k, bool) or int(k) < 1:
            raise QueryError(f"k={k}: expected at least 1")
        if named is not None:
            asked, words = as_examples(like, unlike, more=True), named
        elif like is not None:
            asked = as_examples(like, unlike)
            words = "examples"
        elif unlike is not None:
            raise QueryError("unlike goes with like: give an example of what is wanted, too")
        elif text is not None:
            asked, words = ("text", text, None), repr(text)
        else:
            asked, words = as_query(query, region), in_words(query)
        wishes = {
            "k": int(k),
            "metric": metric,
            "exact": exact,
            "max_distance": None if max_distance is None else float(max_distance),
            "filter": where,
            "exclude_self": exclude_self,
            "rerank": rerank,
            "diverse": None if diverse is None else float(diverse),
            "strategy": strategy,
            "tiles": tiles,
            "named": named,
        }
        found = json.loads(self._store.search(asked, json.dumps(wishes)))
        return Answer(words, found, self._pictures, query_picture(asked))

    def searches(self) -> dict[str, dict[str, Any]]:
        """The searches that are kept: of each name how many examples are `like` and `unlike`, and
        its `filter` and `strategy`."""
        found = json.loads(_lookalike.named_searches(self._store))
        return {search.pop("name"): search for search in found}

    def save_search(
        self,
        name: str,
        like: Any,
        unlike: Any = None,
        *,
        where: str | None = None,
        strategy: str | None = None,
    ) -> bool:
        """Keep a search by examples under a name, in the gallery's folder; `search(named=...)` asks
        with it. Their codes are kept, so that it outlives images that are removed.

        Parameters
        ----------
        name : str
            Of at most 100 characters.
        like, unlike, where, strategy
            As for `search`.

        Returns
        -------
        bool
            Whether another search of that name gave way.
        """
        keeping = json.dumps({"filter": where, "strategy": strategy})
        return _lookalike.save_search(self._store, name, as_examples(like, unlike), keeping)

    def rename_search(self, name: str, to: str) -> None:
        """Give a search that is kept another name."""
        _lookalike.rename_search(self._store, name, to)

    def delete_search(self, name: str) -> None:
        """Forget a search that is kept."""
        _lookalike.delete_search(self._store, name)

    def find(self, name: str) -> Point | None:
        """The image that a name means: an id, a path, "SOURCE#KEY", or a key that only one source
        has.

        Returns
        -------
        Point or None
        """
        found = self._store.find(name)
        return None if found is None else self[found]

    def __getitem__(self, one: Any) -> Point:
        """The image of an id, with its code."""
        name = _id(one)
        points = self._points_of(self._store.retrieve([name]))
        if not points:
            raise NoSuchImageError(f"the gallery {self.path} has no image {name}")
        return points[0]

    def __contains__(self, one: Any) -> bool:
        """Whether the image of an id, or the one that a name means as in `find`, is there."""
        name = one.id if isinstance(one, Point) else one
        named = isinstance(name, (str, os.PathLike, uuid.UUID))
        return named and self._store.find(str(name)) is not None

    def picture(self, one: Any) -> bytes | None:
        """A small picture of an image, as the bytes of a PNG or JPEG file; None where nothing is
        left of it."""
        return self._store.pictures([_id(one)], _SIDE)[0]

    # Looking through.

    def __len__(self) -> int:
        return self._store.count(None)

    def count(self, where: str | None = None) -> int:
        """How many images there are, or pass a filter."""
        return self._store.count(where)

    def __iter__(self) -> Iterator[Point]:
        return self.points()

    def points(self, where: str | None = None) -> Iterator[Point]:
        """All images, in the order of their ids, read some at a time.

        Parameters
        ----------
        where : str, optional
            A filter, as for `search`.
        """
        after = None
        while True:
            page = self._points_of(self._store.page(after, _PAGE, where))
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].id

    def codes(self, where: str | None = None) -> np.ndarray:
        """All codes, in the order of the ids.

        Returns
        -------
        ndarray of float32, shape (n_images, dims)
        """
        return self._read(where)[1]

    def sources(self) -> dict[str, int]:
        """The sources, and how many images each has."""
        return {source["source"]: source["images"] for source in json.loads(self._store.sources())}

    def describe(self) -> dict[str, Any]:
        """What the gallery is: `name`, `metric`, `dims`, `points`, `indexed`, `model_fingerprint`,
        `diffusion`."""
        about: dict[str, Any] = json.loads(self._store.describe())
        return about

    @property
    def encoder(self) -> Encoder:
        """The encoder of its codes, fitted."""
        return Encoder._of_model(self._store.model())

    # Inner workings.

    def _points_of(self, found: tuple[str, bytearray]) -> list[Point]:
        import numpy as np

        payloads = json.loads(found[0])
        codes = np.frombuffer(found[1], np.float32).reshape(len(payloads), -1) if payloads else ()
        return [Point(payload, code) for payload, code in zip(payloads, codes)]

    def _read(self, where: str | None) -> tuple[list[dict[str, Any]], np.ndarray]:
        import numpy as np

        text, codes = self._store.points(where)
        payloads = json.loads(text)
        return payloads, np.frombuffer(codes, np.float32).reshape(len(payloads), self.dims)

    def _pictures(self, ids: list[str]) -> list[bytes | None]:
        """Small pictures to show; none once the gallery is closed."""
        if self.closed:
            return [None] * len(ids)
        return self._store.pictures(ids, _SIDE)

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


def _id(one: Any) -> str:
    return one.id if isinstance(one, Point) else str(one)


def _are_paths(X: Any) -> bool:
    return isinstance(X, (list, tuple)) and all(
        isinstance(image, (str, os.PathLike)) for image in X
    )
