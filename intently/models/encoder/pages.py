"""What the encoder reads of ads: title and description, then the parts of the landing page that users ask for."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from intently.catalog import Catalog
from intently.catalog.texts import ad_texts
from intently.text.chunk import ChunkSettings, Document, best_text, choose_chunks
from intently.text.sentences import split_sentences
from intently.types import Progress

MAX_SENTENCE_TOKENS = 48  # of a sentence that count when it is embedded
MAX_SENTENCES = 1_000  # of a page that are looked at, its first; what comes after is not read by the encoder
_BLOCK = 2_000  # ads whose sentences are embedded at once

# Texts to embeddings (len(texts), D).
Embed = Callable[[Sequence[str]], NDArray[np.float32]]


def encoder_texts(
    catalog: Catalog,
    pages: Sequence[str],
    asked: Sequence[Sequence[str]],
    embed: Embed,
    settings: ChunkSettings,
    progress: Progress | None = None,
) -> list[str]:
    """Return what the encoder reads of each ad (N,).

    `pages (N,)` are the cleaned texts of landing pages read by OCR, `asked (N,)` queries that led to each ad; beside
    these its title and bid keywords tell what is worth reading. All are compared as `embed` sees them, each different
    text read once in a block of ads.
    """
    texts, titles, bids = ad_texts(catalog), catalog.strings("title"), catalog.bare_keywords()
    written = (text for batch in catalog.iter_text("landing_text") for text in batch)
    landing = [" ".join(part for part in parts if part) for parts in zip(written, pages, strict=True)]
    rows = [row for row, text in enumerate(landing) if text]
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        sentences = [split_sentences(landing[row])[:MAX_SENTENCES] for row in block]
        seen = _embedded(embed, [*sentences, *([titles[row], *asked[row], *bids[row]] for row in block)])
        for row, own, embeddings, interests in zip(
            block, sentences, seen[: len(block)], seen[len(block) :], strict=True
        ):
            if chosen := best_text(own, choose_chunks(Document.build(own, embeddings), interests, settings)):
                texts[row] = f"{texts[row]}. {chosen}"
        if progress:
            progress("Choosing what to read of pages", start + len(block), len(rows), "")
    return texts


def _embedded(embed: Embed, lists: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
    """Return the embeddings (M, D) of each list of texts."""
    number = {text: place for place, text in enumerate(dict.fromkeys(text for texts in lists for text in texts))}
    every = embed(list(number))
    return [every[np.array([number[text] for text in texts], dtype=np.int64)] for texts in lists]
