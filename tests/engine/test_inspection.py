"""What an inspection tells is what the engine does: against the answers themselves, and against brute force."""

from dataclasses import replace

import numpy as np
import pytest

from intently.catalog import checked_user
from intently.engine.fill_cache import fill_cache
from intently.engine.inspection import NUM_FOUND, Branch
from intently.engine.understand import understand
from intently.errors import InputError
from intently.text.analyze import Analyzer
from intently.types import Ad, Channel, Patch, Put, Request, UserContext
from tests.engine.small_engine import ADS, CHANNELS, QUERIES, SAY_NOTHING, make_engine


@pytest.fixture(scope="module")
def engine(make_student, tmp_path_factory):
    engine = make_engine(make_student(3))
    engine.cache = fill_cache(
        engine, ["red", "drill bit", "扫地机器人"], tmp_path_factory.mktemp("cache") / "cache.bin"
    )
    return engine


def leaves(branch: Branch) -> list[Branch]:
    return [leaf for each in branch.branches for leaf in leaves(each)] if branch.branches else [branch]


@pytest.mark.parametrize("query", QUERIES)
def test_an_inspection_tells_of_the_answer(engine, query):
    user = UserContext(country="DE")
    told = engine.inspect(Request(query, 4, user))
    answer = engine.answer(Request(query, 4, user, explain=True))
    assert [ad.ad_id for ad in told.ranking.ads] == [ad.ad_id for ad in answer.ads]
    assert [ad.reasons for ad in told.ranking.ads] == [ad.reasons for ad in answer.ads]
    assert told.text == engine.read(query)
    for channel in CHANNELS:
        alone = engine.answer(Request(query, NUM_FOUND, user, channel, explain=True))
        assert [ad_id for ad_id, _ in told.found[channel]] == [ad.ad_id for ad in alone.ads]
        assert [reason for _, reason in told.found[channel]] == [ad.reasons[0] for ad in alone.ads]
    assert {ad.ad_id: ad.title for ad in ADS if ad.ad_id in told.titles} == told.titles


@pytest.mark.parametrize("query", QUERIES)
def test_the_tree_ends_in_the_intentions_decoded(engine, query):
    told = engine.inspect(Request(query))
    text = engine.read(query)
    reading = engine.student.read([text.for_models], engine.settings.max_query_tokens)
    reader = engine._models.intention_reader
    decoded = reader.read(reading, engine.settings.num_near, engine.settings.decode)[0]
    best = {engine.intentions.texts[each] for each in decoded.intention_ids[: engine.settings.decode.num_beams]}
    assert told.tree is not None
    ends = leaves(told.tree)
    assert {each.text for each in ends if each.is_found} == best
    for each in ends:
        if each.choice is not None and each.choice.intention_id is not None:
            assert each.text == engine.intentions.texts[each.choice.intention_id]
    shares = dict(told.near)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-6)


def test_a_query_that_says_nothing_is_inspected(engine):
    for query in SAY_NOTHING:
        told = engine.inspect(Request(query), ["robot"])
        assert (told.tree, told.found, told.ranking.ads) == (None, {}, ())
        assert told.verdicts[0].stage == "channels"


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("user", [None, UserContext(country="DE", device="desktop")])
def test_places_are_those_of_a_ranking_of_all_eligible_ads_and_itself(engine, query, user):
    ad_ids = [ad.ad_id for ad in ADS]
    told = engine.inspect(Request(query, user=user), ad_ids)
    snapshot = engine.snapshot
    eligible = snapshot.eligible(checked_user(user))
    understood = understand([told.text], CHANNELS, engine.intentions, engine._models, engine.cache, engine.settings)[0]
    for row, ad_id in enumerate(ad_ids):
        admitted = eligible.copy()
        admitted[row] = True
        searched = engine._searched(told.text, understood, snapshot, CHANNELS, admitted, depth=len(ADS))
        for place in told.places[ad_id]:
            hits = searched.found[place.channel].hits
            assert place.was_found == (bool(eligible[row]) and row in hits.rows)
            assert (place.rank is not None) == (row in hits.rows)
            if place.rank:  # but for equals, whose order rounding may decide
                assert place.score == pytest.approx(float(hits.scores[place.rank - 1]), abs=1e-6), (ad_id, place)
                assert place.score == pytest.approx(float(hits.scores[hits.rows == row][0]), abs=1e-6)


def test_what_rules_kept_out_is_told_with_the_rule(engine):
    request = Request(
        "red robot vacuum 红色", 3, UserContext(country="DE"), exclude=["pan"], filters='title != "Red pan"'
    )
    told = engine.inspect(request)
    stages = {each.verdict.ad_id: each.verdict.stage for each in told.left_out}
    assert (stages["paused"], stages["zh-robot"], stages["pan"]) == ("status", "country", "excluded")
    assert not {ad.ad_id for ad in told.ranking.ads} & set(stages)
    ranks = [each.rank for each in told.left_out]
    assert ranks == sorted(set(ranks))


