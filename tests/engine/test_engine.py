"""The engine over a dozen ads, English and Chinese, with a student of random weights."""

from dataclasses import replace

import numpy as np
import pytest

from intently.engine.answerer import NUM_INTENTIONS
from intently.engine.engine import Engine
from intently.engine.search import NUM_EVIDENCE
from intently.errors import ArtifactError, InputError, SettingsError
from intently.index.vectors import VectorIndex
from intently.models.student import Runtime
from intently.types import MAX_QUERY_LENGTH, Channel, Request, UserContext
from tests.engine.small_engine import (
    ADS,
    CHANNELS,
    QUERIES,
    SAY_NOTHING,
    SETTINGS,
    TEXTS,
    USERS,
    ids,
    make_engine,
    save,
)


@pytest.fixture(scope="module")
def engine(make_student) -> Engine:
    return make_engine(make_student(3))


@pytest.mark.parametrize(("user", "hidden"), USERS)
@pytest.mark.parametrize("channel", Channel)
def test_only_eligible_ads(engine, channel, user, hidden):
    for ranking in engine.retrieve_many(QUERIES, 99, user=user, channel=channel):
        assert not hidden & set(ids(ranking))
        assert len(set(ids(ranking))) == len(ranking.ads)
        if channel in (Channel.DENSE, Channel.FUSED):
            assert len(ranking.ads) == len(ADS) - len(hidden)


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("k", [1, 3, 99])
def test_ranks_scores_and_k(engine, channel, k):
    for query in QUERIES:
        ranking = engine.retrieve(query, k, channel=channel)
        everything = engine.retrieve(query, 99, channel=channel)
        assert ranking.query == query
        assert [ad.rank for ad in ranking.ads] == list(range(1, len(ranking.ads) + 1))
        assert len(ranking.ads) == min(k, len(everything.ads))
        assert ids(ranking) == ids(everything)[:k]
        scores = [ad.score for ad in ranking.ads]
        assert scores == sorted(scores, reverse=True)
        assert all(type(score) is float for score in scores)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.5, 2.0, 0.0)])
def test_fused_is_reciprocal_ranks_of_the_three_paths(engine, query, weights):
    names = ("intention_weight", "dense_weight", "lexical_weight")
    engine = Engine(
        engine.catalog, engine.student, engine.intentions, engine.vectors, engine.lexical,
        replace(SETTINGS, fusion_constant=7.0, **dict(zip(names, weights, strict=True))),
    )  # fmt: skip
    expected: dict[str, float] = {}
    for channel, weight in zip(CHANNELS, weights, strict=True):
        for ad in engine.retrieve(query, 99, channel=channel).ads:
            expected[ad.ad_id] = expected.get(ad.ad_id, 0.0) + weight / (7.0 + ad.rank)
    fused = engine.retrieve(query, 99)
    assert {ad.ad_id: ad.score for ad in fused.ads} == pytest.approx(expected)
    row_of = {ad.ad_id: row for row, ad in enumerate(ADS)}
    assert ids(fused) == sorted(ids(fused), key=lambda ad_id: (-round(expected[ad_id], 12), row_of[ad_id]))


@pytest.mark.parametrize("query", QUERIES)
def test_reasons_agree_with_the_paths(engine, query):
    alone = {channel: {ad.ad_id: ad for ad in engine.retrieve(query, 99, channel=channel).ads} for channel in CHANNELS}
    for ad in engine.retrieve(query, 99).ads:
        reasons = {reason.channel: reason for reason in ad.reasons}
        assert len(reasons) == len(ad.reasons)
        assert set(reasons) == {channel for channel in CHANNELS if ad.ad_id in alone[channel]}
        for channel, reason in reasons.items():
            same = alone[channel][ad.ad_id]
            assert same.reasons == (reason,)
            assert (reason.rank, reason.score) == (same.rank, same.score)
            shares = [share for _, share in reason.evidence]
            assert 1 <= len(shares) <= NUM_EVIDENCE
            assert shares == sorted(shares, reverse=True)
            if len(shares) < NUM_EVIDENCE:  # all there is
                assert sum(shares) == pytest.approx(reason.score, rel=1e-5)
            if channel is Channel.INTENTION:
                assert {name for name, _ in reason.evidence} <= set(TEXTS)
            if channel is Channel.DENSE:
                assert reason.evidence == (("cosine", reason.score),)


