"""The RARE experiment: once from end to end with tiny models, and its parts against slow twins and hand-made data."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("torch")

import torch
from test_cli import write_checkpoint

from intently.baselines.registry import RARE
from intently.baselines.task import Budget
from intently.building.interactions import Interactions
from intently.building.settings import BuildSettings
from intently.catalog import Catalog, Judgements, Qrels, Queries, Run, read_run
from intently.errors import InputError, SettingsError
from intently.experiments import ground, rare_report, rare_systems
from intently.experiments.data import Files
from intently.experiments.rare import RareSettings, run_rare
from intently.experiments.rare_report import Measured, sections
from intently.experiments.rare_systems import answer, bm25, cache_facts, fuse, say
from intently.experiments.report import Section
from intently.experiments.runner import SystemResult
from intently.index.intentions import IntentionIndex
from intently.index.posting_weights import PostingSettings, PostingStatistics
from intently.index.postings import Postings
from intently.intentions.decode import DecodeSettings, ScoreMode
from intently.intentions.trie import Trie
from intently.knowledge import KnowledgeSettings
from intently.models.causal_lm import CausalLM, LanguageModelSettings
from intently.models.free_beams import FreeBeamSettings, Said
from intently.models.student import Runtime
from intently.retrieve.settings import RetrievalSettings
from intently.teacher import TeacherSettings
from intently.text.analyze import Analyzer
from intently.train.format import FormatSettings, query_prompt
from intently.train.language_model import FineTuningSettings, Method
from intently.train.student import TrainingSettings
from intently.types import Ad, Intention, Ranking, ScoredAd
from intently.types import Path as Way
from intently.world import simulate_world
from tests.conftest import WORDS, wordpiece

# PEFT 0.21 asks transformers 5.23 a question under its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

TABLE_1 = (
    "BM25", "DSI", "SimBERT", "RARE, the baselines' budget", "RARE", "RARE, full scores", "lexical path", "dense path",
    "BM25 + dense", "BM25 + dense + RARE", "lexical + dense", "lexical + dense + RARE",
)  # fmt: skip
TABLE_3 = (
    "RARE", "RARE − constrained decoding", "RARE − knowledge injection",
    "RARE − knowledge injection − constrained decoding", "RARE's student",
)  # fmt: skip
TITLES = {
    "table 1": "All systems (RARE, table 1)",
    "fusion": "What RARE adds to lexical and dense retrieval",
    "table 3": "Knowledge injection and constrained decoding (RARE, table 3)",
    "disjoint": "Queries that share no stem with any relevant title",
    "cases": "Cases side by side (RARE, table 5)",
    "vocabulary": "The vocabulary and the index",
    "cache": "The head-query cache",
    "training": "How the language models learned",
}
NUM_JUDGED, NUM_LM = 12, 8


def silent(stage: str, done: int, total: int, note: str) -> None:
    """Show nothing."""


class Stages(list[str]):
    """A progress that remembers which stages were told."""

    def __bool__(self) -> bool:
        return True  # even before the first: `progress or …` must not take it for none

    def __call__(self, stage: str, done: int, total: int, note: str) -> None:
        if stage not in self:
            self.append(stage)


# From end to end


@dataclass(frozen=True)
class Done:
    """A finished experiment, to be looked at and not changed."""

    files: Files
    out: Path
    settings: RareSettings
    results: Path
    stages: Stages

    @property
    def html(self) -> str:
        return (self.out / "rare.html").read_text(encoding="utf-8")

    def again(self, progress=silent, **changed) -> Path:
        given = {"files": self.files, "settings": self.settings} | changed
        return run_rare(given["files"], self.out, given["settings"], progress=progress, results=self.results)

    def step(self, name: str, part: str = "all") -> dict:
        steps = [json.loads(path.read_text(encoding="utf-8")) for path in (self.out / part / "steps").glob("*.json")]
        (found,) = [step for step in steps if step["name"] == name]
        return found


@pytest.fixture(scope="module")
def done(tmp_path_factory, make_lm: Callable) -> Done:
    pytest.importorskip("peft")
    pytest.importorskip("bm25s")
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("rare")
    unused = (f"[unused{number}]" for number in range(120))  # which DSI takes for its codes
    write_checkpoint(folder / "checkpoint", wordpiece((*WORDS, *unused)))
    make_lm(std=0.05).save(folder / "lm")
    simulate_world(folder / "world", 100, 0, num_judged_queries=NUM_JUDGED)
    world = folder / "world"
    files = Files(world / "ads.jsonl.gz", world / "clicks.tsv.gz", world / "queries.tsv", world / "qrels.trec")
    stage = FineTuningSettings(Method.FULL, batch_size=4, max_steps=3, held_out_share=0.2, eval_steps=1)
    settings = RareSettings(
        build=BuildSettings(
            checkpoint=str(folder / "checkpoint"),
            runtime=Runtime.TORCH,
            teacher=TeacherSettings(
                model=LanguageModelSettings(str(folder / "lm"), "fp32"),
                knowledge=stage,
                format=stage,
                examples=FormatSettings(num_examples=20, max_share=1.0, answers_per_example=2),
                beams=FreeBeamSettings(num_beams=4, max_new_tokens=3),
                max_ads=6,
                max_queries=6,
                max_cached_queries=5,
                cache_beams=4,
            ),
            training=TrainingSettings(min_steps=3, max_steps=3, batch_size=8),
            postings=PostingSettings(num_beams=4),
            retrieval=RetrievalSettings(decode=DecodeSettings(num_beams=4), runtime=Runtime.TORCH),
        ),
        knowledge=KnowledgeSettings(instances_per_task=10),
        budget=Budget(num_steps=3, batch_size=8, num_beams=4, checkpoint=str(folder / "checkpoint")),
        baselines="dsi, simbert",
        num_lm_queries=NUM_LM,
        lm_beams=4,
        min_relevance=2.0,
    )
    results = folder / "RESULTS.md"
    results.write_text("# Results\n\n<!-- rare -->\nold\n<!-- /rare -->\n\nThe end.\n", encoding="utf-8")
    told = Stages()
    assert run_rare(files, folder / "out", settings, progress=told, results=results) == folder / "out" / "rare.html"
    return Done(files, folder / "out", settings, results, told)


def tables(text: str) -> dict[str, list[list[str]]]:
    """Return the first Markdown table under each heading, its header left out."""
    found = {}
    for chapter in text.split("\n### ")[1:]:
        lines = [line.strip("| ").split(" | ") for line in chapter.splitlines() if line.startswith("|")]
        found[chapter.splitlines()[0]] = [
            [cell.replace("*", "").replace("\\", "") for cell in row] for row in lines[2:]
        ]
    return found


def test_the_report_has_all_chapters_and_systems(done):
    told = tables(done.results.read_text(encoding="utf-8"))
    assert list(told) == list(TITLES.values())
    rows = [row for row in told[TITLES["table 1"]] if any(row[1:])]
    assert [row[0] for row in rows] == list(TABLE_1)
    assert all(re.fullmatch(r"\d\.\d{4}", cell) for row in rows for cell in row[1:5])
    assert [row[0] for row in told[TITLES["table 3"]]] == list(TABLE_3)
    assert [row[0] for row in told[TITLES["fusion"]]] == ["BM25 + dense + RARE"] * 3 + ["lexical + dense + RARE"] * 3
    assert [row[0] for row in told[TITLES["disjoint"]]] == list(TABLE_1)
    assert ["num ads", "100"] in told[TITLES["vocabulary"]]
    assert ["cached queries", "5"] in told[TITLES["vocabulary"]]
    assert len([row for row in told[TITLES["cache"]] if row[0].endswith("of queries")]) == 14


def test_the_report_is_whole(done):
    for text in (done.html, done.results.read_text(encoding="utf-8")):
        assert not re.search(r"\b(nan|inf|None)\b", text)
        assert "5 queries are cached" in text
        assert "3 steps of 8 pairs" in text
        assert "intently experiment rare" in text
    for title in TITLES.values():
        assert f"<h2>{title}</h2>" in done.html
    assert done.html.count("<article>") == 6
    assert f"<dt>test queries</dt><dd>{NUM_JUDGED}</dd>" in done.html
    figures = {path.stem for path in (done.results.parent / "figures").iterdir()}
    assert figures == {"rare-systems", "rare-cache", "rare-training"}


def test_every_system_answers_its_queries(done):
    for part, names, num_queries in (("all", TABLE_1, NUM_JUDGED), ("language-models", TABLE_3, NUM_LM)):
        runs = [json.loads(path.read_text(encoding="utf-8")) for path in (done.out / part / "steps").glob("*.json")]
        assert {step["name"] for step in runs if step["kind"] == "run"} == set(names)
        for name in names:
            counts = done.step(name, part)["num_identifiers"]
            assert counts is None or len(counts) == num_queries
    for name in ("RARE", "RARE's student"):
        assert len(done.step(name, "language-models")["facts"]["intentions"]) == NUM_LM
    assert done.step("RARE", "language-models")["num_identifiers"] == [4] * NUM_LM
    dense = read_run(next((done.out / "all" / "steps").glob("dense-path-*.trec.gz")))
    assert len(dense.query_ids) == NUM_JUDGED


def test_customising_is_not_among_the_costs_of_an_answer(done):
    for name, stages in (("teacher", {"knowledge", "format"}), ("teacher without knowledge", {"format"})):
        facts = done.step(name)["facts"]
        assert stages == set(facts) - {"made_of", "settings", "costs"}
        assert [step for step, *_ in facts["format"]["losses"]] == [1, 2, 3]


def content_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file with when it was written and what it holds."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.name != "rare.html"
    }


def test_a_rerun_does_no_step_twice(done):
    before, html, results = content_of(done.out), done.html, done.results.stat().st_mtime_ns
    assert {"Injecting knowledge", "Training the student", "Constrained decoding", "Free decoding"} <= set(done.stages)
    told = Stages()
    done.again(told)
    assert told == []
    assert content_of(done.out) == before
    assert done.html == html
    assert done.results.stat().st_mtime_ns == results


def test_only_what_is_missing_is_done_again(done):
    before = content_of(done.out)
    (fused,) = (name for name in before if re.fullmatch(r"all/steps/bm25-dense-rare-\w+\.json", name))
    (done.out / fused).unlink()
    done.again()
    after = content_of(done.out)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {fused, fused.replace(".json", ".trec.gz")}


def test_the_results_block_is_replaced_and_nothing_else(done):
    text = done.results.read_text(encoding="utf-8")
    assert text.startswith("# Results\n\n<!-- rare -->\n\n### All systems")
    assert text.endswith("\n\n<!-- /rare -->\n\nThe end.\n")
    assert "\nold\n" not in text
    done.results.write_text(re.sub("(?s)<!-- rare -->.*<!-- /rare -->", "<!-- rare --><!-- /rare -->", text), "utf-8")
    done.again()
    assert done.results.read_text(encoding="utf-8") == text


def test_other_settings_and_other_data_are_refused(done, tmp_path):
    before = content_of(done.out)
    with pytest.raises(InputError, match=r"out/all: was made with other lm_beams \(4, now 5\)"):
        done.again(settings=replace(done.settings, lm_beams=5))
    text = done.files.qrels.read_text(encoding="utf-8")
    (tmp_path / "qrels.trec").write_text(text + text.splitlines()[0].replace("q", "x", 1) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="was made with other qrels"):
        done.again(files=replace(done.files, qrels=tmp_path / "qrels.trec"))
    with pytest.raises(InputError, match="was made with other taxonomy"):
        done.again(files=replace(done.files, taxonomy=tmp_path / "qrels.trec"))
    assert content_of(done.out) == before


def test_without_a_teacher_there_is_no_experiment(tmp_path):
    files = Files(*(tmp_path / name for name in ("ads", "clicks", "queries", "qrels")))
    with pytest.raises(SettingsError, match=r"'build\.teacher\.model\.name' is empty; name the language model"):
        run_rare(files, tmp_path / "out", RareSettings(BuildSettings()), progress=silent)
    assert not (tmp_path / "out").exists()


# Settings


def test_baselines_are_named_with_commas():
    assert RareSettings().baseline_names == list(RARE)
    assert RareSettings(baselines=" dsi,simbert , ").baseline_names == ["dsi", "simbert"]
    assert RareSettings(baselines="").baseline_names == []


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"baselines": "dsi,bm26,x"}, "'baselines' names 'bm26'; known are simbert, keyword-generation"),
        ({"baselines": "DSI"}, "'baselines' names 'DSI'"),
        ({"num_lm_queries": 0}, "'num_lm_queries' is 0"),
        ({"lm_beams": 1.5}, "'lm_beams' is 1.5; it takes a whole number"),
        ({"budget": Budget(checkpoint="other")}, "'budget.checkpoint' is 'other', 'build.checkpoint' 'all-MiniLM"),
    ],
)
def test_wrong_settings(wrong, problem):
    with pytest.raises(SettingsError, match=problem):
        RareSettings(**wrong)


# The report, on hand-made results

CATALOG = Catalog.from_ads(
    [
        Ad("a0", "Trail running shoe"),
        Ad("a1", "Cordless drill 18V"),
        Ad("a2", "男士跑步鞋 透气"),
        Ad("a3", "扫地机器人 自动集尘"),
        Ad("a4", "Garden hose"),
        Ad("a5", "Shoe rack"),
        Ad("a6", "Kettle"),
    ]
)
# Query id → text, and its judgements; those that share no stem with a relevant title are marked.
ASKED = {
    "runs": ("he runs fast", {"a0": 2, "a1": 0}),
    "sneakers": ("sneakers", {"a0": 2, "a5": 0}),  # *
    "跑": ("跑步鞋", {"a2": 2, "a3": 0}),
    "吸": ("吸尘器 电动", {"a3": 2, "a4": 0}),  # * 自动 is not 电动
    "mixed": ("robot vacuum", {"a3": 2}),  # * other language
    "one": ("hose for the garden", {"a4": 2, "a6": 2}),  # one of two shares
    "zero": ("kettle", {"a6": 1}),  # nothing relevant
    "less": ("boiler", {"a6": 2, "a5": 1}),  # *
    "few": ("racks", {"a6": 2, "a5": 1}),  # * what it shares with is not relevant
}
ALONE = {"sneakers", "吸", "mixed", "less", "few"}
QUERIES = Queries(tuple(ASKED), tuple(text for text, _ in ASKED.values()))


def qrels_of(judged: dict[str, dict[str, float]]) -> Qrels:
    pairs = [(row, ad, value) for row, ads in enumerate(judged.values()) for ad, value in ads.items()]
    rows, ads, values = zip(*pairs, strict=True)
    return Qrels(tuple(judged), np.array(rows), pa.array(ads, pa.string()), np.array(values, dtype=np.float64))


QRELS = qrels_of({query_id: judged for query_id, (_, judged) in ASKED.items()})
CLICKS = Judgements(
    ("1", "2"), np.array([0, 1]), pa.array(["a0", "a3"]), np.array([3.0, 1.0]), "clicks", queries=("shoe", "robot")
)


def result(name: str, rankings: dict[str, list[str]], mean: float | None = None, **facts) -> SystemResult:
    answers = [(query_id, ads, list(range(len(ads), 0, -1))) for query_id, ads in rankings.items()]
    return SystemResult(name, Run.build(answers), mean, {"costs": {"seconds": 90.0}, **facts})


def shuffled(seed: int, query_ids=tuple(ASKED)) -> dict[str, list[str]]:
    """Return rankings by chance, of different lengths, one of them empty."""
    random = np.random.default_rng(seed)
    ads = CATALOG.strings("ad_id")
    return {
        query_id: [ads[at] for at in random.permutation(len(ads))[: (row + seed) % len(ads)]]
        for row, query_id in enumerate(query_ids)
    }


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


def rows_of(chapter: Section) -> dict[str, list]:
    """Return the values of a table's rows by what they are called."""
    rows = [[cell.value for cell in row] for row in chapter.table.cells() if not isinstance(row, str)]
    return {row[0]: row[1:] for row in rows}


