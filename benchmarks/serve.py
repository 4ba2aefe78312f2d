"""Measure the HTTP service: the rate that it holds, beside the engine called directly, and what overload does to it.

    python benchmarks/serve.py ENGINE [--queries FILE] [--seconds 6] [--patches-per-second 50] [--p99-ms 60]
        [--cache memory]

Prints one JSON object. First the engine alone, called by one thread, one query after the other, in a process of its
own: queries a second, p50 and p99. Then `intently serve` in a process of its own, asked over HTTP by this one: queries
arrive at random moments (Poisson), whether or not earlier ones have been answered. A latency counts from the moment a
query should have been sent, so that a service that stands still is not flattered (coordinated omission). `held_rate` is
the highest rate of those tried whose p99 is within bounds with at most 1% degraded or refused. Then three and
ten times that rate: goodput (answers in time and not degraded), refusals, and what `/livez` takes meanwhile.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_DIRECT = """
import json, sys, time
from intently import Engine
from intently.types import Request
engine, (queries, seconds) = Engine.load(sys.argv[1]), json.load(sys.stdin)
for query in queries[:20]: engine.answer(Request(query))
spent, began, at = [], time.perf_counter(), 0
while time.perf_counter() - began < seconds:
    start = time.perf_counter(); engine.answer(Request(queries[at % len(queries)])); at += 1
    spent.append((time.perf_counter() - start) * 1000)
print(json.dumps(spent))
"""


@dataclass
class Load:
    """What became of the requests of one rate."""

    rate: float
    seconds: float
    good_ms: list[float] = field(default_factory=list)
    degraded_ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    live_ms: list[float] = field(default_factory=list)
    patch_ms: list[float] = field(default_factory=list)
    num_failed: int = 0
    failures: set[str] = field(default_factory=set)

    def told(self) -> dict[str, Any]:
        """Return the figures."""
        sent = len(self.good_ms) + len(self.degraded_ms) + len(self.refused_ms) + self.num_failed
        return {
            "rate": round(self.rate, 1),
            "sent": sent,
            "goodput": round(len(self.good_ms) / self.seconds, 1),
            "degraded": len(self.degraded_ms),
            "refused": len(self.refused_ms),
            "failed": self.num_failed,
            "failures": sorted(self.failures)[:5],
            "answered_ms": percentiles(self.good_ms + self.degraded_ms),
            "refused_ms": percentiles(self.refused_ms),
            "livez_ms": percentiles(self.live_ms),
            "patch_ms": percentiles(self.patch_ms),
        }

    def holds(self, p99_ms: float) -> bool:
        """Return whether p99 is within bounds, with at most 1% refused, degraded or failed."""
        spoilt = len(self.degraded_ms) + len(self.refused_ms) + self.num_failed
        return bool(self.good_ms) and spoilt <= 0.01 * len(self.good_ms) and np.percentile(self.good_ms, 99) <= p99_ms


def percentiles(spent: list[float]) -> dict[str, float] | None:
    """Return p50 and p99 in milliseconds."""
    if not spent:
        return None
    return {f"p{at}": round(float(np.percentile(spent, at)), 2) for at in (50, 99)}


class Connections:
    """HTTP/1.1 over connections that are kept: less work than a client library, which would share the cores."""

    def __init__(self, port: int, headers: str = "") -> None:
        self._port, self._headers, self._free = port, headers, []

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send one request and return status and body."""
        while self._free and self._free[-1][0].at_eof():  # the service ends connections that are idle for long
            self._free.pop()
        reader, writer = (
            self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        )
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{self._headers}Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        told = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(re.search(rb"content-length: (\d+)", told)[1])
        content = await reader.readexactly(length)
        if b"connection: close" in told:
            writer.close()
        else:
            self._free.append((reader, writer))
        return int(told[9:12]), content


async def offer(port: int, queries: list[str], ad_ids: list[str], rate: float, seconds: float, patches: float) -> Load:
    """Send queries at a rate, changes beside them, and a look at `/livez` ten times a second."""
    load, rng, connections = Load(rate, seconds), random.Random(7), Connections(port)
    tasks: list[asyncio.Task[None]] = []

    async def query(due: float) -> None:
        body = json.dumps({"query": rng.choice(queries)}).encode()
        try:
            status, content = await connections.ask("POST", "/v1/retrieve", body)
        except (OSError, asyncio.IncompleteReadError) as error:
            load.num_failed += 1
            load.failures.add(repr(error))
            return
        spent = (time.perf_counter() - due) * 1000
        if status == 503:
            load.refused_ms.append(spent)
        elif status != 200:
            load.num_failed += 1
            load.failures.add(f"{status} {content[:500].decode(errors='replace')}")
        elif b'"degraded":[]' in content:
            load.good_ms.append(spent)
        else:
            load.degraded_ms.append(spent)

    async def timed(into: list[float], due: float, *what: Any) -> None:
        await connections.ask(*what)
        into.append((time.perf_counter() - due) * 1000)

    async def stream(per_second: float, make: Any, is_even: bool = False) -> None:
        due, end = time.perf_counter(), time.perf_counter() + seconds
        while True:
            due += 1 / per_second if is_even else rng.expovariate(per_second)
            if due > end:
                return
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(make(due)))

    def patch(due: float) -> Any:
        body = json.dumps({"bid": round(rng.random(), 2)}).encode()
        return timed(load.patch_ms, due, "PATCH", f"/v1/ads/{rng.choice(ad_ids)}", body)

    streams = [stream(rate, query), stream(10, lambda due: timed(load.live_ms, due, "GET", "/livez"), True)]
    await asyncio.gather(*streams, *([stream(patches, patch)] if patches else []))
    await asyncio.gather(*tasks)
    return load


