"""Semantic complexity against its definition in plain Python."""

import math
from collections import Counter

import numpy as np
import pytest

from intently.build.augmentation.complexity import (
    ComplexityFeatures,
    ComplexitySettings,
    complexity_features,
    semantic_complexity,
)
from intently.catalog import Catalog
from intently.errors import SettingsError
from intently.text.analyze import Analyzer
from intently.types import Ad, Span

ADS = (
    Ad("a", "Red pan", "a pan for eggs, a pan"),
    Ad("b", "Red kettle 水壶", landing_spans=(Span("boil", 0.5), Span("quickly now", 1.0))),
    Ad("c", "红色水壶 保温", "水壶", landing_text="kettle zxqv 水壶"),
    Ad("d", "for the", landing_text="", landing_spans=(Span("?!", 0.0),)),
)
SETTINGS = ComplexitySettings(rare_below=2)


def test_features_are_their_definitions():
    analyzer = Analyzer()
    found = complexity_features(Catalog.from_ads(ADS), analyzer, SETTINGS)
    terms = [analyzer.terms(f"{ad.title} {ad.description}") for ad in ADS]
    num_with = Counter(term for some in terms for term in set(some))
    for row, some in enumerate(terms):
        distinct = set(some)
        rare = sum(num_with[term] < 2 for term in distinct) / len(distinct) if distinct else 0.0
        shares = [count / len(some) for count in Counter(some).values()]
        assert found.rare_terms[row] == pytest.approx(rare)
        assert found.length_entropy[row] == pytest.approx(-sum(share * math.log(share) for share in shares))
    # Of "boil" and "quickly now", 15 characters, four are doubted by half; of the text, one word in three is unknown.
    assert found.ocr_noise == pytest.approx([0.0, 4 * 0.5 / 15, 1 / 3, 1.0])
    assert found.length_entropy[3] == pytest.approx(math.log(2))  # stop words, where there is nothing else


def test_repetition_is_not_length():
    ads = [Ad("a", "sale " * 9), Ad("b", "sale pan lamp"), Ad("c", "sale pan lamp drill kettle bit")]
    entropy = complexity_features(Catalog.from_ads(ads), Analyzer(), SETTINGS).length_entropy
    assert np.exp(entropy) == pytest.approx([1, 3, 6])


def test_weights_are_a_sigmoid_of_standardised_features():
    rng = np.random.default_rng(0)
    features = ComplexityFeatures(rng.random(6), 100 * rng.random(6), np.full(6, 3.0))
    settings = ComplexitySettings(rare_terms=0.5, ocr_noise=2.0, length_entropy=7.0, offset=-1.0)
    found = semantic_complexity(features, settings)
    for row in range(6):
        z = -1.0  # and what is constant counts nothing
        for weight, values in (
            (0.5, features.rare_terms),
            (2.0, features.ocr_noise),
        ):
            z += weight * (values[row] - values.mean()) / values.std()
        assert found[row] == pytest.approx(1 / (1 + math.exp(-z)))


def test_extremes_and_nothing():
    features = ComplexityFeatures(np.array([0.0, 1.0]), np.zeros(2), np.zeros(2))
    with np.errstate(all="raise"):
        low, high = semantic_complexity(features, ComplexitySettings(rare_terms=100))
    assert 0 <= low < 1e-9
    assert 1 - 1e-9 < high <= 1
    none = complexity_features(Catalog.from_ads([]), Analyzer(), SETTINGS)
    assert semantic_complexity(none, SETTINGS).shape == (0,)


@pytest.mark.parametrize("wrong", [{"rare_below": 0}, {"offset": math.inf}, {"rare_terms": "a"}])
def test_wrong_settings(wrong):
    with pytest.raises(SettingsError):
        ComplexitySettings(**wrong)
