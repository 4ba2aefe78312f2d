"""The reading of queries by models: an embedding, and intentions from the cache or from the student.

Without models the intentions of a query are those that it has word by word.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from intently.arrays import Float32Array, IntArray
from intently.engine.cache import QueryCache
from intently.engine.runtime_cache import Known, RuntimeCache
from intently.engine.settings import RetrievalSettings
from intently.engine.timing import timed
from intently.index.concatenated import concatenate_embeddings
from intently.index.intentions import IntentionIndex
from intently.index.parallel import in_parallel
from intently.intentions.decode import Decoded
from intently.models.encoder.embedder import EmbeddedQueries, Embedder
from intently.models.models import Models
from intently.models.student import Reading, Student
from intently.models.threads import intra_op_threads
from intently.text.query_text import QueryText
from intently.types import Channel

_NO_IDS: IntArray = np.empty(0, dtype=np.int64)


@dataclass
class Understood:
    """One query as models and the vocabulary understand it; parts that the chosen channels do not need are None."""

    embedding: Float32Array | None = None  # (D,), of unit length: of the student, with that of an encoder after it
    tokens: Float32Array | None = None  # (S, P), of unit length: of an encoder whose tokens interact with those of ads
    intentions: Decoded | None = None
    literal: IntArray = field(default_factory=_NO_IDS.copy)  # ids of intentions that the query has word by word
    cached: bool = False  # whether the intentions came from the cache
    timings_ms: dict[str, float] = field(default_factory=dict)


def understand(
    queries: Sequence[QueryText],
    channels: Sequence[Channel],
    intentions: IntentionIndex,
    models: Models | None,
    cache: QueryCache | None,
    settings: RetrievalSettings,
    runtime_cache: RuntimeCache | None = None,
) -> list[Understood]:
    """Return the queries, understood as far as these channels need, in order.

    `cache` is asked first, then `runtime_cache`, which keeps what was decoded after all.

    The dense channel takes the student's embedding, with that of an encoder after it if there is one. Queries that a
    cache knows are not decoded, and models read them only for what it does not know: the head-query cache has no
    embeddings, neither has tokens. With two threads or more
    the encoder reads ("embed") at the same time as the student reads and decodes. The time of a stage is shared equally
    by the queries that went through it. In float32 results do not depend on batching but for rounding. With int8 layers
    a last-bit difference may round the other way, which moves log-probabilities by up to some hundredths.
    """
    understood = [Understood() for _ in queries]
    if Channel.INTENTION in channels:
        for query, one in zip(queries, understood, strict=True):
            one.literal = intentions.literal(query)
            if cache is not None:
                with timed(one.timings_ms, "cache"):
                    one.intentions = cache.lookup(query.key)
                one.cached = one.intentions is not None
            if models is None and one.intentions is None:
                one.intentions = evenly(one.literal)
    if models is None:
        return understood
    if runtime_cache is None or Channel.INTENTION not in channels:
        _read_all(queries, understood, channels, models, settings)
        return understood
    known = _recall(queries, understood, channels, runtime_cache)
    _read_all(queries, understood, channels, models, settings)
    runtime_cache.keep(
        (query, Known(one.intentions, one.embedding if one.tokens is None else None))
        for query, one, before in zip(queries, understood, known, strict=True)
        if one.intentions is not None
        and (before is None or (before.embedding is None and one.embedding is not None and one.tokens is None))
    )
    return understood


def _recall(
    queries: Sequence[QueryText], understood: Sequence[Understood], channels: Sequence[Channel], cache: RuntimeCache
) -> list[Known | None]:
    """Note what the runtime cache knows of the queries, as far as these channels need it, and return it."""
    embeds = Channel.DENSE in channels
    cache.head.count(query.key for query, one in zip(queries, understood, strict=True) if one.intentions is None)
    wanted = [at for at, one in enumerate(understood) if embeds or one.intentions is None]
    known: list[Known | None] = [None] * len(queries)
    with _timed_for([("", understood[at]) for at in wanted], "runtime_cache"):
        for at, found in zip(wanted, cache.lookup([queries[at] for at in wanted]), strict=True):
            known[at] = found
    for one, found in zip(understood, known, strict=True):
        if found is not None and one.intentions is None:
            one.intentions, one.cached = found.intentions, True
        if found is not None and embeds:
            one.embedding = found.embedding
    return known


def evenly(intention_ids: IntArray) -> Decoded:
    """Return intentions as equally probable ones."""
    return Decoded(intention_ids, np.full(len(intention_ids), -np.log(max(len(intention_ids), 1))))


def _read_all(
    queries: Sequence[QueryText],
    understood: Sequence[Understood],
    channels: Sequence[Channel],
    models: Models,
    settings: RetrievalSettings,
) -> None:
    """Let models read the queries as far as these channels need, and note in `understood` what they made of them."""
    student, encoder = models.student, models.encoder
    asked = [(query.for_models, one) for query, one in zip(queries, understood, strict=True)]
    to_decode = [pair for pair in asked if Channel.INTENTION in channels and not pair[1].cached]
    to_embed = [pair for pair in asked if Channel.DENSE in channels and pair[1].embedding is None]

    own: list[EmbeddedQueries] = []
    num_threads = settings.num_threads if len(queries) > 1 else 1  # what one query asks of PyTorch is not worth sharing

    def student_reads() -> None:
        with intra_op_threads(num_threads):
            if to_decode:
                reading = _read(to_decode, student, settings)
                if to_embed:  # one pass of the student serves both
                    _embedded(to_decode, reading.embeddings)
                with _timed_for(to_decode, "decode"):
                    decoded = models.intention_reader.read(reading, settings.num_near, settings.decode)
                for (_, one), found in zip(to_decode, decoded, strict=True):
                    one.intentions = found
            if unread := [pair for pair in to_embed if pair[1].embedding is None]:
                _embedded(unread, _read(unread, student, settings).embeddings)

    def encoder_reads(encoder: Embedder) -> None:
        with intra_op_threads(reader_threads(num_threads, encoder)), _timed_for(to_embed, "embed"):
            own.append(encoder.read_queries([query for query, _ in to_embed]))

    if encoder is None or not to_embed:
        student_reads()
    else:
        readers: list[Callable[[], None]] = [student_reads, partial(encoder_reads, encoder)]
        in_parallel(readers, settings.num_threads)
        _embedded(to_embed, concatenate_embeddings(np.array([one.embedding for _, one in to_embed]), own[0].embeddings))
        if own[0].tokens is not None:
            for (_, one), tokens in zip(to_embed, own[0].tokens, strict=True):
                one.tokens = tokens


def reader_threads(num_threads: int, encoder: object | None) -> int:
    """Return how many of an engine's threads student and encoder get each: the two read at the same time."""
    return num_threads if encoder is None else max(1, num_threads // 2)


def _read(pairs: Sequence[tuple[str, Understood]], student: Student, settings: RetrievalSettings) -> Reading:
    """Let the student read queries."""
    with _timed_for(pairs, "encode"):
        return student.read([query for query, _ in pairs], settings.max_query_tokens)


def _embedded(pairs: Sequence[tuple[str, Understood]], embeddings: Float32Array) -> None:
    """Note the queries' embeddings (B, D)."""
    for (_, one), embedding in zip(pairs, embeddings, strict=True):
        one.embedding = embedding


@contextmanager
def _timed_for(pairs: Sequence[tuple[object, Understood]], stage: str) -> Iterator[None]:
    """Note for each query an equal share of the milliseconds spent in a block."""
    spent: dict[str, float] = {}
    with timed(spent, stage):
        yield
    for _, one in pairs:
        one.timings_ms[stage] = spent[stage] / len(pairs)
