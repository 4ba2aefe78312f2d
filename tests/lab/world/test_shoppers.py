"""Shoppers: seeded visits with peaks and a Zipf law, and behavior that is a dynamic Bayesian network."""

import numpy as np
import pytest

from intently.errors import SettingsError
from intently.lab.world.shoppers import (
    ATTRACTION,
    CONTINUATION,
    DEEP,
    HOURS,
    SATISFACTION,
    SHALLOW,
    Shoppers,
    ShopperSettings,
    draw_visits,
)
from intently.market.clicks import DynamicBayesianNetwork

SETTINGS = ShopperSettings(num_shoppers=20_000, visits_a_shopper=3.0, num_days=2, seed=5)


def test_visits_are_seeded():
    one, two = draw_visits(50, SETTINGS), draw_visits(50, SETTINGS)
    for name in ("shopper", "query", "at_s", "before"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert len(draw_visits(50, ShopperSettings(seed=6)).query) != len(one.query)


def test_visits_have_peaks_a_zipf_law_and_shoppers_who_differ():
    visits = draw_visits(50, SETTINGS)
    assert (np.diff(visits.at_s) >= 0).all()
    hours = np.bincount((visits.at_s // 3600 % 24).astype(int), minlength=24) / len(visits.at_s)
    np.testing.assert_allclose(hours, np.array(HOURS) / sum(HOURS), atol=0.006)
    asked = np.sort(np.bincount(visits.query))[::-1] / len(visits.query)
    np.testing.assert_allclose(asked[:3] / asked[0], np.arange(1, 4) ** -0.8, atol=0.05)
    now = np.bincount(visits.shopper, minlength=SETTINGS.num_shoppers)
    assert now.var() > 2 * now.mean()
    assert np.corrcoef(now, visits.before)[0, 1] > 0.5  # so CUPED has something to take away


def test_clicks_are_those_of_the_click_model_and_conversions_follow():
    grades, num = np.array([3, 1, 2, 0]), 20_000
    shoppers = Shoppers(4, 10, seed=1)
    ads = np.arange(4)
    done = [shoppers.behave(visit, ads, grades) for visit in range(num)]
    clicked = np.mean([each.clicked for each in done], axis=0)
    model = DynamicBayesianNetwork(ATTRACTION, SATISFACTION, CONTINUATION)
    np.testing.assert_allclose(clicked, model.click_probabilities(grades[None])[0], atol=0.01)
    deep = np.mean([each.deep for each in done], axis=0)
    np.testing.assert_allclose(deep, clicked * SHALLOW[grades] * DEEP[grades], atol=0.005)
    for each in done[:2000]:
        assert (each.clicked >= each.shallow).all()
        assert (each.shallow >= each.deep).all()
        assert ((each.value > 0) == each.deep).all()
    again = Shoppers(4, 10, seed=1).behave(17, ads, grades)
    np.testing.assert_array_equal(again.clicked, done[17].clicked)


def test_a_page_may_have_fewer_ads_than_slots():
    assert len(Shoppers(4, 3, seed=0).behave(0, np.array([2]), np.array([3])).clicked) == 1


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="shoppers"):
        ShopperSettings(num_shoppers=1)
