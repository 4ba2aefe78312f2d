"""An experiment in simulated traffic: retrieval systems behind one auction and one pacing, and what each of them earns.

    engine → what every system finds for each query → visits, split in stable buckets → metrics by shopper → report

Everything is a step of a resumable experiment (`intently.lab.experiments.runner`). The first two arms are the same
system, keyword matching: an A/A pair, which has to show nothing. Simulated traffic proves nothing about real traffic;
it shows what follows from stated assumptions (`intently.lab.world.shoppers`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from intently.arrays import IntArray
from intently.build.pipeline import build_engine
from intently.build.settings import BuildSettings
from intently.catalog import Catalog, Qrels, Run, read_ads, read_qrels, read_queries
from intently.engine.engine import Engine
from intently.errors import InputError
from intently.lab.demo import TRAINED
from intently.lab.experiments.data import Files
from intently.lab.experiments.keywords import KeywordMatcher
from intently.lab.experiments.online_report import Online, sections
from intently.lab.experiments.online_traffic import Offer, TrafficOutcome, TrafficSettings, run_traffic
from intently.lab.experiments.publish import publish
from intently.lab.experiments.rare_systems import answer, bm25
from intently.lab.experiments.runner import Answers, fingerprint_of
from intently.lab.experiments.runner import Experiment as Steps
from intently.market.experiments import Experiment
from intently.types import Channel, Progress

NUM_ADS = 3_000
CONTROL, AGAIN = "keywords", "keywords again"
ARMS = (CONTROL, AGAIN, "BM25", "dense", "RARE", "fused")
DEFAULT_BID = 0.5  # of an ad without one
_CHANNELS = {"dense": Channel.DENSE, "RARE": Channel.INTENTION, "fused": Channel.FUSED}


@dataclass(frozen=True)
class OnlineSettings:
    """What is built, and the traffic that it meets."""

    build: BuildSettings = TRAINED
    engine: str = ""  # directory of an engine of these ads; empty: one is built
    traffic: TrafficSettings = field(default_factory=TrafficSettings)


def run_online(
    files: Files, out: Path, settings: OnlineSettings, *, progress: Progress, results: Path | None = None
) -> Path:
    """Run what is missing of the experiment in `out`, and return the path of its HTML report.

    Beside it lies the same as Markdown. `results` is a Markdown file with `<!-- online -->` and `<!-- /online -->`
    marks, between which the tables go.
    """
    queries = read_queries(files.queries)
    inputs = {name: path for name, path in vars(files).items() if path is not None}
    # The traffic may change without the systems being asked anew.
    steps = Steps(
        out / "systems", fingerprint_of(inputs, {"build": settings.build, "engine": settings.engine}), queries.ids
    )
    catalog = read_ads(files.ads).catalog
    directory = Path(settings.engine) if settings.engine else steps.work("engine") / "engine"
    if not settings.engine:
        build = partial(build_engine, files.ads, files.clicks, directory, settings.build, progress=progress)
        steps.facts("build", lambda: build().facts)
    engine = Engine.load(directory, num_threads=2)
    functions: dict[str, Callable[[], Answers]] = {
        CONTROL: partial(keyword_answers, catalog, queries.texts, settings.traffic.depth),
        "BM25": partial(bm25, catalog, queries.texts),
        **{
            name: partial(answer, engine, queries.texts, channel, progress=progress)
            for name, channel in _CHANNELS.items()
        },
    }
    runs = {name: steps.run(name, function).run for name, function in functions.items()}
    outcome, experiment = simulate(
        catalog, queries.ids, runs, read_qrels(files.qrels), settings.traffic, progress=progress
    )
    told = sections(
        Online(outcome, experiment, settings.traffic, segments(catalog, read_qrels(files.qrels), queries.ids, outcome))
    )
    facts = {"ads": catalog.num_ads, "queries": len(queries), "visits": int(outcome.visits.sum())}
    return publish(out / "online.html", "An experiment in simulated traffic", told, facts, results, "online")


def keyword_answers(catalog: Catalog, queries: Sequence[str], depth: int) -> Answers:
    """Answer by keywords that stand in the query; scores fall from 1 by rank."""
    matcher = KeywordMatcher([each or () for each in catalog.column("keywords").to_pylist()], bids_of(catalog))
    ad_ids = catalog.strings("ad_id")
    found = [matcher.search(query, depth).tolist() for query in queries]
    return Answers([([ad_ids[row] for row in rows], [1 / (rank + 1) for rank in range(len(rows))]) for rows in found])


def bids_of(catalog: Catalog) -> np.ndarray:
    """Return the ads' bids (N,), `DEFAULT_BID` where there is none."""
    return np.array([DEFAULT_BID if bid is None else bid for bid in catalog.column("bid").to_pylist()], np.float64)


