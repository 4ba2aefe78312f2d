"""The probability of relevance: what it is made of, what it does not depend on, and what `min_relevance` leaves out."""

import json
from dataclasses import replace

import numpy as np
import pytest

from intently.engine.engine import Engine
from intently.engine.layout import RELEVANCE_FILE
from intently.engine.relevance import Calibrator, evidence
from intently.errors import ArtifactError, InputError
from intently.types import Ad, Channel, Delete, Patch, Put, Request, UserContext
from tests.conftest import assert_damage_is_refused
from tests.engine.small_engine import (
    ADS,
    CALIBRATOR,
    QUERIES,
    SAY_NOTHING,
    SETTINGS,
    WEIGHTS,
    ids,
    make_engine,
    save,
)

ASKED = [*QUERIES, "kettle qwxz", "hamer for 红色", "the robto vacum"]


def calibrated(student, **settings) -> Engine:
    engine = make_engine(student, replace(SETTINGS, **settings))
    engine.calibrator = CALIBRATOR
    return engine


@pytest.fixture(scope="module")
def engine(make_student) -> Engine:
    return calibrated(make_student(3))


@pytest.fixture(scope="module")
def shallow(make_student) -> Engine:
    """An engine whose first search finds two ads a channel."""
    return calibrated(make_student(3), num_candidates=2)


def told(ranking) -> dict[str, float]:
    return {ad.ad_id: ad.relevance for ad in ranking}


def by_hand(engine: Engine, query: str, ad_id: str) -> dict[str, float]:
    """Return the evidence for one ad, computed without any index."""
    text, statistics = engine.read(query), engine.lexical.statistics
    ad = engine.ad(ad_id)
    analyzer = engine.intentions.analyzer
    own = {token.term for part in (ad.title, ad.description, *ad.keywords) for token in analyzer.tokens(part)}
    weight = dict(zip(text.terms, text.weights, strict=True))
    readings = []
    for reading in text.readings:
        mass = {term: statistics.idf([term])[0] * weight.get(term, 1.0) for term in reading}
        readings.append(sum(value for term, value in mass.items() if term in own) / sum(mass.values()))
    share = max(readings)
    row = engine._row(engine.snapshot, ad_id)
    cosine = float(engine.vectors.embeddings[row] @ engine.embed_queries([query])[0])
    score = {ad.ad_id: ad.score for ad in engine.retrieve(query, 99, channel=Channel.INTENTION)}.get(ad_id, 0.0)
    found = {"coverage": np.log(0.1 + share), "cosine": np.log(0.1 + max(cosine, 0.0))}
    return found | {"intentions": share * np.log1p(score)}


@pytest.mark.parametrize("query", ASKED)
def test_relevance_is_what_the_ad_and_the_query_say(engine, query):
    ranking = engine.retrieve(query, 99)
    assert len(ranking) > 5
    for ad_id, relevance in told(ranking).items():
        wanted = by_hand(engine, query, ad_id)
        expected = 1 / (1 + np.exp(-1.0 - sum(WEIGHTS[name] * value for name, value in wanted.items())))
        assert relevance == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("query", ASKED)
def test_relevance_depends_on_nothing_else(engine, shallow, query):
    alone = told(engine.retrieve(query, 99))
    assert 0 < min(alone.values()) < max(alone.values()) < 1
    others = [
        engine.retrieve(query, 3),
        engine.retrieve(query, 99, exclude=list(alone)[:4], explain=False),
        engine.retrieve(query, 99, user=UserContext(country="CN"), filters="title != 'x'", max_per={"title": 1}),
        engine.varied(replace(SETTINGS, feedback_weight=0.9, fusion_constant=60.0)).retrieve(query, 99),
        list(engine.answer_many([Request(each, 99) for each in [*ASKED, query]]))[-1],
        shallow.retrieve(query, 99),
    ]
    for ranking in others:
        assert len(ranking)
        for ad_id, relevance in told(ranking).items():
            assert relevance == pytest.approx(alone[ad_id], abs=1e-6)


@pytest.mark.parametrize("query", ASKED)
def test_relevance_is_one_more_ranking_of_what_the_channels_found(engine, make_student, query):
    plain = {ad.ad_id: ad.score for ad in make_engine(make_student(3), SETTINGS).retrieve(query, 99)}
    ranking, settings = engine.retrieve(query, 99), engine.settings
    chances = told(ranking)
    assert chances.keys() == plain.keys()
    for ad in ranking:
        place = 1 + sum(round(chance, 4) > round(ad.relevance, 4) for chance in chances.values())
        added = settings.relevance_weight / (settings.fusion_constant + place)
        assert ad.score == pytest.approx(plain[ad.ad_id] + added, abs=1e-9)
    assert [ad.score for ad in ranking] == sorted((ad.score for ad in ranking), reverse=True)


def test_relevance_without_weight_orders_nothing(make_student):
    engine, plain = calibrated(make_student(3), relevance_weight=0.0), make_engine(make_student(3), SETTINGS)
    for query in ASKED:
        assert ids(engine.retrieve(query, 99)) == ids(plain.retrieve(query, 99))


