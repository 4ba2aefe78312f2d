"""What a cache of the most frequent queries is worth: the hit rate by its size, from a log of queries.

RARE reports that 5% of its distinct queries make 60% of the requests, a hit rate of 65% and 70% of the machines saved.
Whether that holds elsewhere is a matter of the log; here it is counted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intently.errors import InputError
from intently.text.normalize import normalize


@dataclass(frozen=True, slots=True)
class CacheRow:
    """What a cache of one size brings on one log."""

    size: int  # queries kept, the most frequent ones
    share_of_queries: float  # of the distinct queries
    hit_rate: float  # share of the requests that the cache answers
    compute_saved: float  # share of all requests' work that is not done


def cache_report(
    log: Iterable[str] | Mapping[str, int] | NDArray[np.integer],
    sizes: Sequence[int],
    *,
    cost_of_a_hit: float = 0.0,
) -> list[CacheRow]:
    """Return a row for each cache size: what keeping the most frequent queries of this log would have brought.

    `log` is the requests in any order, or how often each query was asked, or such counts alone (Q,). Queries that are
    equal once normalized are one. `cost_of_a_hit` is what a request still costs when the cache answers it, as a share
    of one that is read and decoded (an embedding that is needed all the same, say). A cache larger than the log's
    distinct queries holds them all. Cost: one sort.
    """
    if not 0 <= cost_of_a_hit <= 1:
        raise InputError(f"cost_of_a_hit is {cost_of_a_hit}", cure="give a share in [0, 1]")
    counts = np.sort(_counts(log))[::-1]
    if not len(counts) or counts[-1] < 0 or not counts[0]:
        raise InputError("the log has no requests, or a negative number of them", cure="give each query its count")
    answered = np.concatenate(([0], np.cumsum(counts))) / counts.sum()
    rows = []
    for size in sizes:
        if size < 0:
            raise InputError(f"a cache of {size} queries is asked for", cure="give sizes of at least 0")
        kept = min(size, len(counts))
        hit_rate = float(answered[kept])
        rows.append(CacheRow(kept, kept / len(counts), hit_rate, hit_rate * (1 - cost_of_a_hit)))
    return rows


def zipf_log(num_queries: int, num_requests: int, exponent: float, seed: int) -> NDArray[np.int64]:
    """Return a simulated log: the query (num_requests,) that each request asks, in [0, num_queries).

    The r-th most frequent query, number r - 1, is asked with a probability that falls as r^-exponent (Zipf's law); 0 is
    uniform. The same arguments give the same log.
    """
    if num_queries < 1 or num_requests < 0 or not (np.isfinite(exponent) and exponent >= 0):
        raise InputError(
            f"a log of {num_requests} requests, {num_queries} queries and exponent {exponent} is asked for",
            cure="give at least 1 query, 0 requests and an exponent of at least 0",
        )
    shares = np.arange(1, num_queries + 1, dtype=np.float64) ** -exponent
    bounds = np.cumsum(shares / shares.sum())
    drawn = np.random.default_rng(seed).random(num_requests)
    return np.minimum(np.searchsorted(bounds, drawn, side="right"), num_queries - 1)


def _counts(log: Iterable[str] | Mapping[str, int] | NDArray[np.integer]) -> NDArray[np.int64]:
    if isinstance(log, np.ndarray):
        return log.astype(np.int64)
    asked: Counter[str] = Counter()
    for query, count in log.items() if isinstance(log, Mapping) else ((query, 1) for query in log):
        asked[normalize(query)] += count
    return np.array(list(asked.values()), dtype=np.int64)
