"""Let the service run at half load, with changes beside it, and see whether anything grows.

    python benchmarks/soak.py ENGINE [--minutes 10] [--rate R] [--changes-per-second 10] [--cache URL]

Prints one JSON object. `intently serve` runs in a process of its own, on a copy of ENGINE. Queries come at random
moments, by default at half the rate at which one thread answers them without HTTP. Beside them come patches of bids,
and a fifth as many ads of new text, which a model reads, and deletes. Every five seconds the service's own memory (RSS
that is not mapped from files), descriptors and threads are read. Exits with 1 unless memory grows by at most 5% from
the second quarter of the time to the last, descriptors and threads do not grow, the event loop's lag has a p99 of at
most 5 ms more than an idle process has at the same time, and no request fails.
"""

import argparse
import asyncio
import itertools
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from serve import Connections, Load, ads_of, direct_ms, drain_logs, offer, percentiles, port_of

# How late an idle process wakes on this machine: what of the lag is not the service's.
_IDLE = """
import sys, time
lags, end = [], time.perf_counter() + float(sys.argv[1])
while time.perf_counter() < end:
    before = time.perf_counter(); time.sleep(0.1); lags.append(time.perf_counter() - before - 0.1)
print(1000 * sorted(lags)[int(0.99 * len(lags))])
"""
_EVERY_S = 5.0
_KEPT = 200  # ads beside the engine's own
_MAX_GROWTH, _MAX_LAG_MS = 1.05, 5.0


def main() -> None:
    """Run the service and look at it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, help="queries a second; by default half of what one thread answers")
    parser.add_argument("--changes-per-second", type=float, default=10.0, help="patches; a fifth as many puts")
    parser.add_argument("--cache", help="URL of a Valkey or Redis server for --cache of the service")
    given = parser.parse_args()
    ad_ids, titles = ads_of(given.engine)
    queries = [title[:60] for title in titles]
    rate = given.rate
    if rate is None:
        spent = direct_ms(given.engine, queries, 3.0)
        rate = 0.5 * 1000 * len(spent) / sum(spent)
    with tempfile.TemporaryDirectory() as folder:
        engine = shutil.copytree(given.engine, Path(folder, "engine"))
        command = [sys.executable, "-m", "intently", "serve", str(engine), "--port", "0"]
        server = subprocess.Popen(
            [*command, *(["--cache", given.cache] if given.cache else [])], stderr=subprocess.PIPE, text=True
        )
        try:
            port = port_of(server)
            drain_logs(server)
            told = asyncio.run(soak(port, server.pid, queries, ad_ids, rate, given))
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(60)
    told |= {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "exit_code": code}
    print(json.dumps(told, indent=1))
    sys.exit(0 if told["holds"] else 1)


async def soak(
    port: int, pid: int, queries: list[str], ad_ids: list[str], rate: float, given: argparse.Namespace
) -> dict[str, Any]:
    """Return what became of requests and process."""
    await offer(port, queries, ad_ids, rate, 3.0, given.changes_per_second)  # so that everything has run once
    seconds, samples = given.minutes * 60, []
    lag_before = await lag_buckets(port)
    watching = asyncio.create_task(watch(pid, samples))
    changing = asyncio.create_task(change(port, queries, given.changes_per_second / 5, seconds))
    idle = subprocess.Popen([sys.executable, "-c", _IDLE, str(seconds)], stdout=subprocess.PIPE, text=True)
    load: Load = await offer(port, queries, ad_ids, rate, seconds, given.changes_per_second)
    num_failed_changes, change_ms = await changing
    watching.cancel()
    idle_ms = float(idle.communicate()[0])
    lag_after = await lag_buckets(port)
    lag_ms = 1000 * quantile(0.99, {edge: count - lag_before.get(edge, 0) for edge, count in lag_after.items()})
    early, late = samples[len(samples) // 4 : len(samples) // 2], samples[3 * len(samples) // 4 :]
    growth = statistics.median(each["own_mb"] for each in late) / statistics.median(each["own_mb"] for each in early)
    steady = all(
        max(each[name] for each in late) <= max(each[name] for each in early) + 5 for name in ("descriptors", "threads")
    )
    is_well = load.num_failed + num_failed_changes == 0
    return {
        "seconds": seconds,
        "num_ads": len(ad_ids),
        "changes_per_second": given.changes_per_second,
        "load": load.told(),
        "put_ms": percentiles(change_ms),
        "failed_changes": num_failed_changes,
        "first": samples[0],
        "last": samples[-1],
        "own_mb": [each["own_mb"] for each in samples],
        "memory_growth": round(growth, 3),
        "descriptors_and_threads_steady": steady,
        "event_loop_lag_p99_ms": round(lag_ms, 2),
        "idle_process_lag_p99_ms": round(idle_ms, 2),
        "holds": growth <= _MAX_GROWTH and steady and lag_ms <= _MAX_LAG_MS + idle_ms and is_well,
    }


async def watch(pid: int, samples: list[dict[str, Any]]) -> None:
    """Look at the process every few seconds until cancelled."""
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        kilobytes = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB$", status, re.M)}
        threads = int(re.search(r"^Threads:\s+(\d+)$", status, re.M)[1])
        samples.append(
            {
                "own_mb": round(kilobytes["RssAnon"] / 1024, 1),
                "mapped_mb": round(kilobytes["RssFile"] / 1024, 1),
                "descriptors": sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
                "threads": threads,
            }
        )
        await asyncio.sleep(_EVERY_S)


async def change(port: int, titles: list[str], per_second: float, seconds: float) -> tuple[int, list[float]]:
    """Put ads of new texts and delete them some later; return how many requests failed, and what puts took."""
    connections, end, num_failed, spent = Connections(port), time.perf_counter() + seconds, 0, []
    for at in itertools.count():
        if time.perf_counter() > end:
            return num_failed, spent
        body = json.dumps({"title": f"{titles[at % len(titles)]} {at % 97}"}).encode()
        began = time.perf_counter()
        status, _ = await connections.ask("PUT", f"/v1/ads/soak-{at % _KEPT}", body)
        spent.append((time.perf_counter() - began) * 1000)
        gone, _ = await connections.ask("DELETE", f"/v1/ads/soak-{(at + _KEPT // 2) % _KEPT}")
        num_failed += (status not in (200, 201)) + (gone != 200)
        await asyncio.sleep(max(0.0, 1 / per_second - (time.perf_counter() - began)))
    raise AssertionError


async def lag_buckets(port: int) -> dict[float, float]:
    """Return the histogram of the event loop's lag: how often it was at most so many seconds."""
    _, content = await Connections(port).ask("GET", "/metrics")
    found = re.findall(rb'^intently_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)$', content, re.M)
    return {float(edge): float(count) for edge, count in found}


def quantile(share: float, buckets: dict[float, float]) -> float:
    """Return a quantile of a cumulative histogram, as Prometheus's histogram_quantile interpolates it."""
    edges, wanted = sorted(buckets), share * max(buckets.values())
    low = below = 0.0
    for edge in edges:
        if buckets[edge] >= wanted:
            return low if edge == float("inf") else low + (edge - low) * (wanted - below) / (buckets[edge] - below)
        low, below = edge, buckets[edge]
    return low


if __name__ == "__main__":
    main()
