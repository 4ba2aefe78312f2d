"""The BRIDGE experiment's report, on hand-made results."""

import subprocess
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("torch")

from hand_made import ASKED, CATALOG, METRICS, QRELS, QUERIES, result, rows_of, shuffled, slow, systems_of
from test_bridge_experiment import ENGINE, LEARNED, RANKS, TITLES

from intently.catalog import Judgements, Run
from intently.evaluation.significance import randomization_test
from intently.lab.experiments.bridge_report import Measured, sections
from intently.lab.experiments.report import Section

SYSTEMS = (
    "BM25", "DPR-style", "plain fine-tuning", "plain fine-tuning, twice as long", "BRIDGE", "BRIDGE − interleaving",
    "BRIDGE − keywords", "BRIDGE, sequential", *ENGINE, RANKS, LEARNED,
)  # fmt: skip
# a0 is head, a3 torso, all others are tail, also those that nobody clicked.
CLICKED = [("shoe", "a0", 30), ("sneaker", "a0", 20), ("robot", "a3", 5), ("鞋", "a2", 4), ("rack", "a5", 1)]
CLICKS = Judgements(
    tuple(str(row) for row in range(len(CLICKED))),
    np.arange(len(CLICKED)),
    pa.array([ad for _, ad, _ in CLICKED]),
    np.array([float(number) for _, _, number in CLICKED]),
    "clicks",
    queries=tuple(query for query, _, _ in CLICKED),
)
GROUPS = {"a0": "head", "a3": "torso"}
FORGOTTEN = {
    "BRIDGE": {"clicks": 0.01, "keywords": 0.02},
    "BRIDGE, sequential": {"clicks": 0.25, "keywords": 0.0},
    "BRIDGE − interleaving": {"clicks": 0.03},
}
WRITTEN = {
    "num_ads": 7, "num_allotted_ads": 5, "num_written": 20, "num_queries": 12, "num_duplicates": 3,
    "num_ads_with_queries": 4, "num_keywords": 30, "num_ads_with_keywords": 6, "refused": {"odd": 4, "round_trip": 1},
    "query_model": {"model": "tiny", "tokens_in": 100, "seconds": 2.0}, "query_tuning": None,
    "keyword_model": {"model": "statistical", "tokens_in": 0}, "keyword_tuning": None,
}  # fmt: skip


def rankings(seed: int) -> dict[str, list[str]]:
    """Return rankings by chance; of odd seeds the ads come after so many unknown ones that ten are not enough."""
    before = [f"x{number}" for number in range(7 * (seed % 2))]
    return {query_id: [*before, *ads] for query_id, ads in shuffled(seed).items()}


def history(*ranks: float) -> list[dict]:
    return [{"step": 10 * at, "reciprocal_ranks": {"clicks": rank}} for at, rank in enumerate(ranks)]


@pytest.fixture(scope="module")
def measured() -> Measured:
    pytest.importorskip("matplotlib")
    looks = {"history": history(0.1, 0.4, 0.3)}
    facts = {name: {"forgetting": forgotten, **looks} for name, forgotten in FORGOTTEN.items()}
    return Measured(
        qrels=QRELS,
        clicks=CLICKS,
        catalog=CATALOG,
        queries=QUERIES,
        min_relevance=2.0,
        systems={name: result(name, rankings(seed), **facts.get(name, {})) for seed, name in enumerate(SYSTEMS)},
        build={"costs": {"seconds": 600.0}},
        augmentation=WRITTEN,
        budget="3 steps of 8 pairs",
        training="4 of 16",
        command="intently experiment bridge",
    )


@pytest.fixture(scope="module")
def chapters(measured) -> dict[str, Section]:
    """The report of `measured` by the names of its chapters."""
    told = sections(measured)
    assert [each.title for each in told] == list(TITLES.values())
    return dict(zip(TITLES, told, strict=True))


