"""Which rules let an ad be shown to a user for a query, and which do not, each with its values.

One ad at a time, by the ad itself: obvious and slow. Snapshots decide the same for all ads at once
(`Snapshot.eligible`), and the tests compare the two.
"""

import time
from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from intently.catalog import CheckedUser, checked_user
from intently.catalog.day_parts import is_open
from intently.catalog.user_conditions import seconds
from intently.rules.targeting import parse_targeting, truth
from intently.snapshot.lists import BLOCKED_BY, SharedLists, first_negative
from intently.text.markup import plain_text
from intently.text.normalize import normalize
from intently.types import Ad, BlockList, Request

_WANTED = {"country": "countries", "language": "languages", "device": "devices", "audiences": "audiences"}


@dataclass(frozen=True, slots=True)
class RuleAnswer:
    """What one rule says of one ad; `told` is a sentence with the values, empty where the rule asks nothing."""

    rule: str
    admits: bool
    told: str = ""


def verdict(
    ad: Ad,
    request: Request,
    lists: SharedLists | None = None,
    *,
    known: Container[str] = frozenset(),
    now: float | None = None,
) -> tuple[RuleAnswer, ...]:
    """Return what every rule says of an ad, in the order in which they are asked. It may be shown if all admit it.

    `lists` are those that ads share, `known` words that are not misspelled, `now` the present in seconds since 1970.
    """
    return tuple(_answers(ad, request, lists or SharedLists(), known, time.time() if now is None else now))


def _answers(ad: Ad, request: Request, lists: SharedLists, known: Container[str], now: float) -> Iterator[RuleAnswer]:
    user = checked_user(request.user)
    instant = now if user.instant is None else user.instant
    excluded = ad.ad_id in request.exclude
    yield RuleAnswer("excluded", not excluded, "the request excludes this ad" if excluded else "")
    yield RuleAnswer("status", ad.status == "active", f"its status is {ad.status}")
    for block, name in BLOCKED_BY.items():
        value = getattr(ad, name)
        own = value if isinstance(value, tuple) else (value,)
        found = next((each for each in own if each and each in lists.blocked(block)), None)
        yield RuleAnswer(block, found is None, "" if found is None else f"{found!r} is among the {block}")
    yield from _of_user(ad, user, instant)
    for name, starts in (("starts", True), ("ends", False)):
        written = getattr(ad, name)
        if not written:
            yield RuleAnswer(name, True)
            continue
        shown = datetime.fromtimestamp(instant, UTC).isoformat(timespec="seconds")
        admits = (instant >= seconds(written)) == starts
        yield RuleAnswer(name, admits, f"it {name} at {written}, and it is {shown}")
    yield _of_targeting(ad, user)
    query = normalize(plain_text(request.query))
    own_found = first_negative(ad.negative_keywords, query, lists.rules, known)
    yield RuleAnswer("negative keywords", own_found is None, f"{own_found} of the ad" if own_found else "")
    for name in ad.negative_lists:
        found_there = None if name in set(BLOCKED_BY) else lists.first(name, query, known)
        yield RuleAnswer(
            f"negative list {name}", found_there is None, f"{found_there} of the list {name!r}" if found_there else ""
        )
    term = lists.first(BlockList.TERMS, query, known)
    yield RuleAnswer(BlockList.TERMS, term is None, f"{term} of the {BlockList.TERMS}" if term else "")


def _of_user(ad: Ad, user: CheckedUser, instant: float) -> Iterator[RuleAnswer]:
    for name in ("country", "language", "device"):
        yield _of_value(name, ad, user)
    yield _of_time(ad, user, instant)
    yield _of_value("audiences", ad, user)


def _of_value(name: str, ad: Ad, user: CheckedUser) -> RuleAnswer:
    field = _WANTED[name]
    value, wanted = getattr(user, name), getattr(ad, field)
    if value is None or not wanted:
        return RuleAnswer(name, True)
    stated = value if isinstance(value, frozenset) else frozenset((value,))
    shown = ", ".join(sorted(stated)) or "none"
    told = f"it wants {field} {', '.join(wanted)}; the user's {name} is {shown}"
    return RuleAnswer(name, bool(stated & set(wanted)), told)


def _of_time(ad: Ad, user: CheckedUser, instant: float) -> RuleAnswer:
    if not ad.day_parts:
        return RuleAnswer("time", True)
    time = user.time
    shown = f"the user's time is {time:%A} {time:%H:%M}" if time else "the user's time is not known"
    told = f"it wants day parts {', '.join(ad.day_parts)}; {shown}"
    return RuleAnswer("time", is_open(ad.day_parts, user.hour_of_week, instant), told)


def _of_targeting(ad: Ad, user: CheckedUser) -> RuleAnswer:
    if not ad.targeting:
        return RuleAnswer("targeting", True)
    found = truth(parse_targeting(ad.targeting), user.stated)
    says = {True: "true", False: "false", None: "unknown, because the user did not state a value"}[found]
    return RuleAnswer("targeting", found is True, f"its targeting {ad.targeting} is {says}")
