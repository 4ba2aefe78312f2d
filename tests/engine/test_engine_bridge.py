"""The engine with an encoder beside the student for the dense channel, and with a learned fusion."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from intently.build.training.fusion import FusionExample, FusionSettings, train_fusion
from intently.catalog import Catalog, checked_user
from intently.catalog.texts import ad_texts
from intently.engine.answerer import FUSED_CHANNELS
from intently.engine.channels.dense import DenseQuery, _nearest
from intently.engine.engine import Engine
from intently.engine.fusion_features import feature_names, rising
from intently.engine.learned_fusion import LearnedFusion
from intently.engine.reciprocal_ranks import reciprocal_rank_fusion
from intently.errors import ArtifactError, InputError
from intently.index.coarse import CoarseEngine, CoarseSettings
from intently.index.concatenated import concatenate_embeddings
from intently.index.lexical import LexicalIndex
from intently.index.posting_weights import PostingSettings
from intently.index.title_terms import TitleTerms
from intently.index.vectors import VectorIndex
from intently.intentions.decode import DecodeSettings
from intently.live import ad_reader as new_ads
from intently.live.ad_reader import IndexSettings
from intently.models.backbone import Backbone
from intently.models.encoder.backbone import CompactBackbone
from intently.models.encoder.embedder import Embedder
from intently.models.encoder.model import BridgeEncoder
from intently.models.encoder.pages import MAX_SENTENCE_TOKENS, encoder_texts
from intently.models.encoder.settings import EncoderSettings
from intently.models.student import Runtime
from intently.models.tokenizer import StudentTokenizer
from intently.models.weights import BackboneConfig
from intently.text.analyze import Analyzer
from intently.text.chunk import ChunkSettings
from intently.types import Ad, Channel, Span
from tests.engine.small_engine import ADS, CHANNELS, QUERIES, SETTINGS, ids, make_engine, save

EAGER = replace(SETTINGS, runtime=Runtime.TORCH)
TEXTS = ad_texts(Catalog.from_ads(ADS))
NAMES = feature_names(FUSED_CHANNELS)


@pytest.fixture(scope="module")
def plain(make_student) -> Engine:
    return make_engine(make_student(3), EAGER)


def make_encoder(tokenizer_json: str, settings: EncoderSettings) -> Embedder:
    """Return an encoder whose embeddings are of another size than the student's."""
    tokenizer = StudentTokenizer(tokenizer_json)
    with torch.random.fork_rng():
        torch.manual_seed(8)
        backbone = Backbone(BackboneConfig(tokenizer.vocab_size, 24, 2, 2, 48, 64))
        with torch.no_grad():
            for name, parameter in backbone.named_parameters():
                if "norm" not in name:
                    parameter.normal_(std=0.3)
    return Embedder(BridgeEncoder(CompactBackbone(backbone), settings), tokenizer)


@pytest.fixture(scope="module")
def encoder(tokenizer_json) -> Embedder:
    return make_encoder(tokenizer_json, replace(EncoderSettings(num_heads=4).with_all_parts(), token_dimension=0))


def engine_with(plain: Engine, **parts: object) -> Engine:
    """Return a new engine of the same indexes, the vectors joined with those of the encoder if there is one."""
    encoder = parts.get("encoder")
    vectors = (
        VectorIndex(concatenate_embeddings(plain.vectors.embeddings, encoder.embed_ads(TEXTS)))
        if encoder
        else plain.vectors
    )
    settings = parts.pop("settings", EAGER)
    return Engine(Catalog.from_ads(ADS), plain.student, plain.intentions, vectors, plain.lexical, settings, **parts)  # type: ignore[arg-type]


@pytest.fixture
def engine(plain, encoder) -> Engine:
    return engine_with(plain, encoder=encoder)


@pytest.mark.parametrize("channel", [*FUSED_CHANNELS, Channel.FUSED])
@pytest.mark.parametrize("num_threads", [2, 3])
def test_encoder_and_student_may_read_at_the_same_time(plain, encoder, engine, channel, num_threads):
    threaded = engine_with(plain, encoder=encoder, settings=replace(EAGER, num_threads=num_threads))
    for expected, found in zip(
        engine.retrieve_many(QUERIES, channel=channel), threaded.retrieve_many(QUERIES, channel=channel), strict=True
    ):
        assert ids(found) == ids(expected)
        assert by_id(found) == pytest.approx(by_id(expected), abs=1e-5)
        assert set(found.timings_ms) == set(expected.timings_ms)


