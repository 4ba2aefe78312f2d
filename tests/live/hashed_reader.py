"""A reader of ads without models: what an ad is found by follows from a hash of its text, in no time."""

import hashlib
import threading
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from intently.catalog import Catalog
from intently.catalog.texts import ad_texts, searchable_texts
from intently.index.bm25 import Statistics
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.index.postings import Postings
from intently.index.title_terms import TitleTerms
from intently.index.token_vectors import TokenVectors
from intently.index.vectors import VectorIndex
from intently.snapshot.segment import Segment
from intently.text.analyze import Analyzer

TOKEN_SIZE = 4


class HashedReader:
    """Reads ads like `AdReader`. While `gate` is closed, ads with "slow" in their title are waited for."""

    def __init__(self, num_intentions: int, dimension: int, statistics: Statistics, has_tokens: bool) -> None:
        self.num_intentions, self.dimension, self.statistics = num_intentions, dimension, statistics
        self.has_tokens = has_tokens
        self.gate = threading.Event()
        self.gate.set()
        self.num_read = 0

    def read(self, catalog: Catalog) -> Segment:
        self.num_read += catalog.num_ads
        if any("slow" in title for title in catalog.strings("title")):
            assert self.gate.wait(300)
        titles = TitleTerms.build(catalog.strings("title"), Analyzer())
        tokens = TokenVectors.build(self.tokens(catalog)) if self.has_tokens and catalog.num_ads else None
        return Segment.build(
            catalog, self.postings(catalog), VectorIndex(self.vectors(catalog)), self.lexical(catalog), titles, tokens
        )

    def lexical(self, catalog: Catalog) -> LexicalIndex:
        return LexicalIndex.build(searchable_texts(catalog), LexicalSettings(), self.statistics)

    def postings(self, catalog: Catalog) -> Postings:
        keys, rows, weights = [], [], []
        for row, rng in enumerate(self._random(ad_texts(catalog), b"postings")):
            chosen = rng.choice(self.num_intentions, size=3, replace=False)
            keys += chosen.tolist()
            rows += [row] * 3
            weights += rng.uniform(0.1, 2.0, size=3).tolist()
        return Postings.build(
            np.array(keys, dtype=np.int64), np.array(rows, dtype=np.int64), np.array(weights),
            self.num_intentions, catalog.num_ads,
        )  # fmt: skip

    def vectors(self, catalog: Catalog) -> np.ndarray:
        vectors = [self._vector(text, self.dimension) for text in ad_texts(catalog)]
        return np.array(vectors, dtype=np.float32).reshape(-1, self.dimension)

    def tokens(self, catalog: Catalog) -> list[np.ndarray]:
        found = []
        for rng in self._random(ad_texts(catalog), b"tokens"):
            each = rng.normal(size=(int(rng.integers(1, 4)), TOKEN_SIZE)).astype(np.float32)
            found.append(TokenVectors.codes_of(each / np.linalg.norm(each, axis=1, keepdims=True)))
        return found

    @staticmethod
    @lru_cache(maxsize=100_000)
    def _vector(text: str, dimension: int) -> np.ndarray:
        (rng,) = HashedReader._random([text], b"vectors")
        vector = rng.normal(size=dimension).astype(np.float32)
        return vector / np.linalg.norm(vector)

    @staticmethod
    def _random(texts: Sequence[str], salt: bytes) -> list[np.random.Generator]:
        digests = [hashlib.blake2b(text.encode(), digest_size=8, salt=salt).digest() for text in texts]
        return [np.random.default_rng(int.from_bytes(digest, "little")) for digest in digests]
