"""The report of an experiment in traffic: what each arm earned against the control, and whether to believe it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from intently.arrays import Float64Array, IntArray, Mask
from intently.lab.experiments.figures import Figure, values_chart
from intently.lab.experiments.online_traffic import METRICS, ArmOutcome, TrafficOutcome, TrafficSettings
from intently.lab.experiments.report import Cell, Row, Section, Table
from intently.market.experiments import (
    Difference,
    Experiment,
    SampleRatio,
    adjusted_samples,
    compare,
    holm,
    ratio_sample,
    sample_ratio,
)

SHOWN = ("consumption", "gmv", "CTR", "shallow", "deep")
COLUMNS = ("consumption", "GMV", "CTR", "shallow conversions", "deep conversions")
# What RARE's table 2 reports of its online test, in percent, in the order of `SHOWN`.
SEEDS = (5.04, 6.37, 1.28, 5.29, 24.77)
MARGIN = 0.3  # of an order's value that an advertiser earns, before paying for clicks
# Beside the control: what intentions add to words, and to everything else; and what bids add to beams.
PAIRS = (
    ("RARE", "BM25"),
    ("fused", "BM25"),
    ("fused, not learned", "without intentions"),
    ("fused", "without intentions"),
    ("fused, value-aware", "fused"),
)
_AT = {name: at for at, name in enumerate(METRICS)}
NUM_SPLITS = 1_000
_NORMAL = 1.96  # standard errors to the end of a 95% interval


@dataclass(frozen=True)
class Online:
    """An experiment that was run. `segments[kind][name]` are query rows, `tail` (N,) the ads that few have clicked."""

    outcome: TrafficOutcome
    experiment: Experiment
    settings: TrafficSettings
    segments: Mapping[str, Mapping[str, IntArray]]
    tail: Mask


@dataclass(frozen=True)
class Comparison:
    """One arm against another: relative differences by metric, and p-values adjusted for all comparisons."""

    arm: str
    against: str
    differences: Mapping[str, Difference]
    adjusted: Mapping[str, float]


@dataclass(frozen=True)
class Verdicts:
    """Every arm against the control, then `PAIRS`. P-values are adjusted by Holm over all but the A/A pair's."""

    comparisons: tuple[Comparison, ...]
    control: str
    again: str
    ratio: SampleRatio

    def of(self, arm: str, against: str = "") -> Comparison:
        """Return the comparison of an arm with another, by default with the control."""
        wanted = (arm, against or self.control)
        return next(each for each in self.comparisons if (each.arm, each.against) == wanted)

    def is_significant(self, comparison: Comparison, metric: str) -> bool:
        """Return whether a difference holds at 5% among all comparisons. Never, if the traffic was split wrongly."""
        return not self.ratio.is_mismatch and comparison.adjusted[metric] < 0.05


def verdicts(outcome: TrafficOutcome, experiment: Experiment) -> Verdicts:
    """Return the relative differences of arms; means are adjusted by CUPED, the CTR is not."""
    names = list(experiment.shares)
    control, again, *others = names
    members = {name: outcome.variants == at for at, name in enumerate(names)}
    pairs = [(name, control) for name in others] + [pair for pair in PAIRS if {*pair} <= {*names}]
    found = {pair: _differences(outcome, members, *pair) for pair in pairs}
    adjusted = iter(holm([found[pair][metric].p_value for pair in pairs for metric in SHOWN]).tolist())
    twins = _differences(outcome, members, again, control)
    return Verdicts(
        (
            Comparison(again, control, twins, {metric: twins[metric].p_value for metric in SHOWN}),
            *(Comparison(*pair, found[pair], {metric: next(adjusted) for metric in SHOWN}) for pair in pairs),
        ),
        control,
        again,
        sample_ratio({name: int(mask.sum()) for name, mask in members.items()}, experiment.shares),
    )


