"""Write through one process and read through another at once, many times: does every read see the write before it?

    python benchmarks/read_your_writes.py ENGINE [--processes 4] [--pairs 10000]

Starts `intently serve` several times over a copy of ENGINE. The first process writes. Each pair pauses an ad or makes
it active again, and then asks a process, drawn at random, for the ad's title with the change's number as `min_seq`:
the ad has to be in the answer, or not. Prints one JSON object with the pairs that saw it, those that came too late
(409), the wrong ones, and the milliseconds of writes and of reads, p50 and p99. Exits with 1 unless all saw it.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from urllib.parse import quote

from serve import Connections, ads_of, drain_logs, percentiles, port_of


async def pairs(ports: list[int], ads: list[tuple[str, str]], number: int) -> tuple[Counter[str], list[list[float]]]:
    """Return how many pairs ended how, and the milliseconds of their writes and reads."""
    rng, processes = random.Random(11), [Connections(port) for port in ports]
    outcomes: Counter[str] = Counter()
    spent: list[list[float]] = [[], []]
    is_active = dict.fromkeys((ad_id for ad_id, _ in ads), True)
    for _ in range(number):
        ad_id, title = rng.choice(ads)
        wanted = is_active[ad_id] = not is_active[ad_id]
        body = json.dumps({"status": "active" if wanted else "paused"}).encode()
        began = time.perf_counter()
        status, content = await processes[0].ask("PATCH", f"/v1/ads/{quote(ad_id, safe='')}", body)
        spent[0].append((time.perf_counter() - began) * 1000)
        if status != 200:
            raise SystemExit(f"a change was answered with {status}: {content.decode(errors='replace')[:300]}")
        query = {"query": title, "k": 500, "channel": "lexical", "min_seq": json.loads(content)["seq"]}
        began = time.perf_counter()
        status, content = await rng.choice(processes).ask("POST", "/v1/retrieve", json.dumps(query).encode())
        spent[1].append((time.perf_counter() - began) * 1000)
        if status != 200:
            outcomes["late" if status == 409 else f"status {status}"] += 1
            continue
        is_there = ad_id in {ad["ad_id"] for ad in json.loads(content)["ads"]}
        outcomes["seen" if is_there == wanted else "wrong"] += 1
    return outcomes, spent


def main() -> None:
    """Measure one engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = Path(folder, "engine")
        shutil.copytree(given.engine, engine)
        titled = [(ad_id, title[:200]) for ad_id, title in zip(*ads_of(engine), strict=True) if title.strip()]
        command = [sys.executable, "-m", "intently", "serve", str(engine), "--port", "0"]
        servers = []
        try:
            for _ in range(given.processes):
                servers.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
            ports = [port_of(server) for server in servers]
            for server in servers:
                drain_logs(server)
            outcomes, (writes, reads) = asyncio.run(pairs(ports, titled[:200], given.pairs))
        finally:
            for server in servers:
                server.send_signal(signal.SIGTERM)
            for server in servers:
                server.wait(60)
    facts = {
        "machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "processes": given.processes,
        "pairs": given.pairs, **outcomes, "write_ms": percentiles(writes), "read_ms": percentiles(reads),
    }  # fmt: skip
    print(json.dumps(facts, indent=1))
    sys.exit(outcomes["seen"] != given.pairs)


if __name__ == "__main__":
    main()
