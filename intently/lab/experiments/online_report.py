"""The report of an experiment in traffic: what each arm earned against the control, and whether to believe it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from intently.arrays import IntArray, Mask
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
MARGIN = 0.3  # of an order's value that an advertiser earns, before paying for clicks
_AT = {name: at for at, name in enumerate(METRICS)}


@dataclass(frozen=True)
class Online:
    """An experiment that was run. `segments[kind][name]` are query rows."""

    outcome: TrafficOutcome
    experiment: Experiment
    settings: TrafficSettings
    segments: Mapping[str, Mapping[str, IntArray]]


@dataclass(frozen=True)
class Verdicts:
    """Every arm against the control: differences, and p-values adjusted by Holm over all of them but the A/A pair's."""

    control: str
    again: str
    differences: Mapping[str, Mapping[str, Difference]]
    adjusted: Mapping[str, Mapping[str, float]]
    ratio: SampleRatio

    def is_significant(self, arm: str, metric: str) -> bool:
        """Return whether a difference holds at 5% among all comparisons. Never, if the traffic was split wrongly."""
        return not self.ratio.is_mismatch and self.adjusted[arm][metric] < 0.05


def verdicts(outcome: TrafficOutcome, experiment: Experiment) -> Verdicts:
    """Return every arm's relative differences to the first one; means are adjusted by CUPED, the CTR is not."""
    names = list(experiment.shares)
    control, again, *others = names
    members = {name: outcome.variants == at for at, name in enumerate(names)}
    differences = {name: _differences(outcome, members, control, name) for name in names[1:]}
    p_values = [differences[name][metric].p_value for name in others for metric in SHOWN]
    adjusted = iter(holm(p_values).tolist())
    corrected = {name: {metric: next(adjusted) for metric in SHOWN} for name in others}
    corrected[again] = {metric: differences[again][metric].p_value for metric in SHOWN}
    counts = {name: int(mask.sum()) for name, mask in members.items()}
    return Verdicts(control, again, differences, corrected, sample_ratio(counts, experiment.shares))


def _differences(
    outcome: TrafficOutcome, members: Mapping[str, Mask], control: str, name: str
) -> dict[str, Difference]:
    tables = {arm: outcome.arms[arm].by_shopper[members[arm]] for arm in (control, name)}
    before = {arm: outcome.before[members[arm]].astype(np.float64) for arm in tables}
    found = {}
    for metric in SHOWN:
        if metric == "CTR":
            samples = {
                arm: ratio_sample(table[:, _AT["clicks"]], table[:, _AT["impressions"]])
                for arm, table in tables.items()
            }
        else:
            samples, _ = adjusted_samples({arm: table[:, _AT[metric]] for arm, table in tables.items()}, before)
        if samples[control].base:
            found[metric] = compare(samples[control], samples[name])
        else:  # nothing is relative to 0
            found[metric] = Difference(math.nan, (math.nan, math.nan), 1.0, math.nan, True)
    return found


def sections(online: Online) -> list[Section]:
    """Return the chapters of the report."""
    found = verdicts(online.outcome, online.experiment)
    return [
        Section("What each arm earned", [sentence(found), *_warnings(found)], _main_table(online, found)),
        Section("A thousand visits", ["Means over all visits, without any adjustment."], _levels_table(online)),
        *(Section(f"By {kind}", [_SEGMENTS[kind]], _segment_table(online, kind)) for kind in online.segments),
        Section("Advertisers", ["Tail advertisers are the half with the smallest budgets."], _advertiser_table(online)),
    ]


_SEGMENTS = {
    "frequency": "Consumption and GMV a thousand visits: the head is the most frequent 5% of the queries, the tail the "
    "rarest 70%.",
    "vertical": "Consumption and GMV a thousand visits, by the vertical of the query's best ads; the largest twelve.",
}


def sentence(found: Verdicts, arm: str = "RARE") -> str:
    """Return whether retrieval by intentions beats the keyword way, by how much, with its interval."""
    if found.ratio.is_mismatch:
        return f"No verdict: the traffic was not split as planned (p = {found.ratio.p_value:.2g})."
    if arm not in found.differences:
        arm = list(found.differences)[-1]
    parts = []
    for metric, name in (("consumption", "consumption"), ("gmv", "GMV")):
        each = found.differences[arm][metric]
        if math.isnan(each.estimate):
            parts.append(f"{name}: the control has none")
            continue
        low, high = each.interval
        word = (
            "no proven difference" if not found.is_significant(arm, metric) else "more" if each.estimate > 0 else "less"
        )
        parts.append(f"{name} {each.estimate:+.1%} ({low:+.1%} to {high:+.1%}; {word})")
    return f"{arm} against {found.control}: {', '.join(parts)}."


