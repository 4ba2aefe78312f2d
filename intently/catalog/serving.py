"""Whether an ad may be served, from all that feeds say about it: status, review, stock, publication, dates.

Every such column gives one of the three statuses of an ad, and the strictest of them counts: `ended` before `paused`
before `active`. An empty value says nothing. A value that is not understood is an error of its row. Out of stock is
`paused`, because goods come back; removed, archived and expired are `ended`.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.arrays import IntArray
from intently.catalog.fields import Field
from intently.catalog.problems import RowCheck, quote

STATUSES = ("active", "paused", "ended")
ACTIVE, PAUSED, ENDED, UNKNOWN = 0, 1, 2, -1

_STATUS_WORDS = {
    "active": ACTIVE, "enabled": ACTIVE, "enable": ACTIVE, "eligible": ACTIVE, "running": ACTIVE, "serving": ACTIVE,
    "eligible (limited)": ACTIVE, "eligible (learning)": ACTIVE, "limited": ACTIVE, "on": ACTIVE, "true": ACTIVE,
    "1": ACTIVE, "yes": ACTIVE, "online": ACTIVE, "published": ACTIVE, "publish": ACTIVE, "delivering": ACTIVE,
    "启用": ACTIVE, "已启用": ACTIVE, "有效": ACTIVE, "投放中": ACTIVE, "上架": ACTIVE, "aktiv": ACTIVE,
    "paused": PAUSED, "pause": PAUSED, "inactive": PAUSED, "disabled": PAUSED, "draft": PAUSED, "pending": PAUSED,
    "off": PAUSED, "false": PAUSED, "0": PAUSED, "no": PAUSED, "suspended": PAUSED, "hidden": PAUSED,
    "not eligible": PAUSED, "incomplete": PAUSED, "campaign paused": PAUSED, "ad group paused": PAUSED,
    "campaign_paused": PAUSED, "adset_paused": PAUSED, "staging": PAUSED, "private": PAUSED, "unpublished": PAUSED,
    "暂停": PAUSED, "已暂停": PAUSED, "停用": PAUSED, "下架": PAUSED, "草稿": PAUSED, "pausiert": PAUSED,
    "-1": PAUSED,
    "ended": ENDED, "removed": ENDED, "deleted": ENDED, "archived": ENDED, "expired": ENDED, "completed": ENDED,
    "campaign removed": ENDED, "ad group removed": ENDED, "trash": ENDED, "discontinued": ENDED, "terminated": ENDED,
    "已删除": ENDED, "已结束": ENDED, "beendet": ENDED,
}  # fmt: skip
_REVIEW_WORDS = {
    "approved": ACTIVE, "approved (limited)": ACTIVE, "approved_limited": ACTIVE, "approved limited": ACTIVE,
    "active": ACTIVE, "activelimited": ACTIVE, "active limited": ACTIVE, "eligible": ACTIVE,
    "area of interest only": ACTIVE, "eligible (limited)": ACTIVE, "通过": ACTIVE, "已通过": ACTIVE, "审核通过": ACTIVE,
    "disapproved": PAUSED, "rejected": PAUSED, "not approved": PAUSED, "under review": PAUSED, "pending": PAUSED,
    "in review": PAUSED, "pending review": PAUSED, "pending_review": PAUSED, "inactive": PAUSED, "suspended": PAUSED,
    "approved (not serving)": PAUSED, "not serving": PAUSED, "limited by policy": PAUSED, "not eligible": PAUSED,
    "site suspended": PAUSED, "unknown": PAUSED, "拒绝": PAUSED, "未通过": PAUSED, "审核中": PAUSED,
}  # fmt: skip
_STOCK_WORDS = {
    "in stock": ACTIVE, "instock": ACTIVE, "available": ACTIVE, "preorder": ACTIVE, "pre order": ACTIVE,
    "backorder": ACTIVE, "on backorder": ACTIVE, "onbackorder": ACTIVE, "available for order": ACTIVE,
    "limited availability": ACTIVE, "limitedavailability": ACTIVE, "online only": ACTIVE, "true": ACTIVE, "yes": ACTIVE,
    "1": ACTIVE, "有货": ACTIVE, "现货": ACTIVE, "auf lager": ACTIVE, "presale": ACTIVE,
    "out of stock": PAUSED, "outofstock": PAUSED, "sold out": PAUSED, "soldout": PAUSED, "unavailable": PAUSED,
    "not available": PAUSED, "false": PAUSED, "no": PAUSED, "0": PAUSED, "缺货": PAUSED, "无货": PAUSED,
    "售罄": PAUSED, "nicht auf lager": PAUSED, "ausverkauft": PAUSED,
    "discontinued": ENDED,
}  # fmt: skip
_FLAGS = {
    "true": True, "1": True, "yes": True, "y": True, "t": True, "on": True, "是": True, "wahr": True, "ja": True,
    "false": False, "0": False, "no": False, "n": False, "f": False, "off": False, "-1": False, "否": False,
    "falsch": False, "nein": False,
}  # fmt: skip

STATUS_ALIASES = (
    "state", "ad_status", "ad_state", "item_status", "product_status", "listing_status", "effective_status",
    "configured_status", "delivery_status", "serving_status",
)  # fmt: skip
# Field → the names of columns that say it.
_COLUMNS = {
    **dict.fromkeys(STATUS_ALIASES[1:], ()),  # beside a status, each says something of its own
    "account_status": (),
    "campaign_status": ("campaign_state",),
    "ad_group_status": ("adgroup_status", "ad_set_status", "adset_status", "ad_group_state"),
    "approval_status": ("ad_approval_status", "approval", "policy_approval_status"),
    "editorial_status": (),
    "review_status": ("ad_review_status", "moderation_status", "ad_policy_status", "policy_status"),
    "availability": ("stock_status", "in_stock", "stock_availability", "is_in_stock", "availability_status"),
    "quantity": (
        "stock", "inventory", "quantity_to_sell_on_facebook", "stock_quantity", "inventory_quantity",
        "variant_inventory_qty", "qty", "stock_level",
    ),
    "visibility": ("visibility_in_catalog",),
    "published": ("is_published", "active", "is_active", "enabled", "is_enabled", "visible", "is_visible"),
    "deleted": ("is_deleted", "archived", "is_archived", "removed", "is_removed"),
    "paused": ("is_paused", "disabled", "is_disabled", "hidden", "is_hidden", "suspended"),
    "start_date": ("ad_start_date", "start_time", "starts_at", "valid_from", "start", "from_date"),
    "end_date": (
        "ad_end_date", "end_time", "ends_at", "expiration_date", "expiry_date", "expiration", "expires", "expires_at",
        "valid_until", "valid_to", "valid_through", "to_date", "expire_date",
    ),
    "campaign_start_date": (),
    "campaign_end_date": (),
    "excluded_destination": ("excluded_destinations",),
    "included_destination": ("included_destinations",),
}  # fmt: skip
SERVING_FIELDS = tuple(Field(name, "word", aliases) for name, aliases in _COLUMNS.items())
SERVING_NAMES = frozenset(field.name for field in SERVING_FIELDS)


def status_of(
    columns: dict[str, Any], check: RowCheck, today: date, named: Mapping[str, str], held: Counter[tuple[str, str, str]]
) -> None:
    """Put the strictest status that columns say into `columns["status"]`, and take the others of them out.

    `named` gives the names of columns in the file. `held` counts why ads are not active; rows whose values are not
    understood are rejected in `check`.
    """
    present = [name for name in (*SERVING_NAMES, "status") if name in columns]
    if not present:
        return
    codes = np.full(len(check.lines), ACTIVE, dtype=np.int8)
    for name in sorted(present, key=lambda name: (name != "status", name)):
        texts = pc.utf8_trim_whitespace(pc.fill_null(columns.pop(name), ""))
        distinct = texts.dictionary_encode()
        values = distinct.dictionary.to_pylist()
        read = _reader(name, values, today)
        told = [ACTIVE if says_nothing(value) else read(value) for value in values]
        found: npt.NDArray[np.int8] = np.array([*told, ACTIVE], dtype=np.int8)[distinct.indices.to_numpy()]
        indices = distinct.indices.to_numpy()
        if (found == UNKNOWN).any():
            told_name = "status" if name == "status" else named.get(name, name)
            problems = [f"unknown {told_name} {quote(value)}" for value in values]
            check.reject(found == UNKNOWN, name, _at(problems, indices), _cure(name))
        held_codes, counts = np.unique(indices[found > ACTIVE], return_counts=True)
        for code, count in zip(held_codes.tolist(), counts.tolist(), strict=True):
            held[(named.get(name, name), values[code], STATUSES[told[code]])] += count
        codes = np.maximum(codes, found)
    columns["status"] = pa.array(STATUSES).take(pa.array(codes.clip(0)))


def _at(problems: list[str], indices: IntArray) -> Callable[[int], str]:
    return lambda row: problems[indices[row]]


def read_status(value: str) -> int:
    """Return what a word says about the status of an ad, `UNKNOWN` if nobody says so."""
    return _STATUS_WORDS.get(_folded(value), UNKNOWN)


def _folded(value: str) -> str:
    return " ".join(re.sub(r"[\s_-]+", " ", value.lower()).split()) if value not in ("-1",) else value


def says_nothing(value: str) -> bool:
    """Return whether a word stands for no value."""
    return value.strip().lower() in ("", "--", "-", "n/a", "null", "none", "nan")


def _reader(name: str, values: list[str], today: date) -> Callable[[str], int]:
    if name in ("approval_status", "editorial_status", "review_status"):
        return lambda value: _REVIEW_WORDS.get(_folded(value), UNKNOWN)
    if name == "availability":
        return lambda value: _STOCK_WORDS.get(_folded(re.sub(r"^https?://schema\.org/", "", value.strip())), UNKNOWN)
    if name == "quantity":
        return _quantity
    if name == "visibility":
        return lambda value: _STATUS_WORDS.get(_folded(value), ACTIVE if _folded(value) in _SEEN else UNKNOWN)
    if name in ("published", "deleted", "paused"):
        return lambda value: _flag(name, value)
    if name in ("excluded_destination", "included_destination"):
        return lambda value: _destinations(value, excluded=name.startswith("excluded"))
    if name.endswith("_date"):
        order = date_order(values)
        return lambda value: _dated(value, order, today, is_start="start" in name)
    return read_status


_SEEN = ("visible", "catalog", "search", "catalog search", "both", "public", "shown", "everyone", "published")


def _quantity(value: str) -> int:
    try:
        return PAUSED if float(value.replace(",", "")) <= 0 else ACTIVE
    except ValueError:
        return _STOCK_WORDS.get(_folded(value), UNKNOWN)


def _flag(name: str, value: str) -> int:
    flag = _FLAGS.get(value.strip().lower())
    if flag is None:
        return read_status(value) if name == "published" else UNKNOWN
    if name == "published":
        return ACTIVE if flag else PAUSED
    return (ENDED if name == "deleted" else PAUSED) if flag else ACTIVE


def _destinations(value: str, *, excluded: bool) -> int:
    names = [_folded(each) for each in re.split(r"[,;|]", value) if each.strip()]
    with_ads = any("ads" in each.split() or each in ("shopping", "display", "all") for each in names)
    return PAUSED if with_ads == excluded else ACTIVE


def date_order(values: list[str]) -> str:
    """Return whether dates with slashes have the day or the month first: "dmy", "mdy", or "" if they do not show it."""
    pairs = [match for value in values if (match := re.match(r"\s*(\d{1,2})/(\d{1,2})/\d{4}\b", value))]
    day_first, month_first = any(int(pair[1]) > 12 for pair in pairs), any(int(pair[2]) > 12 for pair in pairs)
    if day_first == month_first:
        return "same" if pairs and all(pair[1] == pair[2] for pair in pairs) else ""
    return "dmy" if day_first else "mdy"


def read_date(value: str, order: str) -> date | None:
    """Return a date that is written in ISO 8601, with points (`31.12.2025`) or with slashes in `order`; None if not."""
    text = value.strip().partition("/")[0] if re.match(r"\s*\d{4}-\d", value) else value.strip()
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        pass
    if match := re.fullmatch(r"(\d{4})[./](\d{1,2})[./](\d{1,2})(?:[ T].*)?|(\d{4})年(\d{1,2})月(\d{1,2})日", text):
        year, month, day = (int(part) for part in match.groups() if part)
    elif match := re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?:[ T].*)?", text):
        day, month, year = map(int, match.groups())
    elif order and (match := re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})(?:[ T].*)?", text)):
        day, month, year = map(int, match.groups())
        day, month = (month, day) if order == "mdy" else (day, month)
    else:
        return None
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _dated(value: str, order: str, today: date, *, is_start: bool) -> int:
    found = read_date(value, order)
    if found is None:
        return UNKNOWN
    if is_start:
        return PAUSED if found > today else ACTIVE
    return ENDED if found < today else ACTIVE


def _cure(name: str) -> str:
    if name == "status":
        return f"use one of {', '.join(STATUSES)}"
    if name.endswith("_date"):
        return "write dates as 2026-12-31"
    if name in ("availability", "quantity"):
        return "use in_stock or out_of_stock, or a number of pieces"
    if name in ("published", "deleted", "paused"):
        return "use true or false"
    if name in ("approval_status", "editorial_status", "review_status"):
        return "use approved or disapproved"
    return f"use one of {', '.join(STATUSES)}, or map the column to ignore"