def by_id(ranking) -> dict[str, float]:
    return {ad.ad_id: ad.score for ad in ranking.ads}


def both_say(plain: Engine, encoder: Embedder, text: str, texts: list[str], own_texts: list[str]) -> list[float]:
    """Return the mean cosines of a query's text with ads: `texts` read by the student, `own_texts` by the encoder."""
    text = [text]
    ads = plain.student.embed(texts, PostingSettings().max_ad_tokens)
    of_student = ads @ plain.student.read(text, EAGER.max_query_tokens).embeddings[0]
    of_encoder = encoder.embed_ads(own_texts) @ encoder.embed_queries(text)[0]
    return ((of_student + of_encoder) / 2).tolist()


def test_student_and_encoder_answer_the_dense_path_and_the_student_the_intention_path(engine, plain, encoder):
    for query in QUERIES:
        means = both_say(plain, encoder, plain.read(query).for_models, TEXTS, TEXTS)
        expected = {ad.ad_id: mean for ad, mean in zip(ADS, means, strict=True)}
        found = by_id(engine.retrieve(query, 99, channel=Channel.DENSE))
        assert found == pytest.approx({ad_id: expected[ad_id] for ad_id in found}, abs=1e-5)
        assert len(found) == 10
        for channel in (Channel.INTENTION, Channel.LEXICAL):
            ours, theirs = (one.retrieve(query, 99, channel=channel) for one in (engine, plain))
            assert ours.ads == theirs.ads
            assert ours.intentions == theirs.intentions


@pytest.mark.parametrize("channel", Channel)
def test_many_at_once_are_each_alone(engine, channel):
    together = list(engine.retrieve_many(QUERIES, 99, channel=channel, batch_size=4))
    for query, ranking in zip(QUERIES, together, strict=True):
        assert by_id(ranking) == pytest.approx(by_id(engine.retrieve(query, 99, channel=channel)), abs=1e-5)


@pytest.mark.parametrize("with_encoder", [False, True])
def test_queries_are_embedded_as_the_dense_path_does_it(plain, encoder, with_encoder):
    engine = engine_with(plain, **({"encoder": encoder} if with_encoder else {}))
    embeddings = engine.embed_queries(QUERIES)
    assert embeddings.shape == (len(QUERIES), plain.student.dimension + 24 * with_encoder)
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1, abs=1e-5)
    assert engine.embed_queries([]).size == 0
    for query, embedding in zip(QUERIES, embeddings, strict=True):
        assert engine.embed_queries([query])[0] == pytest.approx(embedding, abs=1e-5)
        cosines = dict(zip([ad.ad_id for ad in ADS], engine.vectors.scores(embedding).tolist(), strict=True))
        found = by_id(engine.retrieve(query, 99, channel=Channel.DENSE))
        assert found == pytest.approx({ad_id: cosines[ad_id] for ad_id in found}, abs=1e-5)
    with pytest.raises(InputError, match="the query is empty"):
        engine.embed_queries(["red", " "])


def test_the_runtime_and_its_threads_are_the_encoders_too(plain, encoder):
    engine = engine_with(plain, encoder=encoder, settings=SETTINGS)
    assert engine.encoder.runtime is engine.student.runtime is Runtime.ONNX_INT8
    ranking = engine.retrieve("红色 robot", channel=Channel.DENSE)
    assert by_id(ranking) == pytest.approx(by_id(engine_with(plain, encoder=encoder).retrieve(
        "红色 robot", channel=Channel.DENSE)), abs=0.05)  # fmt: skip


class Cache:
    """Knows what some queries decode to."""

    def __init__(self, engine: Engine, queries: list[str]) -> None:
        reading = engine.student.read(queries, EAGER.max_query_tokens)
        found = engine._models.intention_reader.decoder.decode(reading.prompt, DecodeSettings(num_beams=2))
        self.known = dict(zip(queries, found, strict=True))

    def lookup(self, query: str):
        return self.known.get(query)


