"""The query cache against a dict, its file against damage, and the engine with it against the engine without."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.engine import cache as module
from intently.engine.cache import QueryCache
from intently.engine.cache_statistics import CacheStatistics
from intently.engine.engine import Engine
from intently.engine.fill_cache import fill_cache
from intently.engine.layout import CACHE_FILE
from intently.errors import ArtifactError, InputError
from intently.intentions.decode import Decoded, DecodeSettings
from intently.text.normalize import normalize
from intently.types import Ad, Channel
from tests.engine.small_engine import ADS, QUERIES, SETTINGS, ids, make_engine, save

VERSION, OTHER = "0f" * 32, "f0" * 32


def answer(*intention_ids: int) -> Decoded:
    return Decoded(np.array(intention_ids, dtype=np.int64), -np.arange(len(intention_ids)) / 4)


texts = st.text(st.sampled_from("abＡ 红灯é\u200b"), max_size=4)
answers = st.lists(st.integers(0, 2**31 - 1), max_size=4).map(lambda numbers: answer(*numbers))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(texts, answers), max_size=12), st.lists(texts, max_size=6), st.booleans())
def test_equals_a_dict(tmp_path_factory, items, others, collide):
    """Also where all hashes are the same: then only the texts tell queries apart."""
    path = tmp_path_factory.mktemp("cache") / CACHE_FILE
    with pytest.MonkeyPatch.context() as patch:
        if collide:
            patch.setattr(module, "_hash", lambda key: 2**64 - 1)
        cache = QueryCache.build(path, [query for query, _ in items], [found for _, found in items], VERSION)
        twin: dict[str, Decoded] = {}
        for query, found in items:
            twin.setdefault(normalize(query), found)
        assert len(cache) == len(twin)
        asked = [*(query for query, _ in items), *others]
        for query in asked:
            found, expected = cache.lookup(query), twin.get(normalize(query))
            if expected is None:
                assert found is None
            else:
                assert found.intention_ids.tolist() == expected.intention_ids.tolist()
                assert found.log_probs.tolist() == expected.log_probs.tolist()  # quarters: exact in float32
                assert (found.intention_ids.dtype, found.log_probs.dtype) == (np.int64, np.float64)
        hits = sum(normalize(query) in twin for query in asked)
        assert cache.statistics == CacheStatistics(len(asked), hits)


def test_statistics_are_counted_and_reset(tmp_path):
    cache = QueryCache.build(tmp_path / CACHE_FILE, ["red pan"], [answer(1)], VERSION)
    assert (cache.statistics, cache.statistics.hit_rate) == (CacheStatistics(0, 0), 0.0)

    def ask() -> None:
        for _ in range(500):
            cache.lookup("ＲＥＤ  Pan")
            cache.lookup("blue pan")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.statistics == CacheStatistics(4000, 2000)
    assert cache.statistics.hit_rate == 0.5
    assert cache.reset_statistics() == CacheStatistics(4000, 2000)
    assert cache.statistics == CacheStatistics()


def test_another_vocabulary_is_refused(tmp_path):
    path = tmp_path / CACHE_FILE
    QueryCache.build(path, ["red pan"], [answer(1)], VERSION)
    with pytest.raises(ArtifactError, match=r"cache\.bin was made for another vocabulary of intentions; fill"):
        QueryCache(path, OTHER)


def test_any_altered_or_missing_byte_is_refused(tmp_path):
    path = tmp_path / CACHE_FILE
    QueryCache.build(path, ["red pan", "灯"], [answer(1, 2), answer()], VERSION)
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(ArtifactError, match=r"cache\.bin"):
            QueryCache(path, VERSION)
    for damaged in (b"", content[:10], content[:-1], content + b"\0", b"PK\x03\x04" * 99):
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"cache\.bin does not hold a query cache"):
            QueryCache(path, VERSION)
    path.unlink()
    with pytest.raises(ArtifactError, match=r"cache\.bin does not hold a query cache"):
        QueryCache(path, VERSION)


def test_wrong_input(tmp_path):
    with pytest.raises(InputError, match="1 queries have 0 answers; give each query one"):
        QueryCache.build(tmp_path / CACHE_FILE, ["red"], [], VERSION)
    with pytest.raises(InputError, match=r"'1' is no vocabulary's version; pass IntentionIndex\.version"):
        QueryCache.build(tmp_path / CACHE_FILE, [], [], "1")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def engine(make_student) -> Engine:
    return make_engine(make_student(3))


def decode(engine: Engine, queries: list[str]) -> list[Decoded]:
    read = [engine.read(query).for_models for query in queries]
    reading = engine.student.read(read, SETTINGS.max_query_tokens)
    return engine._models.intention_reader.read(reading, SETTINGS.num_near, SETTINGS.decode)


def with_cache(engine: Engine, path, queries: list[str]) -> Engine:
    cache = QueryCache.build(path, queries, decode(engine, queries), engine.intentions.version)
    parts = (engine.catalog, engine.student, engine.intentions, engine.vectors, engine.lexical)
    return Engine(*parts, SETTINGS, cache=cache)


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_a_cache_changes_no_answer(engine, tmp_path, channel, batch_size):
    kept = QUERIES[::2]
    cached = with_cache(engine, tmp_path / CACHE_FILE, kept)
    together = list(cached.retrieve_many(QUERIES, 5, channel=channel, explain=True, batch_size=batch_size))
    for query, ranking in zip(QUERIES, together, strict=True):
        assert ranking.cached is (query in kept and channel in (Channel.INTENTION, Channel.FUSED))
        for other in (cached.retrieve(query, 5, channel=channel), engine.retrieve(query, 5, channel=channel)):
            assert ids(ranking) == ids(other)
            assert [ad.score for ad in ranking.ads] == pytest.approx([ad.score for ad in other.ads], abs=1e-5)
            assert [one.text for one in ranking.intentions] == [one.text for one in other.intentions]
            assert [one.log_prob for one in ranking.intentions] == pytest.approx(
                [one.log_prob for one in other.intentions], abs=1e-5
            )
    asked = cached.cache.statistics
    if channel in (Channel.INTENTION, Channel.FUSED):
        assert asked == CacheStatistics(2 * len(QUERIES), 2 * len(kept))
    else:
        assert asked == CacheStatistics()


def test_what_is_cached_is_not_computed(engine, tmp_path):
    cached = with_cache(engine, tmp_path / CACHE_FILE, ["red pan"])
    stages = {"rules", "search", "fuse", "explain", "cache"}
    assert set(cached.retrieve(" RED pan", channel=Channel.INTENTION).timings_ms) == stages
    assert set(cached.retrieve("red pan").timings_ms) == stages | {"encode"}
    assert set(cached.retrieve("blue pan").timings_ms) == stages | {"encode", "decode"}
    mixed = list(cached.retrieve_many(["blue pan", "red pan"], channel=Channel.INTENTION))
    assert [set(one.timings_ms) - stages for one in mixed] == [{"encode", "decode"}, set()]


def test_changing_the_ads_stales_nothing(engine, tmp_path):
    cached = with_cache(engine, tmp_path / CACHE_FILE, ["red pan"])
    assert "pan" in ids(cached.retrieve("red pan", channel=Channel.INTENTION))
    cached.add_ads([Ad("pan-2", "Red pan")])
    cached.remove_ads(["pan"])
    ranking = cached.retrieve("red pan", channel=Channel.INTENTION)
    assert ranking.cached
    assert "pan-2" in ids(ranking)
    assert "pan" not in ids(ranking)


def test_an_engine_takes_the_cache_of_its_generation_alone(engine, tmp_path):
    root, cache = tmp_path / "engine", tmp_path / CACHE_FILE
    found = decode(engine, ["red pan"])
    QueryCache.build(cache, ["red pan"], found, engine.intentions.version)
    (first, *_) = save(engine, root)
    for stray in (root / CACHE_FILE, root / "generations" / first.relative_to(root).parts[1] / CACHE_FILE):
        stray.write_bytes(cache.read_bytes())
    assert Engine.load(root).cache is None
    save(engine, root, cache=cache)
    loaded = Engine.load(root)
    assert loaded.retrieve("red pan").cached
    assert not loaded.retrieve(ADS[0].title).cached
    del loaded
    QueryCache.build(cache, ["red pan"], found, OTHER)
    save(engine, root, cache=cache)
    with pytest.raises(ArtifactError, match="another vocabulary"):
        Engine.load(root)


def test_filling_it_from_an_engine(engine, tmp_path):
    seen: list[tuple[int, int]] = []
    queries = ["red pan", "drill bits led", "ＲＥＤ pan", "扫地机器人"]
    cache = fill_cache(engine, queries, tmp_path / CACHE_FILE, batch_size=2, progress=lambda *told: seen.append(told))
    assert (len(cache), seen) == (3, [(2, 3), (3, 3)])
    for query, expected in zip(queries, decode(engine, queries), strict=True):
        found = cache.lookup(query)
        assert found.intention_ids.tolist() == expected.intention_ids.tolist()
        assert found.log_probs == pytest.approx(expected.log_probs, abs=1e-5)
    narrow = fill_cache(engine, queries, tmp_path / "other.bin", decode=DecodeSettings(num_beams=2))
    assert narrow.lookup("red pan").intention_ids[:2].tolist() != expected.intention_ids[:2].tolist()
    assert len(fill_cache(engine, [], tmp_path / "empty.bin")) == 0
    assert engine.cache is None