def slow(run: Run, metric: str, query_ids=tuple(ASKED), least: float = 2.0) -> np.ndarray:
    """Measure a run query by query from the metrics' definitions; NaN without a relevant ad."""
    values = []
    for query_id in query_ids:
        good = {ad for ad, value in ASKED[query_id][1].items() if value >= least}
        at = run.query_rows == run.query_ids.index(query_id)
        ads = [ad for ad, wanted in zip(run.ad_ids.to_pylist(), at.tolist(), strict=True) if wanted]
        hits = [rank for rank, ad in enumerate(ads, start=1) if ad in good]
        values.append(
            np.nan if not good
            else len([rank for rank in hits if rank <= 10]) / len(good) if metric == "Recall@10"
            else len(hits) / len(good) if metric == "HR@500"
            else sum(found / rank for found, rank in enumerate(hits, start=1)) / len(good)
        )  # fmt: skip
    return np.array(values)


METRICS = ("Recall@10", "HR@500", "MAP")


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
    table, groups = chapters["table 1"].table, {}
    for row in table.cells():
        if isinstance(row, str):
            groups[row] = []
        else:
            groups[list(groups)[-1]].append(row[0].value)
    assert groups == {"baselines": list(TABLE_1[:3]), "this project": list(TABLE_1[3:8]), "fused": list(TABLE_1[8:])}
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


