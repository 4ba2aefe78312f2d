"""Measure how soon an engine finds ads that it has never seen.

    python benchmarks/live_ads.py ENGINE --ads FILE [--single 200] [--batch 10000] [--threads 1]

The ads of FILE must not be in the engine. One ad is added first, which pays for what is made on first use. Then
`--single` ads are added one by one: the time from the call to its return, when the ad is retrievable; and then whether
it really is: whether a query of its own title finds it on the intention channel at all, and among the best 500. Then
`--batch` ads are added in one call (of a hundred of them it is looked whether they are found), and all are removed
again. Prints a table and, last, one JSON line with machine, date and figures. The engine on disk is not changed.
"""

import argparse
import json
import os
import platform
import resource
import time
from datetime import date
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from intently import Ad, Engine
from intently.catalog import read_ads
from intently.types import Channel


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--ads", type=Path, required=True)
    parser.add_argument("--single", type=int, default=200, help="ads that are added one by one")
    parser.add_argument("--batch", type=int, default=10_000, help="ads that are added in one call")
    parser.add_argument("--threads", type=int, default=1, help="threads of the student")
    options = parser.parse_args()

    catalog = read_ads(options.ads, skip_bad=True).catalog
    engine = Engine.load(options.engine, num_threads=options.threads)
    num_before = engine.catalog.num_ads
    ads = iter([catalog.ad(row) for row in range(min(catalog.num_ads, options.single + options.batch + 1))])
    first, single, batch = next(ads), list(islice(ads, options.single)), list(ads)

    figures: dict[str, float] = {"num_ads": num_before, "first_ms": add(engine, [first])}
    spent = [add(engine, [ad]) for ad in single]
    ranks = [rank_of(engine, ad) for ad in single]
    p50, p99 = np.percentile(spent, (50, 99)) if spent else (0.0, 0.0)
    figures |= {
        "single": len(single),
        "single_p50_ms": p50,
        "single_p99_ms": p99,
        "single_max_ms": max(spent, default=0),
    }
    figures |= {
        "single_found": sum(rank > 0 for rank in ranks),
        "single_in_500": sum(0 < rank <= 500 for rank in ranks),
    }
    if batch:
        seconds = add(engine, batch) / 1000
        sample = batch[:: max(1, len(batch) // 100)]
        figures |= {"batch": len(batch), "batch_s": seconds, "batch_ads_per_second": len(batch) / seconds}
        figures |= {"batch_sample": len(sample), "batch_sample_found": sum(rank_of(engine, ad) > 0 for ad in sample)}
    start = time.perf_counter()
    engine.remove_ads([ad.ad_id for ad in (first, *single, *batch)])
    figures["remove_all_ms"] = (time.perf_counter() - start) * 1000
    assert engine.catalog.num_ads == num_before

    table = Table("what", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.1f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    about = {"machine": machine, "threads": options.threads, "date": date.today().isoformat()}
    print(json.dumps(about | {"peak_memory_mib": peak_mib} | figures, default=float))


def add(engine: Engine, ads: list[Ad]) -> float:
    """Add ads and return the milliseconds until they are retrievable."""
    start = time.perf_counter()
    engine.add_ads(ads)
    return (time.perf_counter() - start) * 1000


def rank_of(engine: Engine, ad: Ad) -> int:
    """Return at which rank the intentions of the ad's title lead to it, 0 if they do not."""
    ranking = engine.retrieve(ad.title[:500], k=engine.catalog.num_ads, channel=Channel.INTENTION, explain=False)
    return next((each.rank for each in ranking.ads if each.ad_id == ad.ad_id), 0)


if __name__ == "__main__":
    main()