def test_one_channel_is_inspected_alone(engine):
    told = engine.inspect(Request("red pan", channel=Channel.LEXICAL), ["pan"])
    assert list(told.found) == [Channel.LEXICAL]
    assert (told.tree, told.near) == (None, ())
    assert [place.channel for place in told.places["pan"]] == [Channel.LEXICAL]


def test_keywords_with_match_types_are_inspected_as_they_are_fused(engine):
    engine = make_engine(engine.student)
    assert Channel.KEYWORD not in engine.inspect(Request("led lamp")).found
    engine.apply([
        Patch("zh-lamp", {"keywords": ("[led lamp]",), "negative_keywords": ("cheap",)}),
        Patch("lamp", {"negative_keywords": ("led",)}),
    ])  # fmt: skip
    told = engine.inspect(Request("led lamps"), ["zh-lamp", "shoe"])
    assert told.ranking.ads == engine.answer(Request("led lamps", explain=True)).ads
    assert [ad_id for ad_id, _ in told.found[Channel.KEYWORD]] == ["zh-lamp"]
    places = {ad_id: {place.channel: place for place in each} for ad_id, each in told.places.items()}
    assert places["zh-lamp"][Channel.KEYWORD].evidence[0][0] == "[led lamp] (near exact match)"
    assert places["shoe"][Channel.KEYWORD].rank is None
    assert "negative keywords" in [each.verdict.stage for each in told.left_out if each.verdict.ad_id == "lamp"]
    assert not engine.inspect(Request("cheap led lamps")).found[Channel.KEYWORD]


def test_an_ad_is_told_as_the_indexes_hold_it(engine):
    for row, ad in enumerate(ADS):
        told = engine.inspect_ad(ad.ad_id)
        assert told.ad == ad
        postings, lexical = engine.intentions.postings, engine.lexical
        expected = {}
        for key, text in enumerate(engine.intentions.texts):
            rows, weights = postings.of(key)
            if row in rows:
                expected[text] = float(weights[rows.tolist().index(row)])
        assert dict(told.intentions) == expected
        assert [weight for _, weight in told.intentions] == sorted(expected.values(), reverse=True)
        for term, weight in told.terms:
            found = lexical.known(engine.read(term))
            assert lexical.scores(found)[row] == pytest.approx(weight * found.counts.sum(), rel=1e-5)
    assert engine.inspect_ad("none") is None


def test_an_ads_words_come_before_its_pairs_of_chinese_characters(make_student):
    engine = make_engine(make_student(3))
    engine.apply([Put(Ad("rack", "浴室拖鞋架 led", landing_text="收纳神器"))])
    terms = [term for term, _ in engine.inspect_ad("rack").terms]
    words = {token.term for token in Analyzer().tokens("浴室拖鞋架 led 收纳神器")}
    assert set(terms[: len(words)]) == words
    assert {"室拖", "鞋架"} <= set(terms[len(words) :])


def test_head_queries_that_reach_an_ad_are_asked(engine):
    told = engine.inspect_ad("bits")
    assert told.num_reaching == 3  # near intentions stand for every query
    for each in told.head_queries:
        ranks = {ad.ad_id: ad.rank for ad in engine.answer(Request(each.query, 100)).ads}
        assert each.rank == ranks.get("bits")
    assert told.head_queries[0].query == "drill bit"
    without = make_engine(engine.student).inspect_ad("bits")
    assert (without.num_reaching, without.head_queries) == (None, ())


def test_another_setting_beside_it_changes_nothing(engine):
    request = Request("red robot vacuum", 5)
    before = engine.answer(request).ads
    other = engine.varied(replace(engine.settings, intention_weight=9.0), learned=False)
    assert other.answer(request).ads != before
    assert engine.answer(request).ads == before
    assert other.snapshot is engine.snapshot


def test_values_lead_the_beams(engine):
    """With one beam and a large weight the search ends at the most valuable intention, and leaves the engine alone."""
    before = engine.answer(Request("red pan")).ads
    reading = engine.student.read(["red pan"], engine.settings.max_query_tokens)
    decode = replace(engine.settings.decode, num_beams=1, value_weight=50.0)
    for wanted in (0, len(engine.intentions.texts) - 1):
        values = np.ones(len(engine.intentions.texts))
        values[wanted] = 1e6
        other = engine.varied(replace(engine.settings, decode=decode), values=values)
        (found,) = other.query_models.intention_reader.read(reading, other.settings.num_near, decode)
        assert found.intention_ids[0] == wanted
        assert other.answer(Request("red pan")).ads
    assert engine.answer(Request("red pan")).ads == before


def test_an_engine_without_models_is_inspected_by_words():
    from tests.engine.test_without_models import make

    engine = make()
    told = engine.inspect(Request("red robot vacuum", 3), ["robot", "lamp"])
    assert (told.tree, told.near) == (None, ())
    assert list(told.found) == [Channel.INTENTION, Channel.LEXICAL]
    assert [place.rank for place in told.places["lamp"]] == [None, None]
    assert engine.inspect_ad("robot").read_as == ""
    with pytest.raises(InputError, match="no channel 'dense'"):
        engine.inspect(Request("red", channel=Channel.DENSE))
    with pytest.raises(InputError, match="no models"):
        engine.varied(engine.settings, decoded=True)
