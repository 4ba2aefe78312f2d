"""What BRIDGE learns from: pairs of a query and an ad, of several sources.

Sources are clicks, queries written for an ad, keywords extracted from it, and its intentions. Whatever source says that
an ad answers a query, the ad is not a negative of that query anywhere; nor is another ad that reads the same.

Shape letters: N ads, P pairs of one source, Q different queries of all sources, B batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from intently.encoder.features import FeatureStore
from intently.errors import InputError
from intently.text.normalize import normalize

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


class Item(StrEnum):
    """The kinds of augmentation that an ad is read with."""

    GENERATED = "generated"
    KEYWORD = "keyword"


@dataclass(frozen=True)
class Source:
    """P pairs of a query's text and the row of an ad that answers it.

    `places` says where in the ad's own augmentation (its items of one `item` kind) each query stands, -1 for nowhere.
    That item is hidden when the pair is learnt or measured: the ad would be known by the query it carries.
    """

    name: str
    queries: tuple[str, ...]  # (P,)
    ad_rows: IntArray  # (P,)
    weights: FloatArray | None = None  # (P,) > 0: how often a pair is drawn, against the others; None: all alike
    item: Item | None = None
    places: IntArray | None = None  # (P,)

    def __post_init__(self) -> None:
        for what, values in (("ads", self.ad_rows), ("weights", self.weights), ("places", self.places)):
            if values is not None and len(values) != len(self.queries):
                raise InputError(
                    f"source '{self.name}' has {len(self.queries)} queries and {len(values)} {what}",
                    cure="give one for each pair",
                )
        if (self.item is None) != (self.places is None):
            raise InputError(f"source '{self.name}' has only one of 'item' and 'places'", cure="give both or none")
        if self.weights is not None and not (np.isfinite(self.weights) & (self.weights > 0)).all():
            raise InputError(f"source '{self.name}' has a weight that is not above 0", cure="leave such pairs out")

    def __len__(self) -> int:
        return len(self.queries)

    @classmethod
    def of_ads(cls, name: str, texts: Sequence[Sequence[str]], item: Item | None = None) -> "Source":
        """Return the pairs of every ad with each of its different texts, row by row.

        With `item` these texts are what the ads' features of that kind were computed from.
        """
        distinct = [tuple(dict.fromkeys(own)) for own in texts]
        counts = np.array([len(own) for own in distinct], dtype=np.int64)
        starts = np.cumsum(counts) - counts
        return cls(
            name,
            tuple(text for own in distinct for text in own),
            np.repeat(np.arange(len(distinct)), counts),
            item=item,
            places=None if item is None else np.arange(counts.sum()) - np.repeat(starts, counts),
        )


@dataclass(frozen=True)
class Pairs:
    """All pairs of all sources, one source after the other; R is their number."""

    query_rows: IntArray  # (R,)
    ad_rows: IntArray  # (R,)
    sources: IntArray  # (R,)
    generated_places: IntArray  # (R,) the item of the ad that is hidden, -1 for none
    keyword_places: IntArray  # (R,)
    weights: FloatArray  # (R,) whose mean is 1 in each source

    def __len__(self) -> int:
        return len(self.query_rows)


@dataclass(frozen=True)
class BridgeData:
    """Everything that the training of BRIDGE samples from; ad rows are positions in `ad_texts`."""

    ad_texts: tuple[str, ...]
    sources: tuple[Source, ...]  # the clicks first
    features: FeatureStore | None = None  # of all N ads
    irrelevant: Source | None = None  # pairs judged irrelevant: negatives of their query
    titles: tuple[str, ...] | None = None  # ads of one title count as one answer; None: ads of one text
    num_clicks: IntArray | None = None  # (N,); None: counted in the first source
    qualities: FloatArray | None = None  # (N,) in (0, 1]; None: all 1

    def __post_init__(self) -> None:
        num_ads = len(self.ad_texts)
        if not self.sources:
            raise InputError("there are no pairs to learn from", cure="give a source")
        for source in self.sources:
            if not len(source):
                raise InputError(f"source '{source.name}' has no pairs", cure="leave it out")
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise InputError(f"two sources have one name, of {', '.join(names)}", cure="name them apart")
        for source in (*self.sources, *((self.irrelevant,) if self.irrelevant else ())):
            if len(source) and not (source.ad_rows.min() >= 0 and source.ad_rows.max() < num_ads):
                raise InputError(f"source '{source.name}' names an ad outside the {num_ads}", cure="check its rows")
        for what, values in (
            ("features", self.features),
            ("titles", self.titles),
            ("num_clicks", self.num_clicks),
            ("qualities", self.qualities),
        ):
            if values is not None and len(values) != num_ads:
                raise InputError(f"'{what}' are of {len(values)} ads, texts of {num_ads}", cure="give one for each ad")

    @cached_property
    def _row_of(self) -> dict[str, int]:
        """The row of every different query, by its normalised text."""
        rows: dict[str, int] = {}
        for source in self.sources:
            for text in source.queries:
                rows.setdefault(normalize(text), len(rows))
        return rows

    @cached_property
    def queries(self) -> tuple[str, ...]:
        """The different queries (Q,) of all sources, normalised."""
        return tuple(self._row_of)

    @cached_property
    def pairs(self) -> Pairs:
        """All pairs of all sources."""
        rows, parts = self._row_of, self.sources
        return Pairs(
            np.array([rows[normalize(text)] for source in parts for text in source.queries], dtype=np.int64),
            np.concatenate([source.ad_rows for source in parts]).astype(np.int64),
            np.repeat(np.arange(len(parts)), [len(source) for source in parts]),
            np.concatenate([_places(source, Item.GENERATED) for source in parts]),
            np.concatenate([_places(source, Item.KEYWORD) for source in parts]),
            np.concatenate([np.ones(len(s)) if s.weights is None else s.weights / s.weights.mean() for s in parts]),
        )

    @cached_property
    def answer_ids(self) -> IntArray:
        """Number (N,) of what each ad says: ads that read the same have the same."""
        numbers: dict[str, int] = {}
        texts = self.ad_texts if self.titles is None else self.titles
        return np.array([numbers.setdefault(normalize(text), len(numbers)) for text in texts], dtype=np.int64)

    @cached_property
    def num_answers(self) -> int:
        """Number of different `answer_ids`."""
        return int(self.answer_ids.max()) + 1

    @cached_property
    def clicks_of_ads(self) -> IntArray:
        """Number of clicks (N,) of each ad."""
        if self.num_clicks is not None:
            return self.num_clicks
        return np.bincount(self.sources[0].ad_rows, minlength=len(self.ad_texts))

    @cached_property
    def _known(self) -> IntArray:
        """Sorted keys of all (query_row, answer_id) that some source names."""
        return np.unique(self.pairs.query_rows * self.num_answers + self.answer_ids[self.pairs.ad_rows])

    def is_positive(self, query_rows: IntArray, ad_rows: IntArray) -> NDArray[np.bool_]:
        """Return, broadcasting, whether the ad, or one that reads the same, is a known answer to the query."""
        wanted = query_rows * self.num_answers + self.answer_ids[ad_rows]
        at = np.minimum(self._known.searchsorted(wanted), len(self._known) - 1)
        known: NDArray[np.bool_] = self._known[at] == wanted
        return known

    def positives(self, query_rows: IntArray) -> tuple[IntArray, IntArray]:
        """Return (position in `query_rows (B,)`, answer_id) of every known answer to each."""
        start = self._known.searchsorted(query_rows * self.num_answers)
        counts = self._known.searchsorted((query_rows + 1) * self.num_answers) - start
        owners = np.repeat(np.arange(len(query_rows)), counts)
        at = np.arange(counts.sum()) + np.repeat(start - (np.cumsum(counts) - counts), counts)
        return owners, self._known[at] % self.num_answers

    @cached_property
    def _judged(self) -> tuple[IntArray, IntArray]:
        """Of the pairs judged irrelevant, those of known queries: query_rows, sorted, and ad_rows."""
        if self.irrelevant is None:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        rows = np.array([self._row_of.get(normalize(text), -1) for text in self.irrelevant.queries], dtype=np.int64)
        order = np.argsort(rows, kind="stable")
        order = order[rows[order] >= 0]
        return rows[order], self.irrelevant.ad_rows[order]

    def draw_irrelevant(self, query_rows: IntArray, rng: np.random.Generator) -> IntArray:
        """Return for each query (B,) an ad judged irrelevant to it, -1 without one."""
        judged, ad_rows = self._judged
        start, end = judged.searchsorted(query_rows), judged.searchsorted(query_rows, side="right")
        some = end > start
        drawn = np.full(len(query_rows), -1, dtype=np.int64)
        drawn[some] = ad_rows[rng.integers(start[some], end[some])]
        return drawn

    def split(self, number: int, seed: int) -> tuple[list[IntArray], list[IntArray]]:
        """Return, for each source, the pairs to learn from and about `number` held out, as positions in `pairs`.

        All pairs that a source has of a query are on one side. At most a fifth of a source is held out.
        """
        learnt, held_out = [], []
        for index in range(len(self.sources)):
            at = np.flatnonzero(self.pairs.sources == index)
            order = np.random.default_rng((seed, 3, index)).permutation(np.unique(self.pairs.query_rows[at]))
            counts = np.bincount(self.pairs.query_rows[at], minlength=len(self.queries))[order]
            chosen = order[np.cumsum(counts) <= min(number, len(at) // 5)]
            out = np.isin(self.pairs.query_rows[at], chosen)
            learnt.append(at[~out])
            held_out.append(at[out])
        return learnt, held_out


def _places(source: Source, item: Item) -> IntArray:
    if source.item is not item or source.places is None:
        return np.full(len(source), -1, dtype=np.int64)
    return source.places
