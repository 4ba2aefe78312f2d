"""Pages of ads against a plain sort."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.snapshot.listing import ads_after
from intently.types import Ad, Delete, Patch, Put
from tests.engine.small_engine import make_engine


@pytest.fixture(scope="module")
def engine(make_student):
    engine = make_engine(make_student(3))
    engine.apply([Put(Ad(f"n{number}", "Red pan", advertiser="锅具" if number % 2 else "pans")) for number in range(9)])
    engine.apply([Delete("n4"), Delete("lamp"), Patch("n5", {"status": "paused"}), Put(Ad("中文", "红色水壶"))])
    engine.apply([Put(Ad("\U0001f98a", "Red pan")), Put(Ad("\uff21", "Red pan"))])  # UTF-16 would order them otherwise
    return engine


@given(
    limit=st.integers(1, 30),
    status=st.sampled_from([None, "active", "paused", "ended"]),
    advertiser=st.sampled_from([None, "锅具", "pans", "nobody"]),
)
def test_pages_are_a_sort_in_pieces(engine, limit, status, advertiser):
    everything = [engine.catalog.ad(row) for row in range(len(engine.catalog))]
    wanted = [ad for ad in everything if status in (None, ad.status) and advertiser in (None, ad.advertiser)]
    wanted.sort(key=lambda ad: ad.ad_id.encode())
    pages, after = [], ""
    while page := ads_after(engine.snapshot, after, limit, status=status, advertiser=advertiser):
        assert len(page) <= limit
        pages += page
        after = page[-1].ad_id
    assert pages == wanted


def test_ads_that_stay_come_once_while_others_change(engine):
    rng = np.random.default_rng(0)
    stays = {ad.ad_id for ad in ads_after(engine.snapshot, "", 1000)}
    seen, after = [], ""
    for step in range(1000):
        page = ads_after(engine.snapshot, after, 2)
        if not page:
            break
        seen += [ad.ad_id for ad in page]
        after = page[-1].ad_id
        other = f"{'az'[step % 2]}{rng.integers(99)}"
        engine.apply([Put(Ad(other, "Red pan"))] if step % 3 else [Delete(other)])
    assert sorted(seen) == sorted(set(seen))
    assert stays <= set(seen)
