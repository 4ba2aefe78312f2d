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
from intently.live.parts import AdParts
from intently.live.readings import Readings
from intently.models.encoder.embedder import EmbeddedAds
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
        return self.segment(catalog, self.parts(catalog))

    def parts(self, catalog: Catalog) -> AdParts:
        self.num_read += catalog.num_ads
        if any("slow" in title for title in catalog.strings("title")):
            assert self.gate.wait(300)
        ids, weights = self.intentions(catalog)
        vectors = self.vectors(catalog)
        tokens = TokenVectors.build(self.tokens(catalog)) if self.has_tokens and catalog.num_ads else None
        return AdParts(
            Readings(ids, weights, vectors[:, :2]),
            EmbeddedAds(vectors[:, 2:], tokens),
            [""] * catalog.num_ads,
            [np.empty(0, dtype=np.int64)] * catalog.num_ads,
        )

    def segment(self, catalog: Catalog, parts: AdParts) -> Segment:
        pairs, weights = parts.readings.pairs()
        assert parts.encoded is not None
        return Segment.build(
            catalog,
            Postings.build(pairs[:, 0], pairs[:, 1], weights, self.num_intentions, catalog.num_ads),
            VectorIndex(np.concatenate((parts.readings.embeddings, parts.encoded.embeddings), axis=1)),
            self.lexical(catalog),
            TitleTerms.build(catalog.strings("title"), Analyzer()),
            parts.encoded.tokens,
        )

    def lexical(self, catalog: Catalog) -> LexicalIndex:
        return LexicalIndex.build(searchable_texts(catalog), LexicalSettings(), self.statistics)

    def intentions(self, catalog: Catalog) -> tuple[np.ndarray, np.ndarray]:
        ids, weights = [], []
        for rng in self._random(ad_texts(catalog), b"postings"):
            ids.append(rng.choice(self.num_intentions, size=3, replace=False))
            weights.append(rng.uniform(0.1, 2.0, size=3))
        return np.array(ids, dtype=np.int64).reshape(-1, 3), np.array(weights).reshape(-1, 3)

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
