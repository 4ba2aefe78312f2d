"""How long queries take, one at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles over queries, in milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    num_queries: int


def measure_latency(answer: Callable[[str], object], queries: Sequence[str], *, num_warmup: int = 10) -> Latency:
    """Time `answer` on each query alone, after answering the first `num_warmup` of them unmeasured."""
    for query in queries[:num_warmup]:
        answer(query)
    spent = []
    for query in queries:
        start = perf_counter()
        answer(query)
        spent.append((perf_counter() - start) * 1000)
    p50, p95, p99 = (float(value) for value in np.percentile(spent, (50, 95, 99)))
    return Latency(p50, p95, p99, len(spent))
