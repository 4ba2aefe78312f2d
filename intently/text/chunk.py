"""Which parts of a landing page are worth reading: chunks of whole sentences, chosen by what the ad is wanted for.

Letters: T sentences of a document, D embedding size, M interests (queries and intentions of the ad), R runs (every
contiguous run of sentences that could be a chunk).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from intently.arrays import Float64Array, IntArray
from intently.errors import InputError, SettingsError
from intently.settings import check_range
from intently.text.sentences import join_texts, sentence_length

MAX_RUN = 64  # sentences of a chunk, at most, however short they are
_BLOCK = 4_096  # runs whose means are in memory at once
_TIE = 1e-9  # sums of the same numbers in another order differ in the last digits; such are equal


@dataclass(frozen=True)
class ChunkSettings:
    """How chunks are chosen. Lengths are in the unit of the document's `lengths`: words, unless they say otherwise."""

    num_chunks: int = 4  # at most
    max_length: int = 48  # of all chunks together
    max_chunk_length: int = 16  # of one chunk
    smoothing: float = 0.3  # β of s_t = β s_{t-1} + (1-β) e_t; with 0 every sentence stands for itself
    coherence_weight: float = 0.3  # λ; informativeness has the rest
    threshold: float = 1.0  # what scores less than this times the whole document's score adds nothing
    diversity: float = 0.0  # what a chunk loses for being like one that is chosen already, times their cosine

    def __post_init__(self) -> None:
        check_range(self, "num_chunks", "max_length", "max_chunk_length", low=1)
        check_range(self, "smoothing", "coherence_weight", high=1)
        check_range(self, "threshold", "diversity")
        if self.smoothing == 1:
            raise SettingsError("'smoothing' is 1, which forgets every sentence but the first; it takes a number < 1")


@dataclass(frozen=True)
class Chunk:
    """A run of sentences [start, end) of a document: its text, and its score (higher is better; 0 if it has none)."""

    text: str
    start: int
    end: int
    score: float = 0.0


@dataclass(frozen=True, eq=False)
class Document:
    """A text as T sentences with embeddings (T, D) and lengths (T,) > 0, by default in words (`sentence_length`).

    Embeddings need not be of unit length; one of zeros is like nothing. Raises InputError for what does not fit
    together and for values that are not finite.
    """

    sentences: Sequence[str]
    embeddings: Float64Array
    lengths: Float64Array

    @classmethod
    def build(cls, sentences: Sequence[str], embeddings: ArrayLike, lengths: ArrayLike | None = None) -> "Document":
        """Return the document of these sentences, in order."""
        if lengths is None:
            lengths = [max(1, sentence_length(sentence)) for sentence in sentences]
        each = np.asarray(lengths, dtype=np.float64)
        units = _unit_rows(embeddings, "sentences", len(sentences))
        if each.shape != (len(sentences),) or not (np.isfinite(each) & (each > 0)).all():
            raise InputError(
                f"lengths of shape {each.shape} for {len(sentences)} sentences", cure="give each a finite length > 0"
            )
        return cls(tuple(sentences), units, each)


