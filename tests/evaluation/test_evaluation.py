"""The aggregate against its slow twin, and against trec_eval."""

import json
import math
import re

import numpy as np
import pyarrow as pa
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from intently.catalog import Qrels, Run
from intently.errors import InputError, SettingsError
from intently.evaluation import (
    Join,
    JudgedRanking,
    average_precision,
    evaluate_runs,
    judge_run,
    ndcg,
    recall,
    reciprocal_rank,
)

ADS = [f"ad{number}" for number in range(25)]
QUERIES = [f"q{number}" for number in range(6)]
GRADES = st.dictionaries(
    st.sampled_from(QUERIES), st.dictionaries(st.sampled_from(ADS), st.integers(0, 3), min_size=1), min_size=1
)
RANKINGS = st.dictionaries(st.sampled_from(QUERIES), st.lists(st.sampled_from(ADS), unique=True, min_size=1))


def make_run(rankings: dict[str, list[str]]) -> Run:
    return Run.build((query, ads, np.arange(len(ads), 0, -1).tolist()) for query, ads in rankings.items())


def make_qrels(grades: dict[str, dict[str, float]], kind="relevance") -> Qrels:
    pairs = [(row, ad, value) for row, ads in enumerate(grades.values()) for ad, value in ads.items()]
    rows, ads, values = zip(*pairs, strict=True)
    return Qrels(tuple(grades), np.array(rows), pa.array(ads), np.array(values, dtype=np.float64), kind)


@settings(max_examples=100, deadline=None)
@given(GRADES, RANKINGS, st.integers(1, 3))
def test_same_numbers_as_trec_eval(grades, rankings, min_relevance):
    qrels = make_qrels(grades)
    if not qrels.positives(min_relevance).any():
        return
    returned = {ad for ads in rankings.values() for ad in ads}
    if rankings and (grades.keys().isdisjoint(rankings) or returned.isdisjoint(set().union(*grades.values()))):
        with pytest.raises(InputError, match="share no"):
            evaluate_runs({"run": make_run(rankings)}, qrels, min_relevance=min_relevance)
        return
    measured = evaluate_runs({"run": make_run(rankings)}, qrels, min_relevance=min_relevance).runs["run"].per_query
    names = {
        "MAP": "map",
        "MRR": "recip_rank",
        "Recall@10": "recall_10",
        "HR@500": "recall_500",
        "NDCG@10": "ndcg_cut_10",
    }
    scores = {q: {ad: float(len(ads) - at) for at, ad in enumerate(ads)} for q, ads in rankings.items()}
    evaluator = pytrec_eval.RelevanceEvaluator(
        grades, {"map", "recip_rank", "recall.10,500", "ndcg_cut.10"}, relevance_level=min_relevance
    )
    expected = evaluator.evaluate(scores)
    for row, (query, ads) in enumerate(grades.items()):
        relevant = max(ads.values()) >= min_relevance
        for name, trec_name in names.items():
            value = measured[name][row]
            if not relevant:
                assert math.isnan(value)
            elif query in expected:
                assert value == pytest.approx(expected[query][trec_name])
            else:
                assert value == 0


@settings(max_examples=50, deadline=None)
@given(GRADES, RANKINGS)
def test_judging_columns_is_judging_one_query_after_another(grades, rankings):
    fast = judge_run(make_run(rankings), make_qrels(grades), min_relevance=2)
    for judged, (query, ads) in zip(fast, grades.items(), strict=True):
        slow = JudgedRanking.build(rankings.get(query, []), ads, min_relevance=2)
        np.testing.assert_array_equal(judged.ranked, slow.ranked)
        assert sorted(judged.grades) == sorted(slow.grades)
        for metric in (recall, reciprocal_rank, average_precision, ndcg):
            assert metric(judged) == pytest.approx(metric(slow), nan_ok=True)


QRELS = make_qrels({"1": {"a": 2, "b": 1}, "2": {"c": 2, "d": 0}, "3": {"e": 0}, "4": {"a": 2}})
RUNS = {
    "good": make_run({"1": ["a"], "2": ["x", "c"], "3": ["e"], "not judged": ["a"]}),
    "bad": make_run({"1": ["b", "a"], "4": ["e"]}),
}


def test_queries_that_count():
    report = evaluate_runs(RUNS, QRELS)
    assert report.query_ids == ("1", "2", "3", "4")
    assert report.min_relevance == pytest.approx(1.32)
    assert report.num_with_relevant == 3  # query 3 has no relevant ad
    good, bad = (report.runs[name].means() for name in RUNS)
    assert good["MRR"] == pytest.approx((1 + 1 / 2 + 0) / 3)  # query 4 is not answered
    assert bad["MRR"] == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert good["ACR"] == 3 / 4  # query 3 counts here
    assert bad["ACR"] == 2 / 4
    assert report.metrics == ("Recall@10", "MRR", "NDCG@10", "HR@500", "MAP", "ACR")


