"""Landing pages as OCR read them, and their file of JSON lines."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from intently.catalog.jsonl import read_values
from intently.catalog.records import is_spans
from intently.errors import InputError
from intently.files import atomic_write
from intently.types import Span

_CURE = 'write {"ad_id": "…", "landing_spans": [{"text": "…", "confidence": 0.9}]} on a line'


@dataclass(frozen=True, slots=True)
class Page:
    """The OCR spans of the landing page of one ad."""

    ad_id: str
    spans: tuple[Span, ...]


def write_pages(pages: Iterable[Page], path: Path) -> int:
    """Write one JSON object a page, with `ad_id` and `landing_spans` as a catalog has them; return how many.

    Whole or not at all: what was in `path` stays until the last page is written.
    """
    count = 0
    with atomic_write(path) as file:
        for page in pages:
            spans = [{"text": span.text, "confidence": round(span.confidence, 4)} for span in page.spans]
            line = json.dumps({"ad_id": page.ad_id, "landing_spans": spans}, ensure_ascii=False) + "\n"
            file.write(line.encode())
            count += 1
    return count


def load_pages(path: Path) -> list[Page]:
    """Return the pages that `write_pages` wrote; raise `InputError` naming a line that is wrong or repeats an ad."""
    line_of: dict[str, int] = {}
    pages = []
    for number, page in read_values(path, _CURE):
        if not isinstance(page, dict) or not isinstance(page.get("ad_id"), str):
            raise InputError("no page of an ad", cure=_CURE, path=path, line=number, field="ad_id")
        if not is_spans(page.get("landing_spans")):
            raise InputError("not a list of spans", cure=_CURE, path=path, line=number, field="landing_spans")
        if line_of.setdefault(page["ad_id"], number) != number:
            problem = f"the page of ad {page['ad_id']!r} is on line {line_of[page['ad_id']]} already"
            raise InputError(problem, cure="keep one page an ad", path=path, line=number, field="ad_id")
        pages.append(Page(page["ad_id"], tuple(Span(**span) for span in page["landing_spans"])))
    return pages
