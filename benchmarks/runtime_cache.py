"""Measure what the runtime cache of a service saves, in memory and in a Valkey or Redis server.

    python benchmarks/runtime_cache.py ENGINE [--queries FILE] [--most 200] [--rounds 3] [--url redis://…]

Asks every query of the intention channel and then of the fused one by one thread: without a cache, with one that does
not know it yet (of the fused channel: that knows its intentions), and with one that does. Ways take turns, so that all
see the same machine. Prints one JSON object: milliseconds a query at the median, on the clock and on the processor
(which a busy machine hardly moves), and the milliseconds of the look itself. Without `--url` the server is left out.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path
from statistics import median
from typing import Any

from intently.engine.cache_server import CacheServer
from intently.engine.cache_store import CacheStore, MemoryStore
from intently.engine.current import CurrentEngine
from intently.types import Channel, Request


def main() -> None:
    """Measure one engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--queries", type=Path, help="by default titles of the engine's own ads")
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url", help="of a server that holds nothing worth keeping: it is emptied")
    given = parser.parse_args()
    ways: dict[str, CurrentEngine] = {"none": opened(given.engine, None)}
    spent: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    queries = texts_of(given, ways["none"])
    for number in range(given.rounds):
        ways["memory"] = opened(given.engine, MemoryStore(10 * len(queries)))
        if given.url:
            ways["server"] = opened(given.engine, server(given.url))
        for channel in (Channel.INTENTION, Channel.FUSED):
            for query in queries:
                for way, current in ways.items():
                    for state in ("first", "again") if way != "none" else ("again",):
                        name = f"{way}, {state}" if way != "none" else way
                        spent.setdefault((str(channel), name), []).append(asked(current, query, channel))
        for way in ("memory", "server"):
            if way in ways:
                ways.pop(way).close()
        print(f"round {number + 1} of {given.rounds}", flush=True)
    told: dict[str, Any] = {
        "machine": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg(), "queries": len(queries),
        "num_ads": len(ways["none"].engine.catalog),
        "ms": {
            f"{channel}, {name}": dict(
                zip(("clock", "processor", "look"), (round(median(column), 3) for column in zip(*rows, strict=True)),
                    strict=True)
            )
            for (channel, name), rows in sorted(spent.items())
        },
    }  # fmt: skip
    print(json.dumps(told, indent=1))


def opened(engine: Path, store: CacheStore | None) -> CurrentEngine:
    """Return the engine with a cache, its changes in memory."""
    return CurrentEngine(engine, log="memory", follow_s=None, cache=store, num_threads=1)


def server(url: str) -> CacheServer:
    """Return a cache in an emptied server, once it is reached."""
    import valkey

    valkey.Valkey.from_url(url).flushdb()
    store = CacheServer(url, timeout_ms=1_000.0)
    while store.problem:
        time.sleep(0.01)
    return store


def asked(current: CurrentEngine, query: str, channel: Channel) -> tuple[float, float, float]:
    """Return what one answer takes: on the clock, on the processor, and of that the look into the cache."""
    clock, processor = time.perf_counter(), time.thread_time()
    ranking = current.answer(Request(query, channel=channel, explain=False))
    spent = (time.thread_time() - processor) * 1000
    return (time.perf_counter() - clock) * 1000, spent, ranking.timings_ms.get("runtime_cache", 0.0)


def texts_of(given: argparse.Namespace, current: CurrentEngine) -> list[str]:
    """Return distinct queries."""
    if given.queries:
        from intently.catalog import read_queries

        texts = list(read_queries(given.queries).texts)
    else:
        texts = [title[:60] for title in current.engine.catalog.strings("title")]
    return list(dict.fromkeys(texts))[: given.most]


if __name__ == "__main__":
    main()
