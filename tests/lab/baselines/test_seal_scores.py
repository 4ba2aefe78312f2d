"""SEAL's score against a twin that takes it ad by ad, and LTRGR's contests."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.build.training.pairs import Choices
from intently.index.postings import Postings
from intently.intentions.decode import Decoded
from intently.lab.baselines.generative import Identifiers, as_lists
from intently.lab.baselines.ltrgr import contest
from intently.lab.baselines.seal import SealSettings, log_odds, score_ads
from intently.lab.baselines.substrings import find_substrings

TEXTS = [[1, 2, 3, 4], [1, 2, 5], [3, 4, 1, 2], [6], [5, 5, 1]]
FOUND = find_substrings(TEXTS, 3, 1000)
POSTINGS = Postings.build(
    FOUND.pairs[:, 0], FOUND.pairs[:, 1], np.ones(len(FOUND.pairs)), len(FOUND.counts), len(TEXTS)
)


def odds(p: float, prior: float) -> float:
    return max(0.0, math.log(p * (1 - prior) / (prior * (1 - p))))


@given(st.lists(st.tuples(st.floats(1e-6, 0.999), st.floats(1e-6, 0.999)), min_size=1))
def test_log_odds(values):
    p, prior = np.array(values).T
    found = log_odds(np.log(p), np.log(prior))
    assert found.tolist() == pytest.approx([odds(*each) for each in values], rel=1e-6, abs=1e-8)


def test_certain_things_weigh_finitely():
    assert np.isfinite(log_odds(np.array([0.0, 0.0, -50.0]), np.log([1.0, 0.1, 1.0]))).all()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, len(FOUND.counts) - 1), unique=True, max_size=10), st.integers(0, 99))
def test_scores_equal_those_taken_ad_by_ad(ids, seed):
    chances = np.random.default_rng(seed).dirichlet(np.ones(len(ids) + 1))[:-1] if ids else np.empty(0)
    decoded = Decoded(np.array(ids, dtype=np.int64), np.log(chances))
    chosen = SealSettings(alpha=2.0, beta=0.8)
    scores, num_weighing = score_ads(decoded, FOUND, POSTINGS, chosen)
    names = as_lists(FOUND.sequences)
    weights = {i: odds(p, FOUND.counts[i] / FOUND.counts.sum()) for i, p in zip(ids, chances, strict=True)}
    weights = {i: weight for i, weight in weights.items() if weight > 0}
    assert num_weighing == len(weights)
    for ad, text in enumerate(TEXTS):
        inside = [i for i in weights if any(text[s : s + len(names[i])] == names[i] for s in range(len(text)))]
        total, seen = 0.0, set()
        for i in sorted(inside, key=lambda i: -weights[i]):
            fresh = len(set(names[i]) - seen) / len(set(names[i]))
            total += weights[i] ** 2 * (0.2 + 0.8 * fresh)
            seen |= set(names[i])
        assert scores[ad] == pytest.approx(total, rel=1e-4)


def test_a_contest_is_about_what_only_one_of_the_ads_has():
    names = [tuple(name) for name in as_lists(FOUND.sequences)]
    said = [names.index(name) for name in ((1, 2), (3, 4), (5,))]
    nothing = Choices(np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64), np.zeros(1))
    identifiers = Identifiers((), FOUND.sequences, POSTINGS, nothing, nothing)
    decoded = Decoded(np.array(said), np.log([0.3, 0.4, 0.2]))
    # Ads 0 and 2 have both longer ones, ad 1 has (1, 2) and (5,).
    found = contest([decoded], [np.array([1, 3])], identifiers, FOUND, margin=1.0)
    assert found.num_lost == 1
    assert [each.tolist() for each in found.more] == [[0], [said[2]]]
    assert [each.tolist() for each in found.less] == [[0], [said[1]]]
    won = contest([decoded], [np.array([0, 2])], identifiers, FOUND, margin=0.1)
    assert won.num_lost == len(won.more[0]) == len(won.less[0]) == 0
    unreached = contest([decoded], [np.array([3])], identifiers, FOUND, margin=0.1)
    assert unreached.num_lost == 0
