"""The head-query cache: the intentions of frequent queries, decoded ahead of time.

A small share of the distinct queries makes most of the requests, so their intentions are decoded once, offline, with as
wide a search or as large a model as one likes. The cache holds intentions, never ads, so changes of ads do not touch
it. In another vocabulary its ids would mean other phrases; the file therefore names the vocabulary it was made for
(`IntentionIndex.version`). Source: RARE, "cache" (5% of the queries make 60% of the requests).

The file is one fixed layout, memory-mapped: no Python object a query, and processes share the pages. For Q queries with
P intentions in all and T bytes of text:

    header                    magic, Q, P, T, and the vocabulary's version
    hashes          (Q,)      uint64, ascending
    text_bounds     (Q + 1,)  uint64, where each query's text starts in `texts`
    entry_bounds    (Q + 1,)  uint64, where each query's intentions start in the two arrays below
    intention_ids   (P,)      int32
    log_probs       (P,)      float32, natural logarithms
    texts           (T,)      bytes, normalized queries in UTF-8
    checksum                  SHA-256 of all before it
"""

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float64Array
from intently.engine.cache_statistics import CacheStatistics, Counter
from intently.errors import ArtifactError, InputError
from intently.files import atomic_write
from intently.intentions.decode import Decoded
from intently.text.normalize import normalize

_MAGIC = b"INTENTQ1"
_HEADER = struct.Struct("<8sQQQ32s")
_SECTIONS = ("<u8", "<u8", "<u8", "<i4", "<f4", "u1")
_DIGEST_SIZE = hashlib.sha256().digest_size


