"""The measures of `judged_only`: those that do not take an unjudged ad for a wrong one."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from intently.catalog import Qrels, Run
from intently.errors import InputError
from intently.evaluation.judged import JudgedRanking
from intently.evaluation.judging import by_query
from intently.evaluation.ndcg import condensed_ndcg
from intently.evaluation.pair_accuracy import count_pairs, pair_accuracy
from intently.evaluation.recall import recall
from intently.evaluation.report import JudgedFacts
from intently.evaluation.top_share import judged_share, top_share
from intently.evaluation.training_ads import TrainingAds

Float64Array = npt.NDArray[np.float64]

_WIDE_GAP = 1.0  # between two grades, from which a pair counts as plainly different


def measure_judged(rankings: list[JudgedRanking], k: int) -> dict[str, Float64Array]:
    """Return, per query (Q,), pair accuracy, condensed NDCG and judged@k."""
    metrics: dict[str, Callable[[JudgedRanking], float]] = {
        "pair accuracy": pair_accuracy,
        "pair accuracy, gap 1+": lambda judged: pair_accuracy(judged, _WIDE_GAP),
        f"condensed NDCG@{k}": lambda judged: condensed_ndcg(judged, k),
        f"judged@{k}": lambda judged: judged_share(judged, k),
    }
    return {metric: np.array([measure(judged) for judged in rankings]) for metric, measure in metrics.items()}


def measure_training(
    run: Run, qrels: Qrels, rankings: list[JudgedRanking], rows: list[slice], training: TrainingAds, k: int
) -> dict[str, Float64Array]:
    """Return, per query (Q,), recall among ads with and without a training judgement, and train-positive@k.

    `rows` (Q,) say where in `run` the ranking of each query is.
    """
    in_train, positive = training.are_judged(run.ad_ids), training.are_positive(run.ad_ids)
    judged_ads = by_query(training.are_judged(qrels.ad_ids), qrels)
    each = list(zip(rankings, rows, judged_ads, strict=True))
    return {
        f"Recall@{k}, in train": np.array([recall(judged.among(in_train[at], of), k) for judged, at, of in each]),
        f"Recall@{k}, not in train": np.array([recall(judged.among(~in_train[at], ~of), k) for judged, at, of in each]),
        f"train-positive@{k}": np.array([top_share(judged, positive[at], k) for judged, at, _ in each]),
    }


def training_ads(train: Qrels, runs: Mapping[str, Run], qrels: Qrels) -> TrainingAds:
    """Return the ads of `train`. Raises InputError if neither judgements nor runs know any of them."""
    training = TrainingAds.build(train)
    if not any(training.are_judged(known).any() for known in (qrels.ad_ids, *(run.ad_ids for run in runs.values()))):
        cure = f"write the same ids: {train.ad_ids[0].as_py()!r} in training, {qrels.ad_ids[0].as_py()!r} in the others"
        raise InputError(
            "the training judgements (--train) share no ad with the judgements (--qrels) and the runs", cure=cure
        )
    return training


def judged_facts(qrels: Qrels, positives: npt.NDArray[np.bool_], training: TrainingAds | None) -> JudgedFacts:
    """Return what can be measured over judged ads. Raises InputError if no two grades of a query differ."""
    nothing = np.zeros(0)
    unranked = [JudgedRanking(nothing, grades, 0) for grades in by_query(qrels.values, qrels)]
    all_pairs, wide_pairs = (
        np.array([count_pairs(judged, min_gap)[1] for judged in unranked]) for min_gap in (0, _WIDE_GAP)
    )
    if not all_pairs.any():
        cure = "judge ads that do not answer a query too, with a lower grade, or leave out --judged-only"
        raise InputError(
            "no query of the judgements (--qrels) has two ads of different grades: there is no pair", cure=cure
        )
    num_in_train = None if training is None else int(training.are_judged(qrels.ad_ids)[positives].sum())
    return JudgedFacts(
        int(all_pairs.sum()),
        int(np.count_nonzero(all_pairs)),
        int(wide_pairs.sum()),
        int(np.count_nonzero(wide_pairs)),
        int(positives.sum()),
        num_in_train,
    )


def check_scores(name: str, run: Run) -> None:
    """Raise InputError for a run whose scores never differ within a query: it would be one large tie."""
    same_query = run.query_rows[1:] == run.query_rows[:-1]
    if same_query.any() and not (same_query & (run.scores[1:] != run.scores[:-1])).any():
        cure = "write scores that fall with the rank, such as 1 / rank"
        raise InputError(f"run '{name}' gives all ads of a query the same score, so all pairs are ties", cure=cure)