@pytest.fixture
def count(monkeypatch) -> Callable[[Engine], Counter[str]]:
    """Return what counts the texts that an engine's student and encoder read."""

    def count(engine: Engine) -> Counter[str]:
        counts: Counter[str] = Counter()
        read = engine.student.read

        def counted(texts, *rest):
            counts["student"] += len(texts)
            return read(texts, *rest)

        monkeypatch.setattr(engine.student, "read", counted)
        if engine.encoder:
            encode = engine.encoder.read_queries

            def encoded(texts, *rest):
                counts["encoder"] += len(texts)
                return encode(texts, *rest)

            monkeypatch.setattr(engine.encoder, "read_queries", encoded)
        return counts

    return count


@pytest.mark.parametrize(
    ("channel", "student", "own"),
    [
        (Channel.FUSED, 3, (3, 3)),
        (Channel.INTENTION, 3, (3, 0)),
        (Channel.DENSE, 3, (3, 3)),
        (Channel.LEXICAL, 0, (0, 0)),
    ],
)
def test_queries_are_read_once_and_only_by_whom_it_takes(plain, encoder, count, channel, student, own):
    queries = QUERIES[:3]
    alone, both = engine_with(plain), engine_with(plain, encoder=encoder)
    of_alone, of_both = count(alone), count(both)
    for engine in (alone, both):
        list(engine.retrieve_many(queries, channel=channel))
    assert of_alone["student"] == student  # one pass serves decoding and the embedding
    assert (of_both["student"], of_both["encoder"]) == own


@pytest.mark.parametrize(
    ("channel", "student", "own"),
    [(Channel.FUSED, 3, (3, 3)), (Channel.INTENTION, 1, (1, 0)), (Channel.DENSE, 3, (3, 3))],
)
def test_a_cached_query_is_not_decoded_and_still_embedded(plain, encoder, count, channel, student, own):
    queries = ["red robot vacuum", "扫地机器人", "drill bits led"]
    cache = Cache(plain, [queries[0], queries[1]])
    alone, both = engine_with(plain, cache=cache), engine_with(plain, encoder=encoder, cache=cache)
    counts = [count(alone), count(both)]
    for engine, without, read in zip(
        (alone, both), (engine_with(plain), engine_with(plain, encoder=encoder)), counts, strict=True
    ):
        rankings = list(engine.retrieve_many(queries, 99, channel=channel))
        assert [ranking.cached for ranking in rankings] == [channel is not Channel.DENSE] * 2 + [False]
        dense, expected = (
            [by_id(ranking) for ranking in one.retrieve_many(queries, 99, channel=Channel.DENSE)]
            for one in (engine, without)
        )
        for found, wanted in zip(dense, expected, strict=True):
            assert found == pytest.approx(wanted, abs=1e-5)
        read.subtract({"student": 3, "encoder": 3})  # of the last question
    assert counts[0]["student"] == student
    assert (counts[1]["student"], counts[1]["encoder"]) == own


def test_cached_queries_of_a_batch_get_both_embeddings_too(plain, encoder):
    queries = ["drill bits led", "red robot vacuum", "红色水壶 kettle", "扫地机器人"]  # every second one is cached
    engine = engine_with(plain, encoder=encoder, cache=Cache(plain, queries[1::2]))
    rankings = list(engine.retrieve_many(queries, 99, explain=True))
    assert [ranking.cached for ranking in rankings] == [False, True, False, True]
    for query, ranking in zip(queries, rankings, strict=True):
        assert ("decode" in ranking.timings_ms) != ranking.cached
        means = both_say(plain, encoder, plain.read(query).for_models, TEXTS, TEXTS)
        expected = {ad.ad_id: mean for ad, mean in zip(ADS, means, strict=True)}
        found = {ad.ad_id: why.score for ad in ranking.ads for why in ad.reasons if why.channel is Channel.DENSE}
        assert len(found) == 10
        assert found == pytest.approx({ad_id: expected[ad_id] for ad_id in found}, abs=1e-5)
        assert by_id(ranking) == pytest.approx(by_id(engine.retrieve(query, 99)))