def choose_chunks(document: Document, interests: ArrayLike, settings: ChunkSettings | None = None) -> list[Chunk]:
    """Return the chunks of a document that are most worth reading, best first; none overlap.

    `interests (M, D)` are embeddings of what the ad is known to be wanted for: its queries and intentions; M may be 0.
    The score of a run of sentences is λ · coherence + (1-λ) · informativeness, both means in which a sentence counts
    by its length. *Coherence* is the cosine of its sentences e_t with the mean of its smoothed ones s_t,
    *informativeness* the cosine of s_t with the nearest interest, 0 without any. Smoothing lends a sentence that OCR
    garbled the sense of what it stands in.

    Chunks are chosen greedily from all runs within `max_chunk_length` and `MAX_RUN`: the one with the highest product
    of length and score, less the threshold and its likeness to those chosen before (maximal marginal relevance), until
    `num_chunks` or `max_length` is reached or no run adds anything; one is always chosen. A sentence longer than a
    chunk may be is cut. Ties go to the earlier and shorter run. Cost: O(R·D) time, once more for each chunk if
    `diversity` is not 0, and O(T·D + R) memory; R ≤ T · sentences that fit a chunk ≤ T · `MAX_RUN`.
    Raises InputError for interests of another dimension or not finite.
    Source: BRIDGE, section 4.4; the paper gives no formula for coherence, informativeness or the choice.
    """
    settings = settings or ChunkSettings()
    wanted = _interests(interests, document)
    if not document.sentences:
        return []
    budget = min(settings.max_length, settings.max_chunk_length)
    starts, ends, lengths = _runs(document.lengths, budget)
    smoothed = _cumulated(document, _smooth(document.embeddings, settings.smoothing))
    scores = _scores(document, wanted, starts, ends, settings)
    whole = _scores(document, wanted, np.array([0]), np.array([len(document.sentences)]), settings)
    worth = scores - settings.threshold * whole[0]
    penalty, left, free = np.zeros(len(starts)), float(settings.max_length), np.ones(len(starts), np.bool_)
    chosen: list[Chunk] = []
    while len(chosen) < settings.num_chunks:
        gains = np.where(free & (lengths <= left), lengths * (worth - settings.diversity * penalty), -np.inf)
        best = int((gains >= gains.max() - _TIE).argmax())
        if (chosen and gains[best] <= 0) or gains[best] == -np.inf:
            break
        start, end = int(starts[best]), int(ends[best])
        chosen.append(Chunk(_read(document, start, end, budget), start, end, float(scores[best])))
        left -= lengths[best]
        free &= (ends <= start) | (starts >= end)
        if settings.diversity:
            mean = _unit(_between(smoothed, starts[best : best + 1], ends[best : best + 1]))[0]
            for block in _blocks(len(starts)):
                alike = _unit(_between(smoothed, starts[block], ends[block])) @ mean
                penalty[block] = np.maximum(penalty[block], alike)
    return chosen


def fixed_windows(document: Document, size: int, stride: int) -> list[Chunk]:
    """Return windows of whole sentences of up to `size` in length, a new one every `stride`: the usual way to chunk.

    A window holds at least one sentence, cut at `size` if it is longer; the last one reaches the end. Time is linear in
    what is returned, which holds each sentence up to `size` / `stride` times. Raises SettingsError unless
    1 ≤ stride ≤ size.
    """
    if not 1 <= stride <= size:
        raise SettingsError(f"stride {stride} and size {size} must be 1 ≤ stride ≤ size")
    ends_at = np.cumsum(document.lengths)
    windows: list[Chunk] = []
    start, num = 0, len(document.sentences)
    while start < num:
        before = ends_at[start] - document.lengths[start]
        end = max(start + 1, int(np.searchsorted(ends_at, before + size, side="right")))
        windows.append(Chunk(_read(document, start, end, size), start, end))
        if end == num:
            break
        # Never beyond the end: no sentence may fall between two windows.
        start = min(end, max(start + 1, int(np.searchsorted(ends_at, before + stride, side="right"))))
    return windows


def score_chunks(
    document: Document, chunks: Sequence[Chunk], interests: ArrayLike, settings: ChunkSettings | None = None
) -> list[Chunk]:
    """Return the chunks with the scores that `choose_chunks` would give them before any diversity."""
    wanted = _interests(interests, document)
    if not chunks:
        return []
    starts, ends = np.array([(chunk.start, chunk.end) for chunk in chunks]).T
    scores = _scores(document, wanted, starts, ends, settings or ChunkSettings())
    return [replace(chunk, score=score) for chunk, score in zip(chunks, scores.tolist(), strict=True)]


def best_text(sentences: Sequence[str], chunks: Iterable[Chunk]) -> str:
    """Return what an encoder reads of a landing page after title and description: the chunks in document order.

    A sentence that several chunks share is read once.
    """
    parts, read = [], 0
    for chunk in sorted(chunks, key=lambda chunk: (chunk.start, -chunk.end)):
        if chunk.start >= read:
            parts.append(chunk.text)
        else:
            parts.extend(sentences[read : chunk.end])
        read = max(read, chunk.end)
    return join_texts(parts)


