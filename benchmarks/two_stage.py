"""Measure searching vectors in two stages: recall against exact search, latency, size, and growth with the catalogue.

    python benchmarks/two_stage.py ENGINE --queries FILE [--num-ads 58000 580000] [--num-queries 200] [--repeats 3]
        [--hnsw]

FILE has a query a line; what follows a tab is left out. They are embedded as the engine does it, one at a time. A
catalogue larger than the engine's is made of its own vectors and mixtures of these: each of a random ad (40 to 90%) and
one of its 15 nearest neighbours, with Gaussian noise of norm 0.3 added, at unit length again. That keeps how dense and
how spread the neighbourhoods are; how well is told by the lines "own" and "mixed" of equal size.

For each number of ads, each selectivity (random ads, or whole cells of the space: those nearest to the query, or those
furthest from it) and k of 10, 100, 500: the engine chosen, the share of the ads compared in full precision, recall of
the exact best k, and milliseconds of k = 500 (of each query the median of `--repeats`). Searching uses one thread. Last
come growth, and a JSON line with all figures.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from intently import Engine
from intently.index.coarse import CoarseEngine, CoarseSettings
from intently.index.coarse_flat import FlatIndex
from intently.index.postings import top_rows
from intently.index.vectors import VectorIndex

SELECTIVITIES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001)
DEPTHS = (10, 100, 500)
NUM_CELLS = 200
_BLOCK = 65_536


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--num-ads", type=int, nargs="+", default=[58_000, 580_000])
    parser.add_argument("--num-queries", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hnsw", action="store_true", help="measure a graph, too; it takes minutes to build")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    engine = Engine.load(options.engine, num_threads=1)
    lines = options.queries.read_text(encoding="utf-8").splitlines()
    texts = list(dict.fromkeys(text for line in lines if (text := line.split("\t")[0].strip())))[: options.num_queries]
    embedded = engine.encoder.embed_queries if engine.encoder else lambda some: engine.student.embed(some, 32)
    embedded(texts[:1])  # which makes what is made on first use
    queries, encoding_ms = [], []
    for text in texts:
        start = time.perf_counter()
        queries.append(embedded([text])[0])
        encoding_ms.append((time.perf_counter() - start) * 1000)
    own = np.asarray(engine.vectors.embeddings)
    print(f"{len(texts)} queries; {len(own):,} vectors of the engine; encoding p50 {np.median(encoding_ms):.2f} ms")

    rng = np.random.default_rng(options.seed)
    every = mixed(own, max(options.num_ads), rng)
    catalogues = {f"{num:,} ads": every[:num] for num in sorted(options.num_ads)}
    shuffled = rng.permutation(len(every))
    if len(every) > len(own):  # is a mixture as hard to search as vectors of real ads are?
        catalogues = {f"{len(own):,} own": own, f"{len(own):,} mixed": every[-len(own) :]} | {
            name: every[shuffled[shuffled < len(part)]] for name, part in catalogues.items()
        }
    del every
    figures = []
    table = Table(
        *("ads", "built as", "filter", "eligible", "engine", "rescored", "@10", "@100", "@500", "p50", "p95", "p99"),
        title="recall against exact, and ms at k = 500",
    )
    for name, embeddings in catalogues.items():
        for kind in (CoarseEngine.AUTO, *([CoarseEngine.HNSW] if options.hnsw else [])):
            with tempfile.TemporaryDirectory() as place:
                for row in measured(
                    name, kind, embeddings, np.stack(queries), encoding_ms, options.repeats, Path(place)
                ):
                    figures.append(row)
                    cells = [f"{row[key]:.4f}" for key in ("rescored", "r10", "r100", "r500")]
                    times = [f"{row[key]:.2f}" for key in ("p50", "p95", "p99")]
                    told = (row["ads"], row["kind"], row["filter"], f"{row['eligible']:.1%}", row["engine"])
                    table.add_row(*map(str, told), *cells, *times)
    Console(width=130).print(table)
    whole = [row for row in figures if row["filter"] == "none" and row["kind"] == "auto"]
    for row in whole:
        print(
            f"{row['ads']}: built in {row['build_s']:.1f} s, vectors {row['vectors_mb']:.0f} MB, coarse stage "
            f"{row['coarse_mb']:.0f} MB; exact scan p50 {row['exact_p50']:.1f} ms; encoding and search "
            f"p50 {row['total_p50']:.2f} ms, p99 {row['total_p99']:.2f} ms"
        )
    first, last = (next(row for row in whole if row["ads"] == f"{num:,} ads") for num in
                   (min(options.num_ads), max(options.num_ads)))  # fmt: skip
    print(
        f"growth of p50 from {first['ads']} to {last['ads']}: search {last['p50'] / first['p50']:.2f}×, "
        f"with encoding {last['total_p50'] / first['total_p50']:.2f}×"
    )
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"machine": machine, "date": date.today().isoformat(), "figures": figures}, default=float))


def mixed(own: np.ndarray, num_ads: int, rng: np.random.Generator) -> np.ndarray:
    """Return `num_ads` vectors: the engine's `own` and, after them, mixtures of neighbours."""
    num_own, dimension = own.shape
    if num_ads <= num_own:
        return own[rng.permutation(num_own)[:num_ads]]
    flat = FlatIndex.build(own)
    near = np.stack([np.resize(flat.candidates(vector, 16, None), 16) for vector in own])
    grown = np.empty((num_ads, dimension), dtype=np.float32)
    grown[:num_own] = own
    for start in range(num_own, num_ads, _BLOCK):
        num = min(_BLOCK, num_ads - start)
        first = rng.integers(0, num_own, num)
        second = near[first, rng.integers(0, 16, num)]
        share = rng.uniform(0.4, 0.9, (num, 1)).astype(np.float32)
        noise = rng.standard_normal((num, dimension), dtype=np.float32) * np.float32(0.3 / dimension**0.5)
        drawn = share * own[first] + (1 - share) * own[second] + noise
        grown[start : start + num] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return grown