def test_judgements_of_some_queries():
    some = ground.some_of(QRELS, {"跑", "one", "unknown"})
    assert some.query_ids == ("跑", "one")
    pairs = zip(some.query_rows.tolist(), some.ad_ids.to_pylist(), some.values.tolist(), strict=True)
    assert list(pairs) == [(0, "a2", 2.0), (0, "a3", 0.0), (1, "a4", 2.0), (1, "a6", 2.0)]
    assert some.kind == QRELS.kind
    whole = ground.some_of(QRELS, set(ASKED))
    assert whole.query_ids == QRELS.query_ids
    assert whole.query_rows.tolist() == QRELS.query_rows.tolist()
    none = ground.some_of(QRELS, set())
    assert (none.query_ids, len(none), none.ad_ids.to_pylist()) == ((), 0, [])


def test_the_header_names_where_it_ran(measured):
    header = measured.header()
    assert (header["ads"], header["test queries"]) == (7, len(ASKED))
    assert re.fullmatch(r"[0-9a-f]{7,}|version \S+", header["commit"])


# The systems


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 0.5, 2.0), (1.0,)])
def test_fusing_is_reciprocal_ranks(seed, weights):
    runs = [shuffled(10 * seed + number, list(ASKED)[number:]) for number in range(len(weights))]
    weighted = [(result("x", rankings).run, weight) for rankings, weight in zip(runs, weights, strict=True)]
    fused = fuse(weighted, (*ASKED, "unanswered"), 7.0)
    assert fused.num_identifiers is None
    for query_id, (ads, scores) in zip((*ASKED, "unanswered"), fused.rankings, strict=True):
        expected: dict[str, float] = {}  # in order of first appearance, which decides ties
        for rankings, weight in zip(runs, weights, strict=True):
            for rank, ad in enumerate(rankings.get(query_id, []), start=1):
                expected[ad] = expected.get(ad, 0.0) + weight / (7.0 + rank)
        assert ads == sorted(expected, key=lambda ad: -round(expected[ad], 12))
        assert scores == pytest.approx([expected[ad] for ad in ads])


