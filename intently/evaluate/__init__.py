"""Metrics, comparisons of runs, and reports."""

from intently.evaluate.average_precision import average_precision
from intently.evaluate.click_groups import ClickGroup, ClickGroups
from intently.evaluate.click_weighted_precision import click_weighted_precision
from intently.evaluate.evaluation import evaluate_runs, judge_run
from intently.evaluate.judged import JudgedRanking
from intently.evaluate.ndcg import ndcg
from intently.evaluate.recall import hit_rate, recall
from intently.evaluate.reciprocal_rank import reciprocal_rank
from intently.evaluate.report import Comparison, Report, RunMeasures
from intently.evaluate.significance import bootstrap_interval, randomization_test
from intently.evaluate.tail_coverage import tail_coverage

__all__ = [
    "ClickGroup",
    "ClickGroups",
    "Comparison",
    "JudgedRanking",
    "Report",
    "RunMeasures",
    "average_precision",
    "bootstrap_interval",
    "click_weighted_precision",
    "evaluate_runs",
    "hit_rate",
    "judge_run",
    "ndcg",
    "randomization_test",
    "recall",
    "reciprocal_rank",
    "tail_coverage",
]
