"""Experiments: buckets, false alarms, power, sequential looks, CUPED, corrections, interleaving, shadow runs."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from intently.errors import InputError
from intently.market.clicks import PositionBased
from intently.market.experiments import (
    Experiment,
    adjusted_samples,
    benjamini_hochberg,
    bucket_of,
    compare,
    compare_at_any_time,
    holm,
    mean_sample,
    power,
    preference,
    ratio_sample,
    sample_ratio,
    shadow_report,
    shadow_run,
    team_draft,
    units_needed,
)
from intently.market.experiments.shadow import rank_biased_overlap
from intently.types import Ranking, Request, ScoredAd


def test_buckets_are_uniform_and_independent_between_salts():
    num, buckets = 200_000, 100
    first = np.array([bucket_of("one", f"user {at}", buckets) for at in range(num)])
    second = np.array([bucket_of("two", f"user {at}", buckets) for at in range(num)])
    assert stats.chisquare(np.bincount(first, minlength=buckets)).pvalue > 0.001
    table = np.bincount(first // 10 * 10 + second // 10, minlength=100).reshape(10, 10)
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_buckets_are_the_same_for_ever():
    assert [bucket_of("beams", unit) for unit in ("user 1", "用户", "")] == [4268, 7177, 9060]


def test_variants_follow_their_shares_and_stay():
    small = Experiment("beams", {"control": 0.1, "rare": 0.1})
    large = Experiment("beams", {"control": 0.1, "rare": 0.4})
    units = [f"user {at}" for at in range(20_000)]
    before, after = [small.variant(unit) for unit in units], [large.variant(unit) for unit in units]
    assert before.count("rare") == pytest.approx(2_000, abs=150)
    assert before.count(None) == pytest.approx(16_000, abs=200)
    # A larger share of the last variant takes only units that took no part.
    assert all(was in (now, None) for was, now in zip(before, after, strict=True))


@pytest.mark.parametrize("shares", [{"a": 1.0}, {"a": 0.6, "b": 0.6}, {"a": 0.0, "b": 0.5}])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(InputError, match="shares"):
        Experiment("x", shares)


def users(rng: np.random.Generator, num: int, rate: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Clicks and impressions of users who differ: some click more, some search more."""
    impressions = 1 + rng.poisson(4, num)
    return rng.binomial(impressions, rng.beta(rate * 20, (1 - rate) * 20, num)), impressions


def test_a_a_tests_raise_few_false_alarms():
    rng, alarms, mismatches = np.random.default_rng(0), 0, 0
    for _ in range(400):
        control = rng.random(4_000) < 0.5
        clicks, impressions = users(rng, 4_000)
        samples = [ratio_sample(clicks[each], impressions[each]) for each in (control, ~control)]
        alarms += compare(*samples).p_value < 0.05
        counts = {"a": int(control.sum()), "b": int((~control).sum())}
        mismatches += sample_ratio(counts, {"a": 0.5, "b": 0.5}).is_mismatch
    assert 0.03 <= alarms / 400 <= 0.075
    assert mismatches <= 2


def orders(rng: np.random.Generator, num: int, rate: float = 0.02) -> np.ndarray:
    """What each user spends: most nothing, some a little, few much."""
    return rng.binomial(1, rate, num) * 40 * np.exp(0.8 * rng.standard_normal(num))


def test_metrics_that_few_users_move_raise_no_more_false_alarms_relative_to_the_control():
    """The delta method, which takes the control's mean for known, raises twice as many as it should."""
    rng, alarms, naive = np.random.default_rng(5), 0, 0
    for _ in range(1_000):
        a, b = mean_sample(orders(rng, 300)), mean_sample(orders(rng, 300))
        if not a.mean:
            continue
        found = compare(a, b)
        alarms += found.p_value < 0.05
        if math.isfinite(found.interval[0]):  # interval and p-value say the same
            assert (found.p_value < 0.05) == (not found.interval[0] <= 0 <= found.interval[1])
        naive += abs(found.estimate) > 1.96 * found.standard_error
    assert alarms <= 65
    assert naive > 80


@pytest.mark.parametrize("lift", [1.0, 1.5, 4.0])
def test_relative_intervals_cover_the_truth(lift):
    rng = np.random.default_rng(6)
    before, runs, covered = rng.gamma(1.5, 2.0, (600, 2, 1_000)), 600, {"plain": 0, "CUPED": 0}
    for past in before:
        # What users did before explains a part of what they do now.
        y = [rng.poisson(0.1 * up * each) * 1.0 for up, each in zip((1.0, lift), past, strict=True)]
        pairs = {"plain": [mean_sample(each) for each in y]}
        adjusted, _ = adjusted_samples({"a": y[0], "b": y[1]}, {"a": past[0], "b": past[1]})
        pairs["CUPED"] = [adjusted["a"], adjusted["b"]]
        for name, pair in pairs.items():
            low, high = compare(*pair).interval
            covered[name] += low <= lift - 1 <= high
    for name, count in covered.items():
        assert count / runs == pytest.approx(0.95, abs=0.027), name


