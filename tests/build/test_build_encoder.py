"""What an encoder is made from: pairs of every source, its teacher, pages, and augmentation."""

from dataclasses import replace

import numpy as np
import pytest

from intently.build import encoder as building_encoder
from intently.build.augmentation.augmentation import Augmentation
from intently.build.augmentation.importance import ImportanceSettings, quality
from intently.build.encoder import (
    EncoderMaterial,
    bridge_data,
    build_encoder,
    chosen_augmentation,
    read_by_encoder,
    start_encoder,
)
from intently.build.encoder_teacher import Guide
from intently.build.interactions import Interactions
from intently.build.settings import BackboneKind, BridgeSettings, BuildSettings
from intently.build.training.bridge import BridgeTrainingSettings
from intently.build.training.distillation import DistillationSettings
from intently.build.training.negatives import NegativeSettings
from intently.catalog import Catalog
from intently.catalog.texts import ad_texts
from intently.engine.settings import RetrievalSettings
from intently.errors import InputError, SettingsError
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.index.token_vectors import TokenVectors
from intently.intentions.vocabulary import Vocabulary
from intently.models.encoder.embedder import EmbeddedAds, Embedder
from intently.models.encoder.settings import EncoderSettings
from intently.models.student import Runtime
from intently.text.chunk import ChunkSettings
from intently.types import Ad

ADS = [Ad("r", "Red robot vacuum"), Ad("z", "扫地机器人"), Ad("d", "Drill bit"), Ad("k", "电热水壶", "electric kettle")]
TEXTS = tuple(ad_texts(Catalog.from_ads(ADS)))
CLICKS = np.array([[0, 0], [1, 1], [0, 1], [2, 3]])
INTERACTIONS = Interactions(
    queries=("robot", "扫地", "红色 水壶 晴晴"),
    clicks=CLICKS,
    irrelevant=np.array([[0, 2], [2, 2], [1, 0]]),
    num_unknown_ads=0,
    counts=np.array([5, 2, 1, 7]),
    gains=np.column_stack((CLICKS, np.ones(4, dtype=np.int64))),
)
# robot: two ads; 扫地: one; everything: all.
VOCABULARY = Vocabulary(
    ("robot", "扫地", "everything"),
    np.array([[0, 0], [0, 1], [1, 1], [2, 0], [2, 1], [2, 2], [2, 3]]),
    np.empty((0, 2), dtype=np.int64),
)
AUGMENTATION = Augmentation(
    queries=(("vacuum red", "robot", "third"), (), ("drill",), ("水壶", "水壶")),
    keywords=(("robot",), ("扫地", "机器人"), (), ("kettle",)),
)
TINY = BridgeTrainingSettings(
    num_steps=4, batch_size=4, eval_steps=2, checkpoint_steps=2, num_held_out=0, negatives=NegativeSettings(1)
)


@pytest.fixture
def material(world) -> EncoderMaterial:
    return EncoderMaterial(
        TEXTS,
        tuple(ad.title for ad in ADS),
        INTERACTIONS,
        VOCABULARY,
        AUGMENTATION,
        LexicalIndex.build(TEXTS, LexicalSettings()),
        str(world.folder / "checkpoint"),
    )


def pairs(source) -> list[tuple[str, int]]:
    return list(zip(source.queries, source.ad_rows.tolist(), strict=True))


def test_sources_are_clicks_generated_queries_keywords_and_intentions(material):
    data = bridge_data(material, None, BridgeSettings(max_generated=2, max_keywords=1))
    clicks, generated, keywords, intentions = data.sources
    assert [source.name for source in data.sources] == ["clicks", "generated queries", "keywords", "intentions"]
    assert pairs(clicks) == [("robot", 0), ("扫地", 1), ("robot", 1), ("红色 水壶 晴晴", 3)]
    assert pairs(generated) == [("vacuum red", 0), ("robot", 0), ("drill", 2), ("水壶", 3)]
    assert pairs(keywords) == [("robot", 0), ("扫地", 1), ("kettle", 3)]
    assert pairs(intentions)[:4] == [("robot", 0), ("robot", 1), ("扫地", 1), ("everything", 0)]
    reach = {"robot": 2, "扫地": 1, "everything": 4}
    expected = [np.log(1 + len(ADS) / (1 + reach[text])) for text in intentions.queries]
    assert intentions.weights.tolist() == pytest.approx(expected)
    assert (intentions.weights > 0).all()


