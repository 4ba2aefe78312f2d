"""Lets the student read ads, for builds and changes alike: an embedding each, and intentions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from intently.arrays import Float32Array, Float64Array, IntArray
from intently.index.posting_weights import PostingSettings
from intently.intentions.decode import DecodeSettings
from intently.models.intention_reader import IntentionReader
from intently.models.student import Student
from intently.models.tokenizer import TextKind

_BATCH_SIZE = 64  # ads of similar length that the student reads at once


@dataclass(frozen=True, eq=False)
class Readings:
    """The student's readings of N ads, with up to B intentions each: ids (−1: none) and log-probabilities."""

    intention_ids: IntArray  # (N, B)
    log_probs: Float64Array  # (N, B)
    embeddings: Float32Array  # (N, D)

    def pairs(self, first_row: int = 0) -> tuple[IntArray, Float64Array]:
        """Return the (intention_id, ad_row) pairs (P, 2), rows counted from `first_row`, and their (P,)."""
        row, beam = np.nonzero(self.intention_ids >= 0)
        pairs = np.stack((self.intention_ids[row, beam], row + first_row), axis=1)
        return pairs, self.log_probs[row, beam]


def read_ads(
    student: Student,
    intention_reader: IntentionReader,
    texts: Sequence[str],
    settings: PostingSettings,
    progress: Callable[[int], None] | None = None,
) -> Readings:
    """Let the student read the texts of ads (N). Equal texts are read once, so that equal ads are found alike.

    An ad's intentions are the nearest, after those that the student decodes if `num_beams` says so. `progress` is
    called with the number of distinct texts read. Cost: one reading of a distinct text, in batches of similar length.
    """
    distinct = list(dict.fromkeys(texts))
    place = {text: at for at, text in enumerate(distinct)}
    decoding = DecodeSettings(num_beams=settings.num_beams) if settings.num_beams else None
    most = settings.num_beams + settings.num_near
    ids, probs = np.full((len(distinct), most), -1, dtype=np.int64), np.full((len(distinct), most), -np.inf)
    embeddings = np.empty((len(distinct), student.dimension), dtype=np.float32)
    done = 0
    for rows, reading in student.batches(distinct, settings.max_ad_tokens, _BATCH_SIZE, kind=TextKind.PASSAGE):
        embeddings[rows] = reading.embeddings
        for row, found in zip(rows, intention_reader.read(reading, settings.num_near, decoding), strict=True):
            ids[row, : len(found.intention_ids)] = found.intention_ids
            probs[row, : len(found.log_probs)] = found.log_probs
        done += len(rows)
        if progress:
            progress(done)
    where = np.array([place[text] for text in texts], dtype=np.int64)
    return Readings(ids[where], probs[where], embeddings[where])
