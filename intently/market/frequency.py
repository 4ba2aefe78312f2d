"""Frequency caps: how often one user sees an ad, a campaign or an advertiser within a window.

One object is exact on one machine. Where each of several replicas holds its own and hears of the others' impressions
later, a user may see at most as many more as there are requests of this user in flight.
"""

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from intently.errors import InputError
from intently.market.days import day_bounds, zone_named


class Anonymous(StrEnum):
    """What holds for a user without an id, who cannot be counted."""

    ADMIT = "admit"  # ads with caps are shown to such users, uncapped
    REFUSE = "refuse"  # they are not shown at all


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """At most `most` impressions a user within `window_s` seconds, or on one calendar day of `time_zone`.

    Give either `window_s`, a rolling window, or `time_zone`, whose days begin at its midnight.
    """

    most: int
    window_s: float | None = None
    time_zone: str | None = None

    def __post_init__(self) -> None:
        if type(self.most) is not int or self.most < 1:
            raise InputError(f"most is {self.most!r}", cure="pass a whole number of at least 1", field="most")
        if (self.window_s is None) == (self.time_zone is None):
            told = f"got window_s={self.window_s!r} and time_zone={self.time_zone!r}"
            raise InputError(told, cure="pass one of the two", field="window_s")
        if self.window_s is not None and not self.window_s > 0:
            raise InputError(f"window_s is {self.window_s!r}", cure="pass seconds above 0", field="window_s")
        if self.time_zone is not None:
            zone_named(self.time_zone)


class FrequencyCaps:
    """Counts impressions by user and capped thing, and tells who may see what.

    `caps` gives each key (an ad's id, a campaign's, an advertiser's: they are told apart by you) its caps; all have to
    admit. Keys without a cap are not counted. `anonymous` is what happens to users without an id.
    """

    def __init__(self, caps: Mapping[str, Sequence[FrequencyCap]], *, anonymous: Anonymous | str = Anonymous.ADMIT):
        self.caps = {key: tuple(each) for key, each in caps.items() if each}
        self.anonymous = Anonymous(anonymous)
        self._seen: dict[tuple[str, str], list[tuple[float, str]]] = {}  # (key, user) → instants, event ids; ordered

    def admits(self, key: str, user_id: str | None, at_s: float) -> bool:
        """Return whether a user may see one more of `key` at an instant.

        Impressions after `at_s` count too, where they are in the window or a clock went back: a user never sees more
        because a clock is wrong. Cost: O(log n) a cap, for n impressions of this user.
        """
        caps = self.caps.get(key)
        if not caps:
            return True
        if not user_id:
            return self.anonymous is Anonymous.ADMIT
        seen = self._seen.get((key, user_id), ())
        return all(len(seen) - bisect_right(seen, (_window_start(cap, at_s), "\uffff")) < cap.most for cap in caps)

    def record(self, key: str, user_id: str | None, event_id: str, at_s: float) -> bool:
        """Count an impression, and return whether it was counted; a known id changes nothing.

        A late one counts at the instant at which it happened.
        """
        if not user_id or key not in self.caps:
            return False
        seen = self._seen.setdefault((key, user_id), [])
        if any(known == event_id for _, known in seen):
            return False
        insort(seen, (at_s, event_id))
        return True

    def close(self, before_s: float) -> None:
        """Forget impressions before an instant, to bound the memory. Pass one older than the longest window."""
        for pair, seen in list(self._seen.items()):
            kept = seen[bisect_right(seen, (before_s, "")) :]
            if kept:
                self._seen[pair] = kept
            else:
                del self._seen[pair]

    def state(self) -> list[list[Any]]:
        """Return what was counted as values of JSON, for `restore`."""
        return [[key, user_id, [list(each) for each in seen]] for (key, user_id), seen in self._seen.items()]

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Take over what `state` returned."""
        self._seen = {
            (key, user_id): [(float(at_s), event_id) for at_s, event_id in seen] for key, user_id, seen in state
        }


def _window_start(cap: FrequencyCap, at_s: float) -> float:
    """Return the instant after which impressions count."""
    if cap.window_s is not None:
        return at_s - cap.window_s
    # A day begins with its first instant, which counts.
    return day_bounds(at_s, cap.time_zone or "UTC")[0] - 1e-6
