"""Builds with an encoder of the dense channel and a learned fusion: what they make, keep, and make again."""

import json
from dataclasses import replace

import numpy as np
import pytest
from building_world import ASIDE, BIDS, FUSION, NUM_ADS, QUERIES, Stages, letter
from test_cli import all_files, current, files_of, whole

from intently.build import encoder as building_encoder
from intently.build import intentions as building_intentions
from intently.build import parts, pipeline
from intently.build.settings import BuildSettings
from intently.build.training.calibration import CalibrationSettings
from intently.engine.engine import Engine
from intently.engine.layout import ENCODER, FUSION_FILE, TOKENS
from intently.engine.learned_fusion import LearnedFusion
from intently.engine.relevance import sets_of_evidence
from intently.errors import InputError
from intently.generation import MANIFEST
from intently.index.postings import Postings
from intently.index.token_vectors import TokenVectors
from intently.models.encoder.embedder import Embedder
from intently.models.encoder.settings import Gate
from intently.settings import from_mapping
from intently.types import Channel

pytest.importorskip("lightgbm")


def of(files: dict[str, object], part: str) -> dict[str, object]:
    return {name: file for name, file in files.items() if name.startswith(f"{part}/")}


def test_stages_are_told_as_sentences_each_of_them_once(built):
    seen = built.stages.seen
    assert all(stage[0].isupper() for stage in seen)
    wanted = [
        "Reading", "Estimating", "Finding intentions", "Training the student", "Measuring what training gained",
        "Embedding the intentions", "Reading the ads",
        "Cleaning pages", "Indexing", "Choosing what to read of pages", "Reading generated queries",
        "Reading keywords", "Training the encoder", "Embedding the ads", "Learning the guidance",
        "Answering held-out queries", "Learning the fusion", "Writing",
    ]  # fmt: skip
    assert seen == wanted


def test_the_artifact_is_whole_and_loads(built, chosen):
    files = files_of(built.out)
    assert all_files(built.out) == whole(built.out)
    assert of(files, ENCODER)
    told = json.loads((current(built.out) / MANIFEST).read_text(encoding="utf-8"))["settings"]
    assert from_mapping(BuildSettings, told, "manifest") == chosen


def test_the_dense_path_goes_by_encoder_and_student_alike(built):
    engine, embedder = Engine.load(built.out), Embedder.load(current(built.out) / ENCODER)
    tokens = TokenVectors.load(current(built.out) / TOKENS)
    assert (tokens.num_ads, tokens.values.shape[1]) == (NUM_ADS, embedder.settings.token_dimension)
    ads = np.asarray(engine.vectors.embeddings)
    assert np.linalg.norm(ads, axis=1) == pytest.approx(1, abs=1e-5)
    for query in ("cordless drill", "红色 水壶"):
        ranking = engine.retrieve(query, NUM_ADS, channel=Channel.DENSE)
        by_student, by_encoder = engine.student.read([query], 32).embeddings[0], embedder.embed_queries([query])[0]
        halves = ads[:, : len(by_student)] @ by_student, ads[:, len(by_student) :] @ by_encoder
        cosines = sum(halves) / np.sqrt(2)  # each half of an ad has a length of √½
        late = tokens.scores_of(embedder.read_queries([query]).tokens[0], np.arange(NUM_ADS))
        scores = cosines + engine.settings.late_weight * late
        told = {f"a{row}": score for row, score in enumerate(scores.tolist())}
        assert {ad.ad_id: ad.score for ad in ranking.ads} == pytest.approx(told, abs=1e-5)
        assert len(engine.retrieve(query).intentions) > 0


def test_the_learned_fusion_is_saved_and_used(built):
    report, engine = built.report, Engine.load(built.out)
    assert report.facts["fusion_precision"] > report.facts["reciprocal_rank_precision"]
    assert report.facts["fusion_queries"] >= FUSION.min_queries
    saved = LearnedFusion.load(current(built.out) / FUSION_FILE)
    assert engine.fusion.model == saved.model
    assert saved.depth == FUSION.depth
    ((rows, table),) = engine.candidates(["blue lamp"])
    order = np.argsort(-saved.scores(table), kind="stable")
    assert [ad.ad_id for ad in engine.retrieve("blue lamp", NUM_ADS).ads] == [f"a{row}" for row in rows[order]]


