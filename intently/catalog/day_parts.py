"""Day parts: the hours of the week in which an ad may be shown.

One day part is days, "@", hours: "mon-fri@9-18", "sat,sun@0-24", "fri-mon@20-24". Days are single or ranges (which may
pass over Sunday), separated by commas. Hours are `start-end` with 0 ≤ start < end ≤ 24, the end not included. They are
hours of the user's day, or of a time zone that follows: "mon-fri@9-18 Europe/Berlin". There an hour that the clock
shows twice counts twice, and one that it leaves out does not count.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from intently.errors import InputError

HOURS_PER_WEEK = 168
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"(\d{1,2})-(\d{1,2})", re.ASCII)
_CURE = "write days@start-end, for example mon-fri@9-18 or sat,sun@0-24"


def parse_day_parts(day_parts: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Return which hours of the week (168,) any of `day_parts` covers; all of them without day parts.

    Hour `24 * weekday + hour` counts from Monday 0:00, as `datetime.weekday()` does. Raises InputError naming the first
    day part that cannot be understood.
    """
    hours = np.zeros(HOURS_PER_WEEK, dtype=np.bool_)
    parts = list(day_parts)
    for part in parts:
        days, _, span = split_zone(part)[0].lower().replace(" ", "").partition("@")
        match = _HOURS.fullmatch(span)
        if match is None or not (start := int(match[1])) < (end := int(match[2])) <= 24:
            raise InputError(f"day part {part!r} has no valid hours", cure=_CURE, field="day_parts")
        for day in _parse_days(days, part):
            hours[24 * day + start : 24 * day + end] = True
    return hours if parts else ~hours


def split_zone(part: str) -> tuple[str, str]:
    """Return a day part without its time zone, and the zone, empty if it has none. Raises `InputError` for no zone."""
    hours, blank, zone = part.strip().rpartition(" ")
    if not blank or ("/" not in zone and zone.upper() != "UTC"):
        return part, ""
    try:
        return hours, ZoneInfo(zone).key
    except (KeyError, OSError, ValueError):
        cure = "name a time zone of the IANA database, such as Europe/Berlin"
        raise InputError(f"{zone!r} is not a time zone", cure=cure, field="day_parts") from None


def is_open(day_parts: Iterable[str], hour_of_week: int | None, instant: float) -> bool:
    """Return whether any of `day_parts` covers an instant, in seconds since 1970; without day parts all are covered.

    `hour_of_week` is that of the user, None if it is unknown: then day parts without a time zone keep nobody out.
    """
    parts = tuple(day_parts)
    return not parts or any(_covers(part, hour_of_week, instant) for part in parts)


def _covers(part: str, hour_of_week: int | None, instant: float) -> bool:
    zone, hours = _parsed(part)
    hour = hour_of_week if zone is None else hour_in(datetime.fromtimestamp(instant, zone))
    return hour is None or bool(hours[hour])


def hour_in(time: datetime) -> int:
    """Return the hour of the week that a clock shows."""
    return 24 * time.weekday() + time.hour


@lru_cache(maxsize=65_536)
def _parsed(part: str) -> tuple[ZoneInfo | None, npt.NDArray[np.bool_]]:
    zone = split_zone(part)[1]
    return ZoneInfo(zone) if zone else None, parse_day_parts((part,))


def _parse_days(days: str, part: str) -> Iterable[int]:
    for piece in days.split(","):
        first, dash, last = piece.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise InputError(f"day part {part!r} names no valid days", cure=_CURE, field="day_parts")
        start = DAYS.index(first)
        length = (DAYS.index(last) - start) % 7 + 1 if dash else 1
        yield from ((start + offset) % 7 for offset in range(length))
