"""An index of keywords with match types: the keywords that match a query, and the rows that have them.

The traditional way from a query to ads. Every different keyword has one key, and a query computes the keys that can
match it: of an exact keyword all of its words, whatever their order; of a phrase its words side by side, which each run
of the query's words is compared with; of a broad one its rarest word. So the time does not grow with the number of
keywords, but with how many have what the query asks for. `intently.rules.match` then decides about the few that are
left, so that the index finds exactly what comparing every keyword would.

Shape letters: K different keywords, N rows, T words of a query, V words that may be misspelled, D keys of these.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intently.arrays import IntArray, Mask
from intently.errors import ArtifactError
from intently.files import atomic_write, read_arrays
from intently.index.ragged import Ragged
from intently.rules.keyword import Keyword, Match, has_match_type
from intently.rules.match import Found, chosen, find, is_misspelling, matches, may_be_misspelled
from intently.rules.presets import MatchRules
from intently.rules.variants import Reading, Variants, read

Keys = NDArray[np.uint64]

_KINDS = (Match.EXACT, Match.PHRASE, Match.BROAD)
_STEP, _SIZE = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)  # odd: of places, and of lengths
_SALTS = {
    (kind, has_all): np.uint64(0x165667B19E3779F9 * (3 + 2 * place + len(_KINDS) * 2 * has_all) % 2**64)
    for place, kind in enumerate(_KINDS)
    for has_all in (False, True)
}


@dataclass(frozen=True, eq=False)
class KeywordIndex:
    """K different keywords as they are written, and the rows that have each."""

    rules: MatchRules
    is_negative: bool
    num_ads: int
    texts: tuple[str, ...]  # (K,)
    keys: Keys  # (K,)
    has_all: Mask  # (K,): compared with all of its words, also those of function
    parts: Ragged  # K rows: keys of the words of broad keywords
    postings: Ragged  # K rows of row numbers
    lengths: IntArray  # of runs of words that keys are made of
    words: tuple[str, ...]  # (V,)

    @classmethod
    def build(cls, lists: Iterable[Sequence[str]], rules: MatchRules, *, is_negative: bool = False) -> "KeywordIndex":
        """Return the index of the keywords of N rows. Cost: about 20 µs a different keyword."""
        each = list(lists)
        number_of: dict[str, int] = {}
        ids = np.fromiter(
            (number_of.setdefault(text, len(number_of)) for text in chain.from_iterable(each)), dtype=np.int64
        )
        rows = np.repeat(np.arange(len(each)), np.fromiter(map(len, each), np.int64, len(each)))
        return cls._of(tuple(number_of), _posted(ids, rows, len(number_of)), len(each), rules, is_negative)

    @classmethod
    def of_match_types(cls, lists: Iterable[Sequence[str]], rules: MatchRules) -> "KeywordIndex | None":
        """Return the index of the keywords of N rows if any of them has the marks of a match type."""
        each = list(lists)
        marked = any(map(has_match_type, set(chain.from_iterable(each))))
        return cls.build(each, rules) if marked else None

    @classmethod
    def _of(
        cls, texts: tuple[str, ...], postings: Ragged, num_ads: int, rules: MatchRules, is_negative: bool
    ) -> "KeywordIndex":
        variants = rules.negative if is_negative else rules.positive
        keywords = [_keyword(rules, text, is_negative) for text in texts]
        read_as = [chosen(read(keyword.text, variants, rules.stemmer), variants) for keyword in keywords]
        parts = [
            [_run(part) for part in sorted(reading.part_set)] if keyword.match is Match.BROAD else []
            for keyword, (reading, _) in zip(keywords, read_as, strict=True)
        ]
        frequency = Counter(chain.from_iterable(parts))
        keys = np.zeros(len(texts), dtype=np.uint64)
        lengths: set[int] = set()
        words: dict[str, None] = {}
        for at, (keyword, (reading, has_all), own) in enumerate(zip(keywords, read_as, parts, strict=True)):
            if keyword.match is Match.EXACT:
                key = _whole(_hashes(reading.tokens), variants)
            elif keyword.match is Match.PHRASE:
                key = np.uint64(_run(reading.tokens))
                lengths.add(len(reading.tokens))
            else:
                key = np.uint64(min(own, key=lambda part: (frequency[part], part), default=0))
                lengths.update(map(len, reading.parts))
            keys[at] = key ^ _SALTS[keyword.match, has_all]
            if variants.misspellings:
                words.update((word, None) for word in reading.surfaces if may_be_misspelled(word))
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        flat = np.array(list(chain.from_iterable(parts)), dtype=np.uint64)
        return cls(
            rules,
            is_negative,
            num_ads,
            texts,
            keys,
            np.array([has_all for _, has_all in read_as], dtype=np.bool_),
            Ragged(offsets, flat),
            postings,
            np.array(sorted(lengths), dtype=np.int64),
            tuple(words),
        )

    @property
    def variants(self) -> Variants:
        """The differences that do not count."""
        return self.rules.negative if self.is_negative else self.rules.positive

    def keyword(self, number: int) -> Keyword:
        """Return one keyword, read."""
        return _keyword(self.rules, self.texts[number], self.is_negative)

    def rows(self, number: int) -> IntArray:
        """Return the rows that have a keyword, ascending."""
        return np.asarray(self.postings.values[self.postings.offsets[number] : self.postings.offsets[number + 1]])

    def found(self, query: str, known: Container[str] = frozenset()) -> list[tuple[int, Found]]:
        """Return the numbers of the keywords that match a query, ascending, and how. `known`: words spelled rightly."""
        rules = self.rules
        found = []
        for number in self.candidates(query, known).tolist():
            how = find(self.keyword(number), query, self.variants, known, rules.stemmer)
            if how is not None:
                found.append((number, how))
        return found

    def matching(self, query: str, known: Container[str] = frozenset()) -> list[int]:
        """Return the numbers of the keywords that match a query, ascending."""
        rules, variants = self.rules, self.variants
        candidates = self.candidates(query, known).tolist()
        return [one for one in candidates if matches(self.keyword(one), query, variants, known, rules.stemmer)]

    def candidates(self, query: str, known: Container[str] = frozenset()) -> IntArray:
        """Return the numbers of the keywords that may match a query, ascending: all that do, and seldom others."""
        readings = read(query, self.variants, self.rules.stemmer)
        views = {True: readings.full}
        if self.variants.function_words:
            views[False] = readings.content
        found = [self._candidates_of(view, has_all, known) for has_all, view in views.items() if view.tokens]
        return np.unique(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)

    def _candidates_of(self, asked: Reading, has_all: bool, known: Container[str]) -> IntArray:
        hashes = _hashes(asked.tokens)
        runs, wholes = _runs(hashes, self.lengths), [_whole(hashes, self.variants)]
        other_runs: list[Keys] = []
        longest = int(self.lengths[-1]) if len(self.lengths) else 1
        for at, meant in self._meant(asked, known):
            other = hashes.copy()
            other[at] = meant
            wholes.append(_whole(other, self.variants))
            other_runs.append(_runs(other[max(0, at - longest + 1) : at + longest], self.lengths))
        all_runs = np.concatenate((runs, *other_runs))
        found = [
            self._with_keys(np.array(wholes, dtype=np.uint64) ^ _SALTS[Match.EXACT, has_all]),
            self._with_keys(all_runs ^ _SALTS[Match.PHRASE, has_all]),
        ]
        broad = self._with_keys(all_runs ^ _SALTS[Match.BROAD, has_all])
        if len(broad):
            places, num_parts = self.parts.places(broad)
            parts, whose = self.parts.values[places], np.repeat(np.arange(len(broad)), num_parts)
            missing = ~np.isin(parts, runs)
            num_missing = np.bincount(whose[missing], minlength=len(broad))
            is_there = num_missing == 0
            if other_runs:
                misspelled = missing & np.isin(parts, np.concatenate(other_runs))
                is_there |= (num_missing == 1) & (np.bincount(whose[misspelled], minlength=len(broad)) == 1)
            found.append(broad[is_there])
        return np.concatenate(found)

    def _with_keys(self, wanted: Keys) -> IntArray:
        """Return the numbers of the keywords that have one of some keys."""
        order, keys = self._by_key
        wanted = np.unique(wanted)
        first, last = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
        spans = [order[start:end] for start, end in zip(first.tolist(), last.tolist(), strict=True) if end > start]
        return np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)

    @cached_property
    def _by_key(self) -> tuple[IntArray, Keys]:
        order = np.argsort(self.keys, kind="stable")
        return order, self.keys[order]

    def _meant(self, asked: Reading, known: Container[str]) -> list[tuple[int, int]]:
        """Return places of the query's words that may be misspelled, each with the hash of what may be meant."""
        found: list[tuple[int, int]] = []
        if not self.variants.misspellings or not self.words:
            return found
        keys, whose = self._shortened
        for at, word in enumerate(asked.surfaces):
            if not may_be_misspelled(word) or word in known:
                continue
            wanted = _hashes(_shortened(word))
            first, last = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
            spans = zip(first.tolist(), last.tolist(), strict=True)
            close = {int(number) for start, end in spans for number in whose[start:end]}
            others = (self.words[number] for number in sorted(close))
            meant = [other for other in others if is_misspelling(word, other, self.rules.stemmer)]
            found += [(at, _hash(self._token(other))) for other in meant]
        return found

    def _token(self, word: str) -> str:
        """Return a word as keywords are compared by it."""
        return read(word, self.variants, self.rules.stemmer).full.tokens[0]

    @cached_property
    def _shortened(self) -> tuple[Keys, IntArray]:
        """Keys (D,) of all words, whole and without one letter, ascending, and the words (D,) that they are of."""
        each = [_shortened(word) for word in self.words]
        keys = _hashes(tuple(chain.from_iterable(each)))
        whose = np.repeat(np.arange(len(each)), np.fromiter(map(len, each), np.int64, len(each)))
        order = np.argsort(keys, kind="stable")
        return keys[order], whose[order]

    def warmed(self) -> "KeywordIndex":
        """Return this index after computing everything that the first query would otherwise wait for."""
        _ = self._by_key, self._shortened
        return self

    def concatenated(self, other: "KeywordIndex") -> "KeywordIndex":
        """Return an index of these rows and, after them, those of `other`, which has the same rules. Cost: a copy."""
        number_of = {text: number for number, text in enumerate(self.texts)}
        num_own = len(number_of)
        renumbered = np.array([number_of.setdefault(text, len(number_of)) for text in other.texts], dtype=np.int64)
        is_new = renumbered >= num_own
        ids = np.concatenate((self._posted_ids, renumbered[other._posted_ids]))
        rows = np.concatenate((self.postings.values, other.postings.values + self.num_ads))
        new_parts = other.parts.kept(is_new)
        return KeywordIndex(
            self.rules,
            self.is_negative,
            self.num_ads + other.num_ads,
            tuple(number_of),
            np.concatenate((self.keys, other.keys[is_new])),
            np.concatenate((self.has_all, other.has_all[is_new])),
            self.parts.concatenated(new_parts),
            _posted(ids, rows, len(number_of)),
            np.union1d(self.lengths, other.lengths),
            tuple(dict.fromkeys(chain(self.words, other.words))),
        )

    def kept(self, mask: Mask) -> "KeywordIndex":
        """Return the rows where `mask (N,)` holds, in their order, and the keywords that any of them has."""
        stays = mask[self.postings.values]
        ids, rows = self._posted_ids[stays], (np.cumsum(mask) - 1)[self.postings.values[stays]]
        has_rows = np.zeros(len(self.texts), dtype=np.bool_)
        has_rows[ids] = True
        numbers = np.cumsum(has_rows) - 1
        texts = tuple(text for text, kept in zip(self.texts, has_rows.tolist(), strict=True) if kept)
        return KeywordIndex(
            self.rules,
            self.is_negative,
            int(mask.sum()),
            texts,
            self.keys[has_rows],
            self.has_all[has_rows],
            self.parts.kept(has_rows),
            _posted(numbers[ids], rows, len(texts)),
            self.lengths,
            self.words,
        )

    @property
    def _posted_ids(self) -> IntArray:
        return np.repeat(np.arange(len(self.texts)), np.diff(self.postings.offsets))

    def save(self, path: Path) -> None:
        """Write to one `.npz` file."""
        with atomic_write(path) as file:
            np.savez(
                file,
                told=_bytes(json.dumps([_told(self.rules), self.is_negative, self.num_ads])),
                texts=_bytes(json.dumps(self.texts, ensure_ascii=False)),
                words=_bytes(json.dumps(self.words, ensure_ascii=False)),
                keys=self.keys,
                has_all=self.has_all,
                part_offsets=self.parts.offsets,
                parts=self.parts.values,
                offsets=self.postings.offsets,
                rows=self.postings.values,
                lengths=self.lengths,
            )

    @classmethod
    def load(cls, path: Path, rules: MatchRules) -> "KeywordIndex":
        """Read what `save` wrote. If it was made by other rules, read its keywords again by these.

        Raises `ArtifactError` naming the file if it is not that.
        """
        names = ("told", "texts", "words", "keys", "has_all", "part_offsets", "parts", "offsets", "rows", "lengths")
        read_ones = read_arrays(path, names, "keywords")
        told, texts, words, keys, has_all, part_offsets, parts, offsets, rows, lengths = read_ones.values()
        try:
            (made_by, is_negative, num_ads), written, spelled = (
                json.loads(each.tobytes()) for each in (told, texts, words)
            )
            fits = len(written) == len(keys) == len(has_all) == len(part_offsets) - 1 == len(offsets) - 1
            fits &= part_offsets[-1] == len(parts) and offsets[-1] == len(rows)
        except (ValueError, TypeError, IndexError, UnicodeDecodeError):
            fits = False
        if not fits:
            raise ArtifactError(f"{path} does not hold keywords (its arrays do not fit); build the engine again")
        postings = Ragged(offsets, rows)
        if made_by != _told(rules):
            return cls._of(tuple(written), postings, num_ads, rules, is_negative)
        kept_parts = Ragged(part_offsets, parts)
        return cls(
            rules, is_negative, num_ads, tuple(written), keys, has_all, kept_parts, postings, lengths, tuple(spelled)
        )


