"""Measure searching vectors in two stages: recall against exact search, latency, size, and growth with the catalog.

    python benchmarks/two_stage.py ENGINE --queries FILE [--num-ads 58000 580000] [--num-queries 200] [--repeats 3]
        [--threads 1] [--hnsw] [--json FILE]

FILE has a query a line; what follows a tab is left out. They are embedded as the engine does it, one at a time. Long
queries are made of them: each, and those after it until there are 24 words or more. A catalog larger than the
engine's is made of its own vectors and mixtures of these: each of a random ad (40 to 90%) and one of its 15 nearest
neighbours, with Gaussian noise of norm 0.3 added, at unit length again. That keeps how dense and how spread the
neighbourhoods are; how well is told by the lines "own" and "mixed" of equal size. Where the engine's tokens interact,
an ad that was made has the tokens of one of the engine's.

For each number of ads, each selectivity (random ads, or whole cells of the space: those nearest to the query, or those
furthest from it): the engine chosen, the share of the ads compared in full precision, recall of the exact best 10, 100
and 500, and milliseconds (of each query the median of `--repeats`). Each search is for the best 1,000, as an engine's
is that wants 500. Then, without a filter, what encoding, search and late interaction take, of the queries and of the
long ones. Last comes growth. `--threads` is the engine's setting `num_threads`: all of these
use as many. `--json` writes all figures to a file, too.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import cycle
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from intently import Engine
from intently.index.coarse import CoarseEngine, CoarseSettings
from intently.index.coarse_flat import FlatIndex
from intently.index.postings import top_rows
from intently.index.token_vectors import TokenVectors
from intently.index.vectors import VectorIndex

SELECTIVITIES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001)
DEPTHS = (10, 100, 500)
SEARCHED = 1_000  # an engine orders twice as many anew as it wants: by feedback, and by late interaction
NUM_CELLS = 200
LONG = 24  # words
_BLOCK = 65_536


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--num-ads", type=int, nargs="+", default=[58_000, 580_000])
    parser.add_argument("--num-queries", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="threads of an engine: it encodes and searches on them")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--hnsw", action="store_true", help="measure a graph, too; it takes minutes to build")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    engine = Engine.load(options.engine, num_threads=options.threads)
    lines = options.queries.read_text(encoding="utf-8").splitlines()
    texts = list(dict.fromkeys(text for line in lines if (text := line.split("\t")[0].strip())))[: options.num_queries]
    engine.embed_queries(texts[:1])  # which makes what is made on first use
    kinds = {
        word: encoded(some, engine, options.repeats)
        for word, some in (("queries", texts), ("long queries", lengthened(texts)))
    }
    own = np.asarray(engine.vectors.embeddings)
    print(
        f"{len(texts)} queries; {len(own):,} vectors of the engine; encoding and search with {options.threads} threads"
    )

    rng = np.random.default_rng(options.seed)
    every = mixed(own, max(options.num_ads), rng)
    catalogs = {f"{num:,} ads": every[:num] for num in sorted(options.num_ads)}
    shuffled = rng.permutation(len(every))
    if len(every) > len(own):  # is a mixture as hard to search as vectors of real ads are?
        catalogs = {f"{len(own):,} own": own, f"{len(own):,} mixed": every[-len(own) :]} | {
            name: every[shuffled[shuffled < len(part)]] for name, part in catalogs.items()
        }
    del every
    figures: list[dict[str, object]] = []
    both: list[dict[str, object]] = []
    table = Table(
        *("ads", "built as", "filter", "eligible", "engine", "rescored", "@10", "@100", "@500", "p50", "p95", "p99"),
        title="recall against exact, and ms",
    )
    for name, embeddings in catalogs.items():
        late = None if engine.tokens is None else repeated(engine.tokens, len(embeddings))
        for kind in (CoarseEngine.AUTO, *([CoarseEngine.HNSW] if options.hnsw else [])):
            with tempfile.TemporaryDirectory() as place:
                index, about = built(kind, embeddings, Path(place))
                for row in measured(index, kinds["queries"].embeddings, options.repeats, options.threads):
                    row = {"ads": name, "kind": str(kind), **about, **row}
                    figures.append(row)
                    cells = [f"{row[key]:.4f}" for key in ("rescored", "r10", "r100", "r500")]
                    times = [f"{row[key]:.2f}" for key in ("p50", "p95", "p99")]
                    told = (row["ads"], row["kind"], row["filter"], f"{row['eligible']:.1%}", row["engine"])
                    table.add_row(*map(str, told), *cells, *times)
                if kind is CoarseEngine.AUTO:
                    for word, some in kinds.items():
                        row = encoding_and_search(index, late, some, options.repeats, options.threads)
                        both.append({"ads": name, "queries": word, **row})
    console = Console(width=130)
    console.print(table)
    console.print(encoding_table(both))
    whole = [row for row in figures if row["filter"] == "none" and row["kind"] == "auto"]
    for row in whole:
        print(
            f"{row['ads']}: built in {row['build_s']:.1f} s, vectors {row['vectors_mb']:.0f} MB, coarse stage "
            f"{row['coarse_mb']:.0f} MB; exact scan p50 {row['exact_p50']:.1f} ms"
        )
    first, last = (next(row for row in both if row["ads"] == f"{num:,} ads" and row["queries"] == "queries") for num in
                   (min(options.num_ads), max(options.num_ads)))  # fmt: skip
    print(
        f"growth of p50 from {first['ads']} to {last['ads']}: search {last['search_p50'] / first['search_p50']:.2f}×, "
        f"with encoding {last['total_p50'] / first['total_p50']:.2f}×"
    )
    if options.json:
        told = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "threads": options.threads}
        told |= {"date": date.today().isoformat(), "figures": figures, "encoding_and_search": both}
        options.json.write_text(json.dumps(told, default=float) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Encoded:
    """The embeddings (Q, D) of Q queries, their tokens', if these interact, and the milliseconds (Q,) of each."""

    embeddings: np.ndarray
    tokens: list[np.ndarray] | None
    ms: np.ndarray


