"""Measure what the market promises: pacing, auctions, click models, estimates, experiments in traffic.

    python benchmarks/market.py [--only pacing,auction,clicks,estimates,experiments,a_a] [--scale 1.0]

Prints one JSON object. Seeded; no engine and no data are needed. `--scale` multiplies the numbers of repetitions; at
1.0 it takes some minutes.
"""

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np

from intently.market import AuctionRules, Bidders, Pricing, SimulatedDay, run_auction, simulate_day
from intently.market.clicks import (
    Cascade,
    DynamicBayesianNetwork,
    PositionBased,
    Sessions,
    fit_cascade,
    fit_dbn,
    fit_position_based,
)
from intently.market.estimates import Estimate, cascade_ips, doubly_robust, ips, position_based_ips, snips
from intently.market.experiments import (
    adjusted_samples,
    bucket_of,
    compare,
    compare_at_any_time,
    mean_sample,
    power,
    preference,
    ratio_sample,
    sample_ratio,
    team_draft,
    units_needed,
)
from intently.market.experiments.comparison import Sample

FLAT = (2000.0,) * 24
TWO_PEAKS = tuple(2000 * x for x in (0.3, 0.2, 0.2, 0.2, 0.4, 0.8, 1.4, 1.8, 1.6, 1.2, 1.0, 1.0) * 2)


def spike(hour: int) -> tuple[float, ...]:
    """Return a flat day with five times the traffic in one hour."""
    return tuple(each * (5 if at == hour else 1) for at, each in enumerate(FLAT))


# What the traffic is, and what the forecast was.
DAYS = {
    "flat": (FLAT, FLAT),
    "two peaks": (TWO_PEAKS, TWO_PEAKS),
    "half the traffic": (tuple(each / 2 for each in FLAT), FLAT),
    "spike x5 at 3": (spike(3), FLAT),
    "spike x5 at 12": (spike(12), FLAT),
    "spike x5 at 20": (spike(20), FLAT),
    "two peaks, none forecast": (TWO_PEAKS, FLAT),
}


def main() -> None:
    """Measure everything, or what is asked for."""
    parts: dict[str, Callable[[float], dict[str, Any]]] = {
        "pacing": pacing,
        "auction": auction,
        "clicks": clicks,
        "estimates": estimates,
        "experiments": experiments,
        "a_a": a_a,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(parts))
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    facts = {}
    for name in given.only.split(","):
        begun = time.perf_counter()
        facts[name] = parts[name](given.scale) | {"seconds": round(time.perf_counter() - begun, 1)}
    print(json.dumps(facts, indent=1))


def pacing(scale: float) -> dict[str, Any]:
    """Return the range, over seeds and demands of 1.3, 4 and 20 budgets, of what is spent and how it deviates."""
    facts = {}
    for name, (traffic, forecast) in DAYS.items():
        reports = [
            simulate_day(SimulatedDay(traffic, forecast, demand=demand, click_rate=min(demand / 20, 0.5), seed=seed))
            for demand in (1.3, 4.0, 20.0)
            for seed in range(max(1, round(3 * scale)))
        ]
        spent = [report.spent_share for report in reports]
        facts[name] = {
            "spent": [round(min(spent), 4), round(max(spent), 4)],
            "largest_deviation": round(max(report.largest_deviation for report in reports), 4),
            "repeated_events": sum(report.num_repeated for report in reports),
        }
    return facts


def auction(scale: float) -> dict[str, Any]:
    """Return the microseconds of an auction of 20 and of 500 ads, and what VCG earns of GSP."""
    rng, facts = np.random.default_rng(0), {}
    for num in (20, 500):
        sets = [
            Bidders.of(rng.lognormal(0, 0.6, num), quality=rng.beta(2, 20, num)) for _ in range(round(1000 * scale))
        ]
        revenue = {}
        for pricing in Pricing:
            rules = AuctionRules(slot_reserves=(0.1,) * 4, pricing=pricing)
            begun = time.perf_counter()
            outcomes = [run_auction(bidders, rules) for bidders in sets]
            facts[f"{pricing}_{num}_us"] = round((time.perf_counter() - begun) / len(sets) * 1e6, 1)
            revenue[pricing] = sum(
                float((np.array(rules.slot_clicks)[each.slots] * bidders.quality[each.rows]) @ each.prices)
                for bidders, each in zip(sets, outcomes, strict=True)
            )
        facts[f"vcg_over_gsp_revenue_{num}"] = round(revenue[Pricing.VCG] / revenue[Pricing.GSP], 3)
    return facts


