"""Candidate intentions: what users clicked through, advertisers bid on, and titles say.

An intention is identified by the stems of all its words, so that "drill bits" and "Drill Bit" are one, and "the who",
"IT support" and "AT&T" stay what they say; its text writes every term in the catalog's most frequent form. A phrase
of a title neither begins nor ends with a stop word. Words that many titles have ("door", "white") and bare numbers are
intentions too: queries tell the wanted ads from the others by them, and idf weighs them. Phrases are found level by
level as frequent n-grams (an n-gram can only be frequent when both its (n-1)-grams are), with arrays, not a dictionary
of strings: the cost is a few sorts of as many integers as the catalog has words.
"""

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from enum import IntFlag

import numpy as np

from intently.arrays import Float64Array, IntArray
from intently.settings import check_range
from intently.text.analyze import STOP_WORDS, UNITS, Analyzer
from intently.text.normalize import has_han

# For each ad what a language model said of it: texts with natural log-probabilities.
Taught = Sequence[Sequence[tuple[str, float]]]


@dataclass(frozen=True)
class CandidateSettings:
    """What may become an intention."""

    max_words: int = 4  # of a title phrase
    max_query_words: int = 6  # of a clicked query or bid keyword
    min_ads: int = 2  # ads that must contain a title phrase
    max_ad_share: float = 0.5  # share of the catalog that one intention may literally reach ...
    max_ad_floor: int = 25  # ... but never fewer ads than this, for small catalogs

    def __post_init__(self) -> None:
        check_range(self, "max_words", "max_query_words", "min_ads", low=1)
        check_range(self, "max_ad_floor", low=0)
        check_range(self, "max_ad_share", high=1)


class Source(IntFlag):
    """Where a candidate comes from; it may come from several."""

    TITLE = 1
    QUERY = 2  # a whole clicked query
    KEYWORD = 4  # bid on
    TEACHER = 8  # what a language model said of an ad


@dataclass(frozen=True)
class Candidates:
    """C candidate intentions, and which ads and queries they belong to.

    `ad_pairs` (P, 2) holds distinct (candidate, ad_row): the ad's title contains the phrase, bids on it, or was clicked
    for it. `query_pairs` (R, 2) holds distinct (candidate, query_row): the query contains the phrase or is it.
    `taught_pairs` (T, 2) holds distinct (candidate, ad_row) that a language model said, with `taught_log_probs` (T,).
    """

    texts: tuple[str, ...]
    num_words: IntArray  # (C,)
    ad_pairs: IntArray
    query_pairs: IntArray
    taught_pairs: IntArray
    taught_log_probs: Float64Array
    sources: IntArray  # (C,) of `Source` flags


class _Corpus:
    """Texts as one flat array of term ids, documents separated by -1, so that n-grams never cross documents."""

    def __init__(self, analyzer: Analyzer) -> None:
        self.analyzer = analyzer
        self.term_ids: dict[str, int] = {}
        self.forms: list[Counter[str]] = []
        self._flat: list[int] = []
        self._documents: list[int] = []

    def add(self, text: str, document: int) -> None:
        for word, term in self.analyzer.phrase(text):
            term_id = self.term_id(term)
            self.forms[term_id][word] += 1
            self._flat.append(term_id)
            self._documents.append(document)
        self._flat.append(-1)
        self._documents.append(document)

    def term_id(self, term: str) -> int:
        term_id = self.term_ids.setdefault(term, len(self.term_ids))
        if term_id == len(self.forms):
            self.forms.append(Counter())
        return term_id

    def arrays(self) -> tuple[IntArray, IntArray]:
        return np.array(self._flat, dtype=np.int64), np.array(self._documents, dtype=np.int64)