def test_table_1_measures_every_system(measured, chapters):
    table = chapters["table 1"].table
    assert systems_of(table) == {"baselines": list(SYSTEMS[:4]), "this project": ["BRIDGE", *ENGINE, RANKS, LEARNED]}
    assert table.columns == [
        "system", "R@10", "MRR", "NDCG@10", "HR@500", "MAP", "CWP@10", "tail coverage@10", "minutes"
    ]  # fmt: skip
    for name, row in rows_of(chapters["table 1"]).items():
        values = dict(zip(table.columns[1:], row, strict=True))
        for column, metric in (("R@10", "Recall@10"), ("HR@500", "HR@500"), ("MAP", "MAP")):
            assert values[column] == pytest.approx(np.nanmean(slow(measured.systems[name].run, metric)))
        assert values["minutes"] == pytest.approx(1.5 + 10.0 * name.startswith("engine"))
        assert values["tail coverage@10"] == pytest.approx(slow_tail_coverage(measured.systems[name].run))
    assert "3 steps of 8 pairs" in chapters["table 1"].paragraphs[0]
    assert "4 of 16" in chapters["table 1"].paragraphs[0]


def first_ten(run: Run, query_id: str) -> list[str]:
    pairs = zip(run.ad_ids.to_pylist(), run.query_rows.tolist(), strict=True)
    return [ad for ad, row in pairs if run.query_ids[row] == query_id][:10]


def relevant_pairs() -> list[tuple[str, str]]:
    return [(query_id, ad) for query_id, (_, judged) in ASKED.items() for ad, value in judged.items() if value >= 2]


def slow_tail_coverage(run: Run) -> float:
    tail = {ad for _, ad in relevant_pairs() if ad not in GROUPS}
    return len({ad for query_id in ASKED for ad in first_ten(run, query_id)} & tail) / len(tail)


def test_recall_by_click_group(measured, chapters):
    chapter, shown = chapters["groups"], rows_of(chapters["groups"])
    assert chapter.table.columns == ["system", "head", "torso", "tail"]
    order = ["BRIDGE", "BRIDGE, sequential", "BRIDGE − interleaving"]
    assert list(shown) == [*SYSTEMS[:4], *order, *ENGINE, RANKS, LEARNED]
    for name, row in shown.items():
        run = measured.systems[name].run
        expected = []
        for group in ("head", "torso", "tail"):
            pairs = [(query_id, ad) for query_id, ad in relevant_pairs() if GROUPS.get(ad, "tail") == group]
            expected.append(sum(ad in first_ten(run, query_id) for query_id, ad in pairs) / len(pairs))
        assert row == pytest.approx(expected), name
    assert "1 head, 1 torso, 5 tail ads" in chapter.paragraphs[0]
    assert len({tuple(row) for row in shown.values()}) > 3


def test_a_group_without_relevant_ads_has_no_recall(measured):
    clicks = replace(CLICKS, values=np.ones(len(CLICKED)))
    shown = rows_of(sections(replace(measured, clicks=clicks))[3])
    assert all(row[:2] == [None, None] and row[2] is not None for row in shown.values())


def test_what_is_better_without_is_said(measured, chapters):
    chapter = chapters["parts"]
    assert list(rows_of(chapter)) == ["BRIDGE", "BRIDGE − keywords", "BRIDGE − interleaving"]
    precision = {name: np.nanmean(slow(measured.systems[name].run, "MAP")) for name in rows_of(chapter)}
    for name, row in rows_of(chapter).items():
        assert row[4] == pytest.approx(precision[name])
        assert row[-1] == pytest.approx(1.5)
    told = {1: [], -1: []}
    for name in list(precision)[1:]:
        differences = slow(measured.systems[name].run, "MAP") - slow(measured.systems["BRIDGE"].run, "MAP")
        differences = differences[~np.isnan(differences)]
        if randomization_test(differences[:, None])[0] < 0.05:
            told[np.sign(differences.mean())].append(name.removeprefix("BRIDGE − "))
    better, worse = (", ".join(told[sign]) or "nothing" for sign in (1, -1))
    assert f"(p < 0.05): {better}. Significantly worse without: {worse}." in chapter.paragraphs[1]