class FakeEngine:
    """An engine that answers every query alike, and remembers as what it was asked."""

    def __init__(self, fails_at: int = -1) -> None:
        self.settings, self.cache, self.fails_at = RetrievalSettings(literal_weight=0.75), object(), fails_at
        self.asked: list[tuple] = []

    def retrieve_many(self, queries, k, *, path):
        for number, query in enumerate(queries):
            self.asked.append((query, k, path, self.settings.decode.mode, self.cache))
            if number == self.fails_at:
                raise InputError("no answer")
            intentions = tuple(Intention(f"i{i}", -1.0 - i) for i in range(12 if path is Way.INTENTION else 0))
            yield Ranking(query, (ScoredAd("a1", 1, 2.0, ()), ScoredAd("a2", 2, 1.0, ())), intentions, {})


@pytest.mark.parametrize("mode", ScoreMode)
def test_answering_is_without_the_cache(mode):
    engine, told = FakeEngine(), []
    settings, cache = engine.settings, engine.cache
    answers = answer(engine, ["a", "b"], Way.INTENTION, mode=mode, progress=lambda *what: told.append(what))
    assert engine.asked == [(query, 500, Way.INTENTION, mode, None) for query in "ab"]
    assert (engine.settings, engine.cache) == (settings, cache)
    assert answers.rankings == [(["a1", "a2"], [2.0, 1.0])] * 2
    assert answers.num_identifiers == [12, 12]
    assert answers.facts == {"intentions": [[f"i{i}" for i in range(10)]] * 2}
    assert told == [("Answering", 1, 2, "intention"), ("Answering", 2, 2, "intention")]


