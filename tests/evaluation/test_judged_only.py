"""The measures over judged ads: by hand, and against slow twins that look at one pair after another."""

import json
import math
import time
from itertools import permutations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.catalog import Qrels, Run
from intently.errors import InputError
from intently.evaluation import (
    JudgedRanking,
    TrainingAds,
    condensed_ndcg,
    evaluate_runs,
    judged_share,
    ndcg,
    pair_accuracy,
)

ADS = ["kettle-1", "kettle-2", "drill 18V", "电热水壶", "扫地机器人", "蓝牙耳机", "k1", "电热"]
QUERIES = ["electric kettle", "电热水壶", "robot 扫地"]
Rankings = dict[str, list[tuple[str, float]]]  # of each query, ads with their scores, best first
Grades = dict[str, dict[str, float]]

GRADES = st.dictionaries(
    st.sampled_from(QUERIES),
    st.dictionaries(st.sampled_from(ADS), st.sampled_from([0, 1, 1.33, 2, 2.33, 3]), min_size=1),
    min_size=1,
)
RANKINGS = st.dictionaries(
    st.sampled_from(QUERIES), st.lists(st.tuples(st.sampled_from(ADS), st.integers(0, 3)), unique_by=lambda ad: ad[0])
).map(lambda answers: {query: sorted(ads, key=lambda ad: -ad[1]) for query, ads in answers.items()})


def make_run(rankings: Rankings) -> Run:
    return Run.build((query, [ad for ad, _ in ads], [score for _, score in ads]) for query, ads in rankings.items())


def make_qrels(grades: Grades, kind="relevance") -> Qrels:
    pairs = [(row, ad, value) for row, ads in enumerate(grades.values()) for ad, value in ads.items()]
    rows, ads, values = zip(*pairs, strict=True)
    return Qrels(tuple(grades), np.array(rows), pa.array(ads), np.array(values, dtype=np.float64), kind)


def slow_pair_accuracy(ranking: list[tuple[str, float]], grades: dict[str, float], min_gap: float = 0) -> float:
    """The slow twin: every pair of judged ads."""
    scores, won = dict(ranking), []
    for (ad, grade), (other, other_grade) in permutations(grades.items(), 2):
        if grade > other_grade and round(grade - other_grade, 6) >= min_gap:
            score, other_score = scores.get(ad, -1.0), scores.get(other, -1.0)
            won.append(1.0 if score > other_score else 0.5 if score == other_score else 0.0)
    return sum(won) / len(won) if won else math.nan


def slow_recall(ranking: list[tuple[str, float]], relevant: set[str], k: int) -> float:
    return len(relevant & {ad for ad, _ in ranking[:k]}) / len(relevant) if relevant else math.nan


def test_pairs_by_hand():
    # Two pairs differ by 1 or more: (a, c) and (b, c). (a, b) differs by less. x and y are not judged.
    grades = {"a": 3, "b": 2.33, "c": 1.33}
    judged = JudgedRanking.build(["x", "b", "a", "y", "c"], grades, min_relevance=2)
    assert pair_accuracy(judged) == pytest.approx(2 / 3)
    assert pair_accuracy(judged, 1) == 1  # 2.33 − 1.33 is 1, whatever floating point says
    assert pair_accuracy(judged, 1.5) == 1
    assert math.isnan(pair_accuracy(judged, 2))


def test_an_absent_ad_is_below_all_others_and_two_absent_ones_count_half():
    grades = {"水壶": 2, "b": 1, "c": 0}
    assert pair_accuracy(JudgedRanking.build(["水壶"], grades, min_relevance=2)) == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert pair_accuracy(JudgedRanking.build(["c"], grades, min_relevance=2)) == pytest.approx((0 + 0 + 1 / 2) / 3)
    assert pair_accuracy(JudgedRanking.build([], grades, min_relevance=2)) == 1 / 2


def test_equal_scores_count_half_whatever_the_order_of_the_file():
    grades = {"a": 2, "b": 0}
    for order in (["a", "b"], ["b", "a"]):
        assert pair_accuracy(JudgedRanking.build(order, grades, min_relevance=2, scores=[1, 1])) == 1 / 2
    assert pair_accuracy(JudgedRanking.build(["a", "b"], grades, min_relevance=2, scores=[1, 0.5])) == 1
    assert pair_accuracy(JudgedRanking.build(["b", "a"], grades, min_relevance=2, scores=[1, 0.5])) == 0


def test_equal_grades_are_no_pair():
    assert math.isnan(pair_accuracy(JudgedRanking.build(["a", "b"], {"a": 2, "b": 2}, min_relevance=2)))


