"""Click models: what is simulated is recovered, probabilities against enumeration, EM never loses likelihood."""

import itertools

import numpy as np
import pytest

from intently.errors import InputError
from intently.market.clicks import (
    Cascade,
    DynamicBayesianNetwork,
    PositionBased,
    Sessions,
    fit_cascade,
    fit_dbn,
    fit_position_based,
    log_likelihood,
    perplexity,
)

NUM_ITEMS, NUM_POSITIONS = 8, 5


def shown(num_sessions: int, seed: int) -> np.ndarray:
    """Each session shows other items, in another order."""
    return np.argsort(np.random.default_rng(seed).random((num_sessions, NUM_ITEMS)), axis=1)[:, :NUM_POSITIONS]


def truth(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.2, 0.6, NUM_ITEMS), rng.uniform(0.1, 0.9, NUM_ITEMS)


EXAMINATION = np.array([1.0, 0.75, 0.55, 0.4, 0.3])
MODELS = {
    "position": PositionBased(EXAMINATION, truth(1)[0]),
    "cascade": Cascade(truth(2)[0]),
    "dbn": DynamicBayesianNetwork(*truth(3), 0.9),
}
FITS = {"position": fit_position_based, "cascade": fit_cascade, "dbn": fit_dbn}


def parameters(model) -> np.ndarray:
    return np.concatenate([np.ravel(getattr(model, name)) for name in model.__dataclass_fields__])


@pytest.mark.parametrize("name", MODELS)
def test_known_parameters_are_recovered_from_100_000_sessions(name):
    items = shown(100_000, 0)
    sessions = Sessions(items, MODELS[name].simulate(items, np.random.default_rng(1)))
    fitted = FITS[name](sessions)
    np.testing.assert_allclose(parameters(fitted), parameters(MODELS[name]), atol=0.02)
    assert log_likelihood(fitted, sessions) >= log_likelihood(MODELS[name], sessions) - 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_are_those_of_all_patterns_of_clicks(name):
    """Conditional probabilities multiply to the pattern's; patterns sum to 1 and to the marginal probabilities."""
    model, items = MODELS[name], shown(1, 5)
    patterns = np.array(list(itertools.product([False, True], repeat=NUM_POSITIONS)))
    sessions = Sessions(np.repeat(items, len(patterns), axis=0), patterns)
    conditional = model.conditional_probabilities(sessions)
    each = np.where(patterns, conditional, 1 - conditional).prod(axis=1)
    assert each.sum() == pytest.approx(1)
    np.testing.assert_allclose(each @ patterns, model.click_probabilities(items)[0])
    # And the simulator draws these patterns.
    drawn = model.simulate(np.repeat(items, 40_000, axis=0), np.random.default_rng(0))
    counts = np.bincount(drawn @ (1 << np.arange(NUM_POSITIONS)[::-1]), minlength=len(patterns))
    np.testing.assert_allclose(counts / 40_000, each, atol=0.012)


@pytest.mark.parametrize("name", ["position", "dbn"])
def test_iterations_never_lose_likelihood(name):
    items = shown(500, 7)
    sessions = Sessions(items, MODELS[name].simulate(items, np.random.default_rng(8)))
    reached = [log_likelihood(FITS[name](sessions, iterations=count), sessions) for count in range(1, 25)]
    assert (np.diff(reached) >= -1e-9).all()


def test_the_right_model_predicts_best():
    items = shown(30_000, 3)
    sessions = Sessions(items, MODELS["dbn"].simulate(items, np.random.default_rng(4)))
    reached = {name: perplexity(FITS[name](sessions), sessions).mean() for name in MODELS}
    assert 1 < min(reached.values()) == reached["dbn"]
    assert log_likelihood(fit_cascade(sessions), sessions) == -np.inf  # it knows no second click
    coin = PositionBased(np.ones(NUM_POSITIONS), np.full(NUM_ITEMS, 0.5))
    np.testing.assert_allclose(perplexity(coin, sessions), 2)


def test_items_never_seen_are_unknown():
    sessions = Sessions(np.array([[0, 3]]), np.array([[False, True]]))
    assert fit_position_based(sessions).attraction[1:3].tolist() == [0.5, 0.5]
    assert fit_cascade(sessions).attraction[1:3].tolist() == [0.5, 0.5]
    assert fit_dbn(sessions).satisfaction[0] == 0.5


@pytest.mark.parametrize(
    ("items", "clicks"), [([[0, 1]], [[True]]), ([0, 1], [True, True]), ([[-1, 0]], [[True, True]]), ([[]], [[]])]
)
def test_what_is_no_session_is_refused(items, clicks):
    with pytest.raises(InputError, match="items"):
        Sessions(np.array(items), np.array(clicks))
