"""Importance by its formula, and allotment against handing out one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.build.augmentation.importance import ImportanceSettings, allot, importance, quality
from intently.errors import InputError, SettingsError


def test_importance_is_the_formula():
    settings = ImportanceSettings(alpha=0.5, gamma=2.0, prior=3.0)
    clicks, judged, positive = np.array([0, 3, 99]), np.array([0, 10, 4]), np.array([0, 1, 4])
    liked = quality(judged, positive, settings)
    assert liked == pytest.approx([1.0, 4 / 13, 1.0])
    found = importance(clicks, liked, settings)
    raw = np.array([1.0, 0.5 * (4 / 13) ** 2, 0.1])
    assert found == pytest.approx(raw / raw.sum())
    flat = importance(clicks, liked, ImportanceSettings(alpha=0, gamma=0))
    assert flat == pytest.approx([1 / 3] * 3)


def plain_allotment(weights: list[float], budget: int, cap: int) -> list[int]:
    """The slow twin: quotas with full ads taken out one after the other, then the rest by largest remainder."""
    able = [row for row, weight in enumerate(weights) if weight > 0]
    total = min(budget, cap * len(able))
    full: set[int] = set()
    while True:
        rest = [row for row in able if row not in full]
        left, weight = total - cap * len(full), sum(weights[row] for row in rest)
        quota = {row: left * weights[row] / weight for row in rest}
        over = [row for row in rest if quota[row] >= cap]
        if not over or not left:
            break
        full.add(max(over, key=lambda row: quota[row]))
    shares = [cap if row in full else int(quota.get(row, 0) + 1e-9) for row in range(len(weights))]
    order = sorted(
        (row for row in able if shares[row] < cap), key=lambda row: (-round(quota[row] - shares[row], 9), row)
    )
    for row in order[: total - sum(shares)]:
        shares[row] += 1
    return shares


@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0, 100.0]), min_size=1, max_size=12),
    st.integers(0, 60),
    st.integers(1, 9),
)
def test_allotment_is_exact_and_capped(weights, budget, cap):
    shares = allot(np.array(weights), budget, cap)
    assert shares.sum() == min(budget, cap * sum(weight > 0 for weight in weights))
    assert shares.max() <= cap
    assert all(share == 0 for share, weight in zip(shares, weights, strict=True) if weight == 0)
    assert shares.tolist() == plain_allotment(weights, budget, cap)


def test_a_heavier_ad_never_gets_less_and_ties_go_to_the_earlier():
    rng = np.random.default_rng(1)
    weights = rng.random(200)
    shares = allot(weights, 300, 4)
    assert (np.diff(shares[np.argsort(weights)]) >= 0).all()
    assert allot(np.ones(4), 2, 3).tolist() == [1, 1, 0, 0]
    assert allot(np.array([8.0, 1, 1]), 6, 4).tolist() == [4, 1, 1]
    assert allot(np.empty(0), 5, 2).tolist() == []


@pytest.mark.parametrize("weights", [[1.0, -0.1], [np.nan], [np.inf, 1.0]])
def test_wrong_weights(weights):
    with pytest.raises(InputError, match="negative or not finite"):
        allot(np.array(weights), 3, 1)


@pytest.mark.parametrize("wrong", [{"alpha": -1}, {"gamma": 11}, {"prior": 0}])
def test_wrong_settings(wrong):
    with pytest.raises(SettingsError):
        ImportanceSettings(**wrong)