def test_what_else_the_training_knows(material):
    data = bridge_data(material, None, BridgeSettings())
    assert pairs(data.irrelevant) == [("robot", 2), ("红色 水壶 晴晴", 2), ("扫地", 0)]
    assert data.num_clicks.tolist() == [5, 3, 0, 7]
    assert data.num_clicks.dtype == np.int64
    judged, liked = np.array([2, 2, 2, 1]), np.array([1, 2, 0, 1])
    assert data.qualities.tolist() == quality(judged, liked, ImportanceSettings()).tolist()
    assert data.titles == tuple(ad.title for ad in ADS)


@pytest.mark.parametrize(
    ("left_out", "names"),
    [
        ({"generated_queries": False}, ["clicks", "keywords", "intentions"]),
        ({"keywords": False}, ["clicks", "generated queries", "intentions"]),
        ({"intentions": False}, ["clicks", "generated queries", "keywords"]),
    ],
)
def test_kinds_of_augmentation_and_intentions_can_be_left_out(material, left_out, names):
    settings = BridgeSettings(**left_out)
    chosen = replace(material, augmentation=chosen_augmentation(material.augmentation, settings))
    assert [source.name for source in bridge_data(chosen, None, settings).sources] == names


def test_without_any_kind_there_is_no_augmentation(material):
    settings = BridgeSettings(generated_queries=False, keywords=False)
    assert chosen_augmentation(material.augmentation, settings) is None


def test_a_source_without_pairs_is_left_out_and_none_at_all_is_refused(material):
    nobody = INTERACTIONS.of_queries(np.zeros(3, dtype=np.bool_))
    none = replace(material, interactions=nobody, augmentation=None)
    assert [source.name for source in bridge_data(none, None, BridgeSettings()).sources] == ["intentions"]
    with pytest.raises(InputError, match="no pairs to learn from"):
        bridge_data(none, None, BridgeSettings(intentions=False))


def embed_by_length(texts) -> np.ndarray:
    return np.array([[1.0, 0.0] if len(text) > 3 else [0.0, 1.0] for text in texts], dtype=np.float32)


@pytest.mark.parametrize(
    ("guide", "weight", "share"),
    [
        (None, 2.0, 0.0),
        (Guide(embed_by_length, np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8]], dtype=np.float32)), 2.0, 2.0),
        (Guide(embed_by_length, np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8]], dtype=np.float32)), 0.0, 0.0),
    ],
    ids=["without a guide", "with a guide", "with one that counts nothing"],
)
def test_words_and_the_guide_teach_the_encoder(material, tmp_path, monkeypatch, guide, weight, share):
    teachers = []
    train_bridge = building_encoder.train_bridge

    def train(*args, teacher, **named):
        teachers.append(teacher)
        return train_bridge(*args, teacher=teacher, **named)

    monkeypatch.setattr(building_encoder, "train_bridge", train)
    training = replace(TINY, distillation=DistillationSettings(cosine_weight=weight))
    settings = BridgeSettings(encoder=EncoderSettings(num_heads=4).with_all_parts(), training=training)
    built = build_encoder(replace(material, guide=guide), settings, tmp_path, lambda *_: None)
    (teacher,) = teachers
    words = [material.lexical.scores(material.lexical.analyze(query)) for query in ("robot", "扫地")]
    cosines = np.array([[1, 0, 1, 0.6], [0, 1, 0, 0.8]])
    assert teacher(("robot", "扫地")) == pytest.approx(np.array(words) + share * cosines, abs=1e-5)
    assert built.training["losses"]["distillation"] > 0


def test_the_start_knows_the_characters_of_ads_and_queries(material):
    backbone, tokenizer = start_encoder(material, BridgeSettings())
    assert tokenizer.encode_bare(["晴"]) != tokenizer.encode_bare(["翡"])  # one was asked for twice, one never
    plain = start_encoder(replace(material, interactions=INTERACTIONS.of_queries(np.zeros(3, bool))), BridgeSettings())
    assert plain[1].encode_bare(["晴"]) == plain[1].encode_bare(["翡"])
    assert backbone.hidden_size == 24


def assert_same_ads(one: EmbeddedAds, other: EmbeddedAds) -> None:
    assert np.array_equal(one.embeddings, other.embeddings)
    assert np.array_equal(one.tokens.values, other.tokens.values)
    assert np.array_equal(one.tokens.offsets, other.tokens.offsets)


