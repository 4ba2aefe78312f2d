"""Dates as exports write them. Which of two numbers is the day is never guessed: other dates of the column show it."""

import re
from datetime import UTC, date, datetime
from functools import cache

_SHORT_DATE = r"(\d{1,2})([/-])(\d{1,2})\2(\d{4}|\d\d)(?:[ T,].*)?"
_MONTH_LOCALES = ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "sv", "da", "nb", "fi", "cs", "tr")


def date_order(values: list[str]) -> str:
    """Return whether dates such as 1/2/2026 have the day or the month first: "dmy", "mdy", or "" if it does not show.

    "same" if day and month are equal in all of them.
    """
    pairs = [match for value in values if (match := re.fullmatch(_SHORT_DATE, value.strip()))]
    day_first, month_first = any(int(pair[1]) > 12 for pair in pairs), any(int(pair[3]) > 12 for pair in pairs)
    if day_first == month_first:
        return "same" if pairs and all(pair[1] == pair[3] for pair in pairs) else ""
    return "dmy" if day_first else "mdy"


def read_date(value: str, order: str) -> date | None:
    """Return the date that a text says, None if it says none.

    It may be written in ISO 8601, with points (`31.12.2025`), with the name of the month, as seconds, milliseconds or
    microseconds since 1970, or with slashes or hyphens in `order`.
    """
    text = value.strip().partition("/")[0] if re.match(r"\s*\d{4}-\d", value) else value.strip()
    if re.fullmatch(r"\d{10}|\d{13}|\d{16}", text):
        return datetime.fromtimestamp(int(text) / 10 ** (len(text) - 10), UTC).date()
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        pass
    if match := re.fullmatch(
        r"(\d{4})[./-](\d{1,2})[./-](\d{1,2})(?:[ T].*)?|(\d{4})年(\d{1,2})月(\d{1,2})日?(?:\D.*)?", text
    ):
        year, month, day = (int(part) for part in match.groups() if part)
    elif match := re.fullmatch(r"(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4}|\d\d)(?:[ T,].*)?", text):
        day, month, year = map(int, match.groups())
    elif order and (match := re.fullmatch(_SHORT_DATE, text)):
        day, month, year = int(match[1]), int(match[3]), int(match[4])
        day, month = (month, day) if order == "mdy" else (day, month)
    else:
        return _with_month_name(text)
    try:
        return date(year if year > 99 else 2000 + year, month, day)
    except ValueError:
        return None


_NAMED_MONTH = re.compile(
    r"""(?:[^\W\d]+\.?,?\s+)?  # the day of the week
    (?: (?P<day>\d{1,2}) (?:st|nd|rd|th|er|º)? [\s.,-]* (?:de\s)? (?P<month>[^\W\d]+) [\s.,-]*
      | (?P<first>[^\W\d]+) [\s.,-]* (?P<later>\d{1,2}) (?:st|nd|rd|th)? [\s.,-]+ )
    (?:de\s|del\s)? (?P<year>\d{4}|\d\d) (?![\d:]) (?:[\s,].*)?""",
    re.VERBOSE,
)


def _with_month_name(text: str) -> date | None:
    match = _NAMED_MONTH.fullmatch(text)
    month = _months().get((match["month"] or match["first"]).casefold().rstrip(".")) if match else None
    if not match or month is None:
        return None
    year = int(match["year"])
    try:
        return date(year if year > 99 else 2000 + year, month, int(match["day"] or match["later"]))
    except ValueError:
        return None


@cache
def _months() -> dict[str, int]:
    """Return the number of each month by its names, long and short, in the languages of `MONTH_LOCALES`."""
    from babel import Locale  # here, because most dates have no names

    found: dict[str, int] = {"sept": 9}
    for locale in _MONTH_LOCALES:
        names = Locale.parse(locale).months
        for context in ("format", "stand-alone"):
            for width in ("wide", "abbreviated"):
                for number, name in names[context][width].items():
                    found.setdefault(name.casefold().rstrip("."), number)
    return found
