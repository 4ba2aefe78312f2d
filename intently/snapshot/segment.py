"""A segment: some ads with their content and all indexes of it. It never changes."""

from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from intently.arrays import IntArray, Mask
from intently.catalog import Catalog
from intently.index.lexical import LexicalIndex
from intently.index.postings import Postings
from intently.index.title_terms import TitleTerms
from intently.index.token_vectors import TokenVectors
from intently.index.vectors import VectorIndex
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
            "catalogue": catalog.num_ads,
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

    def warmed(self) -> "Segment":
        """Return this segment after computing everything that the first query would otherwise wait for."""
        _ = self.vectors and self.vectors.stage, self.lexical.word_table
        return self

    def numbered(self, first: int) -> "Segment":
        """Return this segment with its ads numbered from `first` on."""
        return replace(self, numbers=np.arange(first, first + self.num_rows))

    def concatenated(self, other: "Segment") -> "Segment":
        """Return a segment of these ads and, after them, those of `other`. Cost: a copy of all but the vectors."""
        return Segment(
            np.concatenate((self.numbers, other.numbers)),
            pa.concat_tables([self.content, other.content]).combine_chunks(),
            self.postings.concatenated(other.postings),
            _concatenated(self.vectors, other.vectors),
            self.lexical.concatenated(other.lexical),
            self.titles.concatenated(other.titles),
            _concatenated(self.tokens, other.tokens),
        )

    def kept(self, mask: Mask) -> "Segment":
        """Return a segment of the ads where `mask (S,)` holds, in their order; itself if that is all of them."""
        if mask.all():
            return self
        return Segment(
            self.numbers[mask],
            self.content.filter(pa.array(mask)),
            self.postings.kept(mask),
            self.vectors.kept(mask) if self.vectors else None,
            self.lexical.kept(mask),
            self.titles.kept(mask),
            self.tokens.kept(mask) if self.tokens else None,
        )


_Part = TypeVar("_Part", VectorIndex, TokenVectors)


def _concatenated(first: _Part | None, second: _Part | None) -> _Part | None:
    """Return a part that segments may lack, of one segment and of another after it."""
    if first is None:
        return None
    assert second is not None  # models give a part to all ads or to none
    return first.concatenated(second)
