"""The rules by which an instance is composed: what a query or an ad means, told from clicks, titles and categories."""

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from intently.build.knowledge.instances import MAX_INTENTION_CHARS, Instance, Task, language_of
from intently.build.knowledge.material import MAX_QUERY_CHARS, Material
from intently.build.knowledge.phrases import clean
from intently.build.knowledge.taxonomy import levels_of, names_of
from intently.build.knowledge.wording import Facts, reasoning
from intently.intentions.candidates import join_words
from intently.text.normalize import has_han, normalize

Maker = Callable[[int], Instance | None]
_MIN_SHARE = 0.4  # of a query's clicked ads that must be of a thing
_MAX_ADS = 30  # looked at for one query
_MAX_NAME_WORDS = 4  # of a query that is a name itself
_ODD = re.compile(r"[^\w\s'&./-]|^[.'&/-]")  # in a query: no intention, no keyword
_MEASURE = re.compile(r"[A-Za-z#.]*\d[\dA-Za-z./-]*")
_MAX_QUERY_WORDS = 5  # of a clicked query that is an intention or keyword
_ASKED = {
    "en": ("{}", "{}", "{}", "buy {}", "cheap {}", "best {}", "{} near me", "{} online", "{} price", "good {} brand"),
    "zh": ("{}", "{}", "{}", "{}多少钱", "{}哪个牌子好", "买{}", "{}推荐", "便宜的{}", "{}价格", "哪里买{}"),
}


