"""What a gallery says of itself: copies, outliers, groups, faults, labels, a map."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import _lookalike
from ._answers import Table
from ._inputs import label_of, need
from ._parameters import as_json, filter_of, real, whole, word
from ._points import Points
from ._progress import Observer
from .errors import GalleryError, ParameterError

if TYPE_CHECKING:
    import numpy as np


class Findings(Points):
    """The part of `Gallery` that compares all its images with each other."""

    def duplicates(
        self,
        *,
        threshold: float | None = None,
        exact_only: bool = False,
        turned: bool = False,
        within_folder: bool = False,
        across: Sequence[str] | None = None,
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
        turned : bool
            Mirrored and rotated copies, too; costs seven encodings for each image.
        within_folder : bool
            Only copies whose files lie in one folder.
        across : (str, str), optional
            Only copies of which each part has some: two sources, or two filters, as in
            ("split=train", "split=test").
        where : str, optional
            A filter, as for `search`.
        progress : bool, optional
            Whether to show a bar.

        Returns
        -------
        Table
            `id`, `key`, `group` (int64, the largest group first), `kind` ("representative",
            "exact", "near", "same-file", "gone"), `distance` (float64, from the representative),
            `turned` (how the representative is turned to be this one, or None), `location`.
        """
        import numpy as np

        if across is not None and (isinstance(across, str) or len(across) != 2):
            raise ParameterError(f"across={across!r}: expected two sources or filters")
        if across is not None and within_folder:
            raise ParameterError("across and within_folder exclude each other: give one")
        wishes = {
            "threshold": None if threshold is None else real("threshold", threshold),
            "exact_only": exact_only,
            "turned": turned,
            "within_folder": within_folder,
            "across": None if across is None else list(across),
        }
        found = self._found(_lookalike.find_duplicates, as_json(wishes), where, progress)
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
            "turned": _texts(member.get("turned") for _, member in members),
            "location": _texts(member.get("location") for _, member in members),
        }
        about: dict[str, Any] = {
            name: found[name]
            for name in ("points", "contents", "group_count", "exact", "near", "overlap")
            if name in found
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
        wishes = as_json({"k": whole("k", k, 1), "by": word(by), "count": whole("count", count)})
        found = self._found(_lookalike.rank_outliers, wishes, where, progress)
        rows = found.pop("outliers")
        columns = {
            **_text_columns(rows, "id", "key"),
            "score": _floats(row.get("score") for row in rows),
            "mean_distance": _floats(row.get("distance") for row in rows),
            "error": _floats(row.get("error") for row in rows),
            **_text_columns(rows, "location"),
        }
        about = {name: found[name] for name in ("points", "contents", "by")}
        return Table("Outliers", columns, about, self._pictures)

    def map(self, *, progress: bool | None = None) -> Table:
        """Lay the gallery out in the plane by UMAP, so that images that look alike lie near each
        other.

        Parameters
        ----------
        progress : bool, optional
            Whether to show a bar.

        Returns
        -------
        Table
            `id`, `key`, `label`, and `position`: float32, shape (n_images, 2), x from left to right
            and y from the top down, both 0 to 1.
        """
        import numpy as np

        with Observer(progress) as observer:
            ids, keys, labels, places = _lookalike.lay_out_map(self._store, observer)
        columns = {
            "id": _texts(ids),
            "key": _texts(keys),
            "label": _texts(labels),
            "position": np.frombuffer(places, np.float32).reshape(len(ids), 2),
        }
        return Table("Map", columns, {}, self._pictures)

    def groups(
        self,
        count: int | None = None,
        *,
        min_size: int = 5,
        keep: bool = False,
        where: str | None = None,
        progress: bool | None = None,
    ) -> Table:
        """Divide the gallery into groups of what looks alike, by communities of the neighbour graph
        (Leiden: Traag et al. 2019). The number of groups follows from the images unless it is given.

        Parameters
        ----------
        count : int, optional
            How many there are to be.
        min_size : int
            Different images that a group has at least.
        keep : bool
            Keep each image's group in the gallery, as the field `group`, which filters know:
            "group=3".
        where : str, optional
            A filter, as for `search`.
        progress : bool, optional
            Whether to show a bar.

        Returns
        -------
        Table
            Of the images in groups, group by group, the largest first, and in each the most typical
            first: `id`, `key`, `label`, `group` (int64, from 1), `score` (float64, how typical: 1
            to 0), `outlier` (bool). `about["groups"]` has of each group its `number`, `size`, `name`
            (the label of most, or None), `labels`, `typical` (ids) and `outliers` (how many).
        """
        import numpy as np

        wishes = as_json(
            {
                "count": None if count is None else whole("count", count, 1),
                "min_size": whole("min_size", min_size),
                "keep": keep,
            }
        )
        about = self._found(_lookalike.find_groups, wishes, where, progress)
        keys, labels = about.pop("keys"), about.pop("labels")
        rows = []
        for group in about["groups"]:
            members = group.pop("members")
            sound = len(members) - group["outliers"]
            rows += [(group["number"], at >= sound, member) for at, member in enumerate(members)]
        columns = {
            "id": _texts(member["id"] for _, _, member in rows),
            "key": _texts(keys),
            "label": _texts(labels),
            "group": np.array([number for number, _, _ in rows], np.int64),
            "score": np.array([member["score"] for _, _, member in rows], np.float64),
            "outlier": np.array([outlier for _, outlier, _ in rows], bool),
        }
        return Table("Groups", columns, about, self._pictures)

    def check(
        self, limit: int = 20, *, where: str | None = None, progress: bool | None = None
    ) -> Table:
        """Find images with something wrong: blank, dark, bright, blurred, half-decoded and the like.

        What is usual follows from the gallery itself; see ``lookalike check``.

        Parameters
        ----------
        limit : int
            How many images are given for each fault, the worst first.
        where : str, optional
            A filter, as for `search`.
        progress : bool, optional
            Whether to show a bar.

        Returns
        -------
        Table
            A row for each fault of an image: `id`, `key`, `fault`, `measure`, `value` (float64, of
            that measure), `location`. `about["findings"]` has of every fault its `threshold`,
            `median`, `count` and `histogram`.
        """
        about = self._found(_lookalike.check_pictures, whole("limit", limit), where, progress)
        rows = [
            (finding, image) for finding in about["findings"] for image in finding.pop("images")
        ]
        images = [image for _, image in rows]
        columns = {
            **_text_columns(images, "id", "key"),
            "fault": _texts(finding["fault"] for finding, _ in rows),
            "measure": _texts(finding["measure"] for finding, _ in rows),
            "value": _floats(image["value"] for image in images),
            **_text_columns(images, "location"),
        }
        return Table("Faults", columns, about, self._pictures)

    def sample(
        self, count: int, *, where: str | None = None, progress: bool | None = None
    ) -> Table:
        """Choose images that cover the gallery, for instance to label them: each is the one that is
        least like those before it (k-centre: Gonzalez 1985).

        Parameters
        ----------
        count : int
            How many.
        where : str, optional
            A filter, as for `search`.
        progress : bool, optional
            Whether to show a bar.

        Returns
        -------
        Table
            In the order in which they were chosen: `id`, `key`, `label`, `distance` (float64, from
            the nearest of those before; NaN for the first), `location`.
        """
        about = self._found(_lookalike.choose_sample, whole("count", count), where, progress)
        rows = about.pop("chosen")
        columns = {
            **_text_columns(rows, "id", "key", "label"),
            "distance": _floats(row.get("distance") for row in rows),
            **_text_columns(rows, "location"),
        }
        return Table("Sample", columns, about, self._pictures)

    def suggest_labels(
        self,
        labels: Mapping[Any, Any] | None = None,
        *,
        k: int = 10,
        own: bool = True,
        where: str | None = None,
        progress: bool | None = None,
    ) -> Table:
        """Suggest a label for each image without one, by its nearest labelled neighbours.

        Parameters
        ----------
        labels : dict, optional
            Labels by the id or the key of their images. They count before those of the gallery.
        k : int
            Labelled neighbours that vote.
        own : bool
            Whether the gallery's own labels count where none is given.
        where : str, optional
            A filter, as for `search`.
        progress : bool, optional
            Whether to show a bar.

        Returns
        -------
        Table
            The most confident first: `id`, `key`, `own` (None), `suggested`, `confidence` (float64, 0
            to 1), `because_of` (the id of the nearest image with that label), `location`.

        See Also
        --------
        suspect_labels : labels that may be mistakes.
        """
        return self._labels(False, labels, k, own, where, progress)

    def suspect_labels(
        self,
        labels: Mapping[Any, Any] | None = None,
        *,
        k: int = 10,
        own: bool = True,
        where: str | None = None,
        progress: bool | None = None,
    ) -> Table:
        """Find labels that may be mistakes, because the neighbours contradict them.

        Parameters
        ----------
        labels, k, own, where, progress
            As for `suggest_labels`.

        Returns
        -------
        Table
            The most confident first: `id`, `key`, `own` (the label that the image has),
            `suggested`, `confidence` (float64, 0 to 1), `because_of` (the id of the nearest image
            with the suggested label), `location`.

        See Also
        --------
        suggest_labels : labels for images without one.
        """
        return self._labels(True, labels, k, own, where, progress)

    def _labels(
        self,
        mistakes: bool,
        labels: Mapping[Any, Any] | None,
        k: int,
        own: bool,
        where: str | None,
        progress: bool | None,
    ) -> Table:
        given = {
            str(getattr(one, "id", one)): text
            for one, label in (labels or {}).items()
            if (text := label_of(label)) is not None
        }
        wishes = as_json({"k": whole("k", k, 1), "own": own, "given": given, "mistakes": mistakes})
        found = self._found(_lookalike.suggest_labels, wishes, where, progress)
        rows = found["found"]
        columns = {
            **_text_columns(rows, "id", "key", "own", "suggested"),
            "confidence": _floats(row["confidence"] for row in rows),
            **_text_columns(rows, "because_of", "location"),
        }
        names = ("labelled", "labels", "agreement", "calibrated", "unknown")
        about = {name: found["about"][name] for name in names}
        title = "Mistakes" if mistakes else "Suggestions"
        return Table(title, columns, about, self._pictures)

    def _found(
        self, find: Any, wishes: Any, where: str | None, progress: bool | None
    ) -> dict[str, Any]:
        with Observer(progress) as observer:
            found: dict[str, Any] = json.loads(
                find(self._store, wishes, filter_of(where), observer)
            )
        return found

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
            **_text_columns(payloads, "id", "key", "label"),
            "cluster": found,
        }
        return Table(
            "Clusters", columns, {"clusters": int(found.max(initial=-1)) + 1}, self._pictures
        )


def _texts(values: Iterable[Any]) -> np.ndarray:
    import numpy as np

    return np.array(list(values), dtype=object)


def _text_columns(rows: list[dict[str, Any]], *names: str) -> dict[str, np.ndarray]:
    return {name: _texts(row.get(name) for row in rows) for name in names}


def _floats(values: Iterable[float | None]) -> np.ndarray:
    """Numbers, and NaN where there is none."""
    import numpy as np

    return np.array([np.nan if value is None else value for value in values], np.float64)