def simulate(
    catalog: Catalog,
    query_ids: Sequence[str],
    runs: Mapping[str, Run],
    qrels: Qrels,
    traffic: TrafficSettings,
    *,
    progress: Progress,
) -> tuple[TrafficOutcome, Experiment]:
    """Return what each system earns in traffic, and the experiment. The first of `runs` is the control, twice.

    Ads that are not active are never shown.
    """
    names = list(runs)
    if len(names) < 2 or CONTROL not in names or AGAIN in names:
        raise InputError(f"got runs {names}", cure=f"pass {CONTROL!r} and at least one other", field="runs")
    arms = [CONTROL, AGAIN, *(name for name in names if name != CONTROL)]
    experiment = Experiment("online", dict.fromkeys(arms, 1 / len(arms)))
    row_of = {ad_id: row for row, ad_id in enumerate(catalog.strings("ad_id"))}
    active = np.array([status == "active" for status in catalog.strings("status")])
    advertisers = np.unique(np.array(catalog.strings("advertiser")), return_inverse=True)[1]
    rankings = {name: _rows(run, query_ids, row_of, active) for name, run in runs.items()}
    offer = Offer(
        bids=bids_of(catalog),
        advertisers=advertisers.astype(np.int64),
        grades=_grades(qrels, query_ids, row_of),
        rankings={arm: rankings[CONTROL if arm == AGAIN else arm] for arm in arms},
    )
    return run_traffic(offer, traffic, experiment, progress), experiment


def segments(
    catalog: Catalog, qrels: Qrels, query_ids: Sequence[str], outcome: TrafficOutcome
) -> dict[str, dict[str, IntArray]]:
    """Return groups of query rows by kind: by how often a query is asked, and by the vertical of its best ads."""
    order = np.argsort(-outcome.visits, kind="stable")
    ends = (max(1, round(0.05 * len(order))), max(2, round(0.3 * len(order))))
    head, torso, tail = np.split(order, ends)
    row_of = {ad_id: row for row, ad_id in enumerate(catalog.strings("ad_id"))}
    categories = catalog.strings("category")
    verticals: dict[str, list[int]] = {}
    for query, grades in enumerate(_grades(qrels, query_ids, row_of)):
        best = max(grades.values(), default=0)
        names = [categories[row].split(" > ")[0] for row, grade in grades.items() if grade == best]
        if names:
            verticals.setdefault(max(sorted(set(names)), key=names.count), []).append(query)
    return {
        "frequency": {"head": head, "torso": torso, "tail": tail},
        "vertical": {name: np.array(rows, np.int64) for name, rows in sorted(verticals.items())},
    }


def _rows(run: Run, query_ids: Sequence[str], row_of: Mapping[str, int], active: Any) -> list[IntArray]:
    found: dict[str, list[int]] = {query_id: [] for query_id in query_ids}
    for query_row, ad_id in zip(run.query_rows.tolist(), run.ad_ids.to_pylist(), strict=True):
        row = row_of[ad_id]
        if active[row]:
            found[run.query_ids[query_row]].append(row)
    return [np.array(rows, np.int64) for rows in found.values()]


def _grades(qrels: Qrels, query_ids: Sequence[str], row_of: Mapping[str, int]) -> list[dict[int, int]]:
    number = {query_id: at for at, query_id in enumerate(query_ids)}
    grades: list[dict[int, int]] = [{} for _ in query_ids]
    columns = (qrels.query_rows.tolist(), qrels.ad_ids.to_pylist(), qrels.values.tolist())
    for query_row, ad_id, value in zip(*columns, strict=True):
        at = number.get(qrels.query_ids[query_row])
        if at is not None and ad_id in row_of:
            grades[at][row_of[ad_id]] = round(min(max(value, 0.0), 3.0))
    return grades