def encoded(texts: list[str], engine: Engine, repeats: int) -> Encoded:
    """Embed queries one at a time, `repeats` times, of which the median counts."""
    embeddings, spent = [], []
    for text in texts:
        own = []
        for _ in range(repeats):
            start = time.perf_counter()
            embedded = engine.embed_queries([text])[0]
            own.append((time.perf_counter() - start) * 1000)
        embeddings.append(embedded)
        spent.append(float(np.median(own)))
    tokens = engine.encoder.read_queries(texts).tokens if engine.encoder else None
    return Encoded(np.stack(embeddings), tokens, np.array(spent))


def lengthened(texts: list[str]) -> list[str]:
    """Return each query with those that follow it, the first after the last, until it has `LONG` words."""
    longer = []
    for first in range(len(texts)):
        words: list[str] = []
        for text in cycle(texts[first:] + texts[:first]):
            words += text.split()
            if len(words) >= LONG:
                break
        longer.append(" ".join(words))
    return longer


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


def built(kind: CoarseEngine, embeddings: np.ndarray, place: Path) -> tuple[VectorIndex, dict[str, float]]:
    """Return an index, saved and loaded first, so that it is as an engine has it, and what it took."""
    start = time.perf_counter()
    VectorIndex.build(embeddings, CoarseSettings(kind)).save(place / "vectors.npy")
    build_s = time.perf_counter() - start
    sizes = [(place / file).stat().st_size / 1e6 for file in ("vectors.npy", "vectors.coarse.npz")]
    about = {"build_s": build_s, "vectors_mb": sizes[0], "coarse_mb": sizes[1]}
    return VectorIndex.load(place / "vectors.npy"), about


def repeated(tokens: TokenVectors, num_ads: int) -> TokenVectors:
    """Return the tokens of `num_ads` ads: those of the engine's, again and again."""
    while tokens.num_ads < num_ads:
        tokens = tokens.concatenated(tokens)
    return TokenVectors(tokens.offsets[: num_ads + 1], tokens.values[: tokens.offsets[num_ads]])


def late_ms(index: VectorIndex, late: TokenVectors, query: np.ndarray, tokens: np.ndarray, num_threads: int) -> float:
    """Return the milliseconds of late interaction with twice as many ads as are wanted."""
    rows = index.search(query, SEARCHED, None, num_threads)[0]
    start = time.perf_counter()
    top_rows(late.scores_of(tokens, rows, num_threads), DEPTHS[-1], above=-np.inf)
    return (time.perf_counter() - start) * 1000


def search_ms(index: VectorIndex, query: np.ndarray, mask: np.ndarray | None, repeats: int, num_threads: int) -> float:
    """Return the median milliseconds of searching."""
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        index.search(query, SEARCHED, mask, num_threads)
        spent.append((time.perf_counter() - start) * 1000)
    return float(np.median(spent))


def encoding_and_search(
    index: VectorIndex, late: TokenVectors | None, queries: Encoded, repeats: int, num_threads: int
) -> dict[str, float]:
    """Return p50 and p99 of encoding, of search without a filter, of late interaction, and of all together."""
    search = np.array([search_ms(index, query, None, repeats, num_threads) for query in queries.embeddings])
    interaction = np.zeros(len(search))
    if late is not None:
        assert queries.tokens is not None
        pairs = list(zip(queries.embeddings, queries.tokens, strict=True))
        interaction = np.array(
            [np.median([late_ms(index, late, *pair, num_threads) for _ in range(repeats)]) for pair in pairs]
        )
    stages = {"encoding": queries.ms, "search": search, "interaction": interaction}
    stages["total"] = queries.ms + search + interaction
    return {f"{word}_p{at}": float(np.percentile(spent, at)) for word, spent in stages.items() for at in (50, 99)}


def encoding_table(rows: list[dict[str, object]]) -> Table:
    """Show what `encoding_and_search` returned."""
    names = [name for name in rows[0] if name not in ("ads", "queries")]
    table = Table("ads", "queries", *(name.replace("_", " ") for name in names), title="ms, no filter")
    for row in rows:
        table.add_row(str(row["ads"]), str(row["queries"]), *(f"{row[name]:.2f}" for name in names))
    return table


def measured(index: VectorIndex, queries: np.ndarray, repeats: int, num_threads: int) -> list[dict[str, object]]:
    """Return a row for each filter."""
    embeddings = np.asarray(index.embeddings)
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
            plan = index.plan(SEARCHED, num_eligible)
            used.add(str(plan.engine))
            eligible += num_eligible / num_ads / len(queries)
            rescored += plan.num_candidates / num_ads / len(queries)
            found = index.search(query, SEARCHED, mask, num_threads)[0]
            recalls.append([np.isin(truth[:k], found[:k]).mean() for k in DEPTHS if len(truth)])
            spent.append(search_ms(index, query, mask, repeats, num_threads))
        row: dict[str, object] = {"filter": told, "eligible": eligible, "engine": " or ".join(sorted(used))}
        row |= {"rescored": rescored, "exact_p50": np.median(exact_ms)}
        row |= dict(zip(("r10", "r100", "r500"), np.mean(recalls, axis=0), strict=True))
        row |= dict(zip(("p50", "p95", "p99"), np.percentile(spent, (50, 95, 99)), strict=True))
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
