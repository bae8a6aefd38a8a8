"""A gallery as it is searched, and the searches that it keeps."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import _lookalike
from ._answers import Answer
from ._display import query_picture
from ._parameters import as_json, filter_of, real, string, whole, word_or_none
from ._points import Points
from ._queries import as_examples, as_query, in_words
from .errors import QueryError

if TYPE_CHECKING:
    from ._queries import Asked, Find


class Searching(Points):
    """The part of `Gallery` that is asked for neighbours."""

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
        if rerank not in (None, "none", "diffusion"):
            raise QueryError(f"rerank={rerank!r}: expected 'diffusion' or None")
        k = whole("k", k, 1, QueryError)
        if max_distance is not None:
            max_distance = real("max_distance", max_distance, QueryError)
        if diverse is not None:
            diverse = real("diverse", diverse, QueryError)
        asked, words = _asked(query, region, like, unlike, text, named, self._store.find)
        wishes = {
            "k": k,
            "metric": word_or_none(metric),
            "exact": exact,
            # Without a bound; JSON has no infinity.
            "max_distance": None if max_distance == math.inf else max_distance,
            "filter": filter_of(where),
            "exclude_self": exclude_self,
            "rerank": rerank,
            "diverse": diverse,
            "strategy": word_or_none(strategy),
            "tiles": tiles,
            "named": named,
        }
        found = json.loads(self._store.search(asked, as_json(wishes)))
        return Answer(words, found, self._pictures, query_picture(asked))

    def searches(self) -> dict[str, dict[str, Any]]:
        """List the searches that are kept.

        Returns
        -------
        dict of dict
            By their names: how many examples are `like` and `unlike`, and `filter` and `strategy`.
        """
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
        keeping = as_json({"filter": filter_of(where), "strategy": word_or_none(strategy)})
        examples = as_examples(like, unlike, self._store.find)
        return _lookalike.save_search(self._store, string("name", name), examples, keeping)

    def rename_search(self, name: str, to: str) -> None:
        """Give a search that is kept another name.

        Parameters
        ----------
        name : str
            Its name.
        to : str
            Its new name, which no other search has.
        """
        _lookalike.rename_search(self._store, string("name", name), string("to", to))

    def delete_search(self, name: str) -> None:
        """Forget a search that is kept.

        Parameters
        ----------
        name : str
            Its name.
        """
        _lookalike.delete_search(self._store, string("name", name))


def _asked(
    query: Any,
    region: Sequence[int] | None,
    like: Any,
    unlike: Any,
    text: str | None,
    named: str | None,
    find: Find,
) -> tuple[Asked, str]:
    """What is asked, as the extension takes it and in words."""
    given = [
        name
        for name, value in (("query", query), ("like", like), ("text", text))
        if value is not None
    ]
    if named is not None and set(given) - {"like"}:
        raise QueryError(f"named is a search by examples, and cannot go with {given[0]}")
    if named is None and len(given) != 1:
        raise QueryError(
            "ask with one of query, like and text; given "
            f"{'are ' + ', '.join(given) if given else 'is none of them'}"
        )
    if region is not None and query is None:
        without = given[0] if given else "named"
        raise QueryError(f"region is a part of query, and cannot go with {without}")
    if named is not None:
        return as_examples(like, unlike, find, more=True), named
    if like is not None:
        return as_examples(like, unlike, find), "examples"
    if unlike is not None:
        raise QueryError("unlike goes with like: give an example of what is wanted, too")
    if text is not None:
        return ("text", text, None), repr(text)
    return as_query(query, find, region), in_words(query)
