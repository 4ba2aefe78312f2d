"""An engine without models: words and literal intentions, live as any other, against twins that look at every ad."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from small_engine import ADS, GIVEN, QUERIES, SAY_NOTHING, SETTINGS, TEXTS, USERS, ids, make_engine, save

from intently.catalog import Catalog
from intently.catalog.texts import searchable_texts
from intently.engine.current import CurrentEngine
from intently.engine.engine import Engine
from intently.engine.fill_cache import fill_cache
from intently.engine.learned_fusion import LearnedFusion
from intently.engine.reciprocal_ranks import reciprocal_rank_fusion
from intently.errors import ArtifactError, InputError
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.index.posting_weights import AdIntentions, PostingSettings, build_postings, weigh
from intently.live import merging
from intently.text.analyze import Analyzer
from intently.types import Ad, Channel, Delete, Patch, Put, Request, UserContext

HAS = (Channel.INTENTION, Channel.LEXICAL)
NONE = np.empty((0, 2), dtype=np.int64)


def make(ads: list[Ad] = ADS, given: list[tuple[int, int]] = GIVEN, **parts) -> Engine:
    catalog = Catalog.from_ads(ads)
    known = AdIntentions(np.array(given), NONE, NONE, np.empty(0))
    postings, weighed = build_postings(known, len(ads), len(TEXTS), PostingSettings())
    lexical = LexicalIndex.build(searchable_texts(catalog), LexicalSettings())
    return Engine(catalog, None, IntentionIndex(TEXTS, None, postings, Analyzer(), weighed, None), None, lexical,
                  SETTINGS, **parts)  # fmt: skip


@pytest.fixture
def engine() -> Engine:
    return make()


def test_it_has_two_channels_and_says_how_to_get_the_third(engine):
    assert engine.channels == HAS
    for ask in (
        lambda: engine.retrieve("red pan", channel=Channel.DENSE),
        lambda: engine.answer(Request("pan", channel=Channel.DENSE)),
        lambda: engine.retrieve_many(["pan"], channel=Channel.DENSE),  # at once, before the first is asked for
    ):
        with pytest.raises(InputError, match="no channel 'dense', but intention, lexical; build it with another pre"):
            ask()
    for ask in (lambda: engine.embed_queries(["pan"]), lambda: engine.query_models):
        with pytest.raises(InputError, match="this engine has no models; build it with another preset, 'instant'"):
            ask()


def test_a_cache_needs_models(engine, tmp_path):
    with pytest.raises(InputError, match="has no models"):
        fill_cache(engine, ["pan"], tmp_path / "cache.bin")
    assert not (tmp_path / "cache.bin").exists()


@pytest.mark.parametrize("query", [*QUERIES, "drill bit 红色水壶 pan"])
@pytest.mark.parametrize(("user", "hidden"), USERS)
def test_intentions_are_found_word_by_word(engine, query, user, hidden):
    """A twin adds up the weights of the phrases that the query has, ad by ad."""
    literal = engine.intentions.literal(engine.read(query)).tolist()
    shares = (1 + SETTINGS.literal_weight) / max(len(literal), 1)
    wanted: dict[str, float] = {}
    for key in literal:
        for row, weight in zip(*engine.intentions.postings.of(key), strict=True):
            if ADS[row].ad_id not in hidden:
                wanted[ADS[row].ad_id] = wanted.get(ADS[row].ad_id, 0.0) + shares * float(weight)
    found = engine.retrieve(query, 20, user=user, channel=Channel.INTENTION)
    anyone = {ad.ad_id: ad.score for ad in found.ads if ad.ad_id != "shoe"}
    wanted.pop("shoe", None)
    assert {ad: score for ad, score in anyone.items() if ad in wanted} == pytest.approx(wanted, rel=1e-5)
    assert [each.text for each in found.intentions] == [TEXTS[key] for key in sorted(literal)]
    assert sum(np.exp(each.log_prob) for each in found.intentions) == pytest.approx(1.0 if literal else 0.0)
    for ad in found.ads:
        (reason,) = ad.reasons
        assert {text for text, _ in reason.evidence} <= {TEXTS[key] for key in literal}


@pytest.mark.parametrize("query", [*QUERIES, *SAY_NOTHING])
def test_the_two_are_fused_by_reciprocal_ranks(engine, query):
    one = engine.retrieve(query, 12)
    rows = {ad.ad_id: row for row, ad in enumerate(ADS)}
    rankings = [
        np.array([rows[ad] for ad in ids(engine.retrieve(query, 12, channel=channel))], dtype=np.int64)
        for channel in HAS
    ]
    weights = [SETTINGS.intention_weight, SETTINGS.lexical_weight]
    wanted, scores = reciprocal_rank_fusion(rankings, weights, SETTINGS.fusion_constant)
    assert ids(one) == [ADS[row].ad_id for row in wanted]
    assert [ad.score for ad in one.ads] == pytest.approx(scores.tolist())
    assert {reason.channel for ad in one.ads for reason in ad.reasons} <= set(HAS)
    assert set(one.timings_ms) <= {"rules", "search", "fuse", "explain"}


def answers(engine: Engine) -> list:
    asked = [*QUERIES, "gizmo kettle", "drill 水壶"]
    return [
        (query, channel, [(ad.ad_id, round(ad.score, 6)) for ad in engine.retrieve(query, 20, channel=channel).ads])
        for query in asked
        for channel in (*HAS, Channel.FUSED)
    ]


def test_changes_are_as_if_built_with_them(engine, monkeypatch):
    """Puts, patches and deletes, before and after a merge, equal an engine of the same ads with the same statistics."""
    engine.apply([Put(Ad("new", "Electric gizmo kettle", keywords=("robot vacuum",))), Delete("bits")])
    engine.apply([Patch("pan", {"status": "paused"}), Patch("kettle", {"title": "红色水壶"})])
    engine.add_ads([Ad("zh-new", "红色 gizmo 水壶", countries=("DE",))])
    before = answers(engine)
    assert "pan" not in ids(engine.retrieve("pan", 20))
    assert ids(engine.retrieve("gizmo", user=UserContext(country="CN"))) == ["new"]
    assert "new" in ids(engine.retrieve("robot vacuum", 20, channel=Channel.INTENTION))  # which it bids on
    monkeypatch.setattr(merging, "MIN_LOOSE", 0)
    monkeypatch.setattr(merging, "LOOSE_SHARE", 0.0)
    engine.remove_ads(["lamp"])
    engine._live.wait()
    assert len(engine.snapshot.segments) == 1
    after = answers(engine)
    lamp = {"lamp"}
    assert [(*one, [ad for ad in ads if ad[0] not in lamp]) for *one, ads in before if one[1] is not Channel.FUSED] == [
        (*one, ads) for *one, ads in after if one[1] is not Channel.FUSED
    ]

    now = [ad for ad_id in engine.catalog.strings("ad_id") if (ad := engine.ad(ad_id))]
    of_built = {ad_id: [key for key, row in GIVEN if ADS[row].ad_id == ad_id] for ad_id in {ad.ad_id for ad in ADS}}
    read = {"new", "zh-new", "kettle"}
    keys = [
        engine.intentions.given(ad.title, ad.keywords).tolist() if ad.ad_id in read else of_built[ad.ad_id]
        for ad in now
    ]
    given = np.array([(key, row) for row, each in enumerate(keys) for key in each])
    postings = weigh(
        AdIntentions(given, NONE, NONE, np.empty(0)), len(now), engine.intentions.statistics, PostingSettings()
    )
    catalog = Catalog.from_ads(now)
    lexical = LexicalIndex.build(searchable_texts(catalog), LexicalSettings(), engine.lexical.statistics)
    intentions = replace(engine.intentions, postings=postings)
    assert answers(Engine(catalog, None, intentions, None, lexical, SETTINGS)) == after


def test_what_is_written_is_loaded_and_answers_the_same(engine, tmp_path):
    files = {path.relative_to(path.parents[1]).as_posix() for path in save(engine, tmp_path)}
    assert not [name for name in files if "student" in name or "vectors" in name or "trie" in name]
    loaded = Engine.load(tmp_path)
    assert (loaded.channels, loaded.student, loaded.vectors) == (HAS, None, None)
    assert answers(loaded) == answers(engine)
    loaded.apply([Put(Ad("new", "blue pan"))])
    assert "new" in ids(loaded.retrieve("pan", channel=Channel.INTENTION))


def test_parts_that_models_need_come_together(make_student, engine):
    whole = make_engine(make_student(3))
    parts = [whole.catalog, whole.student, whole.intentions, whole.vectors, whole.lexical, SETTINGS]
    for at, lacking in (
        (1, "no student,"),
        (2, "no trie of the intentions and no embeddings of the intentions,"),
        (3, "no vectors,"),
    ):
        fewer = list(parts)
        fewer[at] = engine.intentions if at == 2 else None
        with pytest.raises(ArtifactError, match=f"the engine has {lacking} which its models need"):
            Engine(*fewer)
    fusion = LearnedFusion.__new__(LearnedFusion)
    object.__setattr__(fusion, "channels", (Channel.DENSE, Channel.LEXICAL))
    with pytest.raises(ArtifactError, match="learned with a dense channel, which the engine lacks"):
        make(fusion=fusion)


def test_it_goes_over_to_an_engine_with_models_and_back(make_student, engine, tmp_path):
    save(engine, tmp_path)
    current = CurrentEngine(tmp_path)
    current.apply([Put(Ad("new", "Red gizmo pan")), Delete("kettle")])
    stop, channels, problems = threading.Event(), set(), []

    def ask() -> None:
        while not stop.is_set():
            try:
                found = current.answer(Request("red pan", 12, explain=True))
                channels.add((found.generation, frozenset(r.channel for ad in found.ads for r in ad.reasons)))
                assert "new" in ids(found)
            except Exception as error:
                problems.append(repr(error))

    thread = threading.Thread(target=ask)
    thread.start()
    save(make_engine(make_student(3)), tmp_path)
    assert current.refresh()
    assert "new" in ids(current.answer(Request("gizmo", channel=Channel.DENSE)))
    assert current.engine.ad("kettle") is None
    save(engine, tmp_path)
    assert current.refresh()
    stop.set()
    thread.join()
    assert problems == []
    assert current.engine.channels == HAS
    assert current.engine.ad("new").title == "Red gizmo pan"
