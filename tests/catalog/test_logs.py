"""Logs of clicks, in the ways that companies keep them, against an obvious twin."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.catalog import Judgements, read_judgements, read_qrels, read_queries
from intently.catalog.logs.columns import what_happened
from intently.catalog.logs.pairs import Events, aggregate
from intently.catalog.logs.settings import LogSettings
from intently.errors import InputError, SettingsError

EVENTS = """\
timestamp\tsession_id\tquery\tad_id\tposition\tevent
1\ts1\telectric kettle\tk1\t1\timpression
1\ts1\telectric kettle\tk2\t2\timpression
2\ts1\telectric kettle\tk2\t2\tclick
3\ts1\tElectric  Kettle\tk2\t2\tclick
4\ts2\tElectric Kettle \tk1\t1\tview
5\ts2\telectric kettle\tk1\t1\tClick
6\ts3\t电热水壶\tk3\t4\t曝光
6\ts3\t电热水壶\tk3\t4\t点击
7\ts3\t电热水壶\tk1\t1\timpression
8\ts4\t跑鞋\tk1\t1\timpression
9\ts5\telectric kettle\tk2\t3\tpurchase
9\ts5\telectric kettle\t\t\tscroll
9\ts6\telectric kettle\t\t\timpression
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def pairs_of(judged: Judgements) -> dict[tuple[str, str], float]:
    pairs = zip(judged.query_rows, judged.ad_ids.to_pylist(), judged.values.tolist(), strict=True)
    return {(judged.queries[row], ad): value for row, ad, value in pairs}


def unclicked_of(judged: Judgements) -> dict[tuple[str, str], float]:
    assert judged.unclicked is not None
    rows, ads, shown = judged.unclicked.query_rows, judged.unclicked.ad_ids.to_pylist(), judged.unclicked.impressions
    return {(judged.queries[row], ad): number for row, ad, number in zip(rows, ads, shown.tolist(), strict=True)}


def test_events(tmp_path):
    judged = read_judgements(write(tmp_path / "log.tsv", EVENTS))
    assert judged.kind == "clicks"
    assert pairs_of(judged) == {("electric kettle", "k1"): 1, ("electric kettle", "k2"): 2, ("电热水壶", "k3"): 1}
    assert unclicked_of(judged) == {("电热水壶", "k1"): 1}
    assert judged.num_unclicked == 2
    assert judged.weights is None
    assert judged.notes == (
        "1 events left out that are neither impression, click nor conversion: scroll 1",
        "1 impressions left out that name no ad",
        "1 clicks repeated an earlier one of the same session, and count once",
        "1 queries of the log had no click",
    )


def test_the_queries_of_a_log_are_those_of_its_judgements(tmp_path):
    path = write(tmp_path / "log.tsv", EVENTS)
    queries, judged = read_queries(path), read_judgements(path)
    assert queries.texts == ("electric kettle", "电热水壶", "跑鞋")
    assert judged.query_ids == read_qrels(path).query_ids == queries.ids[:2]


def test_a_click_far_down_counts_more_if_asked_for(tmp_path):
    path = write(tmp_path / "log.tsv", EVENTS)
    judged = read_judgements(path, logs=LogSettings(position_bias=1.0))
    assert judged.weights is not None
    assert dict(zip(pairs_of(judged), judged.weights.tolist(), strict=True)) == {
        ("electric kettle", "k1"): 1, ("electric kettle", "k2"): 2 + 3, ("电热水壶", "k3"): 4,
    }  # fmt: skip
    halved = read_judgements(path, logs=LogSettings(position_bias=0.5)).weights
    assert halved == pytest.approx([1, 2**0.5 + 3**0.5, 2])
    far = write(tmp_path / "far.tsv", "query\tad_id\tclicked\tposition\nq\ta\t1\t900\nq\tb\t1\t\nq\tc\t1\t0\n")
    assert read_judgements(far, logs=LogSettings(position_bias=1.0)).weights.tolist() == [10, 1, 1]


