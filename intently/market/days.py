"""Days of a calendar in a time zone. A day has 23 or 25 hours where clocks are put forward or back."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from intently.errors import InputError

_SLOT_S = 900  # days begin at a multiple of it: since 1972, all offsets of time zones are


@lru_cache(maxsize=1024)
def zone_named(time_zone: str) -> ZoneInfo:
    """Return the zone of an IANA name such as "Asia/Shanghai". Raises `InputError` for a name that is none."""
    try:
        return ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        cure = 'write an IANA name, such as "Europe/Berlin"'
        raise InputError(f"{time_zone!r} is no time zone", cure=cure, field="time_zone") from None


def day_bounds(at_s: float, time_zone: str) -> tuple[int, int]:
    """Return the start and the end, in seconds since 1970 UTC, of the day that the instant `at_s` is in.

    The zone's own days, midnight to midnight; where a zone skips midnight, the day starts with its first instant.
    """
    return _bounds(local_date(at_s, time_zone), time_zone)


def local_date(at_s: float, time_zone: str) -> str:
    """Return the date, as "2026-03-29", that it is in a zone at the instant `at_s`."""
    return _date_of(int(at_s // _SLOT_S), time_zone)


@lru_cache(maxsize=65_536)
def _date_of(slot: int, time_zone: str) -> str:
    return datetime.fromtimestamp(slot * _SLOT_S, zone_named(time_zone)).date().isoformat()


def local_hour(at_s: float, time_zone: str) -> int:
    """Return the hour, 0 to 23, that clocks in a zone show at the instant `at_s`."""
    return datetime.fromtimestamp(at_s, zone_named(time_zone)).hour


@lru_cache(maxsize=4096)
def _bounds(date: str, time_zone: str) -> tuple[int, int]:
    zone = zone_named(time_zone)
    midnight = datetime.fromisoformat(date)
    return _first_instant(midnight, zone), _first_instant(midnight + timedelta(days=1), zone)


def _first_instant(midnight: datetime, zone: ZoneInfo) -> int:
    # A midnight that is skipped is read with the offset before the change, which gives the first instant after it.
    return int(midnight.replace(tzinfo=zone).astimezone(UTC).timestamp())
