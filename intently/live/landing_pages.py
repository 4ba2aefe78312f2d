"""The landing pages of a whole catalog: joined to it as spans, and cleaned with its own words as the lexicon."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from intently.catalog.catalog import Catalog
from intently.catalog.fields import SPANS_TYPE
from intently.catalog.pages import Page
from intently.errors import InputError
from intently.text.ocr_cleaning import OcrCleaner, OcrReport
from intently.text.ocr_lexicon import OcrLexicon
from intently.types import Progress, Span

_CLEAN_TEXT = ("title", "description", "keywords", "category", "advertiser", "landing_text")
_STEP = 2_000  # ads between two reports of progress


@dataclass(frozen=True)
class CleanedPages:
    """The cleaned texts of the ads' OCR spans (N texts, empty for ads without any), and a report of the cleaning."""

    texts: tuple[str, ...]
    report: OcrReport


def domain_lexicon(catalog: Catalog, intentions: Iterable[str] = (), min_count: int = 1) -> OcrLexicon:
    """Return the words of all that is written in the catalog (not of its OCR spans) and of the intentions."""

    def texts() -> Iterator[str]:
        for batch in catalog.iter_text(*_CLEAN_TEXT, separator=" . "):
            yield from batch
        yield from intentions

    return OcrLexicon.build(texts(), min_count)


def landing_spans(catalog: Catalog) -> Iterator[tuple[Span, ...]]:
    """Yield the OCR spans of each ad, in order."""
    for chunk in catalog.column("landing_spans").chunks:
        for spans in chunk.to_pylist():
            yield tuple(Span(**span) for span in spans)


def clean_landing_pages(catalog: Catalog, cleaner: OcrCleaner, progress: Progress | None = None) -> CleanedPages:
    """Clean the OCR spans of all ads. One core cleans one to three thousand a second."""
    texts: list[str] = []
    report = OcrReport()
    for row, spans in enumerate(landing_spans(catalog)):
        if progress and row % _STEP == 0:
            progress("Cleaning pages", row, len(catalog), "")
        text, of_page = cleaner.clean_page(spans)
        texts.append(text)
        report += of_page
    if progress:
        progress("Cleaning pages", len(catalog), len(catalog), "")
    return CleanedPages(tuple(texts), report)


def join_pages(catalog: Catalog, pages: Iterable[Page], *, path: Path | None = None) -> Catalog:
    """Return the catalog with the spans of these pages in place of those that their ads had.

    Raises InputError for a page whose ad is not in the catalog, naming the file `path` that it came from.
    """
    read = {page.ad_id: page.spans for page in pages}
    ad_ids: list[str] = catalog.column("ad_id").to_pylist()
    if unknown := read.keys() - set(ad_ids):
        raise InputError(
            f"a page of the ad '{min(unknown)}', which is not in the catalog", cure="name pages by ad_id", path=path
        )
    joined = [
        [{"text": span.text, "confidence": span.confidence} for span in read.get(ad_id, had)]
        for ad_id, had in zip(ad_ids, landing_spans(catalog), strict=True)
    ]
    at = catalog.table.schema.get_field_index("landing_spans")
    field = catalog.table.schema.field(at)
    return Catalog(catalog.table.set_column(at, field, pa.array(joined, SPANS_TYPE)))
