"""What was understood of files of ads, to be looked at before a build."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from intently.catalog.ads import ReadResult
from intently.catalog.catalog import Catalog
from intently.catalog.problems import ProblemKind
from intently.catalog.serving_words import STATUSES
from intently.rules.conflicts import conflicts
from intently.rules.presets import PRESETS
from intently.text.normalize import normalize
from intently.types import Ad

_MAX_EXAMPLES = 3
_MAX_SAMPLES = 5
_MAX_TITLES = 20_000  # whose scripts are told
_MIN_WORDS = 4  # of a title, for one that differs in a single word to be nearly the same
_LONG_TITLE = 300  # characters; a title of more is a description, or stuffing
# Script → the language it shows, where it shows one.
_LANGUAGES = {"Han": "Chinese", "Kana": "Japanese", "Hangul": "Korean", "Thai": "Thai", "Greek": "Greek",
              "Hebrew": "Hebrew"}  # fmt: skip
_SCRIPTS = {"LATIN": "Latin", "CJK": "Han", "CYRILLIC": "Cyrillic", "ARABIC": "Arabic", "HIRAGANA": "Kana",
            "KATAKANA": "Kana", "HANGUL": "Hangul", "GREEK": "Greek", "HEBREW": "Hebrew", "THAI": "Thai",
            "DEVANAGARI": "Devanagari", "FULLWIDTH": "Latin"}  # fmt: skip


@dataclass(frozen=True)
class FileFound:
    """What one file is, and what its columns became."""

    path: str
    format: str
    layout: str
    num_rows: int
    num_ads: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    loud: tuple[str, ...]
    held: tuple[tuple[str, str, str, int], ...]  # column, value, status, ads


@dataclass(frozen=True)
class Check:
    """What a build would read. `would_build` is whether it would do; `why_not` says why, if it would not."""

    would_build: bool
    why_not: str
    files: tuple[FileFound, ...]
    num_ads: int
    statuses: Mapping[str, int]
    problems: tuple[ProblemKind, ...]
    num_wrong: int
    samples: tuple[Mapping[str, Any], ...]
    scripts: Mapping[str, float]  # script, and the language that it shows → share of titles
    same_titles: tuple[tuple[str, tuple[str, ...]], ...]  # a title, and the ads that have it; the first
    num_same_titles: int  # ads whose title an earlier ad has
    near_titles: tuple[tuple[str, str, str, str], ...]  # two ads, and their titles that differ in one word; the first
    num_near_titles: int  # ads whose title differs from an earlier ad's in one word, or in the order of words
    num_variants: int  # ads of groups
    num_groups: int
    long_titles: tuple[str, ...]  # ids of the first
    num_long_titles: int
    keyword_conflicts: tuple[tuple[str, str, str], ...]  # ad, keyword, the negative keyword that excludes it; the first
    num_keyword_conflicts: int

    def to_dict(self) -> dict[str, Any]:
        """Return the check as plain values, ready for JSON."""
        return asdict(self)


def check_ads(read: ReadResult, *, skip_bad: bool = False) -> Check:
    """Return what was understood of files that `read_all` has read. Cost: one pass over titles."""
    catalog = read.catalog
    statuses = {status: int(pc.sum(pc.equal(catalog.column("status"), status)).as_py() or 0) for status in STATUSES}
    titles = catalog.strings("title")
    same, num_same = _same_titles(catalog, titles)
    near, num_near = _near_titles(catalog, titles)
    groups = _groups(catalog)
    long = [row for row, title in enumerate(titles) if len(title) > _LONG_TITLE]
    conflicts = _conflicts(catalog)
    why_not = _why_not(read, statuses, skip_bad)
    files = tuple(
        FileFound(
            feed.place, feed.format, feed.layout, feed.num_rows, len(feed.lines), feed.notes, feed.warnings,
            feed.columns, feed.loud, feed.held,
        )
        for feed in read.feeds
    )  # fmt: skip
    return Check(
        not why_not,
        why_not,
        files,
        len(catalog),
        statuses,
        read.kinds,
        read.num_skipped,
        tuple(_shown(catalog.ad(row)) for row in _spread(len(catalog), _MAX_SAMPLES)),
        _script_shares(titles),
        same,
        num_same,
        near,
        num_near,
        sum(groups.values()),
        len(groups),
        tuple(catalog.ad_id(row) for row in long[:_MAX_EXAMPLES]),
        len(long),
        tuple(conflicts[:_MAX_EXAMPLES]),
        len(conflicts),
    )


def _why_not(read: ReadResult, statuses: Mapping[str, int], skip_bad: bool) -> str:
    if not len(read.catalog):
        return "there are no ads"
    if read.num_skipped and not skip_bad:
        return f"{read.num_skipped:,} rows are wrong; mend them, or leave them out with --skip-bad"
    if not statuses["active"]:
        return "no ad is active"
    return ""


def _spread(number: int, wanted: int) -> Sequence[int]:
    """Return positions from the first to the last."""
    return sorted(set(np.linspace(0, number - 1, min(number, wanted)).astype(int).tolist())) if number else ()


def _shown(ad: Ad) -> dict[str, Any]:
    """Return the fields of an ad that say something."""
    values = {name: value for name, value in asdict(ad).items() if name == "status" or value not in ("", (), None, {})}
    return {name: value[:200] + "…" if isinstance(value, str) and len(value) > 200 else value
            for name, value in values.items()}  # fmt: skip


def script_of(text: str) -> str:
    """Return the script of most letters of a text, as Unicode names it; Kana if it has any, "none" without letters."""
    scripts = Counter(
        _SCRIPTS.get(unicodedata.name(each, "").split(" ")[0], "other") for each in text if each.isalpha()
    )
    if scripts.get("Kana"):
        return "Kana"
    # A Chinese character is about as much as a short word of letters.
    weights = {name: number * (3 if name == "Han" else 1) for name, number in scripts.items()}
    return max(weights, key=lambda name: weights[name]) if weights else "none"


def _script_shares(titles: Sequence[str]) -> dict[str, float]:
    seen = [titles[row] for row in _spread(len(titles), _MAX_TITLES)]
    counts = Counter(script_of(title) for title in seen)
    named = {f"{name} ({_LANGUAGES[name]})" if name in _LANGUAGES else name: number for name, number in counts.items()}
    return {name: number / len(seen) for name, number in sorted(named.items(), key=lambda item: -item[1])}


def _same_titles(catalog: Catalog, titles: Sequence[str]) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], int]:
    """Return the titles that several ads have, whatever their case and width, and how many ads are not the first."""
    rows: dict[str, list[int]] = {}
    for row, title in enumerate(titles):
        rows.setdefault(normalize(title), []).append(row)
    shared = sorted((each for each in rows.values() if len(each) > 1), key=len, reverse=True)
    told = tuple(
        (titles[each[0]], tuple(catalog.ad_id(row) for row in each[:_MAX_EXAMPLES])) for each in shared[:_MAX_EXAMPLES]
    )
    return told, sum(len(each) - 1 for each in shared)


def _near_titles(catalog: Catalog, titles: Sequence[str]) -> tuple[tuple[tuple[str, str, str, str], ...], int]:
    """Return pairs of ads whose titles differ in one word or in the order of words, and how many ads have such a title.

    Of the first `_MAX_TITLES` ads. Titles that are equal are `_same_titles`, and variants of a group are none. Chinese
    characters are words.
    """
    groups = _group_of(catalog)
    first_of: dict[int, int] = {}
    seen: set[str] = set()
    told: list[tuple[str, str, str, str]] = []
    num_near = 0
    for row, title in enumerate(titles[:_MAX_TITLES]):
        text = normalize(title)
        words = sorted(re.findall(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+", text))
        if text in seen or len(words) < _MIN_WORDS:
            continue
        seen.add(text)
        keys = {hash((*words[:at], *words[at + 1 :])) for at in range(len(words))}
        earlier = next((first_of[key] for key in keys if key in first_of), None)
        for key in keys:
            first_of.setdefault(key, row)
        if earlier is not None and (groups.get(row) is None or groups.get(row) != groups.get(earlier)):
            num_near += 1
            if len(told) < _MAX_EXAMPLES:
                told.append((catalog.ad_id(earlier), catalog.ad_id(row), titles[earlier], title))
    return tuple(told), num_near


def _group_of(catalog: Catalog) -> dict[int, str]:
    payloads = catalog.column("payload").to_pylist()
    return {row: value for row, pairs in enumerate(payloads) for name, value in pairs or () if name == "group_id"}


def _groups(catalog: Catalog) -> Counter[str]:
    groups = Counter(_group_of(catalog).values())
    return Counter({group: number for group, number in groups.items() if number > 1})


def _conflicts(catalog: Catalog) -> list[tuple[str, str, str]]:
    """Return the keywords of ads that a negative keyword of the same ad excludes: all of its words are in them."""
    found = []
    negatives = catalog.column("negative_keywords")
    for row in pc.indices_nonzero(pc.list_value_length(negatives)).to_pylist():
        ad = catalog.ad(row)
        found += [(ad.ad_id, *pair) for pair in conflicts(ad.keywords, ad.negative_keywords, PRESETS["google"])]
    return found
