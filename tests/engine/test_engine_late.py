"""The dense channel with an encoder whose tokens interact with those of ads, against a plain loop over ads."""

import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from intently.catalog import Catalog
from intently.catalog.texts import ad_texts
from intently.engine.channels.dense import DenseQuery
from intently.engine.engine import Engine
from intently.engine.layout import TOKENS
from intently.engine.settings import RetrievalSettings
from intently.errors import ArtifactError, SettingsError
from intently.index.concatenated import concatenate_embeddings
from intently.index.posting_weights import PostingSettings
from intently.index.token_vectors import TokenVectors
from intently.index.vectors import VectorIndex
from intently.live import merging as live
from intently.models.encoder.embedder import Embedder
from intently.models.encoder.settings import EncoderSettings
from intently.models.student import Runtime
from intently.types import Ad, Channel
from tests.engine.small_engine import ADS, QUERIES, SETTINGS, USERS, ids, make_engine, save
from tests.engine.test_engine_bridge import make_encoder as some_encoder

EAGER = replace(SETTINGS, runtime=Runtime.TORCH)
TEXTS = ad_texts(Catalog.from_ads(ADS))
SIZE = 12  # of a token's embedding


def make_encoder(tokenizer_json: str, token_dimension: int) -> Embedder:
    return some_encoder(tokenizer_json, EncoderSettings(layer_fusion=True, token_dimension=token_dimension))


@pytest.fixture(scope="module")
def plain(make_student) -> Engine:
    return make_engine(make_student(3), EAGER)


@pytest.fixture(scope="module")
def encoder(tokenizer_json) -> Embedder:
    return make_encoder(tokenizer_json, SIZE)


def engine_with(plain: Engine, encoder: Embedder, **changed: object) -> Engine:
    """Return a new engine of the same indexes with this encoder, and some retrieval settings of its own."""
    read = encoder.read_ads(TEXTS)
    vectors = VectorIndex(concatenate_embeddings(plain.vectors.embeddings, read.embeddings))
    return Engine(
        Catalog.from_ads(ADS), plain.student, plain.intentions, vectors, plain.lexical, replace(EAGER, **changed),
        encoder=encoder, tokens=read.tokens,
    )  # fmt: skip


@pytest.fixture
def engine(plain, encoder) -> Engine:
    return engine_with(plain, encoder)


class Twin:
    """The slow twin: the dense channel as a loop over eligible ads, told cosine and late interaction of each found."""

    def __init__(self, engine: Engine, query: str) -> None:
        self.settings = engine.settings
        text = [engine.read(query).for_models]
        own = engine.student.read(text, engine.settings.max_query_tokens).embeddings
        read = engine.encoder.read_queries(text)
        self.query = concatenate_embeddings(own, read.embeddings)[0].astype(np.float64)
        self.tokens = read.tokens[0].astype(np.float64)
        (segment,) = engine.snapshot.segments
        self.vectors = np.asarray(segment.vectors.embeddings, dtype=np.float64)
        codes, offsets = segment.tokens.values, segment.tokens.offsets
        self.ads = [codes[start:end] / 127 for start, end in pairwise(offsets)]

    def late(self, row: int) -> float:
        return float(np.mean([max(float(token @ other) for other in self.ads[row]) for token in self.tokens]))

    def best(self, eligible: list[int], depth: int) -> list[tuple[int, float, float]]:
        """Return (row, cosine, weighted late interaction) of the best, best first."""
        settings, query = self.settings, self.query
        first = sorted(eligible, key=lambda row: (-float(self.vectors[row] @ query), row))[: 2 * depth]
        late = {row: settings.late_weight * self.late(row) for row in first}
        if settings.feedback_weight:
            ordered = sorted(first, key=lambda row: (-(float(self.vectors[row] @ query) + late[row]), row))
            near = [self.vectors[row] for row in ordered[: settings.num_feedback_ads]]
            query = query + settings.feedback_weight * sum(near) / len(near)
            query = query / np.linalg.norm(query)
        found = [(row, float(self.vectors[row] @ query), late[row]) for row in first]
        return sorted(found, key=lambda one: (-(one[1] + one[2]), one[0]))[:depth]


