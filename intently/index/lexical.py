"""The lexical channel: BM25 over the analyzer's terms, with unknown query terms corrected.

The posting weights are the finished term scores, so a query only adds them up. The catalogue's statistics (how many ads
there are, how long they are, how many contain a term) are frozen at build time: ads that come later are scored by them,
and a term that no ad had counts as the rarest.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from intently.arrays import Float32Array, IntArray, Mask
from intently.errors import ArtifactError, SettingsError
from intently.files import write_text
from intently.index.bm25 import Statistics
from intently.index.postings import Postings
from intently.settings import check_range, from_mapping
from intently.text.analyze import Analyzer
from intently.text.normalize import has_han
from intently.text.spelling import Speller


@dataclass(frozen=True)
class LexicalSettings:
    """BM25's two parameters, the stemmer's language, and whether unknown query terms are corrected."""

    k1: float = 0.9
    b: float = 0.4
    stemmer: str = "english"
    correct_spelling: bool = True

    def __post_init__(self) -> None:
        check_range(self, "k1")
        check_range(self, "b", high=1)
        Analyzer(self.stemmer)  # which refuses an unknown one


@dataclass(frozen=True)
class LexicalQuery:
    """A query as the index sees it: distinct known terms, their ids and multiplicities."""

    terms: tuple[str, ...]
    term_ids: IntArray
    counts: Float32Array


class LexicalIndex:
    """BM25 postings over N ads."""

    def __init__(
        self,
        terms: list[str],
        postings: Postings,
        settings: LexicalSettings,
        statistics: Statistics | None,
        written: Sequence[str] | None = None,
    ) -> None:
        """`statistics` are those that the weights were computed with; None if they are not known any more.

        `written` has for each term the word that it is most often written as, by default the term itself.
        """
        self.postings, self.settings, self.statistics = postings, settings, statistics
        self._terms, self._written = terms, terms if written is None else list(written)
        self._term_ids = {term: term_id for term_id, term in enumerate(terms)}
        self._analyzer = Analyzer(settings.stemmer)

    @classmethod
    def build(
        cls, texts: Iterable[str], settings: LexicalSettings, statistics: Statistics | None = None
    ) -> "LexicalIndex":
        """Index one text an ad, with the statistics of these texts unless others are given."""
        analyzer = Analyzer(settings.stemmer)
        ids: dict[str, int] = {}
        flat: list[int] = []
        lengths: list[int] = []
        spellings: Counter[tuple[str, str]] = Counter()
        for text in texts:
            words, terms = analyzer.written_terms(text)
            lengths.append(len(terms))
            flat.extend(ids.setdefault(term, len(ids)) for term in terms)
            spellings.update(zip(terms, words, strict=True))
        num_ads, length, known = len(lengths), np.array(lengths, dtype=np.int64), list(ids)
        ad_rows = np.repeat(np.arange(num_ads), length)
        pairs, frequency = np.unique(np.array(flat, dtype=np.int64) * max(num_ads, 1) + ad_rows, return_counts=True)
        term_ids, rows = np.divmod(pairs, max(num_ads, 1))
        if statistics is None:
            num_with = np.bincount(term_ids, minlength=len(ids)).tolist()
            mean_length = float(length.mean()) if num_ads else 0.0
            statistics = Statistics(num_ads, mean_length, dict(zip(known, num_with, strict=True)))
        weights = statistics.idf(known)[term_ids] * statistics.saturated(
            frequency, length[rows], settings.k1, settings.b
        )
        written = {term: word for (term, word), _ in sorted(spellings.items(), key=lambda each: (each[1], each[0]))}
        postings = Postings.build(term_ids, rows, weights, len(ids), num_ads)
        return cls(known, postings, settings, statistics, [written[term] for term in known])

    def concatenated(self, other: "LexicalIndex") -> "LexicalIndex":
        """Return an index of these ads and, after them, those of `other`, whose weights have the same statistics."""
        ids = dict(self._term_ids)
        keys = np.array([ids.setdefault(term, len(ids)) for term in other._terms], dtype=np.int64)
        postings = self.postings.concatenated(other.postings, keys, len(ids))
        written = self._written + [other._written[row] for row in np.flatnonzero(keys >= len(self._terms)).tolist()]
        return LexicalIndex(list(ids), postings, self.settings, self.statistics, written)

    def kept(self, mask: Mask) -> "LexicalIndex":
        """Return an index of the ads where `mask (N,)` holds, without terms that none of them contains."""
        postings = self.postings.kept(mask)
        used = postings.counts() > 0
        kept = np.flatnonzero(used).tolist()
        terms, written = ([words[row] for row in kept] for words in (self._terms, self._written))
        offsets = np.concatenate((postings.offsets[:1], postings.offsets[1:][used]))
        left = Postings(offsets, postings.ad_rows, postings.weights, postings.num_ads)
        return LexicalIndex(terms, left, self.settings, self.statistics, written)

    @cached_property
    def speller(self) -> Speller:
        """What corrects terms against those of this index; made when first asked for."""
        return Speller(dict(zip(self._terms, self.postings.counts().tolist(), strict=True)))

    def analyze(self, query: str) -> LexicalQuery:
        """Return the known terms of a query."""
        return analyze([self], query)[0]

    def known(self, terms: Sequence[str]) -> LexicalQuery:
        """Return those of a query's `terms` that this index has."""
        counts: dict[str, int] = {}
        for term in terms:
            if term in self._term_ids:
                counts[term] = counts.get(term, 0) + 1
        term_ids = np.array([self._term_ids[term] for term in counts], dtype=np.int64)
        return LexicalQuery(tuple(counts), term_ids, np.array(list(counts.values()), dtype=np.float32))

    def __contains__(self, term: str) -> bool:
        return term in self._term_ids

    def scores(self, query: LexicalQuery) -> Float32Array:
        """Return every ad's BM25 score (N,), 0 where no term matches."""
        return self.postings.scores(query.term_ids, query.counts)

    def explain(self, query: LexicalQuery, ad_row: int) -> tuple[tuple[str, float], ...]:
        """Return the matched terms and what each adds to the ad's score, largest first."""
        found = self.postings.contributions(query.term_ids, query.counts, ad_row)
        return tuple((query.terms[position], share) for position, share in found)

    def save(self, directory: Path) -> None:
        """Write terms.json and postings.npz into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        content: dict[str, object] = {"settings": asdict(self.settings), "terms": self._terms, "written": self._written}
        if self.statistics:
            num_with = [self.statistics.num_with.get(term, 0) for term in self._terms]
            content["statistics"] = {
                "num_ads": self.statistics.num_ads,
                "mean_length": self.statistics.mean_length,
                "num_with": num_with,
            }
        write_text(directory / "terms.json", json.dumps(content, ensure_ascii=False))
        self.postings.save(directory / "postings.npz")

    @classmethod
    def load(cls, directory: Path) -> "LexicalIndex":
        """Read what `save` wrote; raise `ArtifactError` naming the file if it is not that."""
        path = directory / "terms.json"
        statistics = None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            settings, terms = from_mapping(LexicalSettings, content["settings"], "settings"), content["terms"]
            written = content.get("written", terms)  # indexes written before queries were corrected have none
            for words in (terms, written):
                if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                    raise ValueError("the terms are no list of texts")
            if len(terms) != len(written):
                raise ValueError(f"{len(terms)} terms are written as {len(written)} words")
            if told := content.get("statistics"):  # indexes written before ads could be added have none
                num_with = dict(zip(terms, map(int, told["num_with"]), strict=True))
                statistics = Statistics(int(told["num_ads"]), float(told["mean_length"]), num_with)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, SettingsError) as error:
            raise ArtifactError(f"{path} does not hold index terms ({error}); build the engine again") from error
        postings = Postings.load(directory / "postings.npz")
        if len(terms) != postings.num_keys:
            raise ArtifactError(
                f"{path} has {len(terms)} terms, the postings {postings.num_keys}; build the engine again"
            )
        index = cls(terms, postings, settings, statistics, written)
        _ = index.speller  # the first query should not wait for it
        return index


def analyze(indexes: Sequence[LexicalIndex], query: str) -> list[LexicalQuery]:
    """Return a query's known terms for each of several indexes over parts of one catalogue, with equal settings.

    A term that any of them has is known. The others are corrected by the first index that can.
    """
    settings = indexes[0].settings
    terms = indexes[0]._analyzer.terms(query)
    if settings.correct_spelling:
        terms = [known for term in terms for known in _corrected(indexes, term)]
    return [index.known(terms) for index in indexes]


def corrected(indexes: Sequence[LexicalIndex], query: str) -> str:
    """Return a query with the words that no ad has written as what they most likely mean: what a model should read.

    Words that have no correction stay, and so does Chinese, which is written without spaces.
    """
    if not indexes[0].settings.correct_spelling:
        return query
    return " ".join(_rewritten(indexes, word) for word in query.split())


def _rewritten(indexes: Sequence[LexicalIndex], word: str) -> str:
    terms = indexes[0]._analyzer.terms(word)
    meant = [_corrected(indexes, term) for term in terms]
    if has_han(word) or not all(meant) or all((term,) == parts for term, parts in zip(terms, meant, strict=True)):
        return word
    return " ".join(_written(indexes, part) for parts in meant for part in parts)


def _written(indexes: Sequence[LexicalIndex], term: str) -> str:
    return next((index._written[index._term_ids[term]] for index in indexes if term in index), term)


def _corrected(indexes: Sequence[LexicalIndex], term: str) -> tuple[str, ...]:
    if any(term in index for index in indexes):
        return (term,)
    return next(filter(None, (index.speller.correct(term) for index in indexes)), ())
