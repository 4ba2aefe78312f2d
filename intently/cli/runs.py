"""Commands that answer a file of queries, and that measure the answers."""

import os
from pathlib import Path
from typing import Annotated

import typer

from intently.cli.shared import EngineDirectory, MapClicks, err, load_engine, out, parse_map, print_json
from intently.errors import InputError
from intently.progress import StageProgress
from intently.types import Channel


def run(
    directory: EngineDirectory,
    queries: Annotated[
        Path,
        typer.Option(
            help="One query a line, TSV with an id before it, or a file of judgements; - for standard input.",
            show_default=False,
        ),
    ],
    run_file: Annotated[
        Path, typer.Option("--out", help="The run to write, in TREC format; - for standard output.", show_default=False)
    ],
    k: Annotated[int, typer.Option("-k", help="Ads a query.")] = 500,
    channel: Annotated[Channel, typer.Option(help="Which channel answers.")] = Channel.FUSED,
) -> None:
    """Retrieve ads for a file of queries and write a TREC run. Ids are line numbers where none are given."""
    from intently.catalog import read_queries, write_run
    from intently.catalog.runs import STANDARD_OUTPUT

    asked = read_queries(queries)
    engine = load_engine(directory, num_threads=os.cpu_count())  # batches are large enough to share
    with StageProgress(err) as progress, write_run(run_file, tag=f"intently-{channel}") as writer:
        for done, ranking in enumerate(engine.retrieve_many(asked.texts, k, channel=channel), start=1):
            writer.write(asked.ids[done - 1], [ad.ad_id for ad in ranking.ads], [ad.score for ad in ranking.ads])
            progress("Retrieving", done, len(asked))
    console = err if run_file == STANDARD_OUTPUT else out
    console.print(f"{run_file}: {len(asked):,} queries, channel {channel}", soft_wrap=True)


def evaluate(
    qrels: Annotated[
        Path, typer.Option(help="Judgements: TREC qrels, or TSV with query or query_id, ad_id, relevance.")
    ],
    run_files: Annotated[
        list[Path] | None, typer.Option("--run", help="A TREC run; the first is compared with.")
    ] = None,
    more_runs: Annotated[list[Path] | None, typer.Argument(metavar="[RUN.trec]...", help="More runs.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with all figures, also of each query.")
    ] = False,
    min_relevance: Annotated[
        float | None, typer.Option(help="Relevance from which an ad counts. Default: the upper third of the scale.")
    ] = None,
    clicks: Annotated[
        Path | None, typer.Option(help="Clicks from before the test, for click-weighted precision and tail coverage.")
    ] = None,
    judged_only: Annotated[
        bool, typer.Option("--judged-only", help="Add measures that do not take an unjudged ad for a wrong one.")
    ] = False,
    train: Annotated[
        Path | None, typer.Option(help="Clicks or judgements learned from: with --judged-only, splits Recall by them.")
    ] = None,
    map_clicks: MapClicks = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown with the paired comparisons.")] = False,
) -> None:
    """Measure runs side by side, with a paired test of each against the first.

    Ads are ordered by the rank column. trec_eval orders by score and equal scores by id, so its figures may differ.
    """
    from intently.catalog import read_judgements, read_qrels, read_run
    from intently.evaluation.evaluation import evaluate_runs

    paths = [*(run_files or []), *(more_runs or [])]
    if not paths:
        raise InputError("no runs to measure", cure="give at least one with --run")
    stems = [path.name.split(".")[0] for path in paths]
    names = stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
    report = evaluate_runs(
        {name: read_run(path) for name, path in zip(names, paths, strict=True)},
        read_qrels(qrels, columns=parse_map(map_clicks)),
        min_relevance=min_relevance,
        clicks=read_judgements(clicks) if clicks else None,
        judged_only=judged_only,
        train=read_qrels(train) if train else None,
    )
    if as_json:
        print_json(report.to_json())
    elif markdown:
        out.print(report.markdown(), soft_wrap=True)
    else:
        out.print(report.table())
