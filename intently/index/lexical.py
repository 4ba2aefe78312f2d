"""The lexical path: BM25 over the analyzer's terms, with unknown query terms corrected.

BM25 as in Robertson & Zaragoza (2009), idf = ln(1 + (N - n + ½) / (n + ½)); the posting weights are the finished term
scores, so a query only adds them up. The catalogue's statistics are frozen at build time.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from intently.errors import ArtifactError, SettingsError
from intently.index.postings import FloatArray, IntArray, Postings
from intently.settings import check_range, from_mapping
from intently.text.analyze import Analyzer
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
    counts: FloatArray


class LexicalIndex:
    """BM25 postings over N ads."""

    def __init__(self, terms: list[str], postings: Postings, settings: LexicalSettings) -> None:
        self.postings, self.settings = postings, settings
        self._terms = terms
        self._term_ids = {term: term_id for term_id, term in enumerate(terms)}
        self._analyzer = Analyzer(settings.stemmer)
        self._speller = Speller(dict(zip(terms, postings.counts().tolist(), strict=True)))

    @classmethod
    def build(cls, texts: Iterable[str], settings: LexicalSettings) -> "LexicalIndex":
        """Index one text an ad."""
        analyzer = Analyzer(settings.stemmer)
        ids: dict[str, int] = {}
        flat: list[int] = []
        lengths: list[int] = []
        for text in texts:
            terms = analyzer.terms(text)
            lengths.append(len(terms))
            flat.extend(ids.setdefault(term, len(ids)) for term in terms)
        num_ads, length = len(lengths), np.array(lengths, dtype=np.int64)
        ad_rows = np.repeat(np.arange(num_ads), length)
        pairs, frequency = np.unique(np.array(flat, dtype=np.int64) * max(num_ads, 1) + ad_rows, return_counts=True)
        term_ids, rows = np.divmod(pairs, max(num_ads, 1))
        num_with = np.bincount(term_ids, minlength=len(ids))
        idf = np.log1p((num_ads - num_with + 0.5) / (num_with + 0.5))
        relative = length[rows] / max(length.mean(), 1e-9) if num_ads else np.empty(0)
        saturated = frequency * (settings.k1 + 1) / (frequency + settings.k1 * (1 - settings.b + settings.b * relative))
        return cls(list(ids), Postings.build(term_ids, rows, idf[term_ids] * saturated, len(ids), num_ads), settings)

    def analyze(self, query: str) -> LexicalQuery:
        """Return the known terms of a query."""
        terms = self._analyzer.terms(query)
        if self.settings.correct_spelling:
            terms = [known for term in terms for known in self._speller.correct(term)]
        counts: dict[str, int] = {}
        for term in terms:
            if term in self._term_ids:
                counts[term] = counts.get(term, 0) + 1
        term_ids = np.array([self._term_ids[term] for term in counts], dtype=np.int64)
        return LexicalQuery(tuple(counts), term_ids, np.array(list(counts.values()), dtype=np.float32))

    def scores(self, query: LexicalQuery) -> FloatArray:
        """Return every ad's BM25 score (N,), 0 where no term matches."""
        return self.postings.scores(query.term_ids, query.counts)

    def explain(self, query: LexicalQuery, ad_row: int) -> tuple[tuple[str, float], ...]:
        """Return the matched terms and what each adds to the ad's score, largest first."""
        found = self.postings.contributions(query.term_ids, query.counts, ad_row)
        return tuple((query.terms[position], share) for position, share in found)

    def save(self, directory: Path) -> None:
        """Write terms.json and postings.npz into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        content = {"settings": asdict(self.settings), "terms": self._terms}
        (directory / "terms.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        self.postings.save(directory / "postings.npz")

    @classmethod
    def load(cls, directory: Path) -> "LexicalIndex":
        """Read what `save` wrote; raise `ArtifactError` naming the file if it is not that."""
        path = directory / "terms.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            settings, terms = from_mapping(LexicalSettings, content["settings"], "settings"), content["terms"]
            if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
                raise ValueError("the terms are no list of texts")
        except (OSError, ValueError, TypeError, KeyError, AttributeError, SettingsError) as error:
            raise ArtifactError(f"{path} does not hold index terms ({error}); build the engine again") from error
        postings = Postings.load(directory / "postings.npz")
        if len(terms) != postings.num_keys:
            raise ArtifactError(
                f"{path} has {len(terms)} terms, the postings {postings.num_keys}; build the engine again"
            )
        return cls(terms, postings, settings)