def test_condensed_ndcg_removes_unjudged_ads():
    grades = {"a": 3, "b": 2, "c": 1}
    ranking = ["x", "b", *map(str, range(20)), "a"]
    expected = (2 + 3 / math.log2(3)) / (3 + 2 / math.log2(3) + 1 / math.log2(4))
    assert condensed_ndcg(JudgedRanking.build(ranking, grades, min_relevance=2)) == pytest.approx(expected)
    assert condensed_ndcg(JudgedRanking.build([], grades, min_relevance=2)) == 0
    assert math.isnan(condensed_ndcg(JudgedRanking.build(ranking, grades, min_relevance=4)))


def test_judged_share_is_of_the_ads_that_were_returned():
    grades = {"a": 2, "b": 0}
    assert judged_share(JudgedRanking.build(["x", "b", "a", "y"], grades, min_relevance=2)) == 1 / 2
    assert judged_share(JudgedRanking.build(["x", "b", "a", "y"], grades, min_relevance=2), 2) == 1 / 2
    assert judged_share(JudgedRanking.build(["a"], grades, min_relevance=2)) == 1
    assert judged_share(JudgedRanking.build([], grades, min_relevance=2)) == 0
    assert math.isnan(judged_share(JudgedRanking.build(["a"], grades, min_relevance=3)))


@settings(max_examples=150, deadline=None)
@given(GRADES, RANKINGS, st.sets(st.sampled_from(ADS), min_size=1), st.integers(1, 4))
def test_every_measure_against_its_slow_twin(grades, rankings, in_train, k):
    min_relevance = 2
    has_pairs = any(len(set(of.values())) > 1 for of in grades.values())
    has_relevant = any(max(of.values()) >= min_relevance for of in grades.values())
    known = set().union(*grades.values(), *({ad for ad, _ in ads} for ads in rankings.values()))
    ordered = [ads for ads in rankings.values() if len(ads) > 1]
    tells_apart = not ordered or any(len({score for _, score in ads}) > 1 for ads in ordered)
    if not (has_pairs and has_relevant and known & in_train and tells_apart):
        return
    training: Grades = {"earlier": {ad: 3.0 if len(ad) % 2 else 1.0 for ad in sorted(in_train)} | {"only there": 3.0}}
    positive = {ad for ad, grade in training["earlier"].items() if grade == 3 or len(set(training["earlier"])) == 1}
    measured = evaluate_runs(
        {"run": make_run(rankings)},
        make_qrels(grades),
        min_relevance=min_relevance,
        k=k,
        must_share=False,
        judged_only=True,
        train=make_qrels(training),
    )
    values = measured.runs["run"].per_query
    facts = measured.judged_facts
    assert facts is not None
    num_pairs = num_wide = 0
    for row, (query, of) in enumerate(grades.items()):
        ranking = rankings.get(query, [])
        relevant = {ad for ad, grade in of.items() if grade >= min_relevance}
        top = [ad for ad, _ in ranking[:k]]

        def share(chosen, top=top, relevant=relevant):
            return math.nan if not relevant else sum(ad in chosen for ad in top) / len(top) if top else 0

        condensed = JudgedRanking.build([ad for ad, _ in ranking if ad in of], of, min_relevance=min_relevance)
        expected = {
            "pair accuracy": slow_pair_accuracy(ranking, of),
            "pair accuracy, gap 1+": slow_pair_accuracy(ranking, of, 1),
            f"condensed NDCG@{k}": ndcg(condensed, k),
            f"judged@{k}": share(of),
            f"Recall@{k}, in train": slow_recall(ranking, relevant & in_train, k),
            f"Recall@{k}, not in train": slow_recall(ranking, relevant - in_train, k),
            f"train-positive@{k}": share(positive),
        }
        for metric, value in expected.items():
            assert values[metric][row] == pytest.approx(value, nan_ok=True), metric
        gaps = [round(abs(one - two), 6) for one, two in permutations(of.values(), 2)]
        num_pairs += sum(gap > 0 for gap in gaps) // 2
        num_wide += sum(gap >= 1 for gap in gaps) // 2
    assert (facts.num_pairs, facts.num_wide_pairs) == (num_pairs, num_wide)


def test_many_judged_ads_are_no_square_of_work():
    generator = np.random.default_rng(0)
    num_ads = 200_000  # 2 · 10¹⁰ pairs
    judged = JudgedRanking(generator.permutation(np.arange(num_ads) % 5).astype(float), np.arange(num_ads) % 5.0, 2)
    start = time.process_time()
    assert pair_accuracy(judged) == pytest.approx(0.5, abs=0.01)
    assert time.process_time() - start < 5


