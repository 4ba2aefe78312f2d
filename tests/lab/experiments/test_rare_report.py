"""The RARE experiment's report, on hand-made results."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("torch")

from hand_made import ASKED, CATALOG, METRICS, QRELS, QUERIES, qrels_of, result, rows_of, shuffled, slow, systems_of
from test_rare import TABLE_1, TABLE_3, TITLES

from intently.catalog import Judgements, Queries
from intently.lab.experiments import rare_report
from intently.lab.experiments.rare_report import Measured, sections
from intently.lab.experiments.report import Section

ALONE = {"sneakers", "吸", "mixed", "less", "few"}
CLICKS = Judgements(
    ("1", "2"), np.array([0, 1]), pa.array(["a0", "a3"]), np.array([3.0, 1.0]), "clicks", queries=("shoe", "robot")
)


@pytest.fixture(scope="module")
def measured() -> Measured:
    few = tuple(ASKED)[:4]
    intentions = [[f"{query_id} {number}" for number in range(10)] for query_id in few]
    kinds = {name: shuffled(20 + seed, few) for seed, name in enumerate(TABLE_3)}
    cache = [{"size": 10 * n, "share_of_queries": n / 10, "hit_rate": n / 5, "compute_saved": n / 6} for n in (1, 2)]
    return Measured(
        systems={name: result(name, shuffled(seed), 3.0 + seed) for seed, name in enumerate(TABLE_1)},
        language_models={
            name: result(name, rankings, 12.0 / (1 + at), intentions=intentions)
            for at, (name, rankings) in enumerate(kinds.items())
        },
        qrels=QRELS,
        clicks=CLICKS,
        catalog=CATALOG,
        queries=QUERIES,
        facts={
            "build": {"num_ads": 7, "share": 0.25, "costs": {"seconds": 1.0}},
            "cache": {"log": cache, "zipf": cache, "cached_queries": 1_234},
        },
        training={"teacher": {"format": {"losses": [(1, 5.0, 4.0), (2, 4.0, 3.0)]}}, "teacher without knowledge": {}},
        budget="3 steps",
        command="intently experiment rare",
        min_relevance=2.0,
    )


@pytest.fixture(scope="module")
def chapters(measured: Measured) -> dict[str, Section]:
    """The report of `measured` by the names of its chapters."""
    told = sections(measured)
    assert [each.title for each in told] == list(TITLES.values())
    return dict(zip(TITLES, told, strict=True))


def test_what_fusing_adds_is_the_mean_of_differences(measured, chapters):
    found = {(row[0].value, row[2].value): [cell.value for cell in row[3:]] for row in chapters["fusion"].table.cells()}
    assert len(found) == 6
    for without in ("BM25 + dense", "lexical + dense"):
        for metric in METRICS:
            before, after = (slow(measured.systems[each].run, metric) for each in (without, f"{without} + RARE"))
            *means, interval, p_value = found[f"{without} + RARE", metric]
            assert means == pytest.approx([np.nanmean(before), np.nanmean(after), np.nanmean(after - before)])
            low, high = (float(end) for end in interval.split(" … "))
            assert low - 1e-4 <= means[2] <= high + 1e-4
            assert 0 < p_value <= 1


def test_table_1_measures_every_system(measured, chapters):
    table = chapters["table 1"].table
    assert systems_of(table) == {
        "baselines": list(TABLE_1[:3]),
        "this project": list(TABLE_1[3:8]),
        "fused": list(TABLE_1[8:]),
    }
    assert table.columns == ["system", "ACR", "HR@500", "MAP", "R@10", "identifiers", "minutes"]
    for name, row in rows_of(chapters["table 1"]).items():
        expected = [np.nanmean(slow(measured.systems[name].run, metric)) for metric in ("HR@500", "MAP", "Recall@10")]
        assert row[1:4] == pytest.approx(expected)
        built = measured.facts["build"]["costs"]["seconds"] / 60 if name in TABLE_1[4:8] else 0.0
        assert row[4] == measured.systems[name].mean_identifiers
        assert row[5] == pytest.approx(1.5 + built)
    assert "3 steps" in chapters["table 1"].paragraphs[0]


def test_queries_that_share_no_stem(measured, chapters):
    at = np.array([query_id in ALONE for query_id in ASKED])
    assert chapters["disjoint"].paragraphs == ("5 of the 8 queries with a relevant ad.",)
    for name, row in rows_of(chapters["disjoint"]).items():
        run = measured.systems[name].run
        assert row == pytest.approx([np.nanmean(slow(run, metric)[at]) for metric in METRICS])


def test_queries_are_picked_one_by_one(measured):
    """A run that is right for one query alone shows whether that one was picked."""
    ids = (*ASKED, "judged, but not asked")
    judged = {query_id: judged for query_id, (_, judged) in ASKED.items()} | {ids[-1]: {"a0": 2}}
    values = {query_id: np.where(np.array(ids) == query_id, 1.0, 0.0) for query_id in ids}
    runs = {query_id: SimpleNamespace(per_query=dict.fromkeys(METRICS, value)) for query_id, value in values.items()}
    report = SimpleNamespace(query_ids=ids, min_relevance=2.0, num_with_relevant=9, runs=runs)
    chapter = rare_report._disjoint(replace(measured, qrels=qrels_of(judged)), report)
    assert chapter.paragraphs == ("5 of the 9 queries with a relevant ad.",)
    assert {query_id for query_id, row in rows_of(chapter).items() if row[0]} == ALONE
    same = replace(
        measured, queries=replace(QUERIES, texts=("shoe drill kettle hose 跑步鞋 扫地 机器人",) * len(ASKED))
    )
    chapter = rare_report._disjoint(same, replace_ids(report))
    assert chapter.paragraphs[0].startswith("0 of")
    assert all(row == [None] * 3 for row in rows_of(chapter).values())


def replace_ids(report: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(report), "query_ids": tuple(ASKED)})


def test_table_3_is_of_the_queries_that_language_models_answered(measured, chapters):
    few, found = tuple(ASKED)[:4], rows_of(chapters["table 3"])
    assert list(found) == list(TABLE_3)
    for name, row in found.items():
        run = measured.language_models[name].run
        expected = [np.nanmean(slow(run, metric, few)) for metric in ("HR@500", "MAP", "Recall@10")]
        assert row[1:4] == pytest.approx(expected)
        assert row[5] == 90.0 / 4
    assert "Constrained decoding gives 2.0 times the intentions" in chapters["table 3"].paragraphs[1]


def test_what_is_relevant_is_the_same_in_all_tables(measured):
    """The upper third of the grades of four queries may be another than that of all."""
    judged = {query_id: dict(judged) for query_id, (_, judged) in ASKED.items()}
    judged["few"]["a6"] = 3
    other = replace(measured, qrels=qrels_of(judged), min_relevance=None)
    assert "with an ad of relevance 1.98 or more" in rare_report._table3(other).table.note


def test_no_intentions_of_free_generation_give_no_ratio(measured):
    lms = dict(measured.language_models)
    lms["RARE − constrained decoding"] = replace(lms["RARE − constrained decoding"], mean_identifiers=0.0)
    assert "times" not in rare_report._table3(replace(measured, language_models=lms)).paragraphs[1]


def test_cases_show_what_was_judged(measured):
    rankings = {"runs": ["a1", "a0", "a6"], "sneakers": [], "跑": ["a2"], "吸": ["a4", "a3", "a0", "a1", "a2", "a5"]}
    lms = dict(measured.language_models)
    lms["RARE"] = result("RARE", rankings, 4.0, intentions=[["run"], [], ["鞋"], list("abcdefg")])
    cases = rare_report._cases(replace(measured, language_models=lms)).cases
    assert [case.query for case in cases] == [ASKED[query_id][0] for query_id in rankings]
    for case in cases:
        assert list(case.answers) == [*TABLE_3, "BM25"]
        assert case.answers["BM25"][0] == []
    runs, sneakers, han, dust = (case.answers["RARE"] for case in cases)
    assert [(ad.title, ad.relevant) for ad in runs[1]] == [
        ("Cordless drill 18V", False), ("Trail running shoe", True), ("Kettle", None)
    ]  # fmt: skip
    assert runs[0] == ["run"]
    assert sneakers == ([], [])
    assert [ad.relevant for ad in han[1]] == [True]
    assert dust[0] == list("abcde")
    assert [ad.relevant for ad in dust[1]] == [False, True, None, None, None]


def test_cases_stand_at_even_distances(measured):
    ids = tuple(f"q{number}" for number in range(20))
    asked = replace(measured, queries=Queries(ids, tuple(f"kettle {number}" for number in range(20))))
    lms = {name: result(name, {query_id: [] for query_id in ids}) for name in TABLE_3}
    cases = rare_report._cases(replace(asked, language_models=lms)).cases
    assert [case.query for case in cases] == [f"kettle {number}" for number in (0, 3, 6, 9, 12, 15)]


def test_facts_become_tables(chapters):
    assert rows_of(chapters["vocabulary"]) == {"num ads": [7], "share": [0.25]}
    chapter = chapters["cache"]
    assert chapter.paragraphs[0].startswith("1,234 queries are cached")
    assert "(12.0 intentions a query)" in chapter.paragraphs[0]
    assert "(2.4)" in chapter.paragraphs[0]
    assert [row if isinstance(row, str) else row[0].value for row in chapter.table.cells()] == [
        "the click log", "10% of queries", "20% of queries",
        "a simulated log, Zipf exponent 1", "10% of queries", "20% of queries",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "losses", [[], [(1, 5.0, 4.0)], [(1, 5.0, float("nan")), (2, 4.0, float("nan")), (3, 4.0, 4.0)]]
)
def test_without_held_out_losses_there_is_no_curve(measured, losses):
    assert rare_report._training(replace(measured, training={"teacher": {"format": {"losses": losses}}})) == []


def test_the_curve_is_of_held_out_losses(chapters):
    (figure,) = chapters["training"].figures
    assert "teacher, format: from 4.00 to 3.00" in figure.alt


def test_the_header_names_where_it_ran(measured):
    header = measured.header()
    assert (header["ads"], header["test queries"]) == (7, len(ASKED))
    assert re.fullmatch(r"[0-9a-f]{7,}|version \S+", header["commit"])