@pytest.mark.parametrize("late_weight", [0.1, 0.5, 4.0])
@pytest.mark.parametrize("feedback_weight", [0.0, 0.6])
@pytest.mark.parametrize("depth", [1, 2, 3, 99])
def test_the_dense_path_is_the_loop_over_all_ads(plain, encoder, late_weight, feedback_weight, depth):
    engine = engine_with(
        plain,
        encoder,
        late_weight=late_weight,
        feedback_weight=feedback_weight,
        num_feedback_ads=2,
        num_candidates=depth,
    )
    for user, hidden in USERS:
        eligible = [row for row, ad in enumerate(ADS) if ad.ad_id not in hidden]
        for query in QUERIES:
            found = engine.retrieve(query, depth, user=user, channel=Channel.DENSE)
            expected = Twin(engine, query).best(eligible, depth)
            assert ids(found) == [ADS[row].ad_id for row, *_ in expected]
            for ad, (_, cosine, late) in zip(found.ads, expected, strict=True):
                assert ad.score == pytest.approx(cosine + late, abs=1e-5)
                (reason,) = ad.reasons
                told = dict(reason.evidence)
                assert told == pytest.approx({"cosine": cosine, "late interaction": late}, abs=1e-5)
                assert sum(told.values()) == pytest.approx(reason.score, abs=1e-6)


def test_late_interaction_changes_the_order(plain, encoder):
    """Otherwise none of these tests would say anything."""
    with_it, without = engine_with(plain, encoder), engine_with(plain, encoder, late_weight=0.0)
    moved = [
        ids(with_it.retrieve(query, 99, channel=Channel.DENSE))
        != ids(without.retrieve(query, 99, channel=Channel.DENSE))
        for query in QUERIES
    ]
    assert sum(moved) > 3


@pytest.mark.parametrize("feedback_weight", [0.0, 0.6])
@pytest.mark.parametrize("channel", Channel)
def test_without_a_weight_nothing_interacts(plain, encoder, tokenizer_json, feedback_weight, channel):
    unweighted = engine_with(plain, encoder, late_weight=0.0, feedback_weight=feedback_weight)
    without = engine_with(plain, make_encoder(tokenizer_json, 0), feedback_weight=feedback_weight)
    assert without.snapshot.segments[0].tokens is None
    for query in QUERIES:
        assert unweighted.retrieve(query, 99, channel=channel).ads == without.retrieve(query, 99, channel=channel).ads


def by_id(ranking) -> dict[str, float]:
    return {ad.ad_id: ad.score for ad in ranking.ads}


@pytest.mark.parametrize("channel", [Channel.DENSE, Channel.FUSED])
@pytest.mark.parametrize("batch_size", [1, 4, 99])
def test_many_at_once_are_each_alone(engine, channel, batch_size):
    together = list(engine.retrieve_many(QUERIES, 99, channel=channel, batch_size=batch_size))
    for query, ranking in zip(QUERIES, together, strict=True):
        assert by_id(ranking) == pytest.approx(by_id(engine.retrieve(query, 99, channel=channel)), abs=1e-5)


@pytest.mark.parametrize("num_threads", [2, 3])
def test_threads_change_nothing(plain, encoder, engine, num_threads, monkeypatch):
    monkeypatch.setattr("intently.index.token_vectors._BLOCK", 3)
    threaded = engine_with(plain, encoder, num_threads=num_threads)
    for expected, found in zip(
        engine.retrieve_many(QUERIES, 99), threaded.retrieve_many(QUERIES, 99, batch_size=4), strict=True
    ):
        assert by_id(found) == pytest.approx(by_id(expected), abs=1e-5)
    asked = []
    scores_of = TokenVectors.scores_of
    monkeypatch.setattr(TokenVectors, "scores_of", lambda *given: asked.append(given[3]) or scores_of(*given))
    threaded.retrieve("red pan", channel=Channel.DENSE, explain=False)
    assert asked == [num_threads]


def test_the_int8_runtime_is_near(plain, encoder, engine):
    quick = engine_with(plain, encoder, runtime=Runtime.ONNX_INT8)
    assert quick.encoder.runtime is Runtime.ONNX_INT8
    for query in QUERIES:
        found, expected = (by_id(one.retrieve(query, 99, channel=Channel.DENSE)) for one in (quick, engine))
        assert found == pytest.approx(expected, abs=0.1)