@pytest.mark.parametrize("path", [Way.LEXICAL, Way.DENSE])
def test_paths_without_intentions_have_no_identifiers(path):
    answers = answer(FakeEngine(), ["a"], path, progress=silent)
    assert answers.num_identifiers is None
    assert answers.facts == {}


def test_an_engine_that_fails_is_left_as_it_was():
    engine = FakeEngine(fails_at=1)
    settings, cache = engine.settings, engine.cache
    with pytest.raises(InputError, match="no answer"):
        answer(engine, ["a", "b"], Way.INTENTION, mode=ScoreMode.FULL, progress=silent)
    assert engine.settings is settings
    assert engine.cache is cache


TEXTS = ("red pan", "pan", "红色水壶", "led lamp")
POSTINGS = {0: {0: 3.0}, 1: {0: 1.0, 1: 2.0}, 2: {2: 1.5}, 3: {3: 0.5, 1: 0.25}}  # intention → ad → weight


@pytest.fixture(scope="module")
def small() -> SimpleNamespace:
    """What `say` needs of an engine: four intentions that lead to four ads."""
    ids, rows, weights = zip(
        *((key, row, weight) for key, ads in POSTINGS.items() for row, weight in ads.items()), strict=True
    )
    postings = Postings.build(np.array(ids), np.array(rows), np.array(weights), len(TEXTS), 4)
    statistics = PostingStatistics(np.arange(4), 4, 1.0, np.ones((4, 2), dtype=np.float16))
    trie = Trie.build([(number,) for number in range(len(TEXTS))])
    return SimpleNamespace(
        intentions=IntentionIndex(TEXTS, trie, postings, Analyzer(), statistics),
        catalog=Catalog.from_ads([Ad(f"a{row}", "ad") for row in range(4)]),
        settings=RetrievalSettings(intention_power=0.5),
    )


