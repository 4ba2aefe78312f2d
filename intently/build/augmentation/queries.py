"""Generated queries: how a language model is asked for them, and which of its answers are queries.

What is refused is junk by rule, each counted. An answer that shares no word with its ad is not refused for that: other
words for the same thing are what generated queries are for. Whether it still leads to its ad can be asked of a lexical
index, the round trip, after doc2query−− (Gospodinov et al., 2023).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

import numpy as np

from intently.build.augmentation.writer import Prompt, Written
from intently.build.knowledge.endpoint import EndpointSettings
from intently.build.knowledge.instances import language_of
from intently.build.training.language_model import FineTuningSettings
from intently.index.lexical import LexicalIndex
from intently.models.causal_lm import LanguageModelSettings
from intently.settings import check_range
from intently.text.analyze import Analyzer
from intently.text.normalize import normalize

_ASK = {
    "en": "Write what a shopper who wants this would type into a search box: a few words.",
    "zh": "想买它的人会在搜索框里输入什么？只写几个字。",
}
_AD = {"en": "Ad: ", "zh": "广告："}
_BEGUN = {"en": "Query:", "zh": "搜索词："}
_SHOWN = {  # to a model that was not tuned
    "en": (
        (
            "Voltano Portable Power Station 500 Wh. Charges laptops and fridges when the grid is down.",
            "camping battery",
        ),
        ("Women's trail running shoe, waterproof, wide fit. Free returns.", "wide shoes for muddy runs"),
        ("Same-day plumber, licensed, no call-out fee. Leaks, drains, boilers.", "burst pipe help near me"),
    ),
    "zh": (
        ("户外电源 500瓦时 停电应急 可充笔记本和车载冰箱", "露营用的大充电宝"),
        ("女款防水越野跑鞋 宽楦 七天无理由退换", "脚宽穿的跑步鞋"),
        ("持证水管工 当天上门 免上门费 修漏水 通下水道", "水管爆了找谁修"),
    ),
}
_SAID_BEFORE = re.compile(r"^(?:[-*•]+\s*|\d{1,2}[.)]\s+)?(?:(?:search )?query\s*:|搜索词\s*[:：])?\s*", re.IGNORECASE)
_QUOTES = " \t\"'`“”‘’「」《》*"
_ODD = re.compile(r"[^\w\s'’&./,+%°\"″$€£¥#()（）·、，-]|__|\ufffd|https?:|www\.")
_OF_PROMPT = re.compile(
    r"\b(?:ad|query|queries):|search box|search query|shopper who|搜索框|搜索词|广告[:：]", re.IGNORECASE
)
_MAX_CHARS = 80


class Refusal(StrEnum):
    """Why an answer is no query."""

    EMPTY = "empty"  # or a single character
    LONG = "long"  # too many words, or it did not end
    ODD = "odd"  # markup, addresses, broken characters
    PROMPT = "prompt"  # repeats what the model was told
    LOOP = "loop"  # says the same again and again
    ROUND_TRIP = "round_trip"  # does not lead back to its ad


@dataclass(frozen=True)
class QuerySettings:
    """Which language model writes queries, how many, and for which ads; without a model or an endpoint none does."""

    model: LanguageModelSettings = field(default_factory=LanguageModelSettings)
    endpoint: EndpointSettings = field(default_factory=EndpointSettings)  # stands in for `model` if its `url` is given
    tune: bool = False  # the model on the clicks, first
    tuning: FineTuningSettings = field(default_factory=FineTuningSettings)
    budget: int = 10_000  # texts it writes in all
    max_per_ad: int = 8
    start_temperature: float = 1.0  # of an ad's first text ...
    end_temperature: float = 0.5  # ... and its last
    top_k: int = 50  # likeliest tokens that each is drawn from; 0: all
    max_text_tokens: int = 96  # of an ad in the prompt; the rest is cut off
    max_new_tokens: int = 24
    max_words: int = 12  # of a query
    round_trip: int = 0  # keep queries that have their ad among so many first of a lexical index; 0: all
    batch_size: int = 8  # ads at once
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, "budget", "top_k", "round_trip")
        check_range(self, "max_per_ad", "max_text_tokens", "max_new_tokens", low=1)
        check_range(self, "max_words", "batch_size", low=1)
        check_range(self, "start_temperature", "end_temperature", high=10)
        check_range(self, "seed", high=2**32 - 1)


def temperatures(num: int, settings: QuerySettings) -> tuple[float, ...]:
    """Return the temperatures of an ad's texts, annealed linearly; a single one is written at the last of them."""
    if num == 1:
        return (settings.end_temperature,)
    return tuple(np.linspace(settings.start_temperature, settings.end_temperature, num).tolist())