@pytest.mark.parametrize(
    "rows",
    [
        [{"clicked": 0}, {"clicked": 1}],
        [{"clicks": False}, {"clicks": True}],
        [{"event": "impression"}, {"event": "click"}],
        [{"action": "show"}, {"action": "select_item"}],
    ],
)
def test_ways_to_say_that_an_ad_was_clicked(tmp_path, rows):
    lines = [
        {"user_id": user, "query": query, "ad_id": ad, "ts": "2025-08-01T09:00:00Z"} | said
        for user, query, ad, said in (
            (7, "Kettle", "k1", rows[0]), (7, "kettle", "k1", rows[1]), (7, "kettle", "k1", rows[1]),
            (8, "kettle", "k1", rows[1]), (8, "kettle", "k2", rows[0]),
        )
    ]  # fmt: skip
    judged = read_judgements(write(tmp_path / "log.jsonl", "\n".join(map(json.dumps, lines))))
    assert pairs_of(judged) == {("kettle", "k1"): 2}
    assert unclicked_of(judged) == {("kettle", "k2"): 1}


def test_ids_of_single_searches_are_sessions(tmp_path):
    rows = "query_id\tquery\tad_id\tclicks\ns1\tkettle\tk1\t1\ns1\tkettle\tk1\t1\ns2\tKettle\tk1\t1\ns3\t水壶\tk2\t1\n"
    assert pairs_of(read_judgements(write(tmp_path / "log.tsv", rows))) == {("kettle", "k1"): 2, ("水壶", "k2"): 1}
    ids = "query_id\tquery\tad_id\tclicks\nq1\tkettle\tk1\t4\nq2\tKettle\tk1\t2\n"  # two queries, say of two countries
    judged = read_judgements(write(tmp_path / "judged.tsv", ids))
    assert (judged.query_ids, judged.values.tolist()) == (("q1", "q2"), [4, 2])


def test_counts_of_pairs(tmp_path):
    rows = 'Query,Ad ID,Impr.,Clicks,Conversions\nkettle,k1,"1,204",12,1\nKettle,k1,6,1,0\nkettle,k2,90,0,0\n'
    rows += "水壶,k3,5,--,\n"
    with pytest.raises(InputError, match=r":5 field 'clicks': empty; give every row a number"):
        read_judgements(write(tmp_path / "counts.csv", rows))
    judged = read_judgements(tmp_path / "counts.csv", skip_bad=True)
    assert (pairs_of(judged), judged.num_skipped) == ({("kettle", "k1"): 13}, 1)
    assert unclicked_of(judged) == {("kettle", "k2"): 90}


def test_a_search_term_report(tmp_path):
    report = (
        "Search term,Match type,Campaign,Ad group,Ad ID,Clicks,Impr.,Cost\n"
        'electric kettle,Exact match,US,Kettles,k1,"1,204","18,330","1,107.68"\n'
        "kettle electric,Broad match,US,Kettles,k1,0,17,0.00\n"
        'Total: Account,,,,,"1,204","18,347",\n'
    )
    judged = read_judgements(write(tmp_path / "report.csv", report))
    assert pairs_of(judged) == {("electric kettle", "k1"): 1204}
    assert judged.notes == (
        "1 rows of totals left out",
        "columns not used: Match type, Campaign, Ad group, Cost",
        "1 queries of the log had no click",
    )
    without = write(tmp_path / "groups.csv", report.replace("Ad ID", "Labels"))
    with pytest.raises(InputError, match=r"names no ad, only 'Ad group'; add the column 'Ad ID'.*\"Ad group=ad_id\""):
        read_judgements(without)
    assert pairs_of(read_judgements(without, columns={"Ad group": "ad_id"})) == {("electric kettle", "Kettles"): 1204}
    amazon = "Customer Search Term,Advertised ASIN,Impressions,Clicks,7 Day Total Orders (#)\nkettle,B0,9,2,1\n"
    assert pairs_of(read_judgements(write(tmp_path / "amazon.csv", amazon))) == {("kettle", "B0"): 2}
    microsoft = "SearchQuery,AdId,Impressions,Clicks\nkettle,77,9,2\n"
    assert pairs_of(read_judgements(write(tmp_path / "bing.csv", microsoft))) == {("kettle", "77"): 2}
    baidu = "搜索词,创意ID,展现,点击\n电热水壶,77,9,2\n"
    assert pairs_of(read_judgements(write(tmp_path / "baidu.csv", baidu))) == {("电热水壶", "77"): 2}


