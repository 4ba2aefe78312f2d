"""Deadlines leave out optional stages, and say so; an ad that is not shown has a reason."""

from dataclasses import replace

import pytest

from intently.catalog import checked_user
from intently.engine import pace
from intently.engine.engine import Engine
from intently.engine.pace import Clock, Pace
from intently.errors import InputError
from intently.types import Channel, Degraded, Request, UserContext
from tests.engine.small_engine import ADS, QUERIES, USERS, ids, make_engine


@pytest.fixture
def engine(make_student) -> Engine:
    return make_engine(make_student(3))


@pytest.mark.parametrize("query", QUERIES)
def test_one_thousandth_of_a_millisecond_is_enough_for_words(engine, query):
    answer = engine.answer(Request(query, explain=True, deadline_ms=0.001))
    assert ids(answer) == ids(engine.answer(Request(query, channel=Channel.LEXICAL)))
    assert {Degraded.INTENTIONS_SKIPPED, Degraded.DENSE_SKIPPED, Degraded.EXPLAIN_SKIPPED} <= set(answer.degraded)
    assert not answer.intentions
    assert not any(ad.reasons for ad in answer.ads)


@pytest.mark.parametrize("query", QUERIES)
def test_time_enough_changes_nothing(engine, query):
    with_deadline = engine.answer(Request(query, explain=True, deadline_ms=60_000))
    without = engine.answer(Request(query, explain=True))
    assert with_deadline.degraded == ()
    assert with_deadline.ads == without.ads


def test_a_batch_holds_requests_with_time_and_without(engine):
    requests = [Request(query, deadline_ms=(None, 0.001)[at % 2]) for at, query in enumerate(QUERIES)]
    answers = list(engine.answer_many(requests))
    assert [bool(answer.degraded) for answer in answers] == [bool(at % 2) for at in range(len(QUERIES))]
    for answer, request in zip(answers, requests, strict=True):
        assert ids(answer) == ids(engine.answer(request))


def test_a_channel_asked_for_by_name_answers(engine):
    answer = engine.answer(Request("red robot vacuum", channel=Channel.INTENTION, deadline_ms=0.001))
    assert ids(answer) == ids(engine.answer(Request("red robot vacuum", channel=Channel.INTENTION)))


def test_what_models_are_expected_to_cost_decides(engine):
    engine.pace.learn(1, 500.0)
    assert Degraded.DENSE_SKIPPED in engine.answer(Request("red pan", deadline_ms=400)).degraded
    assert engine.answer(Request("red pan", deadline_ms=600)).degraded == ()
    assert engine.pace.expected_ms(1) < 400
    assert engine.answer(Request("red pan", deadline_ms=400)).degraded == ()


def test_an_estimate_that_forbids_models_fades(engine):
    engine.pace.learn(1, 500.0)
    answers = [engine.answer(Request("红色水壶", deadline_ms=400)) for _ in range(30)]
    assert answers[0].degraded
    assert not answers[-1].degraded


def test_later_stages_are_left_out_after_seventy_percent(engine, monkeypatch):
    """The clock stands until models have read the query; from then on the deadline is near."""
    monkeypatch.setattr(Clock, "leaves", lambda *_: True)
    monkeypatch.setattr(pace, "perf_counter", iter([0.0, 0.0, *[0.071] * 99]).__next__)
    engine.settings = replace(engine.settings, num_candidates=1)
    answer = engine.answer(Request("red pan", 5, explain=True, deadline_ms=100))
    assert answer.degraded == (Degraded.DEPTH_REDUCED, Degraded.EXPLAIN_SKIPPED)


def test_pace_of_batches():
    known = Pace()
    assert known.expected_ms(7) == 0
    known.learn(1, 900.0)
    assert known.expected_ms(1) == 900  # until there is another than the first
    known.learn(1, 10.0)
    assert known.expected_ms(1) == 10
    assert known.expected_ms(8) == 80
    known.learn(9, 40.0)
    assert known.expected_ms(8) == known.expected_ms(15) == 40
    for spent_ms in (50.0, 5_000.0):
        known.learn(8, spent_ms)
    assert known.expected_ms(8) == 50
    for _ in range(5):
        known.learn(8, 60.0)
    assert known.expected_ms(8) == 60
    for _ in range(40):
        known.passed_over(8)
    assert known.expected_ms(8) < 30
    known.learn(8, 60.0)
    assert known.expected_ms(8) == 60


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "10", True])
def test_wrong_deadlines(wrong):
    with pytest.raises(InputError, match="deadline_ms"):
        Request("red pan", deadline_ms=wrong)


WANTS = {"country": "countries", "language": "languages", "device": "devices", "time": "day_parts"}


@pytest.mark.parametrize("user", [user for user, _ in USERS])
@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("query", [*QUERIES, "?!"])
def test_every_ad_has_a_verdict(engine, query, channel, user):
    request = Request(query, 3, user, channel, exclude={"pan"})
    shown = {ad.ad_id: ad for ad in engine.answer(request).ads}
    everything = engine.answer(replace(request, k=99, exclude=()))
    eligible = engine.snapshot.eligible(checked_user(user))
    ad_ids = [ad.ad_id for ad in ADS]
    verdicts = engine.explain(request, [*ad_ids, "nobody"])
    assert [one.ad_id for one in verdicts] == [*ad_ids, "nobody"]
    assert verdicts[-1].stage == "unknown"
    for row, one in enumerate(verdicts[:-1]):
        assert one.told
        assert (one.stage == "shown") == (one.ad_id in shown)
        if one.stage == "shown":
            assert (one.rank, one.score) == (shown[one.ad_id].rank, shown[one.ad_id].score)
            assert one.reasons
        elif one.ad_id == "pan":
            assert one.stage == "excluded"
        elif one.stage == "rank":
            assert one.rank > 3
            assert one.ad_id in ids(everything)
        elif one.stage == "channels":
            assert eligible[row]
            assert one.ad_id not in ids(everything)
        else:
            assert not eligible[row]
            assert one.stage in ("status", "country", "language", "device", "audiences")


def test_verdicts_name_the_values(engine):
    user = UserContext(country="FR", language="fr")
    told = {one.ad_id: one.told for one in engine.explain(Request("红色 robot", user=user), ["de-bits", "ended"])}
    assert told["de-bits"] == "it wants countries DE; the user's country is FR"
    assert told["ended"] == "its status is ended"