def shown_prompt(text: str) -> Prompt:
    """Return what a model that knows nothing of the trade is told, with three examples in the ad's language."""
    language = language_of(text)
    ad, begun = _AD[language], _BEGUN[language]
    shown = "\n\n".join(f"{ad}{example}\n{begun} {query}" for example, query in _SHOWN[language])
    return Prompt(f"{_ASK[language]}\n\n{shown}\n\n{ad}{' '.join(text.split())}", begun)


def tuned_prompt(text: str) -> Prompt:
    """Return what a model is told that was tuned on clicks: the ad and no more."""
    language = language_of(text)
    return Prompt(f"{_AD[language]}{' '.join(text.split())}", _BEGUN[language])


@dataclass(frozen=True)
class Sifted:
    """The queries of each ad that had any, ad_row → queries, and what became of the other texts."""

    queries: dict[int, tuple[str, ...]]
    num_written: int
    num_duplicates: int
    refused: dict[str, int]  # rule → texts

    @property
    def num_kept(self) -> int:
        """How many queries there are."""
        return sum(map(len, self.queries.values()))


def sift(
    written: Sequence[Written],
    titles: Sequence[str],
    analyzer: Analyzer,
    settings: QuerySettings,
    index: LexicalIndex | None = None,
) -> Sifted:
    """Return the queries among what was written, in the order they were written.

    Duplicates have the same stems in the same order as another query of the ad, or as its title. `index` over the ads
    is what the round trip is asked of.
    """
    queries: dict[int, tuple[str, ...]] = {}
    refused = dict.fromkeys(map(str, Refusal), 0)
    num_duplicates = 0
    for one in written:
        seen = {_key(titles[one.ad_row], analyzer)}
        kept: list[str] = []
        for text, is_whole in zip(one.texts, one.is_whole, strict=True):
            query = clean_query(text)
            refusal = refuse(query, is_whole, analyzer, settings)
            if refusal:
                refused[refusal] += 1
            elif (key := _key(query, analyzer)) in seen:
                num_duplicates += 1
            elif index and settings.round_trip and lexical_rank(index, query, one.ad_row) > settings.round_trip:
                refused[Refusal.ROUND_TRIP] += 1
            else:
                seen.add(key)
                kept.append(query)
        if kept:
            queries[one.ad_row] = tuple(kept)
    return Sifted(queries, sum(len(one.texts) for one in written), num_duplicates, refused)


def clean_query(text: str) -> str:
    """Return the first line of an answer, without numbering, marks and what it begins with, in single spaces."""
    line = next((line for line in text.splitlines() if line.strip(_QUOTES)), "")
    line = _SAID_BEFORE.sub("", line.strip(), count=1).strip(_QUOTES)
    return " ".join(line.rstrip(".。!！;；,，").strip(_QUOTES).split())


def refuse(query: str, is_whole: bool, analyzer: Analyzer, settings: QuerySettings) -> Refusal | None:
    """Return why a cleaned answer is no query; None if it is one.

    Of a model that is shown examples, what has one of their queries or four words in a row of their ads repeats them.
    """
    words = analyzer.words(query)
    if len("".join(words)) < 2:
        return Refusal.EMPTY
    if _OF_PROMPT.search(query) or (not settings.tune and not _shown_phrases(analyzer).isdisjoint(_runs(words))):
        return Refusal.PROMPT
    if _ODD.search(query):
        return Refusal.ODD
    counts = Counter(words)
    if max(counts.values()) > 2 or len(words) >= 2 * len(counts) > 2:
        return Refusal.LOOP
    if not is_whole or len(words) > settings.max_words or len(query) > _MAX_CHARS:
        return Refusal.LONG
    return None


def lexical_rank(index: LexicalIndex, query: str, ad_row: int) -> float:
    """Return the ad's rank from 1 for a query, infinite if it shares no term; ads of the same score share a rank."""
    scores = index.scores(index.analyze(query))
    return 1.0 + np.count_nonzero(scores > scores[ad_row]) if scores[ad_row] > 0 else np.inf


def _key(text: str, analyzer: Analyzer) -> str:
    return " ".join(stem for _, stem in analyzer.content(text)) or normalize(text)


def _runs(words: Sequence[str]) -> set[tuple[str, ...]]:
    """Return the words as a whole, and every four of them in a row."""
    return {tuple(words), *(tuple(words[at : at + 4]) for at in range(len(words) - 3))}


@cache
def _shown_phrases(analyzer: Analyzer) -> frozenset[tuple[str, ...]]:
    texts = [text for shown in _SHOWN.values() for example in shown for text in example]
    return frozenset(run for text in texts for run in _runs(analyzer.words(text)))