def test_fusions_learn_from_the_scores_that_queries_are_answered_by(engine):
    from intently.engine.answerer import FUSED_CHANNELS
    from intently.engine.fusion_features import feature_names

    at = feature_names(FUSED_CHANNELS).index("dense score")
    for query, (rows, table) in zip(QUERIES, engine.candidates(QUERIES), strict=True):
        scores = by_id(engine.retrieve(query, 99, channel=Channel.DENSE))
        told = {ADS[row].ad_id: score for row, score in zip(rows.tolist(), table[:, at].tolist(), strict=True)}
        assert told == pytest.approx({ad_id: scores[ad_id] for ad_id in told}, abs=1e-5)


def test_scores_of_some_rows_of_two_segments(engine, encoder):
    new = [Ad("n1", "Red pan"), Ad("n2", "红色 水壶"), Ad("n3", "Blue shoe novelty")]
    engine.add_ads(new)
    ads = engine.snapshot
    texts = [*TEXTS, *ad_texts(Catalog.from_ads(new))]
    one = encoder.read_ads(texts).tokens
    (tokens,) = encoder.read_queries(["红色 robot pan"]).tokens
    expected = one.scores_of(tokens, np.arange(15))
    query = DenseQuery(np.asarray(engine.vectors.embeddings)[3], tokens, 0.7, 1)
    for rows in (np.arange(15), np.arange(15)[::-1], np.array([13, 2]), np.array([3]), np.array([14]), np.arange(0)):
        late = query.late_shares(ads, rows)
        assert late.tolist() == pytest.approx((0.7 * expected[rows]).tolist(), abs=2e-2)  # bfloat16
        alone = query.cosines(ads, rows)
        assert alone.tolist() == pytest.approx(
            [float(query.cosines(ads, rows[at : at + 1])[0]) for at in range(len(rows))]
        )


def test_saved_and_loaded(plain, encoder, engine, tmp_path):
    parts = {"encoder": encoder, "tokens": engine.tokens}
    files = save(engine, tmp_path, parts=parts)
    loaded = Engine.load(tmp_path)
    for query in QUERIES:
        before, after = (one.retrieve(query, 99, channel=Channel.DENSE) for one in (engine, loaded))
        assert ids(after) == ids(before)
        assert by_id(after) == pytest.approx(by_id(before))
    loaded.add_ads([Ad("new", "红色 pan")])  # beside what is mapped
    assert "new" in ids(loaded.retrieve("红色 pan", 99, channel=Channel.DENSE))
    tokens = [path for path in files if path.parent.name == TOKENS]
    assert {path.name for path in tokens} == {"codes.npy", "offsets.npy"}
    for path in tokens:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ArtifactError, match=f"{path.name} has been altered"):
            Engine.load(tmp_path)
        path.write_bytes(content)
    save(engine, tmp_path, parts={"encoder": encoder})  # whole, but of an encoder that lacks them
    with pytest.raises(ArtifactError, match="the tokens' vectors are of 0 dimensions, the encoder's of 12; build"):
        Engine.load(tmp_path)


def test_tokens_of_another_encoder_are_refused(plain, encoder, tokenizer_json):
    bare, wide = make_encoder(tokenizer_json, 0), make_encoder(tokenizer_json, 20)
    own, others = encoder.read_ads(TEXTS).tokens, wide.read_ads(TEXTS).tokens
    both = VectorIndex(concatenate_embeddings(plain.vectors.embeddings, encoder.embed_ads(TEXTS)))
    for vectors, reads, tokens, held, wanted in (
        (both, encoder, others, 20, 12),
        (both, encoder, None, 0, 12),
        (both, bare, own, 12, 0),
        (plain.vectors, None, own, 12, 0),
    ):
        told = f"the tokens' vectors are of {held} dimensions, the encoder's of {wanted}; build the engine again"
        with pytest.raises(ArtifactError, match=told):
            Engine(
                plain.catalog, plain.student, plain.intentions, vectors, plain.lexical, EAGER,
                encoder=reads, tokens=tokens,
            )  # fmt: skip


@pytest.mark.parametrize("wrong", [-0.1, float("nan")])
def test_a_weight_is_not_negative(wrong):
    with pytest.raises(SettingsError, match="'late_weight'"):
        RetrievalSettings(late_weight=wrong)


# Ads that come and go.

