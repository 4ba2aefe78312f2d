"""What a title says is sold: "Voltano 120-Bar Electric Pressure Washer with Hose" sells an electric pressure washer.

An English title names the thing at the end of its first part, before "with", "for", "in" and the like. A Chinese title
strings several names together, and a name is a run of words that many titles end a part with, or that users ask for.
Both need evidence from the catalog: a phrase counts when several titles end with it, or when it is vouched for, as a
query or a category's name.
"""

import html
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

from rapidfuzz.distance import OSA

from intently.intentions.candidates import join_words
from intently.text.analyze import STOP_WORDS, Analyzer
from intently.text.normalize import HAN, has_han, normalize

_MIN_ADS = 3  # titles that must end with a phrase nobody vouches for
_MAX_SHARE, _MAX_FLOOR = 0.04, 40  # a Chinese phrase of more titles than this says nothing (套装)
_MIN_END_SHARE = 0.4  # share of its occurrences that end a part, for a Chinese phrase nobody vouches for ...
_MIN_VOUCHED_END_SHARE = 0.15  # ... and for a vouched one: 婴儿 is a category, but begins what it is in
_FRAGMENT = 0.5  # share of a phrase's titles that have the same word before it: then it is a piece of the longer one
_MAX_WORDS = 4

# What is offered with the thing, never the thing.
_PROMOTED = """
free off sale save deal deals delivery shipping buy order discount official shop store online now today new price
prices warranty trial guarantee guaranteed pay quote get discontinued best cheap return returns year years day days
包邮 正品 专柜 预售 专享 仅限 现货 官方 旗舰 旗舰店 正版 特价 促销 保证 团购 团券 行货 免费 试用 当天 代购 新款
买一送一 装 支装 盒装 袋装 片装 送 礼包 赠 授权 批发 定制 套组 价 特惠 优惠 折 退 包退 发货 上门 送货 到家 直营
直销 秒杀 限时 新品 同款 神器 家用 专用 通用 进口 国产 代金券 门店 售后 升级版 厂家 退款 一体 length
"""
_PROMOTION = frozenset(_PROMOTED.split())
_ENDS_THING = frozenset(
    ("in", "with", "for", "by", "from", "featuring", "without", "per", "at", "on", "to", "that", "w/")
)
_PARTS = re.compile(r"\s[-–—]\s|[:,|;!?()\[\]【】]|\b&amp;\b")
_PARENTHESES = re.compile(r"\([^)]*\)|\[[^\]]*\]|【[^】]*】")
_HAN_RUN = re.compile(f"[{HAN}]+")


