"""Measure what durable changes cost.

    python benchmarks/change_log.py ENGINE [--seconds 4] [--puts 200] [--new 10000] [--log postgresql://…]

Works on a copy of the engine. Prints one JSON object: milliseconds of a durable patch (p50, p99) and acknowledged
patches a second from 1, 8, 32 and 64 threads; milliseconds of a put with and without a log on disk; bytes of the log
a put and a patch; seconds to load the engine with an empty log, with `--new` new ads and as many patches, and after
half of all its ads were deleted, with the number of ads that models read meanwhile (0). Bars: a patch ≤ 1 ms at p50 and
≤ 5 ms at p99; 64 threads ≥ 2,000 changes/s; 10,000 new ads ≤ 3 s more, 50,000 (100,000 changes) ≤ 10 s; half deleted
≤ 1.2 times as long. The new ads share a few hundred texts, so that the models are done in time, and the log holds one
reading for each of them; `distinct_texts` says how many.
"""

import argparse
import json
import platform
import random
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from intently import Ad, Engine
from intently.engine.current import CurrentEngine
from intently.live.ad_reader import AdReader
from intently.live.log import LOG_FILE, open_log
from intently.types import Delete, Patch, Put

NUM_TEXTS = 500


def main() -> None:
    """Measure one engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each number of threads")
    parser.add_argument("--puts", type=int, default=200)
    parser.add_argument("--new", type=int, default=10_000, help="ads that a restart finds in the log")
    parser.add_argument("--log", default=None, help="an empty PostgreSQL database; by default a file of SQLite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "engine"
        shutil.copytree(given.engine, root, ignore=shutil.ignore_patterns(f"{LOG_FILE}*"))
        print(
            json.dumps(
                measured(root, given.log or str(root / LOG_FILE), given.seconds, given.puts, given.new), indent=1
            )
        )


def measured(root: Path, place: str, seconds: float, num_puts: int, num_new: int) -> dict[str, object]:
    """Return the figures of the engine in `root` with its log at `place`."""
    rng = random.Random(0)
    facts: dict[str, object] = {"machine": platform.machine(), "threads_a_model": 1}
    started = time.perf_counter()
    current = CurrentEngine(root, log=place, follow_s=None, num_threads=1)
    facts["load_s"] = round(time.perf_counter() - started, 2)
    ad_ids, titles = current.engine.catalog.strings("ad_id"), current.engine.catalog.strings("title")
    facts["num_ads"], facts["log"] = len(ad_ids), open_log(place).facts().kind
    current.own()
    facts["patches"] = {num: patches(current, ad_ids, num, seconds) for num in (1, 8, 32, 64)}
    current.compact()
    facts["bytes_a_patch"] = bytes_a_patch(current, ad_ids)

    facts["put_ms"] = {"log": puts(current, titles, num_puts, "a")}
    current.close()
    with CurrentEngine(root, log="memory", num_threads=1) as memory:
        facts["put_ms"] = {**facts["put_ms"], "memory": puts(memory, titles, num_puts, "b")}  # type: ignore[dict-item]

    current.own()
    current.apply(Delete(f"a{number}") for number in range(num_puts))
    current.compact()
    before = current.log.facts().bytes
    texts = [f"{rng.choice(titles)[:200]} {number}" for number in range(NUM_TEXTS)]
    current.apply(Put(Ad(f"t{number}", text)) for number, text in enumerate(texts))
    current.log.compact()
    facts["bytes_a_put"] = round((current.log.facts().bytes - before) / NUM_TEXTS)
    for start in range(0, num_new, 1_000):
        current.apply(Put(Ad(f"n{number}", texts[number % NUM_TEXTS])) for number in range(start, start + 1_000))
    for start in range(0, num_new, 1_000):
        current.apply(Patch(f"n{number}", {"bid": 2.0}) for number in range(start, start + 1_000))
    facts["log_after"] = {"entries": current.log.facts().num_entries, "bytes": current.log.facts().bytes}
    current.close()
    num_read, read = [0], AdReader.parts

    def counted(self, catalog):  # type: ignore[no-untyped-def]
        num_read[0] += catalog.num_ads
        return read(self, catalog)

    AdReader.parts = counted  # type: ignore[method-assign]
    started = time.perf_counter()
    with CurrentEngine(root, log=place, follow_s=None, num_threads=1) as again:
        facts["load_with_log_s"] = round(time.perf_counter() - started, 2)
        assert again.ad("n7").bid == 2.0
        started = time.perf_counter()
        again.own()
        facts["check_of_every_byte_s"] = round(time.perf_counter() - started, 2)
        started = time.perf_counter()
        again.apply([Delete(f"n{number}") for number in range(num_new)])
        facts["delete_new_s"] = round(time.perf_counter() - started, 2)
    with CurrentEngine(root, log=place, follow_s=None, num_threads=1) as half:
        half.own()
        half.apply([Delete(ad_id) for ad_id in ad_ids[::2]])
    started = time.perf_counter()
    CurrentEngine(root, log=place, follow_s=None, num_threads=1).close()
    facts["load_with_half_deleted_s"] = round(time.perf_counter() - started, 2)
    started = time.perf_counter()
    Engine.load(root, num_threads=1)
    facts["load_again_without_log_s"] = round(time.perf_counter() - started, 2)
    facts["ads_read_by_models"], facts["distinct_texts"] = num_read[0], NUM_TEXTS
    return facts


def patches(current: CurrentEngine, ad_ids: list[str], num_threads: int, seconds: float) -> dict[str, float]:
    """Return patches a second from so many threads, and the milliseconds of one."""
    until, spent = time.perf_counter() + seconds, [[] for _ in range(num_threads)]

    def patch(thread: int) -> None:
        rng = random.Random(thread)
        while (begun := time.perf_counter()) < until:
            current.apply([Patch(rng.choice(ad_ids), {"bid": rng.random()})])
            spent[thread].append(time.perf_counter() - begun)

    threads = [threading.Thread(target=patch, args=(thread,)) for thread in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    all_ms = np.array([each for one in spent for each in one]) * 1000
    p50, p99 = np.percentile(all_ms, (50, 99)).round(2).tolist()
    return {"per_s": round(len(all_ms) / seconds), "p50_ms": p50, "p99_ms": p99}


def puts(current: CurrentEngine, titles: list[str], num: int, name: str) -> dict[str, float]:
    """Return the milliseconds of a put with new text."""
    rng, spent = random.Random(1), []
    for number in range(num):
        ad = Ad(f"{name}{number}", f"{rng.choice(titles)[:500]} edition {number}")
        begun = time.perf_counter()
        current.apply([Put(ad)])
        spent.append((time.perf_counter() - begun) * 1000)
    p50, p99 = np.percentile(spent, (50, 99)).round(2).tolist()
    return {"p50": p50, "p99": p99}


def bytes_a_patch(current: CurrentEngine, ad_ids: list[str]) -> int:
    """Return the bytes that one more patch adds, before later ones supersede it."""
    before, num = current.log.facts().bytes, 2_000
    current.apply(Patch(ad_ids[number % len(ad_ids)], {"bid": number / 7}) for number in range(min(num, len(ad_ids))))
    current.close()  # writes everything into the file itself
    current.own()
    return round((current.log.facts().bytes - before) / min(num, len(ad_ids)))


if __name__ == "__main__":
    main()