def mine_candidates(
    ad_texts: Sequence[str],
    keywords: Iterable[Sequence[str]],
    queries: Sequence[str],
    clicks: IntArray,
    analyzer: Analyzer,
    settings: CandidateSettings,
    taught: Taught = (),
) -> Candidates:
    """Collect candidates from ad titles, their bid keywords, clicked queries, and what a language model said of ads.

    `clicks` (P, 2) holds (query_row, ad_row), rows of `queries` and of `ad_texts`. A clicked query, a keyword or what a
    model said becomes a candidate as a whole if every word of it is known to some title or to several queries, which
    keeps misspellings and inventions out.
    """
    corpus = _Corpus(analyzer)
    num_ads = len(ad_texts)
    stop_terms = {corpus.term_id(stem): word for word in sorted(STOP_WORDS) for stem in (analyzer.stem(word),)}
    for ad_row, text in enumerate(ad_texts):
        corpus.add(text, ad_row)
    for query_row, query in enumerate(queries):
        corpus.add(query, num_ads + query_row)
    flat, documents = corpus.arrays()
    spelling = [_preferred(forms) if forms else stop_terms[term] for term, forms in enumerate(corpus.forms)]

    units = [stem for _, stem in analyzer.phrase(" ".join(sorted(UNITS)))]
    unit_terms = np.array([corpus.term_ids[unit] for unit in units if unit in corpus.term_ids], dtype=np.int64)
    index = _PhraseIndex(flat, documents, num_ads, unit_terms, np.array(list(stop_terms)), settings)
    texts_terms: list[tuple[int, ...]] = index.phrases()
    pairs: list[IntArray] = [index.pairs()]
    row_of = {terms: row for row, terms in enumerate(texts_terms)}

    known = np.zeros(len(corpus.forms), dtype=np.int64)
    distinct = np.unique(np.stack((flat, documents), axis=1)[flat >= 0], axis=0)
    in_ad = distinct[:, 1] < num_ads
    np.add.at(known, distinct[in_ad, 0], 3)  # one title vouches for a word ...
    np.add.at(known, distinct[~in_ad, 0], 1)  # ... or three queries
    known[list(stop_terms)] = 3

    def whole(text: str, *, stop_words_alone: bool = True) -> int | None:
        """Return the candidate that is the whole text, adding it when it is new; None if the text is none."""
        ids = [corpus.term_ids.get(term) for _, term in analyzer.phrase(text)]
        terms = tuple(term for term in ids if term is not None)
        num_words = len(ids) - sum(term in stop_terms for term in ids)
        if not ids or max(num_words, len(ids) // 2) > settings.max_query_words:
            return None
        if not num_words and not stop_words_alone:
            return None
        if len(terms) < len(ids) or any(known[term] < 3 for term in terms):
            return None
        row = row_of.setdefault(terms, len(texts_terms))
        if row == len(texts_terms):
            texts_terms.append(terms)
        return row

    whole_queries = {query_row: row for query_row, query in enumerate(queries) if (row := whole(query)) is not None}
    extra = [(whole_queries[q], ad_row) for q, ad_row in clicks.tolist() if q in whole_queries]
    extra += [(row, num_ads + q) for q, row in whole_queries.items()]
    bid_on = [
        (row, ad_row) for ad_row, bids in enumerate(keywords) for keyword in bids if (row := whole(keyword)) is not None
    ]
    pairs += [_as_pairs(extra), _as_pairs(bid_on)]
    taught_pairs, taught_log_probs = merge_generated(
        [
            (row, ad_row, log_prob)
            for ad_row, said in enumerate(taught)
            for text, log_prob in said
            if (row := whole(text, stop_words_alone=False)) is not None
        ]
    )

    every = np.unique(np.concatenate(pairs), axis=0)
    of_ad = every[:, 1] < num_ads
    reached = np.unique(np.concatenate((every[of_ad], taught_pairs)), axis=0)
    reach = np.bincount(reached[:, 0], minlength=len(texts_terms))
    wanted = reach <= max(settings.max_ad_share * num_ads, settings.max_ad_floor)

    # An ad that is left with nothing (its words are its own, or everybody's) is known by its whole title.
    num_before_titles = len(texts_terms)
    left_out = np.ones(num_ads, dtype=bool)
    left_out[every[of_ad & wanted[every[:, 0]], 1]] = False
    by_title: list[tuple[int, int]] = []
    for ad_row in np.flatnonzero(left_out).tolist():
        terms = tuple(corpus.term_ids[stem] for _, stem in analyzer.phrase(ad_texts[ad_row]))
        terms = _first_words(terms, settings.max_query_words, stop_terms)
        row = row_of.setdefault(terms, len(texts_terms)) if terms else -1
        if row == len(texts_terms):
            texts_terms.append(terms)
        if row >= 0:
            by_title.append((row, ad_row))
    wanted = np.concatenate((wanted, np.zeros(len(texts_terms) - len(wanted), dtype=bool)))
    wanted[_as_pairs(by_title)[:, 0]] = True
    every = np.unique(np.concatenate((every, _as_pairs(by_title))), axis=0)
    of_ad = every[:, 1] < num_ads

    renumbered = np.cumsum(wanted) - 1
    every, of_ad = every[wanted[every[:, 0]]], of_ad[wanted[every[:, 0]]]
    every[:, 0] = renumbered[every[:, 0]]
    kept = [terms for terms, keep in zip(texts_terms, wanted, strict=True) if keep]
    sources = np.zeros(len(texts_terms), dtype=np.int64)
    of_titles = [index.pairs()[:, 0], np.arange(num_before_titles, len(texts_terms))]
    for source, rows in (
        (Source.TITLE, np.concatenate(of_titles)),
        (Source.QUERY, np.array(list(whole_queries.values()), dtype=np.int64)),
        (Source.KEYWORD, _as_pairs(bid_on)[:, 0]),
        (Source.TEACHER, taught_pairs[:, 0]),
    ):
        sources[rows] |= source
    is_kept = wanted[taught_pairs[:, 0]]
    taught_pairs = taught_pairs[is_kept]
    taught_pairs[:, 0] = renumbered[taught_pairs[:, 0]]
    query_pairs = every[~of_ad]
    query_pairs[:, 1] -= num_ads
    return Candidates(
        texts=tuple(join_words([spelling[term] for term in terms]) for terms in kept),
        num_words=np.array([len(terms) for terms in kept], dtype=np.int64),
        ad_pairs=every[of_ad],
        query_pairs=query_pairs,
        taught_pairs=taught_pairs,
        taught_log_probs=taught_log_probs[is_kept],
        sources=sources[wanted],
    )


def _as_pairs(pairs: list[tuple[int, int]]) -> IntArray:
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def merge_generated(said: list[tuple[int, int, float]]) -> tuple[IntArray, Float64Array]:
    """Return the distinct pairs (T, 2) of (intention, row, log-probability) triples, and their log-probabilities (T,).

    Ways to say the same add up.
    """
    if not said:
        return np.empty((0, 2), dtype=np.int64), np.empty(0)
    pairs, inverse = np.unique(_as_pairs([(row, ad_row) for row, ad_row, _ in said]), axis=0, return_inverse=True)
    log_probs = np.full(len(pairs), -np.inf)
    np.logaddexp.at(log_probs, inverse, np.array([log_prob for _, _, log_prob in said]))
    return pairs, log_probs


def _first_words(terms: tuple[int, ...], number: int, stop_terms: Container[int]) -> tuple[int, ...]:
    """Return the first terms, without stop words at the end if that leaves any."""
    first = terms[:number]
    end = next((end for end in range(len(first), 0, -1) if first[end - 1] not in stop_terms), len(first))
    return first[:end] if len(first) < len(terms) else first


def _preferred(forms: Counter[str]) -> str:
    return min(forms, key=lambda form: (-forms[form], form))


def join_words(words: Sequence[str]) -> str:
    """Join words to a phrase: a space between them unless both are Chinese."""
    text = ""
    for word in words:
        text += word if not text or (has_han(text[-1]) and has_han(word[0])) else f" {word}"
    return text


class _PhraseIndex:
    """Frequent n-grams of the ads, and every document (ad or query) each occurs in."""

    def __init__(
        self,
        flat: IntArray,
        documents: IntArray,
        num_ads: int,
        unit_terms: IntArray,
        stop_terms: IntArray,
        settings: CandidateSettings,
    ) -> None:
        self._flat = flat
        self._found: list[tuple[IntArray, IntArray, int]] = []  # n-gram's first positions, its (gram, document)s, n
        num_terms = int(flat.max(initial=0)) + 1
        grams = flat.copy()  # grams[p]: id of the frequent n-gram that starts at p, else -1
        for length in range(1, settings.max_words + 1):
            if length > 1:
                shorter, last = grams[: len(flat) - length + 1], flat[length - 1 :]
                tail = grams[1 : len(shorter) + 1]
                tail = np.concatenate((tail, np.full(len(shorter) - len(tail), -1, dtype=np.int64)))
                grams = np.where((shorter >= 0) & (tail >= 0) & (last >= 0), shorter * num_terms + last, -1)
            positions = np.flatnonzero(grams >= 0)
            if not len(positions):
                break
            _, first, gram_ids = np.unique(grams[positions], return_index=True, return_inverse=True)
            pairs = np.unique(np.stack((gram_ids, documents[positions]), axis=1), axis=0)
            num_in_ads = np.bincount(pairs[pairs[:, 1] < num_ads, 0], minlength=len(first))
            frequent = num_in_ads >= settings.min_ads
            grams = np.full(len(grams), -1, dtype=np.int64)
            grams[positions] = np.where(frequent, np.cumsum(frequent) - 1, -1)[gram_ids]
            # "gal exterior paint" is the tail of a measure, "with hose" of another phrase: both may grow n-grams but
            # are no intention.
            firsts, lasts = flat[positions[first]], flat[positions[first] + length - 1]
            phrase = frequent & ~np.isin(firsts, unit_terms) & ~np.isin((firsts, lasts), stop_terms).any(axis=0)
            pairs = pairs[phrase[pairs[:, 0]]]
            pairs[:, 0] = (np.cumsum(phrase) - 1)[pairs[:, 0]]
            self._found.append((positions[first[phrase]], pairs, length))

    def phrases(self) -> list[tuple[int, ...]]:
        """Return the term ids of every phrase, shortest first."""
        return [
            tuple(self._flat[start : start + length].tolist())
            for starts, _, length in self._found
            for start in starts.tolist()
        ]

    def pairs(self) -> IntArray:
        """Return distinct (phrase, document) pairs (P, 2)."""
        offset, parts = 0, [np.empty((0, 2), dtype=np.int64)]
        for starts, pairs, _ in self._found:
            parts.append(pairs + np.array([offset, 0]))
            offset += len(starts)
        return np.concatenate(parts)