def measured(
    name: str,
    kind: CoarseEngine,
    embeddings: np.ndarray,
    queries: np.ndarray,
    encoding_ms: list[float],
    repeats: int,
    place: Path,
) -> list[dict[str, object]]:
    """Return a row for each filter. The index is saved and loaded first, so that it is as an engine has it."""
    start = time.perf_counter()
    VectorIndex.build(embeddings, CoarseSettings(kind)).save(place / "vectors.npy")
    build_s = time.perf_counter() - start
    index = VectorIndex.load(place / "vectors.npy")
    sizes = [(place / file).stat().st_size / 1e6 for file in ("vectors.npy", "vectors.coarse.npz")]
    rng, num_ads = np.random.default_rng(1), len(embeddings)
    centres = embeddings[np.sort(rng.choice(num_ads, NUM_CELLS, replace=False))]
    parts = range(0, num_ads, _BLOCK)
    cells = np.concatenate([(embeddings[at : at + _BLOCK] @ centres.T).argmax(axis=1) for at in parts])
    in_cell = np.bincount(cells, minlength=NUM_CELLS)

    def some_cells(query: np.ndarray, share: float, sign: int) -> np.ndarray:
        order = np.argsort(-sign * (centres @ query))
        num = np.searchsorted(np.cumsum(in_cell[order]), share * num_ads) + 1
        return np.isin(cells, order[:num])

    filters: list[tuple[str, Callable[[np.ndarray], np.ndarray | None]]] = [("none", lambda _: None)]
    for share in SELECTIVITIES[1:]:
        mask = rng.random(num_ads) < share
        filters.append((f"random {share:.1%}", lambda _, mask=mask: mask))
    for share in (0.5, 0.1):
        for word, sign in (("nearest", 1), ("furthest", -1)):
            filters.append((f"{word} cells {share:.0%}", lambda query, s=share, w=sign: some_cells(query, s, w)))
    all_scores = queries @ embeddings.T
    exact_ms = []
    for query in queries[:20]:
        begin = time.perf_counter()
        top_rows(index.scores(query), DEPTHS[-1])
        exact_ms.append((time.perf_counter() - begin) * 1000)
    rows = []
    for told, filter_of in filters:
        spent, recalls = [], []
        eligible = rescored = 0.0
        used: set[str] = set()
        for query, scores in zip(queries, all_scores, strict=True):
            mask = filter_of(query)
            truth = top_rows(scores, DEPTHS[-1], mask)
            num_eligible = num_ads if mask is None else int(mask.sum())
            plan = index.plan(DEPTHS[-1], num_eligible)
            used.add(str(plan.engine))
            eligible += num_eligible / num_ads / len(queries)
            rescored += plan.num_candidates / num_ads / len(queries)
            recalls.append([np.isin(truth[:k], index.search(query, k, mask)[0]).mean() for k in DEPTHS if len(truth)])
            each = []
            for _ in range(repeats):
                begin = time.perf_counter()
                index.search(query, DEPTHS[-1], mask)
                each.append((time.perf_counter() - begin) * 1000)
            spent.append(float(np.median(each)))
        total = np.add(spent, encoding_ms)
        row: dict[str, object] = {"ads": name, "kind": str(kind), "filter": told, "eligible": eligible}
        row |= {"engine": " or ".join(sorted(used)), "rescored": rescored, "build_s": build_s}
        row |= {"vectors_mb": sizes[0], "coarse_mb": sizes[1], "exact_p50": np.median(exact_ms)}
        row |= dict(zip(("r10", "r100", "r500"), np.mean(recalls, axis=0), strict=True))
        row |= dict(zip(("p50", "p95", "p99"), np.percentile(spent, (50, 95, 99)), strict=True))
        row |= {"total_p50": np.percentile(total, 50), "total_p99": np.percentile(total, 99)}
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
