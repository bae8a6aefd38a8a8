"""What galleries answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from ._display import sheet
from ._inputs import need

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Pictures of a table that are shown, and the columns below them beside the first of floats.
_SHOWN = 40
_SHOWN_COLUMNS = ("label", "group", "cluster", "kind", "fault", "own", "suggested")

Pictures = Callable[[list[str]], list["bytes | None"]]


def _no_pictures(ids: list[str]) -> list[bytes | None]:
    return [None] * len(ids)


class _Pictured:
    """What shows pictures of a gallery, but for its copies in other processes, which have no
    gallery."""

    _pictures: Pictures

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pictures": _no_pictures}


class Point:
    """An image of a gallery.

    Attributes
    ----------
    id : str
        Its UUID, which follows from its source and its key.
    key, source : str
        Its name within its source, and that.
    label : str or None
        What its source says that it shows.
    width, height : int
        Of the original, in pixels.
    location : str or None
        Where the original is.
    payload : dict
        All that is known about it.
    code : ndarray of float32 or None
        Its code; None where it was not read.
    """

    __slots__ = ("code", "height", "id", "key", "label", "location", "payload", "source", "width")

    def __init__(self, payload: dict[str, Any], code: np.ndarray | None = None) -> None:
        self.payload = payload
        self.id: str = payload["id"]
        self.key: str = payload["key"]
        self.source: str = payload["source"]
        self.label: str | None = payload.get("label")
        self.width: int = payload["width"]
        self.height: int = payload["height"]
        self.location: str | None = payload.get("location")
        self.code = code

    def __repr__(self) -> str:
        label = f", label={self.label!r}" if self.label is not None else ""
        return f"{type(self).__name__}(key={self.key!r}{label}, source={self.source!r})"


class Hit(Point):
    """A neighbour: a `Point`, and

    Attributes
    ----------
    distance : float
        From the query, by the answer's metric; smaller is nearer.
    score : float or None
        Of diffusion, or of examples by "best_score"; larger is better.
    region : (int, int, int, int) or None
        Where in the original a search among tiles found the query: left, top, width and height in
        pixels; None where it is the whole image.
    """

    __slots__ = ("distance", "region", "score")

    def __init__(self, found: dict[str, Any]) -> None:
        super().__init__({"id": found["id"], **found["payload"]})
        self.distance: float = found["distance"]
        self.score: float | None = found.get("score")
        region = found.get("region")
        self.region: tuple[int, int, int, int] | None = (
            None
            if region is None
            else (region["x"], region["y"], region["width"], region["height"])
        )

    def __repr__(self) -> str:
        label = f", label={self.label!r}" if self.label is not None else ""
        return f"Hit(key={self.key!r}, distance={self.distance:.5f}{label})"


class Answer(_Pictured, Sequence[Hit]):
    """The neighbours of a query, the best first: a sequence of `Hit`. In a notebook it is a contact
    sheet.

    Attributes
    ----------
    query : str
        What was asked, in words.
    metric : str
        The metric of the distances.
    exact : bool
        Whether the query was compared with every image; otherwise the index was trusted.
    notes : list of str
        What the asker should know.
    distances : ndarray of float32, shape (n_hits,)
    ids, keys, labels : list
        Of the hits, in their order.
    """

    def __init__(
        self, query: str, found: dict[str, Any], pictures: Pictures, shown: bytes | None = None
    ) -> None:
        import numpy as np

        self.query = query
        self.metric: str = found["metric"]
        self.exact: bool = found["exact"]
        self.notes: list[str] = found["notes"]
        self._hits = [Hit(hit) for hit in found["neighbours"]]
        self._pictures = pictures
        self._shown = shown
        self.distances: np.ndarray = np.array([hit.distance for hit in self._hits], np.float32)
        self.ids = [hit.id for hit in self._hits]
        self.keys = [hit.key for hit in self._hits]
        self.labels = [hit.label for hit in self._hits]

    @overload
    def __getitem__(self, at: int) -> Hit: ...

    @overload
    def __getitem__(self, at: slice) -> list[Hit]: ...

    def __getitem__(self, at: int | slice) -> Hit | list[Hit]:
        return self._hits[at]

    def __len__(self) -> int:
        return len(self._hits)

    def __repr__(self) -> str:
        exact = ", exact" if self.exact else ""
        lines = "".join(f"\n  {hit!r}" for hit in self._hits)
        return f"Answer to {self.query}: {len(self)} by {self.metric}{exact}{lines}"

    def to_pandas(self) -> pd.DataFrame:
        """The hits as a data frame.

        Returns
        -------
        DataFrame
            `id`, `key`, `distance`, `score`, `label` and the rest of what is known.
        """
        rows = [{"distance": hit.distance, "score": hit.score, **hit.payload} for hit in self._hits]
        return _frame(rows, ["id", "key", "distance", "score", "label"])

    def _repr_html_(self) -> str:
        cells: list[tuple[bytes | None, list[str]]] = []
        if self._shown is not None:
            cells.append((self._shown, ["the query"]))
        for hit, picture in zip(self._hits, self._pictures(self.ids)):
            cells.append(
                (
                    picture,
                    [
                        hit.key,
                        f"{hit.distance:.4f}"
                        + (f" · {hit.label}" if hit.label is not None else ""),
                    ],
                )
            )
        return sheet(f"{self.query}: {len(self)} by {self.metric}", cells)


class Table(_Pictured):
    """Columns of one length, one row an image; each column is an attribute too. In a notebook its
    first images are a contact sheet.

    Attributes
    ----------
    columns : dict of ndarray
        By their names.
    about : dict
        What was found in all.
    """

    def __init__(
        self, name: str, columns: dict[str, np.ndarray], about: dict[str, Any], pictures: Pictures
    ) -> None:
        self.columns = columns
        self.about = about
        self._name = name
        self._pictures = pictures

    def __getattr__(self, name: str) -> np.ndarray:
        columns: dict[str, np.ndarray] = self.__dict__.get("columns", {})
        if name in columns:
            return columns[name]
        raise AttributeError(
            f"{type(self).__name__} has no attribute and no column {name!r}; its columns are {', '.join(columns)}"
        )

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.columns})

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in zip(*self.columns.values()):
            yield dict(zip(self.columns, row))

    def __repr__(self) -> str:
        # Lists, as that of all groups, are only counted.
        about = ", ".join(
            f"{name} {len(value) if isinstance(value, list) else value}"
            for name, value in self.about.items()
            if value is not None
        )
        rows = f"{self._name}: {len(self)} rows of {', '.join(self.columns)}"
        return f"{rows} ({about})" if about else rows

    def to_pandas(self) -> pd.DataFrame:
        """The columns as a data frame.

        Returns
        -------
        DataFrame
            A column of several numbers a row, such as `position`, is one column for each:
            `position_0`, `position_1`.
        """
        frame: dict[str, Any] = {}
        for name, values in self.columns.items():
            if values.ndim == 1:
                frame[name] = values
            else:
                frame.update({f"{name}_{at}": values[:, at] for at in range(values.shape[1])})
        return need("pandas", "to_pandas").DataFrame(frame)

    def _repr_html_(self) -> str:
        rows = [row for row, _ in zip(self, range(_SHOWN))]
        pictures = self._pictures([row["id"] for row in rows])
        cells = []
        for row, picture in zip(rows, pictures):
            numbers = [
                f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, float)
            ]
            words = [
                f"{name} {value}"
                for name, value in row.items()
                if name in _SHOWN_COLUMNS and value is not None
            ]
            cells.append((picture, [str(row["key"]), *words, *numbers[:1]]))
        return sheet(repr(self), cells)


def _frame(rows: list[dict[str, Any]], first: list[str]) -> pd.DataFrame:
    pandas = need("pandas", "to_pandas")
    names = list(first)
    for row in rows:
        names += [name for name in row if name not in names]
    return pandas.DataFrame({name: [row.get(name) for row in rows] for name in names})
