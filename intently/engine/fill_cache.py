"""Filling the query caches ahead of time."""

from collections.abc import Callable, Sequence
from pathlib import Path

from intently.engine.cache import QueryCache
from intently.engine.engine import Engine
from intently.engine.runtime_cache import Known
from intently.intentions.decode import Decoded, DecodeSettings
from intently.models.student import Reading
from intently.models.threads import intra_op_threads
from intently.text.query_text import QueryText


def fill_cache(
    engine: Engine,
    queries: Sequence[str],
    path: Path,
    *,
    decode: DecodeSettings | None = None,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> QueryCache:
    """Decode the intentions of `queries` with the engine's student and write them to `path`, whole or not at all.

    `decode` defaults to the engine's own settings, with which a cached query gets the same intentions as without the
    cache. Queries are read as the engine reads them, and those with the same key are decoded once. The engine itself
    goes on without the cache; assign the returned one to `engine.cache` to use it. `progress` gets the numbers of
    queries done and in all. Cost: one reading and decoding a query, in batches of similar length.
    Raises `InputError` if the engine has no models.
    """
    distinct = _distinct(engine, queries)
    decoded: list[Decoded] = []
    for start in range(0, len(distinct), batch_size):
        decoded += _decoded(engine, distinct[start : start + batch_size], decode)
        if progress:
            progress(len(decoded), len(distinct))
    return QueryCache.build(path, [text.key for text in distinct], decoded, engine.intentions.version)


def fill_runtime_cache(engine: Engine, queries: Sequence[str], *, batch_size: int = 16) -> int:
    """Read those of `queries` that neither cache of an engine knows, keep them in the runtime cache; return how many.

    So a generation is known there before it answers. Does nothing for an engine that has none, or once its store does
    not answer.
    """
    cache = engine.runtime_cache
    if cache is None:
        return 0
    texts = [
        text for text in _distinct(engine, queries) if engine.cache is None or engine.cache.lookup(text.key) is None
    ]
    num = 0
    for start in range(0, len(texts), batch_size):
        batch = texts[start : start + batch_size]
        missed = [text for text, kept in zip(batch, cache.lookup(batch), strict=True) if kept is None]
        if cache.problem:
            break
        if missed:
            cache.keep(zip(missed, _known(engine, missed), strict=True))
            num += len(missed)
    return num


def _distinct(engine: Engine, queries: Sequence[str]) -> list[QueryText]:
    """Return queries as the engine reads them, each once, those of similar length side by side."""
    texts = {text.key: text for text in map(engine.read, queries) if not text.says_nothing}
    return sorted(texts.values(), key=lambda text: len(text.for_models))


def _decoded(engine: Engine, texts: Sequence[QueryText], decode: DecodeSettings | None) -> list[Decoded]:
    return _read(engine, texts, decode)[1]


def _known(engine: Engine, texts: Sequence[QueryText]) -> list[Known]:
    reading, decoded = _read(engine, texts, None)
    if engine.query_models.encoder is not None:  # which also has to read them for the dense channel
        return [Known(each) for each in decoded]
    return [Known(*each) for each in zip(decoded, reading.embeddings, strict=True)]


def _read(engine: Engine, texts: Sequence[QueryText], decode: DecodeSettings | None) -> tuple[Reading, list[Decoded]]:
    models, settings = engine.query_models, engine.settings
    with intra_op_threads(settings.num_threads):
        reading = models.student.read([text.for_models for text in texts], settings.max_query_tokens)
        return reading, models.intention_reader.read(reading, settings.num_near, decode or settings.decode)
