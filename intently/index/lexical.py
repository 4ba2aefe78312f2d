"""The lexical channel: BM25 over the analyzer's terms, with unknown query terms corrected.

The posting weights are the finished term scores, so a query only adds them up. The catalog's statistics (how many ads
there are, how long they are, how many contain a term) are frozen at build time: ads that come later are scored by them,
and a term that no ad had counts as the rarest.
"""

import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, reduce
from pathlib import Path

import numpy as np

from intently.arrays import Float32Array, IntArray, Mask
from intently.errors import ArtifactError, SettingsError
from intently.files import write_text
from intently.index.bm25 import Statistics
from intently.index.postings import Postings
from intently.settings import check_range, from_mapping
from intently.text.analyze import Analyzer, Kind
from intently.text.fold import fold
from intently.text.language import AUTO
from intently.text.query_text import QueryReader, QueryText
from intently.text.spelling import Speller, WordTable


@dataclass(frozen=True)
class LexicalSettings:
    """BM25's two parameters, the stemmer's language, and whether unknown query terms are corrected."""

    k1: float = 0.9  # of BM25: how soon more of the same word stops counting
    b: float = 0.4  # of BM25: how much long texts are discounted, 0 to 1
    stemmer: str = "english"  # language of the stemmer, such as english, german, french; auto, in a build: the titles'
    correct_spelling: bool = True  # whether unknown words are also searched as their closest known one

    def __post_init__(self) -> None:
        check_range(self, "k1")
        check_range(self, "b", high=1)
        if self.stemmer != AUTO:
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
        words: Mapping[str, int] | None = None,
    ) -> None:
        """`statistics` are those that the weights were computed with; None if they are not known any more.

        `words` says how often which words are written, without accents; by default the terms, once an ad.
        """
        self.postings, self.settings, self.statistics = postings, settings, statistics
        self._terms = terms
        self._words = dict(zip(terms, postings.counts().tolist(), strict=True)) if words is None else dict(words)
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
        num_tokens: list[int] = []
        words: Counter[str] = Counter()
        for text in texts:
            tokens = analyzer.indexed(text)
            num_tokens.append(len(tokens))
            lengths.append(sum(token.kind is Kind.CONTENT for token in tokens))
            flat.extend(ids.setdefault(token.term, len(ids)) for token in tokens)
            words.update(token.word for token in tokens)
        num_ads, length, known = len(lengths), np.array(lengths, dtype=np.int64), list(ids)
        ad_rows = np.repeat(np.arange(num_ads), num_tokens)
        pairs, frequency = np.unique(np.array(flat, dtype=np.int64) * max(num_ads, 1) + ad_rows, return_counts=True)
        term_ids, rows = np.divmod(pairs, max(num_ads, 1))
        if statistics is None:
            num_with = np.bincount(term_ids, minlength=len(ids)).tolist()
            mean_length = float(length.mean()) if num_ads else 0.0
            statistics = Statistics(num_ads, mean_length, dict(zip(known, num_with, strict=True)))
        weights = statistics.idf(known)[term_ids] * statistics.saturated(
            frequency, length[rows], settings.k1, settings.b
        )
        postings = Postings.build(term_ids, rows, weights, len(ids), num_ads)
        folded: Counter[str] = Counter()
        for word, count in words.items():
            folded[fold(word)] += count
        return cls(known, postings, settings, statistics, folded)

    def concatenated(self, other: "LexicalIndex") -> "LexicalIndex":
        """Return an index of these ads and, after them, those of `other`, whose weights have the same statistics."""
        ids = dict(self._term_ids)
        keys = np.array([ids.setdefault(term, len(ids)) for term in other._terms], dtype=np.int64)
        postings = self.postings.concatenated(other.postings, keys, len(ids))
        words = Counter(self._words)
        words.update(other._words)
        return LexicalIndex(list(ids), postings, self.settings, self.statistics, words)

    def kept(self, mask: Mask) -> "LexicalIndex":
        """Return an index of the ads where `mask (N,)` holds, without terms that none of them contains."""
        postings = self.postings.kept(mask)
        used = postings.counts() > 0
        kept = np.flatnonzero(used).tolist()
        terms = [self._terms[row] for row in kept]
        share = dict(zip(terms, (postings.counts()[used] / self.postings.counts()[used]).tolist(), strict=True))
        stems = [self._analyzer.stem(word) for word in self._words]
        # How often each word is written in which ad is not known, so it is taken to go with its term.
        words = {
            word: max(1, round(count * share[stem]))
            for (word, count), stem in zip(self._words.items(), stems, strict=True)
            if stem in share
        }
        offsets = np.concatenate((postings.offsets[:1], postings.offsets[1:][used]))
        postings = Postings(offsets, postings.ad_rows, postings.weights, postings.num_ads)
        return LexicalIndex(terms, postings, self.settings, self.statistics, words)

    @cached_property
    def word_table(self) -> WordTable:
        """The words of the ads as they are written, which queries are corrected by; made when first asked for."""
        return WordTable(self._words, self._analyzer.stem)

    @cached_property
    def reader(self) -> QueryReader:
        """What reads queries for this index alone; see `query_reader`."""
        return query_reader([self])

    def analyze(self, query: str) -> LexicalQuery:
        """Return the known terms of a query."""
        return self.known(self.reader.read(query))

    def known(self, query: QueryText) -> LexicalQuery:
        """Return those terms of a query that this index has."""
        kept = [(term, weight) for term, weight in zip(query.terms, query.weights, strict=True) if term in self]
        term_ids = np.array([self._term_ids[term] for term, _ in kept], dtype=np.int64)
        return LexicalQuery(
            tuple(term for term, _ in kept), term_ids, np.array([weight for _, weight in kept], dtype=np.float32)
        )

    def num_ads_with(self, words: Sequence[str]) -> int:
        """Return how many ads have all of some words."""
        ids = [self._term_ids.get(self._analyzer.stem(word)) for word in words]
        if not ids or None in ids:
            return 0
        starts, rows = self.postings.offsets, self.postings.ad_rows
        return len(reduce(np.intersect1d, (rows[starts[each] : starts[each + 1]] for each in ids if each is not None)))

    def terms_of(self, ad_row: int) -> tuple[tuple[str, float], ...]:
        """Return the terms of one ad with their BM25 weights, largest first. Cost: one pass over all postings."""
        keys, weights = self.postings.of_ad(ad_row)
        pairs = zip(keys.tolist(), weights.tolist(), strict=True)
        return tuple((self._terms[key], weight) for key, weight in sorted(pairs, key=lambda pair: (-pair[1], pair[0])))

    def __contains__(self, term: str) -> bool:
        return term in self._term_ids

    def scores(self, query: LexicalQuery) -> Float32Array:
        """Return every ad's BM25 score (N,), 0 where no term matches."""
        return self.postings.scores(query.term_ids, query.counts)

    def ads_with(self, term: str) -> IntArray:
        """Return the rows of the ads that have a term, in order."""
        term_id = self._term_ids.get(term)
        return np.empty(0, dtype=np.int64) if term_id is None else self.postings.of(term_id)[0].astype(np.int64)

    def holds(self, terms: Sequence[str], ad_rows: IntArray) -> Mask:
        """Return which of some rows have which terms (C, T). Cost: a binary search for each term and row."""
        found = np.zeros((len(ad_rows), len(terms)), dtype=np.bool_)
        wanted = ad_rows.astype(np.int32)  # another type would have each term's rows converted before they are searched
        for at, term in enumerate(terms):
            term_id = self._term_ids.get(term)
            if term_id is not None:
                rows, _ = self.postings.of(term_id)
                place = np.minimum(rows.searchsorted(wanted), len(rows) - 1)
                found[:, at] = rows[place] == wanted
        return found

    def explain(self, query: LexicalQuery, ad_row: int) -> tuple[tuple[str, float], ...]:
        """Return the matched terms and what each adds to the ad's score, largest first."""
        found = self.postings.contributions(query.term_ids, query.counts, ad_row)
        return tuple((query.terms[position], share) for position, share in found)

    def save(self, directory: Path) -> None:
        """Write terms.json and postings.npz into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        content: dict[str, object] = {"settings": asdict(self.settings), "terms": self._terms, "words": self._words}
        if self.statistics:
            told = self.statistics.num_with
            num_with = [told.get(term, 0) for term in self._terms]
            content["statistics"] = {
                "num_ads": self.statistics.num_ads,
                "mean_length": self.statistics.mean_length,
                "num_with": num_with,
                "others": {term: number for term, number in told.items() if number and term not in self},
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
            words = content.get("words")  # indexes written before words were compared as written have none
            if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
                raise ValueError("the terms are no list of texts")
            if words is not None and not all(isinstance(count, int) for count in words.values()):
                raise ValueError("the words have no counts")
            if told := content.get("statistics"):  # indexes written before ads could be added have none
                of_terms = zip(terms, map(int, told["num_with"]), strict=True)
                num_with = {term: number for term, number in of_terms if number}
                num_with |= told.get("others", {})  # terms that ads had when the statistics were taken
                statistics = Statistics(int(told["num_ads"]), float(told["mean_length"]), num_with)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, SettingsError) as error:
            raise ArtifactError(f"{path} does not hold index terms ({error}); build the engine again") from error
        postings = Postings.load(directory / "postings.npz")
        if len(terms) != postings.num_keys:
            raise ArtifactError(
                f"{path} has {len(terms)} terms, the postings {postings.num_keys}; build the engine again"
            )
        index = cls(terms, postings, settings, statistics, words)
        _ = index.reader  # the first query should not wait for it
        return index


def query_reader(indexes: Sequence[LexicalIndex], known_words: Container[str] = frozenset()) -> QueryReader:
    """Return what reads queries for several indexes over parts of one catalog, with equal settings.

    `known_words` are right though no ad has them: see `Speller`. Make it once for all queries. Cost: microseconds.
    """
    analyzer = indexes[0]._analyzer
    if not indexes[0].settings.correct_spelling:
        return QueryReader(analyzer)

    def together(first: str, second: str) -> int:
        return sum(index.num_ads_with((first, second)) for index in indexes)

    tables = [index.word_table for index in indexes]
    return QueryReader(analyzer, Speller(tables, known_words, together, analyzer.stem))
