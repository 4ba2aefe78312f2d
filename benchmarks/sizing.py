"""Measure what catalogs of several sizes need: time to build, disk, memory, queries a second.

    python benchmarks/sizing.py [--ads 1000 10000 50000] [--presets lexical instant] [--queries 400] [--directory DIR]

Simulates a world of each size, with clicks. Each preset builds an engine of it with `intently build`, in a process of
its own, whose memory and processor time are its alone. Another process loads the engine and answers the world's judged
queries: one by one with k = 10 and reasons, then all of them in batches of 32, fused, on one thread. Prints a Markdown
table and, last, one JSON line with machine, date and figures. `--directory` keeps worlds and engines: a second run
measures the answers only, and tells no times of builds.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

from intently import Engine
from intently.catalog import read_queries
from intently.evaluation.latency import measure_latency
from intently.generation import current_id, open_generation
from intently.lab.world import simulate_world

MIB = 1024 * 1024
MEMORY = ("RssAnon", "RssFile")  # of Linux: a process's own, and what it maps from files, which others share
COLUMNS = {
    "ads": "ads",
    "preset": "preset",
    "build_s": "build, s",
    "build_cpu_s": "processor time, s",
    "build_mib": "memory of the build, MiB",
    "disk_mib": "disk, MiB",
    "load_s": "load, s",
    "own_mib": "memory of a process that answers, MiB",
    "mapped_mib": "and shared with others, MiB",
    "cpu_ms": "processor ms a query",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "queries_per_s": "queries/s in batches",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ads", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    parser.add_argument("--presets", nargs="+", default=["lexical", "instant"])
    parser.add_argument("--queries", type=int, default=400, help="judged queries of each world")
    parser.add_argument("--directory", type=Path, help="where worlds and engines go, instead of a temporary directory")
    parser.add_argument("--answers", type=Path, nargs=2, metavar=("ENGINE", "QUERIES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answers:
        print(json.dumps(answers(*options.answers)))
        return
    figures = []
    with tempfile.TemporaryDirectory() as temporary:
        for num_ads in options.ads:
            world = (options.directory or Path(temporary)) / f"world-{num_ads}"
            if not world.exists():
                simulate_world(world, num_ads, 0, num_judged_queries=options.queries)
            for preset in options.presets:
                engine = world.with_name(f"{preset}-{num_ads}")
                figures.append({"ads": num_ads, "preset": preset} | sizes(world, engine, preset))
    print(markdown(figures))
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"machine": machine, "date": date.today().isoformat(), "figures": figures}))


def sizes(world: Path, engine: Path, preset: str) -> dict[str, float]:
    """Return the figures of the engine that a preset builds of a world; builds it if it is not there."""
    found: dict[str, float] = {}
    if not (engine / "CURRENT").exists():
        files = ["--ads", world / "ads.jsonl.gz", "--clicks", world / "clicks.tsv.gz"]
        begun = time.perf_counter()
        command = ["-m", "intently", "build", *files, "--out", engine, "--preset", preset]
        building = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(building.pid, 0)
        building.returncode = os.waitstatus_to_exitcode(status)
        if building.returncode:
            raise SystemExit(f"the build of {engine} failed")
        found["build_s"] = time.perf_counter() - begun
        found["build_cpu_s"] = used.ru_utime + used.ru_stime
        found["build_mib"] = used.ru_maxrss / 1024  # Linux counts in KiB
    with open_generation(engine, current_id(engine), verify=False) as opened:
        found["disk_mib"] = sum(part.bytes for part in opened.manifest.files.values()) / MIB
    command = [__file__, "--answers", engine, world / "queries.tsv"]
    told = subprocess.run([sys.executable, *map(str, command)], check=True, stdout=subprocess.PIPE, text=True)
    return found | json.loads(told.stdout)


def answers(path: Path, asked: Path) -> dict[str, float]:
    """Return how long an engine takes to load and to answer, and the memory of this process."""
    queries = read_queries(asked).texts
    begun = time.perf_counter()
    engine = Engine.load(path, num_threads=1)
    load_s = time.perf_counter() - begun
    for query in queries[:10]:  # whose first ones pay for what is made on first use
        engine.retrieve(query)
    spent = time.process_time()
    latency = measure_latency(engine.retrieve, queries, num_warmup=0)
    spent = time.process_time() - spent
    begun = time.perf_counter()
    for _ in engine.retrieve_many(queries):
        pass
    batches_s = time.perf_counter() - begun
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    own_kib, mapped_kib = (int(re.findall(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)[0]) for name in MEMORY)
    return {
        "load_s": load_s,
        "own_mib": own_kib / 1024,
        "mapped_mib": mapped_kib / 1024,
        "cpu_ms": 1000 * spent / len(queries),
        "p50_ms": latency.p50_ms,
        "p99_ms": latency.p99_ms,
        "queries_per_s": len(queries) / batches_s,
    }


def markdown(figures: list[dict[str, Any]]) -> str:
    """Return the figures as a table."""

    def cell(value: object) -> str:
        if isinstance(value, float):
            return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    rows = [[cell(each.get(name, "")) for name in COLUMNS] for each in figures]
    lines = [list(COLUMNS.values()), ["---" if name == "preset" else "---:" for name in COLUMNS], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
