"""Whether an ad may be served, from all that feeds say about it: status, review, stock, publication, dates.

Every such column gives one of the three statuses of an ad, and the strictest of them counts: `ended` before `paused`
before `active`. An empty value says nothing. A value that is not understood is an error of its row. Out of stock is
`paused`, because goods come back; removed, archived and expired are `ended`.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.arrays import IntArray
from intently.catalog.dates import date_order, read_date
from intently.catalog.fields import Field
from intently.catalog.problems import RowCheck, quote
from intently.catalog.serving_words import (
    ACTIVE,
    ENDED,
    FLAGS,
    NOTHING,
    PAUSED,
    REVIEW_WORDS,
    STATUS_WORDS,
    STATUSES,
    STOCK_WORDS,
    UNKNOWN,
)
from intently.text.normalize import has_han, normalize

STATUS_ALIASES = (
    "state", "ad_status", "ad_state", "item_status", "product_status", "listing_status", "effective_status",
    "configured_status", "delivery_status", "serving_status",
)  # fmt: skip
# What a column says → the names of such columns. Each is a field of its own, as a file may have several of them.
_ROLES = {
    "status": (
        *STATUS_ALIASES[1:], "account_status", "campaign_status", "campaign_state", "ad_group_status",
        "adgroup_status", "ad_set_status", "adset_status", "ad_group_state", "ad_set_run_status",
        "ad_set_delivery", "campaign_delivery", "run_status",
    ),
    "review": (
        "approval_status", "ad_approval_status", "approval", "policy_approval_status", "editorial_status",
        "review_status", "ad_review_status", "moderation_status", "ad_policy_status", "policy_status",
        "eligibility_status",
    ),
    "stock": (
        "availability", "stock_status", "in_stock", "stock_availability", "is_in_stock", "availability_status",
        "available", "is_available", "instock", "availability_us", "product_availability",
    ),
    "quantity": (
        "quantity", "stock", "inventory", "quantity_to_sell_on_facebook", "stock_quantity", "inventory_quantity",
        "variant_inventory_qty", "qty", "stock_level", "quantity_available", "available_quantity", "stock_qty",
    ),
    "visibility": ("visibility", "visibility_in_catalog", "catalog_visibility", "product_visibility"),
    "online": ("product_online",),  # of Magento
    "published": (
        "published", "is_published", "active", "is_active", "enabled", "is_enabled", "visible", "is_visible",
        "published_on_online_store", "product_visible", "is_online", "online", "allow_purchases", "purchasable",
        "is_purchasable", "buyable", "is_buyable", "sellable", "is_sellable", "is_for_sale", "is_live", "live",
    ),
    "deleted": ("deleted", "is_deleted", "archived", "is_archived", "removed", "is_removed", "discontinued"),
    "paused": (
        "paused", "is_paused", "pause", "disabled", "is_disabled", "hidden", "is_hidden", "suspended", "out_of_stock",
        "sold_out",
    ),
    "start": (
        "start_date", "ad_start_date", "start_time", "starts_at", "valid_from", "start", "from_date", "begin_date",
        "ad_group_start_date", "campaign_start_date", "ad_set_time_start", "ad_set_start_time", "campaign_start_time",
    ),
    "end": (
        "end_date", "ad_end_date", "end_time", "ends_at", "expiration_date", "expiry_date", "expiration", "expires",
        "expires_at", "valid_until", "valid_to", "valid_through", "to_date", "expire_date", "ad_group_end_date",
        "campaign_end_date", "expiry", "ad_set_time_stop", "ad_set_end_time", "campaign_stop_time", "campaign_end_time",
        "stop_time", "stop_date",
    ),
    "excluded": ("excluded_destination", "excluded_destinations"),
    "included": ("included_destination", "included_destinations"),
}  # fmt: skip
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names} | {"status": "status"}
SERVING_FIELDS = tuple(Field(name, "word") for name in _ROLE_OF if name != "status")
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
        read = _reader(_ROLE_OF[name], values, today)
        told = [ACTIVE if says_nothing(value) else read(value) for value in values]
        found: npt.NDArray[np.int8] = np.array([*told, ACTIVE], dtype=np.int8)[distinct.indices.to_numpy()]
        indices = distinct.indices.to_numpy()
        if (found == UNKNOWN).any():
            told_name = "status" if name == "status" else named.get(name, name)
            problems = [f"unknown {told_name} {quote(value)}" for value in values]
            cure = f'{_cure(_ROLE_OF[name])}; if the column says something else, --map "{named.get(name, name)}=ignore"'
            check.reject(found == UNKNOWN, name, _at(problems, indices), cure)
        held_codes, counts = np.unique(indices[found > ACTIVE], return_counts=True)
        for code, count in zip(held_codes.tolist(), counts.tolist(), strict=True):
            held[(named.get(name, name), values[code], STATUSES[told[code]])] += count
        codes = np.maximum(codes, found)
    columns["status"] = pa.array(STATUSES).take(pa.array(codes.clip(0)))


def _at(problems: list[str], indices: IntArray) -> Callable[[int], str]:
    return lambda row: problems[indices[row]]


def read_status(value: str) -> int:
    """Return what a word says about the status of an ad, `UNKNOWN` if nobody says so."""
    return _look_up(STATUS_WORDS, value)


def _look_up(words: Mapping[str, int], value: str) -> int:
    """Return what a word says, `UNKNOWN` if nobody says so.

    Details in brackets do not matter to an ad that is not served, nor do numbers and limits to one that is. What is so
    for the moment is so. Traditional Chinese characters may stand for simplified ones.
    """
    folded = _folded(value)
    for text in dict.fromkeys((folded, normalize(folded)) if has_han(folded) else (folded,)):
        for each in (text, re.sub(_FOR_THE_MOMENT, "", text)):
            if each in words:
                return words[each]
        if match := re.fullmatch(r"(.+?)\s*[(（](.+)[)）]", text):
            found = words.get(match[1], UNKNOWN)
            return UNKNOWN if found == ACTIVE and not re.match(_HARMLESS, match[2]) else found
    return UNKNOWN


_FOR_THE_MOMENT = r"^(temporarily|currently|derzeit|momentan|zurzeit|zur zeit|aktuell|暂时|目前|当前|temporairement) ?"
_HARMLESS = r"\d+\b|limited|learning|misconfigured|by |eingeschränkt|lernphase|limité|受限|学习"


def _folded(value: str) -> str:
    words = re.sub(r"[\s_-]+", " ", value.lower()).split() if value != "-1" else [value]
    return " ".join(words).rstrip(".!。！")


def says_nothing(value: str) -> bool:
    """Return whether a word stands for no value."""
    return value.strip().lower() in NOTHING


def _reader(role: str, values: list[str], today: date) -> Callable[[str], int]:
    if role == "review":
        return lambda value: _look_up(REVIEW_WORDS, value)
    if role == "stock":
        return lambda value: _look_up(STOCK_WORDS, re.sub(r"^https?://schema\.org/", "", value.strip()))
    if role == "quantity":
        return _quantity
    if role == "visibility":
        return _visible
    if role == "online":
        return lambda value: _MAGENTO.get(value.strip(), UNKNOWN)
    if role in ("published", "deleted", "paused"):
        return lambda value: _flag(role, value)
    if role in ("excluded", "included"):
        return lambda value: _destinations(value, excluded=role == "excluded")
    if role in ("start", "end"):
        order = date_order(values)
        return lambda value: _dated(value, order, today, is_start=role == "start")
    return read_status


_SEEN = (
    "visible", "catalog", "search", "catalog search", "catalog, search", "both", "public", "shown", "everyone",
    "published",
)  # fmt: skip
_UNSEEN = ("not visible individually", "not visible", "nowhere", "none", "nicht sichtbar", "einzeln nicht sichtbar")
_MAGENTO = {"1": ACTIVE, "2": PAUSED, "0": PAUSED}  # 2 is disabled


def _visible(value: str) -> int:
    folded = _folded(value)
    return ACTIVE if folded in _SEEN else PAUSED if folded in _UNSEEN else read_status(value)


def _quantity(value: str) -> int:
    plain = re.sub(r"^[><≥~≈]=?\s*|\s*\+$|^(mehr als|more than|over|über) ", "", value.strip().lower())
    plain = re.sub(r"\s*(pcs|pieces|units|stück|stk|st|件|个|個|台|pz|pièces)\.?$", "", plain)
    try:
        return PAUSED if float(plain.replace(",", "")) <= 0 else ACTIVE
    except ValueError:
        return _look_up(STOCK_WORDS, value)


def _flag(role: str, value: str) -> int:
    flag = FLAGS.get(value.strip().lower())
    if flag is None:
        return read_status(value) if role == "published" else UNKNOWN
    if role == "published":
        return ACTIVE if flag else PAUSED
    return (ENDED if role == "deleted" else PAUSED) if flag else ACTIVE


def _destinations(value: str, *, excluded: bool) -> int:
    names = [_folded(each) for each in re.split(r"[,;|]", value) if each.strip()]
    with_ads = any("ads" in each.split() or each in ("shopping", "display", "all") for each in names)
    return PAUSED if with_ads == excluded else ACTIVE


def _dated(value: str, order: str, today: date, *, is_start: bool) -> int:
    found = read_date(value, order)
    if found is None:
        return UNKNOWN
    if is_start:
        return PAUSED if found > today else ACTIVE
    return ENDED if found < today else ACTIVE


def _cure(role: str) -> str:
    if role in ("start", "end"):
        return "write dates as 2026-12-31"
    if role in ("stock", "quantity"):
        return "use in_stock or out_of_stock, or a number of pieces"
    if role in ("published", "deleted", "paused"):
        return "use true or false"
    if role == "review":
        return "use approved or disapproved"
    return f"use one of {', '.join(STATUSES)}"
