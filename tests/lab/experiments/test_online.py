"""The experiment in simulated traffic: an A/A pair shows nothing, a better system is found, rerun byte for byte."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from intently.catalog import Catalog, Run
from intently.catalog.qrels import Qrels
from intently.engine.engine import Engine
from intently.errors import InputError
from intently.lab.experiments import online as online_module
from intently.lab.experiments.data import Files
from intently.lab.experiments.online import (
    AGAIN,
    CONTROL,
    OnlineSettings,
    run_online,
    segments,
    simulate,
    systems_of,
    tail_ads,
    values_of_intentions,
)
from intently.lab.experiments.online_report import Online, false_alarms, sections, sentence, verdicts
from intently.lab.experiments.online_traffic import START_S, Offer, TrafficSettings, _Arm
from intently.lab.experiments.report_markdown import markdown
from intently.lab.experiments.report_terminal import show
from intently.lab.experiments.runner import Answers
from intently.lab.world.shoppers import ShopperSettings
from intently.market import MICROS, AuctionRules, Bidders, run_auction
from intently.terminal import SafeConsole
from intently.types import Ad

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
    bids = CATALOG.bare_keywords()
    found = [[f"ad{row}" for row, each in enumerate(bids) if text in each] for text in TEXTS]
    best = [sorted((-grade, row) for at, row, grade in PAIRS if at == query) for query in range(NUM_QUERIES)]
    return {
        CONTROL: Run.build(
            [(query, each, [-at for at in range(len(each))]) for query, each in zip(IDS, found, strict=True) if each]
        ),
        "RARE": Run.build(
            [
                (query, [f"ad{row}" for _, row in each], [-grade for grade, _ in each])
                for query, each in zip(IDS, best, strict=True)
            ]
        ),
    }


TAIL = np.arange(NUM_ADS) % 2 == 0


@pytest.fixture(scope="module")
def online() -> Online:
    outcome, experiment = simulate(CATALOG, IDS, runs(), QRELS, TRAFFIC, progress=lambda *_: None)
    return Online(outcome, experiment, TRAFFIC, segments(CATALOG, QRELS, IDS, outcome), TAIL)


def test_the_better_system_earns_more_and_the_a_a_pair_shows_nothing(online):
    found = verdicts(online.outcome, online.experiment)
    assert not found.ratio.is_mismatch
    rare = found.of("RARE")
    assert rare.differences["consumption"].estimate > 0
    assert found.is_significant(rare, "consumption")
    assert found.of(AGAIN).differences["consumption"].p_value > 0.01
    assert sentence(found, "RARE", CONTROL).startswith("RARE against keywords: consumption +")
    wrong = replace(found, ratio=replace(found.ratio, p_value=0.0))
    assert not wrong.is_significant(rare, "consumption")
    assert "No verdict" in sentence(wrong, "RARE", CONTROL)


def test_splits_of_the_control_raise_few_false_alarms(online):
    alarms, mismatches = false_alarms(online, 400)
    for metric, share in alarms.items():
        assert share <= 0.09, metric  # of so few shoppers, some metrics alarm more rarely
    assert alarms["CTR"] >= 0.02
    assert mismatches <= 0.005


def test_money_adds_up(online):
    outcome = online.outcome
    for at, arm in enumerate(outcome.arms.values()):
        total = arm.by_query.sum(axis=0)
        np.testing.assert_allclose(outcome.by_shopper[outcome.variants == at].sum(axis=0), total)
        assert arm.spent.sum() == pytest.approx(total[5])
        by_advertiser = np.bincount(outcome.advertisers, weights=arm.spent)
        assert (by_advertiser <= arm.budget + 1e-6).all()
        assert arm.shown.sum() == total[1]
        assert arm.shown[9] == 0  # the paused one
    assert outcome.by_shopper[:, 0].sum() == outcome.visits.sum()


def test_an_auction_of_those_who_can_win_is_the_auction_of_all():
    """The slow twin: every candidate takes part, none is left out because better ones fill the slots."""
    rng = np.random.default_rng(0)
    offer = Offer(
        bids=rng.lognormal(-0.3, 0.6, 40),
        advertisers=np.arange(40) % 17,
        grades=[{row: int(grade) for row, grade in enumerate(rng.integers(0, 4, 40)) if grade} for _ in range(20)],
        rankings={"all": [rng.permutation(40) for _ in range(20)]},
    )
    arm = _Arm("all", offer, TRAFFIC, np.full(17, 1e6))
    rules = AuctionRules(TRAFFIC.slot_clicks, (TRAFFIC.reserve,) * len(TRAFFIC.slot_clicks))
    for query in range(20):
        admitted = arm.admitted(query, query, START_S + query)
        assert len(admitted) == len(TRAFFIC.slot_clicks) + 1
        found = arm.candidates(query)
        everybody = run_auction(Bidders.of(found.bids, quality=found.quality), rules)
        won, micros = arm.auction(query, admitted)
        assert won == everybody.rows.tolist()
        np.testing.assert_allclose(np.array(micros) / MICROS, everybody.prices, atol=1e-6)
        assert (found.quality >= TRAFFIC.least_click_rate).all()


def test_the_report_is_the_same_byte_for_byte(online):
    told = markdown(sections(online))
    outcome, experiment = simulate(CATALOG, IDS, runs(), QRELS, TRAFFIC, progress=lambda *_: None)
    again = Online(outcome, experiment, TRAFFIC, segments(CATALOG, QRELS, IDS, outcome), TAIL)
    assert markdown(sections(again)) == told
    for word in ("keywords again", "RARE", "sample ratio p", "by frequency", "by vertical", "Shoes", "鞋", "+24.77%"):
        assert word in told


def test_the_terminal_shows_what_the_page_says(online, capsys):
    show(SafeConsole(), sections(online)[:2])
    told = capsys.readouterr().out
    for word in ("What each arm earned", "RARE against keywords", "keywords again", "A thousand visits"):
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

    def system(name):
        def answer():
            asked.append(name)
            return Answers([([f"ad{int(text[5:])}"], [1.0]) for text in TEXTS])

        return answer

    monkeypatch.setattr(
        online_module, "systems_of", lambda *_: {name: system(name) for name in (CONTROL, "RARE", "fused")}
    )
    monkeypatch.setattr(online_module.Engine, "load", lambda directory, num_threads: None)
    files = Files(tmp_path / "ads.jsonl", tmp_path / "clicks.tsv", tmp_path / "test.tsv", tmp_path / "test.tsv")
    settings = OnlineSettings(engine=str(tmp_path / "engine"), traffic=TRAFFIC)
    reports = []
    for _ in range(2):
        told = run_online(files, tmp_path / "out", settings, progress=lambda *_: None, results=tmp_path / "results.md")
        reports.append((told.read_bytes(), (tmp_path / "results.md").read_bytes()))
    assert asked == [CONTROL, "RARE", "fused"]  # not again
    assert reports[0] == reports[1]
    for report in reports[0]:
        assert b"RARE against keywords" in report
        assert b"BM25" in report


def test_an_engine_gives_the_arms_that_it_has_the_parts_for():
    """One without models has no vectors and cannot decode."""
    engine = Engine.build(
        [
            Ad("hose", "flexible garden hose", keywords=("garden hose",)),
            Ad("软管", "花园软管", keywords=("花园 软管",)),
        ],
        preset="lexical",
    )
    systems = systems_of(engine, ["garden hose", "花园软管"], lambda *_: None)
    assert set(systems) == {CONTROL, "RARE", "without intentions", "fused"}
    for name in systems:
        assert [ranking[0][:1] for ranking in systems[name]().rankings] == [["hose"], ["软管"]]
    fused = systems["fused"]().rankings
    engine.fusion = object()  # a learned one, which must not be asked
    unlearned = systems_of(engine, ["garden hose", "花园软管"], lambda *_: None)["fused, not learned"]
    assert unlearned().rankings == fused


def test_values_of_intentions_are_mean_bids_of_their_ads():
    engine = Engine.build(
        [Ad("a", "red shoes", bid=1.0), Ad("b", "red shoes", bid=3.0), Ad("c", "blue hats", bid=0.0)], preset="lexical"
    )
    values = dict(zip(engine.intentions.texts, values_of_intentions(engine), strict=True))
    assert values["red shoes"] == pytest.approx(2.0)
    assert min(values.values()) > 0


def test_tail_ads_have_few_clicks():
    ids = CATALOG.column("ad_id").combine_chunks()
    clicks = Qrels(("q",), np.array([0, 0, 0]), ids.take([0, 1, 1]), np.array([5.0, 2.0, 2.0]), kind="clicks")
    assert tail_ads(CATALOG, clicks).tolist() == [False] + [True] * (NUM_ADS - 1)