UBI_QUERIES = [
    {
        "query_id": "u1",
        "client_id": "c1",
        "user_query": "Electric kettle",
        "query_response_hit_ids": ["k1", "k2", "k4"],
    },
    {"query_id": "u2", "client_id": "c2", "user_query": "electric kettle", "query_response_hit_ids": "k2,k1"},
    {"query_id": "u3", "client_id": "c2", "user_query": "跑鞋"},
]


def ubi(query_id: str, action: str, ad_id: str | None, **more: object) -> dict:
    attributes = {"object": {"object_id": ad_id, "object_id_field": "sku"}} if ad_id else {}
    return {"action_name": action, "query_id": query_id, "client_id": "c", "event_attributes": attributes | more}


UBI_EVENTS = [
    ubi("u1", "on_search", None),
    ubi("u1", "click", "k2", position={"ordinal": 2}),
    ubi("u2", "click", "k2", position={"ordinal": 1}) | {"client_id": "d"},
    ubi("u2", "add_to_cart", "k2") | {"client_id": "d"},
    ubi("u3", "product_hover", "s1"),
    ubi("lost", "click", "k1"),
]


@pytest.mark.parametrize("wrapped", [False, True])
def test_user_behavior_insights(tmp_path, wrapped):
    records = [*UBI_QUERIES, *UBI_EVENTS]
    if wrapped:
        records = [{"_index": "ubi", "_id": str(at), "_source": record} for at, record in enumerate(records)]
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    path = write(tmp_path / "ubi.jsonl", lines)
    judged = read_judgements(path, logs=LogSettings(position_bias=1.0))
    assert list(pairs_of(judged).items()) == [(("Electric kettle", "k2"), 2)]
    assert unclicked_of(judged) == {("Electric kettle", "k1"): 2, ("Electric kettle", "k4"): 1}
    assert judged.weights is not None
    assert judged.weights.tolist() == [3]
    assert judged.notes[0] == "1 events left out: their query_id is not among the queries"
    assert judged.notes[1].startswith("2 events left out that tell of no ad, or")


def test_events_of_user_behavior_insights_need_their_queries(tmp_path):
    events = write(tmp_path / "ubi_events.jsonl", "\n".join(map(json.dumps, UBI_EVENTS)))
    with pytest.raises(InputError, match=r"names queries by id only; give the file of ubi_queries too: --queries"):
        read_judgements(events)
    queries = write(tmp_path / "ubi_queries.jsonl", "\n".join(map(json.dumps, UBI_QUERIES)))
    judged = read_judgements(events, queries=read_queries(queries))
    assert pairs_of(judged) == {("electric kettle", "k2"): 2}
    bad = write(tmp_path / "bad.jsonl", "\n".join(map(json.dumps, [*UBI_EVENTS, {"action_name": "click"}])))
    with pytest.raises(InputError, match=r":7 field 'query_id': empty"):
        read_judgements(bad, queries=read_queries(queries))


@pytest.mark.parametrize(
    ("header", "row", "problem"),
    [
        ("query\tad_id\tevent\tclicked", "q\ta\tclick\t1", r"both clicks and event: 'clicked' and 'event'; say"),
        ("query\tad_id\tevent\tscore", "q\ta\tclick\t1", r"both relevance and event: 'score' and 'event'"),
        ("query\tad_id\tevent", "q\ta\thover", r"no event is one that is understood: 'hover'; call them impression"),
        ("query\tad_id\tevent", "q\t\tclick", r":2 field 'ad_id': empty"),
        ("query\tad_id\tevent", "\ta\tclick", r":2 field 'query': empty"),
        ("query\tad_id\tevent", "q\ta\timpression", "no clicks: every pair has 0"),
        ("ad_id\tevent", "a\tclick", "field 'query': no such column"),
        ("query\tad_id\tclicks\tposition", "q\ta\t1\tx", r":2 field 'position': 'x' is not a number"),
    ],
)  # fmt: skip
def test_logs_that_are_refused(tmp_path, header, row, problem):
    with pytest.raises(InputError, match=problem):
        read_judgements(write(tmp_path / "log.tsv", f"{header}\n{row}\n"))


