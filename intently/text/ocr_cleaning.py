"""Cleaning what OCR read on landing pages: surely read text stays, doubtful text is repaired or dropped.

A doubtful span is read again as a row of words that the domain knows, with the most probable misreadings in between: a
noisy channel, decoded exactly by dynamic programming (Shannon 1948; for spelling Kernighan, Church and Gale 1990). What
the lexicon leaves unknown a language model may repair, within a budget of edits. Numbers, prices and codes are taken as
they were read or dropped with their span, and never changed: nothing about an ad is invented here.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

from rapidfuzz.distance import Levenshtein

from intently.errors import SettingsError
from intently.settings import check_range
from intently.text.analyze import UNITS
from intently.text.lookalikes import HAN_SPECKS, NUMERALS, SPECKS
from intently.text.normalize import HAN, has_han, normalize
from intently.text.ocr_lexicon import LOOKALIKE_COST, MAX_HAN, MAX_LATIN, OcrLexicon, Reading
from intently.types import Span

Repair = Callable[[str], str]  # a language model's correction of one doubtful text

# What it costs to believe, in nats: that a space was lost; that a word is one nobody listed, and each letter of it.
_LOST_SPACE, _UNKNOWN, _UNKNOWN_LETTER, _UNKNOWN_HAN, _MARK = 3.0, 9.0, 1.6, 9.0, 2.0
_CACHE_SIZE, _CACHED_LENGTH = 200_000, 64  # chunks that are remembered, and the characters of the longest of them

MAX_DOUBTFUL = 10_000  # characters of doubtful spans that are read on one page

_LETTER = rf"[^\W\d_{HAN}]"
_CHUNK = re.compile(r"\S+")
# Letters and digits in one, such as X5-200. Linear: it begins only where they begin, and gives back nothing it took.
_CODE = re.compile(rf"(?<![^\W{HAN}])[^\W\d{HAN}]*+\d(?:[^\W{HAN}]|[-./,:×](?=[^\W{HAN}]))*+")
_NUMBER = re.compile(
    rf"{_CODE.pattern}|[{''.join(sorted(NUMERALS))}]"
    r"|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|half|double|hundred|thousand)\b"
)
_RUN = re.compile(rf"{_LETTER}+")
_HAN_CHARACTER = re.compile(rf"[{HAN}]")
_MEASURE = re.compile(r"\d+(\D+)")
_LETTERS = re.compile(rf"[{HAN}]|{_LETTER}")


class Fate(StrEnum):
    """What became of a span."""

    KEPT = "kept"  # read surely
    CONFIRMED = "confirmed"  # read doubtfully, but all of it is words that the domain knows
    LEXICON = "repaired by lexicon"
    MODEL = "repaired by model"
    DROPPED = "dropped"
    UNREAD = "over the budget"  # doubtful, and dropped unread: the page had too much that was


@dataclass(frozen=True)
class OcrSettings:
    """From which confidence a span is taken as it is, or looked at at all, and how far a repair may go."""

    high: float = 0.9  # confidence from which a span is taken as it is
    low: float = 0.3  # confidence below which a span is not looked at
    min_known: float = 0.8  # share of a repaired span's letters that must be in known words
    max_edits: float = 0.3  # of a span's characters, by the lexicon and by a language model

    def __post_init__(self) -> None:
        check_range(self, "high", "low", "min_known", "max_edits", high=1)
        if self.low > self.high:
            raise SettingsError(f"'low' is {self.low}, above 'high', {self.high}")


@dataclass(frozen=True, slots=True)
class CleanedSpan:
    """A span's text after cleaning (normalized if it was changed; empty if it was dropped) and what became of it."""

    text: str
    fate: Fate