NEW = [
    Ad("n1", "Red pan"),
    Ad("n2", "红色 水壶 kettle"),
    Ad("n3", "Blue shoe for robot vacuum drill bit lamp"),
    Ad("n4", "电热灯"),
    Ad("n5", "LED", status="paused"),
    Ad("robot", "Drill bit 机器人"),
    Ad("shoe", "Red"),
]


def assert_as_built(engine: Engine, encoder: Embedder, ads: list[Ad]) -> None:
    """Compare the dense channel with that of an engine whose vectors are made from all ads at once."""
    catalog = Catalog.from_ads(ads)
    assert engine.catalog.strings("ad_id") == catalog.strings("ad_id")
    texts = ad_texts(catalog)
    own = engine.student.embed(texts, PostingSettings().max_ad_tokens)
    merged, read = engine.snapshot.merged(0, len(engine.snapshot.segments)), encoder.read_ads(texts)
    assert merged.tokens.num_ads == len(ads)
    assert merged.tokens.offsets.tolist() == read.tokens.offsets.tolist()
    one = Engine(
        catalog, engine.student, replace(engine.intentions, postings=merged.postings),
        VectorIndex(concatenate_embeddings(own, read.embeddings)), merged.lexical, engine.settings,
        encoder=encoder, tokens=read.tokens, titles=merged.titles,
    )  # fmt: skip
    for query in ("red robot vacuum", "红色水壶 kettle", "shoe", "drill bit 灯"):
        found, expected = (by_id(each.retrieve(query, 99, channel=Channel.DENSE)) for each in (engine, one))
        assert found == pytest.approx(expected, abs=1e-2)  # bfloat16, where fast, in batches of other lengths
        assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.mark.parametrize("min_loose", [0, 3, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_any_changes_equal_building_from_scratch(plain, encoder, monkeypatch, min_loose, seed):
    monkeypatch.setattr(live, "MIN_LOOSE", min_loose)
    engine, rng = engine_with(plain, encoder), np.random.default_rng(seed)
    there = {ad.ad_id: ad for ad in ADS}
    for _ in range(5):
        coming = [NEW[at] for at in rng.permutation(len(NEW))[: rng.integers(1, 4)]]
        engine.add_ads(coming, replace=True)
        for ad in coming:
            if there.get(ad.ad_id) != ad:  # with the same text it stays in its place
                there.pop(ad.ad_id, None)
            there[ad.ad_id] = ad  # at the end: in order of arrival
        going = [list(there)[at] for at in rng.permutation(len(there))[:2]]
        engine.remove_ads(going)
        for ad_id in going:
            del there[ad_id]
    assert_as_built(engine, encoder, list(there.values()))
    engine._live.wait()
    assert_as_built(engine, encoder, list(there.values()))


def test_all_ads_may_go_and_come_again(engine, encoder, monkeypatch):
    monkeypatch.setattr(live, "MIN_LOOSE", 0)
    engine.remove_ads([ad.ad_id for ad in ADS])
    engine._live.wait()
    assert engine.snapshot.segments[0].tokens.num_ads == 0
    assert ids(engine.retrieve("red robot", channel=Channel.DENSE)) == []
    engine.add_ads(ADS)
    engine._live.wait()
    assert_as_built(engine, encoder, ADS)


def test_readers_while_writing(plain, encoder, monkeypatch):
    """A pair of ads alike comes and goes: no reader ever sees one of them alone, or scored otherwise."""
    monkeypatch.setattr(live, "MIN_LOOSE", 2)
    engine, problems, done = engine_with(plain, encoder), [], threading.Event()
    pair = [Ad("left", "Red pan lamp"), Ad("right", "Red pan lamp")]

    def read() -> None:
        while not done.is_set():
            found = by_id(engine.retrieve("red pan", 99, channel=Channel.DENSE))
            seen = [found[ad.ad_id] for ad in pair if ad.ad_id in found]
            if len(seen) == 1 or (seen and abs(seen[0] - seen[1]) > 1e-5):
                problems.append(seen)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    try:
        for _ in range(8):
            engine.add_ads(pair)
            engine.remove_ads([ad.ad_id for ad in pair])
    finally:
        done.set()
        for thread in readers:
            thread.join()
    engine._live.wait()
    assert problems == []
    assert_as_built(engine, encoder, ADS)
