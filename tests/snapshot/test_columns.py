"""Filters over a snapshot against a look at every ad, whatever changes came before."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.catalog import Catalog
from intently.errors import InputError
from intently.filters import AllOf, AnyOf, Compare, Expression, Has, IsMissing, Not, OneOf, column, parse
from intently.frozen import FrozenDict
from intently.snapshot import payloads as module
from intently.snapshot import snapshot as snapshots
from intently.snapshot.columns import check_columns, values_of
from intently.snapshot.payloads import PayloadColumn
from intently.snapshot.snapshot import Snapshot
from intently.types import Ad, Request
from tests.snapshot.small_snapshot import READER, snapshot_of

ALIASES = {"brand": "advertiser", "bid_price": "bid"}
VALUES = st.none() | st.sampled_from([0, 1, 1.0, 2.5, -3, True, False, "", "1", "red", "红", 'a"b\\', (), ("red", 1)])
VALUES |= st.sampled_from([("红", True, 2.5), FrozenDict(a=1)])
PAYLOADS = st.dictionaries(st.sampled_from(["price", "颜色", "Image Link"]), VALUES, max_size=3)
ADS = st.lists(
    st.builds(
        Ad,
        ad_id=st.just(""),
        title=st.sampled_from(["lamp", "灯"]),
        category=st.sampled_from(["", "Beds", "床"]),
        advertiser=st.sampled_from(["", "Acme", "红"]),
        keywords=st.sampled_from([(), ("red",), ("red", "红")]),
        bid=st.sampled_from([None, 0.0, 1.0, 2.5]),
        countries=st.sampled_from([(), ("DE",), ("CN", "DE")]),
        status=st.sampled_from(["active", "paused"]),
        payload=PAYLOADS,
    ),
    min_size=1,
    max_size=7,
).map(lambda ads: [replace(ad, ad_id=f"ad{row}") for row, ad in enumerate(ads)])

PLAIN = st.sampled_from([0, 1, 1.0, 2.5, -3, "1", "red", "红", "Beds", "Acme", "", 'a"b\\'])
ANY = PLAIN | st.booleans()
NAMES = st.sampled_from(["price", "颜色", "Image Link", "category", "brand", "bid", "bid_price", "title", "status"])
LISTS = st.sampled_from(["keywords", "price", "颜色", "countries"])
LEAVES = (
    st.builds(Compare, NAMES, st.sampled_from(["==", "!="]), ANY)
    | st.builds(Compare, NAMES, st.sampled_from(["<", "<=", ">", ">="]), PLAIN)
    | st.builds(OneOf, NAMES, st.lists(ANY, min_size=1, max_size=3).map(tuple))
    | st.builds(Has, LISTS, st.sampled_from(["red", "红", "DE", "Germany", "CN", 1, 2.5, True]))
    | st.builds(IsMissing, NAMES | LISTS)
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(AllOf, st.lists(inner, min_size=2, max_size=3).map(tuple))
        | st.builds(AnyOf, st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=5,
)


def value_of(ad: Ad, name: str) -> object:
    value = getattr(ad, ALIASES.get(name, name), None) if name not in ad.payload else ad.payload[name]
    return None if value in ("", ()) and type(value) is not bool else value


def same_kind(one: object, other: object) -> bool:
    kinds = [
        bool if type(each) is bool else float if isinstance(each, int | float) else type(each) for each in (one, other)
    ]
    return kinds[0] is kinds[1]


def is_true(expression: Expression, ad: Ad) -> bool:
    """The slow twin."""
    if isinstance(expression, Not):
        return not is_true(expression.part, ad)
    if isinstance(expression, AllOf):
        return all(is_true(part, ad) for part in expression.conditions)
    if isinstance(expression, AnyOf):
        return any(is_true(part, ad) for part in expression.conditions)
    assert isinstance(expression, Compare | OneOf | Has | IsMissing)
    value = value_of(ad, expression.name)
    if isinstance(expression, IsMissing):
        return value is None
    if isinstance(expression, Has):
        wanted = "DE" if (expression.name, expression.value) == ("countries", "Germany") else expression.value
        return isinstance(value, tuple) and any(same_kind(item, wanted) and item == wanted for item in value)
    if isinstance(expression, OneOf):
        return any(same_kind(value, each) and value == each for each in expression.values)
    if not same_kind(value, expression.value):
        return False
    return {
        "==": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    }[expression.operator](value, expression.value)  # fmt: skip


def check(expression: Expression, snapshot: Snapshot, ads: list[Ad]) -> None:
    for _ in range(2):  # the second time from the cache
        try:
            check_columns(Request("x", filters=expression), snapshot)
        except InputError:
            return  # a comparison with another kind; what is said is tested below
        assert snapshot.matching(expression).tolist() == [is_true(expression, ad) for ad in ads]


@settings(max_examples=300, deadline=None)
@given(ADS, st.lists(EXPRESSIONS, min_size=1, max_size=4))
def test_equals_looking_at_every_ad(ads, expressions):
    snapshot = snapshot_of(ads)
    for expression in expressions:
        check(expression, snapshot, ads)
    names = ("title", "brand", "bid", "keywords", *sorted(snapshot.attributes.payloads.names))
    for row, ad in enumerate(ads):
        assert snapshot.ad(row) == ad
        assert values_of(row, names, snapshot) == {name: value_of(ad, name) for name in names}
        assert values_of(row, ("*",), snapshot) == ad.payload


@settings(max_examples=100, deadline=None)
@given(
    ADS,
    st.randoms(use_true_random=False),
    st.lists(PAYLOADS, min_size=12, max_size=12),
    EXPRESSIONS,
    st.sampled_from([-50, 0, 4096]),
)
def test_after_any_changes(ads, rng, payloads, expression, spare):
    before = snapshot_of(ads)
    now, there, count = before, list(ads), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SPARE", spare)
        for each in payloads:
            kind = rng.random()
            if kind < 0.5:
                row = rng.randrange(len(there))
                there[row] = replace(there[row], payload=each)
                now = now.patched([row], [{"payload": there[row].payload}])
            elif kind < 0.8:
                new = [Ad(f"n{count}-{at}", "new lamp", payload=each) for at in range(rng.randint(1, 3))]
                catalog, count = Catalog.from_ads(new), count + 1
                now = now.appended(READER.read(catalog).numbered(now.num_rows), catalog)
                there += new
            elif len(there) > 1:
                row = rng.randrange(len(there))
                now = now.without([row])
                at, _ = now.place(row)
                now = now.rebased(now, at, at + 1, now.merged(at, at + 1))
                del there[row]
            check(expression, now, there)
    assert [now.ad(row) for row in range(now.num_rows)] == there
    assert [now.catalog.ad(row) for row in range(now.num_rows)] == there
    check(expression, before, ads)
    assert [before.ad(row) for row in range(before.num_rows)] == ads


def test_a_store_has_few_parts_and_forgets():
    column_ = PayloadColumn.build(Catalog.from_ads([Ad(f"a{row}", "t") for row in range(100)]).column("payload"))
    for number in range(3000):
        column_ = column_.changed(np.array([number % 100]), [FrozenDict(price=number)])
        assert len(column_._store.parts) <= 14
    assert len(column_._store) < 3 * 4096
    assert column_.of(99) == {"price": 2999}
    assert column_.changed(np.array([99]), [FrozenDict(price=2999)]) is column_


def test_masks_are_bounded(monkeypatch):
    monkeypatch.setattr(snapshots, "_CACHE_BYTES", 1000)
    snapshot = snapshot_of([Ad(f"a{row}", "lamp", payload={"price": row}) for row in range(100)])
    for number in range(50):
        assert snapshot.matching(column("price") < number).sum() == number
    assert len(snapshot._masks) <= 10


def test_true_is_not_one_in_the_cache_either():
    snapshot = snapshot_of([Ad("a", "t", payload={"x": 1}), Ad("b", "t", payload={"x": True})])
    assert snapshot.matching(column("x") == 1).tolist() == [True, False]
    assert snapshot.matching(column("x") == True).tolist() == [False, True]  # noqa: E712


MISTAKES = {
    "prise < 5": "no ad has a column 'prise'; did you mean 'price'",
    'price < "5"': "'price' holds numbers, and '5' is a text; compare with a number, without quotes",
    "brand == 5": "'brand' holds texts, and 5 is a number; put it in quotes: \"5\"",
    "sale == 1": "'sale' holds true and false, and 1 is a number; write sale == true",
    'sizes == "M"': "'sizes' holds lists, and 'M' is a text; write sizes has 'M'",
    'price has "M"': "'price' holds numbers, not lists; write price == …",
    'countries == "DE"': "'countries' holds lists",
    "maker == 1": "'maker' holds objects, and 1 is a number",
    'countries has "red"': "'red' is not a country; use a two-letter code",
    "keywords has 5": "'keywords' holds lists of texts; put it in quotes",
    "landing_spans is missing": "no ad has a column 'landing_spans'",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_told_with_their_cure(text):
    payload = {"price": 5, "sale": True, "sizes": ["M"], "maker": {"name": "x"}}
    snapshot = snapshot_of([Ad("a", "t", advertiser="b", payload=payload)])
    with pytest.raises(InputError) as caught:
        check_columns(Request("x", filters=text), snapshot)
    assert MISTAKES[text] in str(caught.value)


def test_columns_that_cannot_be_returned_or_capped():
    snapshot = snapshot_of([Ad("a", "t", payload={"sizes": ["M"], "价格": 5})])
    for request, told in (
        (Request("x", payload=("titel",)), "field 'payload': no ad has a column 'titel'; did you mean 'title'"),
        (Request("x", max_per={"sizes": 1}), "field 'max_per': 'sizes' holds lists, which cannot be counted"),
        (Request("x", max_per={"countries": 1}), "'countries' holds lists"),
        (Request("x", max_per={"价": 1}), "no ad has a column '价'"),
    ):
        with pytest.raises(InputError) as caught:
            check_columns(request, snapshot)
        assert told in str(caught.value)
    check_columns(Request("x", payload=("*", "title", "价格"), max_per={"价格": 1, "category": 2}), snapshot)


def test_missing_values_as_documented():
    ads = [Ad("a", "t", payload={"price": 10}), Ad("b", "t", payload={"price": None}), Ad("c", "t")]
    snapshot = snapshot_of(ads)
    for text, expected in {
        "price < 50": [True, False, False],
        "not price < 50": [False, True, True],
        "price != 5": [True, False, False],
        "not price == 5": [True, True, True],
        "price not in (1, 2)": [True, False, False],
        "price is missing": [False, True, True],
        "price is not missing": [True, False, False],
    }.items():
        assert snapshot.matching(parse(text)).tolist() == expected, text
