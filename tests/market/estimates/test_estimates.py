"""Estimators against the simulator's truth: no bias beyond chance, intervals that cover, warnings that come."""

import itertools
import json

import numpy as np
import pytest

from intently.errors import InputError
from intently.market.clicks import Cascade, PositionBased
from intently.market.estimates import (
    AnswerRecord,
    ShownAd,
    answer_record,
    cascade_ips,
    clipped_ips,
    doubly_robust,
    ips,
    position_based_ips,
    snips,
)
from intently.types import Channel, Degraded, Ranking, Reason, ScoredAd

RUNS, ANSWERS = 1_000, 1_000
# Two kinds of queries, four ads: rewards, the policy that was logged, the one to be judged.
REWARD = np.array([[0.1, 0.3, 0.5, 0.2], [0.6, 0.2, 0.1, 0.4]])
LOGGED = np.array([[0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]])
TARGET = np.array([[0.1, 0.2, 0.6, 0.1], [0.7, 0.1, 0.1, 0.1]])
TRUTH = float((TARGET * REWARD).sum(axis=1).mean())
MODEL = REWARD + np.array([0.1, -0.05, 0.05, -0.1])  # a model that is wrong everywhere


def answers(rng: np.random.Generator, num: int = ANSWERS):
    query = rng.integers(0, 2, num)
    ad = (rng.random(num)[:, None] > LOGGED[query].cumsum(axis=1)).sum(axis=1)
    rewards = (rng.random(num) < REWARD[query, ad]).astype(float)
    return query, ad, rewards, TARGET[query, ad], LOGGED[query, ad]


def robust(query, ad, rewards, target, logged):
    predicted_target = (TARGET * MODEL).sum(axis=1)[query]
    return doubly_robust(rewards, target, logged, predicted=MODEL[query, ad], predicted_target=predicted_target)


