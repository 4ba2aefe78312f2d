"""Measure what changes of ads cost, and what they do to queries.

    python benchmarks/changes.py ENGINE [--queries FILE] [--seconds 60] [--patches-per-second 500] [--puts 200]

Prints one JSON object: milliseconds of a put with new text, a put with unchanged text, a patch and a delete (p50, p99);
their ratios; the time to delete 10,000 ads; the cost of one more ad with 100 and with 10,000 loose ones; and the
latency of queries (p50, p99) alone and beside so many patches a second, in turns of some seconds, so that both see the
same machine. One process, one thread that asks and one that changes. Beside each time on the clock stands the time on
the processor (`cpu_…`) of the thread that asks or changes, which another load of the machine hardly moves. Bars: a
patch is at least 100 times cheaper than a put; patches raise the queries' p99 by at most 10%; deleting 10,000 ads takes
at most 1 s; one more ad costs at most 1.5 times as much with 10,000 loose ads.
"""

import argparse
import json
import platform
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from intently import Ad, Engine
from intently.catalog import read_queries
from intently.types import Delete, Patch, Put, Request

TURN_S = 5.0  # of queries alone, then of queries beside patches


def main() -> None:
    """Measure one engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--queries", type=Path, help="by default titles of the engine's own ads")
    parser.add_argument("--seconds", type=float, default=60.0, help="of queries beside patches, and alone")
    parser.add_argument("--patches-per-second", type=int, default=500)
    parser.add_argument("--puts", type=int, default=200)
    given = parser.parse_args()
    engine = Engine.load(given.engine)
    catalog = engine.catalog
    ad_ids, titles = catalog.strings("ad_id"), catalog.strings("title")
    rng = random.Random(0)
    queries = list(read_queries(given.queries).texts) if given.queries else [title[:60] for title in titles[:1000]]
    facts = {"num_ads": len(ad_ids), "machine": platform.processor() or platform.machine(), "seconds": given.seconds}

    new = [Ad(f"new-{number}", f"{rng.choice(titles)[:500]} edition {number}") for number in range(given.puts)]
    same = [replace(engine.ad(ad_id), bid=1.0) for ad_id in rng.sample(ad_ids, given.puts)]
    one_by_one = {
        "put": [partial(engine.apply, [Put(ad)]) for ad in new],
        "put_same_text": [partial(engine.apply, [Put(ad)]) for ad in same],
        "patch": [partial(engine.apply, [Patch(rng.choice(ad_ids), {"bid": at / 100})]) for at in range(2_000)],
        "delete": [partial(engine.apply, [Delete(ad.ad_id)]) for ad in new],
    }
    facts["milliseconds"] = {name: percentiles(map(timed, calls)) for name, calls in one_by_one.items()}
    facts["put_over_patch"] = round(facts["milliseconds"]["put"]["p50"] / facts["milliseconds"]["patch"]["p50"])

    alone, beside, done = in_turns(engine, queries, ad_ids, given.seconds, given.patches_per_second)
    facts["queries_alone"], facts["queries_beside_patches"] = percentiles(alone), percentiles(beside)
    facts["num_queries"] = [len(alone), len(beside)]
    facts["patches_per_second"] = round(done / given.seconds)
    for name in ("p99", "cpu_p99"):
        before, after = facts["queries_alone"][name], facts["queries_beside_patches"][name]
        facts[f"{name}_raised_by"] = round(after / before - 1, 3)

    facts["one_more_ad"] = one_more_ad(engine, titles, rng)
    took = timed(partial(engine.apply, map(Delete, ad_ids[:10_000])))
    facts["delete_10000_s"] = {"clock": round(took.clock / 1000, 3), "cpu": round(took.cpu / 1000, 3)}
    print(json.dumps(facts, indent=1))


class Spent(NamedTuple):
    """Milliseconds that a call took, on the clock and on the processor by the calling thread."""

    clock: float
    cpu: float


def timed(call: Callable[[], object]) -> Spent:
    """Return what a call takes."""
    clock, cpu = time.perf_counter(), time.thread_time()
    call()
    return Spent((time.perf_counter() - clock) * 1000, (time.thread_time() - cpu) * 1000)


def percentiles(spent: Iterable[Spent]) -> dict[str, float]:
    """Return the median and the 99th percentile, rounded."""
    each = np.array(list(spent))
    return {
        f"{kind}{name}": round(float(np.percentile(each[:, column], percent)), 3)
        for column, kind in enumerate(("", "cpu_"))
        for name, percent in (("p50", 50), ("p99", 99))
    }


def in_turns(
    engine: Engine, queries: list[str], ad_ids: list[str], seconds: float, per_second: int
) -> tuple[list[Spent], list[Spent], int]:
    """Return what queries take alone and beside patches, so many seconds each, and how many patches there were."""
    alone: list[Spent] = []
    beside: list[Spent] = []
    done = 0
    for _ in range(max(1, round(seconds / TURN_S))):
        alone += asked(engine, queries, len(alone), min(seconds, TURN_S))
        stop, count = threading.Event(), [0]
        writer = threading.Thread(target=keep_patching, args=(engine, ad_ids, per_second, stop, count))
        writer.start()
        beside += asked(engine, queries, len(beside), min(seconds, TURN_S))
        stop.set()
        writer.join()
        done += count[0]
    return alone, beside, done


def asked(engine: Engine, queries: list[str], first: int, seconds: float) -> Iterator[Spent]:
    """Yield what one query after the other takes, from the query `first` on, for so many seconds."""
    end, at = time.perf_counter() + seconds, first
    while time.perf_counter() < end:
        request = Request(queries[at % len(queries)])
        at += 1
        yield timed(partial(engine.answer, request))


def keep_patching(engine: Engine, ad_ids: list[str], per_second: int, stop: threading.Event, count: list[int]) -> None:
    """Patch bids and statuses at a steady rate."""
    rng, begun = random.Random(1), time.perf_counter()
    while not stop.is_set():
        due = int((time.perf_counter() - begun) * per_second) - count[0]
        for _ in range(due):
            engine.apply([Patch(rng.choice(ad_ids), rng.choice([{"bid": 0.7}, {"status": "active"}]))])
            count[0] += 1
        stop.wait(0.5 / per_second)


def one_more_ad(engine: Engine, titles: list[str], rng: random.Random) -> dict[str, float]:
    """Return the median milliseconds of adding one ad with about 100 and about 10,000 loose ads, and their ratios."""
    found = {}
    for loose, name in ((100, "loose_100"), (9_900, "loose_10000")):
        engine.add_ads([Ad(f"{name}-{at}", rng.choice(titles)[:500]) for at in range(loose)], replace=True)
        more = [Ad(f"{name}-more-{at}", f"{rng.choice(titles)[:500]} {at}") for at in range(50)]
        took = percentiles(timed(partial(engine.add_ads, [ad])) for ad in more)
        found |= {name: took["p50"], f"cpu_{name}": took["cpu_p50"]}
    ratios = {f"{kind}ratio": found[f"{kind}loose_10000"] / found[f"{kind}loose_100"] for kind in ("", "cpu_")}
    return found | {name: round(ratio, 2) for name, ratio in ratios.items()}


if __name__ == "__main__":
    main()
