"""Measure how long an engine takes per query, channel by channel: one query at a time, and many in batches.

    python benchmarks/latency.py ENGINE --queries FILE [--most 1000] [--threads 1]

Prints a table and, last, one JSON line with machine, date and figures. Each query is answered alone with k = 10 and its
reasons told; throughput is that of `retrieve_many` with k = 10.
"""

import argparse
import json
import os
import platform
import resource
import time
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from intently import Engine
from intently.catalog import read_queries
from intently.evaluation.latency import measure_latency
from intently.types import Channel


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--most", type=int, default=1_000, help="use this many of the queries")
    parser.add_argument("--threads", type=int, default=1, help="threads of the student")
    options = parser.parse_args()

    start = time.perf_counter()
    engine = Engine.load(options.engine, num_threads=options.threads)
    load_s = time.perf_counter() - start
    queries = read_queries(options.queries).texts[: options.most]
    table = Table("channel", "p50 ms", "p95 ms", "p99 ms", "queries/s in batches")
    figures = {}
    for channel in Channel:
        latency = measure_latency(partial(engine.retrieve, channel=channel), queries)
        start = time.perf_counter()
        for _ in engine.retrieve_many(queries, channel=channel):
            pass
        per_second = len(queries) / (time.perf_counter() - start)
        table.add_row(
            str(channel),
            *(f"{value:.1f}" for value in (latency.p50_ms, latency.p95_ms, latency.p99_ms)),
            f"{per_second:.0f}",
        )
        figures[str(channel)] = asdict(latency) | {"queries_per_second": per_second}
    Console().print(table)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    about = {"machine": machine, "threads": options.threads, "date": date.today().isoformat(), "load_s": load_s}
    print(json.dumps(about | {"num_ads": engine.catalog.num_ads, "peak_memory_mib": peak_mib, "channels": figures}))


if __name__ == "__main__":
    main()