def test_columns_that_contradict_are_chosen(tmp_path):
    path = write(tmp_path / "log.tsv", "query\tad_id\tscore\tclicked\nq\ta\t0.2\t1\nq\tb\t0.9\t0\n")
    with pytest.raises(InputError, match=r'--map-clicks "score=relevance" or "clicked=clicks"'):
        read_judgements(path)
    assert pairs_of(read_judgements(path, columns={"clicked": "clicks"})) == {("q", "a"): 1}
    assert pairs_of(read_judgements(path, columns={"Score": "relevance"})) == {("q", "a"): 0.2, ("q", "b"): 0.9}
    assert pairs_of(read_judgements(path, columns={"clicked": "relevance"})) == {("q", "a"): 1, ("q", "b"): 0}
    odd = write(tmp_path / "odd.tsv", "was\tthing\tgood\nq\ta\t2\n")
    chosen = {"was": "query", "thing": "ad_id", "good": "clicks"}
    assert pairs_of(read_judgements(odd, columns=chosen)) == {("q", "a"): 2}
    for columns, problem in (
        ({"nope": "clicks"}, "there is no column 'nope'; name one of query, ad_id, score, clicked"),
        ({"score": "bid"}, "'bid' is nothing that clicks have; use one of query"),
        ({"score": "clicks", "clicked": "clicks"}, "two columns are to be the clicks"),
    ):
        with pytest.raises(InputError, match=problem):
            read_judgements(path, columns=columns)


TEXTS = st.sampled_from(("kettle", "Kettle", " kettle", "水壶"))
EVENT = st.tuples(
    TEXTS, st.sampled_from("ab"), st.sampled_from(("", "s1", "s2")),
    st.sampled_from((1.0, 2.0, 5.0, float("nan"))), st.sampled_from(("click", "impression", "conversion")),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENT, min_size=1, max_size=20))
def test_aggregating_is_what_a_loop_does(events):
    queries, ads, sessions, positions, happened = zip(*events, strict=True)
    counts = [
        np.array([each == kind for each in happened], np.float64) for kind in ("click", "impression", "conversion")
    ]
    columns = [pa.array(values, pa.string()) for values in (queries, ads, sessions)]
    found = aggregate(Events(*columns, np.array(positions), *counts), 1.0)

    groups: dict[tuple, list] = defaultdict(list)
    for at, (query, ad, session, position, what) in enumerate(events):
        groups[query.strip().lower(), ad, session or at].append((position, what))
    wanted: dict[tuple[str, str], list[float]] = {}
    for (query, ad, session), told in groups.items():
        whats = [what for _, what in told]
        is_session = isinstance(session, str)
        clicked = "click" in whats or (is_session and "conversion" in whats)
        at = [p for p, what in told if what == "click" and p == p] or [p for p, _ in told if p == p]
        counted = [clicked, is_session or whats[0] != "conversion", "conversion" in whats, clicked * min(at, default=1)]
        row = wanted.setdefault((query, ad), [0.0] * 4)
        row[:] = [float(a + b) for a, b in zip(row, counted, strict=True)]
    keys = [
        (found.queries[row].strip().lower(), ad)
        for row, ad in zip(found.query_rows, found.ad_ids.to_pylist(), strict=True)
    ]
    values = zip(found.clicks, found.impressions, found.conversions, found.weights, strict=True)
    assert list(zip(keys, map(list, values), strict=True)) == [(key, wanted[key]) for key in dict.fromkeys(
        (query.strip().lower(), ad) for query, ad, *_ in events)]  # fmt: skip


def test_words_for_events():
    assert [what_happened(word) for word in ("Click", "add-to-cart", "View", "下单", "login", "")] == [
        "click", "conversion", "impression", "conversion", None, None,
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [{"negative_after": 0}, {"negative_after": 1.5}, {"position_bias": -1.0}])
def test_settings_that_mean_nothing(wrong):
    with pytest.raises(SettingsError):
        LogSettings(**wrong)
