"""All ads at one moment: what a query searches from beginning to end, whatever is added or removed meanwhile.

The ads lie in one large segment, as it was built or last merged, and a small one of those that came since, which is
written anew with every change. Removed ads stay in place, masked, until segments are merged. Until then spelling is
corrected by the words of the large segment first, and the words of removed ads still count as known.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import TypeVar

import numpy as np
import pyarrow as pa

from intently.catalog import Catalog
from intently.index.lexical import LexicalQuery, analyze, corrected
from intently.index.postings import FloatArray, IntArray, Mask
from intently.retrieve.fusion_features import Codes
from intently.retrieve.segment import Segment
from intently.types import UserContext

_Array = TypeVar("_Array", Mask, FloatArray)


@dataclass(frozen=True, eq=False)
class DenseQuery:
    """A query as the dense path scores ads: by the cosine with its unit `embedding (D,)`.

    Where tokens interact, the score of late interaction with `tokens (S, P)`, times `late_weight`, is added.
    """

    embedding: FloatArray
    tokens: FloatArray | None = None
    late_weight: float = 0.0


@dataclass(frozen=True, eq=False)
class Ads:
    """N ads, living and removed, in one or two segments; an `ad_row` counts through them. `alive (N,)`: not removed.

    Never changes: what changes ads returns another `Ads`. The row of an ad may differ between the two.
    """

    segments: tuple[Segment, ...]
    alive: Mask

    @classmethod
    def of(cls, segment: Segment) -> "Ads":
        """Return the ads of one segment, all living."""
        return cls((segment.warmed(),), np.ones(segment.num_rows, dtype=np.bool_))

    @cached_property
    def catalog(self) -> Catalog:
        """The living ads alone, in order of arrival; copied if any is removed."""
        table = pa.concat_tables([segment.catalog.table for segment in self.segments])
        return Catalog(table if self.alive.all() else table.filter(pa.array(self.alive)))

    def ad_id(self, ad_row: int) -> str:
        """Return the id of one row."""
        segment, row = self._locate(ad_row)
        return str(self.segments[segment].ad_ids[row].as_py())

    def eligible(self, user: UserContext | None) -> Mask:
        """Return which ads (N,) may be shown: living, active, and wanting this user."""
        eligible = _together([segment.targeting.eligible(user) for segment in self.segments])
        return eligible & self.alive

    def intention_scores(self, ids: IntArray, weights: FloatArray) -> FloatArray:
        """Return Σ weight · posting weight over intentions for every ad (N,)."""
        return _together([segment.postings.scores(ids, weights) for segment in self.segments])

    def dense_search(
        self, embedding: FloatArray, k: int, eligible: Mask, num_threads: int = 1
    ) -> tuple[IntArray, FloatArray]:
        """Return the eligible rows nearest to a query embedding (D,), at most `k`, best first, and their cosines."""
        bounds = [0, *accumulate(segment.num_rows for segment in self.segments)]
        parts = [
            segment.vectors.search(embedding, k, eligible[start:end], num_threads)
            for segment, start, end in zip(self.segments, bounds, bounds[1:], strict=False)
        ]
        rows = np.concatenate([found + start for (found, _), start in zip(parts, bounds, strict=False)])
        scores = np.concatenate([cosines for _, cosines in parts])
        order = np.lexsort((rows, -scores))[:k]
        return rows[order], scores[order]

    def cosines(self, embedding: FloatArray, ad_rows: IntArray, num_threads: int = 1) -> FloatArray:
        """Return the cosines (C,) of some rows with a query embedding (D,)."""
        return self._each_row(ad_rows, lambda part, rows: part.vectors.scores_of(embedding, rows, num_threads))

    def late_shares(self, query: DenseQuery, ad_rows: IntArray, num_threads: int = 1) -> FloatArray:
        """Return what late interaction adds to the scores of some rows (C,): 0 if nothing interacts."""
        tokens = query.tokens
        if tokens is None:
            return np.zeros(len(ad_rows), dtype=np.float32)

        def scores(part: Segment, rows: IntArray) -> FloatArray:
            assert part.tokens is not None
            return part.tokens.scores_of(tokens, rows, num_threads)

        return np.float32(query.late_weight) * self._each_row(ad_rows, scores)

    def dense_scores(self, query: DenseQuery, ad_rows: IntArray, num_threads: int = 1) -> FloatArray:
        """Return the scores (C,) of some rows on the dense path."""
        cosines = self.cosines(query.embedding, ad_rows, num_threads)
        return cosines + self.late_shares(query, ad_rows, num_threads)

    def _each_row(self, ad_rows: IntArray, scores_of: Callable[[Segment, IntArray], FloatArray]) -> FloatArray:
        """Return the scores (C,) of rows of either segment; `scores_of` counts them from the segment's first."""
        base = self.segments[0].num_rows
        scores = np.empty(len(ad_rows), dtype=np.float32)
        first = ad_rows < base
        scores[first] = scores_of(self.segments[0], ad_rows[first])
        if not first.all():
            scores[~first] = scores_of(self.segments[1], ad_rows[~first] - base)
        return scores

    def embeddings(self, ad_rows: IntArray) -> FloatArray:
        """Return the embeddings (C, D) of some rows."""
        located = [self._locate(ad_row) for ad_row in ad_rows.tolist()]
        return np.stack([self.segments[segment].vectors.embeddings[row] for segment, row in located])

    def lexical_query(self, query: str) -> list[LexicalQuery]:
        """Return the query's known terms as each segment's index numbers them."""
        return analyze([segment.lexical for segment in self.segments], query)

    def corrected(self, query: str) -> str:
        """Return a query as a model should read it: the words that no ad has, as what they most likely mean."""
        return corrected([segment.lexical for segment in self.segments], query)

    def lexical_scores(self, asked: Sequence[LexicalQuery]) -> FloatArray:
        """Return every ad's BM25 score (N,) for what `lexical_query` returned."""
        pairs = zip(self.segments, asked, strict=True)
        return _together([segment.lexical.scores(one) for segment, one in pairs])

    def title_terms(self, ad_rows: IntArray) -> Codes:
        """Return the first terms of some ads' titles, as `TitleTerms.of` does."""
        base, *tail = self.segments
        first = ad_rows < base.num_rows
        if first.all():
            return base.titles.of(ad_rows)
        codes = tail[0].titles.of(np.where(first, 0, ad_rows - base.num_rows))
        codes[first] = base.titles.of(ad_rows[first])
        return codes

    def explain_intentions(self, ids: IntArray, weights: FloatArray, ad_row: int) -> list[tuple[int, float]]:
        """Return (position in `ids`, share of the ad's score) of the intentions that reach an ad, largest first."""
        segment, row = self._locate(ad_row)
        return self.segments[segment].postings.contributions(ids, weights, row)

    def explain_words(self, asked: Sequence[LexicalQuery], ad_row: int) -> tuple[tuple[str, float], ...]:
        """Return the matched terms and what each adds to an ad's score, largest first."""
        segment, row = self._locate(ad_row)
        return self.segments[segment].lexical.explain(asked[segment], row)

    def _locate(self, ad_row: int) -> tuple[int, int]:
        """Return the segment that a row lies in, and the row within it."""
        base = self.segments[0].num_rows
        return (0, ad_row) if ad_row < base else (1, ad_row - base)

    # Changes. `intently.retrieve.live` makes them one after the other.

    def appended(self, new: Segment) -> "Ads":
        """Return these ads and, after them, those of `new`. Cost: as the second segment and N are large."""
        base, *tail = self.segments
        grown = (tail[0].joined(new) if tail else new).warmed()
        return Ads((base, grown), np.concatenate((self.alive, np.ones(new.num_rows, dtype=np.bool_))))

    def without(self, ad_rows: IntArray) -> "Ads":
        """Return these ads without some rows."""
        alive = self.alive.copy()
        alive[ad_rows] = False
        return replace(self, alive=alive)

    @property
    def num_loose(self) -> int:
        """Rows that merging would move or drop."""
        return sum(segment.num_rows for segment in self.segments[1:]) + int((~self.alive).sum())

    def merged(self) -> Segment:
        """Return one segment of the living ads, in order. Cost: a copy of everything."""
        first, *others = self.segments
        bounds = [0, *accumulate(segment.num_rows for segment in self.segments)]
        merged = first.kept(self.alive[: bounds[1]])
        for other, start, end in zip(others, bounds[1:], bounds[2:], strict=False):
            merged = merged.joined(other.kept(self.alive[start:end]))
        _ = merged.lexical.reader  # the first query should not wait for it
        return merged.warmed()

    def rebased(self, before: "Ads", merged: Segment) -> "Ads":
        """Return these ads on top of `merged`, which `before.merged()` returned, `before` being a version before this.

        What has been added and removed since `before` is added and removed again.
        """
        num_before, base = len(before.alive), self.segments[0].num_rows
        alive = np.concatenate((self.alive[:num_before][before.alive], self.alive[num_before:]))
        if len(self.alive) == num_before:
            return Ads((merged,), alive)
        since = np.arange(self.segments[1].num_rows) >= num_before - base
        return Ads((merged, self.segments[1].kept(since).warmed()), alive)


def _together(parts: list[_Array]) -> _Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
