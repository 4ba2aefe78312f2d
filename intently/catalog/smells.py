"""Columns that nobody read, and whose names say that they may decide whether, where or for how much an ad is served."""

import json
import re
from collections.abc import Iterator
from typing import Any

from intently.catalog.fields import fold_name
from intently.catalog.header_words import in_english
from intently.catalog.serving import SERVING_NAMES
from intently.text.normalize import normalize

_WORDS = frozenset(
    ("status", "state", "stock", "availability", "available", "inventory", "bid", "bids", "cpc", "budget", "negative",
     "negatives", "exclude", "excluded", "date", "expiry", "expires", "expiration", "expired", "start", "end",
     "country", "countries", "region", "regions", "location", "locations", "geo", "market", "device", "devices",
     "language", "languages", "locale", "schedule", "pause", "paused", "deleted", "archived", "active", "enabled",
     "disabled", "suspended", "visible", "visibility", "hidden", "purchasable", "sellable", "approval", "approved",
     "policy")
)  # fmt: skip
# Where words are not parted by blanks, or are parts of longer ones.
_PARTS = re.compile(
    r"status|bestand|verf(ü|ue)gbar|disponib|gebot|ablauf|enddatum|startdatum|"
    r"\baktiv|_aktiv|sichtbar|gesperrt|pausiert|\bactif|\bactivo|\battivo|"
    r"状态|库存|出价|否定|日期|国家|地区|设备|语言|有效期|上架|下架|启用|暂停|在庫|ステータス|재고|상태"
)
_HARMLESS = frozenset(
    ("created_date", "date_created", "modified_date", "date_modified", "sale_price_effective_date",
     "date_sale_price_starts", "date_sale_price_ends", "availability_date", "low_stock_amount", "bidding_strategy",
     "bid_strategy", "bid_strategy_type", "country_of_origin", "stock_keeping_unit", "made_to_order", "tax_status",
     "tax_state")
)  # fmt: skip
_MAX_RECORDS = 200  # of a column that are looked into
_MAX_DEPTH = 3


def smells(name: str) -> bool:
    """Return whether the name of a column says that it may decide whether, where or for how much an ad is served."""
    folded = fold_name(name)
    english = in_english(name)
    return english not in _HARMLESS and (
        english == "match_type" or not _WORDS.isdisjoint(english.split("_")) or bool(_PARTS.search(normalize(folded)))
    )


def inside(column: str, values: Any) -> list[str]:
    """Return the names that smell inside a column (N,) of objects in JSON, `offers.availability`.

    Looks into the first `_MAX_RECORDS` of them.
    """
    found: dict[str, None] = {}
    for text in values.slice(0, _MAX_RECORDS).to_pylist():
        if text and text[0] in "[{":
            found |= dict.fromkeys(_names(json.loads(text), column, 0))
    return list(found)


def _names(value: Any, place: str, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for each in value:
            yield from _names(each, place, depth + 1)
    elif isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, dict | list):
                yield from _names(each, f"{place}.{name}", depth + 1)
            elif each not in (None, "") and (fold_name(name) in SERVING_NAMES or smells(name)):
                yield f"{place}.{name}"
