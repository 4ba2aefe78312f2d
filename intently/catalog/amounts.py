"""Amounts of money written as text: with a currency, with a decimal comma, with separators of thousands.

Whether a comma or a point is the decimal mark is never guessed. A column shows it if one of its values can be read in
one way only: `0,40`, `1.234,50`, `12.5`. Where every value can be read in both (`1.234`, `1,234`) it is asked about.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.problems import RowCheck, quote

NUMBER = r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_BOTH = r"^-?[1-9][0-9]{0,2}[.,][0-9]{3}$"  # 1.234: a thousand and more, or one and a bit
_SYMBOLS = {
    "$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "₹": "INR", "₩": "KRW", "₽": "RUB", "₺": "TRY", "zł": "PLN",
    "CN¥": "CNY", "元": "CNY", "RMB": "CNY", "円": "JPY", "C$": "CAD", "CA$": "CAD", "A$": "AUD", "AU$": "AUD",
    "Rs": "INR", "Rs.": "INR", "руб": "RUB", "руб.": "RUB", "Euro": "EUR", "euro": "EUR", "euros": "EUR",
    "yuan": "CNY", "US $": "USD", "人民币": "CNY", "美元": "USD", "欧元": "EUR", "R$": "BRL", "HK$": "HKD",
    "NT$": "TWD", "S$": "SGD", "CHF": "CHF", "Kč": "CZK", "₫": "VND", "฿": "THB",
}  # fmt: skip
# Symbols of several currencies. Shift-JIS has ¥ where ASCII has \, and Korean code pages have ₩ there.
_OPEN = {"¥": "JPY or CNY", "￥": "JPY or CNY", "\\": "JPY or KRW", "kr": "a krone", "Kr": "a krone"}
# Codes of currencies that names of columns end with, in small letters: `bid_usd`.
UNITS = ("usd", "eur", "gbp", "chf", "cny", "rmb", "jpy", "cad", "aud", "inr", "sek", "nok", "dkk", "pln", "brl", "mxn")
_UNIT = r"US \$|Rs\.?|руб\.?|[Ee]uros?|yuan|人民币|美元|欧元|[A-Z]{3}|[A-Z]{0,3}[$€£¥￥₹₩₽₺₫฿\\]|zł|Kč|[Kk]r\.?|元|円"
_AMOUNT = re.compile(
    rf"(-?)\s*(?P<before>{_UNIT})?\s*(-?[0-9][0-9.,' \u00a0\u202f\u2009’]*|-?[.,][0-9]+)(?P<none>[-–—]+)?"
    rf"\s*(?P<after>{_UNIT})?"
)
_CURE = "write a plain number of at least 0, such as 0.25"


@dataclass
class Decimals:
    """What is known of the numbers of one column so far: the decimal mark, and the currencies."""

    mark: str = ""  # "." or ",", "" if not known
    currencies: dict[str, int] = field(default_factory=dict)
    was_seen: bool = False  # whether a comma was read as the mark of decimals, which is worth saying


def is_plain(texts: pa.Array) -> bool:
    """Return whether all texts (N,) are numbers as programs write them, and none of them can be read in two ways."""
    filled = texts.filter(pc.not_equal(texts, ""))
    if not pc.all(pc.match_substring_regex(filled, NUMBER)).as_py():
        return len(filled) == 0
    points = filled.filter(pc.match_substring(filled, "."))
    return len(points) == 0 or not pc.all(pc.match_substring_regex(points, _BOTH)).as_py()


def read_amounts(values: Any, name: str, check: RowCheck, state: Decimals) -> Any:
    """Return texts (N,) as float64 (N,), null where there is none; rejects what is no amount or may be two.

    `state` is that of the column in earlier batches, and is changed.
    """
    texts = pc.utf8_trim_whitespace(pc.fill_null(values, ""))
    if state.mark in ("", ".") and is_plain(texts):
        if not state.mark and pc.any(pc.match_substring(texts, ".")).as_py():
            state.mark = "."
        return pc.if_else(pc.equal(texts, ""), None, texts).cast(pa.float64())
    distinct = texts.dictionary_encode()
    split = [_split(text) for text in distinct.dictionary.to_pylist()]
    numbers = [number for number, _ in split if number is not None]
    state.mark = state.mark or _mark_of(numbers)
    parsed = [None if number is None else _number(number, state.mark) for number, _ in split]
    indices = distinct.indices.to_numpy()
    for code, count in zip(*np.unique(indices, return_counts=True), strict=True):
        if currency := split[code][1]:
            state.currencies[currency] = state.currencies.get(currency, 0) + int(count)
    state.was_seen |= state.mark == ","

    def told(wrong: list[bool]) -> Any:
        return np.array([*wrong, False], dtype=np.bool_)[indices]

    is_empty = [text == "" for text in distinct.dictionary.to_pylist()]
    open_ones = [number is not None and value is None and bool(re.match(_BOTH, number))
                 for (number, _), value in zip(split, parsed, strict=True)]  # fmt: skip
    check.reject(
        told(open_ones),
        name,
        lambda row: f"{quote(texts[row].as_py())} may be a thousand and more, or one with decimals",
        "say what separates decimals: --decimal point, or --decimal comma",
    )
    wrong = [value is None and not empty for value, empty in zip(parsed, is_empty, strict=True)]
    check.reject(told(wrong), name, lambda row: f"{quote(texts[row].as_py())} is not a number", _CURE)
    return pa.array([*parsed, None], pa.float64()).take(pa.array(indices))


def _split(text: str) -> tuple[str | None, str]:
    """Return the number of an amount as it is written, without blanks, and its currency."""
    if not text or re.match(NUMBER, text):
        return text or None, ""
    match = _AMOUNT.fullmatch(text)
    if not match or (match["before"] and match["after"] and match["before"] != match["after"]):
        return None, ""
    unit = match["before"] or match["after"] or ""
    currency = _SYMBOLS.get(unit) or _OPEN.get(unit.rstrip(".")) or unit
    number = match[1] + re.sub(r"[' \u00a0\u202f\u2009’]", "", match[3])
    if match["none"]:  # 12,- has no cents
        if number[-1] not in ".,":
            return None, ""
        number += "00"
    return number, currency


def _mark_of(numbers: list[str]) -> str:
    """Return the decimal mark that numbers show, "" if they do not, or contradict each other."""
    marks = set()
    for number in numbers:
        points, commas = number.count("."), number.count(",")
        if points and commas:
            marks.add("." if number.rfind(".") > number.rfind(",") else ",")
        elif points + commas > 1:  # of thousands
            marks.add("," if points else ".")
        elif points + commas and not re.match(_BOTH, number):
            marks.add("." if points else ",")
    return marks.pop() if len(marks) == 1 else ""


def _number(number: str, mark: str) -> float | None:
    if "." not in number and "," not in number:
        return float(number)
    if not mark:
        return None
    thousands = "," if mark == "." else "."
    whole, _, _ = number.partition(mark)
    if number.count(mark) > 1 or (
        thousands in number and not re.fullmatch(rf"-?\d{{1,3}}(\{thousands}\d{{2,3}})+", whole)
    ):
        return None
    plain = number.replace(thousands, "").replace(mark, ".")
    return float(plain) if re.match(NUMBER, plain) else None
