"""Measuring runs against judgements."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog import Qrels, Run
from intently.errors import InputError, SettingsError
from intently.evaluation.average_precision import average_precision
from intently.evaluation.click_groups import ClickGroups
from intently.evaluation.click_weighted_precision import click_weighted_precision
from intently.evaluation.judged import JudgedRanking
from intently.evaluation.judged_only import check_scores, judged_facts, measure_judged, measure_training, training_ads
from intently.evaluation.judging import judge_run, lookup, rows_by_query
from intently.evaluation.ndcg import ndcg
from intently.evaluation.recall import hit_rate, recall
from intently.evaluation.reciprocal_rank import reciprocal_rank
from intently.evaluation.report import Comparison, Join, Report, RunMeasures
from intently.evaluation.significance import bootstrap_interval, randomization_test
from intently.evaluation.tail_coverage import tail_coverage

Float64Array = npt.NDArray[np.float64]


def evaluate_runs(
    runs: Mapping[str, Run],
    qrels: Qrels,
    *,
    min_relevance: float | None = None,
    clicks: Qrels | None = None,
    ad_ids: pa.StringArray | pa.ChunkedArray | None = None,
    k: int = 10,
    hit_rate_k: int = 500,
    seed: int = 0,
    must_share: bool = True,
    judged_only: bool = False,
    train: Qrels | None = None,
) -> Report:
    """Measure `runs`, by name, on the queries of `qrels`, and compare every run with the first.

    The queries are those of `qrels`; one that a run does not answer counts as an empty ranking, one that only a run has
    is passed over. All metrics but ACR and pair accuracy leave out the queries without an ad of at least
    `min_relevance`, by default `qrels.default_min_relevance()`. CWP and tail coverage need `clicks` from the time
    before the test; the ads that are grouped by them are `ad_ids`, by default those of `clicks` and `qrels`.

    `judged_only` adds what does not take an unjudged ad for a wrong one: pair accuracy, of all pairs and of those whose
    grades differ by 1 or more, condensed NDCG, and judged@k. Pair accuracy counts every query with two different
    grades, also without a relevant ad. With the judgements `train` that a system may have learned from, it also adds
    recall among the ads that have one and among those that have none, each over the queries with such a relevant ad,
    and the share of train-positive ads among the first k. All are means over queries.

    Raises InputError without a run, when no query has a relevant ad, or, if they `must_share` some, when a run and the
    judgements share no query or no ad: then their ids are written in different ways. The report counts what they share.
    With `judged_only`, raises InputError when no query has two different grades, when a run has the same score
    everywhere, so that all its pairs would be ties, and when `train` names no ad of runs or judgements; without it,
    when `train` is given.
    Raises SettingsError unless k and hit_rate_k are at least 1.
    """
    if k < 1 or hit_rate_k < 1:
        raise SettingsError(f"k {k} and hit_rate_k {hit_rate_k} must be at least 1")
    if not runs:
        raise InputError("no runs to measure", cure="give at least one")
    threshold = qrels.default_min_relevance() if min_relevance is None else min_relevance
    positives = qrels.positives(threshold)
    if not positives.any():
        raise InputError(f"no query has an ad of relevance {threshold:g} or more", cure="lower min_relevance")
    groups = None
    if clicks is not None:
        groups = ClickGroups.build(clicks, qrels.ad_ids if ad_ids is None else _flat(ad_ids))
    if train is not None and not judged_only:
        raise InputError("training judgements (--train) split what --judged-only measures", cure="give both")
    training = None if train is None else training_ads(train, runs, qrels)
    facts = judged_facts(qrels, positives, training) if judged_only else None
    metrics: dict[str, Callable[[JudgedRanking], float]] = {
        f"Recall@{k}": lambda judged: recall(judged, k),
        "MRR": reciprocal_rank,
        f"NDCG@{k}": lambda judged: ndcg(judged, k),
        f"HR@{hit_rate_k}": lambda judged: hit_rate(judged, hit_rate_k),
        "MAP": average_precision,
    }
    measured, joins = {}, {}
    for name, run in runs.items():
        rows = rows_by_query(run, qrels)
        rankings = judge_run(run, qrels, min_relevance=threshold)
        joins[name] = _join(name, run, qrels, rankings, must_share)
        per_query = {metric: np.array([measure(judged) for judged in rankings]) for metric, measure in metrics.items()}
        per_query["ACR"] = np.array([float(len(judged.ranked) > 0) for judged in rankings])
        overall = {}
        if groups is not None:
            weights = groups.weights(run.ad_ids)
            per_query[f"CWP@{k}"] = np.array(
                [click_weighted_precision(judged, weights[at], k) for judged, at in zip(rankings, rows, strict=True)]
            )
            shown = run.ad_ids.take(pa.array(np.concatenate([np.arange(at.start, at.stop)[:k] for at in rows])))
            relevant = qrels.ad_ids.filter(pa.array(positives))
            overall[f"tail coverage@{k}"] = tail_coverage(groups, shown, relevant)
            overall[f"tail coverage of all ads@{k}"] = tail_coverage(groups, shown, groups.ad_ids)
        if judged_only:
            check_scores(name, run)
            per_query |= measure_judged(rankings, k)
        if training is not None:
            per_query |= measure_training(run, qrels, rankings, rows, training, k)
        measured[name] = RunMeasures(per_query, overall)
    first, *others = measured
    comparisons = tuple(
        comparison
        for other in others
        for comparison in _compare(first, other, measured[first].per_query, measured[other].per_query, seed)
    )
    num_with_relevant = len(np.unique(qrels.query_rows[positives]))
    sizes = None if groups is None else groups.sizes
    return Report(qrels.query_ids, num_with_relevant, threshold, measured, comparisons, sizes, joins, facts)


def _join(name: str, run: Run, qrels: Qrels, rankings: list[JudgedRanking], must_share: bool) -> Join:
    """Return what a run and the judgements share. Raises InputError if they must share queries and ads, and do not."""
    num_answered = sum(len(judged.ranked) > 0 for judged in rankings)
    if must_share and len(run) and not num_answered:
        problem = f"run '{name}' and the judgements share no query"
        cure = f"write the same ids: {run.query_ids[0]!r} in the run, {qrels.query_ids[0]!r} in the judgements"
        raise InputError(problem, cure=cure)
    if must_share and len(run) and not pc.any(pc.is_in(run.ad_ids, qrels.ad_ids)).as_py():
        problem = f"run '{name}' and the judgements share no ad"
        cure = (
            f"write the same ids: {run.ad_ids[0].as_py()!r} in the run, {qrels.ad_ids[0].as_py()!r} in the judgements"
        )
        raise InputError(problem, cure=cure)
    num_unjudged = len(run.query_ids) - int((lookup(run.query_ids, qrels.query_ids) >= 0).sum())
    num_returned = sum(len(judged.ranked) for judged in rankings)
    num_judged = sum(int(np.count_nonzero(~np.isnan(judged.ranked))) for judged in rankings)
    return Join(num_answered, num_unjudged, num_returned, num_judged)


def _compare(
    first: str, other: str, values_of_first: dict[str, Float64Array], values: dict[str, Float64Array], seed: int
) -> list[Comparison]:
    """Compare two runs by all metrics; metrics that leave out the same queries are tested together."""
    comparisons = []
    differences = {metric: values[metric] - values_of_first[metric] for metric in values}
    for left_out in dict.fromkeys(np.isnan(column).tobytes() for column in differences.values()):
        metrics = [name for name, column in differences.items() if np.isnan(column).tobytes() == left_out]
        matrix = np.stack([differences[name] for name in metrics], axis=1)
        matrix = matrix[~np.isnan(matrix[:, 0])]
        if not len(matrix):  # no query counts, and there is nothing to test
            continue
        p_values = randomization_test(matrix, seed=seed)
        low, high = bootstrap_interval(matrix, seed=seed)
        comparisons += [
            Comparison(first, other, name, *map(float, row))
            for name, *row in zip(metrics, matrix.mean(axis=0), low, high, p_values, strict=True)
        ]
    return sorted(comparisons, key=lambda comparison: list(values).index(comparison.metric))


def _flat(ad_ids: pa.StringArray | pa.ChunkedArray) -> pa.StringArray:
    return ad_ids.combine_chunks() if isinstance(ad_ids, pa.ChunkedArray) else ad_ids