def _differences(
    outcome: TrafficOutcome, members: Mapping[str, Mask], name: str, against: str
) -> dict[str, Difference]:
    tables = {arm: outcome.by_shopper[members[arm]] for arm in (against, name)}
    before = {arm: outcome.before[members[arm]].astype(np.float64) for arm in tables}
    found = {}
    for metric in SHOWN:
        if metric != "CTR":
            samples, _ = adjusted_samples({arm: table[:, _AT[metric]] for arm, table in tables.items()}, before)
        elif all(table[:, _AT["impressions"]].any() for table in tables.values()):
            samples = {
                arm: ratio_sample(table[:, _AT["clicks"]], table[:, _AT["impressions"]])
                for arm, table in tables.items()
            }
        else:
            samples = {}
        if samples and samples[against].base:
            found[metric] = compare(samples[against], samples[name])
        else:  # nothing is relative to 0
            found[metric] = Difference(math.nan, (math.nan, math.nan), 1.0, math.nan, True)
    return found


def sections(online: Online) -> list[Section]:
    """Return the chapters of the report."""
    found = verdicts(online.outcome, online.experiment)
    told = [sentence(found, *pair) for pair in _headlines(found)]
    return [
        Section("What each arm earned", [*told, *_warnings(found)], _main_table(found)),
        Section("A thousand visits", [], _levels_table(online), [_levels_figure(online)]),
        Section("Whether to believe the tests", [_SPLITS_TOLD], _splits_table(online)),
        Section("Against the paper's online test", list(_SEEDS_TOLD), _seeds_table(found)),
        *(
            Section(f"{name}, by {kind}", [_SEGMENTS[kind]], _segment_table(online, kind, metric))
            for kind in online.segments
            for metric, name in (("consumption", "Consumption"), ("gmv", "GMV"))
        ),
        Section("Ads and advertisers", [_TAIL_TOLD], _advertiser_table(online)),
    ]


_TAIL_TOLD = (
    "Tail advertisers are the half with the smallest budgets; tail ads are those with fewer than five clicks in the "
    "log that the engine learned from."
)
_SPLITS_TOLD = (
    "The shoppers of both keyword arms, all of whom saw the same system, are split at random again and again: every "
    "difference that such an A/A test finds at 5% is a false alarm, and so is every sample ratio below 0.1%."
)


_SEGMENTS = {
    "frequency": "A thousand visits; the head is the most frequent 5% of the queries, the tail the rarest 70%.",
    "vertical": "A thousand visits, by the vertical of the query's best ads; the largest twelve.",
}
_SEEDS_TOLD = (
    "RARE's table 2 tells what its intention channel added to a production system that had many other ways from a "
    "query to ads. The nearest comparison here is an engine with intentions against the same one without: both fused "
    "by reciprocal ranks, or the former as the build has learned.",
    "Differences have reasons: a small student that was trained for minutes stands in for a language model; here "
    "queries are held out, so that no system has seen clicks on them; the world's ads are few and its judgements "
    "complete; shoppers and advertisers do not react to what they see.",
)


def _headlines(found: Verdicts) -> list[tuple[str, str]]:
    pairs = [(each.arm, each.against) for each in found.comparisons]
    wanted = [("RARE", found.control), ("fused", found.control), ("RARE", "BM25"), ("fused", "BM25")]
    return [pair for pair in wanted if pair in pairs] or [pairs[-1]]


def sentence(found: Verdicts, arm: str, against: str) -> str:
    """Return whether an arm beats another in consumption and GMV, by how much, with its interval."""
    if found.ratio.is_mismatch:
        return f"No verdict: the traffic was not split as planned (p = {found.ratio.p_value:.2g})."
    comparison, parts = found.of(arm, against), []
    for metric, name in (("consumption", "consumption"), ("gmv", "GMV")):
        each = comparison.differences[metric]
        if math.isnan(each.estimate):
            parts.append(f"{name}: {against} has none")
            continue
        is_proven = found.is_significant(comparison, metric)
        word = "no proven difference" if not is_proven else "more" if each.estimate > 0 else "less"
        parts.append(f"{name} {_told(each)[:-1]}; {word})")
    return f"{arm} against {against}: {', '.join(parts)}."