def test_reasons_name_what_was_matched(engine):
    robot = next(ad for ad in engine.retrieve("robot vacuum").ads if ad.ad_id == "robot")
    evidence = {reason.channel: dict(reason.evidence) for reason in robot.reasons}
    assert set(evidence[Channel.LEXICAL]) == {"robot", "vacuum"}
    assert "robot vacuum" in evidence[Channel.INTENTION]  # decoded or not: the query says it
    chinese = next(ad for ad in engine.retrieve("扫地机器人").ads if ad.ad_id == "zh-robot")
    assert set(dict(chinese.reasons[-1].evidence)) == {"扫地", "机器", "机器人"}


def test_intentions_are_told_and_probable(engine):
    for query in QUERIES:
        told = engine.retrieve(query).intentions
        assert len(told) == len(TEXTS) <= NUM_INTENTIONS  # the beams and, of so few, all others
        assert {one.text for one in told} <= set(TEXTS)
        log_probs = [one.log_prob for one in told]
        assert log_probs == sorted(log_probs, reverse=True)
        assert sum(np.exp(log_probs)) == pytest.approx(1, abs=1e-5)
        for channel in (Channel.DENSE, Channel.LEXICAL):
            assert engine.retrieve(query, channel=channel).intentions == ()


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_many_at_once_are_each_alone(engine, channel, batch_size):
    together = list(engine.retrieve_many(QUERIES, 5, channel=channel, explain=True, batch_size=batch_size))
    assert [ranking.query for ranking in together] == QUERIES
    for query, ranking in zip(QUERIES, together, strict=True):
        alone = engine.retrieve(query, 5, channel=channel)
        assert ids(ranking) == ids(alone)
        assert [ad.score for ad in ranking.ads] == pytest.approx([ad.score for ad in alone.ads], abs=1e-5)
        assert [one.text for one in ranking.intentions] == [one.text for one in alone.intentions]
        for one, other in zip(ranking.ads, alone.ads, strict=True):
            assert [(r.channel, r.rank) for r in one.reasons] == [(r.channel, r.rank) for r in other.reasons]


def test_explanations_can_be_left_out(engine):
    told, silent = engine.retrieve("red pan"), engine.retrieve("red pan", explain=False)
    assert ids(told) == ids(silent)
    assert all(ad.reasons for ad in told.ads)
    assert not any(ad.reasons for ad in silent.ads)


def test_timings_name_the_stages(engine):
    stages = {"rules", "search", "fuse", "explain"}
    assert set(engine.retrieve("red pan").timings_ms) == {"encode", "decode"} | stages
    assert set(engine.retrieve("red pan", channel=Channel.LEXICAL).timings_ms) == stages
    assert all(spent >= 0 for spent in engine.retrieve("red pan").timings_ms.values())


def test_candidates_limit_each_path_unless_k_asks_for_more(engine):
    narrow = make_engine(engine.student, replace(SETTINGS, num_candidates=2))
    for k, depth in [(1, 2), (2, 2), (5, 5)]:
        ranking = narrow.retrieve("red robot", k)
        assert len(ranking.ads) == k
        assert all(reason.rank <= depth for ad in ranking.ads for reason in ad.reasons)


@pytest.mark.parametrize("user", [None, UserContext(country="cn")])
def test_the_query_moves_towards_the_first_ads_it_finds(engine, user):
    parts = (engine.catalog, engine.student, engine.intentions, engine.vectors, engine.lexical)
    moving = Engine(*parts, replace(SETTINGS, feedback_weight=0.5, num_feedback_ads=2))
    vectors = dict(zip([ad.ad_id for ad in ADS], np.asarray(engine.vectors.embeddings), strict=True))
    for query in QUERIES:
        before = engine.retrieve(query, 99, channel=Channel.DENSE, user=user)
        asked = engine.student.read([engine.read(query).for_models], 32).embeddings[0]
        moved = asked + 0.5 * (vectors[before.ads[0].ad_id] + vectors[before.ads[1].ad_id]) / 2
        moved /= np.linalg.norm(moved)
        after = moving.retrieve(query, 99, channel=Channel.DENSE, user=user)
        assert {ad.ad_id for ad in after.ads} == {ad.ad_id for ad in before.ads}
        assert {ad.ad_id: ad.score for ad in after.ads} == pytest.approx(
            {ad.ad_id: float(vectors[ad.ad_id] @ moved) for ad in after.ads}, abs=1e-5
        )
        scores = [ad.score for ad in after.ads]
        assert scores == sorted(scores, reverse=True)