GRADED: Grades = {"电热水壶": {"壶一": 2, "壶二": 0}, "drill": {"d1": 2, "d2": 1}, "lamp": {"l1": 0, "l2": 1}}
RIGHT = {"电热水壶": [("壶一", 2.0), ("壶二", 1.0)], "drill": [("x", 3.0), ("d1", 2.0)], "lamp": [("l2", 1.0)]}
WRONG = {"电热水壶": [("壶二", 2.0), ("壶一", 1.0)], "drill": [("d2", 2.0), ("d1", 1.0)], "lamp": [("l1", 1.0)]}
RUNS = {"right": make_run(RIGHT), "wrong": make_run(WRONG)}
TRAIN = make_qrels({"早先": {"壶一": 2, "x": 2, "d2": 0}})


def test_report_names_compares_and_counts():
    plain = evaluate_runs(RUNS, make_qrels(GRADED))
    report = evaluate_runs(RUNS, make_qrels(GRADED), judged_only=True, train=TRAIN)
    assert report.metrics == (
        *plain.metrics,
        "pair accuracy",
        "pair accuracy, gap 1+",
        "condensed NDCG@10",
        "judged@10",
        "Recall@10, in train",
        "Recall@10, not in train",
        "train-positive@10",
    )
    right, wrong = (report.runs[name].means() for name in RUNS)
    for metric, value in plain.runs["right"].means().items():
        assert right[metric] == value
    assert (right["pair accuracy"], wrong["pair accuracy"]) == (1, 0)  # also of the query without a relevant ad
    assert right["judged@10"] == (1 + 1 / 2) / 2
    assert (right["Recall@10, in train"], right["Recall@10, not in train"]) == (1, 1)
    assert right["train-positive@10"] == (1 / 2 + 1 / 2) / 2
    assert [comparison.metric for comparison in report.comparisons] == list(report.metrics)
    by_metric = {comparison.metric: comparison for comparison in report.comparisons}
    assert by_metric["pair accuracy"].difference == -1
    assert "3 pairs of judged ads differ in grade, in 3 queries; 3 of them by 1 or more, in 3." in report.note()
    assert "1 of 2 relevant ads have a training judgement." in report.note()
    assert "the others count for ACR and pair accuracy only" in report.note()
    assert "| wrong | pair accuracy | -1.0000 | [-1.0000, -1.0000] |" in report.markdown()
    data = json.loads(report.to_json())
    assert data["judged_facts"]["num_pairs"] == 3
    assert data["runs"]["right"]["per_query"]["judged@10"] == [1, 0.5, None]
    assert json.loads(plain.to_json())["judged_facts"] is None


def test_a_measure_that_no_query_counts_for_is_left_open():
    report = evaluate_runs(RUNS, make_qrels({"drill": {"d1": 1, "d2": 0.5}}), judged_only=True)
    assert math.isnan(report.runs["right"].means()["pair accuracy, gap 1+"])
    assert json.loads(report.to_json())["runs"]["right"]["means"]["pair accuracy, gap 1+"] is None
    assert "pair accuracy, gap 1+" not in {comparison.metric for comparison in report.comparisons}
    assert "| – |" in report.markdown()


def test_training_ads_of_clicks_are_all_positive():
    training = TrainingAds.build(make_qrels({"水壶": {"壶一": 1, "k2": 9}}, kind="clicks"))
    known = pa.array(["壶一", "k2", "k3"])
    assert training.are_judged(known).tolist() == training.are_positive(known).tolist() == [True, True, False]


def test_what_cannot_be_measured_is_refused():
    qrels = make_qrels(GRADED)
    with pytest.raises(InputError, match=r"--train.* split what --judged-only measures; give both"):
        evaluate_runs(RUNS, qrels, train=TRAIN)
    with pytest.raises(
        InputError, match=r"the training judgements .*share no ad .*; write the same ids: '锅' .* '壶一'"
    ):
        evaluate_runs(RUNS, qrels, judged_only=True, train=make_qrels({"锅": {"锅": 1}}))
    with pytest.raises(InputError, match=r"no query .*has two ads of different grades.*; judge ads that do not"):
        evaluate_runs(RUNS, make_qrels({"drill": {"d1": 1}, "电热水壶": {"壶一": 0, "壶二": 0}}), judged_only=True)
    same = make_run({"drill": [("d1", 1), ("d2", 1)]})
    with pytest.raises(InputError, match=r"run '坏' gives all ads of a query the same score.*; write scores"):
        evaluate_runs({"坏": same}, qrels, judged_only=True)
    assert evaluate_runs({"坏": same}, qrels).runs["坏"].means()["Recall@10"] == 1 / 2  # which needs no scores


def test_a_run_of_one_ad_a_query_has_no_ties():
    report = evaluate_runs({"one": make_run({"drill": [("d1", 1)]})}, make_qrels(GRADED), judged_only=True)
    assert report.runs["one"].means()["pair accuracy"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