@pytest.mark.parametrize("channel", [*Channel])
def test_every_channel_tells_relevance(engine, channel):
    """From what it has: one channel alone has less evidence, and a deadline may leave only words."""
    wanted = {Channel.FUSED: set(WEIGHTS), Channel.DENSE: {"coverage", "cosine"}}.get(
        channel, {"coverage", "intentions"} if channel is Channel.INTENTION else {"coverage"}
    )
    for query in QUERIES:
        for ad in engine.retrieve(query, 5, channel=channel):
            found = {name: value for name, value in by_hand(engine, query, ad.ad_id).items() if name in wanted}
            expected = 1 / (1 + np.exp(-1.0 - sum(WEIGHTS[name] * value for name, value in found.items())))
            assert ad.relevance == pytest.approx(expected, abs=1e-5)
    hurried = engine.answer(Request("red robot vacuum", deadline_ms=0.001))
    assert told(hurried) == told(engine.retrieve("red robot vacuum", channel=Channel.LEXICAL))


@pytest.mark.parametrize("channel", [Channel.FUSED, Channel.DENSE, Channel.LEXICAL])
@pytest.mark.parametrize("least", [0.0, 0.05, 0.2, 0.6, 1.0])
def test_a_least_relevance_leaves_out_what_a_look_at_the_ranking_leaves_out(engine, least, channel):
    for query in QUERIES:
        every = engine.retrieve(query, 99, channel=channel)
        wanted = [ad.ad_id for ad in every if ad.relevance >= least]
        for k in (1, 3, 99):
            assert ids(engine.retrieve(query, k, channel=channel, min_relevance=least)) == wanted[:k]


def test_no_ad_is_an_answer(engine):
    answer = engine.answer(Request("unknown", explain=True, min_relevance=0.9))
    assert answer.ads == () and len(answer) == 0 and not answer.degraded
    for query in SAY_NOTHING:
        assert ids(engine.retrieve(query, min_relevance=0.0)) == []


@pytest.mark.parametrize("query", QUERIES)
def test_what_is_left_out_makes_room_for_others(shallow, query):
    """The search goes deeper as long as it finds ads that are relevant enough; the first ones do not depend on k."""
    every = shallow.retrieve(query, 99)
    least = sorted(told(every).values())[len(every) // 3]
    found = shallow.retrieve(query, 99, min_relevance=least)
    assert {ad.ad_id for ad in found} <= {ad.ad_id for ad in every if ad.relevance >= least}
    assert len(found) > 2
    assert [ad.rank for ad in found] == list(range(1, len(found) + 1))
    for k in range(1, len(found)):
        assert ids(shallow.retrieve(query, k, min_relevance=least)) == ids(found)[:k]
    searches = []
    shallow._searched, original = lambda *given: searches.append(given) or original(*given), shallow._searched
    try:
        assert ids(shallow.retrieve(query, 99, min_relevance=1.0)) == []
    finally:
        del shallow._searched
    assert len(searches) == 1, "nothing deep is relevant where nothing first is"


def test_an_ad_that_is_not_relevant_does_not_use_up_a_cap(engine):
    every = engine.retrieve("red robot vacuum", 99)
    assert {engine.ad(ad.ad_id).advertiser for ad in every} == {""}
    engine_ads = [replace(ad, category="one") for ad in ADS]
    capped = make_like(engine, engine_ads)
    ranking = capped.retrieve("red robot vacuum", 99)
    least = max(told(ranking).values())
    (only,) = capped.retrieve("red robot vacuum", 99, min_relevance=least, max_per={"category": 1})
    assert only.relevance == least and only.rank == 1


def make_like(engine: Engine, ads: list[Ad]) -> Engine:
    from intently.catalog import Catalog

    parts = engine.student, engine.intentions, engine.vectors, engine.lexical, engine.settings
    return Engine(Catalog.from_ads(ads), *parts, calibrator=CALIBRATOR)


def test_why_not_says_how_relevant_an_ad_is(engine):
    every = engine.retrieve("red robot vacuum", 99)
    last = every[-1]
    request = Request("red robot vacuum", 3, min_relevance=last.relevance + 1e-6)
    shown, verdict, paused, nobody = engine.explain(request, [every[0].ad_id, last.ad_id, "paused", "nobody"])
    assert (shown.stage, shown.relevance) == ("shown", pytest.approx(every[0].relevance))
    assert verdict.stage == "relevance" and verdict.relevance == pytest.approx(last.relevance)
    assert f"its relevance is {last.relevance:.3f}, and {request.min_relevance:g} was asked for" == verdict.told
    assert (paused.stage, nobody.stage) == ("status", "unknown")
    beyond = next(ad for ad in every[3:] if ad.relevance >= request.min_relevance)
    assert engine.explain(request, [beyond.ad_id])[0].stage == "rank"
    inspected = engine.inspect(request, [last.ad_id])
    assert inspected.verdicts[0].stage == "relevance"
    assert "relevance" in {each.verdict.stage for each in inspected.left_out}
    assert engine.explain(Request("?!", min_relevance=0.1), ["pan"])[0].stage == "channels"


def test_relevance_follows_changes(make_student):
    engine = calibrated(make_student(3))
    before = told(engine.retrieve("teal gizmo", 99))
    engine.apply([Put(Ad("new", "Teal gizmo")), Put(replace(ADS[6], title="Teal pan 红色")), Delete("bits")])
    after = told(engine.retrieve("teal gizmo", 99))
    assert after["new"] > max(before.values()) and after["pan"] > before["pan"] and "bits" not in after
    assert ids(engine.retrieve("teal gizmo", min_relevance=after["new"])) == ["new"]
    engine.apply([Patch("new", {"title": "扫地机器人"})])
    assert told(engine.retrieve("teal gizmo", 99))["new"] < 0.5 * after["new"]
    assert told(engine.retrieve("扫地机器人", 99))["new"] > 0.5


def test_a_calibrator_comes_back_from_disk(make_student, tmp_path):
    engine = calibrated(make_student(3))
    save(engine, tmp_path / "engine", parts={"calibrator": CALIBRATOR})
    loaded = Engine.load(tmp_path / "engine")
    assert loaded.calibrator == CALIBRATOR
    for query in QUERIES:
        assert told(loaded.retrieve(query, 99)) == pytest.approx(told(engine.retrieve(query, 99)), abs=1e-6)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"[]", b'{"version": 1}', json.dumps({"version": 1, "learned_from": "", "keeping": {}, "models": [{}]}),
     json.dumps({"version": 0, "learned_from": "", "keeping": {}, "models": []}),
     json.dumps({"version": 1, "learned_from": "", "keeping": {}, "models": [{"weights": {"luck": 1}, "bias": 0}]})],
)  # fmt: skip
def test_a_damaged_calibrator_is_refused(tmp_path, content):
    CALIBRATOR.save(tmp_path / RELEVANCE_FILE)
    content = content.encode() if isinstance(content, str) else content
    assert_damage_is_refused(lambda path: Calibrator.load(path / RELEVANCE_FILE), tmp_path, RELEVANCE_FILE, content)


