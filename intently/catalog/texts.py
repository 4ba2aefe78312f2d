"""The texts that an ad is known by: a short one that a model reads, a long one that terms are taken from."""

from collections.abc import Iterator, Sequence

import pyarrow.compute as pc

from intently.catalog.catalog import Catalog
from intently.text.analyze import Analyzer
from intently.text.fold import fold


def ad_texts(catalog: Catalog) -> list[str]:
    """Return the text of each ad that the student reads: title, then description."""
    return [text for batch in catalog.iter_text("title", "description", separator=". ") for text in batch]


def searchable_texts(catalog: Catalog, pages: Sequence[str] = ()) -> Iterator[str]:
    """Yield the searchable text of each ad: everything written on it, and its page's cleaned OCR spans.

    `pages (N,)` are the texts of cleaned spans, empty where there is nothing; without any, spans are left out.
    """
    names = ("title", "description", "keywords", "category", "advertiser", "landing_text")
    row = 0
    for batch in catalog.iter_text(*names):
        for text in batch:
            yield f"{text} {pages[row]}" if pages and pages[row] else text
            row += 1


def brand_words(catalog: Catalog) -> frozenset[str]:
    """Return the words of the advertisers' names, without accents: rare as they may be, they are no misspellings."""
    names = pc.unique(catalog.column("advertiser")).to_pylist()
    return frozenset(fold(word) for name in names for word in Analyzer().words(name))
