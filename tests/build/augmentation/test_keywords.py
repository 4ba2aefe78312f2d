"""Statistical keywords: phrases of the ad's own text, ranked by what other ads and clicks show."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.build.augmentation.keyword_model import is_extractive
from intently.build.augmentation.keywords import (
    _WITHOUT_EXAMPLES,
    FEATURES,
    StatisticalKeywords,
    StatisticalKeywordSettings,
    logistic_regression,
)
from intently.build.augmentation.records import AdsAndClicks
from intently.errors import SettingsError
from intently.text.analyze import STOP_WORDS, Analyzer
from tests.conftest import Told

ANALYZER = Analyzer()
SETTINGS = StatisticalKeywordSettings()


def extract(data: AdsAndClicks, **chosen) -> list[tuple[str, ...]]:
    return StatisticalKeywords(StatisticalKeywordSettings(**chosen), ANALYZER).extract(data, Told())


def of_texts(*texts: str) -> AdsAndClicks:
    none = np.empty((0, 2), dtype=np.int64)
    zeros = np.zeros(len(texts), dtype=np.int64)
    return AdsAndClicks(texts, texts, [[] for _ in texts], (), none, none[:, 0], zeros, zeros)


WORDS = ("red", "pans", "for", "5", "gal.", "kettle", "水壶", "红色", "的", ",", "|", "1/2", "drill-bits", "ＬＥＤ")


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), min_size=1, max_size=5))
def test_keywords_stand_in_the_text(texts):
    for text, keywords in zip(texts, extract(of_texts(*texts)), strict=True):
        words = ANALYZER.words(text)
        for keyword in keywords:
            said = ANALYZER.words(keyword)
            assert is_extractive(said, words)
            assert 1 <= len(said) <= 4
            assert not STOP_WORDS.intersection(said)


def test_what_an_ad_bids_on_comes_first_as_far_as_its_text_has_it(make_data):
    found = extract(make_data())
    assert found[0][0] == "electric kettle"  # "tea maker" is not in its text
    assert found[1][0] == "frying pan"
    assert found[2][0] == "电热水壶"
    assert "tea maker" not in found[0]


def test_what_led_to_an_ad_is_no_keyword_of_it_for_that(make_data):
    data = make_data()
    model = StatisticalKeywords(SETTINGS, ANALYZER)
    support, phrases = model._support(data), model._phrases(data.titles[3], data.texts[3])
    assert support.own_clicks[3] == {"cordless drill"}
    scores = np.array([phrase.key != "cordless drill" for phrase in phrases], dtype=np.float64)
    assert scores.sum() == len(phrases) - 1
    assert model._best(phrases, scores, support.own_bids[3])[0] != "cordless drill"
    # Without a model that learned, a click changes nothing about the ad that it was made on.
    one = StatisticalKeywords(StatisticalKeywordSettings(max_examples=0), ANALYZER)
    never = replace(data, clicks=data.clicks[[0, 2, 3, 4]], counts=data.counts[[0, 2, 3, 4]])
    assert one.extract(data, Told())[3] == one.extract(never, Told())[3]


def test_what_others_bid_on_is_learned():
    others = ("vacuum", "kettle", "lamp", "drill", "shoe", "mirror")
    brands = [chr(97 + number) * 3 for number in range(19)]  # every one of a single ad, as rare as can be
    data = of_texts(*(f"{brand} shiny {others[number % 6]} offer" for number, brand in enumerate(brands)))
    bids = [[others[number % 6]] for number in range(18)] + [[]]
    model = StatisticalKeywords(StatisticalKeywordSettings(num_keywords=1), ANALYZER)
    assert model.extract(replace(data, bids=bids), Told())[-1] == ("vacuum",)
    assert model.num_positives == 18
    assert model.weights[FEATURES.index("bid_by_others")] > 0


def test_without_bids_and_clicks_given_weights_work(make_data):
    data = make_data(bids=False, clicks=False)
    model = StatisticalKeywords(SETTINGS, ANALYZER)
    found = model.extract(data, Told())
    assert model.num_positives == 0
    assert model.weights.tolist() == [*_WITHOUT_EXAMPLES, 0.0]
    assert all(found)
    assert "electric kettle" in " ".join(found[0])
    assert any("水壶" in keyword for keyword in found[2])


def test_an_intention_of_other_ads_counts(make_data):
    data = make_data(bids=False, clicks=False)
    plain = StatisticalKeywords(StatisticalKeywordSettings(num_keywords=1), ANALYZER)
    known = StatisticalKeywords(StatisticalKeywordSettings(num_keywords=1), ANALYZER, ("eggs", "unheard of"), (1000, 9))
    assert plain.extract(data, Told())[1] != ("eggs",)
    assert known.extract(data, Told())[1] == ("eggs",)
    own = StatisticalKeywords(StatisticalKeywordSettings(num_keywords=1), ANALYZER, ("eggs",), (1,))
    assert own.extract(data, Told())[1] == plain.extract(data, Told())[1]  # its own adds nothing


def test_a_phrase_of_known_words_is_left_out():
    for keywords in extract(of_texts("red frying pan", "红色电热水壶保温", "a pan")):
        covered: set[str] = set()
        for keyword in keywords:
            words = set(ANALYZER.words(keyword))
            assert not words <= covered
            covered |= words


def test_limits():
    text = "alpha beta gamma delta epsilon zeta eta theta"
    (found,) = extract(of_texts(text), num_keywords=2, max_words=1, max_text_words=3)
    assert len(found) == 2
    assert all(" " not in keyword for keyword in found)
    (late,) = extract(of_texts("alpha beta, gamma, delta"), num_keywords=9, max_text_words=2)
    assert set(" ".join(late).split()) == {"alpha", "beta"}
    assert extract(of_texts("", "for the", "5 gal", "7")) == [(), (), (), ()]


def test_it_is_deterministic_and_shows_progress(make_data):
    told = Told()
    first = StatisticalKeywords(SETTINGS, ANALYZER).extract(make_data(), told)
    assert told.stages[-1] == ("Extracting keywords", 5, 5)
    assert StatisticalKeywords(SETTINGS, ANALYZER).extract(make_data(), Told()) == first


def test_the_regression_is_where_its_loss_is_flat_and_least():
    rng = np.random.default_rng(0)
    features = np.column_stack((rng.normal(size=(200, 3)), np.ones(200)))
    truth = np.array([2.0, -1.0, 0.0, -0.5])
    positive = (rng.random(200) < 1 / (1 + np.exp(-features @ truth))).astype(np.float64)
    weights = logistic_regression(features, positive, 1.0)
    held = np.array([1, 1, 1, 1e-6])

    def loss(at):
        scores = features @ at
        return np.sum(np.log1p(np.exp(scores)) - positive * scores) + 0.5 * held @ at**2

    assert weights == pytest.approx(truth, abs=0.6)
    for column in range(4):
        step = 1e-4 * np.eye(4)[column]
        assert loss(weights + step) - loss(weights - step) == pytest.approx(0, abs=1e-6)
    for _ in range(20):
        assert loss(weights + 0.1 * rng.normal(size=4)) > loss(weights)


def test_the_regression_of_what_can_be_told_apart_is_finite():
    features = np.column_stack((np.array([-1.0, -1, 1, 1]) * 1000, np.ones(4)))
    weights = logistic_regression(features, np.array([0.0, 0, 1, 1]), 1.0)
    assert np.isfinite(weights).all()
    assert weights[0] > 0


@pytest.mark.parametrize("wrong", [{"num_keywords": 0}, {"max_words": 5}, {"max_examples": -1}, {"seed": 2**32}])
def test_wrong_settings(wrong):
    with pytest.raises(SettingsError):
        StatisticalKeywordSettings(**wrong)
