"""Keywords of every ad by a light statistical model, on a CPU some hundreds of ads a second.

An ad's candidates are the phrases of its own text: runs of one to four words that no punctuation and no stop word
breaks. A logistic regression ranks them by what the phrase is made of, where it stands, and whether *other* ads bid on
it, were clicked for it or have it as an intention. It learns from the ads whose bids or clicked queries are known:
their phrases that are such a bid or query are the positives. (In the place of BRIDGE's Gemma-2-2B; the language model
is `intently.build.augmentation.keyword_model`.)

Shape letters: C candidates, F features.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from intently.arrays import Float64Array, IntArray
from intently.build.augmentation.records import AdsAndClicks
from intently.intentions.candidates import join_words
from intently.settings import check_range
from intently.text.analyze import STOP_WORDS, UNITS, Analyzer
from intently.text.normalize import HAN, has_han
from intently.types import Progress

_BREAK = re.compile(rf"[|;:!?()\[\]【】（）。，、；：！？•·]|[,.]\s|\s[-–—]\s|(?<=[{HAN}])\s+(?=[{HAN}])")
_CHUNK = 1024  # ads between two reports of progress
_RIDGE = 1.0  # of the regression
_MAX_STEPS = 50
FEATURES = (
    "one_word", "three_words", "four_words", "mean_idf", "least_idf", "earliness", "in_title", "repeated",
    "begins_run", "ends_run", "has_digit", "bid_by_others", "clicked_by_others", "intention_of_others",
)  # fmt: skip
# For a catalog without a bid or a click: several words of the title, rare but not only here, early, ends of runs.
_WITHOUT_EXAMPLES = (-1.0, 0.0, -0.5, 0.3, 0.2, 1.0, 1.5, 0.3, 0.2, 0.8, -1.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True)
class StatisticalKeywordSettings:
    """How many keywords an ad gets, from how much of its text, and what the model learns from."""

    num_keywords: int = 8
    max_gap: float = 6.0  # in log-odds below the ad's best phrase, from which no phrase is a keyword
    max_words: int = 4  # of a keyword
    max_text_words: int = 96  # of an ad that are looked at
    max_examples: int = 5_000  # ads that are learned from
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, "num_keywords", "max_text_words", low=1)
        check_range(self, "max_gap")
        check_range(self, "max_words", low=1, high=4)
        check_range(self, "max_examples")
        check_range(self, "seed", high=2**32 - 1)


class KeywordExtractor(Protocol):
    """What takes keywords from all ads: phrases of their own text, or ones that some ad bids on."""

    def extract(self, data: AdsAndClicks, progress: Progress) -> list[tuple[str, ...]]:
        """Return the keywords of each ad (N), best first."""
        ...


@dataclass(frozen=True)
class _Phrase:
    """A candidate: its words, the stems that two spellings share, and where it stands."""

    words: tuple[str, ...]
    key: str
    stems: tuple[str, ...]
    place: int  # words before it
    in_title: bool
    begins_run: bool
    ends_run: bool


@dataclass(frozen=True, eq=False)
class _Support:
    """How many ads bid on a phrase, were clicked for it and have it as an intention, and what each ad adds to that."""

    bids: Counter[str]
    clicks: Counter[str]
    reach: Counter[str]
    own_bids: list[frozenset[str]]
    own_clicks: dict[int, frozenset[str]]


@dataclass(eq=False)
class StatisticalKeywords:
    """Extracts keywords by a linear model that it first learns, if the catalog has bids or clicks to learn from."""

    settings: StatisticalKeywordSettings
    analyzer: Analyzer
    intentions: Sequence[str] = ()  # a vocabulary, and ...
    reach: Sequence[int] = ()  # ... how many ads have each
    weights: Float64Array = field(default_factory=lambda: np.array([*_WITHOUT_EXAMPLES, 0.0]))  # (F + 1,): bias last
    num_positives: int = 0  # phrases that it learned from; 0: it works by given weights
    _stems: dict[str, str] = field(default_factory=dict, repr=False)

    def extract(self, data: AdsAndClicks, progress: Progress) -> list[tuple[str, ...]]:
        """Return at most `num_keywords` of each ad, best first.

        What an ad bids on, as far as its text has it, comes before what the model finds. Of that, a phrase all of whose
        words earlier ones have is left out. What an ad was clicked for has no such right: the encoder is to learn these
        queries from ads that do not carry them. Cost: all texts are read twice.
        """
        idf = self._idf(data.texts)
        support = self._support(data)
        self._learn(data, idf, support, progress)
        found: list[tuple[str, ...]] = []
        for start in range(0, data.num_ads, _CHUNK):
            rows = range(start, min(start + _CHUNK, data.num_ads))
            phrases = [self._phrases(data.titles[row], data.texts[row]) for row in rows]
            features = [_features(row, some, idf, support) for row, some in zip(rows, phrases, strict=True)]
            scores = np.concatenate(features) @ self.weights
            ends = np.cumsum([len(some) for some in phrases]).tolist()
            for row, some, end in zip(rows, phrases, ends, strict=True):
                found.append(self._best(some, scores[end - len(some) : end], support.own_bids[row]))
            progress("Extracting keywords", len(found), data.num_ads, "")
        return found

    def _idf(self, texts: Sequence[str]) -> dict[str, float]:
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update({stem for _, stem in self.analyzer.content(text)})
        return {stem: float(np.log1p(len(texts) / count)) for stem, count in counts.items()}

    def _key(self, text: str) -> str:
        return " ".join(stem for _, stem in self.analyzer.content(text))

    def _support(self, data: AdsAndClicks) -> _Support:
        own_bids = [frozenset(filter(None, map(self._key, bids))) for bids in data.bids]
        keys = [self._key(query) for query in data.queries]
        own_clicks = {
            row: frozenset(filter(None, (keys[query] for query in queries))) for row, queries in data.queries_of.items()
        }
        reach: Counter[str] = Counter()
        for text, num_ads in zip(self.intentions, self.reach, strict=True):
            reach[self._key(text)] += int(num_ads)
        return _Support(
            bids=Counter(key for bids in own_bids for key in bids),
            clicks=Counter(key for clicked in own_clicks.values() for key in clicked),
            reach=reach,
            own_bids=own_bids,
            own_clicks=own_clicks,
        )

    def _learn(self, data: AdsAndClicks, idf: dict[str, float], support: _Support, progress: Progress) -> None:
        able = [row for row in range(data.num_ads) if _known(row, support)]
        rows = np.random.default_rng(self.settings.seed).permutation(np.array(able, dtype=np.int64))
        features, positive = [np.empty((0, len(FEATURES) + 1))], [np.empty(0)]
        for done, row in enumerate(rows[: self.settings.max_examples].tolist()):
            phrases, known = self._phrases(data.titles[row], data.texts[row]), _known(row, support)
            is_known = np.array([phrase.key in known for phrase in phrases], dtype=np.float64)
            if is_known.any():
                features.append(_features(row, phrases, idf, support))
                positive.append(is_known)
            if done % _CHUNK == 0:
                progress("Learning keywords", done, min(len(rows), self.settings.max_examples), "")
        self.num_positives = int(np.concatenate(positive).sum())
        if self.num_positives:
            self.weights = logistic_regression(np.concatenate(features), np.concatenate(positive), _RIDGE)

    def _phrases(self, title: str, text: str) -> list[_Phrase]:
        """Return the candidates, in order of first appearance."""
        found: dict[str, _Phrase] = {}
        place, title_words = 0, 0
        if text.startswith(title):
            title_words = sum(len(run) for run in self._runs(title))
        for run in self._runs(text):
            if place >= self.settings.max_text_words:
                break
            run_stems = [self._stem(word) for word in run]
            for at in range(len(run)):
                for length in range(1, min(self.settings.max_words, len(run) - at) + 1):
                    stems = tuple(run_stems[at : at + length])
                    words = tuple(run[at : at + length])
                    if _is_phrase(words) and (key := " ".join(stems)) not in found:
                        found[key] = _Phrase(
                            words, key, stems, place + at, place + at < title_words, at == 0, at + length == len(run)
                        )
            place += len(run)
        return list(found.values())

    def _stem(self, word: str) -> str:
        if word not in self._stems:
            self._stems[word] = self._key(word) or word
        return self._stems[word]

    def _runs(self, text: str) -> Iterable[list[str]]:
        """Yield the runs of words that neither punctuation nor a stop word breaks."""
        for part in _BREAK.split(text):
            run: list[str] = []
            for word in self.analyzer.words(part):
                if word in STOP_WORDS:
                    if run:
                        yield run
                    run = []
                else:
                    run.append(word)
            if run:
                yield run

    def _best(self, phrases: Sequence[_Phrase], scores: Float64Array, bids: frozenset[str]) -> tuple[str, ...]:
        is_bid = np.array([phrase.key in bids for phrase in phrases], dtype=bool)
        order: IntArray = np.lexsort((np.arange(len(phrases)), -scores, ~is_bid))
        least = scores.max(initial=-np.inf) - self.settings.max_gap
        chosen: list[str] = []
        covered: set[str] = set()
        for at in order.tolist():
            if len(chosen) == self.settings.num_keywords:
                break
            phrase = phrases[at]
            if is_bid[at] or (scores[at] >= least and not covered.issuperset(phrase.stems)):
                chosen.append(join_words(phrase.words))
                covered.update(phrase.stems)
        return tuple(chosen)


def _is_phrase(words: tuple[str, ...]) -> bool:
    """Return whether words can be a keyword: not a measure or its tail ("gal exterior paint"), not one character."""
    says = [word for word in words if word not in UNITS and not word[0].isdigit()]
    if not says or words[0] in UNITS:
        return False
    return len(words) > 1 or len(words[0]) > (1 if has_han(words[0]) else 2)


def _known(row: int, support: _Support) -> frozenset[str]:
    return support.own_bids[row] | support.own_clicks.get(row, frozenset())


def _features(row: int, phrases: Sequence[_Phrase], idf: dict[str, float], support: _Support) -> Float64Array:
    """Return the features (C, F + 1) of an ad's candidates; the last is 1. What the ad itself adds is not counted."""
    bids, clicks = support.own_bids[row], support.own_clicks.get(row, frozenset())
    held = Counter(stem for phrase in phrases if len(phrase.stems) > 1 for stem in phrase.stems)
    rows = []
    for phrase in phrases:
        length = len(phrase.stems)
        weights = [idf.get(stem, 0.0) for stem in phrase.stems]
        others = (
            support.bids[phrase.key] - (phrase.key in bids),
            support.clicks[phrase.key] - (phrase.key in clicks),
            max(support.reach[phrase.key] - 1, 0),
        )
        rows.append(
            (
                length == 1,
                length == 3,
                length == 4,
                sum(weights) / length,
                min(weights),
                1.0 / (1.0 + 0.1 * phrase.place),
                phrase.in_title,
                np.log1p(min(held[stem] for stem in phrase.stems)),
                phrase.begins_run,
                phrase.ends_run,
                any(sign.isdigit() for sign in phrase.key),
                *np.log1p(others),
                1.0,
            )
        )
    return np.array(rows, dtype=np.float64).reshape(len(phrases), len(FEATURES) + 1)


def logistic_regression(features: Float64Array, positive: Float64Array, ridge: float) -> Float64Array:
    """Return weights (F,) that minimise Σ log loss + ridge/2 · ‖w‖² of `positive (C,)` 0 or 1, by Newton's method.

    The last feature, a constant, is the bias; it is not held small. Steps are halved while they do not descend.
    """
    held = np.full(features.shape[1], ridge)
    held[-1] = 1e-6
    weights = np.zeros(features.shape[1])

    def loss(at: Float64Array) -> float:
        scores = features @ at
        return float(np.logaddexp(0.0, scores).sum() - positive @ scores + 0.5 * held @ at**2)

    now = loss(weights)
    for _ in range(_MAX_STEPS):
        shares = 0.5 * (1.0 + np.tanh(0.5 * (features @ weights)))
        gradient = features.T @ (shares - positive) + held * weights
        curvature = (features * (shares * (1.0 - shares))[:, None]).T @ features + np.diag(held)
        step = np.linalg.solve(curvature, gradient)
        while (after := loss(weights - step)) > now and np.abs(step).max() > 1e-12:
            step *= 0.5
        weights, before, now = weights - step, now, after
        if before - now <= 1e-9 * max(1.0, abs(before)):
            break
    return weights