async def ask_each(port: int, queries: list[str]) -> None:
    """Ask each query once, without hurry, so that the shared cache knows it."""
    connections = Connections(port)
    for start in range(0, len(queries), 50):
        body = [{"query": query, "channel": "intention"} for query in queries[start : start + 50]]
        await connections.ask("POST", "/v1/retrieve", json.dumps(body).encode())
    await asyncio.sleep(1.0)  # until the last ones are written


def main() -> None:
    """Measure one engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--queries", type=Path, help="by default titles of the engine's own ads")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each rate")
    parser.add_argument("--patches-per-second", type=float, default=50.0)
    parser.add_argument("--p99-ms", type=float, default=60.0)
    parser.add_argument("--read-threads", type=int, default=1)
    parser.add_argument(
        "--cache",
        default="",
        help="memory, or the URL of a Valkey or Redis server; each query is asked once before. By default none",
    )
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.7, 0.85, 1.0], help="of the direct rate")
    given = parser.parse_args()
    ad_ids, titles = ads_of(given.engine)
    queries = [title[:60] for title in titles]
    if given.queries:
        from intently.catalog import read_queries

        queries = list(read_queries(given.queries).texts)
    spent = direct_ms(given.engine, queries, given.seconds)
    facts: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load_before": os.getloadavg(),
        "num_ads": len(ad_ids), "patches_per_second": given.patches_per_second,
        "direct": {"rate": round(1000 * len(spent) / sum(spent), 1)} | (percentiles(spent) or {}),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "serve.toml")
        num_kept = len(queries) if given.cache else 0
        settings.write_text(f"read_threads = {given.read_threads}\ndrain_delay_s = 0.0\ncache_queries = {num_kept}\n")
        command = [sys.executable, "-m", "intently", "serve", str(given.engine), "--port", "0"]
        command += ["--settings", str(settings), *(["--cache", given.cache] if "://" in given.cache else [])]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            port = port_of(server)
            drain_logs(server)
            measure(facts, port, queries, ad_ids, given)
        finally:
            server.send_signal(signal.SIGTERM)
            facts["exit_code"] = server.wait(60)
    print(json.dumps(facts, indent=1))


def direct_ms(engine: Path, queries: list[str], seconds: float) -> list[float]:
    """Return what each query takes when one thread asks the engine, without HTTP, in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-c", _DIRECT, str(engine)], input=json.dumps([queries, seconds]),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    spent: list[float] = json.loads(ran.stdout)
    return spent


def measure(facts: dict[str, Any], port: int, queries: list[str], ad_ids: list[str], given: Any) -> None:
    """Add what the service does at each rate."""

    def at(rate: float, seconds: float) -> Load:
        return asyncio.run(offer(port, queries, ad_ids, rate, seconds, given.patches_per_second))

    at(5.0, 2.0)  # so that everything has run once
    if given.cache:
        asyncio.run(ask_each(port, queries))
    base, held = facts["direct"]["rate"], 0.0
    facts["rates"] = []
    for share in given.shares:
        load = at(base * share, given.seconds)
        facts["rates"].append(load.told())
        if load.holds(given.p99_ms):
            held = load.rate
    facts["held_rate"], facts["held_over_direct"] = round(held, 1), round(held / base, 2)
    for times in (3, 10):
        facts[f"overload_{times}x"] = at(times * (held or base / 2), given.seconds).told()
    time.sleep(1.0)
    facts["after_overload"] = at((held or base / 2) / 2, 2.0).told()


def ads_of(engine: Path) -> tuple[list[str], list[str]]:
    """Return ids and titles of an engine's ads."""
    from intently.catalog import Catalog
    from intently.generation import open_generation

    with open_generation(engine, verify=False) as generation:
        catalog = Catalog.load(generation.directory / "catalog.arrow")
        return catalog.strings("ad_id"), catalog.strings("title")


def port_of(server: "subprocess.Popen[str]") -> int:
    """Return the port that a service says it listens at."""
    assert server.stderr
    for line in server.stderr:
        if found := re.search(r"running on http://[^:]+:(\d+)", line):
            return int(found[1])
    raise SystemExit("the service did not start")


def drain_logs(server: "subprocess.Popen[str]") -> None:
    """Read the service's log to its end, so that it never waits for a reader."""
    import threading

    assert server.stderr
    threading.Thread(target=server.stderr.read, daemon=True).start()


if __name__ == "__main__":
    main()
