"""The query cache that grows while an engine answers: what models made of queries, kept in a store.

It stands behind the engine's own cache of head queries (`intently.engine.cache`). It holds intentions and embeddings,
never ads, so changes of ads do not touch it, and no model reads a query that it knows. What decides them is in a key:
the generation, the version of the text rules, the models, the settings of decoding, and the text that models read, in
which corrections by the words of present ads are written out. So no key can lead to an answer that this engine would
not give.

A value is `INTENTQ2`, the number of intentions P, the size of the embedding D (0: none), P int32 ids, P float32
log-probabilities, D float32, all little-endian, and 16 bytes of BLAKE2b over key, text and all before it. Whatever does
not fit is not used.
"""

import hashlib
import json
import logging
import struct
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from intently.arrays import Float32Array
from intently.engine.cache_store import CacheStore
from intently.engine.head_queries import HeadQueries
from intently.engine.settings import RetrievalSettings
from intently.intentions.decode import Decoded
from intently.text.query_text import QueryText
from intently.text.rules import TEXT_RULES_VERSION

logger = logging.getLogger(__name__)

_HEADER = struct.Struct("<8sII")
_MAGIC = b"INTENTQ2"
_DIGEST_BYTES = 16


@dataclass(frozen=True, eq=False)
class Known:
    """What models made of a query: its intentions, and its embedding (D,) if nobody has asked for more than that."""

    intentions: Decoded
    embedding: Float32Array | None = None


class RuntimeCache:
    """What one engine finds in a store, which others may share. Threads may share it.

    `head` are the queries that the engine's own cache did not know.
    """

    def __init__(
        self,
        store: CacheStore,
        head: HeadQueries,
        generation: str,
        models: str,
        settings: RetrievalSettings,
        num_intentions: int,
    ) -> None:
        """`models` is the fingerprint of an engine's models; `num_intentions` that its vocabulary has."""
        self.head = head
        self._store, self._num_intentions = store, num_intentions
        decides = {
            "models": models,
            "decode": asdict(settings.decode),
            "num_near": settings.num_near,
            "max_query_tokens": settings.max_query_tokens,
            "runtime": settings.runtime,
        }
        told = json.dumps(decides, sort_keys=True, default=str).encode()
        mark = hashlib.blake2b(told, digest_size=8).hexdigest()
        self._prefix = f"intently:{generation}:{TEXT_RULES_VERSION}:{mark}:"

    @property
    def problem(self) -> str:
        """Why the store is not asked now; empty while it is."""
        return self._store.problem

    def lookup(self, queries: Sequence[QueryText]) -> list[Known | None]:
        """Return what is known of each query, None for those that are not. Cost: one look into the store."""
        if not queries:
            return []
        keys = [self._key(query) for query in queries]
        values = self._store.get(keys)
        found = [self._read(*each) for each in zip(keys, queries, values, strict=True)]
        if not self._store.problem:
            num_hits = sum(one is not None for one in found)
            self._store.on_result("hit", num_hits)
            self._store.on_result("miss", len(found) - num_hits)
        return found

    def keep(self, read: Iterable[tuple[QueryText, Known]]) -> None:
        """Keep what queries were read as, for all who have this generation and share the store. Returns at once."""
        for query, known in read:
            key, found = self._key(query), known.intentions
            embedding = np.empty(0) if known.embedding is None else known.embedding
            content = b"".join(
                (
                    _HEADER.pack(_MAGIC, len(found.intention_ids), len(embedding)),
                    found.intention_ids.astype("<i4").tobytes(),
                    found.log_probs.astype("<f4").tobytes(),
                    embedding.astype("<f4").tobytes(),
                )
            )
            self._store.put(key, content + _digest(key, query, content))

    def _key(self, query: QueryText) -> str:
        return self._prefix + hashlib.blake2b(query.for_models.encode(), digest_size=16).hexdigest()

    def _read(self, key: str, query: QueryText, value: bytes | None) -> Known | None:
        if value is None:
            return None
        content, digest = value[:-_DIGEST_BYTES], value[-_DIGEST_BYTES:]
        if len(content) >= _HEADER.size and digest == _digest(key, query, content):
            magic, num, size = _HEADER.unpack_from(content)
            if magic == _MAGIC and len(content) == _HEADER.size + 8 * num + 4 * size:
                ids = np.frombuffer(content, "<i4", num, _HEADER.size).astype(np.int64)
                log_probs = np.frombuffer(content, "<f4", num, _HEADER.size + 4 * num).astype(np.float64)
                embedding = np.frombuffer(content, "<f4", size, _HEADER.size + 8 * num).astype(np.float32)
                if not num or 0 <= ids.min() <= ids.max() < self._num_intentions:
                    return Known(Decoded(ids, log_probs), embedding if size else None)
        logger.warning("the query cache holds something else under %s; it is not used", key)
        self._store.on_result("invalid", 1)
        return None


def _digest(key: str, query: QueryText, content: bytes) -> bytes:
    """Return what binds a value to its key and its query, so that one of another query is not taken for it."""
    told = f"{key}\0{query.for_models}\0".encode()
    return hashlib.blake2b(told + content, digest_size=_DIGEST_BYTES).digest()
