"""The lists that ads share: negative keywords by name, and what is blocked for everybody."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from intently.index.keywords import KeywordIndex
from intently.rules.match import find
from intently.rules.presets import PRESETS, MatchRules
from intently.types import BlockList

BLOCKED_BY = {
    BlockList.ADS: "ad_id",
    BlockList.ADVERTISERS: "advertiser",
    BlockList.CATEGORIES: "category",
    BlockList.LABELS: "labels",
}  # the field whose values a list names


@dataclass(frozen=True, eq=False)
class SharedLists:
    """Lists by name. They never change: `having` returns others."""

    rules: MatchRules = PRESETS["google"]
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def having(self, name: str, values: tuple[str, ...]) -> "SharedLists":
        """Return these lists, one with other values; without values it is gone."""
        kept = {each: its for each, its in self.values.items() if each != name}
        return replace(self, values=kept | {name: values} if values else kept)

    def blocked(self, block: BlockList) -> tuple[str, ...]:
        """Return what a block list names."""
        return self.values.get(block, ())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the lists of negative keywords."""
        return tuple(name for name in self.values if name not in set(BLOCKED_BY))

    @cached_property
    def _index(self) -> KeywordIndex:
        lists = [self.values[name] for name in self.names]
        return KeywordIndex.build(lists, self.rules, is_negative=True).warmed()

    def warmed(self) -> "SharedLists":
        """Return these lists after computing everything that the first query would otherwise wait for."""
        _ = self._index
        return self

    def matching(self, query: str, known: Container[str]) -> tuple[str, ...]:
        """Return the names of the lists of which a negative keyword matches a query."""
        index = self._index
        rows = {row for number in index.matching(query, known) for row in index.rows(number).tolist()}
        return tuple(self.names[row] for row in sorted(rows))

    def first(self, name: str, query: str, known: Container[str]) -> str | None:
        """Return the first negative keyword of a list that matches a query, in words, None if none does."""
        return first_negative(self.values.get(name, ()), query, self.rules, known)


def first_negative(written: tuple[str, ...], query: str, rules: MatchRules, known: Container[str]) -> str | None:
    """Return the first of some negative keywords that matches a query, in words: "negative phrase 'free'"."""
    for text in written:
        keyword = rules.negative_keyword(text)
        if find(keyword, query, rules.negative, known, rules.stemmer):
            return f"negative {keyword.match} {keyword.text!r}"
    return None
