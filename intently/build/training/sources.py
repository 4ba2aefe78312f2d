"""What BRIDGE learns from: pairs of a query and an ad, of several sources.

Sources are clicks, queries written for an ad, keywords extracted from it, and its intentions. Whatever source says that
an ad answers a query, the ad is not a negative of that query anywhere; nor is another ad that reads the same.

An ad that is learnt or measured with a query is read without those of its items that say the same as the query: it
would be known by the answer it carries (`query_keys`).

Shape letters: N ads, P pairs of one source, Q different queries of all sources, B batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float64Array, IntArray
from intently.errors import InputError
from intently.models.encoder.features import FeatureStore, text_keys
from intently.text.normalize import normalize


@dataclass(frozen=True)
class Source:
    """P pairs of a query's text and the row of an ad that answers it."""

    name: str
    queries: tuple[str, ...]  # (P,)
    ad_rows: IntArray  # (P,)
    weights: Float64Array | None = None  # (P,) > 0: how often a pair is drawn, against the others; None: all alike

    def __post_init__(self) -> None:
        for what, values in (("ads", self.ad_rows), ("weights", self.weights)):
            if values is not None and len(values) != len(self.queries):
                raise InputError(
                    f"source '{self.name}' has {len(self.queries)} queries and {len(values)} {what}",
                    cure="give one for each pair",
                )
        if self.weights is not None and not (np.isfinite(self.weights) & (self.weights > 0)).all():
            raise InputError(f"source '{self.name}' has a weight that is not above 0", cure="leave such pairs out")

    def __len__(self) -> int:
        return len(self.queries)

    @classmethod
    def of_ads(cls, name: str, texts: Sequence[Sequence[str]]) -> "Source":
        """Return the pairs of every ad with each of its different texts, row by row."""
        distinct = [tuple(dict.fromkeys(own)) for own in texts]
        return cls(
            name,
            tuple(text for own in distinct for text in own),
            np.repeat(np.arange(len(distinct)), [len(own) for own in distinct]),
        )


@dataclass(frozen=True)
class Pairs:
    """All pairs of all sources, one source after the other; R is their number."""

    query_rows: IntArray  # (R,)
    ad_rows: IntArray  # (R,)
    sources: IntArray  # (R,)
    weights: Float64Array  # (R,) whose mean is 1 in each source

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
    qualities: Float64Array | None = None  # (N,) in (0, 1]; None: all 1

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
        """The row of every different query, by each text that some source writes for it."""
        rows: dict[str, int] = {}
        by_text: dict[str, int] = {}
        for source in self.sources:
            for text in source.queries:
                if text not in by_text:
                    by_text[text] = rows.setdefault(normalize(text), len(rows))
        return by_text

    @cached_property
    def queries(self) -> tuple[str, ...]:
        """The different queries (Q,) of all sources, normalized."""
        written: dict[int, str] = {}
        for text, row in self._row_of.items():
            written.setdefault(row, text)
        return tuple(normalize(text) for text in written.values())

    @cached_property
    def query_keys(self) -> IntArray:
        """The keys (Q,) of the queries, to be compared with those of ads' items."""
        return text_keys(self.queries)

    @cached_property
    def pairs(self) -> Pairs:
        """All pairs of all sources."""
        rows, parts = self._row_of, self.sources
        return Pairs(
            np.array([rows[text] for source in parts for text in source.queries], dtype=np.int64),
            np.concatenate([source.ad_rows for source in parts]).astype(np.int64),
            np.repeat(np.arange(len(parts)), [len(source) for source in parts]),
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
        return _among(self._known, query_rows * self.num_answers + self.answer_ids[ad_rows])

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
        row_of = dict(zip(self.queries, range(len(self.queries)), strict=True))
        normalized = {text: normalize(text) for text in set(self.irrelevant.queries)}
        rows = np.array([row_of.get(normalized[text], -1) for text in self.irrelevant.queries], dtype=np.int64)
        order = np.argsort(rows, kind="stable")
        order = order[rows[order] >= 0]
        return rows[order], self.irrelevant.ad_rows[order]

    @cached_property
    def _disliked(self) -> IntArray:
        """Sorted keys of all (query_row, answer_id) that were judged irrelevant."""
        query_rows, ad_rows = self._judged
        return np.unique(query_rows * self.num_answers + self.answer_ids[ad_rows])

    def is_irrelevant(self, query_rows: IntArray, ad_rows: IntArray) -> NDArray[np.bool_]:
        """Return, broadcasting, whether the ad, or one that reads the same, was judged irrelevant to the query."""
        return _among(self._disliked, query_rows * self.num_answers + self.answer_ids[ad_rows])

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

        A query that is held out is held out of all sources. Of its pairs each source has at most `number` among those
        to be measured, and no source loses more than a fifth of its pairs.
        """
        shape = len(self.queries), len(self.sources)
        flat = np.bincount(self.pairs.query_rows * shape[1] + self.pairs.sources, minlength=shape[0] * shape[1])
        counts = flat.reshape(shape)
        most = counts.sum(axis=0) // 5
        out, lost = np.zeros(shape[0], dtype=np.bool_), np.zeros(shape[1], dtype=np.int64)
        for index in range(shape[1]):
            order = np.random.default_rng((seed, 3, index)).permutation(np.flatnonzero((counts[:, index] > 0) & ~out))
            limit = min(number, most[index])
            for query in order.tolist():
                if lost[index] >= limit:
                    break
                if lost[index] + counts[query, index] <= limit and (lost + counts[query] <= most).all():
                    out[query] = True
                    lost += counts[query]
        learnt, held_out = [], []
        for index in range(shape[1]):
            at = np.flatnonzero(self.pairs.sources == index)
            left = at[out[self.pairs.query_rows[at]]]
            learnt.append(at[~out[self.pairs.query_rows[at]]])
            held_out.append(np.sort(np.random.default_rng((seed, 6, index)).permutation(left)[:number]))
        return learnt, held_out


def _among(keys: IntArray, wanted: IntArray) -> NDArray[np.bool_]:
    """Return which of `wanted` are among the sorted `keys`."""
    if not len(keys):
        return np.zeros(wanted.shape, dtype=np.bool_)
    found: NDArray[np.bool_] = keys[np.minimum(keys.searchsorted(wanted), len(keys) - 1)] == wanted
    return found