def test_nothing_is_ruled_out_where_the_control_may_be_0():
    a, b = mean_sample([0.0] * 99 + [1.0]), mean_sample([0.0] * 50 + [1.0] * 50)
    found = compare(a, b)
    assert found.interval == (-math.inf, math.inf)
    assert found.p_value < 0.001


def test_a_mismatch_is_seen():
    assert sample_ratio({"a": 50_000, "b": 48_900}, {"a": 0.5, "b": 0.5}).is_mismatch
    assert not sample_ratio({"a": 50_000, "b": 49_800}, {"a": 0.5, "b": 0.5}).is_mismatch
    assert not sample_ratio({"a": 0, "b": 0}, {"a": 0.5, "b": 0.5}).is_mismatch
    with pytest.raises(InputError, match="counts"):
        sample_ratio({"a": 1}, {"a": 0.5, "b": 0.5})


def test_a_true_difference_is_found_as_often_as_computed_before():
    rng = np.random.default_rng(1)
    pilot = ratio_sample(*users(rng, 200_000))
    difference, num = 0.04 * pilot.mean, 8_000
    expected = power(difference, math.sqrt(pilot.variance), num)
    found = np.mean(
        [
            compare(ratio_sample(*users(rng, num)), ratio_sample(*users(rng, num, 0.104))).p_value < 0.05
            for _ in range(600)
        ]
    )
    assert found == pytest.approx(expected, abs=0.05)
    needed = units_needed(difference, math.sqrt(pilot.variance), wanted=expected)
    assert needed == pytest.approx(num, rel=0.001)


def test_looking_again_and_again_is_safe_with_sequential_intervals_only():
    rng, looks = np.random.default_rng(2), np.arange(100, 5_100, 50)
    fixed = sequential = 0
    for _ in range(300):
        a, b = rng.normal(1, 1, 5_050), rng.normal(1, 1, 5_050)
        samples = [(mean_sample(a[:look]), mean_sample(b[:look])) for look in looks]
        fixed += any(compare(*each, relative=False).p_value < 0.05 for each in samples)
        sequential += any(compare_at_any_time(*each, relative=False).p_value < 0.05 for each in samples)
    assert sequential / 300 <= 0.05
    assert fixed / 300 > 0.2


def test_the_interval_at_any_time_leaves_0_out_where_p_is_below_alpha():
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.05, 0.1, 0.15):
        found = compare_at_any_time(mean_sample(rng.normal(1, 1, 3_000)), mean_sample(rng.normal(1 + shift, 1, 3_000)))
        assert (found.p_value < 0.05) == (not found.interval[0] <= 0 <= found.interval[1])


def test_cuped_keeps_the_mean_and_takes_variance_away():
    rng, estimates, plain = np.random.default_rng(4), [], []
    for _ in range(300):
        before = rng.normal(5, 2, 2_000)
        after = before + rng.normal(0, 1, 2_000)
        values = {"a": after[:1000], "b": after[1000:] + 0.2}
        samples, left = adjusted_samples(values, {"a": before[:1000], "b": before[1000:]})
        assert left == pytest.approx(0.2, abs=0.04)
        estimates.append(compare(samples["a"], samples["b"], relative=False).estimate)
        plain.append(values["b"].mean() - values["a"].mean())
    assert np.mean(estimates) == pytest.approx(0.2, abs=0.01)
    assert np.var(estimates) < 0.3 * np.var(plain)
    samples, left = adjusted_samples(values, {name: np.zeros(1000) for name in values})
    assert left == 1 and samples["a"].mean == pytest.approx(values["a"].mean())


@given(st.lists(st.floats(0, 1), max_size=12))
def test_corrections_are_the_textbooks(p_values):
    p, num = np.array(p_values), len(p_values)
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p) if num else [])
    # Holm's step-down procedure, as the book has it, for a few levels.
    adjusted = holm(p)
    for alpha in (0.01, 0.05, 0.3):
        rejected: set[int] = set()
        for step, at in enumerate(np.argsort(p, kind="stable").tolist()):
            if p[at] * (num - step) > alpha:
                break
            rejected.add(at)
        assert rejected == set(np.flatnonzero(adjusted <= alpha).tolist())


RANKINGS = st.lists(st.sampled_from("abcdefgh"), max_size=8, unique=True)


