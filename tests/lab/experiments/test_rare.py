"""The RARE experiment: once from end to end with tiny models, and its settings."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from hand_made import Stages, content_of, silent, tables
from test_cli import write_checkpoint

from intently.build.knowledge import KnowledgeSettings
from intently.build.settings import BuildSettings
from intently.build.teacher import TeacherSettings
from intently.build.training.format import FormatSettings
from intently.build.training.language_model import FineTuningSettings, Method
from intently.build.training.student import TrainingSettings
from intently.catalog import read_run
from intently.engine.settings import RetrievalSettings
from intently.errors import InputError, SettingsError
from intently.index.posting_weights import PostingSettings
from intently.intentions.decode import DecodeSettings
from intently.lab.baselines.registry import RARE
from intently.lab.baselines.task import Budget
from intently.lab.experiments.data import Files
from intently.lab.experiments.rare import RareSettings, run_rare
from intently.lab.world import simulate_world
from intently.models.causal_lm import LanguageModelSettings
from intently.models.free_beams import FreeBeamSettings
from intently.models.pretrained import ENGLISH
from intently.models.student import Runtime
from tests.conftest import WORDS, wordpiece

# PEFT 0.21 asks transformers 5.23 a question under its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

TABLE_1 = (
    "BM25", "DSI", "SimBERT", "RARE, the baselines' budget", "RARE", "RARE, full scores", "lexical channel",
    "dense channel", "BM25 + dense", "BM25 + dense + RARE", "lexical + dense", "lexical + dense + RARE",
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
    dense = read_run(next((done.out / "all" / "steps").glob("dense-channel-*.trec.gz")))
    assert len(dense.query_ids) == NUM_JUDGED


def test_customising_is_not_among_the_costs_of_an_answer(done):
    for name, stages in (("teacher", {"knowledge", "format"}), ("teacher without knowledge", {"format"})):
        facts = done.step(name)["facts"]
        assert stages == set(facts) - {"made_of", "settings", "costs", "files"}
        assert [step for step, *_ in facts["format"]["losses"]] == [1, 2, 3]


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
        run_rare(files, tmp_path / "out", RareSettings(BuildSettings(checkpoint=ENGLISH)), progress=silent)
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