class QueryCache:
    """Answers which intentions a normalized query has, if it is one of those kept. Safe to share by threads.

    A lookup hashes the query to 64 bits, finds the hash by binary search and compares the text itself, so that two
    queries of one hash can never answer for each other. Cost: microseconds, O(log Q).
    """

    def __init__(self, path: Path, version: str) -> None:
        """Map the cache at `path`; `version` is that of the vocabulary it must be for.

        Raises `ArtifactError` naming the file if it is torn, altered, no cache, or made for another vocabulary.
        """
        self._counter = Counter()
        try:
            content = np.memmap(path, dtype=np.uint8, mode="r")
            magic, num_queries, num_entries, num_bytes, made_for = _HEADER.unpack(content[: _HEADER.size].tobytes())
        except (OSError, ValueError, struct.error) as error:
            raise ArtifactError(f"{path} does not hold a query cache ({error}); fill the cache again") from error
        counts = (num_queries, num_queries + 1, num_queries + 1, num_entries, num_entries, num_bytes)
        sizes = [count * np.dtype(kind).itemsize for count, kind in zip(counts, _SECTIONS, strict=True)]
        if magic != _MAGIC or len(content) != _HEADER.size + sum(sizes) + _DIGEST_SIZE:
            raise ArtifactError(f"{path} does not hold a query cache, or is torn; fill the cache again")
        if hashlib.sha256(content[:-_DIGEST_SIZE].data).digest() != content[-_DIGEST_SIZE:].tobytes():
            raise ArtifactError(f"{path} has been altered (its checksum differs); fill the cache again")
        if made_for.hex() != version:
            raise ArtifactError(f"{path} was made for another vocabulary of intentions; fill the cache again")
        ends = _HEADER.size + np.cumsum(sizes)
        views = [
            np.asarray(content[end - size : end]).view(kind)
            for end, size, kind in zip(ends, sizes, _SECTIONS, strict=True)
        ]
        self._hashes, self._text_bounds, self._entry_bounds, self._ids, self._log_probs, self._texts = views

    @classmethod
    def build(cls, path: Path, queries: Sequence[str], decoded: Sequence[Decoded], version: str) -> "QueryCache":
        """Write a cache of each query's intentions to `path`, whole or not at all, and open it.

        `version` is that of the vocabulary that the intention ids belong to. Of queries that are equal once normalized
        the first is kept.
        """
        if len(queries) != len(decoded):
            raise InputError(f"{len(queries)} queries have {len(decoded)} answers", cure="give each query one")
        if len(version) != 2 * 32 or not set(version) <= set("0123456789abcdef"):
            raise InputError(f"{version!r} is no vocabulary's version", cure="pass IntentionIndex.version")
        position_of: dict[bytes, int] = {}
        for position, query in enumerate(queries):
            position_of.setdefault(_key(query), position)
        items = sorted((_hash(key), key, position) for key, position in position_of.items())
        texts, answers = [key for _, key, _ in items], [decoded[position] for _, _, position in items]
        none = np.empty(0)
        sections: tuple[NDArray[Any], ...] = (
            np.array([number for number, _, _ in items], dtype=np.uint64),
            _bounds([len(text) for text in texts]),
            _bounds([len(answer.intention_ids) for answer in answers]),
            np.concatenate([none, *(answer.intention_ids for answer in answers)]),
            np.concatenate([none, *(answer.log_probs for answer in answers)]),
            np.frombuffer(b"".join(texts), dtype=np.uint8),
        )
        numbers = len(items), len(sections[3]), len(sections[5])
        digest = hashlib.sha256()
        with atomic_write(path) as file:
            header = _HEADER.pack(_MAGIC, *numbers, bytes.fromhex(version))
            for part in (
                header,
                *(each.astype(kind).tobytes() for each, kind in zip(sections, _SECTIONS, strict=True)),
            ):
                file.write(part)
                digest.update(part)
            file.write(digest.digest())
        return cls(path, version)

    def __len__(self) -> int:
        return len(self._hashes)

    def lookup(self, query: str) -> Decoded | None:
        """Return the intentions kept for a query, best first, or None; counted in `statistics`."""
        found = self._find(_key(query))
        self._counter.count(found is not None)
        return found

    def reaching(self, weights: Float64Array, num: int) -> tuple[list[str], int]:
        """Return the `num` queries that mean most of some intentions, best first, and how many mean any of them.

        `weights (I,)` say how much each intention counts. Cost: one pass over all entries.
        """
        shares = np.exp(self._log_probs.astype(np.float64)) * weights[self._ids]
        totals = np.add.reduceat(np.append(shares, 0.0), self._entry_bounds[:-1].astype(np.int64))
        totals[np.diff(self._entry_bounds.astype(np.int64)) == 0] = 0.0
        order = np.lexsort((np.arange(len(totals)), -totals))
        best = order[: min(num, int((totals > 0).sum()))].tolist()
        texts = [self._texts[self._text_bounds[at] : self._text_bounds[at + 1]].tobytes().decode() for at in best]
        return texts, int((totals > 0).sum())

    def _find(self, key: bytes) -> Decoded | None:
        number = np.uint64(_hash(key))
        at = int(np.searchsorted(self._hashes, number))
        while at < len(self._hashes) and self._hashes[at] == number:
            if self._texts[self._text_bounds[at] : self._text_bounds[at + 1]].tobytes() == key:
                part = slice(self._entry_bounds[at], self._entry_bounds[at + 1])
                return Decoded(self._ids[part].astype(np.int64), self._log_probs[part].astype(np.float64))
            at += 1
        return None

    @property
    def statistics(self) -> CacheStatistics:
        """Lookups and hits since the cache was opened or its statistics were last reset."""
        return self._counter.statistics

    def reset_statistics(self) -> CacheStatistics:
        """Count from zero again; return the counts until now."""
        return self._counter.reset()


def _key(query: str) -> bytes:
    return normalize(query).encode()


def _hash(key: bytes) -> int:
    """Return 64 bits of a text's BLAKE2b, the same in every process and on every machine."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")


def _bounds(lengths: Sequence[int]) -> NDArray[np.int64]:
    """Return where things of these `lengths (Q,)`, one after the other, start and end (Q + 1,)."""
    return np.cumsum([0, *lengths], dtype=np.int64)
