"""A gallery as the tables of other packages."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from ._inputs import need
from ._parameters import filter_of, location, whole
from ._points import Points
from ._progress import Observer
from .errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_COLUMNS = ("source", "key", "label", "location", "width", "height", "bytes", "blake3", "extra")

# Neighbours of each image that a Parquet file has at most.
_MAX_NEIGHBORS = 1000


class Tables(Points):
    """The part of `Gallery` that writes all of it for other packages."""

    def to_pandas(self, where: str | None = None, *, codes: bool = False) -> pd.DataFrame:
        """What is known of all images, as a data frame with their ids as its index.

        Parameters
        ----------
        where : str, optional
            A filter, as for `search`.
        codes : bool
            Whether to add a column `code` of arrays, which share memory.

        Returns
        -------
        DataFrame
            `source`, `key`, `label`, `location`, `width`, `height`, `bytes`, `blake3`, `extra`.
        """
        pandas = need("pandas", "to_pandas")
        if codes:
            payloads, values = self._read(where)
        else:
            payloads = json.loads(self._store.payloads(filter_of(where)))
        columns = {name: [payload.get(name) for payload in payloads] for name in _COLUMNS}
        if codes:
            columns["code"] = list(values)
        return pandas.DataFrame(
            columns, index=pandas.Index([payload["id"] for payload in payloads], name="id")
        )

    def to_arrow(self, where: str | None = None) -> pa.Table:
        """All images as a table of Arrow.

        Parameters
        ----------
        where : str, optional
            A filter, as for `search`.

        Returns
        -------
        pyarrow.Table
            `id`, `source`, `key`, `label`, `location`, `width`, `height`, `bytes`, `blake3`,
            `extra` (JSON), and `code`, a list of `dims` floats, which is not copied.
        """
        arrow = need("pyarrow", "to_arrow")
        payloads, values = self._read(where)
        kinds = {"width": arrow.uint32(), "height": arrow.uint32(), "bytes": arrow.uint64()}
        columns = {"id": arrow.array([payload["id"] for payload in payloads], arrow.string())}
        for name in _COLUMNS:
            found = [payload.get(name) for payload in payloads]
            if name == "extra":
                found = [None if value is None else json.dumps(value) for value in found]
            columns[name] = arrow.array(found, kinds.get(name, arrow.string()))
        flat = arrow.Array.from_buffers(
            arrow.float32(), values.size, [None, arrow.py_buffer(values)]
        )
        columns["code"] = arrow.FixedSizeListArray.from_arrays(flat, self.dims)
        metadata = {"lookalike.metric": self.metric, "lookalike.dims": str(self.dims)}
        return arrow.table(columns, metadata=metadata)

    def to_parquet(
        self,
        path: str | os.PathLike[str],
        where: str | None = None,
        *,
        map: bool = False,
        neighbors: int = 0,
        progress: bool | None = None,
    ) -> int:
        """Write all images to a Parquet file, some at a time.

        Parameters
        ----------
        path : path
            The file, which is replaced whole or not at all.
        where : str, optional
            A filter, as for `search`.
        map : bool
            Add the columns `x` and `y`, the place on the map.
        neighbors : int
            Add a column `neighbors`, a struct of `ids` (numbers of rows in the file) and
            `distances` of so many nearest others, at most 1000.
        progress : bool, optional
            Whether to show a bar.

        Returns
        -------
        int
            How many images were written.
        """
        neighbors = whole("neighbors", neighbors)
        if neighbors > _MAX_NEIGHBORS:
            raise ParameterError(f"neighbors={neighbors}: expected at most {_MAX_NEIGHBORS}")
        with Observer(progress) as observer:
            return self._store.to_parquet(
                location("path", path), filter_of(where), map, neighbors, observer
            )
