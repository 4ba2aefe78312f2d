"""The demonstration: a simulated world, an engine that stands at once, what training adds to it, six queries."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from intently.build.pipeline import build_engine
from intently.build.settings import BuildSettings, Preset
from intently.build.training.fusion import FusionSettings
from intently.build.training.student import TrainingSettings
from intently.catalog import Run, read_judgements, read_qrels, read_queries
from intently.engine.engine import Engine
from intently.evaluation.evaluation import evaluate_runs
from intently.evaluation.latency import measure_latency
from intently.evaluation.report import Report
from intently.lab.world import simulate_world
from intently.lab.world.simulate import VERSION
from intently.models.pretrained import MULTILINGUAL
from intently.progress import StageProgress
from intently.terminal import show_ranking
from intently.types import Channel

CHANNELS = (Channel.LEXICAL, Channel.DENSE, Channel.INTENTION, Channel.FUSED)
# Of each kind one held-out query is shown: (language, style) as the world labels them.
EXAMPLES = (
    ("zh", "synonym"),
    ("zh", "plain"),
    ("mixed", "mixed"),
    ("en", "typo"),
    ("en", "plain"),
    ("en", "abbreviated"),
)
# Grade 2: the kind of thing that was wanted, without conflict, though not with every wish fulfilled.
MIN_RELEVANCE = 2.0
# Half the world's ads are in Chinese, so both builds start from the multilingual encoder.
INSTANT = replace(BuildSettings.preset(Preset.INSTANT), checkpoint=MULTILINGUAL)
# Fewer and smaller steps, and fewer trees, than a real build takes, so that the demonstration is over in minutes.
TRAINED = BuildSettings(
    checkpoint=MULTILINGUAL,
    training=TrainingSettings(batch_size=32, min_steps=40, max_steps=40),
    fusion=FusionSettings(max_trees=80),
)
_NUM_QUERIES = 250  # held out; enough to tell what training adds
_DEPTH = 500
_NUM_TIMED = 100
_GAINS = ("Recall@10", "HR@500", "MAP")  # that the demonstration tells of training


def run_demo(directory: Path, num_ads: int, seed: int, out: Console, err: Console) -> None:
    """Simulate, build, measure and show; everything lies under `directory` afterwards, and a rerun resumes."""
    world, engine = directory / "world", directory / "engine"
    with StageProgress(err) as progress:
        if not _is_there(world, num_ads, seed):
            simulate_world(world, num_ads, seed, num_judged_queries=_NUM_QUERIES, progress=progress)
    instant = _built(world, engine, INSTANT, err)
    before = _answers(instant, world, err)
    out.print(f"\n1. An engine of {instant.catalog.num_ads:,} simulated ads, nothing trained", style="bold")
    out.print(_measured(before, instant, world).table())

    trained = _built(world, engine, TRAINED, err)
    after = _answers(trained, world, err)
    out.print(f"\n2. The same directory after {TRAINED.training.max_steps} steps of training on clicks", style="bold")
    out.print(_measured(after, trained, world).table())
    out.print("\nWhat training added", style="bold")
    out.print(_gains(before, after, lambda runs: _measured(runs, trained, world)))
    out.print("\nLatency, one query at a time on one core, k = 10, with reasons", style="bold")
    out.print(_latency(trained, world, err))

    examples, share = _examples(after, world)
    out.print("\n3. Six of the held-out queries", style="bold")
    out.print(
        "Of each kind the first for which the intentions alone and all channels together put a relevant ad first, as "
        f"they do for {share:.0%} of all queries."
    )
    for text in examples:
        show_ranking(out, trained.catalog, trained.retrieve(text, k=3), explain=True)
    out.print("\nWhat to do next", style="bold")
    for what, command in (
        ("Ask it yourself", f'intently query {engine} "…" --explain'),
        ("Serve it", f"intently serve {engine}        (http://127.0.0.1:8080/ shows why an ad was shown, or why not)"),
        ("Your own ads", "intently build --ads ads.tsv --out engine --preset instant"),
        ("Better with clicks", "intently build --ads ads.tsv --clicks clicks.tsv --out engine"),
    ):
        out.print(f"  {what + ':':<20}{command}", soft_wrap=True)


def _built(world: Path, engine: Path, settings: BuildSettings, err: Console) -> Engine:
    """Build the next generation of the engine with these settings, unless it is there, and load it."""
    with StageProgress(err) as progress:
        build_engine(world / "ads.jsonl.gz", world / "clicks.tsv.gz", engine, settings, progress=progress)
    return Engine.load(engine)


def _answers(engine: Engine, world: Path, err: Console) -> dict[Channel, Run]:
    """Return the answers of every channel to the held-out queries."""
    queries, runs = read_queries(world / "queries.tsv"), {}
    with StageProgress(err) as progress:
        for channel in CHANNELS:
            answers = []
            for done, ranking in enumerate(engine.retrieve_many(queries.texts, _DEPTH, channel=channel), start=1):
                ads = [ad.ad_id for ad in ranking.ads]
                answers.append((queries.ids[done - 1], ads, [ad.score for ad in ranking.ads]))
                progress("Answering", done, len(queries), str(channel))
            runs[channel] = Run.build(answers)
    return runs


def _measured(runs: Mapping[Channel, Run] | Mapping[str, Run], engine: Engine, world: Path) -> Report:
    return evaluate_runs(
        {str(name): run for name, run in runs.items()},
        read_qrels(world / "qrels.trec"),
        min_relevance=MIN_RELEVANCE,
        clicks=read_judgements(world / "clicks.tsv.gz"),
        ad_ids=engine.catalog.column("ad_id"),
    )


def _gains(
    before: Mapping[Channel, Run], after: Mapping[Channel, Run], measured: Callable[[Mapping[str, Run]], Report]
) -> Table:
    """Return a table of every channel that training can change: before, after, and the p-value."""
    table = Table("channel", *_GAINS)
    for channel in CHANNELS:
        if channel is Channel.LEXICAL:  # it learns nothing
            continue
        report = measured({"before": before[channel], "after": after[channel]})
        p_value = {each.metric: each.p_value for each in report.comparisons}
        first, second = (report.runs[name].means() for name in ("before", "after"))
        cells = [f"{first[name]:.3f} → {second[name]:.3f} (p {p_value[name]:.2g})" for name in _GAINS]
        table.add_row(str(channel), *cells)
    return table


def _latency(engine: Engine, world: Path, err: Console) -> Table:
    texts = read_queries(world / "queries.tsv").texts[:_NUM_TIMED]
    table = Table("channel", "p50 ms", "p95 ms", "p99 ms")
    with StageProgress(err) as progress:
        for done, channel in enumerate(CHANNELS):
            progress("Measuring latency", done, len(CHANNELS), str(channel))
            latency = measure_latency(partial(engine.retrieve, channel=channel), texts)
            table.add_row(channel, f"{latency.p50_ms:.1f}", f"{latency.p95_ms:.1f}", f"{latency.p99_ms:.1f}")
    return table


def _is_there(world: Path, num_ads: int, seed: int) -> bool:
    manifest = world / "world.json"
    if not manifest.is_file():
        return False
    made = json.loads(manifest.read_text(encoding="utf-8"))
    return (made.get("version"), made.get("num_ads"), made.get("seed")) == (VERSION, num_ads, seed)


def _examples(runs: Mapping[Channel, Run], world: Path) -> tuple[list[str], float]:
    """Return a query of each kind that was answered well, and which share of all queries was.

    A kind of which none was answered well is shown by its first.
    """
    qrels = read_qrels(world / "qrels.trec")
    relevant = {
        (qrels.query_ids[row], ad)
        for row, ad, value in zip(qrels.query_rows, qrels.ad_ids.to_pylist(), qrels.values, strict=True)
        if value >= MIN_RELEVANCE
    }
    first = [_first_ads(runs[channel]) for channel in (Channel.INTENTION, Channel.FUSED)]
    with (world / "queries.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    well = [all((row["query_id"], ads.get(row["query_id"])) in relevant for ads in first) for row in rows]
    chosen = []
    for kind in EXAMPLES:
        of_kind = [at for at, row in enumerate(rows) if (row["language"], row["style"]) == kind]
        chosen.append(rows[next((at for at in of_kind if well[at]), of_kind[0])]["query"])
    return chosen, sum(well) / len(rows)


def _first_ads(run: Run) -> dict[str, str]:
    rows, first = np.unique(run.query_rows, return_index=True)
    ads = run.ad_ids.take(first).to_pylist()
    return {run.query_ids[row]: ad for row, ad in zip(rows.tolist(), ads, strict=True)}