def test_timings_name_the_embedding(plain, encoder):
    engine = engine_with(plain, encoder=encoder, cache=Cache(plain, ["red pan"]))
    stages = {"rules", "search", "fuse", "explain"}
    assert set(engine.retrieve("red pan").timings_ms) == stages | {"cache", "encode", "embed"}
    assert set(engine.retrieve("blue pan").timings_ms) == stages | {"cache", "encode", "decode", "embed"}
    assert set(engine.retrieve("red pan", channel=Channel.DENSE).timings_ms) == stages | {"encode", "embed"}
    assert set(engine.retrieve("red pan", channel=Channel.INTENTION).timings_ms) == stages | {"cache"}


def test_vectors_of_another_size_are_refused(plain, encoder, tmp_path):
    """Such as those of an artifact from when the encoder's embeddings were all of the dense channel."""
    engine = engine_with(plain, encoder=encoder)
    size = plain.student.dimension
    for vectors, own, told in (
        (plain.vectors, encoder, f"of {size} dimensions, those of student and encoder together of {size + 24};"),
        (engine.vectors, None, f"of {size + 24} dimensions, those of the student of {size};"),
    ):
        with pytest.raises(ArtifactError, match=f"the vectors are {told} build the engine again"):
            Engine(engine.catalog, plain.student, plain.intentions, vectors, plain.lexical, EAGER, encoder=own)
    engine.vectors = VectorIndex(encoder.embed_ads(TEXTS))
    save(engine, tmp_path, parts={"encoder": encoder})
    with pytest.raises(ArtifactError, match="the vectors are of 24 dimensions"):
        Engine.load(tmp_path)


# The learned fusion.


@pytest.fixture(scope="module")
def fusion() -> LearnedFusion:
    """A fusion that learned that a lexical score far below the best means something and reciprocal ranks do not."""
    pytest.importorskip("lightgbm")
    rng = np.random.default_rng(0)
    lexical, dense = NAMES.index("lexical score"), NAMES.index("dense score")
    tables = [rng.normal(size=(40, len(NAMES))).astype(np.float32) for _ in range(40)]
    examples = [FusionExample(one, (one[:, lexical] - one[:, dense] > 1).astype(np.int64)) for one in tables]
    chosen = FusionSettings(min_queries=10, max_trees=20, num_leaves=4, min_leaf=5, learning_rate=0.3, feature_share=1)
    trained = train_fusion(examples, rising(FUSED_CHANNELS), chosen)
    return LearnedFusion(FUSED_CHANNELS, trained.model, trained.weights, depth=6)


def slow_candidates(engine: Engine, query: str) -> list[tuple[str, float]]:
    """Return what reciprocal rank fusion finds, from the rankings of the channels."""
    scores: dict[str, float] = {}
    weights = (EAGER.intention_weight, EAGER.dense_weight, EAGER.lexical_weight)
    for channel, weight in zip(CHANNELS, weights, strict=True):
        for ad in engine.retrieve(query, engine.settings.num_candidates, channel=channel).ads:
            scores[ad.ad_id] = scores.get(ad.ad_id, 0.0) + weight / (EAGER.fusion_constant + ad.rank)
    row_of = {ad.ad_id: row for row, ad in enumerate(ADS)}
    return sorted(scores.items(), key=lambda one: (-round(one[1], 9), row_of[one[0]]))


@pytest.mark.parametrize("depth", [2, 500])
def test_candidates_are_what_reciprocal_ranks_find(plain, encoder, depth):
    engine = engine_with(plain, encoder=encoder, settings=replace(EAGER, num_candidates=depth))
    every = list(engine.candidates(QUERIES, batch_size=4))
    assert len(every) == len(QUERIES)
    for query, (rows, table) in zip(QUERIES, every, strict=True):
        expected = slow_candidates(engine, query)
        assert [ADS[row].ad_id for row in rows.tolist()] == [ad_id for ad_id, _ in expected]
        assert table.shape == (len(rows), len(NAMES))
        told = dict(zip(NAMES, table.T, strict=True))
        assert told["fused score"].tolist() == pytest.approx([score for _, score in expected], rel=1e-5)
        for channel in CHANNELS:
            hits = {ad.ad_id: ad for ad in engine.retrieve(query, 99, channel=channel).ads}
            for row, score, rank in zip(
                rows.tolist(),
                told[f"{channel} score"].tolist(),
                told[f"{channel} reciprocal rank"].tolist(),
                strict=True,
            ):
                hit = hits.get(ADS[row].ad_id)
                assert score == pytest.approx(hit.score if hit else 0.0, abs=1e-5)
                reached = hit is not None and hit.rank <= depth
                assert rank == pytest.approx(1 / (10 + hit.rank) if reached else 0.0)


