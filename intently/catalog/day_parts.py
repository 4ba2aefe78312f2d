"""Day parts: the hours of the week in which an ad may be shown.

One day part is days, "@", hours: "mon-fri@9-18", "sat,sun@0-24", "fri-mon@20-24". Days are single or ranges (which may
pass over Sunday), separated by commas. Hours are `start-end` with 0 ≤ start < end ≤ 24, the end not included.
"""

import re
from collections.abc import Iterable

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
        days, _, span = part.lower().replace(" ", "").partition("@")
        match = _HOURS.fullmatch(span)
        if match is None or not (start := int(match[1])) < (end := int(match[2])) <= 24:
            raise InputError(f"day part {part!r} has no valid hours", cure=_CURE, field="day_parts")
        for day in _parse_days(days, part):
            hours[24 * day + start : 24 * day + end] = True
    return hours if parts else ~hours


def _parse_days(days: str, part: str) -> Iterable[int]:
    for piece in days.split(","):
        first, dash, last = piece.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise InputError(f"day part {part!r} names no valid days", cure=_CURE, field="day_parts")
        start = DAYS.index(first)
        length = (DAYS.index(last) - start) % 7 + 1 if dash else 1
        yield from ((start + offset) % 7 for offset in range(length))
