"""Drawings as numbers: the templates turn them into SVG. What a drawing shows also stands beside it in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intently.types import Channel, Ranking

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 640, 56, 350, 34, 30
_MAX_LINES = 10


@dataclass(frozen=True)
class Stop:
    """Where an ad's line passes a channel: its place there, in words, and on paper."""

    x: float
    y: float
    told: str
    is_found: bool


@dataclass(frozen=True)
class Line:
    """The line of one ad."""

    ad_id: str
    rank: int
    stops: tuple[Stop, ...]

    @property
    def points(self) -> str:
        """The line, as SVG writes it."""
        return " ".join(f"{stop.x:g},{stop.y:g}" for stop in self.stops)


@dataclass(frozen=True)
class Bump:
    """A bump chart: a column a channel and one for the fusion, a line an ad. Places are logarithmic from top to bottom.

    Ads that a channel did not find pass below all places, at `floor`.
    """

    width: int
    height: float
    floor: float
    columns: tuple[tuple[str, float], ...]
    lines: tuple[Line, ...]


def bump(ranking: Ranking, channels: Sequence[Channel], depth: int) -> Bump | None:
    """Return the chart of a fused ranking's first ads, None if nothing was fused."""
    ads = ranking.ads[:_MAX_LINES]
    if not ads or len(channels) < 2:
        return None
    bottom = _TOP + _ROW * max(5, len(ads))
    floor = bottom + _ROW
    names = [*channels, Channel.FUSED]
    step = (_RIGHT - _LEFT) / (len(names) - 1)
    at = {name: _LEFT + step * number for number, name in enumerate(names)}
    deepest = max([reason.rank for ad in ads for reason in ad.reasons] + [len(ads)])

    def height(rank: int) -> float:
        return _TOP + (bottom - _TOP) * math.log(rank) / math.log(max(deepest, 2))

    lines = []
    for number, ad in enumerate(ads):
        ranks = {reason.channel: reason.rank for reason in ad.reasons}
        stops = [
            Stop(round(at[name], 1), round(height(ranks[name]) if name in ranks else floor, 1),
                 f"{ranks[name]:,}" if name in ranks else "–", name in ranks)
            for name in channels
        ]  # fmt: skip
        row = _TOP + (bottom - _TOP) * number / max(len(ads) - 1, 1)
        stops.append(Stop(at[Channel.FUSED], round(row, 1), f"{ad.rank}", True))
        lines.append(Line(ad.ad_id, ad.rank, tuple(stops)))
    columns = tuple((str(name), round(x, 1)) for name, x in at.items())
    return Bump(_WIDTH, floor + 20, floor, columns, tuple(lines))


@dataclass(frozen=True)
class Stage:
    """One stage of an answer: when it began, in percent of the whole, and how much of it it took."""

    name: str
    spent_ms: float
    begins: float
    takes: float


def waterfall(timings_ms: Mapping[str, float]) -> tuple[Stage, ...]:
    """Return the stages of an answer, one after the other."""
    whole, begun, stages = sum(timings_ms.values()) or 1.0, 0.0, []
    for name, spent in timings_ms.items():
        stages.append(Stage(name, spent, round(100 * begun / whole, 2), round(100 * spent / whole, 2)))
        begun += spent
    return tuple(stages)


def spark(values: Sequence[float | None], width: int = 240, height: int = 40) -> tuple[str, ...]:
    """Return the lines of a small chart from 0 to the highest value; it breaks where a value is unknown."""
    highest = max((value for value in values if value is not None), default=0.0) or 1.0
    step = width / max(len(values) - 1, 1)
    lines: list[list[str]] = [[]]
    for at, value in enumerate(values):
        if value is None:
            lines.append([])
        else:
            lines[-1].append(f"{at * step:.1f},{height - 2 - (height - 4) * value / highest:.1f}")
    return tuple(" ".join(line) for line in lines if line)