def _keyword(rules: MatchRules, text: str, is_negative: bool) -> Keyword:
    return rules.negative_keyword(text) if is_negative else rules.keyword(text)


def _posted(ids: IntArray, rows: IntArray, num_keywords: int) -> Ragged:
    """Return for each keyword its rows, ascending, of pairs of a keyword's number and a row."""
    order = np.lexsort((rows, ids))
    ids, rows = ids[order], rows[order]
    is_first = np.ones(len(ids), dtype=np.bool_)  # an ad may name a keyword twice
    is_first[1:] = (ids[1:] != ids[:-1]) | (rows[1:] != rows[:-1])
    ids, rows = ids[is_first], rows[is_first]
    offsets = np.concatenate(([0], np.cumsum(np.bincount(ids, minlength=num_keywords)))).astype(np.int64)
    return Ragged(offsets, rows.astype(np.int32))


@lru_cache(maxsize=262_144)
def _hash(token: str) -> int:
    return int.from_bytes(hashlib.blake2b(token.encode(), digest_size=8).digest(), "little")


def _hashes(tokens: Sequence[str]) -> Keys:
    return np.array([_hash(token) for token in tokens], dtype=np.uint64)


def _run(tokens: tuple[str, ...]) -> int:
    """Return the key of tokens side by side."""
    (key,) = _runs(_hashes(tokens), np.array([len(tokens)])) if tokens else (0,)
    return int(key)


