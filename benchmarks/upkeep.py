"""Do to a running service what operators and neighbors do to it, and see whether requests notice.

    python benchmarks/upkeep.py ENGINE [--only generations,processes,memory,quota,idle] [--requests 10000]

Every part works on a copy of ENGINE, with `intently serve` in processes of its own, asked over connections that are
kept. Queries are those of the channel `lexical`, so that there are many of them. Prints one JSON object; exits with 1
if a request failed, an answer mixed two generations, or a change was lost.

- generations: 20 times the service goes over to another generation, to and fro, while four clients ask, a fifth changes
  bids 50 times a second, and a third generation is made by `intently update`. Memory before, when it has gone over
  once, and ten seconds after the last.
- processes: 50 clients ask whichever process says in `/readyz` that it is ready, while three times a new process starts
  and the benchmark tells the old one to stop.
- memory: what a second process over the same engine adds to the first (PSS, in which shared pages are divided).
- quota: p99 of a key's answers while another key, over its quota, asks 100 times a second, and without it, in turns.
- idle: the share of a core that a service without requests takes.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from serve import Connections, ads_of, drain_logs, percentiles, port_of

SWAPS, CLIENTS, REPLACED = 20, 50, 3


class Service:
    """`intently serve` in a process of its own."""

    def __init__(self, engine: Path, settings: str = "", *more: str) -> None:
        file = engine.parent / "serve.toml"
        file.write_text("deadline_ms = 10000.0\n" + settings)
        command = [sys.executable, "-m", "intently", "serve", str(engine), "--port", "0"]
        self.process = subprocess.Popen([*command, "--settings", str(file), *more], stderr=subprocess.PIPE, text=True)
        self.port = port_of(self.process)
        drain_logs(self.process)

    def end(self) -> int:
        """Tell the process to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kilobytes(self, name: str, file: str = "status") -> int:
        """Return one of the figures that the kernel tells of the process."""
        told = Path(f"/proc/{self.process.pid}/{file}").read_text()
        return int(re.search(rf"^{name}:\s+(\d+) kB$", told, re.M)[1])


@contextlib.contextmanager
def serving(engine: Path, settings: str = "", *more: str) -> Iterator[Service]:
    """Give a service, and end it."""
    service = Service(engine, settings, *more)
    try:
        yield service
    finally:
        service.end()


def query_of(title: str) -> bytes:
    """Return the body of a query for words."""
    return json.dumps({"query": title[:60], "channel": "lexical"}).encode()


async def generations(engine: Path, number: int) -> dict[str, Any]:
    """Exchange generations under load."""
    ad_ids, titles = ads_of(engine)
    queries = [query_of(title) for title in titles[:20]]
    facts: dict[str, Any] = {"requests": 0, "failed": 0, "mixed": 0, "lost_changes": 0, "swaps": 0}
    seen: dict[tuple[str, bytes], set[tuple[Any, ...]]] = defaultdict(set)
    bids: dict[str, float] = {}
    over = asyncio.Event()
    update(engine, ad_ids, "first")
    with serving(engine) as service:
        admin = Connections(service.port)
        for query in queries * 5:  # so that everything has run once
            await admin.ask("POST", "/v1/retrieve", query)
        await go_over(admin, 0)
        await asyncio.sleep(3)
        facts["own_mb_before"] = round(service.kilobytes("RssAnon") / 1024, 1)

        async def ask(client: int) -> None:
            connections, rng = Connections(service.port), random.Random(client)
            while not over.is_set() or facts["requests"] < number:
                query = rng.choice(queries)
                status, content = await connections.ask("POST", "/v1/retrieve", query)
                facts["requests"] += 1
                facts["failed"] += status != 200
                told = json.loads(content)
                ads = tuple((ad["ad_id"], round(ad["score"], 5)) for ad in told["ads"])
                seen[told["generation"], query].add(ads)

        async def change() -> None:
            connections, rng = Connections(service.port), random.Random(1)
            while not over.is_set():
                ad_id, bid = rng.choice(ad_ids), round(rng.random(), 3)
                status, _ = await connections.ask("PATCH", f"/v1/ads/{ad_id}", json.dumps({"bid": bid}).encode())
                facts["failed"] += status != 200
                bids[ad_id] = bid
                await asyncio.sleep(1 / 50)

        async def exchange() -> None:
            for swap in range(SWAPS):
                if swap == SWAPS // 2:
                    await asyncio.to_thread(update, engine, ad_ids, "second")
                facts["failed"] += await go_over(admin, swap) != 200
                facts["swaps"] += 1
                await asyncio.sleep(0.2)
            over.set()

        await asyncio.gather(*(ask(client) for client in range(4)), change(), exchange())
        for ad_id, bid in bids.items():
            _, content = await admin.ask("GET", f"/v1/ads/{ad_id}")
            facts["lost_changes"] += json.loads(content)["bid"] != bid
        facts["mixed"] = sum(len(answers) > 1 for answers in seen.values())
        facts["generations_answered"] = len({generation for generation, _ in seen})
        facts["changes"] = len(bids)
        await asyncio.sleep(10)
        facts["own_mb_after"] = round(service.kilobytes("RssAnon") / 1024, 1)
        facts["memory_growth"] = round(facts["own_mb_after"] / facts["own_mb_before"], 3)
    facts["failures"] = facts["failed"] + facts["mixed"] + facts["lost_changes"]
    return facts


