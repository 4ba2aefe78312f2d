import numpy as np
import pytest

from intently.build.training.calibration import CalibrationSettings, fit_logistic
from intently.errors import SettingsError


def drawn(weights: dict[str, float], bias: float, number: int = 20_000):
    """Return evidence of random numbers, and what is relevant by a model with these weights."""
    rng = np.random.default_rng(1)
    found = {name: rng.normal(2.0, 3.0, number) for name in weights}
    total = bias + sum(weight * found[name] for name, weight in weights.items())
    return found, rng.random(number) < 1 / (1 + np.exp(-total))


def test_the_model_behind_the_examples_is_found():
    wanted = {"coverage": 0.8, "missing": 0.3, "cosine": 0.0}
    found, relevant = drawn(wanted, -1.5)
    model = fit_logistic(found, relevant)
    assert model.weights == pytest.approx(wanted, abs=0.05)
    assert model.bias == pytest.approx(-1.5, abs=0.1)
    assert model.of(found).mean() == pytest.approx(relevant.mean(), abs=1e-6)


def test_nothing_speaks_against_an_ad():
    found, relevant = drawn({"coverage": 0.8, "cosine": -0.4, "missing": 0.2}, 0.0)
    model = fit_logistic(found, relevant)
    assert model.weights["cosine"] == 0.0
    assert min(model.weights["coverage"], model.weights["missing"]) > 0.1
    assert model.of(found).mean() == pytest.approx(relevant.mean(), abs=1e-6)


def test_what_never_varies_says_nothing():
    found, relevant = drawn({"coverage": 1.0}, 0.0)
    model = fit_logistic(found | {"cosine": np.full(len(relevant), 0.7)}, relevant)
    assert model.weights["cosine"] == 0.0
    assert np.isfinite(model.of(found | {"cosine": np.full(len(relevant), 0.7)})).all()


def test_evidence_that_separates_perfectly_is_not_trusted_without_end():
    coverage = np.linspace(0, 1, 200)
    model = fit_logistic({"coverage": coverage}, coverage > 0.5)
    told = model.of({"coverage": coverage})
    assert 0 < told.min() < 0.01 and 0.99 < told.max() < 1
    assert (np.diff(told) > 0).all()


@pytest.mark.parametrize("wrong", [{"min_queries": 0}, {"depth": 0}, {"num_strangers": -1}, {"seed": -1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        CalibrationSettings(**wrong)