def test_the_dense_path_ranks_ads_of_negative_cosine_too(engine):
    turned = VectorIndex(-np.asarray(engine.vectors.embeddings))
    other = Engine(engine.catalog, engine.student, engine.intentions, turned, engine.lexical, SETTINGS)
    forth, back = (one.retrieve("red robot", 99, channel=Channel.DENSE) for one in (engine, other))
    assert len(forth.ads) == len(back.ads) == 10
    assert min(ad.score for ad in back.ads) < 0
    assert [ad.score for ad in back.ads] == pytest.approx([-ad.score for ad in reversed(forth.ads)])


def test_a_path_may_be_named(engine):
    assert ids(engine.retrieve("red pan", channel="lexical")) == ids(
        engine.retrieve("red pan", channel=Channel.LEXICAL)
    )
    with pytest.raises(InputError, match="field 'channel': 'magic' is not a channel; use one of intention, dense"):
        engine.retrieve("red pan", channel="magic")


WRONG = [
    ("", "is empty"),
    (" \t\n　", "is empty"),
    ("x" * (MAX_QUERY_LENGTH + 1), "has 2001 characters"),
    (5, "expected a text, got int"),
    (None, "expected a text, got NoneType"),
    (b"red", "expected a text, got bytes"),
    ("red \ud800", "is not valid Unicode"),
]


@pytest.mark.parametrize(("query", "problem"), WRONG)
def test_wrong_queries(engine, query, problem):
    with pytest.raises(InputError, match=f"field 'query': .*{problem}"):
        engine.retrieve(query)
    with pytest.raises(InputError, match=f"queries:2: .*{problem}"):
        engine.retrieve_many(["red", query, ""])  # before anything is answered


@pytest.mark.parametrize("k", [0, -1, "10", 2.5, True, None])
def test_wrong_k(engine, k):
    with pytest.raises(InputError, match=f"field 'k': k is {k!r}; ask for a whole number of ads, at least 1"):
        engine.retrieve("red", k)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"user": {"country": "DE"}}, "field 'user': expected a UserContext, got dict"),
        ({"explain": 1}, "field 'explain': explain is 1"),
        ({"exclude": "pan"}, "field 'exclude': expected ids, got 'pan'"),
        ({"exclude": [5]}, "field 'exclude': expected at most 10000 texts"),
        ({"channel": None}, "field 'channel': None is not a channel"),
    ],
)
def test_wrong_arguments(engine, given, problem):
    with pytest.raises(InputError, match=problem):
        engine.retrieve("red", **given)


def test_wrong_lists(engine):
    with pytest.raises(InputError, match="expected a list of queries, got the text 'red pan'"):
        engine.retrieve_many("red pan")
    for batch_size in (0, -1, 2.5, "4"):
        with pytest.raises(InputError, match=r"batch_size is .*; pass a whole number of at least 1"):
            engine.retrieve_many(["red pan"], batch_size=batch_size)
    with pytest.raises(InputError, match="requests:1: expected a Request, got str"):
        engine.answer_many(["red pan"])


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("query", SAY_NOTHING)
def test_a_query_that_says_nothing_finds_nothing(engine, channel, query):
    ranking = engine.retrieve(query, channel=channel)
    assert (ranking.ads, ranking.intentions) == ((), ())
    together = list(engine.retrieve_many(["red pan", query, "drill"], channel=channel))
    has_ads = channel is not Channel.KEYWORD  # no ad bids on "red pan" or "drill"
    assert [bool(ranking.ads) for ranking in together] == [has_ads, False, has_ads]


