"""Clicks and judgements as rows of the catalog."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float64Array, IntArray
from intently.catalog import Catalog, Judgements
from intently.errors import InputError


@dataclass(frozen=True)
class Interactions:
    """Clicks and judgements as rows: positives and judged-irrelevant pairs, each (P, 2) of (query_row, ad_row)."""

    queries: tuple[str, ...]
    clicks: IntArray
    irrelevant: IntArray
    num_unknown_ads: int  # pairs left out because the catalog does not have the ad
    counts: IntArray  # (P,) how often each click was made, 1 where that is not known
    gains: IntArray  # (G, 3) of query_row, ad_row and how relevant the ad is, from 1 to 3; only 1 for a click
    weights: Float64Array | None = None  # (P,) how much each click is learned from; None: all alike

    def of_queries(self, mask: NDArray[np.bool_]) -> "Interactions":
        """Return the interactions of the queries (Q,) where `mask` holds, as if there were no others."""
        number = np.cumsum(mask) - 1

        def kept(pairs: IntArray) -> IntArray:
            pairs = pairs[mask[pairs[:, 0]]]
            return np.column_stack((number[pairs[:, 0]], pairs[:, 1:]))

        return replace(
            self,
            queries=tuple(query for query, chosen in zip(self.queries, mask.tolist(), strict=True) if chosen),
            clicks=kept(self.clicks),
            irrelevant=kept(self.irrelevant),
            counts=self.counts[mask[self.clicks[:, 0]]],
            gains=kept(self.gains),
            weights=None if self.weights is None else self.weights[mask[self.clicks[:, 0]]],
        )

    def by_frequency(self) -> list[str]:
        """Return the queries that were clicked, those with the most clicks first."""
        total = np.bincount(self.clicks[:, 0], weights=self.counts, minlength=len(self.queries))
        order = np.argsort(-total, kind="stable")
        return [self.queries[row] for row in order[: np.count_nonzero(total)]]


def match_interactions(
    catalog: Catalog, judgements: Judgements | None, min_relevance: float | None, negative_after: int | None = None
) -> Interactions:
    """Return clicks or judgements as rows of the catalog; judged pairs below `min_relevance` are irrelevant ones.

    So are pairs of a log that were shown `negative_after` times, if that is given, and never clicked.
    """
    none = np.empty((0, 2), dtype=np.int64)
    if judgements is None:
        return Interactions((), none, none, 0, none[:, 0], np.empty((0, 3), dtype=np.int64))
    ad_rows = catalog.ad_rows(judgements.ad_ids)
    known = ad_rows >= 0
    if not known.any():
        raise InputError("no click names an ad of the catalog", cure="check that both files use the same ad ids")
    positive = judgements.positives(min_relevance)
    pairs = np.stack((judgements.query_rows, ad_rows), axis=1)
    return Interactions(
        judgements.queries,
        pairs[known & positive],
        np.concatenate((pairs[known & ~positive], _ignored(catalog, judgements, negative_after))),
        int((~known).sum()),
        _click_counts(judgements)[known & positive],
        _gains(judgements, pairs, known, positive),
        None if judgements.weights is None else judgements.weights[known & positive],
    )


def _ignored(catalog: Catalog, judgements: Judgements, negative_after: int | None) -> IntArray:
    """Return the pairs (U, 2) of a log that were shown so often and never clicked."""
    unclicked = judgements.unclicked
    if negative_after is None or unclicked is None:
        return np.empty((0, 2), dtype=np.int64)
    pairs = np.stack((unclicked.query_rows, catalog.ad_rows(unclicked.ad_ids)), axis=1)
    return pairs[(unclicked.impressions >= negative_after) & (pairs[:, 1] >= 0)]


def _click_counts(judgements: Judgements) -> IntArray:
    """Return how often each pair (P,) was clicked; a judged pair counts once."""
    return judgements.values.astype(np.int64) if judgements.kind == "clicks" else np.ones(len(judgements), np.int64)


def _gains(judgements: Judgements, pairs: IntArray, known: NDArray[np.bool_], positive: NDArray[np.bool_]) -> IntArray:
    """Return (G, 3) the `pairs (J, 2)` that are worth something: a positive 1, a judged one what its third is worth."""
    gains = positive.astype(np.int64)
    if judgements.kind != "clicks":
        values = judgements.values
        low, high = float(values.min()), float(values.max())
        thirds = np.floor(3 * (values - low) / max(high - low, 1e-9) + 1e-6).astype(np.int64)
        gains = np.maximum(gains, thirds)
    worth = known & (gains > 0)
    return np.column_stack((pairs[worth], gains[worth]))