def test_nothing_is_better_without_if_bridge_is_best(measured):
    best = {query_id: [ad for ad, value in judged.items() if value >= 2] for query_id, (_, judged) in ASKED.items()}
    systems = dict(measured.systems) | {"BRIDGE": result("BRIDGE", best)}
    assert (
        "better without, by MAP (p < 0.05): nothing." in sections(replace(measured, systems=systems))[1].paragraphs[1]
    )
    systems = dict(measured.systems) | {"BRIDGE": result("BRIDGE", {query_id: ["x"] for query_id in ASKED})}
    told = sections(replace(measured, systems=systems))[1].paragraphs[1]
    assert "(p < 0.05): keywords. Significantly worse without: nothing." in told


def test_schedules_tell_what_was_forgotten(chapters):
    chapter = chapters["schedules"]
    assert chapter.table.columns == ["system", "R@10", "HR@500", "MAP", "forgot clicks", "forgot keywords"]
    shown = {name: row[3:] for name, row in rows_of(chapter).items()}
    assert shown == {
        name: [FORGOTTEN[name]["clicks"], FORGOTTEN[name].get("keywords")]
        for name in ("BRIDGE", "BRIDGE, sequential", "BRIDGE − interleaving")
    }
    (figure,) = chapter.figures
    assert figure.alt.startswith("Line chart of MRR of held-out clicks against step.")
    for schedule in ("interleaved", "sequential", "concatenated"):
        assert f"{schedule}: from 0.1 at 0 to 0.3 at 20" in figure.alt


def test_without_looks_there_is_no_curve(measured):
    systems = {name: replace(found, facts={"costs": {"seconds": 1.0}}) for name, found in measured.systems.items()}
    chapter = sections(replace(measured, systems=systems))[2]
    assert chapter.figures == ()
    assert chapter.table.columns == ["system", "R@10", "HR@500", "MAP"]


def test_what_encoder_and_fusion_add_is_the_mean_of_differences(measured, chapters):
    pairs = [(name, "BRIDGE") for name in SYSTEMS[2:4]]
    pairs += [("BM25", RANKS), ("engine, lexical", RANKS), (RANKS, LEARNED)]
    rows = [[cell.value for cell in row] for row in chapters["engine"].table.cells()]
    assert [(row[1], row[0], row[2]) for row in rows] == [(*pair, metric) for pair in pairs for metric in METRICS]
    for after_name, before_name, metric, *means, interval, p_value in rows:
        before, after = (slow(measured.systems[name].run, metric) for name in (before_name, after_name))
        assert means == pytest.approx([np.nanmean(before), np.nanmean(after), np.nanmean(after - before)])
        low, high = (float(end) for end in interval.split(" … "))
        assert low - 1e-4 <= means[2] <= high + 1e-4
        assert 0 < p_value <= 1


def test_an_engine_without_a_learned_fusion_has_no_such_row(measured):
    systems = {name: found for name, found in measured.systems.items() if name != LEARNED}
    told = sections(replace(measured, systems=systems))
    assert LEARNED not in rows_of(told[0])
    assert LEARNED not in [row[0].value for row in told[4].table.cells()]
    assert len(list(told[4].table.cells())) == 12


def test_costs_of_augmentation_are_told(chapters):
    rows = rows_of(chapters["augmentation"])
    assert rows["ads sent to the generative model"] == [5]
    assert rows["queries kept"] == [12]
    assert rows["refused: round trip"] == [1]
    assert rows["query model: tokens in"] == [100]
    assert rows["keyword model: tokens in"] == [0]
    assert not [name for name in rows if "tuning" in name or name.endswith("model: model")]


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git")])
def test_without_a_checkout_the_header_names_the_version(monkeypatch, error, measured):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert measured.header()["commit"] == f"version {version('intently')}"
