"""Filling the query cache: the offline half of it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from intently.engine.cache import QueryCache
from intently.engine.engine import Engine
from intently.intentions.decode import Decoded, DecodeSettings
from intently.models.threads import intra_op_threads


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
    texts = {text.key: text for text in map(engine.read, queries) if not text.says_nothing}
    distinct = sorted(texts.values(), key=lambda text: len(text.for_models))
    models = engine.query_models
    decoded: list[Decoded] = []
    for start in range(0, len(distinct), batch_size):
        with intra_op_threads(engine.settings.num_threads):
            batch = [text.for_models for text in distinct[start : start + batch_size]]
            reading = models.student.read(batch, engine.settings.max_query_tokens)
            decoded += models.intention_reader.read(reading, engine.settings.num_near, decode or engine.settings.decode)
        if progress:
            progress(len(decoded), len(distinct))
    return QueryCache.build(path, [text.key for text in distinct], decoded, engine.intentions.version)
