"""Events of a log, aggregated to pairs of a query and an ad.

Within a session (of a search, a visit or a user, whichever the log tells) an ad is shown once for a query and clicked
once, however often the log says it. Queries that differ only in case, width and blanks are one. Positions become
weights by the position-based model: a user looks at position p with probability p^-η whatever is there, so that a click
is worth p^η (Joachims, Swaminathan & Schnabel, "Unbiased learning-to-rank with biased feedback", WSDM 2017, section 5).

Shape letters: E events, P pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from intently.arrays import Float64Array, IntArray
from intently.catalog.logs.settings import MAX_WEIGHT
from intently.text.normalize import normalize


@dataclass(frozen=True, eq=False)
class Events:
    """E events as columns. An unknown session is "", an unknown position NaN; counts are at least 0."""

    queries: pa.StringArray  # (E,) texts, or ids where the log has no texts
    ad_ids: pa.StringArray
    sessions: pa.StringArray
    positions: Float64Array
    clicks: Float64Array
    impressions: Float64Array
    conversions: Float64Array
    num_skipped: int = 0  # wrong rows of the file that were left out
    problems: tuple[str, ...] = ()  # of the first 20 of them
    notes: tuple[str, ...] = ()  # on rows that were left out because they say nothing of a query and an ad
    are_texts: bool = True  # whether `queries` are texts
    query_ids: pa.StringArray | None = None  # (E,) beside texts, if the log has them

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True, eq=False)
class LoggedPairs:
    """P pairs of Q queries, in order of first appearance, and how often each was shown, clicked and converted.

    `weights (P,)` are the clicks, each by how likely its position was looked at.
    """

    queries: tuple[str, ...]
    query_ids: tuple[str, ...]  # the first of each, numbers from 1 if the log has none
    query_rows: IntArray
    ad_ids: pa.StringArray
    clicks: Float64Array
    impressions: Float64Array
    conversions: Float64Array
    weights: Float64Array
    num_repeated: float = 0  # clicks that a session had told already


def aggregate(events: Events, position_bias: float | None = None) -> LoggedPairs:
    """Return what a log says of each pair; `position_bias` is η, None for clicks that count alike."""
    query_rows, queries = _queries(events)
    ads = events.ad_ids.dictionary_encode()
    ad_rows, num_ads = ads.indices.to_numpy().astype(np.int64), max(len(ads.dictionary), 1)
    pairs = query_rows * num_ads + ad_rows
    sessions = events.sessions.dictionary_encode()
    names = sessions.dictionary.to_pylist()
    session_rows = sessions.indices.to_numpy().astype(np.int64)
    is_known = np.array([bool(name) for name in names], dtype=np.bool_)[session_rows]
    # An event without a session stands for itself.
    session_rows = np.where(is_known, session_rows, len(names) + np.arange(len(events)))
    order = np.lexsort((session_rows, pairs))
    pairs, session_rows, is_known = pairs[order], session_rows[order], is_known[order]
    is_first = np.concatenate(([True], (np.diff(pairs) != 0) | (np.diff(session_rows) != 0)))[: len(pairs)]
    starts = np.flatnonzero(is_first)
    once = is_known[starts]

    def summed(counts: Float64Array) -> Float64Array:
        total = np.add.reduceat(counts[order], starts)
        return np.where(once, np.minimum(total, 1), total)

    converted = summed(events.conversions)
    clicked, told_clicks = summed(events.clicks), np.add.reduceat(events.clicks[order], starts)
    # What was bought in a session was clicked in it, and what was clicked was shown, whether the log says so or not.
    clicked = np.where(once, np.maximum(clicked, converted), clicked)
    shown = np.where(once, 1.0, np.maximum(summed(events.impressions), clicked))
    weights = clicked * _weights(events, order, starts, position_bias)
    of_pair, first_of_pair = np.unique(pairs[starts], return_index=True)
    total = {
        name: np.add.reduceat(values, first_of_pair)
        for name, values in (("clicks", clicked), ("impressions", shown), ("conversions", converted), ("w", weights))
    }
    appeared = np.minimum.reduceat(np.minimum.reduceat(order, starts), first_of_pair)
    by_appearance = np.argsort(appeared, kind="stable")
    pair_rows = of_pair[by_appearance]
    return LoggedPairs(
        queries,
        _ids(events, query_rows, queries),
        pair_rows // num_ads,
        ads.dictionary.take(pa.array(pair_rows % num_ads)),
        total["clicks"][by_appearance],
        total["impressions"][by_appearance],
        total["conversions"][by_appearance],
        total["w"][by_appearance],
        float((told_clicks - np.minimum(told_clicks, 1))[once].sum()),
    )


def _queries(events: Events) -> tuple[IntArray, tuple[str, ...]]:
    """Return the row (E,) of each event's query, and the queries as they are written most often."""
    encoded = events.queries.dictionary_encode()
    written: Sequence[str] = encoded.dictionary.to_pylist()
    of_written = encoded.indices.to_numpy().astype(np.int64)
    if not events.are_texts:
        return of_written, tuple(written)
    rows: dict[str, int] = {}
    row_of = np.array([rows.setdefault(normalize(text), len(rows)) for text in written], dtype=np.int64)
    counts = np.bincount(of_written, minlength=len(written))
    texts = [""] * len(rows)
    for at in np.argsort(-counts, kind="stable")[::-1].tolist():  # the most frequent last, of equals the first
        texts[row_of[at]] = written[at]
    return row_of[of_written], tuple(texts)


def _ids(events: Events, query_rows: IntArray, queries: tuple[str, ...]) -> tuple[str, ...]:
    """Return the first id (Q,) of each query; numbers from 1 if there are none, or two queries have one id."""
    if not events.are_texts:
        return queries
    if events.query_ids is not None:
        first = np.full(len(queries), len(query_rows))
        np.minimum.at(first, query_rows, np.arange(len(query_rows)))
        ids = tuple(events.query_ids.take(pa.array(first)).to_pylist())
        if all(ids) and len(set(ids)) == len(ids):
            return ids
    return tuple(str(number) for number in range(1, len(queries) + 1))


def _weights(events: Events, order: IntArray, starts: IntArray, position_bias: float | None) -> Float64Array:
    """Return the weight of a click in each group of events: by the highest position that was clicked, else shown."""
    if position_bias is None:
        return np.ones(len(starts))
    positions = np.where(np.isnan(events.positions), np.inf, np.maximum(events.positions, 1.0))[order]
    of_clicks = np.where(events.clicks[order] > 0, positions, np.inf)
    highest = np.minimum.reduceat(of_clicks, starts)
    highest = np.where(np.isinf(highest), np.minimum.reduceat(positions, starts), highest)
    weights: Float64Array = np.where(np.isinf(highest), 1.0, np.minimum(highest**position_bias, MAX_WEIGHT))
    return weights