def _runs(hashes: Keys, lengths: IntArray) -> Keys:
    """Return the keys of all runs of tokens (T,) of some lengths."""
    wanted = set(lengths.tolist())
    longest = min(max(wanted, default=0), len(hashes))
    found: list[Keys] = []
    rolled = hashes
    with np.errstate(over="ignore"):
        for size in range(1, longest + 1):
            if size > 1:
                rolled = rolled[:-1] * _STEP + hashes[size - 1 :]
            if size in wanted:
                found.append(rolled + np.uint64(size) * _SIZE)
    return np.concatenate(found) if found else np.empty(0, dtype=np.uint64)


def _whole(hashes: Keys, variants: Variants) -> np.uint64:
    """Return the key of a whole text of tokens (T,): of their order only where it counts."""
    if variants.order:
        with np.errstate(over="ignore"):
            return np.uint64(hashes.sum(dtype=np.uint64) + np.uint64(len(hashes)) * _SIZE)
    keys = _runs(hashes, np.array([len(hashes)]))
    return np.uint64(keys[0]) if len(keys) else np.uint64(0)


def _shortened(word: str) -> tuple[str, ...]:
    """Return a word, whole and without each of its letters: what two words share that differ by one letter."""
    return tuple(dict.fromkeys((word, *(word[:at] + word[at + 1 :] for at in range(len(word))))))


def _told(rules: MatchRules) -> str:
    return repr(rules)


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)
