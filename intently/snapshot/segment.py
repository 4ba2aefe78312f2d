"""A segment: some ads with their content and all indexes of it. It never changes."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.arrays import IntArray, Mask
from intently.catalog import Catalog
from intently.index.keywords import KeywordIndex
from intently.index.lexical import LexicalIndex
from intently.index.postings import Postings
from intently.index.title_terms import TitleTerms
from intently.index.token_vectors import TokenVectors
from intently.index.vectors import VectorIndex
from intently.rules.keyword import has_match_type
from intently.rules.presets import MatchRules
from intently.snapshot.values import Values
from intently.types import Span

CONTENT_FIELDS = (
    "title",
    "description",
    "landing_text",
    "landing_spans",
    "keywords",
    "advertiser",
    "category",
)


@dataclass(frozen=True, eq=False)
class Segment:
    """S ads, row by row the same in all parts: their content, and the indexes that were made from it.

    `vectors` are None where no model reads ads, `tokens`, the vectors of their tokens, if nothing interacts late: all
    segments of a snapshot have the same parts. `numbers (S,)` ascend. An ad keeps its
    number wherever merges move its row, so that the number finds the ad again.
    """

    numbers: IntArray
    content: pa.Table  # (S, 8): ad_id and `CONTENT_FIELDS`
    postings: Postings
    vectors: VectorIndex | None
    lexical: LexicalIndex
    titles: TitleTerms
    tokens: TokenVectors | None = None
    _values: dict[str, Values] = field(default_factory=dict, init=False)  # that filters have asked for
    _keywords: dict[MatchRules, KeywordIndex] = field(default_factory=dict, init=False)

    @classmethod
    def build(
        cls,
        catalog: Catalog,
        postings: Postings,
        vectors: VectorIndex | None,
        lexical: LexicalIndex,
        titles: TitleTerms,
        tokens: TokenVectors | None = None,
    ) -> "Segment":
        """Return the segment of a catalog's ads, numbered from 0; raise `ValueError` if the parts do not fit."""
        sizes = {
            "catalog": catalog.num_ads,
            "postings": postings.num_ads,
            "vectors": len(vectors.embeddings) if vectors else catalog.num_ads,
            "lexical index": lexical.postings.num_ads,
            "titles": titles.num_ads,
            "tokens": tokens.num_ads if tokens else catalog.num_ads,
        }
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise ValueError(f"the parts of a segment are of different numbers of ads: {told}")
        content = catalog.table.select(["ad_id", *CONTENT_FIELDS]).combine_chunks()
        return cls(np.arange(catalog.num_ads), content, postings, vectors, lexical, titles, tokens)

    @property
    def num_rows(self) -> int:
        """Number of ads S."""
        return len(self.numbers)

    def ad_id(self, row: int) -> str:
        """Return the id of one ad."""
        return str(self.content.column(0)[row].as_py())

    def content_of(self, row: int) -> dict[str, Any]:
        """Return the content of one ad, as the fields of an `Ad`."""
        fields: dict[str, Any] = {}
        for name in CONTENT_FIELDS:
            value = self.content.column(name)[row].as_py()
            fields[name] = tuple(value) if isinstance(value, list) else value
        fields["landing_spans"] = tuple(Span(**span) for span in fields["landing_spans"])
        return fields

    def field_of(self, row: int, name: str) -> Any:
        """Return one field of one ad."""
        value = self.content.column(name)[row].as_py()
        return tuple(value) if isinstance(value, list) else value

    def values(self, name: str) -> Values:
        """Return the values (S,) of a field as filters compare them. Computed once; two threads may do it twice."""
        found = self._values.get(name)
        if found is None:
            column = self.content.column(name)
            is_list = pa.types.is_list(column.type)
            found = Values.of_lists(column.to_pylist()) if is_list else Values.of_texts(column)
            self._values[name] = found
        return found

    @cached_property
    def has_match_types(self) -> bool:
        """Whether any ad has a keyword with the marks of a match type."""
        distinct = pc.unique(self.content.column("keywords").combine_chunks().flatten()).to_pylist()
        return any(map(has_match_type, distinct))

    def keywords(self, rules: MatchRules) -> KeywordIndex:
        """Return the index of the ads' keywords. Computed once, 20 µs a keyword; two threads may do it twice."""
        found = self._keywords.get(rules)
        if found is None:
            found = KeywordIndex.build(self.content.column("keywords").to_pylist(), rules).warmed()
            self._keywords[rules] = found
        return found

    @property
    def known_keywords(self) -> KeywordIndex | None:
        """The index of the ads' keywords, if it has been made."""
        return next(iter(self._keywords.values()), None)

    def remember(self, keywords: KeywordIndex) -> None:
        """Take an index of the ads' keywords that was made before."""
        self._keywords[keywords.rules] = keywords.warmed()

    def warmed(self, rules: MatchRules | None = None) -> "Segment":
        """Return this segment after computing everything that the first query would otherwise wait for.

        `rules` are those that keywords match by.
        """
        _ = self.vectors and self.vectors.stage, self.lexical.word_table
        if rules and self.has_match_types:
            self.keywords(rules)
        return self

    def numbered(self, first: int) -> "Segment":
        """Return this segment with its ads numbered from `first` on."""
        numbered = replace(self, numbers=np.arange(first, first + self.num_rows))
        numbered._keywords.update(self._keywords)
        return numbered

    def concatenated(self, other: "Segment") -> "Segment":
        """Return a segment of these ads and, after them, those of `other`. Cost: a copy of all but the vectors."""
        both = Segment(
            np.concatenate((self.numbers, other.numbers)),
            pa.concat_tables([self.content, other.content]).combine_chunks(),
            self.postings.concatenated(other.postings),
            _concatenated(self.vectors, other.vectors),
            self.lexical.concatenated(other.lexical),
            self.titles.concatenated(other.titles),
            _concatenated(self.tokens, other.tokens),
        )
        for rules, index in list(self._keywords.items()):
            both._keywords[rules] = index.concatenated(other.keywords(rules))
        return both

    def kept(self, mask: Mask) -> "Segment":
        """Return a segment of the ads where `mask (S,)` holds, in their order; itself if that is all of them."""
        if mask.all():
            return self
        kept = Segment(
            self.numbers[mask],
            self.content.filter(pa.array(mask)),
            self.postings.kept(mask),
            self.vectors.kept(mask) if self.vectors else None,
            self.lexical.kept(mask),
            self.titles.kept(mask),
            self.tokens.kept(mask) if self.tokens else None,
        )
        for rules, index in list(self._keywords.items()):
            kept._keywords[rules] = index.kept(mask)
        return kept


_Part = TypeVar("_Part", VectorIndex, TokenVectors)


def _concatenated(first: _Part | None, second: _Part | None) -> _Part | None:
    """Return a part that segments may lack, of one segment and of another after it."""
    if first is None:
        return None
    assert second is not None  # models give a part to all ads or to none
    return first.concatenated(second)