def _runs(lengths: Float64Array, budget: float) -> tuple[IntArray, IntArray, Float64Array]:
    """Return starts, ends and lengths (R,) of all runs within the budgets; one sentence always is a run."""
    before = np.concatenate(([0.0], np.cumsum(lengths)))
    last = np.searchsorted(before, before[:-1] + budget, side="right") - 1
    counts = np.clip(last - np.arange(len(lengths)), 1, MAX_RUN)
    starts = np.repeat(np.arange(len(lengths)), counts)
    ends = starts + 1 + np.arange(len(starts)) - np.repeat(np.cumsum(counts) - counts, counts)
    return starts, ends, np.minimum(before[ends] - before[starts], budget)


def _scores(
    document: Document, interests: Float64Array, starts: IntArray, ends: IntArray, settings: ChunkSettings
) -> Float64Array:
    """Return the scores (R,) of runs."""
    smoothed = _smooth(document.embeddings, settings.smoothing)
    of_smoothed, of_sentences = _cumulated(document, smoothed), _cumulated(document, document.embeddings)
    lengths = _between(_cumulated(document, np.ones((len(smoothed), 1))), starts, ends)[:, 0]
    scores = np.empty(len(starts))
    for block in _blocks(len(starts)):
        means = _unit(_between(of_smoothed, starts[block], ends[block]))
        scores[block] = np.einsum("rd,rd->r", _between(of_sentences, starts[block], ends[block]), means)
    scores *= settings.coherence_weight / lengths
    if len(interests):
        nearest = (_unit(smoothed) @ interests.T).max(axis=1)
        informativeness = _between(_cumulated(document, nearest[:, None]), starts, ends)[:, 0] / lengths
        scores += (1 - settings.coherence_weight) * informativeness
    return scores


def _blocks(num_runs: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, num_runs, _BLOCK))


def _smooth(embeddings: Float64Array, smoothing: float) -> Float64Array:
    """Return s_t = β s_{t-1} + (1-β) e_t (T, D), from s_0 = e_0."""
    smoothed = embeddings.copy()
    for at in range(1, len(smoothed)):
        smoothed[at] = smoothing * smoothed[at - 1] + (1 - smoothing) * embeddings[at]
    return smoothed


def _cumulated(document: Document, values: Float64Array) -> Float64Array:
    """Return the sums (T + 1, D) of the values (T, D) of the sentences before each, weighed by their lengths."""
    return np.concatenate((np.zeros_like(values[:1]), np.cumsum(document.lengths[:, None] * values, axis=0)))


def _between(cumulated: Float64Array, starts: IntArray, ends: IntArray) -> Float64Array:
    sums: Float64Array = cumulated[ends] - cumulated[starts]
    return sums


def _read(document: Document, start: int, end: int, budget: float) -> str:
    """Return the text of a run; of a single sentence beyond the budget its beginning, up to a word's end."""
    text = join_texts(document.sentences[start:end])
    length = document.lengths[start]
    if end - start > 1 or length <= budget:
        return text
    at = max(1, math.floor(len(text) * budget / length))
    first_space = text.find(" ")
    while text[at - 1 : at + 1].isascii() and text[at - 1 : at + 1].isalnum() and -1 < first_space < at:
        at -= 1
    return text[:at].rstrip()


def _interests(interests: ArrayLike, document: Document) -> Float64Array:
    wanted = np.asarray(interests, dtype=np.float64)
    if wanted.size == 0:
        return wanted.reshape(0, 0)
    units = _unit_rows(wanted, "interests", len(wanted))
    if len(document.sentences) and units.shape[1] != document.embeddings.shape[1]:
        raise InputError(
            f"interests have {units.shape[1]} dimensions, sentences {document.embeddings.shape[1]}",
            cure="embed both with the same encoder",
        )
    return units


def _unit_rows(embeddings: ArrayLike, name: str, num: int) -> Float64Array:
    rows = np.asarray(embeddings, dtype=np.float64)
    if num == 0 and rows.size == 0:
        return rows.reshape(0, 0)
    if rows.ndim != 2 or len(rows) != num:
        raise InputError(f"embeddings of shape {rows.shape} for {num} {name}", cure="give one row each")
    if not np.isfinite(rows).all():
        raise InputError(f"embeddings of {name} have values that are not finite", cure="embed them again")
    return _unit(rows)


def _unit(rows: Float64Array) -> Float64Array:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units: Float64Array = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    return units
