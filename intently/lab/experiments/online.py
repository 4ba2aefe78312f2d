"""An experiment in simulated traffic: retrieval systems behind one auction and one pacing, and what each of them earns.

    engines → what every system finds for each query → visits, split in stable buckets → metrics by shopper → report

Everything up to the visits is a step of a resumable experiment (`intently.lab.experiments.runner`). The first two arms
are the same system, keyword matching: an A/A pair, which has to show nothing. Simulated traffic proves nothing about
real traffic; it shows what follows from stated assumptions (`intently.lab.world.shoppers`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from intently.arrays import Float64Array, IntArray, Mask
from intently.build.pipeline import build_engine
from intently.build.settings import BridgeSettings, BuildSettings
from intently.build.training.bridge import BridgeTrainingSettings
from intently.catalog import Catalog, Qrels, Run, read_ads, read_judgements, read_qrels, read_queries
from intently.engine.engine import Engine
from intently.errors import InputError
from intently.evaluation.click_groups import ClickGroup, ClickGroups
from intently.lab.demo import INSTANT, TRAINED
from intently.lab.experiments.data import Files
from intently.lab.experiments.online_report import Online, sections
from intently.lab.experiments.online_traffic import Offer, TrafficOutcome, TrafficSettings, run_traffic
from intently.lab.experiments.publish import publish
from intently.lab.experiments.rare_systems import answer, bm25
from intently.lab.experiments.report import Section
from intently.lab.experiments.runner import Answers, fingerprint_of
from intently.lab.experiments.runner import Experiment as Steps
from intently.market.experiments import Experiment
from intently.models.encoder.settings import EncoderSettings
from intently.types import Channel, Progress

NUM_ADS = 3_000
CONTROL, AGAIN = "keywords", "keywords again"
DEFAULT_BID = 0.5  # of an ad without one
VALUE_WEIGHT = 1.0  # of the bids in value-aware beams: an intention counts as probability times value
# As the demonstration builds, and an encoder for the dense channel.
BUILD = replace(
    TRAINED,
    bridge=BridgeSettings(
        enabled=True,
        encoder=EncoderSettings(max_ad_tokens=48),
        training=BridgeTrainingSettings(num_steps=40, batch_size=32, num_held_out=0),
    ),
)


@dataclass(frozen=True)
class OnlineSettings:
    """What is built, and the traffic that it meets."""

    build: BuildSettings = BUILD
    start: BuildSettings = INSTANT  # of the engine whose dense channel nothing was trained for
    engine: str = ""  # directory of an engine of these ads; empty: one is built
    traffic: TrafficSettings = field(default_factory=TrafficSettings)


def run_online(
    files: Files,
    out: Path,
    settings: OnlineSettings,
    *,
    progress: Progress,
    results: Path | None = None,
    tell: Callable[[Sequence[Section]], None] = lambda _: None,
) -> Path:
    """Run what is missing of the experiment in `out`, and return the path of its HTML report.

    `results` is a Markdown file with `<!-- online -->` and `<!-- /online -->` marks, between which the tables go.
    `tell` gets the chapters.
    """
    queries = read_queries(files.queries)
    inputs = {name: path for name, path in vars(files).items() if path is not None}
    # The traffic may change without the systems being asked anew.
    made_of = {"build": settings.build, "start": settings.start, "engine": settings.engine}
    steps = Steps(out / "systems", fingerprint_of(inputs, made_of), queries.ids)
    catalog, qrels = read_ads(files.ads).catalog, read_qrels(files.qrels)
    load = partial(Engine.load, num_threads=2)
    directory = Path(settings.engine) if settings.engine else _built(steps, files, "engine", settings.build, progress)
    systems = systems_of(load(directory), queries.texts, progress)
    if not settings.engine:
        start = load(_built(steps, files, "start", settings.start, progress))
        systems["dense"] = partial(answer, start, queries.texts, Channel.DENSE, progress=progress)
    systems["BM25"] = partial(bm25, catalog, queries.texts)
    runs = {name: steps.run(name, systems[name]).run for name in ARMS if name in systems}
    outcome, experiment = simulate(catalog, queries.ids, runs, qrels, settings.traffic, progress=progress)
    online = Online(
        outcome,
        experiment,
        settings.traffic,
        segments(catalog, qrels, queries.ids, outcome),
        tail_ads(catalog, read_judgements(files.clicks)),
    )
    facts = {"ads": catalog.num_ads, "queries": len(queries), "visits": int(outcome.visits.sum())}
    return publish(
        out / "online.html", "An experiment in simulated traffic", sections(online), facts, results, "online"
    )


def _built(steps: Steps, files: Files, name: str, settings: BuildSettings, progress: Progress) -> Path:
    """Return the directory of an engine of these ads, built if it is not there."""
    directory = steps.work(name) / "engine"
    build = partial(build_engine, files.ads, files.clicks, directory, settings, progress=progress)
    steps.facts(f"build of {name}", lambda: build().facts)
    return directory


# In the order of the report. An engine without an encoder has no "BRIDGE", one that cannot decode no value-aware beams;
# one without a learned fusion fuses by reciprocal ranks anyway.
ARMS = (
    CONTROL,
    "BM25",
    "dense",
    "BRIDGE",
    "RARE",
    "without intentions",
    "fused, not learned",
    "fused",
    "fused, value-aware",
)


def systems_of(engine: Engine, queries: Sequence[str], progress: Progress) -> dict[str, Callable[[], Answers]]:
    """Return what answers the queries for each arm that an engine has the parts for, by name."""
    ask = partial(answer, queries=queries, progress=progress)
    unaware = engine.varied(replace(engine.settings, intention_weight=0.0), learned=False)
    systems: dict[str, Callable[[], Answers]] = {
        CONTROL: partial(ask, engine, channel=Channel.KEYWORD),
        "RARE": partial(ask, engine, channel=Channel.INTENTION),
        "without intentions": partial(ask, unaware, channel=Channel.FUSED),
        "fused": partial(ask, engine, channel=Channel.FUSED),
    }
    if engine.fusion:
        systems["fused, not learned"] = partial(
            ask, engine.varied(engine.settings, learned=False), channel=Channel.FUSED
        )
    if Channel.DENSE in engine.channels:
        systems["BRIDGE" if engine.encoder else "dense"] = partial(ask, engine, channel=Channel.DENSE)
    near = engine.intentions.near
    if near and near.of_ads.model_temperature is not None:
        decode = replace(engine.settings.decode, value_weight=VALUE_WEIGHT)
        aware = engine.varied(replace(engine.settings, decode=decode), values=values_of_intentions(engine))
        systems["fused, value-aware"] = partial(ask, aware, channel=Channel.FUSED)
    return systems


def values_of_intentions(engine: Engine) -> Float64Array:
    """Return what a click on an ad of each intention brings (I,): the mean bid of its ads, weighed as its postings are.

    Intentions without ads have the mean of all others.
    """
    postings, bids = engine.intentions.postings, bids_of(engine.catalog)
    keys = np.repeat(np.arange(postings.num_keys), postings.counts())
    weights = np.bincount(keys, weights=postings.weights, minlength=postings.num_keys)
    paid = np.bincount(keys, weights=postings.weights * bids[postings.ad_rows], minlength=postings.num_keys)
    is_known = weights > 0
    values = np.divide(paid, weights, out=np.zeros(postings.num_keys), where=is_known)
    values[~is_known] = values[is_known].mean() if is_known.any() else DEFAULT_BID
    return np.maximum(values, 1e-6)  # a bid may be 0, and a value may not


def bids_of(catalog: Catalog) -> Float64Array:
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


def tail_ads(catalog: Catalog, clicks: Qrels) -> Mask:
    """Return which ads (N,) have fewer than five clicks in a log."""
    ad_ids = catalog.column("ad_id").combine_chunks()
    return np.asarray(ClickGroups.build(clicks, ad_ids).lookup(ad_ids) == ClickGroup.TAIL)


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