def ranking_of(small: SimpleNamespace, log_probs: dict[int, float]) -> dict[str, float]:
    """Return the score of every ad: Σ (p / the best p)^power · posting weight."""
    scores: dict[str, float] = {}
    for intention_id, log_prob in log_probs.items():
        share = np.exp(0.5 * (log_prob - max(log_probs.values())))
        for row, weight in (
            (int(row), float(weight)) for row, weight in zip(*small.intentions.postings.of(intention_id), strict=True)
        ):
            scores[f"a{row}"] = scores.get(f"a{row}", 0.0) + share * weight
    return scores


def assert_ranking(ranking, expected: dict[str, float]) -> None:
    ads, scores = ranking
    assert ads == sorted(expected, key=lambda ad: -expected[ad])
    assert scores == pytest.approx([expected[ad] for ad in ads], rel=1e-4)


@torch.inference_mode()
def log_probs_of(lm: CausalLM, query: str, temperature: float) -> dict[int, float]:
    """The slow twin: how likely each intention is, token by token."""
    prompt, found = lm.instruct(query_prompt(query)), {}
    for intention_id, answered in enumerate(lm.tokens(TEXTS)):
        logits = lm.model(torch.tensor([[*prompt, *answered]])).logits[0, len(prompt) - 1 :].double() / temperature
        every = torch.log_softmax(logits, dim=-1)
        found[intention_id] = sum(float(every[at, token]) for at, token in enumerate([*answered, lm.end_id]))
    return found


