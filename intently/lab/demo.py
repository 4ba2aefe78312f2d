"""The demonstration: a simulated world, an engine built from it, its channels measured, six queries answered."""

import csv
import json
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from intently.build.pipeline import build_engine
from intently.build.settings import BuildSettings
from intently.build.training.fusion import FusionSettings
from intently.build.training.student import TrainingSettings
from intently.catalog import Run, read_judgements, read_qrels, read_queries
from intently.engine.engine import Engine
from intently.evaluation.evaluation import evaluate_runs
from intently.evaluation.latency import measure_latency
from intently.lab.world import simulate_world
from intently.lab.world.simulate import VERSION
from intently.models.pretrained import ENGLISH
from intently.progress import StageProgress
from intently.terminal import show_ranking
from intently.types import Channel

CHANNELS = (Channel.LEXICAL, Channel.DENSE, Channel.INTENTION, Channel.FUSED)
# The first held-out query of each kind is shown, whatever it is: (language, style) as the world labels them.
EXAMPLES = (
    ("zh", "synonym"),
    ("zh", "colloquial"),
    ("mixed", "mixed"),
    ("en", "typo"),
    ("en", "abbreviated"),
    ("en", "colloquial"),
)
# Grade 2: the kind of thing that was wanted, without conflict, though not with every wish fulfilled.
MIN_RELEVANCE = 2.0
# A smaller batch and fewer steps than a real build takes, so that the demonstration is over in minutes. The simulated
# log asks for the same things again in other words, so a fusion learned on it expects too much of clicks (docs/log.md).
SETTINGS = BuildSettings(
    checkpoint=ENGLISH,
    training=TrainingSettings(batch_size=64, min_steps=160, max_steps=160),
    fusion=FusionSettings(learned=False),
)
_DEPTH = 500
_NUM_TIMED = 200


def run_demo(directory: Path, num_ads: int, seed: int, out: Console, err: Console) -> None:
    """Simulate, build, measure and show; everything lies under `directory` afterwards, and a rerun resumes."""
    world = directory / "world"
    with StageProgress(err) as progress:
        if not _is_there(world, num_ads, seed):
            simulate_world(world, num_ads, seed, progress=progress)
        report = build_engine(
            world / "ads.jsonl.gz", world / "clicks.tsv.gz", directory / "engine", SETTINGS, progress=progress
        )
        engine = Engine.load(report.directory)
        queries = read_queries(world / "queries.tsv")
        runs = {}
        for channel in CHANNELS:
            answers = []
            for done, ranking in enumerate(engine.retrieve_many(queries.texts, _DEPTH, channel=channel), start=1):
                ads = [ad.ad_id for ad in ranking.ads]
                answers.append((queries.ids[done - 1], ads, [ad.score for ad in ranking.ads]))
                progress("Answering", done, len(queries), str(channel))
            runs[str(channel)] = Run.build(answers)
        latencies = {}
        for done, channel in enumerate(CHANNELS):
            progress("Measuring latency", done, len(CHANNELS), str(channel))
            answer = partial(engine.retrieve, channel=channel)
            latencies[channel] = measure_latency(answer, queries.texts[:_NUM_TIMED])
    measured = evaluate_runs(
        runs,
        read_qrels(world / "qrels.trec"),
        min_relevance=MIN_RELEVANCE,
        clicks=read_judgements(world / "clicks.tsv.gz"),
        ad_ids=engine.catalog.column("ad_id"),
    )
    out.print(f"\nHeld-out queries of a simulated world of {engine.catalog.num_ads:,} ads", style="bold")
    out.print(measured.table())
    out.print("\nLatency, one query at a time on one core, k = 10, with reasons", style="bold")
    table = Table("channel", "p50 ms", "p95 ms", "p99 ms")
    for channel, latency in latencies.items():
        table.add_row(channel, f"{latency.p50_ms:.1f}", f"{latency.p95_ms:.1f}", f"{latency.p99_ms:.1f}")
    out.print(table)
    out.print("\nSix of the held-out queries", style="bold")
    for text in _examples(world / "queries.tsv"):
        show_ranking(out, engine.catalog, engine.retrieve(text, k=3), explain=True)
    out.print(f'\nAsk it yourself:  intently query {directory / "engine"} "…" --explain', soft_wrap=True)
    out.print(f"Serve it:         intently serve {directory / 'engine'}   (or: make serve)", soft_wrap=True)
    out.print("                  then http://127.0.0.1:8080/ shows why an ad was shown, or why not", soft_wrap=True)


def _is_there(world: Path, num_ads: int, seed: int) -> bool:
    manifest = world / "world.json"
    if not manifest.is_file():
        return False
    made = json.loads(manifest.read_text(encoding="utf-8"))
    return (made.get("version"), made.get("num_ads"), made.get("seed")) == (VERSION, num_ads, seed)


def _examples(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [next(row["query"] for row in rows if (row["language"], row["style"]) == wanted) for wanted in EXAMPLES]
