"""Lists as columns: split where they are written in one cell, and each element read as its field is."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.arrays import Mask
from intently.catalog.columns import MAX_LIST_LENGTH, MAX_OTHER_LENGTH
from intently.catalog.day_parts import parse_day_parts, split_zone
from intently.catalog.fields import Field
from intently.catalog.masks import mask_of
from intently.catalog.problems import RowCheck, quote
from intently.catalog.targeting_values import EVERYTHING, country, device, language
from intently.errors import InputError
from intently.rules.keyword import checked_negative
from intently.text.markup import plain_texts


def clean_list(values: Any, field: Field, check: RowCheck) -> Any:
    """Return lists (N,), from such or from texts, without empty elements; rejects rows with one that is wrong."""
    if pa.types.is_string(values.type):
        values = split_lists(values, field.name)
    items, rows = pc.fill_null(values.flatten(), ""), pc.list_parent_indices(values).to_numpy()
    if not len(items):
        return pa.ListArray.from_arrays(pa.array(np.zeros(len(values) + 1, dtype=np.int32)), items)
    if field.name == "keywords":
        items, had_markup = plain_texts(items)
        check.had_markup[rows[had_markup]] = True
    items = pc.utf8_trim_whitespace(items)
    filled = mask_of(pc.not_equal(items, ""))
    if field.name in ("countries", "languages", "devices"):
        is_all = mask_of(pc.is_in(pc.utf8_lower(items), pa.array(sorted(EVERYTHING))))
        filled &= ~np.isin(rows, rows[is_all])  # nothing is excluded
    items, rows = items.filter(pa.array(filled)), rows[filled]
    lengths = np.bincount(rows, minlength=len(values))
    too_many = f"over {MAX_LIST_LENGTH:,} elements"
    check.reject(lengths > MAX_LIST_LENGTH, field.name, too_many, "give fewer")

    def reject(wrong: Mask, problem: Callable[[str], str], cure: Callable[[str], str]) -> None:
        bad_rows, first = np.unique(rows[wrong], return_index=True)
        item_of = dict(zip(bad_rows.tolist(), np.flatnonzero(wrong)[first].tolist(), strict=True))
        mask = np.zeros(len(values), dtype=np.bool_)
        mask[bad_rows] = True

        def told(tell: Callable[[str], str]) -> Callable[[int], str]:
            return lambda row: tell(items[item_of[row]].as_py())

        check.reject(mask, field.name, told(problem), told(cure))

    too_long = mask_of(pc.greater(pc.utf8_length(items), MAX_OTHER_LENGTH))
    reject(too_long, lambda item: f"{quote(item)} is too long", lambda _: "shorten it")
    has_nul = mask_of(pc.match_substring(items, "\0"))
    reject(has_nul, lambda item: f"{quote(item)} holds a NUL character", lambda _: "remove it")
    if field.name in _FOLDS:
        distinct = pc.dictionary_encode(items)
        folded = [read_or_error(_FOLDS[field.name], text) for text in distinct.dictionary.to_pylist()]
        error_of = dict(zip(distinct.dictionary.to_pylist(), folded, strict=True))
        codes = distinct.indices.to_numpy()
        wrong = np.array([isinstance(each, InputError) for each in folded], dtype=np.bool_)[codes]
        reject(
            wrong,
            lambda item: getattr(error_of[item], "problem", ""),
            lambda item: _SEPARATOR_CURE if re.search("[,;/]", item) else getattr(error_of[item], "cure", ""),
        )
        known = pa.array(["" if isinstance(each, InputError) else each for each in folded], pa.string())
        items = known.take(distinct.indices)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), items)


_SEPARATOR_CURE = "separate the elements of a list by |"
_SEPARATORS = re.compile(r"(?<!\d)[,，]|[,，](?!\d)|[;；、\n]")  # but not a decimal comma


def split_lists(values: Any, name: str) -> Any:
    """Return texts (N,) as lists: split at bars, and if no text has one, at commas, semicolons and line breaks.

    Countries, languages and devices are split at these in any case, unless the whole is the name of one. Day parts are
    split at bars alone, as they hold commas.
    """
    fold = _FOLDS.get(name)
    has_bars = pc.any(pc.match_substring(values, "|")).as_py()
    if name == "day_parts" or not pc.any(pc.match_substring_regex(values, "[,;/，；、\n]")).as_py():
        return pc.split_pattern(values, "|")
    if fold is None and has_bars:
        return pc.split_pattern(values, "|")
    encoded = values.dictionary_encode()
    lists = []
    for text in encoded.dictionary.to_pylist():
        parts = text.split("|")
        if fold is None:
            lists.append(_SEPARATORS.split(text))
            continue
        lists.append([])
        for part in parts:
            is_one = _is_known(fold, part)
            pieces = [part] if is_one else re.split(r"[,;/，；、\n]", part)
            known = is_one or all(_is_known(fold, each) for each in pieces)
            lists[-1] += pieces if known else [part]
    return pa.array(lists, pa.list_(pa.string())).take(encoded.indices)


def _is_known(fold: Callable[[str], str], text: str) -> bool:
    """Return whether a text is empty, one element, or stands for all of them."""
    text = text.strip()
    return not text or text.lower() in EVERYTHING or not isinstance(read_or_error(fold, text), InputError)


def read_or_error(read: Callable[[str], str], text: str) -> str | InputError:
    """Return what a function reads in a text, or the error that it raises."""
    try:
        return read(text)
    except InputError as error:
        return error


def _day_part(text: str) -> str:
    parse_day_parts([text])
    hours, zone = split_zone(text)
    return f"{hours.lower()} {zone}" if zone else text.lower()


# field → how an element is read: as the targeting of users is
_FOLDS: dict[str, Callable[[str], str]] = {
    "countries": country,
    "languages": language,
    "devices": device,
    "day_parts": _day_part,
    "negative_keywords": checked_negative,
}
