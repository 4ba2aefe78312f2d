"""How much of a day's traffic is over: what was seen, plus what a forecast still expects."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from intently.errors import InputError
from intently.market.days import local_hour, zone_named

SLOT_S = 900  # seconds; all offsets of time zones are multiples of it
LOOK_BACK_SLOTS = 96  # slots that tell how today compares with the forecast
_SECONDS_A_HOUR = 3600
_MOST_SHARES = 64


class Traffic:
    """Counts requests and tells the share of a day's traffic that is over.

    The forecast is a weight for each hour of the clock in `time_zone`; only its shape counts. The *level*, requests a
    unit of forecast, is the median over the last slots that are complete. So an hour of five times the requests counts
    for what it was, and is not taken for a new level; half the requests on a whole day are.
    """

    def __init__(self, hourly_forecast: Sequence[float] = (1.0,) * 24, *, time_zone: str = "UTC"):
        weights = np.asarray(hourly_forecast, np.float64)
        if weights.shape != (24,) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum():
            cure = "pass 24 numbers of at least 0, one an hour"
            raise InputError(
                f"expected a forecast of 24 hours, got {hourly_forecast!r}", cure=cure, field="hourly_forecast"
            )
        zone_named(time_zone)
        self._hourly = (weights * _SECONDS_A_HOUR / SLOT_S / weights.sum()).tolist()
        self._zone = time_zone
        self._seen: dict[int, int] = {}  # slot → requests
        self._weights: dict[int, float] = {}  # slot → forecast, as it is asked for again and again
        self._levels: tuple[int, float] | None = None  # slot → its level, as it is the same for a whole slot
        self._shares: dict[tuple[float, float, float], float] = {}  # of this moment: many campaigns ask for the same

    def count(self, at_s: float, num_requests: int = 1) -> None:
        """Note requests. Cost: O(1)."""
        slot = int(at_s // SLOT_S)
        self._seen[slot] = self._seen.get(slot, 0) + num_requests
        self._shares.clear()

    def share(self, start_s: float, end_s: float, at_s: float) -> float:
        """Return which share, 0 to 1, of the requests between two instants is over at `at_s`."""
        key = start_s, end_s, at_s
        if key not in self._shares:
            if len(self._shares) >= _MOST_SHARES:
                self._shares.clear()
            self._shares[key] = self._share(start_s, end_s, at_s)
        return self._shares[key]

    def _share(self, start_s: float, end_s: float, at_s: float) -> float:
        if at_s <= start_s:
            return 0.0
        if at_s >= end_s:
            return 1.0
        now, first, last = int(at_s // SLOT_S), int(start_s // SLOT_S), int(end_s // SLOT_S)
        left = (now + 1) * SLOT_S - at_s
        to_come = sum(map(self._forecast, range(now + 1, last))) + self._forecast(now) * left / SLOT_S
        level = self._level(now)
        if level is None:  # the first slot of all: nothing was seen that tells a level
            over = sum(map(self._forecast, range(first, last))) - to_come
        else:
            over = sum(self._seen.get(slot, 0) for slot in range(first, now + 1)) / level
        return over / (over + to_come) if over + to_come > 0 else 1.0

    def _level(self, now: int) -> float | None:
        if self._levels is None or self._levels[0] != now:
            ratios = [
                self._seen[slot] / self._forecast(slot)
                for slot in range(now - LOOK_BACK_SLOTS, now)
                if slot in self._seen and self._forecast(slot) > 0
            ]
            self._levels = (now, median(ratios) if ratios else 0.0)
        return self._levels[1] or None

    def _forecast(self, slot: int) -> float:
        known = self._weights.get(slot)
        if known is None:
            known = self._weights[slot] = self._hourly[local_hour(slot * SLOT_S, self._zone)]
        return known

    def close(self, before_s: float) -> None:
        """Forget what was seen before an instant, to bound the memory."""
        first = int(before_s // SLOT_S)
        self._seen = {slot: count for slot, count in self._seen.items() if slot >= first}
        self._weights = {slot: weight for slot, weight in self._weights.items() if slot >= first}

    def state(self) -> dict[str, Any]:
        """Return what was seen as values of JSON, for `restore`."""
        return {"seen": {str(slot): count for slot, count in self._seen.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self._seen = {int(slot): count for slot, count in state["seen"].items()}
        self._levels = None
        self._shares.clear()