@given(RANKINGS, RANKINGS, st.integers(1, 8), st.integers(0, 5))
def test_team_draft_is_fair_and_complete(first, second, k, seed):
    found = team_draft(first, second, k, seed)
    assert len(set(found.ad_ids)) == len(found.ad_ids) == min(k, len({*first, *second}))
    # Each ad is the best of its team's that was left.
    for at, (ad_id, team) in enumerate(zip(found.ad_ids, found.teams, strict=True)):
        ranking = first if team == "A" else second
        assert ad_id == next(each for each in ranking if each not in found.ad_ids[:at])
    if len(first) >= k and len(second) >= k and set(first).isdisjoint(second):
        assert abs(found.teams.count("A") - found.teams.count("B")) <= 1
    assert found == team_draft(first, second, k, seed)


def test_interleaving_finds_the_better_system_with_a_tenth_of_the_traffic():
    """A tenth of what an A/B test needs to see the same difference four times in five."""
    attraction = np.linspace(0.35, 0.05, 8)
    better, worse = list("abcdefgh"), list("badcefgh")
    users_model = PositionBased(1.0 / np.arange(1, 9), attraction)
    order = np.array([ord(ad) - 97 for ad in (*better, *worse)]).reshape(2, 8)
    many = users_model.simulate(np.repeat(order, 100_000, axis=0), np.random.default_rng(5)).sum(axis=1)
    one, other = users_model.click_probabilities(order).sum(axis=1)
    answers = 2 * units_needed(one - other, float(many.std())) // 10
    rng, right, runs = np.random.default_rng(6), 0, 100
    for run in range(runs):
        coin = Random(run)
        drafts = [team_draft(better, worse, 8, coin) for _ in range(answers)]
        clicks = users_model.simulate(np.array([[ord(ad) - 97 for ad in draft.ad_ids] for draft in drafts]), rng)
        marks = np.where(np.array([draft.teams for draft in drafts]) == "A", 1, -1)
        right += preference((clicks * marks).sum(axis=1).tolist()).share > 0.5
    assert right / runs >= 0.95, answers


def test_a_preference_is_tested_exactly():
    found = preference([1] * 14 + [-2] * 4 + [0] * 5)
    assert (found.wins, found.losses, found.ties) == (14, 4, 5)
    assert found.p_value == pytest.approx(stats.binomtest(14, 18).pvalue)
    interval = stats.binomtest(14, 18).proportion_ci(method="wilson")
    assert found.interval == pytest.approx((interval.low, interval.high))
    assert preference([0, 0]).p_value == 1


def ranking(*ad_ids: str) -> Ranking:
    return Ranking("q", tuple(ScoredAd(ad_id, at, -float(at)) for at, ad_id in enumerate(ad_ids, 1)))


def test_a_shadow_run_never_disturbs_the_live_answer():
    def fails(request: Request) -> Ranking:
        raise ValueError("torn file")

    live = ranking("a", "b", "c")
    answer, failed = shadow_run(Request("q"), lambda _: live, fails)
    assert answer is live
    assert failed.failure == "ValueError: torn file"
    _, same = shadow_run(Request("q"), lambda _: live, lambda _: live)
    assert (same.overlap, same.rank_biased_overlap) == (1, 1)
    _, other = shadow_run(Request("q"), lambda _: live, lambda _: ranking("b", "a", "d"))
    assert other.overlap == pytest.approx(2 / 3)
    report = shadow_report([failed, same, other])
    assert (report.num_runs, report.failures, report.identical_share) == (3, 1, 0.5)
    assert report.most_different[0] is other
    with pytest.raises(ValueError, match="torn"):
        shadow_run(Request("q"), fails, lambda _: live)


@given(RANKINGS, RANKINGS)
def test_rank_biased_overlap_is_its_definition(first, second):
    depths = range(1, max(len(first), len(second)) + 1)
    weights = [0.9 ** (depth - 1) for depth in depths]
    agreement = [len(set(first[:depth]) & set(second[:depth])) / depth for depth in depths]
    expected = sum(w * a for w, a in zip(weights, agreement, strict=True)) / sum(weights) if weights else 1.0
    assert rank_biased_overlap(first, second) == pytest.approx(expected)
    assert (rank_biased_overlap(first, second) == pytest.approx(1)) == (first == second)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="relative"):
        compare(mean_sample(np.zeros(5)), mean_sample(np.ones(5)))
    with pytest.raises(InputError, match="values"):
        mean_sample(np.array([1.0]))
    with pytest.raises(InputError, match="wholes"):
        ratio_sample(np.ones(3), np.zeros(3))
    with pytest.raises(InputError, match="power"):
        units_needed(0.0, 1.0)