ESTIMATORS = {
    "ips": lambda query, ad, *columns: ips(*columns),
    "snips": lambda query, ad, *columns: snips(*columns),
    "robust": robust,
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_no_bias_and_intervals_that_cover(name):
    rng = np.random.default_rng(0)
    found = [ESTIMATORS[name](*answers(rng)) for _ in range(RUNS)]
    values = np.array([each.value for each in found])
    assert values.mean() == pytest.approx(TRUTH, abs=4 * values.std() / np.sqrt(RUNS) + 1e-4)
    covered = np.mean([each.interval[0] <= TRUTH <= each.interval[1] for each in found])
    assert 0.93 <= covered <= 0.97
    # The standard error is the spread that repetitions show.
    assert np.mean([each.standard_error for each in found]) == pytest.approx(values.std(), rel=0.1)


def test_variances_fall_from_ips_to_doubly_robust_with_a_good_model():
    rng = np.random.default_rng(1)
    sample = answers(rng, 50_000)
    query, ad, *columns = sample
    good = doubly_robust(*columns, predicted=REWARD[query, ad], predicted_target=(TARGET * REWARD).sum(axis=1)[query])
    assert good.standard_error < snips(*columns).standard_error < ips(*columns).standard_error


def test_clipping_says_what_it_costs():
    _, _, *columns = answers(np.random.default_rng(2))
    clipped = clipped_ips(*columns, most=1.0)
    assert clipped.value < ips(*columns).value
    assert "clipped: the estimate is too low" in clipped.warnings[0]
    assert clipped_ips(*columns, most=100.0).value == ips(*columns).value


def test_the_effective_sample_size_is_kishs_and_few_bring_a_warning():
    rng = np.random.default_rng(3)
    _, _, *columns = answers(rng, 60)
    found = ips(*columns)
    weights = columns[1] / columns[2]
    assert found.effective_sample_size == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert any("effective sample size" in each for each in found.warnings)
    assert not ips(*answers(rng, 5_000)[2:]).warnings


def test_propensities_that_are_wrong_bring_a_warning():
    _, _, rewards, target, logged = answers(np.random.default_rng(4), 5_000)
    assert any("mean weight" in each for each in ips(rewards, target, np.minimum(logged * 1.5, 1)).warnings)


def test_one_answer_with_most_of_the_weight_brings_a_warning():
    target, logged = np.full(500, 0.01), np.full(500, 0.9)
    target[0], logged[0] = 1.0, 0.01
    assert any("of all weight" in each for each in ips(np.ones(500), target, logged).warnings)


@pytest.mark.parametrize(
    ("target", "logged", "word"),
    [([0.5, 0.5], [0.0, 0.5], "propensity of 0"), ([1.5, 0.5], [0.5, 0.5], "target"), ([0.5], [0.5], "at least 2")],
)
def test_what_is_no_probability_is_refused(target, logged, word):
    with pytest.raises(InputError, match=word):
        ips(np.ones(len(target)), np.array(target), np.array(logged))


def test_a_target_that_was_never_logged_is_refused():
    with pytest.raises(InputError, match="none of the logged"):
        snips(np.ones(3), np.zeros(3), np.ones(3))


EXAMINATION = np.array([1.0, 0.6, 0.4, 0.2])
ATTRACTION = np.array([0.2, 0.5, 0.3, 0.6])


def permutations(rng: np.random.Generator, num: int, preference: np.ndarray):
    """Rankings drawn by Plackett-Luce, and the probability of each position's ad given those above it."""
    items = np.argsort(-(np.log(preference) + rng.gumbel(size=(num, 4))), axis=1)
    chosen = preference[items]
    left = chosen[:, ::-1].cumsum(axis=1)[:, ::-1]
    return items, chosen / left, left


@pytest.mark.parametrize("model", ["position", "cascade"])
def test_rankings_no_bias_and_intervals_that_cover(model):
    logged_preference, target_preference = np.array([4.0, 2.0, 2.0, 1.0]), np.array([1.0, 2.0, 1.5, 3.0])
    rng = np.random.default_rng(5)
    clicks = PositionBased(EXAMINATION, ATTRACTION) if model == "position" else Cascade(ATTRACTION)

    every = np.array(list(itertools.permutations(range(4))))

    def shares(preference: np.ndarray) -> np.ndarray:
        """How probable each of all rankings is under a preference."""
        chosen = preference[every]
        return (chosen / chosen[:, ::-1].cumsum(axis=1)[:, ::-1]).prod(axis=1)

    def places(preference: np.ndarray) -> np.ndarray:
        """How probably each ad is looked at under a preference."""
        return np.array([shares(preference) @ EXAMINATION[np.argmax(every == ad, axis=1)] for ad in range(4)])

    target_looks, logged_looks = places(target_preference), places(logged_preference)
    truth = float(shares(target_preference) @ clicks.click_probabilities(every).sum(axis=1))
    found = []
    for _ in range(RUNS):
        items, logged, _ = permutations(rng, 500, logged_preference)
        rewards = clicks.simulate(items, rng).astype(float)
        if model == "position":
            found.append(position_based_ips(rewards, target_looks[items], logged_looks[items]))
        else:
            chosen = target_preference[items]
            target = chosen / chosen[:, ::-1].cumsum(axis=1)[:, ::-1]
            found.append(cascade_ips(rewards, target, logged))
    values = np.array([each.value for each in found])
    assert values.mean() == pytest.approx(truth, abs=4 * values.std() / np.sqrt(RUNS))
    covered = np.mean([each.interval[0] <= truth <= each.interval[1] for each in found])
    assert 0.93 <= covered <= 0.97


def test_a_deterministic_log_tells_about_another_order():
    """Position bias alone: the same ads in another order, no chance anywhere."""
    rng = np.random.default_rng(8)
    logged, target = np.array([0, 1, 2, 3]), np.array([3, 1, 2, 0])
    clicks = PositionBased(EXAMINATION, ATTRACTION)
    rewards = clicks.simulate(np.tile(logged, (20_000, 1)), rng).astype(float)
    places = np.argsort(target)
    found = position_based_ips(
        rewards, np.tile(EXAMINATION[places[logged]], (20_000, 1)), np.tile(EXAMINATION, (20_000, 1))
    )
    truth = float(clicks.click_probabilities(target[None]).sum())
    assert found.interval[0] <= truth <= found.interval[1]
    assert abs(rewards.sum(axis=1).mean() - truth) > 0.1


def test_an_answer_is_logged_and_read_again():
    reasons = (Reason(Channel.LEXICAL, 1, 3.5), Reason(Channel.DENSE, 2, 0.7))
    ads = (ScoredAd("ad1", 1, 0.9, reasons), ScoredAd("广告2", 2, 0.8))
    ranking = Ranking("跑步鞋 running shoes", ads, generation="g7", seq=12, degraded=(Degraded.DENSE_SKIPPED,))
    record = answer_record(
        ranking,
        "r1",
        1_000.5,
        experiment="beams",
        variant="rare",
        bucket=17,
        seed=3,
        propensities={"广告2": 0.25},
        verdicts={"ad9": "out_of_budget"},
    )
    assert record.ads[0].score_parts == {"lexical": 3.5, "dense": 0.7}
    assert [(ad.position, ad.propensity) for ad in record.ads] == [(1, 1.0), (2, 0.25)]
    assert (record.generation, record.seq, record.degraded) == ("g7", 12, ("dense_skipped",))
    assert AnswerRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_what_is_no_record_is_refused():
    with pytest.raises(InputError, match="no record"):
        AnswerRecord.from_dict({"request_id": "r"})
    with pytest.raises(InputError, match="propensity"):
        ShownAd("a", 1, 0.0, propensity=0.0)
