"""What a gallery says of itself: copies, outliers, a map, clusters."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ._answers import Table
from ._inputs import need
from ._progress import Observer
from .errors import GalleryError

if TYPE_CHECKING:
    import numpy as np

    from ._lookalike import Store


class Findings:
    """The part of `Gallery` that compares all its images with each other."""

    _store: Store
    path: str
    metric: str

    def _read(self, where: str | None) -> tuple[list[dict[str, Any]], np.ndarray]:
        raise NotImplementedError

    def _pictures(self, ids: list[str]) -> list[bytes | None]:
        raise NotImplementedError

    def duplicates(
        self,
        *,
        threshold: float | None = None,
        exact_only: bool = False,
        where: str | None = None,
        progress: bool | None = None,
    ) -> Table:
        """Find images that are there more than once, exactly or nearly. Nothing is deleted.

        Parameters
        ----------
        threshold : float, optional
            The largest distance between codes of near copies; by default their pictures are
            compared.
        exact_only : bool
            Only files of the same content.
        where : str, optional
            A filter, as for `search`.
        progress : bool, optional
            Whether to show a bar.

        Returns
        -------
        Table
            `id`, `key`, `group` (int64, the largest group first), `kind` ("representative",
            "exact", "near", "same-file", "gone"), `distance` (float64, from the representative),
            `location`.
        """
        import numpy as np

        with Observer(progress) as observer:
            found = json.loads(self._store.duplicates(threshold, exact_only, where, observer))
        groups = found.pop("groups")
        members = [
            (number, member) for number, group in enumerate(groups) for member in group["members"]
        ]
        columns = {
            "id": _texts(member["id"] for _, member in members),
            "key": _texts(member["key"] for _, member in members),
            "group": np.array([number for number, _ in members], np.int64),
            "kind": _texts(member["kind"] for _, member in members),
            "distance": np.array([member["distance"] for _, member in members], np.float64),
            "location": _texts(member.get("location") for _, member in members),
        }
        about = {
            name: found[name] for name in ("points", "contents", "group_count", "exact", "near")
        }
        return Table("Duplicates", columns, about, self._pictures)

    def outliers(
        self,
        count: int = 20,
        *,
        by: str = "both",
        k: int = 10,
        where: str | None = None,
        progress: bool | None = None,
    ) -> Table:
        """Find images that are unlike the rest.

        Parameters
        ----------
        count : int
            How many, the most remarkable first.
        by : {"both", "neighbours", "reconstruction"}
            By the mean distance to the nearest others, by the error of the reconstruction, or both.
        k : int
            How many others each is compared with.
        where : str, optional
            A filter, as for `search`.
        progress : bool, optional
            Whether to show a bar.

        Returns
        -------
        Table
            `id`, `key`, `score` (float64, robust standard deviations; 3 or less is nothing
            remarkable), `mean_distance`, `error` (float64, NaN where not known), `location`.
        """
        import numpy as np

        with Observer(progress) as observer:
            found = json.loads(
                self._store.outliers(
                    json.dumps({"k": k, "by": by, "count": count}), where, observer
                )
            )
        rows = found.pop("outliers")

        def floats(name: str) -> np.ndarray:
            return np.array(
                [np.nan if row.get(name) is None else row[name] for row in rows], np.float64
            )

        columns = {
            "id": _texts(row["id"] for row in rows),
            "key": _texts(row["key"] for row in rows),
            "score": floats("score"),
            "mean_distance": floats("distance"),
            "error": floats("error"),
            "location": _texts(row.get("location") for row in rows),
        }
        about = {name: found[name] for name in ("points", "contents", "by")}
        return Table("Outliers", columns, about, self._pictures)

    def map(self, *, progress: bool | None = None) -> Table:
        """Lay the gallery out in the plane by UMAP, so that images that look alike lie near each
        other.

        Returns
        -------
        Table
            `id`, `key`, `label`, and `position`: float32, shape (n_images, 2), x from left to right
            and y from the top down, both 0 to 1.
        """
        import numpy as np

        with Observer(progress) as observer:
            ids, places = self._store.map(observer)
        known = {payload["id"]: payload for payload in self._read(None)[0]}
        columns = {
            "id": _texts(ids),
            "key": _texts(known.get(one, {}).get("key") for one in ids),
            "label": _texts(known.get(one, {}).get("label") for one in ids),
            "position": np.frombuffer(places, np.float32).reshape(len(ids), 2),
        }
        return Table("Map", columns, {}, self._pictures)

    def clusters(self, clusterer: Any = None, *, where: str | None = None) -> Table:
        """Group images by their codes, with scikit-learn or any other clusterer.

        Parameters
        ----------
        clusterer : estimator, optional
            With `fit_predict`; by default HDBSCAN of scikit-learn, with groups of 5 and more.
        where : str, optional
            A filter, as for `search`.

        Returns
        -------
        Table
            `id`, `key`, `label`, and `cluster`: int64, -1 where an image is in none.
        """
        import numpy as np

        if clusterer is None:
            clusterer = need("sklearn.cluster", "clusters").HDBSCAN(min_cluster_size=5, copy=True)
        payloads, values = self._read(where)
        if not payloads:
            raise GalleryError(f"the gallery {self.path} has no images to group: index some")
        # Codes that are compared by their angle are brought to one length.
        if self.metric == "cosine":
            values = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-30)
        found = np.asarray(clusterer.fit_predict(values), np.int64)
        columns = {
            "id": _texts(payload["id"] for payload in payloads),
            "key": _texts(payload["key"] for payload in payloads),
            "label": _texts(payload.get("label") for payload in payloads),
            "cluster": found,
        }
        return Table(
            "Clusters", columns, {"clusters": int(found.max(initial=-1)) + 1}, self._pictures
        )


def _texts(values: Iterable[Any]) -> np.ndarray:
    import numpy as np

    return np.array(list(values), dtype=object)