def test_a_calibrator_belongs_to_its_channels(engine):
    parts = engine.catalog, None, replace(engine.intentions, trie=None, near=None), None, engine.lexical
    with pytest.raises(ArtifactError, match="relevance was learned from an engine with other channels"):
        Engine(*parts, engine.settings, calibrator=CALIBRATOR)


def test_an_engine_that_was_not_calibrated_says_so(make_student):
    engine = make_engine(make_student(3))
    assert {ad.relevance for ad in engine.retrieve("red pan")} == {None}
    assert "relevance" not in engine.retrieve("red pan").columns()
    for ask in (
        lambda: engine.retrieve("red pan", min_relevance=0.0),
        lambda: engine.answer_many([Request("red pan"), Request("red pan", min_relevance=0.5)]),
        lambda: engine.explain(Request("red pan", min_relevance=0.5), ["pan"]),
        lambda: engine.inspect(Request("red pan", min_relevance=0.5)),
    ):
        with pytest.raises(InputError, match="this engine does not tell relevance; build it again"):
            ask()


@pytest.mark.parametrize("wrong", [-0.1, 1.5, "0.5", True, float("nan")])
def test_what_is_no_probability_is_refused(wrong):
    with pytest.raises(InputError, match=r"field 'min_relevance': .*pass a probability from 0 to 1"):
        Request("red", min_relevance=wrong)


def test_relevance_is_a_column_where_it_is_told(engine):
    ranking = engine.retrieve("red pan", 3)
    assert list(ranking.columns()) == ["rank", "ad_id", "score", "relevance"]
    assert ranking.to_dict()["ads"][0]["relevance"] == ranking[0].relevance


def test_terms_of_rows_are_those_of_a_look_at_each(engine):
    index, rng = engine.lexical, np.random.default_rng(0)
    terms = [*index._terms[:12], "nowhere", index._terms[-1]]
    for rows in (np.arange(len(ADS)), rng.permutation(len(ADS))[:5], np.array([], dtype=np.int64)):
        found = index.holds(terms, rows)
        assert found.shape == (len(rows), len(terms))
        for at, row in enumerate(rows.tolist()):
            own = {term for term, _ in index.terms_of(row)}
            assert found[at].tolist() == [term in own for term in terms]


def test_more_of_each_evidence_never_speaks_against_an_ad(engine):
    searched = next(engine._searches_of(["red robot vacuum"], 1))
    found = evidence(searched, np.arange(len(ADS)), engine.lexical.statistics)
    model = CALIBRATOR.models[tuple(found)]
    for name in found:
        more = {**found, name: found[name] + 0.1}
        assert (model.of(more) >= model.of(found)).all()