def test_an_encoder_is_trained_once_and_its_features_are_kept(material, tmp_path):
    parts = EncoderSettings(num_heads=4, token_dimension=10).with_all_parts()
    settings = BridgeSettings(encoder=parts, training=TINY, max_generated=2)
    stages: list[str] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()

    def show(stage: str, *_: object) -> None:
        if stage not in stages:
            stages.append(stage)

    first = build_encoder(material, settings, tmp_path / "one", show, features_directory=tmp_path / "features")
    assert stages == ["Reading generated queries", "Reading keywords", "Training the encoder", "Embedding the ads"]
    assert first.ads.embeddings.shape == (4, 24)
    assert np.linalg.norm(first.ads.embeddings, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert (first.ads.tokens.num_ads, first.ads.tokens.values.shape[1]) == (4, 10)
    assert first.training["num_steps"] == 4
    stages.clear()
    again = build_encoder(material, settings, tmp_path / "one", show, features_directory=tmp_path / "features")
    assert stages == []
    assert_same_ads(again.ads, first.ads)
    assert again.training == first.training
    other = build_encoder(material, settings, tmp_path / "two", show, features_directory=tmp_path / "features")
    assert stages == ["Training the encoder", "Embedding the ads"]
    assert_same_ads(other.ads, first.ads)
    bare = first.embedder.read_ads(TEXTS)  # the others were read with their augmentation
    assert not np.allclose(bare.embeddings, first.ads.embeddings, atol=1e-4)
    assert not np.array_equal(bare.tokens.values, first.ads.tokens.values)


@pytest.mark.parametrize(
    "encoder",
    [EncoderSettings(num_heads=4).with_all_parts(), EncoderSettings(cross_attention=True, num_heads=4)],
)
def test_an_encoder_without_augmentation_reads_texts_alone(material, tmp_path, encoder):
    stages: list[str] = []
    settings = BridgeSettings(encoder=encoder, training=TINY)
    built = build_encoder(
        replace(material, augmentation=None), settings, tmp_path, lambda stage, *_: stages.append(stage)
    )
    assert not built.embedder.settings.reads_augmentation
    assert not any(stage.startswith("Reading") for stage in stages)
    assert_same_ads(Embedder.load(tmp_path / "encoder").read_ads(TEXTS), built.ads)


def test_an_encoder_whose_tokens_do_not_interact_keeps_none(material, tmp_path):
    settings = BridgeSettings(encoder=EncoderSettings(token_dimension=0), training=TINY)
    for _ in range(2):  # made, and found again
        built = build_encoder(replace(material, augmentation=None), settings, tmp_path, lambda *_: None)
        assert built.ads.embeddings.shape == (4, 24)
        assert built.ads.tokens is None
        assert not any(name.startswith("late") for name in built.training["losses"])


def test_reading_the_ads_that_was_interrupted_is_done_again(material, tmp_path):
    settings = BridgeSettings(encoder=EncoderSettings(token_dimension=10), training=TINY)
    first = build_encoder(material, settings, tmp_path, lambda *_: None)
    tokens = first.ads.tokens
    expected = EmbeddedAds(np.array(first.ads.embeddings), TokenVectors(tokens.offsets, np.array(tokens.values)))
    (tmp_path / "read" / "done").unlink()  # as if it had stopped while writing
    (tmp_path / "read" / "tokens" / "codes.npy").write_bytes(b"torn")
    again = build_encoder(material, settings, tmp_path, lambda *_: None)
    assert_same_ads(again.ads, expected)


def test_a_hugging_face_encoder_takes_pytorch_at_retrieval():
    bridge = BridgeSettings(enabled=True, kind=BackboneKind.HUGGING_FACE)
    with pytest.raises(SettingsError, match=r"'retrieval.runtime' is 'onnx-int8'.*it takes 'torch'"):
        BuildSettings(bridge=bridge)
    assert BuildSettings(bridge=bridge, retrieval=RetrievalSettings(runtime=Runtime.TORCH)).bridge == bridge
    assert BuildSettings(bridge=replace(bridge, enabled=False)).retrieval.runtime is Runtime.ONNX_INT8


def test_pages_are_read_when_asked_for(make_student):
    catalog = Catalog.from_ads([*ADS[:3], replace(ADS[3], landing_text="Ships today. 红色水壶。")])
    pages = ("Red robot. Free bag.", "", "", "保修三年。")
    student = make_student(3)
    chunks = ChunkSettings(num_chunks=9, max_length=99, threshold=0.0)
    settings = BridgeSettings(reads_pages=True, chunks=chunks)
    texts = read_by_encoder(catalog, pages, INTERACTIONS, student, settings, lambda *_: None)
    plain = ad_texts(catalog)
    assert read_by_encoder(catalog, pages, INTERACTIONS, student, BridgeSettings(), lambda *_: None) == plain
    assert texts[1:3] == plain[1:3]
    for row, told in ((0, ("Red robot", "Free bag")), (3, ("Ships today", "红色水壶", "保修三年"))):
        assert texts[row].startswith(f"{plain[row]}. ")
        assert all(part in texts[row] for part in told)