class TitlePhrases:
    """Finds in a title the phrases that name what is sold."""

    def __init__(self, titles: Iterable[str], vouched: Iterable[str], analyzer: Analyzer) -> None:
        """`vouched` are texts that name things wherever a title holds them: queries, names of categories."""
        self._analyzer = analyzer
        self._stems: dict[str, str] = {}
        self._vouched = frozenset(self.key(text) for text in vouched)
        self._ends: Counter[str] = Counter()
        self._holds: Counter[str] = Counter()  # Chinese only
        self._words: Counter[str] = Counter()
        self._first: Counter[str] = Counter()
        self._num_titles = 0
        for title in titles:
            self._num_titles += 1
            ends: set[str] = set()
            holds: set[str] = set()
            words = self.stems(title)
            for part in _parts(title):
                ends.update(self._key_of(part[at:]) for at in range(max(0, len(part) - _MAX_WORDS - 1), len(part)))
                if has_han(part[-1]):
                    holds.update(self._key_of(part[a:b]) for a, b in _runs(len(part)))
            self._ends.update(ends)
            self._holds.update(holds)
            self._words.update(set(words))
            self._first.update((words[0], " ".join(words[:2])) if len(words) > 1 else words)

    def pairs(self, text: str) -> list[tuple[str, str]]:
        """Return the (word, stem) pairs of `text`, without stop words."""
        return self._analyzer.content(clean(text))

    def stems(self, text: str) -> list[str]:
        """Return the stems of `text`, without stop words."""
        return [stem for _, stem in self.pairs(text)]

    def key(self, text: str) -> str:
        """Return what two spellings of one phrase share; "" for a text without a word."""
        return join_words(self.stems(text))

    def is_known(self, text: str) -> bool:
        """Return whether every word of `text` is in some title, which few misspelt ones are."""
        stems = self.stems(text)
        return bool(stems) and all(self._words[stem] for stem in stems)

    def is_vouched(self, phrase: str) -> bool:
        """Return whether `phrase` is one of those vouched for."""
        return self.key(phrase) in self._vouched

    def is_brand(self, stem: str) -> bool:
        """Return whether most titles that hold the word begin with it, as they do with a brand."""
        return self._first[stem] >= max(_MIN_ADS, 0.8 * self._words[stem])

    def is_misspelt(self, word: str) -> bool:
        """Return whether `word` is in no title, and one letter away from a word that is in several."""
        if len(word) < 5 or not (word.isascii() and word.isalpha()) or self.is_known(word):
            return False
        forms = {word, self.key(word)}  # the stem of a misspelt word may be another's: "cordles"
        near = (other for other in self._common if other[:1] == word[:1] and abs(len(other) - len(word)) < 4)
        return any(OSA.distance(form, other, score_cutoff=1) <= 1 for other in near for form in forms)

    @cached_property
    def _common(self) -> tuple[str, ...]:
        return tuple(stem for stem, count in self._words.items() if count >= _MIN_ADS and len(stem) > 3)

    def brand(self, title: str) -> str:
        """Return the one or two words that `title` begins with, if titles that hold them mostly do; else ""."""
        words = clean(title).split()[:2]
        if not words or not words[0].isalpha() or words[0].islower() or has_han(words[0]) or len(words[0]) < 3:
            return ""
        stems = self.stems(" ".join(words))
        if (
            not self.is_brand(stems[0] if stems else "")
            or len(self.stems(words[0])) != 1
            or _promotes([words[0].lower()])
        ):
            return ""
        # "Feit Electric" is two words of one name: nearly whatever begins with the first goes on with the second.
        both = len(stems) == 2 and words[1].isalpha() and self._first[" ".join(stems)] >= 0.6 * self._first[stems[0]]
        return " ".join(words) if both else words[0]

    def find(self, title: str) -> tuple[str, ...]:
        """Return every phrase of `title` that names what is sold, the most specific first."""
        found: dict[str, str] = {}
        chinese, brand = has_han(title), normalize(self.brand(title)).partition(" ")[0]
        for part in _parts(title):
            if has_han(part[-1]) and (runs := [part[a:b] for a, b in _runs(len(part))]):
                found |= {self._key_of(run): join_words(run) for run in runs if self._is_chinese_name(run)}
            elif not chinese and (names := [name for name in self._english_names(part) if name[0] != brand]):
                found |= {self._key_of(name): " ".join(name) for name in names}
                break  # the parts after the thing's say how it is or what comes with it
        if not chinese:
            return tuple(found.values())
        order = sorted(found, key=lambda key: (self._rank(key), -len(key), -self._ends[key], key))
        if order and self._rank(order[0]) < 2:
            order = [key for key in order if self._rank(key) < 3]
        return tuple(found[key] for at, key in enumerate(order) if not any(key in other for other in order[:at]))

    def _rank(self, key: str) -> int:
        """Return how surely a Chinese phrase is a thing, 0 most: an effect such as 提拉紧致 does not end like one."""
        if key in self._vouched:
            return 0 if len(key) > 2 else 2
        return 1 if any(key[at:] in self._vouched for at in range(1, len(key) - 1)) else 3

    def _english_names(self, part: Sequence[str]) -> list[Sequence[str]]:
        names: list[Sequence[str]] = []
        for at in range(max(0, len(part) - _MAX_WORDS), len(part)):
            name = part[at:]
            if name[0] in STOP_WORDS | {"&"} or (at and part[at - 1] in ("and", "&", "of", "or")) or _promotes(name):
                continue
            key = self._key_of(name)
            vouched = key in self._vouched
            if len(name) == 1 and (names or not vouched or len(key) < 3):
                continue  # "case" and "cap" alone are too little, unless users ask for just that
            # "steel water heater connector" is what is left of "stainless steel …" where nobody asks for it.
            whole = self._key_of(part[at - 1 :]) if at and not _promotes(part[at - 1 : at]) else ""
            if vouched or (self._ends[key] >= _MIN_ADS and self._ends[whole] < _FRAGMENT * self._ends[key]):
                names.append(name)
        return names

    def _is_chinese_name(self, run: Sequence[str]) -> bool:
        key = self._key_of(run)
        length, holds = len(join_words(run)), self._holds[key]
        if not 2 <= length <= 8 or _promotes(run) or holds > max(_MAX_SHARE * self._num_titles, _MAX_FLOOR):
            return False
        share = self._ends[key] / max(holds, 1)
        if key in self._vouched:
            return share >= (_MIN_VOUCHED_END_SHARE if length > 2 else _MIN_END_SHARE)
        # A single character first is mostly the end of a name that was cut wrongly: 倩|碧|卓越|润肤乳.
        return length > 2 and len(run[0]) > 1 and holds > _MIN_ADS and share >= _MIN_END_SHARE

    def _key_of(self, words: Sequence[str]) -> str:
        for word in words:
            if word not in self._stems:
                self._stems[word] = self.key(word)
        return join_words([self._stems[word] for word in words if self._stems[word]])


def clean(text: str) -> str:
    """Return `text` on one line, with the characters that HTML writes as names."""
    return " ".join(html.unescape(text).split())


def _promotes(words: Sequence[str]) -> bool:
    return any(piece in _PROMOTION for word in words for piece in (word, word[:2], *word.split("-")))


def _runs(length: int) -> list[tuple[int, int]]:
    return [(at, at + n) for n in (1, 2, 3) for at in range(length - n + 1)]


def _parts(title: str) -> list[list[str]]:
    """Return the parts of a title, each as words: Chinese runs, and English up to what only describes the thing."""
    text = clean(title)
    parts = [Analyzer.words(_NO_STEMS, run) for run in _HAN_RUN.findall(text)]
    if not parts:
        parts = [_thing(part.split()) for part in _PARTS.split(_PARENTHESES.sub(" ", text))]
    return [part for part in parts if part]


def _thing(words: list[str]) -> list[str]:
    """Return the words from the last number or code up to the first preposition."""
    thing: list[str] = []
    after_number = False
    for word in words:
        plain = normalize(word).strip(".,'\"*™®#")
        if plain in _ENDS_THING and not after_number:
            if thing:
                break
            continue
        # The word after a bare number is its measure, whatever it is: "1/2 in.", "20 Light", "3 Bowl".
        thing.append("" if after_number or any(sign.isdigit() for sign in plain) else plain)
        after_number = plain != "" and not any(sign.isalpha() for sign in plain)
    while thing and (not thing[-1] or thing[-1] in STOP_WORDS):
        thing.pop()
    last_gap = max((at for at, word in enumerate(thing) if not word), default=-1)
    return thing[last_gap + 1 :]


_NO_STEMS = Analyzer()
