"""Charts as SVG text: of systems with confidence intervals, of curves, of losses, of quality by group.

One style for all: what is meant stands beside the line or bar, so that there are no legends; grid lines are faint;
colours are Okabe and Ito's, which colour-blind readers tell apart. Text stays text, in the reader's font, and takes the
colour of its surroundings, so that a chart is legible on light and dark. The same values give the same bytes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from intently.errors import InputError, MissingDependencyError, install_hint
from intently.evaluation.calibration import Bin
from intently.evaluation.report import Report
from intently.evaluation.significance import bootstrap_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Float64Array = npt.NDArray[np.float64]
Points = Sequence[tuple[float, float]]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_INK = "#010203"  # becomes `currentColor`, which matplotlib does not know
# Grey enough to be read on white and on black, for a file of its own; a page's style sheet overrules the attribute.
_ALONE = "color=\"#7b7b7b\" font-family=\"system-ui, 'Noto Sans', 'Noto Sans CJK SC', sans-serif\""
_INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
_POINTS = 10.0  # font size; 72 points are an inch
_WIDTH = 6.4  # inches
_ROW = 0.26  # inches that a bar takes
_MOST_RAW = 100  # points of a loss curve from which on it is smoothed


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart: `svg` stands in a page or in a file called `name`.svg; `alt` says it in words and numbers."""

    name: str
    svg: str
    alt: str
    caption: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_-]+", self.name):
            raise InputError(f"{self.name!r} is no name for a figure", cure="use a-z, 0-9, - and _", field="name")


def systems_chart(
    name: str,
    report: Report,
    systems: Sequence[str],
    *,
    metrics: Sequence[str] = ("HR@500", "MAP"),
    highlight: Collection[str] = (),
    zoom: bool = False,
    caption: str = "",
    seed: int = 0,
) -> Figure:
    """Draw the mean of each metric for every system, with 95% bootstrap intervals over the queries, metrics abreast.

    With `zoom` they are points on an axis as wide as the intervals, because a bar has to begin at 0. Raises InputError
    for a system or a metric that the report does not have query by query.
    """
    panels = {metric: _intervals(report, systems, metric, seed) for metric in metrics}
    if not caption:
        caption = f"{' and '.join(metrics)} with 95% bootstrap intervals over {report.num_with_relevant:,} queries."
    return _bar_panels(name, systems, panels, highlight, caption, zoom=zoom)


def values_chart(
    name: str,
    labels: Sequence[str],
    panels: Mapping[str, Float64Array],
    *,
    highlight: Collection[str] = (),
    caption: str = "",
) -> Figure:
    """Draw values with their intervals, `panels[title]` (S, 3) for the S labels: value, low, high; panels abreast."""
    return _bar_panels(name, labels, panels, highlight, caption)


def groups_chart(
    name: str,
    values: Mapping[str, Mapping[str, float]],
    *,
    metric: str,
    highlight: Collection[str] = (),
    caption: str = "",
) -> Figure:
    """Draw a metric for every system in every group, `values[system][group]`: a panel a group, all on one scale."""
    groups = list(dict.fromkeys(group for of_system in values.values() for group in of_system))
    if not groups:
        raise InputError("no values to draw", cure="give at least one system with one group")
    panels = {
        group: np.array([[of_system.get(group, np.nan), np.nan, np.nan] for of_system in values.values()])
        for group in groups
    }
    return _bar_panels(name, list(values), panels, highlight, caption or f"{metric} by group.", one_scale=True)


def line_chart(
    name: str,
    lines: Mapping[str, Points],
    *,
    x: str,
    y: str,
    log_x: bool = False,
    percent: bool = False,
    caption: str = "",
) -> Figure:
    """Draw lines of (x, y) points, each named at its end; `percent` writes y from 0 to 1 as percents."""
    told = (lambda value: f"{value:.0%}") if percent else _number
    ends = {label: (*points[0], *points[-1]) for label, points in _checked(lines).items()}
    alt = f"Line chart of {y} against {x}. " + "; ".join(
        f"{label}: from {told(first)} at {_number(at)} to {told(last)} at {_number(end)}"
        for label, (at, first, end, last) in ends.items()
    )

    def draw(axes: Axes) -> None:
        if log_x:
            axes.set_xscale("log")
        for (label, points), (colour, dash) in zip(lines.items(), _line_styles(len(lines)), strict=True):
            marker = "o" if len(points) <= 20 else ""
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=dash, marker=marker, ms=4, lw=2, label=label)
        axes.set_ylim(bottom=min(0.0, *(point[1] for points in lines.values() for point in points)))
        axes.yaxis.set_major_formatter(lambda value, _: told(value))

    return _curves(name, {label: points[-1][1] for label, points in lines.items()}, x, y, draw, alt, caption)


