"""Every metric against numbers worked out by hand."""

import math

import numpy as np
import pyarrow as pa
import pytest

from intently.catalog import Qrels
from intently.errors import SettingsError
from intently.evaluation import (
    ClickGroup,
    ClickGroups,
    JudgedRanking,
    average_precision,
    click_weighted_precision,
    hit_rate,
    ndcg,
    recall,
    reciprocal_rank,
    tail_coverage,
)

# Relevant from 2: a, b, d. Retrieved: x (unjudged), a, c (grade 1), b; d is missed.
JUDGED = JudgedRanking.build(["x", "a", "c", "b"], {"a": 2, "b": 3, "c": 1, "d": 2}, min_relevance=2)
EMPTY = JudgedRanking.build([], {"a": 1}, min_relevance=1)
NOTHING_RELEVANT = JudgedRanking.build(["a"], {"a": 1}, min_relevance=2)


def test_recall_is_the_share_of_relevant_ads_found():
    assert recall(JUDGED, 1) == 0
    assert recall(JUDGED, 2) == pytest.approx(1 / 3)
    assert recall(JUDGED) == hit_rate(JUDGED) == pytest.approx(2 / 3)


def test_reciprocal_rank_is_of_the_first_relevant_ad():
    assert reciprocal_rank(JUDGED) == 1 / 2
    assert reciprocal_rank(JudgedRanking.build(["x"], {"a": 1}, min_relevance=1)) == 0


def test_average_precision():
    assert average_precision(JUDGED) == pytest.approx((1 / 2 + 2 / 4) / 3)


def test_ndcg_gains_are_the_grades():
    dcg = 2 / math.log2(3) + 1 / math.log2(4) + 3 / math.log2(5)
    ideal = 3 + 2 / math.log2(3) + 2 / math.log2(4) + 1 / math.log2(5)
    assert ndcg(JUDGED) == pytest.approx(dcg / ideal)
    assert ndcg(JUDGED, 2) == pytest.approx((2 / math.log2(3)) / (3 + 2 / math.log2(3)))


def test_ndcg_of_grades_that_are_all_zero_is_zero():
    assert ndcg(JudgedRanking.build(["a"], {"a": 0}, min_relevance=0)) == 0


def test_click_weighted_precision():
    weights = np.array([1 / 2, 1 / 8, 1 / 2, 1 / 4])
    assert click_weighted_precision(JUDGED, weights) == pytest.approx((1 / 8 + 1 / 4) / (1 / 2 + 1 / 8 + 1 / 2 + 1 / 4))
    assert click_weighted_precision(JUDGED, weights, 2) == pytest.approx((1 / 8) / (1 / 2 + 1 / 8))


@pytest.mark.parametrize("metric", [recall, hit_rate, reciprocal_rank, average_precision, ndcg])
def test_nothing_retrieved_is_zero_and_nothing_relevant_is_undefined(metric):
    assert metric(EMPTY) == 0
    assert math.isnan(metric(NOTHING_RELEVANT))


def test_click_weighted_precision_of_the_same_cases():
    assert click_weighted_precision(EMPTY, np.zeros(0)) == 0
    assert math.isnan(click_weighted_precision(NOTHING_RELEVANT, np.ones(1)))


def test_an_unjudged_ad_is_never_relevant():
    judged = JudgedRanking.build(["x", "a"], {"a": 0}, min_relevance=0)
    assert judged.hits.tolist() == [False, True]


def clicks(values: list[float], kind="clicks") -> Qrels:
    ads = pa.array(["head", "torso", "tail", "head"])
    return Qrels(("1", "2"), np.array([0, 0, 0, 1]), ads, np.array(values), kind)


def test_groups_by_clicks_summed_over_queries():
    groups = ClickGroups.build(clicks([30, 5, 4, 20]), pa.array(["never", "torso"]))
    ads = pa.array(["head", "torso", "tail", "never", "unknown"])
    head, torso, tail = ClickGroup
    assert groups.lookup(ads).tolist() == [head, torso, tail, tail, tail]
    assert groups.sizes.tolist() == [1, 1, 2]
    assert groups.weights(ads).tolist() == [1, 1, 0.5, 0.5, 0.5]


def test_a_relevant_pair_is_one_click_where_there_are_no_clicks():
    groups = ClickGroups.build(
        clicks([3, 3, 1, 3], "relevance"), pa.array([], pa.string()), head_clicks=2, tail_clicks=1
    )
    assert groups.lookup(pa.array(["head", "torso", "tail"])).tolist() == [0, 1, 2]


def test_group_limits_are_checked():
    with pytest.raises(SettingsError, match="0 < tail"):
        ClickGroups.build(clicks([1, 1, 1, 1]), pa.array(["a"]), head_clicks=1, tail_clicks=2)


def test_tail_coverage():
    groups = ClickGroups.build(clicks([30, 5, 4, 20]), pa.array(["never"]))
    shown = pa.array(["head", "never", "never"])
    assert tail_coverage(groups, shown, pa.array(["tail", "never", "never", "head"])) == 1 / 2
    assert tail_coverage(groups, shown, pa.array(["never"])) == 1
    assert math.isnan(tail_coverage(groups, shown, pa.array(["head"])))