@pytest.mark.parametrize("channel", Channel)
def test_excluded_ads_are_not_returned(engine, channel):
    everything = ids(engine.retrieve("red robot vacuum", 99, channel=channel))
    left = ids(engine.retrieve("red robot vacuum", 99, channel=channel, exclude=[everything[0], "nobody"]))
    assert everything[0] not in left
    assert set(left) == set(everything[1:])
    request = Request("red robot vacuum", 3, channel=channel)
    assert ids(engine.answer(request)) == everything[:3]


def test_a_ranking_says_what_it_is_of(engine):
    ranking = engine.retrieve("robto vacuum", 2)
    assert (ranking.generation, ranking.seq, len(ranking)) == ("", 0, 2)
    assert ranking.read_as == {"robto": ("robot",)}
    assert [ad.ad_id for ad in ranking] == ids(ranking)
    assert ranking.to_dict()["ads"][0]["ad_id"] == ranking.ads[0].ad_id


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("num_candidates", [1, 2, 5])
def test_the_first_ads_do_not_depend_on_k(engine, channel, num_candidates):
    narrow = make_engine(engine.student, replace(SETTINGS, num_candidates=num_candidates, feedback_weight=0.3))
    for query in QUERIES:
        everything = narrow.retrieve(query, 99, channel=channel)
        scores = [ad.score for ad in everything.ads]
        assert scores == sorted(scores, reverse=True)
        for k in (1, 2, 3, 6, 10):
            assert narrow.retrieve(query, k, channel=channel).ads == everything.ads[:k]


@pytest.mark.parametrize(
    "query",
    [
        "x" * MAX_QUERY_LENGTH,
        "红" * MAX_QUERY_LENGTH,
        "red " * 500,
        "[SEP] [CLS]",
        "ﷺ\u0301\u0345",
    ],
)
def test_odd_queries_are_answered(engine, query):
    assert len(engine.retrieve(query, 5).ads) == 5


def test_no_queries(engine):
    assert list(engine.retrieve_many([])) == []


def test_saved_and_loaded(engine, tmp_path, monkeypatch):
    files = save(engine, tmp_path)
    loaded = Engine.load(str(tmp_path))
    assert loaded.settings == SETTINGS
    for query in QUERIES:
        before, after = engine.retrieve(query), loaded.retrieve(query)
        assert (after.ads, after.intentions) == (before.ads, before.intentions)
    elsewhere = Engine.load(tmp_path, runtime="torch", num_threads=2)  # what belongs to the machine may be told
    assert (elsewhere.student.runtime, elsewhere.settings.num_threads) == (Runtime.TORCH, 2)
    assert (loaded.student.runtime, loaded.settings.num_threads) == (Runtime.ONNX_INT8, 1)
    with pytest.raises(SettingsError, match="'runtime' is 'gpu'; it takes one of torch, onnx, onnx-int8"):
        Engine.load(tmp_path, runtime="gpu")
    with pytest.raises(SettingsError, match="'num_threads' is 0"):
        Engine.load(tmp_path, num_threads=0)
    asked = []
    search = VectorIndex.search
    monkeypatch.setattr(VectorIndex, "search", lambda *given: asked.append(given[4]) or search(*given))
    for feedback_weight in (0.0, 0.2):  # the vectors are searched with as many threads, with and without feedback
        elsewhere.settings = replace(elsewhere.settings, feedback_weight=feedback_weight)
        elsewhere.retrieve("red pan", channel=Channel.DENSE)
    assert asked == [2, 2]
    del loaded, elsewhere
    for number, retrieval in enumerate(
        ({"decode": {"num_beams": 0}}, {"decode": {"mode": "both"}}, {"num_beams": 5}, None)
    ):
        save(engine, tmp_path / f"bad-{number}", retrieval=retrieval)
        with pytest.raises(ArtifactError, match=r"manifest\.json does not hold retrieval settings"):
            Engine.load(tmp_path / f"bad-{number}")
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ArtifactError, match=f"{file.name} has been altered"):
            Engine.load(tmp_path)
        file.write_bytes(content)
