"""What a replay tells is what both sides answer, counted by hand."""

import json

import numpy as np
import pytest

from intently.catalog import read_judgements
from intently.engine.engine import Engine
from intently.errors import InputError
from intently.replay import Side, replay
from intently.types import Ad, Channel, Delete, Put

ADS = [
    Ad("shoes", "red running shoes", advertiser="Runwell", category="Shoes > Running", bid=1.0),
    Ad("boots", "red winter boots", advertiser="Runwell", category="Shoes > Boots"),
    Ad("hose", "garden hose", advertiser="Gardeno", category="Garden"),
    Ad("鞋", "红色跑步鞋", advertiser="跑得快", category="鞋 > 跑步"),
    Ad("壶", "电热水壶", advertiser="开水", category="家电"),
]
LOG = ["red shoes", "red shoes", "garden hose", "跑步鞋", "电热水壶", "boots", "wine"]


def built(ads=ADS) -> Engine:
    return Engine.build(ads, preset="lexical")


@pytest.fixture(scope="module")
def before() -> Side:
    return Side("before", built())


@pytest.fixture(scope="module")
def after() -> Side:
    """Without the shoes, and with one ad more."""
    engine = built()
    engine.apply([Delete("shoes"), Put(Ad("new", "red running shoes, new", advertiser="Newcomer", category="Shoes"))])
    return Side("after", engine)


@pytest.fixture
def judgements(tmp_path):
    path = tmp_path / "judged.tsv"
    path.write_text(
        "query\tad_id\trelevance\nred shoes\tshoes\t3\nred shoes\tboots\t1\n跑步鞋\t鞋\t3\nnobody asks\tshoes\t3\n",
        encoding="utf-8",
    )
    return read_judgements(path)


def test_the_same_engine_changes_nothing(before):
    found = replay(LOG, before, before)
    assert (found.total.num_queries, found.total.num_requests) == (6, 7)
    assert (found.total.identical_share, found.total.mean_overlap) == (1.0, 1.0)
    assert (found.worst, found.best, found.advertisers, found.changed) == ((), (), (), ())
    assert found.total.unanswered_before == pytest.approx(1 / 7)  # the wine


def test_shares_are_those_of_requests_counted_one_by_one(before, after):
    """The slow twin: every request is answered alone, by both sides."""
    found = replay(LOG, before, after, k=2)
    answers = [[[ad.ad_id for ad in side.engine.retrieve(text, 2)] for side in (before, after)] for text in LOG]
    assert found.total.identical_share == pytest.approx(np.mean([first == then for first, then in answers]))
    overlaps = [len({*a} & {*b}) / max(len(a), len(b)) if a or b else 1.0 for a, b in answers]
    assert found.total.mean_overlap == pytest.approx(np.mean(overlaps))
    for side, at in ((before, 0), (after, 1)):
        shown = [side.engine.ad(ad_id).advertiser for each in answers for ad_id in each[at]]
        for reach in found.advertisers:
            assert (reach.before, reach.after)[at] == shown.count(reach.name)
    assert {reach.name for reach in found.advertisers} == {"Runwell", "Newcomer"}
    assert sum(group.num_requests for group in found.groups["language"]) == len(LOG)
    assert {group.name for group in found.groups["language"]} == {"Latin", "Han"}
    assert {group.name for group in found.groups["words"]} >= {"1", "2"}
    assert {"Shoes", "Garden", "鞋", "家电", "none"} <= {group.name for group in found.groups["vertical"]}


def test_without_judgements_those_that_differ_most_are_told_with_reasons(before, after):
    found = replay(LOG, before, after)
    assert found.best == ()
    case = found.worst[0]
    assert case.answered.query == "red shoes"
    gone = next(ad for ad in case.before if ad.ad_id == "shoes")
    assert gone.title == "red running shoes"
    assert any("by words" in reason for reason in gone.reasons)
    assert gone.missing == "there is no ad with this id"
    assert next(ad for ad in case.before if ad.ad_id == "boots").missing == ""
    assert next(ad for ad in case.after if ad.ad_id == "new").missing == "there is no ad with this id"


def test_judgements_say_what_is_worst(before, after, judgements):
    found = replay(LOG, before, after, judgements=judgements)
    assert [case.answered.query for case in found.worst] == ["red shoes"]
    assert found.best == ()
    assert found.worst[0].answered.gain < 0
    assert next(ad for ad in found.worst[0].before if ad.ad_id == "shoes").grade == 3
    assert found.num_unknown == 1
    assert found.total.num_judged == 2
    ndcg = next(each for each in found.comparisons if each.metric == "NDCG@10")
    assert ndcg.difference == pytest.approx(found.total.mean_gain)
    turned = replay(LOG, after, before, judgements=judgements)
    assert [case.answered.query for case in turned.best] == ["red shoes"]
    json.dumps(found.to_dict(), allow_nan=False)


def test_channels_are_compared_too(before):
    found = replay(LOG, before, Side("words", before.engine, Channel.LEXICAL))
    assert found.changed == ("channel: fused, then lexical",)


def test_what_cannot_be_replayed(before, judgements):
    with pytest.raises(InputError, match="no queries"):
        replay([" "], before, before)
    with pytest.raises(InputError, match="share no query"):
        replay(["boots"], before, before, judgements=judgements)
