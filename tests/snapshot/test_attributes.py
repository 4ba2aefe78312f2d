"""Targeting against a look at every ad."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.catalog import Catalog, checked_user
from intently.frozen import FrozenDict
from intently.snapshot import attributes as module
from intently.snapshot.attributes import Attributes
from intently.types import Ad, UserContext

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MONDAY = datetime(2024, 1, 1)


def some(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=2).map(tuple)


day_parts = st.tuples(st.sampled_from(DAYS), st.sampled_from(DAYS), st.sampled_from([(0, 9), (9, 18), (18, 24)])).map(
    lambda part: f"{part[0]}-{part[1]}@{part[2][0]}-{part[2][1]}"
)
ads_strategy = st.lists(
    st.builds(
        Ad,
        ad_id=st.just(""),
        title=st.sampled_from(["lamp", "灯"]),
        status=st.sampled_from(["active", "active", "paused", "ended"]),
        countries=some("DE", "cn", "US"),
        languages=some("de", "ZH"),
        devices=some("mobile", "Desktop"),
        day_parts=st.lists(day_parts, max_size=2).map(tuple),
        audiences=some("cooks", "新客", "Cooks"),
    ),
    min_size=1,
    max_size=8,
).map(lambda ads: [replace(ad, ad_id=f"ad{row}") for row, ad in enumerate(ads)])
users = st.builds(
    UserContext,
    country=st.sampled_from([None, "DE", "de", "CN", "FR"]),
    language=st.sampled_from([None, "de", "zh", "ZH", "fr"]),
    device=st.sampled_from([None, "mobile", "MOBILE", "desktop", "tv"]),
    time=st.none() | st.integers(0, 7 * 24 - 1).map(lambda hour: MONDAY + timedelta(hours=hour, minutes=59)),
    audiences=st.none() | st.frozensets(st.sampled_from(["cooks", "新客", "other"]), max_size=2),
)


def may_see(ad: Ad, user: UserContext) -> bool:
    """The slow twin."""

    def wants(listed: tuple[str, ...], value: str | None) -> bool:
        return value is None or not listed or value.lower() in [one.lower() for one in listed]

    def open_at(part: str, time: datetime) -> bool:
        days, hours = part.split("@")
        day, last = (DAYS.index(name) for name in days.split("-"))
        start, end = map(int, hours.split("-"))
        open_days = [day]
        while day != last:
            day = (day + 1) % 7
            open_days.append(day)
        return time.weekday() in open_days and start <= time.hour < end

    return (
        ad.status == "active"
        and wants(ad.countries, user.country)
        and wants(ad.languages, user.language)
        and wants(ad.devices, user.device)
        and (user.time is None or not ad.day_parts or any(open_at(part, user.time) for part in ad.day_parts))
        and (user.audiences is None or not ad.audiences or bool(user.audiences & set(ad.audiences)))
    )


@settings(max_examples=150, deadline=None)
@given(ads_strategy, st.lists(users, min_size=1, max_size=6))
def test_equals_looking_at_every_ad(ads, asking):
    attributes = Attributes.of(Catalog.from_ads(ads))
    for user in [*asking, *asking]:  # the second time from the cache
        assert attributes.eligible(checked_user(user)).tolist() == [may_see(ad, user) for ad in ads]
    active = [ad.status == "active" for ad in ads]
    for nobody in (None, UserContext()):
        assert attributes.eligible(checked_user(nobody)).tolist() == active


def test_a_catalogue_of_several_chunks():
    parts = [Catalog.from_ads([Ad(f"{n}", "lamp", countries=c, status=s)]) for n, (c, s) in enumerate(
        [(("DE",), "active"), ((), "active"), (("DE", "CN"), "paused"), (("CN",), "active")]
    )]  # fmt: skip
    import pyarrow as pa

    catalog = Catalog(pa.concat_tables([part.table for part in parts]))
    attributes = Attributes.of(catalog)
    assert attributes.eligible(checked_user(UserContext(country="cn"))).tolist() == [False, True, False, True]
    sliced = Attributes.of(Catalog(catalog.table.slice(1, 3)))
    assert sliced.eligible(checked_user(UserContext(country="de"))).tolist() == [True, False, False]


def test_an_empty_catalogue():
    nobody = Attributes.of(Catalog.from_ads([]))
    assert nobody.eligible(checked_user(UserContext("DE", "de", "tv", MONDAY, frozenset()))).shape == (0,)


def test_masks_are_not_shared_between_users():
    attributes = Attributes.of(Catalog.from_ads([Ad("a", "lamp", countries=("DE",)), Ad("b", "lamp")]))
    german = attributes.eligible(checked_user(UserContext(country="DE")))
    german[:] = False
    assert attributes.eligible(checked_user(UserContext(country="DE"))).tolist() == [True, True]
    assert np.array_equal(attributes.eligible(checked_user(UserContext(country="CN"))), [False, True])


def test_masks_are_bounded_whatever_audiences_users_bring(monkeypatch):
    monkeypatch.setattr(module, "_CACHE_BYTES", 1000)
    ads = [Ad(f"a{row}", "lamp", audiences=(f"tag{row % 7}",)) for row in range(100)]
    attributes = Attributes.of(Catalog.from_ads(ads))
    for number in range(300):
        user = UserContext(audiences={f"tag{number % 9}", f"nobody{number}"})
        expected = [may_see(ad, user) for ad in ads]
        assert attributes.eligible(checked_user(user)).tolist() == expected
    assert len(attributes.sets["audiences"]._masks) <= 10


changes = st.lists(
    st.tuples(
        st.integers(0, 7),
        st.fixed_dictionaries(
            {},
            optional={
                "status": st.sampled_from(["active", "paused", "ended"]),
                "bid": st.sampled_from([None, 0.0, 2.5]),
                "countries": some("DE", "CN"),
                "audiences": some("cooks", "新客"),
                "day_parts": st.lists(day_parts, max_size=2).map(tuple),
                "payload": st.dictionaries(st.sampled_from(["price", "颜色"]), st.integers(), max_size=2).map(
                    FrozenDict
                ),
            },
        ),
    ),
    max_size=6,
)


@settings(max_examples=100, deadline=None)
@given(ads_strategy, changes, st.lists(users, min_size=1, max_size=3), st.sampled_from([0, 4096]))
def test_changed_attributes_are_those_of_changed_ads(ads, changes, asking, spare):
    ads = Catalog.from_ads(ads)
    ads = [ads.ad(row) for row in range(ads.num_ads)]
    before = Attributes.of(Catalog.from_ads(ads))
    now, there = before, list(ads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SPARE_SETS", spare or -3 * len(ads))
        for row, fields in changes:
            if row < len(ads):
                now = now.changed([row], [fields])
                there[row] = replace(there[row], **fields)
    anew, as_before = (Attributes.of(Catalog.from_ads(each)) for each in (there, ads))
    for user in asking:
        user = checked_user(user)
        assert now.eligible(user).tolist() == anew.eligible(user).tolist()
        assert before.eligible(user).tolist() == as_before.eligible(user).tolist()
    for row, ad in enumerate(there):
        assert now.of_row(row) == {name: getattr(ad, name) for name in module.ATTRIBUTE_FIELDS}
    keep = np.arange(len(there)) % 2 == 0
    kept, more = now.kept(keep), now.concatenated(Catalog.from_ads(ads))
    assert [kept.of_row(row)["status"] for row in range(len(kept))] == [ad.status for ad in there[::2]]
    assert [more.of_row(row)["countries"] for row in range(len(more))] == [ad.countries for ad in (*there, *ads)]