def training_chart(
    name: str, losses: Mapping[str, Points], *, x: str = "step", y: str = "loss", caption: str = ""
) -> Figure:
    """Draw losses against the step; of a long curve a moving average, with the values as they were behind it."""
    smooth = {label: _smoothed(points) for label, points in _checked(losses).items()}
    alt = f"Line chart of {y} against {x}. " + "; ".join(
        f"{label}: from {points[0, 1]:.2f} to {points[-1, 1]:.2f} after {_number(points[-1, 0])}"
        for label, points in smooth.items()
    )

    def draw(axes: Axes) -> None:
        for (label, points), (colour, dash) in zip(smooth.items(), _line_styles(len(smooth)), strict=True):
            if len(losses[label]) >= _MOST_RAW:
                axes.plot(*zip(*losses[label], strict=True), color=colour, lw=0.6, alpha=0.3)
            axes.plot(points[:, 0], points[:, 1], color=colour, linestyle=dash, lw=2, label=label)

    return _curves(name, {label: float(points[-1, 1]) for label, points in smooth.items()}, x, y, draw, alt, caption)


def reliability_chart(name: str, panels: Mapping[str, Sequence[Bin]], *, caption: str = "") -> Figure:
    """Draw how often ads of each probability are relevant, a panel of bins a name; on the diagonal they are as stated.

    The area of a point grows with the number of its ads. Raises InputError for a panel without bins.
    """
    if not panels or not all(panels.values()):
        raise InputError("no bins to draw", cure="measure at least one ad for each panel")
    caption = caption or "Stated probability of relevance, and the share of ads that are relevant."
    gap, side = 0.55, min(1.75, (_WIDTH - 0.55 * len(panels)) / len(panels))
    told = []
    with _canvas(_WIDTH, side + 0.95) as canvas:
        for number, (label, bins) in enumerate(panels.items()):
            axes = _axes(canvas, gap + number * (side + gap), 0.55, side, side)
            total = sum(each.count for each in bins)
            axes.plot((0, 1), (0, 1), color=_INK, alpha=0.4, lw=1, linestyle="--")
            stated, observed = [each.stated for each in bins], [each.observed for each in bins]
            axes.plot(stated, observed, color=PALETTE[0], lw=1.5, alpha=0.6)
            axes.scatter(stated, observed, s=[12 + 240 * each.count / total for each in bins], color=PALETTE[0], lw=0)
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1)
            axes.set_xticks((0, 0.5, 1))
            axes.set_yticks((0, 0.5, 1), ("0", "0.5", "1") if number == 0 else ("", "", ""))
            axes.xaxis.set_major_formatter(lambda value, _: _number(value))
            _style(axes, grid="y")
            axes.set_xlabel("stated")
            axes.set_title(f"{label}, {total:,} ads", loc="left", pad=7, weight="bold", fontsize=_POINTS)
            if number == 0:
                axes.set_ylabel("observed")
            told.append(f"{label}: " + ", ".join(f"{each.stated:.2f} is {each.observed:.2f}" for each in bins))
        alt = f"Reliability diagram: stated probabilities and what is observed. {'; '.join(told)}"
        return Figure(name, _svg(canvas, name, alt), alt, caption)