def test_candidates_do_not_ask_the_cache(plain):
    cache = Cache(plain, ["red pan"])
    ((rows, table),) = engine_with(plain, cache=cache).candidates(["red pan"])
    ((others, expected),) = engine_with(plain).candidates(["red pan"])
    assert rows.tolist() == others.tolist()
    assert np.array_equal(table, expected)


@pytest.mark.parametrize("with_encoder", [False, True])
def test_fused_is_in_the_order_of_the_models_scores(plain, encoder, fusion, with_encoder):
    own = {"encoder": encoder} if with_encoder else {}
    engine = engine_with(plain, fusion=fusion, **own)
    moved = 0
    every, first = (engine.candidates(QUERIES, depth) for depth in (None, fusion.depth))
    for query, (rows, _), (best, table) in zip(QUERIES, every, first, strict=True):
        assert best.tolist() == rows[: fusion.depth].tolist()
        scores = fusion.scores(table)
        order = np.argsort(-scores, kind="stable")
        expected = [*best[order].tolist(), *rows[fusion.depth :].tolist()]
        ranking = engine.retrieve(query, 99)
        assert ids(ranking) == [ADS[row].ad_id for row in expected]
        assert [ad.score for ad in ranking.ads[: fusion.depth]] == pytest.approx(scores[order].tolist(), abs=1e-6)
        told = [ad.score for ad in ranking.ads]
        assert told == sorted(told, reverse=True)
        assert ids(engine.retrieve(query, 3)) == ids(ranking)[:3]
        moved += expected != rows.tolist()
    assert moved


def test_reasons_survive_the_learned_fusion(plain, fusion):
    fused = engine_with(plain, fusion=fusion)
    for query in QUERIES:
        ours, theirs = (
            {ad.ad_id: ad.reasons for ad in one.retrieve(query, 99).ads} for one in (fused, engine_with(plain))
        )
        assert ours == theirs
        assert all(ours.values())


def test_without_a_fusion_reciprocal_ranks_stay(plain):
    for query in QUERIES:
        assert by_id(plain.retrieve(query, 99)) == pytest.approx(dict(slow_candidates(plain, query)))
    rows, _ = reciprocal_rank_fusion([np.array([2, 1]), np.array([1])], (1.0, 1.0), 10.0)
    assert rows.tolist() == [1, 2]


def test_single_paths_do_not_ask_the_fusion(plain, fusion):
    for channel in CHANNELS:
        ours, theirs = (
            one.retrieve("red robot", 99, channel=channel) for one in (engine_with(plain, fusion=fusion), plain)
        )
        assert ours.ads == theirs.ads


def test_a_fusion_wants_statistics(plain, fusion):
    old = LexicalIndex(plain.lexical._terms, plain.lexical.postings, plain.lexical.settings, None)
    with pytest.raises(ArtifactError, match="lacks the statistics that the fusion needs"):
        Engine(Catalog.from_ads(ADS), plain.student, plain.intentions, plain.vectors, old, EAGER, fusion=fusion)


def test_encoder_and_fusion_are_saved_and_loaded(plain, encoder, fusion, tmp_path):
    engine = engine_with(plain, encoder=encoder, fusion=fusion)
    titles = TitleTerms.build([ad.title for ad in ADS], Analyzer())
    parts = {"encoder": encoder, "fusion": fusion, "titles": titles}
    save(engine, tmp_path, parts=parts, bridge={"reads_pages": True, "chunks": {"num_chunks": 2}})
    loaded = Engine.load(tmp_path)
    indexing = loaded._live._reader.settings
    assert (indexing.reads_pages, indexing.chunks) == (True, ChunkSettings(num_chunks=2))
    for query in QUERIES:
        before, after = engine.retrieve(query, 99), loaded.retrieve(query, 99)
        assert ids(after) == ids(before)
        assert by_id(after) == pytest.approx(by_id(before))


