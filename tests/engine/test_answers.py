"""What a front end asks of an answer: filters, caps with back-fill, and payload, beside targeting and exclusion."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.catalog import Catalog
from intently.engine.caps import Caps
from intently.engine.engine import Engine
from intently.errors import InputError
from intently.filters import column
from intently.types import Ad, Channel, Patch, Put, Request, UserContext
from tests.engine.small_engine import ADS, QUERIES, SETTINGS, USERS, ids, make_engine, save
from tests.snapshot.small_snapshot import snapshot_of

MAKERS = ("Acme", "红", "")
PAYLOADS = [
    {"price": 5.0 * row, "group_id": f"g{row // 3}"} | ({"colors": ["red", "红"]} if row % 2 else {"url": f"x/{row}"})
    for row in range(len(ADS))
]
RICH = [
    replace(ad, advertiser=MAKERS[row % 3], payload={} if row == 7 else PAYLOADS[row]) for row, ad in enumerate(ADS)
]
BY_ID = {ad.ad_id: ad for ad in RICH}


def rich_engine(student, num_candidates: int = SETTINGS.num_candidates) -> Engine:
    engine = make_engine(student, replace(SETTINGS, num_candidates=num_candidates))
    catalog = Catalog.from_ads(RICH)  # whose advertisers no index knows
    return Engine(catalog, engine.student, engine.intentions, engine.vectors, engine.lexical, engine.settings)


@pytest.fixture(scope="module")
def engine(make_student) -> Engine:
    return rich_engine(make_student(3))


@pytest.fixture(scope="module")
def shallow(make_student) -> Engine:
    """An engine whose first search finds two ads a channel."""
    return rich_engine(make_student(3), num_candidates=2)


FILTERS = {
    "price < 30": lambda ad: ad.payload.get("price", 99) < 30,
    'advertiser in ("Acme", "红") and not price < 20': lambda ad: ad.advertiser and ad.payload.get("price", 99) >= 20,
    'colors has "红" or group_id == "g0"': lambda ad: "colors" in ad.payload or ad.payload.get("group_id") == "g0",
    "price is missing": lambda ad: "price" not in ad.payload,
    "price > 1000": lambda ad: False,
}


@pytest.mark.parametrize("text", FILTERS)
@pytest.mark.parametrize(("user", "hidden"), USERS)
@pytest.mark.parametrize("channel", Channel)
def test_filters_beside_targeting_and_exclusion(engine, text, user, hidden, channel):
    admitted = {ad.ad_id for ad in RICH if FILTERS[text](ad)} - hidden - {"pan"}
    for query in QUERIES:
        ranking = engine.retrieve(query, 99, user=user, channel=channel, filters=text, exclude=["pan"])
        assert set(ids(ranking)) <= admitted
        if channel in (Channel.DENSE, Channel.FUSED):
            assert set(ids(ranking)) == admitted
        for k in (1, 3):
            fewer = engine.retrieve(query, k, user=user, channel=channel, filters=text, exclude=["pan"])
            assert fewer.ads == ranking.ads[:k]


def test_a_filter_as_an_object_is_the_same(engine):
    one = engine.answer(Request("red", filters=(column("price") < 30) & ~(column("brand") == "Acme")))
    assert one.ads == engine.answer(Request("red", filters='price < 30 and not brand == "Acme"')).ads
    assert one.ads


def test_wrong_filters_are_refused_before_anything_is_answered(engine):
    with pytest.raises(InputError, match="character 7: cannot read '='"):
        Request("red", filters="price = 5")
    with pytest.raises(InputError, match="no ad has a column 'prize'; did you mean 'price'"):
        engine.answer_many([Request("red"), Request("red", filters="prize < 5")])


def capped(ads: list[str], max_per: dict[str, int]) -> list[str]:
    """The slow twin."""
    kept: list[str] = []
    for ad_id in ads:
        for name, most in max_per.items():
            value = value_of(ad_id, name)
            if value is not None and [value_of(each, name) for each in kept].count(value) >= most:
                break
        else:
            kept.append(ad_id)
    return kept


def value_of(ad_id: str, name: str) -> object:
    ad = BY_ID[ad_id]
    return ad.payload.get(name) if name in ("group_id", "price") else getattr(ad, name) or None


CAPS = [{"group_id": 1}, {"advertiser": 1}, {"group_id": 2, "advertiser": 2}, {"status": 1}, {"price": 3, "brand": 1}]


@pytest.mark.parametrize("max_per", CAPS, ids=str)
@pytest.mark.parametrize("channel", Channel)
def test_caps_leave_out_what_a_look_at_the_ranking_leaves_out(engine, max_per, channel):
    asked = {{"brand": "advertiser"}.get(name, name): most for name, most in max_per.items()}
    for query in QUERIES:
        everything = ids(engine.retrieve(query, 99, channel=channel))
        for k in (1, 2, 4, 99):
            ranking = engine.retrieve(query, k, channel=channel, max_per=max_per)
            assert ids(ranking) == capped(everything, asked)[:k]
            assert [ad.rank for ad in ranking] == list(range(1, len(ranking) + 1))


@pytest.mark.parametrize("max_per", CAPS, ids=str)
@pytest.mark.parametrize("filters", [None, "price < 40"])
def test_a_search_that_caps_leave_too_little_of_goes_deeper(shallow, max_per, filters):
    asked = {{"brand": "advertiser"}.get(name, name): most for name, most in max_per.items()}
    for query in QUERIES:
        everything = shallow.retrieve(query, 99, max_per=max_per, filters=filters)
        assert capped(ids(everything), asked) == ids(everything)  # no cap is broken
        left = [ad for ad in shallow.retrieve(query, 99, filters=filters) if ad.ad_id not in ids(everything)]
        for ad in left:  # and none is missing: a cap is full for each that was left out
            assert capped([*ids(everything), ad.ad_id], asked) == ids(everything)
        assert sorted((ad.score for ad in everything), reverse=True) == [ad.score for ad in everything]
        for k in (1, 2, 3, 5):
            fewer = shallow.retrieve(query, k, max_per=max_per, filters=filters)
            assert fewer.ads == everything.ads[:k]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([None, 1, True, "1", "红"]), st.sampled_from(["", "a", "b"])), max_size=12),
    st.dictionaries(st.sampled_from(["x", "advertiser"]), st.integers(1, 3), max_size=2),
    st.integers(0, 12),
)
def test_caps_of_any_rows(rows, max_per, first):
    ads = [Ad(f"a{at}", "t", advertiser=who, payload={"x": x}) for at, (x, who) in enumerate(rows)]
    snapshot = snapshot_of([*ads, Ad("last", "t", payload={"x": 0})])
    caps = Caps(max_per, snapshot)

    def is_full(ad: Ad, kept: list[Ad]) -> bool:
        for name, most in max_per.items():
            values = [each.payload.get("x") if name == "x" else each.advertiser or None for each in (ad, *kept)]
            same = [type(each) is type(values[0]) and each == values[0] for each in values[1:]]
            if values[0] is not None and sum(same) >= most:
                return True
        return False

    expected: list[int] = []
    for row, ad in enumerate(ads):
        if not is_full(ad, [ads[each] for each in expected]):
            expected.append(row)
    order, scores = np.arange(len(ads)), -np.arange(len(ads), dtype=np.float64)
    fewer, _ = caps.kept(order[:first], scores[:first], len(ads))
    assert fewer.tolist() == [row for row in expected if row < first]
    enough, _ = caps.kept(order, scores, first)
    assert enough.tolist() == expected[:first]
    kept, theirs = caps.kept(order, scores, len(ads) + 1)  # more than there are: all are looked at
    assert kept.tolist() == expected and theirs.tolist() == [-row for row in expected]
    eligible = np.ones(len(ads) + 1, dtype=np.bool_)
    admitted = caps.admitting(eligible)
    assert admitted.tolist() == [not is_full(ad, [ads[each] for each in expected]) for ad in ads] + [True]
    assert eligible.all()


def test_payload_is_returned_on_request(engine):
    ranking = engine.retrieve("红色水壶", 99, payload=("title", "price", "url", "bid", "keywords", "brand"))
    for ad in ranking:
        of, payload = BY_ID[ad.ad_id], BY_ID[ad.ad_id].payload
        assert ad.payload == {
            "title": of.title, "price": payload.get("price"), "url": payload.get("url"), "bid": None,
            "keywords": of.keywords or None, "brand": of.advertiser or None,
        }  # fmt: skip
        assert type(ad.payload["price"]) in (float, type(None))
    everything = engine.retrieve("红色水壶", 99, payload=["*"])
    assert [ad.payload for ad in everything] == [BY_ID[ad.ad_id].payload for ad in everything]
    assert all(ad.payload == {} for ad in engine.retrieve("red", 3))
    told = json.loads(json.dumps(everything.to_dict()))
    assert told["ads"][0]["payload"] == json.loads(json.dumps(everything.ads[0].payload))


def test_a_change_of_payload_costs_no_model_call(make_student, monkeypatch):
    engine = rich_engine(make_student(3))
    monkeypatch.setattr(type(engine._live._reader), "read", lambda *_: pytest.fail("a model was asked"))
    assert engine.ad("pan").payload["price"] == 30.0
    engine.apply([Patch("pan", {"payload": {"price": 1, "tags": ["新"]}})])
    assert engine.ad("pan") == replace(BY_ID["pan"], payload={"price": 1, "tags": ["新"]})
    assert engine.ad("pan").payload["tags"] == ("新",) and type(engine.ad("pan").payload["price"]) is int
    assert ids(engine.retrieve("red", filters='tags has "新"')) == ["pan"]
    engine.apply([Put(replace(BY_ID["pan"], payload={"price": 2}))])  # of the same text: a patch
    assert ids(engine.retrieve("red", filters="price == 2")) == ["pan"]
    assert ids(engine.retrieve("red", filters='tags has "新"')) == []
    for values, told in (
        ({"title": 1}, "'title' cannot be a name in the payload"),
        ({"x": {1, 2}}, "'x' holds set"),
        ({"x": "y" * 100_001}, "100,003 characters, over the limit of 100,000"),
        ([1], "expected a mapping, got list"),
    ):
        with pytest.raises(InputError, match=rf"changes:1 field 'payload': .*{told}"):
            engine.apply([Patch("pan", {"payload": values})])
    assert engine.ad("pan").payload == {"price": 2}


def test_payload_is_saved_and_loaded(make_student, tmp_path):
    engine = rich_engine(make_student(3))
    engine.apply([Patch("pan", {"payload": {"deep": {"a": [1, 2.5, None, True, "红"]}}})])
    save(engine, tmp_path)
    loaded = Engine.load(tmp_path)
    assert [loaded.ad(ad.ad_id) for ad in RICH] == [engine.ad(ad.ad_id) for ad in RICH]
    asked = Request("red", filters="price < 30", max_per={"group_id": 1}, payload=("*",))
    assert loaded.answer(asked).ads == engine.answer(asked).ads


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"payload": "title"}, "expected names, got 'title'"),
        ({"payload": [1]}, "expected at most 100 names"),
        ({"max_per": ["advertiser"]}, "expected caps"),
        ({"max_per": {"advertiser": 0}}, "'advertiser': 0 is not a cap"),
        ({"max_per": {"advertiser": True}}, "is not a cap"),
        ({"filters": 5}, "expected a condition, got int"),
    ],
    ids=str,
)
def test_requests_that_are_refused(given, told):
    with pytest.raises(InputError, match=told):
        Request("red", **given)


def test_requests_stay_hashable():
    request = Request("red", filters="price < 5", payload=["title", "title"], max_per={"advertiser": 2})
    assert hash(request) == hash(replace(request)) and request == replace(request)
    assert request.payload == ("title",) and UserContext() is not None
