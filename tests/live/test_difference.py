"""What a feed changes, against an obvious twin that compares ad by ad."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.catalog import Catalog, read_ads
from intently.errors import InputError
from intently.live.changes import Fields, Full, Gone, ads_of
from intently.live.difference import Difference
from intently.live.feeds import effects_of
from intently.snapshot.attributes import ATTRIBUTE_FIELDS
from intently.types import Ad, Span

FIELDS = tuple(name for name in asdict(Ad("a", "b")) if name != "ad_id")
ADS = st.lists(
    st.builds(
        Ad,
        st.sampled_from("abcdef"),
        st.sampled_from(("Red pan", "水壶", "Lamp")),
        description=st.sampled_from(("", "new")),
        landing_spans=st.sampled_from(((), (Span("Sale", 0.5),), (Span("Sale", 0.75),))),
        keywords=st.sampled_from(((), ("a", "b"), ("b", "a"), ("a b",))),
        bid=st.sampled_from((None, 0.0, 0.5)),
        status=st.sampled_from(("active", "paused", "ended")),
        countries=st.sampled_from(((), ("DE",), ("DE", "CN"))),
        payload=st.sampled_from(({}, {"price": 5, "url": "u"}, {"url": "u", "price": 5}, {"price": 7})),
    ),
    min_size=1,
    unique_by=lambda ad: ad.ad_id,
)


def all_given(feed: Catalog, *names: str) -> dict[str, np.ndarray]:
    return {name: np.ones(feed.num_ads, dtype=np.bool_) for name in ("ad_id", *(names or FIELDS))}


def applied(ads: list[Ad], effects) -> dict[str, Ad]:
    """Return the ads after effects, one after the other."""
    now = {ad.ad_id: ad for ad in ads}
    for ad_id, effect in effects.items():
        if isinstance(effect, Full):
            now[ad_id] = effect.ad
        elif isinstance(effect, Gone):
            del now[ad_id]
        else:
            assert set(effect.values) <= set(ATTRIBUTE_FIELDS)
            now[ad_id] = replace(now[ad_id], **effect.values)
    return now


@settings(max_examples=60, deadline=None)
@given(ADS, ADS, st.sets(st.sampled_from(FIELDS)))
def test_a_whole_feed_makes_the_catalog_what_it_says(before, today, silent):
    catalog, feed = Catalog.from_ads(before), Catalog.from_ads(today)
    spoken = [name for name in FIELDS if name not in silent - {"title"}]
    difference = Difference.of(catalog, feed, all_given(feed, *spoken))
    old = {ad.ad_id: ad for ad in before}
    wanted = {
        ad.ad_id: replace(old[ad.ad_id], **{name: getattr(ad, name) for name in spoken}) if ad.ad_id in old else ad
        for ad in today
    }
    effects = effects_of(difference)
    assert applied(before, effects) == wanted
    # And nothing else is touched, nor read again for the sake of an attribute.
    assert set(effects) == {each for each in old | wanted if old.get(each) != wanted.get(each)}
    for ad_id, effect in effects.items():
        if isinstance(effect, Fields):
            assert dict(effect.values) == {
                name: getattr(wanted[ad_id], name)
                for name in FIELDS
                if getattr(wanted[ad_id], name) != getattr(old[ad_id], name)
            }
    assert difference.num_after == len(wanted)
    assert difference.is_empty == (not effects)
    assert {ad.ad_id for ad in ads_of(difference.after)} == set(old) & set(wanted)


def partial(text: str, tmp_path, name: str = "delta.tsv") -> tuple[Catalog, dict]:
    (tmp_path / name).write_text(text, encoding="utf-8")
    read = read_ads(tmp_path / name, partial=True)
    return read.catalog, dict(read.given)


BEFORE = [Ad("a", "Red pan", bid=0.5, countries=("DE",)), Ad("b", "水壶", status="paused"), Ad("c", "Lamp")]


def test_a_partial_feed_changes_what_it_says_alone(tmp_path):
    feed, given = partial("ad_id\tbid\tstatus\na\t0.7\t\nb\t\tactive\nc\t\tended\nz\t\tended\n", tmp_path)
    difference = Difference.of(Catalog.from_ads(BEFORE), feed, given, partial=True)
    now = applied(BEFORE, effects_of(difference))
    assert now == {"a": replace(BEFORE[0], bid=0.7), "b": replace(BEFORE[1], status="active")}
    assert (len(difference.came), len(difference.went)) == (0, 1)


def test_an_empty_value_or_a_missing_key_of_a_partial_feed_says_nothing(tmp_path):
    lines = (
        '{"ad_id": "a", "title": "", "countries": []}\n{"ad_id": "b", "bid": 1}\n{"ad_id": "new", "title": "Hose"}\n'
    )
    feed, given = partial(lines, tmp_path, "delta.jsonl")
    difference = Difference.of(Catalog.from_ads(BEFORE), feed, given, partial=True)
    now = applied(BEFORE, effects_of(difference))
    assert now["a"] == BEFORE[0]
    assert now["b"] == replace(BEFORE[1], bid=1.0)
    assert now["new"] == Ad("new", "Hose")
    assert now["c"] == BEFORE[2]


def test_a_new_ad_of_a_partial_feed_needs_a_title(tmp_path):
    feed, given = partial("ad_id\tbid\nnew\t0.7\n", tmp_path)
    with pytest.raises(InputError, match=r"ad 'new' is new and has no title; give it a title"):
        effects_of(Difference.of(Catalog.from_ads(BEFORE), feed, given, partial=True))


def test_an_ad_of_a_whole_feed_may_have_ended_and_stays(tmp_path):
    (tmp_path / "ads.tsv").write_text(
        "ad_id\ttitle\tstatus\na\tRed pan\tended\nb\t水壶\tpaused\nc\tLamp\tactive\n", "utf-8"
    )
    read = read_ads(tmp_path / "ads.tsv")
    difference = Difference.of(Catalog.from_ads(BEFORE), read.catalog, read.given)
    assert applied(BEFORE, effects_of(difference))["a"] == replace(BEFORE[0], status="ended")
    assert len(difference.went) == 0


def test_a_partial_feed_changes_parts_of_a_payload(tmp_path):
    before = [Ad("a", "Red pan", payload={"price": 5, "url": "u"}), Ad("b", "水壶", payload={"price": 9})]
    feed, given = partial("ad_id\tprice\na\t4.5\nb\t\n", tmp_path)
    effects = effects_of(Difference.of(Catalog.from_ads(before), feed, given, partial=True))
    assert applied(before, effects) == {"a": replace(before[0], payload={"price": 4.5, "url": "u"}), "b": before[1]}
    assert isinstance(effects["a"], Fields)