def clicks(scale: float) -> dict[str, Any]:
    """Return how far the parameters recovered from 100,000 sessions are from the truth, over seeds.

    The rest is chance: the fit has reached the highest likelihood.
    """
    errors: dict[str, list[float]] = {}
    for seed in range(max(1, round(20 * scale))):
        rng = np.random.default_rng(seed)
        attraction, satisfaction = rng.uniform(0.2, 0.6, 8), rng.uniform(0.1, 0.9, 8)
        examination = np.array([1.0, 0.75, 0.55, 0.4, 0.3])
        items = np.argsort(rng.random((100_000, 8)), axis=1)[:, :5]
        for model, fit in (
            (PositionBased(examination, attraction), fit_position_based),
            (Cascade(attraction), fit_cascade),
            (DynamicBayesianNetwork(attraction, satisfaction, 0.9), fit_dbn),
        ):
            found = fit(Sessions(items, model.simulate(items, rng)))
            for name in type(model).__dataclass_fields__:
                apart = np.abs(np.ravel(np.asarray(getattr(found, name)) - getattr(model, name)))
                errors.setdefault(type(model).__name__, []).extend(apart.tolist())
    return {
        name: {
            "parameters": len(each),
            "largest": round(max(each), 4),
            "root_mean_square": round(float(np.sqrt(np.mean(np.square(each)))), 4),
            "over_0.02": sum(error > 0.02 for error in each),
        }
        for name, each in errors.items()
    }


def estimates(scale: float) -> dict[str, Any]:
    """Return the bias in standard errors, and the share of 95% intervals that cover the truth."""
    reward = np.array([[0.1, 0.3, 0.5, 0.2], [0.6, 0.2, 0.1, 0.4]])
    logged = np.array([[0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]])
    target = np.array([[0.1, 0.2, 0.6, 0.1], [0.7, 0.1, 0.1, 0.1]])
    model = reward + np.array([0.1, -0.05, 0.05, -0.1])
    truth, runs = float((target * reward).sum(axis=1).mean()), round(4000 * scale)
    rng = np.random.default_rng(0)
    found: dict[str, list[Any]] = {}
    for _ in range(runs):
        query = rng.integers(0, 2, 1_000)
        ad = (rng.random(1_000)[:, None] > logged[query].cumsum(axis=1)).sum(axis=1)
        columns = (
            (rng.random(1_000) < reward[query, ad]).astype(float),
            target[query, ad],
            logged[query, ad],
        )
        predicted_target = (target * model).sum(axis=1)[query]
        for each in (
            ips(*columns),
            snips(*columns),
            doubly_robust(*columns, predicted=model[query, ad], predicted_target=predicted_target),
        ):
            found.setdefault(each.estimator, []).append(each)
    facts = {name: judged(each, truth) for name, each in found.items()}
    for model in ("position-based", "cascade"):
        facts[f"{model} IPS"] = judged(*rankings(model, rng, runs))
    return facts


def judged(found: Sequence[Estimate], truth: float) -> dict[str, float]:
    """Return how far estimates are from the truth on average, and how often their intervals cover it."""
    values = np.array([estimate.value for estimate in found])
    return {
        "bias_in_standard_errors": round(float((values.mean() - truth) / (values.std() / math.sqrt(len(found)))), 2),
        "covered": round(float(np.mean([each.interval[0] <= truth <= each.interval[1] for each in found])), 4),
    }


def rankings(model: str, rng: np.random.Generator, runs: int) -> tuple[list[Estimate], float]:
    """Return estimates of clicks from logs of 500 rankings of four ads, drawn by Plackett-Luce, and the truth.

    The truth is a sum over all 24 rankings.
    """
    examination, attraction = np.array([1.0, 0.6, 0.4, 0.2]), np.array([0.2, 0.5, 0.3, 0.6])
    logged, target = np.array([4.0, 2.0, 2.0, 1.0]), np.array([1.0, 2.0, 1.5, 3.0])
    clicks = PositionBased(examination, attraction) if model == "position-based" else Cascade(attraction)
    every = np.array(list(itertools.permutations(range(4))))

    def choices(preference: np.ndarray, items: np.ndarray) -> np.ndarray:
        chosen = preference[items]
        return chosen / chosen[:, ::-1].cumsum(axis=1)[:, ::-1]

    def looks(preference: np.ndarray) -> np.ndarray:
        shares = choices(preference, every).prod(axis=1)
        return np.array([(shares * examination[np.argmax(every == ad, axis=1)]).sum() for ad in range(4)])

    truth = float(choices(target, every).prod(axis=1) @ clicks.click_probabilities(every).sum(axis=1))
    found = []
    for _ in range(runs):
        items = np.argsort(-(np.log(logged) + rng.gumbel(size=(500, 4))), axis=1)
        rewards = clicks.simulate(items, rng).astype(float)
        if model == "position-based":
            found.append(position_based_ips(rewards, looks(target)[items], looks(logged)[items]))
        else:
            found.append(cascade_ips(rewards, choices(target, items), choices(logged, items)))
    return found, truth


