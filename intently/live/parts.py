"""What models made of ads: with it, a segment of them needs no model. One ad's is a few thousand bytes in the log.

Shape letters: N ads, B intentions an ad, G of those that its words name, D dimensions of the student's embeddings, E of
the encoder's, T tokens of an ad, P dimensions of a token's vector.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intently.errors import LogError
from intently.index.token_vectors import TokenVectors
from intently.live.readings import Readings
from intently.models.encoder.embedder import EmbeddedAds

_HEADER = struct.Struct("<BHHHHHH")  # format, B, G, D, E, T, P; then the arrays, then the page in UTF-8
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class AdParts:
    """What models made of N ads, and what else takes long: cleaned pages (N,), intentions found in the words (N,)."""

    readings: Readings | None  # of the student, if there is one
    encoded: EmbeddedAds | None  # of the encoder, if there is one
    pages: Sequence[str]
    given: Sequence[NDArray[np.int64]]  # ids of the intentions that an ad's own words name

    def __len__(self) -> int:
        return len(self.pages)

    def dump(self, row: int) -> bytes:
        """Return one ad's as bytes."""
        ids, log_probs, embedding = _read(self.readings, row)
        second, tokens = _encoded(self.encoded, row)
        arrays = (
            ids.astype("<i8"),
            log_probs.astype("<f8"),
            self.given[row].astype("<i8"),
            embedding.astype("<f4"),
            second.astype("<f4"),
            tokens,
        )
        header = _HEADER.pack(_FORMAT, *(array.size for array in arrays[1:5]), *tokens.shape)
        return b"".join((header, *(array.tobytes() for array in arrays), self.pages[row].encode()))

    @classmethod
    def load(cls, dumped: Sequence[bytes]) -> "AdParts":
        """Return those of N ads from the bytes of each; raise `LogError` if they are none, or not of one engine."""
        each = [_loaded(content) for content in dumped]
        if len({(one.embedding.size, one.second.size, one.tokens.shape[1]) for one in each}) > 1:
            raise LogError("the readings of two ads are of different models", cure="build the engine again")
        readings, encoded = _stacked(each) if each[0].embedding.size else None, None
        if each[0].second.size:
            has_tokens = each[0].tokens.shape[1] > 0
            tokens = TokenVectors.build([one.tokens for one in each]) if has_tokens else None
            encoded = EmbeddedAds(np.stack([one.second for one in each]), tokens)
        return cls(readings, encoded, [one.page for one in each], [one.given for one in each])


@dataclass(frozen=True, eq=False)
class _One:
    ids: NDArray[np.int64]
    log_probs: NDArray[np.float64]
    given: NDArray[np.int64]
    embedding: NDArray[np.float32]
    second: NDArray[np.float32]
    tokens: NDArray[np.int8]
    page: str


def _read(readings: Readings | None, row: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float32]]:
    if readings is None:
        return np.empty(0, dtype=np.int64), np.empty(0), np.empty(0, dtype=np.float32)
    found = readings.intention_ids[row] >= 0
    return readings.intention_ids[row][found], readings.log_probs[row][found], readings.embeddings[row]


def _stacked(each: Sequence[_One]) -> Readings:
    most = max(len(one.ids) for one in each)
    ids, probs = np.full((len(each), most), -1, dtype=np.int64), np.full((len(each), most), -np.inf)
    for row, one in enumerate(each):
        ids[row, : len(one.ids)], probs[row, : len(one.ids)] = one.ids, one.log_probs
    return Readings(ids, probs, np.stack([one.embedding for one in each]))


def _encoded(encoded: EmbeddedAds | None, row: int) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    none = np.empty((0, 0), dtype=np.int8)
    if encoded is None:
        return np.empty(0, dtype=np.float32), none
    tokens = encoded.tokens
    if tokens is None:
        return encoded.embeddings[row], none
    return encoded.embeddings[row], np.asarray(tokens.values[tokens.offsets[row] : tokens.offsets[row + 1]])


def _loaded(content: bytes) -> _One:
    try:
        kind, num, num_given, size, second, num_tokens, width = _HEADER.unpack_from(content)
        if kind != _FORMAT:
            raise LogError(f"a reading is of format {kind}, not {_FORMAT}", cure="use the version that wrote it")
        at = _HEADER.size

        def array(dtype: str, count: int) -> NDArray[Any]:
            nonlocal at
            values = np.frombuffer(content, dtype, count, at)
            at += values.nbytes
            return values

        ids, probs, given = array("<i8", num), array("<f8", num), array("<i8", num_given)
        own, other = array("<f4", size), array("<f4", second)
        tokens = array("i1", num_tokens * width).reshape(num_tokens, width)
        return _One(ids, probs, given, own, other, tokens, content[at:].decode())
    except (struct.error, ValueError) as error:
        raise LogError(f"a reading is torn ({error})", cure="restore a backup of the log") from error