def test_clicks_bring_weighted_precision_and_tail_coverage():
    clicked = make_qrels({"9": {"a": 60, "c": 3}}, kind="clicks")
    report = evaluate_runs(RUNS, QRELS, clicks=clicked, ad_ids=pa.chunked_array([["a", "b"], ["c", "d", "e", "f"]]))
    assert report.group_sizes.tolist() == [1, 0, 5]
    good, bad = (report.runs[name].means() for name in RUNS)
    # Query 1: a alone; query 2: x and c, both tail; query 4: nothing.
    assert good["CWP@10"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    # Query 1: b (tail, 1/5) before a (head, 1); query 4: e is not relevant.
    assert bad["CWP@10"] == pytest.approx((1 / (1 + 1 / 5) + 0 + 0) / 3)
    assert good["tail coverage@10"] == 1  # of the tail only c is relevant
    assert bad["tail coverage@10"] == 0
    assert good["tail coverage of all ads@10"] == 2 / 5  # c and e of b, c, d, e, f
    assert bad["tail coverage of all ads@10"] == 2 / 5  # b and e


def test_ads_shown_to_queries_that_are_not_measured_cover_nothing():
    clicked = make_qrels({"9": {"a": 60}}, kind="clicks")
    run = make_run({"not judged": ["c"], "1": ["a"]})
    assert evaluate_runs({"run": run}, QRELS, clicks=clicked).runs["run"].overall["tail coverage@10"] == 0


def test_every_run_is_compared_with_the_first_by_every_metric():
    report = evaluate_runs(RUNS | {"same": RUNS["good"]}, QRELS)
    assert [(c.first, c.run) for c in report.comparisons[::6]] == [("good", "bad"), ("good", "same")]
    by_metric = {c.metric: c for c in report.comparisons if c.run == "bad"}
    assert by_metric.keys() == set(report.metrics)
    assert by_metric["ACR"].difference == pytest.approx(-1 / 4)
    assert by_metric["MRR"].difference == pytest.approx(-1 / 3)
    assert by_metric["MRR"].low <= -1 / 3 <= by_metric["MRR"].high
    same = [c for c in report.comparisons if c.run == "same"]
    assert all((c.difference, c.low, c.high, c.p_value) == (0, 0, 0, 1) for c in same)
    assert evaluate_runs(RUNS, QRELS).comparisons == report.comparisons[:6]  # seeded


def test_report_forms():
    report = evaluate_runs(RUNS, QRELS)
    data = json.loads(report.to_json())
    assert data["runs"]["good"]["per_query"]["MRR"] == [1, 0.5, None, 0]
    assert data["min_relevance"] == pytest.approx(1.32)
    console = Console(width=200)
    with console.capture() as captured:
        console.print(report.table())
    for text in (captured.get(), report.markdown()):
        assert "4 queries, 3 of them with an ad of relevance 1.32 or more" in text
        assert "0.5000" in text and "good" in text
    assert "| bad | MRR | -0.3333 |" in report.markdown()


def test_four_runs_fit_into_80_columns():
    clicked = make_qrels({"9": {"a": 60, "b": 9, "c": 1}}, kind="clicks")
    names = ("runs/of/last/week/lexical.trec", "dense", "intention", "fused")
    runs = dict(zip(names, [RUNS["good"], *[RUNS["bad"]] * 3], strict=True))
    report = evaluate_runs(runs, QRELS, clicks=clicked, ad_ids=pa.chunked_array([["a", "b", "c", "d", "e"]]))
    console = Console(width=80)
    with console.capture() as captured:
        console.print(report.table())
    shown = captured.get()
    for metric in report.metrics:
        (line,) = [line for line in shown.splitlines() if line.startswith(f"│ {metric} ")]
        assert len(re.findall(r"\d\.\d{4}|–", line)) == 4


def test_what_runs_and_judgements_share_is_counted():
    report = evaluate_runs(RUNS, QRELS)
    assert report.joins == {"good": Join(3, 1, 4, 3), "bad": Join(2, 0, 3, 2)}
    assert "good answers 3 of them and 1 that nobody judged; 3 of 4 returned ads are judged." in report.note()
    assert json.loads(report.to_json())["joins"]["bad"]["num_judged"] == 2
    with pytest.raises(InputError, match=r"run 'x' and the judgements share no query; write the same ids: 'Q1'.*'1'"):
        evaluate_runs({"x": make_run({"Q1": ["a"]})}, QRELS)
    with pytest.raises(InputError, match=r"run 'x' and the judgements share no ad; write the same ids: 'A'.*'a'"):
        evaluate_runs({"x": make_run({"1": ["A"]})}, QRELS)


def test_judgements_that_are_all_0_measure_nothing():
    with pytest.raises(InputError, match="no query has an ad of relevance"):
        evaluate_runs({"run": make_run({"1": ["a"]})}, make_qrels({"1": {"a": 0, "b": 0}}))


def test_inputs_that_cannot_be_measured():
    with pytest.raises(InputError, match="no runs"):
        evaluate_runs({}, QRELS)
    with pytest.raises(InputError, match="no query has an ad of relevance 5 or more"):
        evaluate_runs(RUNS, QRELS, min_relevance=5)
    with pytest.raises(SettingsError, match="at least 1"):
        evaluate_runs(RUNS, QRELS, k=0)
