"""The images of a gallery: found by name, looked through, and read for its other parts."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ._answers import Point
from ._lookalike import Store
from ._parameters import filter_of, string
from .errors import NoSuchImageError

if TYPE_CHECKING:
    import numpy as np

# Points that are read at a time.
_PAGE = 1000
# The longer side of the pictures that are shown, in pixels.
PICTURE_SIDE = 128


class Points:
    """The part of `Gallery` that gives its images, and what its other parts read them by."""

    _store: Store
    path: str
    dims: int
    metric: str

    def find(self, name: str) -> Point | None:
        """Find the image that a name means.

        Parameters
        ----------
        name : str
            An id, a path, "SOURCE#KEY", or a key that only one source has.

        Returns
        -------
        Point or None
        """
        found = self._store.find(string("name", name))
        points = [] if found is None else self._points_of(self._store.retrieve([found]))
        return points[0] if points else None

    def __getitem__(self, one: Any) -> Point:
        """The image of an id, or the one that a name means as in `find`, with its code."""
        name = _name_of(one)
        point = None if name is None else self.find(name)
        if point is None:
            raise NoSuchImageError(f"the gallery {self.path} has no image {name or one!r}")
        return point

    def __contains__(self, one: Any) -> bool:
        """Whether the image of an id, or the one that a name means as in `find`, is there."""
        name = _name_of(one)
        return name is not None and self._store.find(name) is not None

    def picture(self, one: Any) -> bytes | None:
        """Get a small picture of an image.

        Parameters
        ----------
        one : str, UUID or Point
            The image's id, or the image.

        Returns
        -------
        bytes or None
            A PNG or JPEG file; None where nothing is left of the image.
        """
        return self._store.pictures([id_of(one)], PICTURE_SIDE)[0]

    def __len__(self) -> int:
        return self._store.count(None)

    def count(self, where: str | None = None) -> int:
        """Count the images.

        Parameters
        ----------
        where : str, optional
            A filter, as for `search`.

        Returns
        -------
        int
        """
        return self._store.count(filter_of(where))

    def __iter__(self) -> Iterator[Point]:
        return self.points()

    def points(self, where: str | None = None) -> Iterator[Point]:
        """All images, in the order of their ids, read some at a time.

        Parameters
        ----------
        where : str, optional
            A filter, as for `search`.

        Yields
        ------
        Point
        """
        after, where = None, filter_of(where)
        while True:
            page = self._points_of(self._store.page(after, _PAGE, where))
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].id

    def codes(self, where: str | None = None) -> np.ndarray:
        """All codes, in the order of the ids.

        Parameters
        ----------
        where : str, optional
            A filter, as for `search`.

        Returns
        -------
        ndarray of float32, shape (n_images, dims)
        """
        return self._rows(self._store.codes(filter_of(where)))

    def sources(self) -> dict[str, int]:
        """List the sources.

        Returns
        -------
        dict of int
            How many images each source has, by its name.
        """
        return {source["source"]: source["images"] for source in json.loads(self._store.sources())}

    # What other parts of a gallery read.

    def _points_of(self, found: tuple[str, bytearray]) -> list[Point]:
        import numpy as np

        payloads = json.loads(found[0])
        codes = np.frombuffer(found[1], np.float32).reshape(len(payloads), -1) if payloads else ()
        return [Point(payload, code) for payload, code in zip(payloads, codes)]

    def _read(self, where: str | None) -> tuple[list[dict[str, Any]], np.ndarray]:
        text, codes = self._store.points(filter_of(where))
        return json.loads(text), self._rows(codes)

    def _rows(self, codes: bytearray) -> np.ndarray:
        import numpy as np

        return np.frombuffer(codes, np.float32).reshape(-1, self.dims)

    def _pictures(self, ids: list[str]) -> list[bytes | None]:
        """Small pictures to show; none once the gallery is closed."""
        if self._store.closed:
            return [None] * len(ids)
        return self._store.pictures(ids, PICTURE_SIDE)


def _name_of(one: Any) -> str | None:
    """What `find` takes, if it is any such thing."""
    named = isinstance(one, (Point, str, os.PathLike, uuid.UUID))
    return id_of(one) if named else None


def id_of(one: Any) -> str:
    """The id that a `Point`, a UUID or a text is."""
    return one.id if isinstance(one, Point) else str(one)
