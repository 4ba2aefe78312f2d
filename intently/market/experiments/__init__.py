"""Experiments in traffic: who gets which variant, and whether one is better."""

from intently.market.experiments.buckets import Experiment, bucket_of
from intently.market.experiments.comparison import Difference, Sample, compare, mean_sample, ratio_sample
from intently.market.experiments.corrections import benjamini_hochberg, holm
from intently.market.experiments.cuped import adjusted_samples
from intently.market.experiments.interleaving import Interleaved, Preference, preference, team_draft
from intently.market.experiments.power import power, units_needed
from intently.market.experiments.sample_ratio import SampleRatio, sample_ratio
from intently.market.experiments.sequential import compare_at_any_time
from intently.market.experiments.shadow import ShadowReport, ShadowRun, rank_biased_overlap, shadow_report, shadow_run

__all__ = [
    "Difference",
    "Experiment",
    "Interleaved",
    "Preference",
    "Sample",
    "SampleRatio",
    "ShadowReport",
    "ShadowRun",
    "adjusted_samples",
    "benjamini_hochberg",
    "bucket_of",
    "compare",
    "compare_at_any_time",
    "holm",
    "mean_sample",
    "power",
    "preference",
    "rank_biased_overlap",
    "ratio_sample",
    "sample_ratio",
    "shadow_report",
    "shadow_run",
    "team_draft",
    "units_needed",
]