async def go_over(admin: Connections, number: int) -> int:
    """Make one of the other generations current, and return the status."""
    _, listed = await admin.ask("GET", "/v1/generations")
    ids = [each["id"] for each in json.loads(listed)["generations"] if not each["is_served"]]
    body = json.dumps({"generation": ids[number % len(ids)]}).encode()
    status, _ = await admin.ask("POST", "/v1/generations", body)
    return status


def update(engine: Path, ad_ids: list[str], word: str) -> None:
    """Publish a generation with other titles."""
    feed = engine.parent / f"{word}.tsv"
    lines = [f"{ad_id}\t{word} title of number {at}\n" for at, ad_id in enumerate(ad_ids[20:120])]
    feed.write_text("ad_id\ttitle\n" + "".join(lines), encoding="utf-8")
    command = [sys.executable, "-m", "intently", "update", str(engine), "--ads", str(feed), "--delta"]
    subprocess.run(command, check=True, capture_output=True)


async def processes(engine: Path, number: int) -> dict[str, Any]:
    """Replace processes under load, as a load balancer sees it."""
    queries = [query_of(title) for title in ads_of(engine)[1][:50]]
    facts: dict[str, Any] = {"requests": 0, "failed": 0, "clients": CLIENTS, "processes_replaced": 0, "exit_codes": []}
    failures: set[str] = set()
    ready = [await asyncio.to_thread(Service, engine)]
    everybody, over = list(ready), asyncio.Event()

    async def watch() -> None:
        """Keep the list of those that are ready, as a load balancer does."""
        while not over.is_set():
            for service in list(everybody):
                try:
                    status, _ = await Connections(service.port).ask("GET", "/readyz")
                except OSError:
                    status = 0
                if (status == 200) != (service in ready):
                    ready.append(service) if status == 200 else ready.remove(service)
            await asyncio.sleep(0.05)

    async def ask(client: int) -> None:
        rng, kept = random.Random(client), {}
        while facts["requests"] < number or facts["processes_replaced"] < REPLACED:
            service = rng.choice(ready)
            connections = kept.setdefault(service.port, Connections(service.port))
            facts["requests"] += 1
            try:
                status, _ = await connections.ask("POST", "/v1/retrieve", rng.choice(queries))
            except (OSError, asyncio.IncompleteReadError) as error:
                status = repr(error)
            if status != 200:
                facts["failed"] += 1
                failures.add(str(status))

    async def replace() -> None:
        for _ in range(REPLACED):
            await asyncio.sleep(1.0)
            old = everybody[-1]
            new = await asyncio.to_thread(Service, engine)
            everybody.append(new)
            while new not in ready:
                await asyncio.sleep(0.01)
            facts["exit_codes"].append(await asyncio.to_thread(old.end))
            facts["processes_replaced"] += 1

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(ask(client) for client in range(CLIENTS)), replace())
    over.set()
    await watching
    await asyncio.to_thread(everybody[-1].end)
    facts["reasons"] = sorted(failures)
    facts["failures"] = facts["failed"] + sum(code != 0 for code in facts["exit_codes"])
    return facts


