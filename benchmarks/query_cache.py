"""Measure what the query cache brings: queries per second without it, and with it at a given hit rate.

    python benchmarks/query_cache.py ENGINE --queries FILE [--hit-rate 0.65] [--requests 2000] [--exponent 1.0]

Requests are drawn from the file's queries by Zipf's law. The cache holds the most frequent ones, as few as reach the
hit rate on these requests; their intentions are decoded by the engine itself. Both channels that need intentions are
measured, one request at a time and in batches. Prints two tables and, last, one JSON line with machine, date and
figures. The engine on disk is not changed.
"""

import argparse
import json
import os
import platform
import time
from collections import Counter
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from intently import Engine
from intently.catalog import read_queries
from intently.engine.fill_cache import fill_cache
from intently.engine.layout import CACHE_FILE
from intently.evaluation.cache_report import cache_report, zipf_log
from intently.evaluation.latency import measure_latency
from intently.text.normalize import normalize
from intently.types import Channel

CHANNELS = (Channel.INTENTION, Channel.FUSED)
SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)  # of the distinct queries, in the report of hit rates


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--hit-rate", type=float, default=0.65, help="share of the requests that the cache answers")
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--exponent", type=float, default=1.0, help="of Zipf's law")
    parser.add_argument("--threads", type=int, default=1, help="threads of the student")
    options = parser.parse_args()

    engine = Engine.load(options.engine, num_threads=options.threads)
    engine.cache = None  # if the engine has one
    queries = list(dict.fromkeys(map(normalize, read_queries(options.queries).texts)))
    log = [queries[number] for number in zipf_log(len(queries), options.requests, options.exponent, seed=0)]
    by_count = Counter(log).most_common()
    answered = np.cumsum([count for _, count in by_count]) / len(log)
    size = int(np.searchsorted(answered, options.hit_rate)) + 1
    sizes = sorted({max(1, round(share * len(by_count))) for share in SHARES} | {size})
    report = [asdict(row) for row in cache_report(log, sizes)]

    with TemporaryDirectory() as directory:
        start = time.perf_counter()
        cache = fill_cache(engine, [query for query, _ in by_count[:size]], Path(directory) / CACHE_FILE)
        fill_s, num_bytes = time.perf_counter() - start, (Path(directory) / CACHE_FILE).stat().st_size
        figures: dict[str, dict[str, float]] = {}
        for channel in CHANNELS:
            for name, used in (("uncached", None), ("cached", cache)):
                engine.cache = used
                engine.retrieve(log[0], channel=channel)
                cache.reset_statistics()
                start = time.perf_counter()
                latency = measure_latency(partial(engine.retrieve, channel=channel, explain=False), log, num_warmup=0)
                alone, start = time.perf_counter() - start, time.perf_counter()
                for _ in engine.retrieve_many(log, channel=channel):
                    pass
                figures[f"{channel} {name}"] = {
                    "one_by_one_per_second": len(log) / alone,
                    "p50_ms": latency.p50_ms,
                    "p99_ms": latency.p99_ms,
                    "batched_per_second": len(log) / (time.perf_counter() - start),
                    "hit_rate": cache.statistics.hit_rate,
                }
        engine.cache = None
        del cache  # which maps the file

    console = Console()
    table = Table("queries kept", "of the distinct", "hit rate", "compute saved")
    for row in report:
        table.add_row(f"{row['size']:,}", *(f"{row[name]:.1%}" for name in list(row)[1:]))
    console.print(table)
    table = Table("channel", "queries/s one by one", "p50 ms", "p99 ms", "queries/s in batches", "hit rate")
    for name, row in figures.items():
        table.add_row(name, *(f"{value:.2f}" if value < 1 else f"{value:.1f}" for value in row.values()))
    console.print(table)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    about = {"machine": machine, "threads": options.threads, "date": date.today().isoformat()}
    about |= {"requests": len(log), "distinct": len(by_count), "kept": size, "fill_s": fill_s, "cache_bytes": num_bytes}
    print(json.dumps(about | {"report": report, "channels": figures}))


if __name__ == "__main__":
    main()