def _bar_panels(
    name: str,
    labels: Sequence[str],
    panels: Mapping[str, Float64Array],  # (S, 3): value and the ends of its interval, NaN for none
    highlight: Collection[str],
    caption: str,
    *,
    zoom: bool = False,
    one_scale: bool = False,
) -> Figure:
    left, top, height = max(map(_text_width, labels)) / 72 + 0.15, 0.42, _ROW * len(labels)
    bottom = 0.35 if zoom else 0.1
    each = max((_WIDTH - left) / len(panels), 1.3)
    size = (left + each * len(panels), top + height + bottom)
    everything = np.concatenate(list(panels.values()))
    rows = range(len(labels))
    with _canvas(*size) as canvas:
        for number, (title, values) in enumerate(panels.items()):
            axes = _axes(canvas, left + number * each, bottom, each - 0.62, height)
            shown = everything if one_scale else values
            low, high = (np.nanmin(shown), np.nanmax(shown)) if zoom else (0.0, max(np.nanmax(shown), 1e-9))
            axes.set_xlim(low - 0.04 * (high - low) if zoom else 0.0, high + 0.02 * (high - low or 1.0))
            axes.set_ylim(len(labels) - 0.5, -0.5)
            colours = [PALETTE[0] if not highlight or label in highlight else _INK for label in labels]
            faint = [1.0 if colour != _INK else 0.32 for colour in colours]
            mean, ends = values[:, 0], np.fmax(values[:, 2], values[:, 0])
            for row, colour, alpha in zip(rows, colours, faint, strict=True):
                if np.isnan(mean[row]):
                    axes.text(low, row, " –", va="center")
                    continue
                if zoom:
                    axes.plot(mean[row], row, "o", ms=6, color=colour, mew=0, clip_on=False)
                else:
                    axes.barh(row, mean[row], height=0.68, color=colour, alpha=alpha, lw=0)
                axes.plot(
                    values[row, 1:],
                    [row, row],
                    color=_INK,
                    lw=1.2,
                    alpha=0.85,
                    clip_on=False,
                    zorder=1.5 if zoom else 3,
                )
                weight = "bold" if labels[row] in highlight else "normal"
                axes.annotate(
                    f"{mean[row]:.3f}", (ends[row], row), (4, 0), textcoords="offset points", va="center", weight=weight
                )
            axes.set_title(title, loc="left", pad=7, weight="bold")
            _style(axes, grid="x" if zoom else "")  # a bar says its value and needs no scale
            axes.tick_params(labelbottom=zoom)
            axes.locator_params(axis="x", nbins=3)
            axes.set_yticks(rows, labels if number == 0 else [""] * len(labels))
            axes.axvline(axes.get_xlim()[0], color=_INK, lw=0.8, alpha=0.0 if zoom else 0.6)
        alt = f"{'Points' if zoom else 'Bar chart'} of {', '.join(panels)}. " + "; ".join(
            f"{label}: " + ", ".join(_told(values[row]) for values in panels.values())
            for row, label in enumerate(labels)
        )
        return Figure(name, _svg(canvas, name, alt), alt, caption)


def _curves(
    name: str, ends: Mapping[str, float], x: str, y: str, draw: Callable[[Axes], None], alt: str, caption: str
) -> Figure:
    right = max(map(_text_width, ends)) / 72 + 0.2 if len(ends) > 1 else 0.2
    width, height = _WIDTH - 0.55 - right, 2.4
    with _canvas(_WIDTH, 3.3) as canvas:
        axes = _axes(canvas, 0.55, 0.55, width, height)
        draw(axes)
        _style(axes, grid="y")
        axes.spines["bottom"].set_visible(True)
        axes.xaxis.set_major_formatter(lambda value, _: _number(value))
        axes.set_xlabel(x)
        axes.set_title(y, loc="left", x=-0.55 / width, pad=10, fontsize=_POINTS)
        low, high = axes.get_ylim()
        wanted = (np.array(list(ends.values())) - low) / (high - low)
        spread = _spread(wanted, gap=1.25 * _POINTS / 72 / height)
        for (label, at), (colour, _) in zip(zip(ends, spread, strict=True), _line_styles(len(ends)), strict=True):
            if len(ends) > 1:
                axes.text(1.02, at, label, color=colour, va="center", weight="bold", transform=axes.transAxes)
        return Figure(name, _svg(canvas, name, alt), alt, caption)