def _warnings(found: Verdicts) -> list[str]:
    told = []
    if found.ratio.is_mismatch:
        told.append("Sample ratio mismatch: the numbers below must not be used.")
    twins = found.of(found.again)
    if alarms := [metric for metric in SHOWN if twins.adjusted[metric] < 0.05]:
        told.append(
            f"The A/A pair differs in {', '.join(alarms)} at 5%; with {len(SHOWN)} metrics that happens by chance."
        )
    return told


def _main_table(found: Verdicts) -> Table:
    rows: list[Row | str] = []
    for comparison in found.comparisons:
        is_pair = comparison.against != found.control
        if is_pair and not any(isinstance(row, str) for row in rows):
            rows.append("other pairs")
        name = f"{comparison.arm} against {comparison.against}" if is_pair else comparison.arm
        rows.append([name, *_difference_cells(found, comparison)])
    counts = ", ".join(f"{name} {count:,}" for name, count in found.ratio.counts.items())
    note = (
        f"Difference to {found.control}, relative, with 95% intervals by shopper; means adjusted by CUPED. A star: "
        f"below 5% after Holm's correction. Shoppers: {counts}; sample ratio p = {found.ratio.p_value:.2f}."
    )
    return Table(["arm", *COLUMNS], rows, note)


def false_alarms(online: Online, num_splits: int = NUM_SPLITS, seed: int = 0) -> tuple[dict[str, float], float]:
    """Return the share of random splits of the control's shoppers in which each metric differs at 5%.

    And the share in which the sample ratio alarms.
    """
    rng, alarms, mismatches = np.random.default_rng(seed), dict.fromkeys(SHOWN, 0), 0
    twins: Mask = online.outcome.variants <= 1
    for _ in range(num_splits):
        side = rng.random(len(twins)) < 0.5
        members = {"a": twins & side, "b": twins & ~side}
        found = _differences(online.outcome, members, "b", "a")
        for metric in SHOWN:
            alarms[metric] += found[metric].p_value < 0.05
        counts = {name: int(mask.sum()) for name, mask in members.items()}
        mismatches += sample_ratio(counts, dict.fromkeys(members, 0.5)).is_mismatch
    return {metric: count / num_splits for metric, count in alarms.items()}, mismatches / num_splits


def _splits_table(online: Online) -> Table:
    alarms, mismatches = false_alarms(online)
    rows: list[Row] = [[*(Cell(100 * alarms[metric], digits=1) for metric in SHOWN), Cell(100 * mismatches, digits=2)]]
    half = 100 * _NORMAL * math.sqrt(0.05 * 0.95 / NUM_SPLITS)
    note = f"False alarms, percent of {NUM_SPLITS:,} splits; 5 ± {half:.1f} are expected, and 0.1 of the sample ratio."
    return Table([*COLUMNS, "sample ratio"], rows, note)


def _difference_cells(found: Verdicts, comparison: Comparison) -> list[Cell]:
    cells = []
    for metric in SHOWN:
        stars = "*" if comparison.arm != found.again and found.is_significant(comparison, metric) else ""
        cells.append(Cell(_told(comparison.differences[metric]), stars))
    return cells


def _told(each: Difference) -> str:
    """Return a relative difference with its interval, as percent."""
    if math.isnan(each.estimate):
        return "–"
    low, high = each.interval
    bounds = f"{low:+.1%} to {high:+.1%}" if math.isfinite(low) else "without bounds"
    return f"{each.estimate:+.1%} ({bounds})"


def _seeds_table(found: Verdicts) -> Table:
    rows: list[Row | str] = [["RARE's table 2", *(f"{each:+.2f}%" for each in SEEDS)]]
    pairs = [(each.arm, each.against) for each in found.comparisons]
    for pair in (*PAIRS[2:4], ("RARE", "BM25"), ("RARE", found.control)):
        if pair in pairs:
            rows.append([f"here, {pair[0]} against {pair[1]}", *_difference_cells(found, found.of(*pair))])
    return Table(["", *COLUMNS], rows)