def experiments(scale: float) -> dict[str, Any]:
    """Return false alarms, power, sequential looks, interleaving, and how uniform buckets are."""
    rng = np.random.default_rng(0)
    pilot = ratio_sample(*users(rng, 400_000))
    deviation, num = math.sqrt(pilot.variance), 100_000
    facts: dict[str, Any] = {}
    runs = round(300 * scale)
    found = sum(
        compare(ratio_sample(*users(rng, num)), ratio_sample(*users(rng, num, 1.02))).p_value < 0.05
        for _ in range(runs)
    )
    expected = power(0.02 * pilot.mean, deviation, num)
    facts["two_percent_of_ctr"] = {
        "units_a_variant": num,
        "power_computed": round(expected, 3),
        "found": round(found / runs, 3),
        "units_for_80_percent": units_needed(0.02 * pilot.mean, deviation),
    }

    runs, looks = round(2000 * scale), np.arange(100, 10_001, 100)
    fixed = sequential = 0
    for _ in range(runs):
        samples = [running(rng.normal(1, 1, 10_000), looks) for _ in range(2)]
        pairs = list(zip(*samples, strict=True))
        fixed += any(compare(*pair, relative=False).p_value < 0.05 for pair in pairs)
        sequential += any(compare_at_any_time(*pair, relative=False).p_value < 0.05 for pair in pairs)
    facts["a_a_with_100_looks"] = {"runs": runs, "sequential": sequential / runs, "fixed_horizon": fixed / runs}

    facts["interleaving"] = interleaving(round(200 * scale), rng)
    counts = np.bincount([bucket_of("a", str(at), 1000) for at in range(1_000_000)], minlength=1000)
    facts["chi_square_of_1000_buckets"] = round(float(((counts - 1000.0) ** 2 / 1000).sum()), 1)
    return facts


def a_a(scale: float) -> dict[str, Any]:
    """Return how often an A/A test over 4,000 users raises a false alarm at 5%, and how often the sample ratio does.

    Every hundred tests split the same users at random. The metrics are those of the online experiment: a ratio of sums,
    and means a user that CUPED adjusts by what users did before; orders have a heavy tail, and most users none.
    """
    runs, num, rng = round(20_000 * scale), 4_000, np.random.default_rng(0)
    alarms: dict[str, int] = {}
    mismatches = 0
    for run in range(runs):
        if run % 100 == 0:
            clicked, shown = users(rng, num)
            before = rng.poisson(shown).astype(float)
            gmv = rng.binomial(clicked, 0.06) * 40 * np.exp(0.8 * rng.standard_normal(num))
        members = {"a": (side := rng.random(num) < 0.5), "b": ~side}
        pairs = {"CTR": {name: ratio_sample(clicked[who], shown[who]) for name, who in members.items()}}
        for metric, values in (("clicks", clicked.astype(float)), ("GMV", gmv)):
            pairs[metric], _ = adjusted_samples(
                {name: values[who] for name, who in members.items()},
                {name: before[who] for name, who in members.items()},
            )
        for metric, pair in pairs.items():
            alarms[metric] = alarms.get(metric, 0) + (compare(pair["a"], pair["b"]).p_value < 0.05)
        counts = {name: int(who.sum()) for name, who in members.items()}
        mismatches += sample_ratio(counts, dict.fromkeys(members, 0.5)).is_mismatch
    shares = {metric: count / runs for metric, count in alarms.items()}
    return {"runs": runs, "false_alarms": shares, "sample_ratio_alarms": mismatches / runs}


def users(rng: np.random.Generator, num: int, lift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return clicks and impressions of users who differ in how much they search and click."""
    impressions = 1 + rng.poisson(4, num)
    return rng.binomial(impressions, lift * rng.beta(2, 18, num).clip(max=0.9)), impressions


def running(values: np.ndarray, looks: np.ndarray) -> list[Sample]:
    """Return the samples of the first values at each look; each equals `mean_sample` of them."""
    sums, squares = values.cumsum()[looks - 1], (values**2).cumsum()[looks - 1]
    samples = [
        Sample(int(n), float(s / n), float((q - s * s / n) / (n - 1)))
        for n, s, q in zip(looks, sums, squares, strict=True)
    ]
    assert math.isclose(samples[-1].variance, mean_sample(values[: looks[-1]]).variance, rel_tol=1e-9)
    return samples


def interleaving(runs: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return how often interleaving finds the better system with a tenth of an A/B test's answers."""
    better, worse = list("abcdefgh"), list("badcefgh")
    model = PositionBased(1.0 / np.arange(1, 9), np.linspace(0.35, 0.05, 8))
    order = np.array([ord(ad) - 97 for ad in (*better, *worse)]).reshape(2, 8)
    one, other = model.click_probabilities(order).sum(axis=1)
    deviation = float(model.simulate(np.repeat(order, 100_000, axis=0), rng).sum(axis=1).std())
    needed = 2 * units_needed(one - other, deviation)
    right = 0
    for run in range(runs):
        coin = Random(run)
        drafts = [team_draft(better, worse, 8, coin) for _ in range(needed // 10)]
        drawn = model.simulate(np.array([[ord(ad) - 97 for ad in draft.ad_ids] for draft in drafts]), rng)
        marks = np.where(np.array([draft.teams for draft in drafts]) == "A", 1, -1)
        right += preference((drawn * marks).sum(axis=1).tolist()).share > 0.5
    return {"a_b_answers_for_80_percent": needed, "answers": needed // 10, "right": right / runs}


if __name__ == "__main__":
    main()