async def memory(engine: Path, number: int) -> dict[str, Any]:
    """Return what a second process adds."""
    bodies = [json.dumps({"query": title[:60]}).encode() for title in ads_of(engine)[1][:50]]

    async def warmed() -> Service:
        service = await asyncio.to_thread(Service, engine)
        for body in bodies:
            await Connections(service.port).ask("POST", "/v1/retrieve", body)
        return service

    first = await warmed()
    alone = first.kilobytes("Pss", "smaps_rollup")
    second = await warmed()
    both = sum(each.kilobytes("Pss", "smaps_rollup") for each in (first, second))
    for each in (second, first):
        each.end()
    mb = {"first_pss_mb": alone / 1024, "both_pss_mb": both / 1024}
    return {name: round(value, 1) for name, value in mb.items()} | {"second_adds": round((both - alone) / alone, 3)}


async def quota(engine: Path, number: int) -> dict[str, Any]:
    """Return what a key that is over its quota does to another."""
    from intently.serve.keys import digest_of

    entries = [
        f'[[key]]\nname = "{name}"\nsha256 = "{digest_of(name)}"\nrole = "read"\n{more}'
        for name, more in (("calm", ""), ("greedy", "quota_ms_per_s = 0.001\nburst_ms = 0.5\n"))
    ]
    keys = engine.parent / "keys.toml"
    keys.write_text("\n".join(entries))
    queries = [query_of(title) for title in ads_of(engine)[1][:50]]
    spent: dict[str, list[float]] = {"alone": [], "beside": []}
    refused = [0, 0]
    with serving(engine, "", "--keys", str(keys)) as service:
        calm = Connections(service.port, headers="Authorization: Bearer calm\r\n")
        greedy = Connections(service.port, headers="Authorization: Bearer greedy\r\n")

        async def ask(into: list[float], seconds: float) -> None:
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                began = time.perf_counter()
                status, _ = await calm.ask("POST", "/v1/retrieve", random.choice(queries))
                into.append((time.perf_counter() - began) * 1000)
                assert status == 200, status
                await asyncio.sleep(0.01)

        async def press(over: asyncio.Event) -> None:
            while not over.is_set():
                status, _ = await greedy.ask("POST", "/v1/retrieve", random.choice(queries))
                refused[status == 429] += 1
                await asyncio.sleep(0.01)

        await ask([], 2.0)
        for _ in range(6):
            await ask(spent["alone"], 3.0)
            over = asyncio.Event()
            pressing = asyncio.create_task(press(over))
            await ask(spent["beside"], 3.0)
            over.set()
            await pressing
    ratio = np.percentile(spent["beside"], 99) / np.percentile(spent["alone"], 99)
    told = {f"{name}_ms": percentiles(each) for name, each in spent.items()}
    return told | {"p99_ratio": round(float(ratio), 3), "greedy_answered": refused[0], "greedy_refused": refused[1]}


async def idle(engine: Path, number: int) -> dict[str, Any]:
    """Return what a service that nobody asks takes of a core."""
    with serving(engine) as service:
        for body in [query_of(title) for title in ads_of(engine)[1][:20]]:
            await Connections(service.port).ask("POST", "/v1/retrieve", body)
        await asyncio.sleep(2)

        def spent() -> float:
            fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        before = spent()
        await asyncio.sleep(20)
        return {"share_of_a_core": round((spent() - before) / 20, 4)}


def main() -> None:
    """Run the parts that were asked for."""
    parts: dict[str, Callable[[Path, int], Any]] = {
        "generations": generations,
        "processes": processes,
        "memory": memory,
        "quota": quota,
        "idle": idle,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--only", default=",".join(parts))
    parser.add_argument("--requests", type=int, default=10_000, help="of the first two parts, at least")
    given = parser.parse_args()
    facts: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    for name in given.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            engine = Path(shutil.copytree(given.engine, Path(folder, "engine")))
            facts[name] = asyncio.run(parts[name](engine, given.requests))
    print(json.dumps(facts, indent=1))
    sys.exit(any(part.get("failures") for part in facts.values() if isinstance(part, dict)))


if __name__ == "__main__":
    main()
