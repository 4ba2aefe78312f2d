"""A build with a teacher, end to end: a tiny language model is customized, speaks, and answers head queries.

(What a build does without one is tested through the command line, in test_cli.py.)
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("peft")

from test_cli import ADS, CLICKS, all_files, current, files_of, interrupting, whole, write_checkpoint

from intently.build import intentions
from intently.build.gain import Gain
from intently.build.knowledge.instances import Instance, Task
from intently.build.pipeline import build_engine
from intently.build.report import BuildReport
from intently.build.settings import BuildSettings
from intently.build.teacher import TeacherSettings
from intently.build.training.format import FormatSettings
from intently.build.training.language_model import FineTuningSettings, Method
from intently.build.training.student import TrainingSettings
from intently.engine.engine import Engine
from intently.engine.layout import CACHE_FILE
from intently.generation import MANIFEST
from intently.index.lexical import LexicalSettings
from intently.index.posting_weights import PostingSettings
from intently.index.postings import Postings
from intently.models.causal_lm import LanguageModelSettings
from intently.models.free_beams import FreeBeamSettings
from intently.models.pretrained import load_pretrained
from intently.models.student import Runtime
from intently.settings import from_mapping
from intently.text.ocr_cleaning import OcrSettings
from intently.types import Ad, Channel

# PEFT 0.21 asks transformers 5.23 a question under its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

STAGES = ("Loading the language model", "Injecting knowledge", "Learning the format", "Speaking of ads",
          "Speaking of queries", "Training the student", "Reading the ads", "Answering head queries")  # fmt: skip


class Stages:
    """A progress that remembers the stages that did something, in order."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, stage: str, done: int, total: int, note: str) -> None:
        if stage in STAGES and stage not in self.seen:
            self.seen.append(stage)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, tokenizer_json: str, make_lm: Callable) -> Path:
    folder = tmp_path_factory.mktemp("taught")
    write_checkpoint(folder / "checkpoint", tokenizer_json)
    make_lm(std=0.2).save(folder / "lm")
    instance = asdict(Instance(Task.QUERY_INTENT, "zh", "扫地机器人", "扫地机器人; 拖地机器人"))
    (folder / "knowledge.jsonl").write_text(json.dumps(instance, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, text in (("ads.tsv", ADS), ("clicks.tsv", CLICKS)):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def chosen(inputs: Path) -> BuildSettings:
    """Enough training that the teacher speaks in words of the catalog."""
    stage = FineTuningSettings(Method.FULL, learning_rate=1e-2, batch_size=5, held_out_share=0.0, eval_steps=40)
    teacher = TeacherSettings(
        model=LanguageModelSettings(str(inputs / "lm"), "fp32"),
        knowledge_file=str(inputs / "knowledge.jsonl"),
        knowledge=replace(stage, num_epochs=2),
        format=replace(stage, num_epochs=40),
        examples=FormatSettings(num_examples=30, max_share=1.0, answers_per_example=2),
        beams=FreeBeamSettings(num_beams=8, max_new_tokens=18),
        max_cached_queries=4,
        cache_beams=5,
    )
    return BuildSettings(
        lexical=LexicalSettings(),
        checkpoint=str(inputs / "checkpoint"),
        teacher=teacher,
        runtime=Runtime.TORCH,
        training=TrainingSettings(min_steps=12, max_steps=12, batch_size=8, checkpoint_steps=4),
        postings=PostingSettings(num_beams=4),
    )


def built(inputs: Path, out: Path, chosen: BuildSettings, progress=None) -> BuildReport:
    return build_engine(inputs / "ads.tsv", inputs / "clicks.tsv", out, chosen, progress=progress)


@pytest.fixture(scope="module")
def engine(inputs, chosen, tmp_path_factory) -> tuple[Path, BuildReport, Stages]:
    out, told = tmp_path_factory.mktemp("built") / "engine", Stages()
    return out, built(inputs, out, chosen, told), told


def test_what_a_teacher_says_becomes_intentions_and_postings(inputs, chosen, engine, tmp_path):
    out, report, told = engine
    assert told.seen == list(STAGES)
    assert report.facts["share_from_teacher"] > 0.2
    assert report.facts["cached_queries"] == 4
    assert report.facts["share_of_queries"] == 1.0
    without = built(inputs, tmp_path / "plain", replace(chosen, teacher=TeacherSettings()))
    assert without.facts["share_from_teacher"] == without.facts["cached_queries"] == 0
    assert report.facts["num_intentions"] >= without.facts["num_intentions"]
    ours, plain = (Postings.load(current(path) / "intentions" / "postings.npz") for path in (out, tmp_path / "plain"))
    assert len(ours.ad_rows) == report.facts["postings"]
    assert len(plain.ad_rows) == without.facts["postings"]


def test_head_queries_are_answered_from_the_cache(engine):
    loaded = Engine.load(engine[0])
    # The most clicked: 扫地机器人 9, cordless drill 7, then two of those with 4.
    for query in ("扫地机器人", "Cordless  DRILL", "robot vacuum", "running shoes"):
        ranking = loaded.retrieve(query, channel=Channel.INTENTION)
        assert ranking.cached
        literal = loaded.intentions.literal(loaded.read(query))  # stand beside the 5 that are cached
        assert len(ranking.intentions) <= 5 + len(literal)
        assert ranking.ads
    assert not loaded.retrieve("hose for the garden").cached
    loaded.add_ads([Ad("new", "静音 扫地机器人", keywords=("扫地机器人",))])
    ranking = loaded.retrieve("扫地机器人", channel=Channel.INTENTION)
    assert ranking.cached
    assert "new" in [ad.ad_id for ad in ranking.ads]


def test_the_artifact_is_whole(engine, chosen):
    out = engine[0]
    assert CACHE_FILE in files_of(out)
    assert all_files(out) == whole(out)
    told = json.loads((current(out) / MANIFEST).read_text(encoding="utf-8"))["settings"]
    assert from_mapping(BuildSettings, told, "manifest") == chosen


@pytest.mark.parametrize(
    ("stage", "done", "left"),
    [
        ("Learning the format", 45, STAGES[0:1] + STAGES[2:]),
        ("Speaking of ads", 8, STAGES[0:1] + STAGES[3:]),
        ("Training the student", 5, STAGES[0:1] + STAGES[5:]),
        ("Answering head queries", 4, STAGES[0:1] + STAGES[7:]),
    ],
)
def test_an_interrupted_build_goes_on(inputs, chosen, engine, tmp_path, stage, done, left):
    with pytest.raises(KeyboardInterrupt):
        built(inputs, tmp_path / "engine", chosen, interrupting(stage, done))
    assert not (tmp_path / "engine" / "CURRENT").exists()
    told = Stages()
    report = built(inputs, tmp_path / "engine", chosen, told)
    assert told.seen == list(left)
    assert report.facts == engine[1].facts
    assert files_of(tmp_path / "engine") == files_of(engine[0])


def test_a_rerun_does_nothing(inputs, chosen, engine):
    told, before = Stages(), files_of(engine[0])
    report = built(inputs, engine[0], chosen, told)
    assert told.seen == []
    assert report.facts == engine[1].facts
    assert report.notes[-1].startswith("already built")
    assert files_of(engine[0]) == before


def test_a_teacher_that_is_kept_is_not_customised_again(inputs, chosen, tmp_path):
    kept = replace(chosen, teacher=replace(chosen.teacher, directory=str(tmp_path / "teacher"), max_cached_queries=2))
    built(inputs, tmp_path / "one", kept)
    told = Stages()
    report = built(inputs, tmp_path / "two", replace(kept, ocr=OcrSettings(high=0.4, low=0.4)), told)
    assert told.seen == [STAGES[0], *STAGES[5:]]  # nor asked again what it said
    assert report.facts["cached_queries"] == 2


def test_without_clicks_a_teacher_learns_from_the_ads(inputs, chosen, tmp_path):
    told = Stages()
    quick = replace(chosen.teacher, format=replace(chosen.teacher.format, num_epochs=1))
    report = build_engine(inputs / "ads.tsv", None, tmp_path / "e", replace(chosen, teacher=quick), progress=told)
    assert "Speaking of ads" in told.seen
    assert report.facts["cached_queries"] == 0
    assert Engine.load(tmp_path / "e").retrieve("扫地机器人").ads


def test_without_clicks_nothing_is_trained(inputs, chosen, tmp_path):
    plain = replace(chosen, teacher=TeacherSettings())
    report = build_engine(inputs / "ads.tsv", None, tmp_path / "engine", plain)
    assert "the student was not trained, as there are no clicks to learn from" in " ".join(report.notes)
    engine = Engine.load(tmp_path / "engine")
    assert not engine.student.speaks and engine.intentions.near.guidance.model_temperature is None
    assert engine.retrieve("red robot", channel=Channel.INTENTION).ads


@pytest.mark.parametrize("trained", [0.2, 0.6])
def test_a_student_that_lost_is_not_published(inputs, chosen, tmp_path, monkeypatch, trained):
    plain = replace(chosen, teacher=TeacherSettings())
    monkeypatch.setattr(intentions, "training_gain", lambda *_: Gain(0.5, trained, 0.04))
    report = built(inputs, tmp_path / "engine", plain)
    student = Engine.load(tmp_path / "engine").student
    lost = "training made the student worse on held-out queries (0.200 against 0.500, p 0.04)" in " ".join(report.notes)
    assert (student.speaks, lost) == ((True, False) if trained > 0.5 else (False, True))
    assert report.facts["trained_precision"] == trained
    start, _tokenizer = load_pretrained(plain.checkpoint)
    held = student.backbone.layers.state_dict()
    same = [torch.equal(held[name], weights) for name, weights in start.layers.state_dict().items()]
    assert all(same) is lost