# Two segments: the ads as built, and those that came since.


@pytest.mark.parametrize("coarse", [None, CoarseEngine.EXACT, CoarseEngine.FLAT])
@pytest.mark.parametrize("seed", range(4))
def test_two_segments_are_searched_as_one(plain, encoder, coarse, seed):
    if coarse is CoarseEngine.FLAT:
        pytest.importorskip("faiss")
    embeddings = concatenate_embeddings(plain.vectors.embeddings, encoder.embed_ads(TEXTS))
    vectors = VectorIndex(embeddings) if coarse is None else VectorIndex.build(embeddings, CoarseSettings(coarse))
    engine = Engine(
        Catalog.from_ads(ADS), plain.student, plain.intentions, vectors, plain.lexical, EAGER, encoder=encoder
    )
    new = [Ad("n1", "Red pan"), Ad("n2", "红色 水壶"), Ad("n3", "Blue shoe novelty"), Ad("n4", "Red pan")]
    engine.add_ads(new[:3])
    engine.add_ads(new[3:])
    engine.remove_ads(["pan", "n3"])
    ads = engine.snapshot
    assert len(ads.segments) == 2
    titles = [ad.title for ad in new]
    of_student = plain.student.embed(titles, PostingSettings().max_ad_tokens)
    both = np.concatenate((embeddings, concatenate_embeddings(of_student, encoder.embed_ads(titles))))
    rng = np.random.default_rng(seed)
    query = rng.normal(size=both.shape[1]).astype(np.float32)
    query /= np.linalg.norm(query)
    cosines = both @ query
    asking = DenseQuery(query, None, 0.0, 1)
    for eligible in (ads.eligible(checked_user(None)), rng.random(16) < 0.5, np.zeros(16, bool), np.arange(16) >= 12):
        best = np.sort(cosines[eligible])[::-1]
        for k in (1, 3, 99):
            rows, scores = _nearest(asking, ads, k, eligible)
            assert len(rows) == len(set(rows.tolist())) == min(k, int(eligible.sum()))
            assert eligible[rows].all()
            assert cosines[rows].tolist() == pytest.approx(best[:k].tolist(), abs=1e-5)
            assert scores.tolist() == pytest.approx(cosines[rows].tolist(), abs=1e-5)
            found = zip(scores.tolist(), rows.tolist(), strict=True)
            assert all(row < after for (score, row), (same, after) in pairwise(found) if score == same)
            # Two ads of one title, read in batches of different shapes, may differ in the last bit, which depends on
            # the CPU: they are equal all the same, and the earlier row comes first.
            if {12, 15} <= set(rows.tolist()):
                assert rows.tolist().index(12) < rows.tolist().index(15)
    for asked in (np.arange(16), rng.permutation(16), np.array([13, 2]), np.array([3]), np.array([15]), np.arange(0)):
        assert asking.cosines(ads, asked).tolist() == pytest.approx(cosines[asked].tolist(), abs=1e-5)
        assert asking.late_shares(ads, asked).tolist() == [0.0] * len(asked)


def test_new_ads_are_embedded_by_both_and_weighed_by_the_student(plain, encoder):
    new = Ad("new", "红色 水壶 kettle", "for red pan", keywords=("水壶",))
    ours, theirs = engine_with(plain, encoder=encoder), engine_with(plain)
    for engine in (ours, theirs):
        engine.add_ads([new])
    texts = ad_texts(Catalog.from_ads([new]))
    for query in QUERIES:
        (mean,) = both_say(plain, encoder, ours.read(query).for_models, texts, texts)
        assert by_id(ours.retrieve(query, 99, channel=Channel.DENSE))["new"] == pytest.approx(mean, abs=1e-5)
        for channel in (Channel.INTENTION, Channel.LEXICAL):
            found, expected = (by_id(one.retrieve(query, 99, channel=channel)) for one in (ours, theirs))
            assert found == pytest.approx(expected)
    assert "new" in by_id(ours.retrieve("水壶", channel=Channel.INTENTION))