@dataclass(frozen=True)
class OcrReport:
    """How many spans had which fate."""

    kept: int = 0
    confirmed: int = 0
    repaired_by_lexicon: int = 0
    repaired_by_model: int = 0
    dropped: int = 0
    unread: int = 0

    @classmethod
    def of(cls, fates: Iterable[Fate]) -> "OcrReport":
        """Count fates."""
        counts = Counter(fates)
        return cls(*(counts[fate] for fate in Fate))

    def __add__(self, other: "OcrReport") -> "OcrReport":
        return OcrReport(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def recovered(self) -> float:
        """The share of the doubtful spans that were not dropped; 0 if there was none."""
        saved = self.confirmed + self.repaired_by_lexicon + self.repaired_by_model
        return saved / (saved + self.dropped + self.unread) if saved else 0.0


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A chunk or span as the lexicon reads it."""

    text: str
    num_known: int  # letters in known words
    num_letters: int


class OcrCleaner:
    """Cleans spans against one lexicon. Keeps what it found out about chunks of text, so use one for many pages."""

    def __init__(self, lexicon: OcrLexicon, settings: OcrSettings, repair: Repair | None = None) -> None:
        """`repair` is asked for spans that the lexicon cannot repair.

        Its answer is taken if it is within `max_edits`, leaves all numbers, has no fewer letters in known words than
        the lexicon's reading of the span, and nothing that the lexicon would still repair.
        """
        self._lexicon, self.settings, self._repair = lexicon, settings, repair
        self._cache: dict[str, _Parsed] = {}

    def clean(self, span: Span) -> CleanedSpan:
        """Return what is left of one span, as if it were alone on its page.

        A new span takes about a millisecond, its chunks are remembered; time and memory are linear in its length.
        """
        return self._clean(span, MAX_DOUBTFUL)[0]

    def _clean(self, span: Span, budget: int) -> tuple[CleanedSpan, int]:
        """Return what is left of a span, and how many characters of the budget it took to find out."""
        if span.confidence >= self.settings.high:
            return CleanedSpan(span.text, Fate.KEPT), 0
        text = normalize(span.text)
        if span.confidence < self.settings.low or not _LETTERS.search(text):
            return CleanedSpan("", Fate.DROPPED), 0
        if len(text) > budget:
            return CleanedSpan("", Fate.UNREAD), 0
        return self._repaired(span, text), len(text)

    def _repaired(self, span: Span, text: str) -> CleanedSpan:
        read = self._read(text)
        if self._is_known(read) and self._within_budget(text, read.text):
            if read.text == text:
                return CleanedSpan(span.text, Fate.CONFIRMED)
            return CleanedSpan(read.text, Fate.LEXICON)
        if self._repair is not None:
            answer = normalize(self._repair(text))
            if self._is_supported(answer, text, read) and self._within_budget(text, answer):
                return CleanedSpan(answer, Fate.MODEL)
        return CleanedSpan("", Fate.DROPPED)

    def clean_page(self, spans: Sequence[Span]) -> tuple[str, OcrReport]:
        """Return the text of a page, its spans cleaned and joined by spaces, and what became of them.

        Reading doubtful text takes up to half a millisecond a character, so that a page has a budget of `MAX_DOUBTFUL`,
        counted once normalized: a doubtful span that does not fit into what is left is dropped unread, and reported so.
        """
        cleaned, budget = [], MAX_DOUBTFUL
        for span in spans:
            one, spent = self._clean(span, budget)
            cleaned.append(one)
            budget -= spent
        return " ".join(span.text for span in cleaned if span.text), OcrReport.of(span.fate for span in cleaned)

    def _is_known(self, read: _Parsed) -> bool:
        return read.num_letters > 0 and read.num_known >= self.settings.min_known * read.num_letters

    def _is_supported(self, answer: str, text: str, read: _Parsed) -> bool:
        """Return whether a model's answer to `text` says something new that the lexicon's own reading agrees with."""
        again = self._read(answer)
        is_settled = again.text == answer and again.num_known >= max(read.num_known, 1)
        return answer != text and is_settled and numbers_of(answer) == numbers_of(text)

    def _within_budget(self, text: str, repaired: str) -> bool:
        a, b = text.replace(" ", ""), repaired.replace(" ", "")
        return Levenshtein.distance(a, b) <= self.settings.max_edits * len(a)

    def _read(self, text: str) -> _Parsed:
        """Read a normalized text chunk by chunk, where two that make one known word are one."""
        chunks = _CHUNK.findall(text)
        parsed: list[_Parsed] = []
        at = 0
        while at < len(chunks):
            one = self._chunk(chunks[at])
            if at + 1 < len(chunks) and one.num_known < one.num_letters:
                joined = chunks[at] + chunks[at + 1]
                if joined in self._lexicon:
                    one, at = _Parsed(joined, len(joined), len(joined)), at + 1
            parsed.append(one)
            at += 1
        return _Parsed(
            " ".join(one.text for one in parsed if one.text),
            sum(one.num_known for one in parsed),
            sum(one.num_letters for one in parsed),
        )

    def _chunk(self, chunk: str) -> _Parsed:
        found = self._cache.get(chunk)
        if found is None:
            if len(chunk) > _CACHED_LENGTH:
                return self._parse(chunk)
            if len(self._cache) >= _CACHE_SIZE:
                self._cache.clear()
            found = self._cache[chunk] = self._parse(chunk)
        return found

    def _parse(self, chunk: str) -> _Parsed:
        """Return the cheapest way to read `chunk` as known words, unknown ones, codes and marks.

        `best[i]` is the cost of the cheapest reading of the first i characters, `last[i]` its last piece; infinite is
        that of an i that no piece ends at, as within a word, where no piece begins either.
        """
        length = len(chunk)
        codes = {code.start(): code.end() for code in _CODE.finditer(chunk) if not self._reads_as_word(code[0])}
        in_code = {at for start, end in codes.items() for at in range(start, end)}
        best = [0.0] + [math.inf] * length
        last: list[tuple[int, str, int]] = [(0, "", 0)] * (length + 1)  # start of the piece, its text, known letters

        def offer(start: int, end: int, text: str, known: int, cost: float) -> None:
            if best[start] + cost < best[end]:
                best[end], last[end] = best[start] + cost, (start, text, known)

        def offer_word(start: int, end: int, reading: Reading) -> None:
            joined = _is_latin(reading.word[0]) and _is_latin(last[start][1][-1:])
            text = f" {reading.word}" if joined else reading.word
            offer(start, end, text, len(reading.word), reading.cost + _LOST_SPACE * joined)

        for start in range(length):
            if start in codes:
                offer(start, codes[start], chunk[start : codes[start]], 0, 0.0)
            if start in in_code or best[start] == math.inf:
                continue
            if _HAN_CHARACTER.match(chunk, start):
                longest = MAX_HAN
                offer(start, start + 1, chunk[start], 0, _UNKNOWN_HAN)
            else:
                longest = MAX_LATIN
                if not _LETTERS.match(chunk, start):
                    offer(start, start + 1, _mark(chunk, start), 0, _MARK)
                elif start == 0 or not _is_latin(chunk[start - 1]):
                    run = _RUN.match(chunk, start)
                    assert run is not None
                    offer(start, run.end(), run[0], 0, _UNKNOWN + _UNKNOWN_LETTER * len(run[0]))
                    for reading in self._lexicon.nearest(run[0]):
                        offer_word(start, run.end(), reading)
            for end in range(start + 1, min(start + longest, length) + 1):
                if end - 1 in in_code:
                    break
                for reading in self._lexicon.readings(chunk[start:end]):
                    offer_word(start, end, reading)
        pieces, known, at = [], 0, length
        while at:
            at, text, num = last[at]
            pieces.append(text)
            known += num
        text = "".join(reversed(pieces))
        return _Parsed(text, known, len(_LETTERS.findall(_CODE.sub("", text))))

    def _reads_as_word(self, code: str) -> bool:
        """Return whether letters and digits in one are a misread word, such as "r0bot", and no code, such as "x5"."""
        digits = sum(char.isdigit() for char in code)
        if len(code) < 4 or digits * 3 > len(code) or re.search(r"\d\d", code) or code[-1].isdigit():
            return False
        measure = _MEASURE.fullmatch(code)
        if measure and (measure[1] in UNITS or measure[1] in self._lexicon):
            return False
        return any(reading.misreading <= digits * LOOKALIKE_COST for reading in self._lexicon.readings(code))


def numbers_of(text: str) -> list[str]:
    """Return the numbers and codes in a normalized text as they stand, in digits, Chinese or English."""
    return _NUMBER.findall(text)


def _mark(chunk: str, at: int) -> str:
    """Return what stays of a mark: of a speck nothing, or a space between letters; but it still parts numbers."""
    before, after = chunk[at - 1 : at], chunk[at + 1 : at + 2]
    if before.isdigit() or after.isdigit() or chunk[at] not in (HAN_SPECKS if has_han(before + after) else SPECKS):
        return chunk[at]
    return " " if _is_latin(before) and _is_latin(after) else ""


def _is_latin(char: str) -> bool:
    return char[-1:].isalpha() and not has_han(char)