class Composer:
    """Composes the instances of one task, each from a row: of queries, of ads, or of categories."""

    def __init__(self, material: Material, task: Task, max_intentions: int, rng: random.Random) -> None:
        self._material, self._task, self._rng = material, task, rng
        self._max_intentions = max_intentions
        self._phrases = material.phrases

    def rows(self) -> dict[tuple[str, str], list[int]]:
        """Return (source, language) → the rows that the task can be taught with."""
        material = self._material
        sources: dict[str, tuple[Sequence[str], Iterable[int]]]
        if self._task is Task.QUERY_INTENT:
            leaves = [path[-1] for path in material.taxonomy.paths]
            sources = {"clicks": (material.queries, material.ads_of), "taxonomy": (leaves, range(len(leaves)))}
        else:
            bids = {row for row, bids in enumerate(material.keywords) if bids}
            known = bids if self._task is Task.KEYWORD_PURCHASE else set()
            clicked = [row for row in sorted(material.queries_of) if row not in known]
            rest = [row for row in range(len(material.titles)) if row not in known and row not in material.queries_of]
            titles = material.titles
            sources = {"bids": (titles, sorted(known)), "clicks": (titles, clicked), "titles": (titles, rest)}
        found: dict[tuple[str, str], list[int]] = {}
        for source, (texts, rows) in sources.items():
            for row in rows:
                found.setdefault((source, language_of(texts[row])), []).append(row)
        return found

    def maker(self, source: str) -> Maker:
        """Return what composes an instance of a row of `source`, or None where the data says too little."""
        if self._task is Task.QUERY_INTENT:
            return self._category if source == "taxonomy" else self._query
        if self._task is Task.AD_INTENT:
            return lambda row: self._ad(row, source)
        return lambda row: self._keywords(row, source)

    def length(self, source: str) -> Callable[[int], int]:
        """Return what says how long the input of a row is."""
        if source == "taxonomy":
            return lambda row: len(self._material.taxonomy.paths[row][-1])
        texts = self._material.queries if self._task is Task.QUERY_INTENT else self._material.titles
        return lambda row: len(texts[row])

    def _query(self, query_row: int) -> Instance | None:
        query = self._material.queries[query_row]
        pairs = self._phrases.pairs(query)
        asked = {stem for _, stem in pairs}
        if not asked or len(query) > MAX_QUERY_CHARS:
            return None
        ads = self._material.ads_of[query_row][:_MAX_ADS]
        text_of: dict[str, str] = {}
        shared: Counter[str] = Counter()
        for ad_row in ads:
            for name in self._material.things(ad_row):
                text_of.setdefault(self._phrases.key(name), name)
                shared[self._phrases.key(name)] += 1
        needed = max(min(2, len(ads)), math.ceil(_MIN_SHARE * len(ads)))
        overlap = {key: len(asked.intersection(self._phrases.stems(text_of[key]))) for key in shared}
        # One clicked ad proves little, so its name must at least share a word with the query.
        keys = [key for key, count in shared.items() if count >= needed and (len(ads) > 1 or overlap[key])]
        chinese = has_han(query)  # then the Chinese names first, where ads of both languages were clicked
        keys.sort(key=lambda key: (has_han(key) != chinese, -overlap[key], -len(text_of[key]), -shared[key], key))
        if not keys:
            return None
        things = _without_tails([text_of[key] for key in keys])
        if self._is_narrower(query, things[0]):
            things.insert(0, normalize(query))
        thing_stems = set(self._phrases.stems(things[0]))
        brand = self._asked_brand(ads, asked - thing_stems)
        named = [join_words([brand.lower(), things[0]])] if brand else []
        category = self._category_of(things, ads)
        facts = Facts(
            thing=things[0],
            words=tuple(word for word, stem in pairs if stem in thing_stems),
            is_named=thing_stems <= asked,
            brand=brand,
            measure=found[0] if (found := _MEASURE.search(query)) else "",
            misspelt=next((word for word, _ in pairs if self._phrases.is_misspelt(word)), ""),
            category=category,
        )
        return self._instance(query, [*named, *things[:3], *_broader(category)], facts, "clicks")

    def _category(self, row: int) -> Instance | None:
        path = self._material.taxonomy.paths[row]
        name = names_of(path[-1])[0]
        # "Bird Ladders & Perches" is what a shop writes, no query; the highest levels are departments.
        joined = any(sign in path[-1] for sign in "&,/、()（）")
        if (
            len(path) < 3
            or joined
            or len(name.split()) > 4
            or self._material.path_of.get(self._phrases.key(name)) != path
        ):
            return None
        language = language_of(name)
        query = self._rng.choice(_ASKED[language]).format(name)
        parents = [names_of(level)[0] for level in path[-2:0:-1][:2]]
        facts = Facts(name, is_named=True, category=path[:-1])
        return self._instance(query, [name, *parents], facts, "taxonomy")

    def _ad(self, ad_row: int, source: str) -> Instance | None:
        things = _without_tails(self._material.things(ad_row))
        if not things:
            return None
        queries = self._led_by(ad_row)
        category = self._category_of(things, [ad_row])
        if " " not in things[0] and (full := [query for query in queries if self._is_narrower(query, things[0])]):
            things.insert(0, full[0])  # "upright freezer" says more than "freezer"
        facts = Facts(things[0], brand=self._material.brand(ad_row), queries=tuple(queries[:2]), category=category)
        answer = [*things[:1], *queries[:3], *things[1:3], *_broader(category)]
        return self._instance(self._material.ad_text(ad_row), answer, facts, source, at_least=2)

    def _keywords(self, ad_row: int, source: str) -> Instance | None:
        title, brand = self._material.titles[ad_row], self._material.brand(ad_row)
        things = [name for name in self._phrases.find(title) if self._phrases.is_vouched(name)]
        queries = self._led_by(ad_row)
        if source == "bids":
            answer = [clean(keyword).lower() for keyword in self._material.keywords[ad_row]]
        elif not (queries or things):
            return None
        else:
            branded = [
                join_words([brand.lower(), name]) for name in things[:1] if brand and (" " in name or has_han(name))
            ]
            answer = [*queries[:4], *things[:2], *branded]
        facts = Facts(things[0] if things else "", brand=brand, queries=tuple(queries[:2]))
        at_least = 1 if source == "bids" else 2
        return self._instance(self._material.ad_text(ad_row), answer, facts, source, at_least=at_least)

    def _instance(
        self, text: str, phrases: Iterable[str], facts: Facts, source: str, at_least: int = 1
    ) -> Instance | None:
        kept: dict[str, str] = {}
        for phrase in phrases:
            if phrase and len(phrase) <= MAX_INTENTION_CHARS and not set(phrase) & set(";；\n"):
                kept.setdefault(self._phrases.key(phrase), phrase)
        answer = list(dict.fromkeys(kept.values()))[: self._max_intentions]
        if not at_least <= len(answer) or "none" in answer:
            return None
        language = language_of(text)
        told = reasoning(self._task, language, facts, self._rng)
        return Instance(self._task, language, text, "; ".join(answer), told, source)

    def _led_by(self, ad_row: int) -> list[str]:
        """Return the well-spelt, short queries that led to an ad, those first that share most words with its title."""
        title = set(self._phrases.stems(self._material.titles[ad_row]))
        found = set()
        for row in self._material.queries_of.get(ad_row, ()):
            query = self._material.queries[row].lower()
            stems = self._phrases.stems(query)
            shared = title.intersection(stems)
            numbers = [stem for stem in stems if not stem.isalpha()]
            rivals = [stem for stem in stems if stem not in title and self._is_brand(stem)]
            odd = _ODD.search(query) or rivals or (numbers and (len(shared) < 3 or not title.issuperset(numbers)))
            if not odd and len(stems) <= _MAX_QUERY_WORDS and self._phrases.is_known(query):
                found.add((-len(shared), query))
        return [query for _, query in sorted(found)]

    def _is_brand(self, stem: str) -> bool:
        return stem in self._material.advertiser_stems or self._phrases.is_brand(stem)

    def _is_narrower(self, query: str, thing: str) -> bool:
        """Return whether `query` is a well-spelt name of a kind of `thing`: "paper shredders" of "shredder"."""
        stems, thing_stems = self._phrases.stems(query), self._phrases.stems(thing)
        return (
            len(thing_stems) < len(stems) <= _MAX_NAME_WORDS
            and stems[-1:] == thing_stems[-1:]
            and set(thing_stems) <= set(stems)
            and all(stem.isalpha() for stem in stems)
            and self._phrases.is_known(query)
        )

    def _asked_brand(self, ads: Sequence[int], stems: set[str]) -> str:
        brands = Counter(brand for ad_row in ads if (brand := self._material.brand(ad_row)))
        named = [brand for brand in brands if stems.intersection(self._phrases.stems(brand)[:1])]
        return max(named, key=lambda brand: (brands[brand], brand), default="")

    def _category_of(self, things: Sequence[str], ads: Sequence[int]) -> tuple[str, ...]:
        """Return the path of the ads' commonest category if half of them share it, or the taxonomy's of a thing."""
        common = Counter(self._material.categories[ad_row] for ad_row in ads).most_common(1)
        if common and common[0][0] and 2 * common[0][1] >= len(ads):
            return levels_of(clean(common[0][0]))
        names = [name for name in things if things[0].endswith(name)]
        paths = (self._material.path_of.get(self._phrases.key(name)) for name in names)
        return next((path[:-1] for path in paths if path), ())


def _broader(category: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of a category's last level, unless it is the only one: a department is no intention."""
    return names_of(category[-1])[:1] if len(category) > 1 else ()


def _without_tails(names: Sequence[str]) -> list[str]:
    """Return `names` without the third and further of those that end alike, and single words that end another."""
    kept: list[str] = []
    for name in names:
        longer = [other for other in kept if other.endswith(name)]
        if len(longer) < 2 and not (longer and " " not in name):
            kept.append(name)
    return kept
