"""Measure what changes of ads cost, and what they do to queries.

    python benchmarks/changes.py ENGINE [--queries FILE] [--seconds 60] [--patches-per-second 500] [--puts 200]

Prints one JSON object: milliseconds of a put with new text, a put with unchanged text, a patch and a delete (p50, p99);
their ratios; the time to delete 10,000 ads; the cost of one more ad with 100 and with 10,000 loose ones; and the
latency of queries (p50, p99) alone and beside so many patches a second. One process, one thread that asks and one that
changes. Bars: a patch is at least 100 times cheaper than a put; patches raise the queries' p99 by at most 10%.
"""

import argparse
import json
import platform
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from intently import Ad, Engine
from intently.catalog import read_queries
from intently.types import Delete, Patch, Put, Request


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

    facts["queries_alone"] = percentiles(asked(engine, queries, given.seconds))
    stop, count = threading.Event(), [0]
    writer = threading.Thread(target=keep_patching, args=(engine, ad_ids, given.patches_per_second, stop, count))
    writer.start()
    begun = time.perf_counter()
    facts["queries_beside_patches"] = percentiles(asked(engine, queries, given.seconds))
    facts["patches_per_second"] = round(count[0] / (time.perf_counter() - begun))
    stop.set()
    writer.join()
    alone, beside = facts["queries_alone"]["p99"], facts["queries_beside_patches"]["p99"]
    facts["p99_raised_by"] = round(beside / alone - 1, 3)

    facts["one_more_ad"] = one_more_ad(engine, titles, rng)
    facts["delete_10000_s"] = round(timed(partial(engine.apply, map(Delete, ad_ids[:10_000]))) / 1000, 3)
    print(json.dumps(facts, indent=1))


def timed(call: Callable[[], object]) -> float:
    """Return the milliseconds that a call takes."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def percentiles(milliseconds: Iterator[float]) -> dict[str, float]:
    """Return the median and the 99th percentile, rounded."""
    each = np.array(list(milliseconds))
    return {"p50": round(float(np.percentile(each, 50)), 3), "p99": round(float(np.percentile(each, 99)), 3)}


def asked(engine: Engine, queries: list[str], seconds: float) -> Iterator[float]:
    """Yield the milliseconds of one query after the other, for so many seconds."""
    end, at = time.perf_counter() + seconds, 0
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
    """Return the median milliseconds of adding one ad with about 100 and about 10,000 loose ads."""
    found = {}
    for loose, name in ((100, "loose_100"), (9_900, "loose_10000")):
        engine.add_ads([Ad(f"{name}-{at}", rng.choice(titles)[:500]) for at in range(loose)], replace=True)
        more = [Ad(f"{name}-more-{at}", f"{rng.choice(titles)[:500]} {at}") for at in range(50)]
        found[name] = percentiles(timed(partial(engine.add_ads, [ad])) for ad in more)["p50"]
    return found | {"ratio": round(found["loose_10000"] / found["loose_100"], 2)}


if __name__ == "__main__":
    main()
