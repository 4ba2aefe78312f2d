"""The texts that an ad is known by: a short one that a model reads, a long one that terms are taken from."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.catalog import Catalog


def ad_texts(catalog: Catalog) -> list[str]:
    """Return what the student reads of each ad: title, then description."""
    return [text for batch in catalog.iter_text("title", "description", separator=". ") for text in batch]


def searchable_texts(catalog: Catalog, min_confidence: float) -> Iterator[str]:
    """Yield all that an ad can be found by: everything written on it, and OCR spans of at least `min_confidence`."""
    names = ("title", "description", "keywords", "category", "advertiser", "landing_text")
    spans = _confident_spans(catalog.column("landing_spans"), min_confidence)
    row = 0
    for batch in catalog.iter_text(*names):
        for text, read in zip(batch, spans.slice(row, len(batch)).to_pylist(), strict=True):
            yield f"{text} {read}" if read else text
        row += len(batch)


def _confident_spans(column: pa.ChunkedArray, min_confidence: float) -> pa.ChunkedArray:
    """Return one string an ad: its spans read with enough confidence, joined."""

    def joined(spans: pa.ListArray) -> pa.Array:
        flat, parents = pc.list_flatten(spans), pc.list_parent_indices(spans)
        sure = pc.greater_equal(pc.struct_field(flat, "confidence"), min_confidence)
        texts = pc.struct_field(flat, "text").filter(sure).to_pylist()
        out: list[list[str]] = [[] for _ in range(len(spans))]
        for text, parent in zip(texts, parents.filter(sure).to_pylist(), strict=True):
            out[parent].append(text)
        return pa.array([" ".join(parts) for parts in out], pa.string())

    return pa.chunked_array([joined(chunk) for chunk in column.chunks], pa.string())