_LEVELS: Mapping[str, Callable[[Float64Array], Float64Array]] = {
    "shallow": lambda table: table[:, _AT["shallow"]],
    "deep": lambda table: table[:, _AT["deep"]],
    "consumption": lambda table: table[:, _AT["consumption"]],
    "GMV": lambda table: table[:, _AT["gmv"]],
    "advertisers' surplus": lambda table: MARGIN * table[:, _AT["gmv"]] - table[:, _AT["consumption"]],
}


def _levels(online: Online, level: str) -> Float64Array:
    """Return what a thousand visits of each arm bring, and the ends of the interval: (arms, 3)."""
    rows = []
    for at in range(len(online.outcome.arms)):
        table = online.outcome.by_shopper[online.outcome.variants == at]
        sample = ratio_sample(_LEVELS[level](table), table[:, _AT["visits"]])
        half = _NORMAL * math.sqrt(sample.variance / sample.num_units)
        rows.append([1000 * sample.mean, 1000 * (sample.mean - half), 1000 * (sample.mean + half)])
    return np.array(rows)


def _levels_table(online: Online) -> Table:
    levels = {level: _levels(online, level) for level in _LEVELS}
    rows: list[Row] = []
    for at, (name, arm) in enumerate(online.outcome.arms.items()):
        total = arm.by_query.sum(axis=0)
        rows.append(
            [
                name,
                Cell(total[_AT["impressions"]] / max(total[_AT["visits"]], 1.0), digits=2),
                Cell(total[_AT["clicks"]] / max(total[_AT["impressions"]], 1.0), digits=4),
                *(f"{value[at, 0]:,.1f} ± {value[at, 2] - value[at, 0]:,.1f}" for value in levels.values()),
            ]
        )
    note = f"Consumption is the revenue. Surplus: {MARGIN:.0%} of the GMV, less what the clicks cost. 95% intervals."
    return Table(["arm", "ads a visit", "CTR", *_LEVELS], rows, note)


def _levels_figure(online: Online) -> Figure:
    panels = {f"{level}, 1,000 visits": _levels(online, level) for level in ("consumption", "GMV")}
    caption = "Consumption and GMV of a thousand visits, with 95% intervals."
    return values_chart("online-arms", list(online.outcome.arms), panels, highlight=("RARE", "fused"), caption=caption)


def _segment_table(online: Online, kind: str, metric: str) -> Table:
    groups, arms = online.segments[kind], online.outcome.arms
    visits = {group: int(online.outcome.visits[rows].sum()) for group, rows in groups.items()}
    names = list(groups) if len(groups) <= 12 else sorted(groups, key=lambda name: -visits[name])[:12]
    rows: list[Row] = []
    for group in names:
        totals = [arm.by_query[groups[group]].sum(axis=0) for arm in arms.values()]
        values = [1000 * total[_AT[metric]] / max(total[_AT["visits"]], 1.0) for total in totals]
        rows.append([group, visits[group], *(Cell(value, digits=1) for value in values)])
    return Table([kind, "visits", *arms], rows)


def _advertiser_table(online: Online) -> Table:
    advertisers, tail = online.outcome.advertisers, online.tail
    rows: list[Row] = []
    for name, arm in online.outcome.arms.items():
        paid = arm.spent > 0
        cells = [
            *_budget_use(arm, advertisers),
            100 * float(paid.mean()),
            100 * float(paid[tail].mean()) if tail.any() else math.nan,
            100 * float(arm.spent[tail].sum() / max(arm.spent.sum(), 1e-12)),
        ]
        rows.append([name, *(Cell(value, digits=1) for value in cells)])
    columns = ["arm", "budget used", "of tail advertisers", "advertisers that spent", "ads clicked", "tail ads clicked"]
    return Table([*columns, "spend on tail ads"], rows, "Percent.")


def _budget_use(arm: ArmOutcome, advertisers: IntArray) -> Sequence[float]:
    spent = np.bincount(advertisers, weights=arm.spent, minlength=len(arm.budget))
    tail: IntArray = np.argsort(arm.budget, kind="stable")[: len(arm.budget) // 2]
    return (
        100 * float(spent.sum() / arm.budget.sum()),
        100 * float(spent[tail].sum() / max(arm.budget[tail].sum(), 1e-12)),
        100 * float((spent > 0).mean()),
    )