def _warnings(found: Verdicts) -> list[str]:
    told = []
    if found.ratio.is_mismatch:
        told.append("Sample ratio mismatch: the numbers below must not be used.")
    alarms = [metric for metric in SHOWN if found.differences[found.again][metric].p_value < 0.05]
    if alarms:
        told.append(
            f"The A/A pair differs in {', '.join(alarms)} at 5%; with {len(SHOWN)} metrics that happens by chance."
        )
    return told


def _main_table(online: Online, found: Verdicts) -> Table:
    rows: list[Row] = []
    for name, differences in found.differences.items():
        cells: list[Cell] = []
        for metric in SHOWN:
            each = differences[metric]
            half = (each.interval[1] - each.interval[0]) / 2
            stars = "*" if name != found.again and found.is_significant(name, metric) else ""
            cells.append(Cell("–" if math.isnan(half) else f"{each.estimate:+.1%} ± {half:.1%}", stars))
        rows.append([name, *cells])
    counts = ", ".join(f"{name} {count:,}" for name, count in found.ratio.counts.items())
    note = (
        f"Difference to {found.control}, relative, with 95% intervals by shopper; means adjusted by CUPED. A star: "
        f"below 5% after Holm's correction. Shoppers: {counts}; sample ratio p = {found.ratio.p_value:.2f}."
    )
    return Table(["arm", "consumption", "GMV", "CTR", "shallow conversions", "deep conversions"], rows, note)


def _levels_table(online: Online) -> Table:
    rows: list[Row] = []
    for name, arm in online.outcome.arms.items():
        total = arm.by_shopper.sum(axis=0)
        visits = max(total[_AT["visits"]], 1.0)
        per = 1000 / visits
        surplus = (MARGIN * total[_AT["gmv"]] - total[_AT["consumption"]]) * per
        rows.append(
            [
                name,
                int(total[_AT["visits"]]),
                Cell(total[_AT["impressions"]] / visits, digits=2),
                Cell(total[_AT["clicks"]] / max(total[_AT["impressions"]], 1), digits=4),
                *(Cell(total[_AT[metric]] * per, digits=1) for metric in ("shallow", "deep", "consumption", "gmv")),
                Cell(surplus, digits=1),
            ]
        )
    columns = ["arm", "visits", "ads a visit", "CTR", "shallow", "deep", "consumption", "GMV", "advertisers' surplus"]
    return Table(columns, rows, f"Surplus: {MARGIN:.0%} of the GMV, less what the clicks cost. A thousand visits each.")


def _segment_table(online: Online, kind: str) -> Table:
    groups = online.segments[kind]
    largest = sorted(groups, key=lambda name: -int(online.outcome.visits[groups[name]].sum()))[:12]
    names = list(groups) if len(groups) <= 12 else largest
    rows: list[Row | str] = []
    for group in names:
        rows.append(f"{group}: {int(online.outcome.visits[groups[group]].sum()):,} visits")
        for name, arm in online.outcome.arms.items():
            total = arm.by_query[groups[group]].sum(axis=0)
            per = 1000 / max(total[_AT["visits"]], 1.0)
            money = [Cell(total[_AT[metric]] * per, digits=1) for metric in ("consumption", "gmv")]
            rows.append([name, *money, Cell(total[_AT["deep"]] * per, digits=1)])
    return Table(["arm", "consumption", "GMV", "deep conversions"], rows, "A thousand visits of the group.")


def _advertiser_table(online: Online) -> Table:
    rows: list[Row] = []
    for name, arm in online.outcome.arms.items():
        rows.append([name, *(Cell(value, digits=1) for value in _budget_use(arm)), int((arm.shown > 0).sum())])
    columns = ["arm", "budget used, %", "of tail advertisers, %", "advertisers that spent, %", "distinct ads shown"]
    return Table(columns, rows)


def _budget_use(arm: ArmOutcome) -> Sequence[float]:
    tail: IntArray = np.argsort(arm.budget, kind="stable")[: len(arm.budget) // 2]
    return (
        100 * float(arm.spent.sum() / arm.budget.sum()),
        100 * float(arm.spent[tail].sum() / max(arm.budget[tail].sum(), 1e-12)),
        100 * float((arm.spent > 0).mean()),
    )
