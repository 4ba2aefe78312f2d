"""A part of the catalogue with everything it is found by."""

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from intently.arrays import Mask
from intently.catalog import Catalog
from intently.index.lexical import LexicalIndex
from intently.index.postings import Postings
from intently.index.title_terms import TitleTerms
from intently.index.token_vectors import TokenVectors
from intently.index.vectors import VectorIndex
from intently.snapshot.targeting import Targeting


@dataclass(frozen=True, eq=False)
class Segment:
    """S ads, row by row the same in all parts: columns, postings of intentions, vectors, BM25, titles and targeting.

    `tokens` are the vectors of their tokens, None if nothing interacts late.
    """

    catalog: Catalog
    postings: Postings
    vectors: VectorIndex
    lexical: LexicalIndex
    titles: TitleTerms
    tokens: TokenVectors | None = None

    @property
    def num_rows(self) -> int:
        """Number of ads S."""
        return self.catalog.num_ads

    @cached_property
    def targeting(self) -> Targeting:
        """Which of the ads are eligible for whom."""
        return Targeting(self.catalog)

    @cached_property
    def ad_ids(self) -> pa.StringArray:
        """The ads' ids (S,)."""
        return self.catalog.column("ad_id").combine_chunks()

    def warmed(self) -> "Segment":
        """Return this segment after computing what the first query would otherwise wait for."""
        _ = self.targeting, self.ad_ids, self.vectors.stage
        return self

    def concatenated(self, other: "Segment") -> "Segment":
        """Return a segment of these ads and, after them, those of `other`. Cost: a copy of all but the vectors."""
        table = pa.concat_tables([self.catalog.table, other.catalog.table]).combine_chunks()
        tokens = self.tokens
        if tokens is not None:
            assert other.tokens is not None  # whatever an engine's encoder reads has tokens
            tokens = tokens.concatenated(other.tokens)
        return Segment(
            Catalog(table),
            self.postings.concatenated(other.postings),
            self.vectors.concatenated(other.vectors),
            self.lexical.concatenated(other.lexical),
            self.titles.concatenated(other.titles),
            tokens,
        )

    def kept(self, mask: Mask) -> "Segment":
        """Return a segment of the ads where `mask (S,)` holds, in their order."""
        return Segment(
            Catalog(self.catalog.table.filter(pa.array(mask))),
            self.postings.kept(mask),
            self.vectors.kept(mask),
            self.lexical.kept(mask),
            self.titles.kept(mask),
            self.tokens.kept(mask) if self.tokens else None,
        )