@contextmanager
def _canvas(width: float, height: float) -> Iterator[Canvas]:
    """Yield an empty drawing of so many inches, in the style of all charts; without pyplot, so without a window."""
    try:
        import matplotlib
        from matplotlib.figure import Figure as Canvas
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"figures need matplotlib; {install_hint('experiments')}") from error
    style: dict[Any, Any] = dict.fromkeys(_INKED, _INK)
    style |= {"svg.fonttype": "none", "svg.hashsalt": "intently", "text.parse_math": False}
    style |= {"font.size": _POINTS, "axes.titlesize": _POINTS, "font.sans-serif": ["DejaVu Sans"]}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever this machine's matplotlibrc says
        matplotlib.rcParams.update(style)
        yield Canvas(figsize=(width, height))


def _axes(canvas: Canvas, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return axes at a place in inches; places are computed, not found by measuring this machine's fonts."""
    across, up = canvas.get_size_inches()
    return canvas.add_axes((left / across, bottom / up, width / across, height / up))


def _style(axes: Axes, grid: Literal["x", "y", ""]) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
        spine.set_alpha(0.5)
    axes.tick_params(which="both", length=0)
    if grid:
        axes.grid(axis=grid, color=_INK, alpha=0.12, lw=0.8)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)


def _svg(canvas: Canvas, name: str, alt: str) -> str:
    """Return the drawing as SVG that can stand in a page beside others: its ids are its own and it has no styles."""
    import warnings

    stream = StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's font draws it, not matplotlib's
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.savefig(stream, format="svg", transparent=True, metadata=metadata)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :].replace("xlink:href", "href").replace(_INK, "currentColor")
    svg = re.sub(r"<style.*?</style>| xmlns:xlink=\"[^\"]*\"| version=\"1.1\"", "", svg, flags=re.DOTALL)
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    used = set(re.findall(r"(?:url\(|href=\")#([^)\"]*)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", svg)
    svg = re.sub(r"(url\(|href=\")#", rf"\g<1>#{name}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}" {_ALONE}', 1).strip()


def _intervals(report: Report, systems: Sequence[str], metric: str, seed: int) -> Float64Array:
    """Return the mean and the ends of its interval (S, 3)."""
    for system in systems:
        if system not in report.runs or metric not in report.runs[system].per_query:
            raise InputError(f"the report has no {metric} of {system!r} by query", cure="measure it first")
    values = np.stack([report.runs[system].per_query[metric] for system in systems], axis=1)
    values = values[~np.isnan(values).any(axis=1)]
    return np.stack([values.mean(axis=0), *bootstrap_interval(values, seed=seed)], axis=1)


def _smoothed(points: Points) -> Float64Array:
    curve = np.array(points, dtype=np.float64)
    if len(curve) < _MOST_RAW:
        return curve
    width = len(curve) // 25
    return np.stack([np.convolve(column, np.full(width, 1 / width), mode="valid") for column in curve.T], axis=1)


def _spread(wanted: Float64Array, gap: float) -> Float64Array:
    """Return positions near the wanted ones and in their order, none nearer to the next than about `gap`."""
    order = np.argsort(wanted, kind="stable")
    at = wanted[order].astype(np.float64)
    for _ in range(200):
        for i in range(len(at) - 1):
            push = max(0.0, gap - (at[i + 1] - at[i])) / 2
            at[i], at[i + 1] = at[i] - push, at[i + 1] + push
    spread = np.empty_like(at)
    spread[order] = at
    return spread


def _checked(lines: Mapping[str, Points]) -> Mapping[str, Points]:
    empty = [label for label, points in lines.items() if not len(points)]
    if empty or not lines:
        raise InputError(f"no points to draw{f' for {empty[0]!r}' if empty else ''}", cure="leave the chart out")
    return lines


def _line_styles(number: int) -> list[tuple[str, str]]:
    dashes = ("-", "--", ":")
    return [(PALETTE[i % len(PALETTE)], dashes[i // len(PALETTE) % len(dashes)]) for i in range(number)]


def _text_width(text: str) -> float:
    """Return about how many points wide a text is, whatever fonts this machine has; Chinese is a square a character."""
    return _POINTS * sum(1.0 if unicodedata.east_asian_width(character) in "WF" else 0.58 for character in text)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def _told(values: Float64Array) -> str:
    if np.isnan(values[0]):
        return "nothing"
    return f"{values[0]:.3f}" + ("" if np.isnan(values[1]) else f" ({values[1]:.3f} to {values[2]:.3f})")