def test_the_learned_fusion_ranks_new_ads_as_if_they_were_built_with(plain, fusion):
    """The features of ads in the second segment are those that they have in one."""
    engine = engine_with(plain, fusion=fusion)
    engine.add_ads([Ad("twin", "Red robot vacuum", keywords=("robot vacuum",)), Ad("other", "红色扫地机器人 pan")])
    for query in ("red robot vacuum", "扫地机器人 pan"):
        ((rows, table),) = engine.candidates([query])
        before = dict(zip(rows.tolist(), table, strict=True))
        ranked = ids(engine.retrieve(query, 99))
        merged = engine.snapshot.merged(0, len(engine.snapshot.segments))
        one = Engine(
            engine.catalog, plain.student, replace(plain.intentions, postings=merged.postings),
            merged.vectors, merged.lexical, EAGER, fusion=fusion, titles=merged.titles,
        )  # fmt: skip
        ((rows, table),) = one.candidates([query])
        assert set(rows.tolist()) == set(before)
        for row, values in zip(rows.tolist(), table, strict=True):
            assert values == pytest.approx(before[row], abs=1e-4)
        assert set(ids(one.retrieve(query, 99))) == set(ranked)


PAGE = (Span("R0bot vacuurn", 0.75), Span("Sale", 0.97))


def test_pages_of_new_ads_are_cleaned_by_the_words_of_the_catalogue(plain):
    engine = engine_with(plain)
    chinese = Ad("zh", "全新", landing_spans=(Span("红色扫他机器人", 0.7),))
    engine.add_ads([Ad("new", "Gadget", landing_spans=PAGE), chinese])
    assert "new" in ids(engine.retrieve("vacuum", channel=Channel.LEXICAL))
    assert "new" in ids(engine.retrieve("sale", channel=Channel.LEXICAL))
    assert "zh" in ids(engine.retrieve("扫地", channel=Channel.LEXICAL))
    assert ids(engine.retrieve("vacuurn", channel=Channel.LEXICAL)) == []


def test_the_lexicon_is_made_once_and_only_for_spans(plain, monkeypatch):
    made = []
    real = new_ads.domain_lexicon
    monkeypatch.setattr(new_ads, "domain_lexicon", lambda *given: made.append(given) or real(*given))
    engine = engine_with(plain)
    engine.add_ads([Ad("new", "Gadget", landing_text="written, not read"), Ad("other", "小工具")])
    assert made == []
    engine.add_ads([Ad("seen", "Gadget", landing_spans=PAGE)])
    engine.add_ads([Ad("seen-2", "Gadget", landing_spans=PAGE)])
    ((catalog, intentions),) = made
    assert catalog.num_ads == len(ADS)  # as built
    assert intentions == plain.intentions.texts


@pytest.mark.parametrize("reads_pages", [False, True])
def test_the_encoder_reads_pages_of_new_ads_if_it_was_trained_so(plain, encoder, reads_pages):
    chunks = ChunkSettings(num_chunks=2, threshold=0.0)
    engine = engine_with(plain, encoder=encoder, indexing=IndexSettings(reads_pages=reads_pages, chunks=chunks))
    new = [Ad("new", "Gadget", landing_text="扫地机器人。 Blue shoe.", landing_spans=PAGE), Ad("bare", "Lamp")]
    engine.add_ads(new)
    catalog = Catalog.from_ads(new)
    pages = engine._live._reader._pages(catalog)
    assert pages[1] == ""
    assert "vacuum" in pages[0]

    def embed(texts):
        return plain.student.embed(texts, MAX_SENTENCE_TOKENS)

    texts = encoder_texts(catalog, pages, [(), ()], embed, chunks) if reads_pages else ad_texts(catalog)
    assert (texts[0] != "Gadget") == reads_pages
    means = both_say(plain, encoder, "robot vacuum", ad_texts(catalog), texts)  # the student reads no page
    found = by_id(engine.retrieve("robot vacuum", 99, channel=Channel.DENSE))
    assert [found["new"], found["bare"]] == pytest.approx(means, abs=1e-5)
