"""Metrics, comparisons of runs, and reports."""

from intently.evaluation.average_precision import average_precision
from intently.evaluation.click_groups import ClickGroup, ClickGroups
from intently.evaluation.click_weighted_precision import click_weighted_precision
from intently.evaluation.evaluation import evaluate_runs
from intently.evaluation.judged import JudgedRanking
from intently.evaluation.judging import judge_run
from intently.evaluation.ndcg import condensed_ndcg, ndcg
from intently.evaluation.pair_accuracy import pair_accuracy
from intently.evaluation.recall import hit_rate, recall
from intently.evaluation.reciprocal_rank import reciprocal_rank
from intently.evaluation.report import Comparison, Join, JudgedFacts, Report, RunMeasures
from intently.evaluation.significance import bootstrap_interval, randomization_test
from intently.evaluation.tail_coverage import tail_coverage
from intently.evaluation.top_share import judged_share
from intently.evaluation.training_ads import TrainingAds

__all__ = [
    "ClickGroup",
    "ClickGroups",
    "Comparison",
    "Join",
    "JudgedFacts",
    "JudgedRanking",
    "Report",
    "RunMeasures",
    "TrainingAds",
    "average_precision",
    "bootstrap_interval",
    "click_weighted_precision",
    "condensed_ndcg",
    "evaluate_runs",
    "hit_rate",
    "judge_run",
    "judged_share",
    "ndcg",
    "pair_accuracy",
    "randomization_test",
    "recall",
    "reciprocal_rank",
    "tail_coverage",
]
