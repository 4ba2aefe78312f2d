"""The experiment in simulated traffic: an A/A pair shows nothing, a better system is found, rerun byte for byte."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from intently.catalog import Catalog, Run
from intently.catalog.qrels import Qrels
from intently.errors import InputError
from intently.lab.experiments import online as online_module
from intently.lab.experiments.data import Files
from intently.lab.experiments.keywords import KeywordMatcher
from intently.lab.experiments.online import (
    AGAIN,
    CONTROL,
    OnlineSettings,
    keyword_answers,
    run_online,
    segments,
    simulate,
)
from intently.lab.experiments.online_report import Online, sections, sentence, verdicts
from intently.lab.experiments.online_traffic import TrafficSettings
from intently.lab.experiments.report_markdown import markdown
from intently.lab.experiments.runner import Answers
from intently.lab.world.shoppers import ShopperSettings
from intently.types import Ad

KEYWORDS = [["running shoes"], ["shoes"], ["跑步鞋"], ["RUNNING  Shoes", "boots"], [], ["shoe"]]


def test_keywords_match_whole_words_and_anywhere_in_chinese():
    matcher = KeywordMatcher(KEYWORDS, np.array([1.0, 5.0, 1.0, 2.0, 9.0, 9.0]))
    assert matcher.search("cheap Running shoes", 10).tolist() == [3, 0, 1]  # longest, then the bid
    assert matcher.search("cheap running shoes", 2).tolist() == [3, 0]
    assert matcher.search("女士跑步鞋推薦", 10).tolist() == [2]
    assert matcher.search("snowshoes", 10).tolist() == []  # no part of a word
    assert matcher.search("boots跑步鞋", 10).tolist() == [2, 3] or matcher.search("boots跑步鞋", 10).tolist() == [3, 2]


@pytest.mark.parametrize("query", ["running shoes", "a 跑步鞋", "shoe shoes", "ＢＯＯＴＳ", "x"])
def test_keywords_equal_a_search_of_every_keyword(query):
    """The slow twin: each keyword is looked for between all borders of words."""
    matcher = KeywordMatcher(KEYWORDS, np.ones(6))
    text = f" {query.lower()} ".replace("ｂｏｏｔｓ", "boots")
    expected = {
        row
        for row, each in enumerate(KEYWORDS)
        for keyword in each
        if (
            " ".join(keyword.lower().split()) in text
            if keyword == "跑步鞋"
            else f" {' '.join(keyword.lower().split())} " in text
        )
    }
    assert set(matcher.search(query, 10).tolist()) == expected


NUM_QUERIES, NUM_ADS = 30, 120
CATALOG = Catalog.from_ads(
    [
        Ad(
            f"ad{row}",
            f"ad {row}",
            keywords=(f"query{row % NUM_QUERIES}",) if row % 4 == 0 else (),
            advertiser=f"advertiser {row % 12}",
            category=("Shoes > Running", "鞋 > 跑步")[row % 2],
            bid=None if row == 7 else 0.3 + row % 5 / 5,
            status="paused" if row == 9 else "active",
        )
        for row in range(NUM_ADS)
    ]
)
IDS = [f"q{query}" for query in range(NUM_QUERIES)]
TEXTS = [f"query{query}" for query in range(NUM_QUERIES)]
# Ad r answers query r modulo 30, better or worse.
PAIRS = [(query, row, 1 + row // 30 % 3) for query in range(NUM_QUERIES) for row in range(query, NUM_ADS, NUM_QUERIES)]
QRELS = Qrels(
    tuple(IDS),
    np.array([query for query, _, _ in PAIRS]),
    Catalog.from_ads([Ad(f"ad{row}", "x") for row in range(NUM_ADS)])
    .column("ad_id")
    .combine_chunks()
    .take([row for _, row, _ in PAIRS]),
    np.array([float(grade) for _, _, grade in PAIRS]),
)
TRAFFIC = TrafficSettings(ShopperSettings(num_shoppers=600, visits_a_shopper=4, num_days=1))


def runs() -> dict[str, Run]:
    found = keyword_answers(CATALOG, TEXTS, 50).rankings
    best = [sorted((-grade, row) for at, row, grade in PAIRS if at == query) for query in range(NUM_QUERIES)]
    return {
        CONTROL: Run.build([(query, *each) for query, each in zip(IDS, found, strict=True) if each[0]]),
        "RARE": Run.build(
            [
                (query, [f"ad{row}" for _, row in each], [-grade for grade, _ in each])
                for query, each in zip(IDS, best, strict=True)
            ]
        ),
    }


@pytest.fixture(scope="module")
def online() -> Online:
    outcome, experiment = simulate(CATALOG, IDS, runs(), QRELS, TRAFFIC, progress=lambda *_: None)
    return Online(outcome, experiment, TRAFFIC, segments(CATALOG, QRELS, IDS, outcome))


def test_the_better_system_earns_more_and_the_a_a_pair_shows_nothing(online):
    found = verdicts(online.outcome, online.experiment)
    assert not found.ratio.is_mismatch
    assert found.differences["RARE"]["consumption"].estimate > 0
    assert found.is_significant("RARE", "consumption")
    assert found.differences[AGAIN]["consumption"].p_value > 0.01
    assert sentence(found).startswith("RARE against keywords: consumption +")
    wrong = replace(found, ratio=replace(found.ratio, p_value=0.0))
    assert not wrong.is_significant("RARE", "consumption")
    assert "No verdict" in sentence(wrong)


def test_money_adds_up(online):
    for arm in online.outcome.arms.values():
        np.testing.assert_allclose(arm.by_shopper.sum(axis=0), arm.by_query.sum(axis=0))
        assert arm.spent.sum() == pytest.approx(arm.by_shopper[:, 5].sum())
        assert (arm.spent <= arm.budget + 1e-6).all()
        assert arm.shown.sum() == arm.by_shopper[:, 1].sum()
        assert arm.shown[9] == 0  # the paused one
    assert sum(arm.by_shopper[:, 0].sum() for arm in online.outcome.arms.values()) == online.outcome.visits.sum()
    # Nobody is in two arms.
    took_part = np.array([arm.by_shopper[:, 0] > 0 for arm in online.outcome.arms.values()])
    assert (took_part.sum(axis=0) <= 1).all()


def test_the_report_is_the_same_byte_for_byte(online):
    told = markdown(sections(online))
    outcome, experiment = simulate(CATALOG, IDS, runs(), QRELS, TRAFFIC, progress=lambda *_: None)
    again = Online(outcome, experiment, TRAFFIC, segments(CATALOG, QRELS, IDS, outcome))
    assert markdown(sections(again)) == told
    for word in ("keywords again", "RARE", "sample ratio p", "By frequency", "By vertical", "Shoes", "鞋"):
        assert word in told


def test_segments_share_out_the_queries(online):
    for kind in ("frequency", "vertical"):
        rows = np.concatenate(list(online.segments[kind].values()))
        assert sorted(rows.tolist()) == list(range(NUM_QUERIES))
    head, tail = (online.segments["frequency"][name] for name in ("head", "tail"))
    assert online.outcome.visits[head].min() >= online.outcome.visits[tail].max()


def test_a_control_is_needed():
    with pytest.raises(InputError, match=CONTROL):
        simulate(CATALOG, IDS, {"RARE": runs()["RARE"]}, QRELS, TRAFFIC, progress=lambda *_: None)


def test_the_command_is_resumable_and_writes_its_report(tmp_path, monkeypatch):
    """All but the models: what the engine finds is given here."""
    pytest.importorskip("bm25s")
    (tmp_path / "ads.jsonl").write_text(
        "".join(
            json.dumps(
                {"ad_id": f"ad{row}", "title": f"query{row % 30} ad", "keywords": [f"query{row % 30}"], "bid": 0.5}
            )
            + "\n"
            for row in range(NUM_ADS)
        )
    )
    (tmp_path / "clicks.tsv").write_text("query\tad_id\tclicks\nquery1\tad1\t2\n")
    judged = "".join(f"q{query}\tquery{query}\tad{row}\t{grade}\n" for query, row, grade in PAIRS)
    (tmp_path / "test.tsv").write_text("query_id\tquery\tad_id\trelevance\n" + judged)
    (tmp_path / "results.md").write_text("# Results\n\n<!-- online -->\n<!-- /online -->\n")
    asked: list[str] = []

    def answer(engine, texts, channel, *, progress):
        asked.append(str(channel))
        return Answers([([f"ad{int(text[5:])}"], [1.0]) for text in texts])

    monkeypatch.setattr(online_module, "answer", answer)
    monkeypatch.setattr(online_module.Engine, "load", lambda directory, num_threads: None)
    files = Files(tmp_path / "ads.jsonl", tmp_path / "clicks.tsv", tmp_path / "test.tsv", tmp_path / "test.tsv")
    settings = OnlineSettings(engine=str(tmp_path / "engine"), traffic=TRAFFIC)
    reports = []
    for _ in range(2):
        told = run_online(files, tmp_path / "out", settings, progress=lambda *_: None, results=tmp_path / "results.md")
        reports.append((told.read_bytes(), (tmp_path / "results.md").read_bytes()))
    assert asked == ["dense", "intention", "fused"]  # not again
    assert reports[0] == reports[1]
    for report in reports[0]:
        assert b"RARE against keywords" in report
        assert b"BM25" in report