def test_constrained_answers_are_those_of_the_language_model(make_lm, small):
    lm, settings = make_lm(), TeacherSettings(batch_size=2)
    queries = ["pan", "水壶", "lamp"]
    told = Stages()
    answers = say(lm, queries, small, settings, 4, True, told)
    assert told == ["Constrained decoding"]
    assert answers.num_identifiers == [4, 4, 4]
    for query, ranking, texts in zip(queries, answers.rankings, answers.facts["intentions"], strict=True):
        log_probs = log_probs_of(lm, query, settings.beams.temperature)
        assert texts == [TEXTS[i] for i in sorted(log_probs, key=lambda i: -log_probs[i])]
        assert_ranking(ranking, ranking_of(small, log_probs))
    narrow = say(lm, queries, small, settings, 1, True, silent)
    assert narrow.num_identifiers == [1, 1, 1]


def test_free_answers_count_if_the_vocabulary_has_them(make_lm, small, monkeypatch):
    said = [
        [Said("Red PANS", -1.0), Said("robot", -1.2), Said("led lamps", -2.0), Said("red pan", -3.0)],
        [Said("robot", -0.1), Said("of the", -0.2)],
        [Said("lamp led", -400.0), Said("红色的水壶", -402.0), Said("pan", -403.0)],  # as good as impossible
    ]
    asked = {}

    def speak(lm, instructions, settings, store, stage, progress):
        asked.update(instructions=instructions, beams=settings.beams, store=store, stage=stage)
        return said

    monkeypatch.setattr(rare_systems, "speak", speak)
    answers = say(make_lm(), ["pan", "x", "灯"], small, TeacherSettings(), 33, False, silent)
    assert asked["instructions"] == [query_prompt(query) for query in ("pan", "x", "灯")]
    assert (asked["beams"].num_beams, asked["store"], asked["stage"]) == (33, None, "Free decoding")
    assert answers.num_identifiers == [2, 0, 2]
    assert answers.facts == {"intentions": [["red pan", "led lamp"], [], ["红色水壶", "pan"]]}
    assert_ranking(answers.rankings[0], ranking_of(small, {0: float(np.logaddexp(-1.0, -3.0)), 3: -2.0}))
    assert answers.rankings[1] == ([], [])
    assert_ranking(answers.rankings[2], ranking_of(small, {2: -402.0, 1: -403.0}))


def test_free_answers_of_a_language_model(make_lm, small):
    told = Stages()
    settings = TeacherSettings(beams=FreeBeamSettings(num_beams=2, max_new_tokens=2))
    answers = say(make_lm(), ["pan", "灯"], small, settings, 3, False, told)
    assert told == ["Free decoding"]
    assert len(answers.rankings) == 2
    assert answers.num_identifiers == [len(texts) for texts in answers.facts["intentions"]]


def test_bm25_answers_with_stemmed_words():
    pytest.importorskip("bm25s")
    queries = ["runs shoes", "hoses", "unknown", "the", "？！", "扫地机器人"]
    answers = bm25(CATALOG, queries)
    found = [ads for ads, _ in answers.rankings]
    assert found[:5] == [["a0", "a5"], ["a4"], [], [], []]
    assert found[5] == ["a3"]  # a Chinese text between two spaces is one word to it
    assert all(scores == sorted(scores, reverse=True) and min(scores, default=1) > 0 for _, scores in answers.rankings)
    assert answers.num_identifiers is None


def test_cache_figures_are_counted_from_the_clicks():
    pairs = np.array([[0, 0], [0, 1], [1, 0], [2, 0]])
    interactions = Interactions(
        ("a", "b", "c", "not clicked"), pairs, pairs[:0], 0, np.array([5, 1, 3, 1]), np.empty((0, 3), int)
    )
    facts = cache_facts(interactions, SimpleNamespace(cache=[1, 2]), silent)
    assert facts["cached_queries"] == 2
    sizes = [row["size"] for row in facts["log"]]
    assert sizes == [1, 1, 1, 1, 1, 1, 2]  # of three queries; none is less than one
    assert facts["log"][0]["hit_rate"] <= 6 / 10 <= facts["log"][-1]["hit_rate"] + 0.2
    rates = [row["hit_rate"] for row in facts["zipf"]]
    assert rates == sorted(rates)
    assert 0 < rates[0] < rates[-1] < 1
    assert cache_facts(interactions, SimpleNamespace(cache=None), silent)["cached_queries"] == 0
