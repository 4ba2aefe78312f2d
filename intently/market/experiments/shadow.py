"""Shadow runs: a candidate answers the same requests as the live system, and nobody sees its answers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from intently.types import Ranking, Request

PERSISTENCE = 0.9  # of rank-biased overlap: the first ten ranks have 86% of the weight


@dataclass(frozen=True, slots=True)
class ShadowRun:
    """What differed in one answer."""

    query: str
    live: tuple[str, ...]  # ad ids, best first
    shadow: tuple[str, ...]
    overlap: float  # shared ads over the longer answer's, 1 if both are empty
    rank_biased_overlap: float
    live_ms: float
    shadow_ms: float
    failure: str = ""  # why the candidate gave no answer


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """Shadow runs together. Means are over the runs that did not fail."""

    num_runs: int
    failures: int
    identical_share: float
    mean_overlap: float
    mean_rank_biased_overlap: float
    live_p99_ms: float
    shadow_p99_ms: float
    most_different: tuple[ShadowRun, ...]


def shadow_run(
    request: Request, live: Callable[[Request], Ranking], shadow: Callable[[Request], Ranking]
) -> tuple[Ranking, ShadowRun]:
    """Return the live answer, and how the candidate's differs.

    A candidate that fails is noted, and does not disturb the live answer; an error of the live system is raised.
    """
    begun = perf_counter()
    answer = live(request)
    live_ms = (perf_counter() - begun) * 1000
    begun, failure, other = perf_counter(), "", None
    try:
        other = shadow(request)
    except Exception as error:  # whatever a candidate does wrong is what a shadow run is to find
        failure = f"{type(error).__name__}: {error}"
    shadow_ms = (perf_counter() - begun) * 1000
    ids = tuple(ad.ad_id for ad in answer.ads)
    other_ids = tuple(ad.ad_id for ad in other.ads) if other else ()
    common = len(set(ids) & set(other_ids)) / max(len(ids), len(other_ids), 1)
    overlap = 1.0 if not ids and not other_ids and not failure else common
    biased = 0.0 if failure else rank_biased_overlap(ids, other_ids)
    return answer, ShadowRun(request.query, ids, other_ids, overlap, biased, live_ms, shadow_ms, failure)


def rank_biased_overlap(first: Sequence[str], second: Sequence[str], persistence: float = PERSISTENCE) -> float:
    """Return how similar two rankings are, 0 to 1, the first ranks counting most; 1 only if they are identical.

    The agreement at each depth down to the longer ranking's, weighted by persistence^depth and normalized. Source:
    Webber, Moffat and Zobel, "A Similarity Measure for Indefinite Rankings", 2010.
    """
    depth = max(len(first), len(second))
    if not depth:
        return 1.0
    seen_first: set[str] = set()
    seen_second: set[str] = set()
    total = weights = 0.0
    for at in range(depth):
        seen_first.update(first[at : at + 1])
        seen_second.update(second[at : at + 1])
        total += persistence**at * len(seen_first & seen_second) / (at + 1)
        weights += persistence**at
    return total / weights


def shadow_report(runs: Iterable[ShadowRun], *, num_different: int = 10) -> ShadowReport:
    """Return what shadow runs show together, with those that differ most."""
    every = list(runs)
    good = [run for run in every if not run.failure]

    def mean(values: list[float]) -> float:
        return float(np.mean(values)) if values else float("nan")

    def p99(values: list[float]) -> float:
        return float(np.percentile(values, 99)) if values else float("nan")

    return ShadowReport(
        num_runs=len(every),
        failures=len(every) - len(good),
        identical_share=mean([float(run.live == run.shadow) for run in good]),
        mean_overlap=mean([run.overlap for run in good]),
        mean_rank_biased_overlap=mean([run.rank_biased_overlap for run in good]),
        live_p99_ms=p99([run.live_ms for run in every]),
        shadow_p99_ms=p99([run.shadow_ms for run in good]),
        most_different=tuple(sorted(good, key=lambda run: run.rank_biased_overlap)[:num_different]),
    )