def test_pages_are_found_by_their_words_and_counted(built):
    engine = Engine.load(built.out)
    assert [ad.ad_id for ad in engine.retrieve("warranty", channel=Channel.LEXICAL).ads] == ["a0"]
    assert [ad.ad_id for ad in engine.retrieve("保修", channel=Channel.LEXICAL).ads] == ["a2"]
    assert built.report.facts["ocr_spans_kept"] == 3


class Witness:
    """Notes what the trainings are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.students, self.encoders, self.drafts, self.asides = [], [], [], []
        self.teachers = []  # of the encoders
        train_student, train_bridge = building_intentions.train_student, building_encoder.train_bridge
        learn_fusion = parts.learn_fusion

        def student(backbone, tokenizer, data, *rest, **named):
            self.students.append(data)
            return train_student(backbone, tokenizer, data, *rest, **named)

        def encoder(model, tokenizer, data, *rest, **named):
            self.encoders.append(data)
            self.teachers.append(named["teacher"])
            return train_bridge(model, tokenizer, data, *rest, **named)

        def fusion(draft, aside, *rest):
            self.drafts.append(draft)
            self.asides.append(aside)
            return learn_fusion(draft, aside, *rest)

        monkeypatch.setattr(building_intentions, "train_student", student)
        monkeypatch.setattr(building_encoder, "train_bridge", encoder)
        monkeypatch.setattr(parts, "learn_fusion", fusion)


def test_nothing_learns_of_held_out_queries_but_the_postings_know_their_clicks(
    build, built, chosen, tmp_path, monkeypatch
):
    witness = Witness(monkeypatch)
    report = build(tmp_path / "engine", chosen)
    assert files_of(tmp_path / "engine") == files_of(built.out)
    (student_data,), (encoder_data,) = witness.students, witness.encoders
    held = {query for query, aside in ASIDE.items() if aside}
    assert held == set(witness.asides[0].queries)
    assert set(student_data.queries) == set(ASIDE) - held
    known = {query for source in encoder_data.sources if source.name == "clicks" for query in source.queries}
    assert known == set(ASIDE) - held
    vocabulary = " ".join(Engine.load(tmp_path / "engine").intentions.texts)
    for number, query in enumerate(QUERIES):
        learnt = query not in held
        for part in ("student", f"{ENCODER}/backbone"):
            told = (current(tmp_path / "engine") / part / "tokenizer.json").read_text(encoding="utf-8")
            vocab = json.loads(told)["model"]["vocab"]
            assert (letter(number) in vocab) == learnt
        assert learnt or letter(number) not in vocabulary
    assert not any(letter(n) in q for n, text in enumerate(QUERIES) if text in held for q in encoder_data.queries)

    # The student, which none of these taught either, is half of the encoder's teacher.
    guide, student = witness.teachers[0].guide, Engine.load(tmp_path / "engine").student
    texts = [*ASIDE][:5]
    max_tokens = chosen.training.max_query_tokens
    assert guide.embed(texts) == pytest.approx(student.embed(texts, max_tokens), abs=1e-5)
    assert guide.embeddings.shape == (NUM_ADS, student.dimension)
    assert witness.teachers[0].cosine_weight == chosen.bridge.training.distillation.cosine_weight > 0

    # A query that is an intention: its click becomes a posting once everything has been learned. The fusion learns from
    # an index without any clicks, those of other queries included.
    final, draft = (
        Postings.load(current(tmp_path / "engine") / "intentions" / "postings.npz"),
        witness.drafts[0].intentions,
    )
    late = [(text, row) for text, row in BIDS if text in held]
    assert 0 < len(late) < len(BIDS)
    for text, row in BIDS:
        key = draft.texts.index(text)
        weights = {name: dict(zip(*map(np.ndarray.tolist, one.of(key)), strict=True)) for name, one in
                   (("draft", draft.postings), ("final", final))}  # fmt: skip
        assert row in weights["final"]
        assert weights["draft"].get(row, 0.0) < weights["final"][row]
    assert report.facts["num_queries"] == len(ASIDE)
    assert report.facts["num_clicks"] == len(ASIDE)


def test_too_few_queries_hold_none_out(build, chosen, tmp_path, monkeypatch):
    witness = Witness(monkeypatch)
    settings = replace(chosen, fusion=replace(FUSION, min_queries=200), bridge=replace(chosen.bridge, enabled=False))
    report = build(tmp_path / "engine", settings)
    (data,) = witness.students
    assert set(data.queries) == set(ASIDE)
    assert witness.drafts == witness.encoders == []
    assert not (current(tmp_path / "engine") / FUSION_FILE).exists()
    assert not (current(tmp_path / "engine") / ENCODER).exists()
    assert "fusion_trees" not in report.facts
    assert not any("fused" in note for note in report.notes)


@pytest.mark.parametrize(
    ("stage", "done", "steps", "trained"),
    [
        ("Training the encoder", 5, range(4, 9), {"encoder"}),
        ("Training the encoder", 2, range(9), {"encoder"}),
        ("Embedding the ads", 0, [], set()),
        ("Answering held-out queries", 3, [], set()),
        ("Writing", 0, [], set()),
    ],
)
def test_an_interrupted_build_goes_on(build, built, chosen, tmp_path, stage, done, steps, trained):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "engine", chosen, Stages(stage, done))
    assert not (tmp_path / "engine" / "CURRENT").exists()
    stages = Stages()
    report = build(tmp_path / "engine", chosen, stages)
    assert stages.trained == trained
    assert [step for step in stages.steps if step] == [step for step in steps if step]  # 0: texts are tokenized
    assert report.facts == built.report.facts
    assert files_of(tmp_path / "engine") == files_of(built.out)


def changed(settings: BuildSettings, part: str, **values: object) -> BuildSettings:
    return replace(settings, **{part: replace(getattr(settings, part), **values)})


def test_settings_of_the_bridge_train_the_encoder_alone(build, built, chosen, copied):
    stages = Stages()
    slower = replace(chosen.bridge.training, learning_rate=1e-4)
    build(copied, changed(chosen, "bridge", training=slower), stages)
    before, after = files_of(built.out), files_of(copied)
    assert stages.trained == {"encoder"}
    assert of(after, "student") == of(before, "student")
    assert after["encoder/encoder.safetensors"] != before["encoder/encoder.safetensors"]
    assert after["vectors.npy"] != before["vectors.npy"]


def test_settings_of_the_index_train_nothing(build, built, chosen, copied):
    stages = Stages()
    build(copied, changed(chosen, "postings", length_power=0.1), stages)
    before, after = files_of(built.out), files_of(copied)
    assert stages.trained == set()
    for part in ("student", ENCODER):
        assert of(after, part) == of(before, part)
    assert after["vectors.npy"] == before["vectors.npy"]
    assert after["intentions/postings.npz"] != before["intentions/postings.npz"]


@pytest.mark.parametrize(
    ("part", "values", "trained"),
    [
        ("training", {"seed": 5}, {"student", "encoder"}),
        ("fusion", {"max_trees": 20}, set()),
        ("fusion", {"held_out_share": 0.3}, {"student", "encoder"}),
        ("fusion", {"min_queries": 200}, {"student", "encoder"}),  # nothing is held out any more
        ("coarse", {"exact_up_to": 10}, set()),
    ],
)
def test_settings_train_what_they_decide(build, chosen, copied, part, values, trained):
    if part == "coarse":
        pytest.importorskip("faiss")
    stages = Stages()
    build(copied, changed(chosen, part, **values), stages)
    assert stages.trained == trained
    assert Engine.load(copied).retrieve("红色 drill").ads


def test_another_augmentation_trains_the_encoder_again(build, world, chosen, copied, tmp_path):
    other = tmp_path / "augmentation.jsonl"
    other.write_bytes(world.augmentation.read_bytes())
    stages = Stages()
    settings = changed(chosen, "bridge", augmentation_file=str(other))
    build(copied, settings, stages)
    assert stages.trained == {"encoder"}  # named otherwise
    lines = other.read_text(encoding="utf-8").splitlines(keepends=True)
    other.write_text("".join(lines[:-1]), encoding="utf-8")
    stages = Stages()
    build(copied, settings, stages)
    assert stages.trained == {"encoder"}


@pytest.mark.parametrize(
    ("report", "told"),
    [
        ('{"held_out_share": 0.01, "seed": 0}', "was made with held_out_share 0.01 and seed 0, 'fusion' has"),
        ('{"held_out_share": 0.01', "is no report of an augmentation"),
        ('{"seed": 0}', "is no report of an augmentation"),
    ],
)
def test_an_augmentation_that_saw_held_out_queries_is_refused(build, world, chosen, tmp_path, report, told):
    other = tmp_path / "augmentation.jsonl"
    other.write_bytes(world.augmentation.read_bytes())
    (tmp_path / "augmentation.report.json").write_text(report)
    with pytest.raises(InputError, match=told):
        build(tmp_path / "engine", changed(chosen, "bridge", augmentation_file=str(other)))
    assert not (tmp_path / "engine").exists()


def test_a_checkpoint_that_changed_trains_the_encoder_again(build, world, chosen, copied, tmp_path, tokenizer_json):
    import torch
    from safetensors.torch import load_file, save_file
    from test_cli import write_checkpoint

    write_checkpoint(tmp_path / "start", tokenizer_json)
    settings = changed(chosen, "bridge", checkpoint=str(tmp_path / "start"))
    build(copied, settings)
    path = tmp_path / "start" / "model.safetensors"
    save_file({name: weight + 0.01 * torch.ones_like(weight) for name, weight in load_file(path).items()}, path)
    stages = Stages()
    build(copied, settings, stages)
    assert stages.trained == {"encoder"}


def test_files_that_are_not_wanted_any_more_go(build, built, chosen, copied):
    assert (current(copied) / ENCODER).is_dir()
    assert (current(copied) / FUSION_FILE).exists()
    stages = Stages()
    plain = replace(chosen, bridge=replace(chosen.bridge, enabled=False), fusion=replace(FUSION, held_out_share=0.0))
    report = build(copied, plain, stages)
    assert stages.trained == {"student"}
    assert not (current(copied) / ENCODER).exists()
    assert not (current(copied) / FUSION_FILE).exists()
    assert not (current(copied) / TOKENS).exists()
    assert "fusion_trees" not in report.facts
    engine = Engine.load(copied)
    assert (engine.encoder, engine.fusion) == (None, None)
    assert engine.vectors.embeddings.shape[1] == engine.student.dimension
    assert engine.retrieve("cordless drill").ads
    assert all_files(copied) == whole(copied)


TOKEN_FILES = {f"{TOKENS}/codes.npy", f"{TOKENS}/offsets.npy"}


def test_the_tokens_of_ads_are_in_the_artifact_if_they_interact(build, built, chosen, copied):
    listed = json.loads((current(built.out) / MANIFEST).read_text(encoding="utf-8"))["files"]
    assert set(listed) >= TOKEN_FILES
    stages = Stages()
    build(copied, changed(chosen, "bridge", encoder=replace(chosen.bridge.encoder, token_dimension=0)), stages)
    assert stages.trained == {"encoder"}
    listed = json.loads((current(copied) / MANIFEST).read_text(encoding="utf-8"))["files"]
    assert not set(listed) & TOKEN_FILES
    assert not (current(copied) / TOKENS).exists()
    engine = Engine.load(copied)
    assert engine.encoder.settings.token_dimension == 0
    (first, *_) = engine.retrieve("红色 drill", channel=Channel.DENSE).ads
    assert [name for name, _ in first.reasons[0].evidence] == ["cosine"]
    build(copied, chosen)  # and back again
    assert files_of(copied) == files_of(built.out)


def test_the_weight_of_late_interaction_is_told_anew_without_training(build, built, chosen, copied):
    stages = Stages()
    without = replace(chosen, fusion=replace(FUSION, held_out_share=0.0))
    build(copied, without)  # a fusion would be learned again
    build(copied, changed(without, "retrieval", late_weight=0.0), stages)
    assert stages.seen == ["Reading"]  # the settings alone are written
    (first, *_) = Engine.load(copied).retrieve("红色 drill", channel=Channel.DENSE).ads
    assert [name for name, _ in first.reasons[0].evidence] == ["cosine"]
    build(copied, changed(without, "retrieval", late_weight=2.0), stages)
    (first, *_) = Engine.load(copied).retrieve("红色 drill", channel=Channel.DENSE).ads
    told = dict(first.reasons[0].evidence)
    assert set(told) == {"cosine", "late interaction"}
    assert sum(told.values()) == pytest.approx(first.score, abs=1e-6)


def test_a_fusion_that_is_no_better_is_left_out_and_told(build, chosen, copied, monkeypatch):
    trains = parts.learn_fusion.__globals__["train_fusion"]

    def no_better(*arguments):
        trained = trains(*arguments)
        return replace(trained, precision=trained.baseline)

    monkeypatch.setitem(parts.learn_fusion.__globals__, "train_fusion", no_better)
    report = build(copied, changed(chosen, "fusion", max_trees=20))
    assert report.notes[-1].startswith("channels are fused by reciprocal ranks: with what was learned")
    assert report.facts["fusion_precision"] == report.facts["reciprocal_rank_precision"]
    assert not (current(copied) / FUSION_FILE).exists()
    assert Engine.load(copied).fusion is None


def test_without_augmentation_the_parts_that_read_it_are_left_out(build, chosen, tmp_path):
    build(tmp_path / "engine", changed(chosen, "bridge", augmentation_file="", reads_pages=False))
    settings = Embedder.load(current(tmp_path / "engine") / ENCODER).settings
    assert (settings.gate, settings.cross_attention, settings.layer_fusion) == (Gate.NONE, False, True)
    assert settings.token_dimension == chosen.bridge.encoder.token_dimension > 0
    assert Engine.load(tmp_path / "engine").retrieve("红色 drill").ads


def test_an_encoder_is_trained_without_clicks(world, chosen, tmp_path):
    pipeline.build_engine(world.ads, None, tmp_path / "engine", chosen)
    engine = Engine.load(tmp_path / "engine")
    assert engine.encoder is not None
    assert engine.fusion is None
    assert len(engine.retrieve("家用 水壶", NUM_ADS, channel=Channel.DENSE).ads) == NUM_ADS


def test_an_engine_with_models_tells_relevance(build, chosen, copied):
    """From the queries that are held out; settings of retrieval that answers depend on are learned with again."""
    calibrated = replace(chosen, calibration=CalibrationSettings(min_queries=10, max_queries=20))
    stages = Stages()
    report = build(copied, calibrated, stages)
    assert "Calibrating relevance" in stages.seen and not stages.trained
    assert report.facts["relevance_queries"] >= 10
    engine = Engine.load(copied)
    assert engine.calibrator.learned_from == "clicked queries"
    assert set(engine.calibrator.models) == set(sets_of_evidence(engine.channels))
    ranking = engine.retrieve("红色 drill", 99)
    assert all(0 < ad.relevance < 1 for ad in ranking)
    least = sorted(ad.relevance for ad in ranking)[len(ranking) // 2]
    kept = [ad.ad_id for ad in ranking if ad.relevance >= least]
    assert [ad.ad_id for ad in engine.retrieve("红色 drill", 99, min_relevance=least)] == kept
    build(copied, changed(calibrated, "retrieval", intention_power=0.9), again := Stages())
    assert "Calibrating relevance" in again.seen
