"""The command line: thin commands over the package's functions."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from intently.errors import InputError, IntentlyError, MissingDependencyError
from intently.progress import StageProgress
from intently.types import Path as RetrievalPath
from intently.types import UserContext

if TYPE_CHECKING:
    from intently.experiments.data import Files
    from intently.retrieve.engine import Engine

app = typer.Typer(
    help="Ad retrieval by commercial intention: build an engine from ads and clicks, ask it, measure it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
# Answers go to standard output, everything about the work itself to standard error.
out, err = Console(highlight=False), Console(stderr=True, highlight=False)
_INTERRUPTED = 130  # the exit code into which typer turns a KeyboardInterrupt

Directory = Annotated[
    Path, typer.Argument(help="The engine: a directory that `intently build` made.", show_default=False)
]


@app.command()
def world(
    directory: Annotated[Path, typer.Argument(metavar="OUT", help="Directory to write; replaced if it is a world.")],
    ads: Annotated[int, typer.Option(help="Number of ads.")] = 3_000,
    seed: Annotated[int, typer.Option(help="The same seed and size give the same bytes.")] = 0,
) -> None:
    """Simulate ads, a click log and judged queries, in English, Chinese and both mixed."""
    from intently.world import simulate_world

    with StageProgress(err) as progress:
        report = simulate_world(directory, ads, seed, progress=progress)
    out.print(f"{report.path}: a simulated world of {report.num_ads:,} ads (seed {report.seed})", soft_wrap=True)
    for name, value in report.statistics.items():
        out.print(f"  {name}: {value:,.4g}" if isinstance(value, float) else f"  {name}: {value:,}")


@app.command()
def build(
    ads: Annotated[
        Path, typer.Option(help="Ads: TSV, CSV, JSONL or Parquet, plain or compressed.", show_default=False)
    ],
    directory: Annotated[Path, typer.Option("--out", help="Directory for the engine.", show_default=False)],
    clicks: Annotated[
        Path | None,
        typer.Option(
            help="Clicks or judgements: query, ad_id, and clicks or relevance. Without: ads alone.", show_default=False
        ),
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="Texts of the queries, where clicks name them by id only.", show_default=False)
    ] = None,
    pages: Annotated[
        Path | None, typer.Option(help="Landing pages as `intently read-pages` wrote them.", show_default=False)
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="A TOML file of settings that differ from the defaults.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave wrong rows out, count and report them.")] = False,
) -> None:
    """Build an engine from ads and clicks. Safe to interrupt: the same command goes on where it was."""
    _need_models()
    from intently.building.settings import BuildSettings
    from intently.pipeline import build_engine
    from intently.settings import read_settings

    chosen = read_settings(BuildSettings, settings) if settings else BuildSettings()
    with StageProgress(err) as progress:
        report = build_engine(
            ads, clicks, directory, chosen, queries=queries, pages=pages, skip_bad=skip_bad, progress=progress
        )
    out.print(f"{report.directory}: complete", soft_wrap=True)
    for name, value in report.facts.items():
        out.print(
            f"  {name.replace('_', ' ')}: {value:,.2f}"
            if isinstance(value, float)
            else f"  {name.replace('_', ' ')}: {value:,}"
        )
    for note in report.notes:
        err.print(f"note: {note}", soft_wrap=True)


@app.command()
def query(
    directory: Directory,
    text: Annotated[str, typer.Argument(help="What the user typed.", show_default=False)],
    k: Annotated[int, typer.Option("-k", help="Number of ads.")] = 10,
    path: Annotated[RetrievalPath, typer.Option(help="Which path answers.")] = RetrievalPath.FUSED,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say why each ad came, and where the time went.")] = False,
    country: Annotated[str | None, typer.Option(help="The user's country, for targeting.")] = None,
    language: Annotated[str | None, typer.Option(help="The user's language.")] = None,
    device: Annotated[str | None, typer.Option(help="The user's device.")] = None,
    audience: Annotated[list[str] | None, typer.Option(help="An audience tag of the user; may be repeated.")] = None,
) -> None:
    """Retrieve ads for one query."""
    engine = _load(directory)
    user = UserContext(country, language, device, audiences=frozenset(audience) if audience else None)
    ranking = engine.retrieve(text, k, user=user, path=path, explain=explain)
    if as_json:
        out.print_json(json.dumps(asdict(ranking), ensure_ascii=False))
        return
    from intently.show import show_ranking

    show_ranking(out, engine.catalog, ranking, explain=explain)


@app.command()
def run(
    directory: Directory,
    queries: Annotated[
        Path,
        typer.Option(help="One query a line, TSV with an id before it, or a file of judgements.", show_default=False),
    ],
    run_file: Annotated[Path, typer.Option("--out", help="The run to write, in TREC format.", show_default=False)],
    k: Annotated[int, typer.Option("-k", help="Ads a query.")] = 500,
    path: Annotated[RetrievalPath, typer.Option(help="Which path answers.")] = RetrievalPath.FUSED,
) -> None:
    """Retrieve ads for a file of queries and write a TREC run. Ids are line numbers where none are given."""
    from intently.catalog import read_queries, write_run

    asked = read_queries(queries)
    engine = _load(directory, num_threads=os.cpu_count())  # batches are large enough to share
    with StageProgress(err) as progress, write_run(run_file, tag=f"intently-{path}") as writer:
        for done, ranking in enumerate(engine.retrieve_many(asked.texts, k, path=path), start=1):
            writer.write(asked.ids[done - 1], [ad.ad_id for ad in ranking.ads], [ad.score for ad in ranking.ads])
            progress("Retrieving", done, len(asked))
    out.print(f"{run_file}: {len(asked):,} queries, path {path}", soft_wrap=True)


@app.command()
def evaluate(
    qrels: Annotated[
        Path, typer.Option(help="Judgements: TREC qrels, or TSV with query or query_id, ad_id, relevance.")
    ],
    run_files: Annotated[
        list[Path] | None, typer.Option("--run", help="A TREC run; the first is compared with.")
    ] = None,
    more_runs: Annotated[list[Path] | None, typer.Argument(metavar="[RUN.trec]...", help="More runs.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write all figures, per query, as JSON.")
    ] = None,
    min_relevance: Annotated[
        float | None, typer.Option(help="Relevance from which an ad counts. Default: the upper third of the scale.")
    ] = None,
    clicks: Annotated[
        Path | None, typer.Option(help="Clicks from before the test, for click-weighted precision and tail coverage.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown with the paired comparisons.")] = False,
) -> None:
    """Measure runs side by side, with a paired test of each against the first."""
    from intently.artifact import write_atomically
    from intently.catalog import read_judgements, read_qrels, read_run
    from intently.evaluate.evaluation import evaluate_runs

    paths = [*(run_files or []), *(more_runs or [])]
    if not paths:
        raise InputError("no runs to measure", cure="give at least one with --run")
    stems = [path.name.split(".")[0] for path in paths]
    names = stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
    report = evaluate_runs(
        {name: read_run(path) for name, path in zip(names, paths, strict=True)},
        read_qrels(qrels),
        min_relevance=min_relevance,
        clicks=read_judgements(clicks) if clicks else None,
    )
    if markdown:
        out.print(report.markdown(), soft_wrap=True)
    else:
        out.print(report.table())
    if json_file:
        write_atomically(json_file, report.to_json())


@app.command()
def knowledge(
    ads: Annotated[Path, typer.Option(help="Ads, as for `intently build`.", show_default=False)],
    file: Annotated[Path, typer.Option("--out", help="The JSON lines to write.", show_default=False)],
    clicks: Annotated[Path | None, typer.Option(help="Clicks or judgements.", show_default=False)] = None,
    queries: Annotated[Path | None, typer.Option(help="Texts of the queries, or queries that users typed.")] = None,
    taxonomy: Annotated[Path | None, typer.Option(help="Google's product taxonomy as TSV.")] = None,
    settings: Annotated[
        Path | None, typer.Option(help="A TOML file of settings that differ from the defaults.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave wrong rows out, count and report them.")] = False,
) -> None:
    """Write what teaches a language model the trade: query intents, ad intents and keywords, with reasons."""
    from intently.knowledge import KnowledgeSettings, build_knowledge
    from intently.settings import read_settings

    chosen = read_settings(KnowledgeSettings, settings) if settings else KnowledgeSettings()
    with StageProgress(err) as progress:
        report = build_knowledge(
            ads, file, chosen, clicks=clicks, queries=queries, taxonomy=taxonomy, skip_bad=skip_bad, progress=progress
        )
    out.print(f"{report.path}: {report.num_instances:,} instances", soft_wrap=True)
    for task, count in report.by_task().items():
        missing = report.shortfalls.get(task, 0)
        out.print(f"  {task}: {count:,}" + (f", {missing:,} fewer than asked for" if missing else ""))
    for note in report.notes:
        err.print(f"note: {note}", soft_wrap=True)


experiment = typer.Typer(no_args_is_help=True)
app.add_typer(experiment, name="experiment")


@experiment.callback()
def _experiments() -> None:
    """Reproduce published tables on a simulated world or on your own data. Resumable; hours on a real catalogue."""


_Out = Annotated[Path, typer.Option("--out", help="Where all of it is kept.", show_default=False)]
_Ads = Annotated[Path | None, typer.Option(help="Ads. Without: a simulated world.", show_default=False)]
_Clicks = Annotated[Path | None, typer.Option(help="Clicks or judgements to learn from.", show_default=False)]
_Test = Annotated[Path | None, typer.Option(help="Judged queries to measure on.", show_default=False)]
_Settings = Annotated[Path | None, typer.Option(help="A TOML file of settings that differ from the defaults.")]
_Results = Annotated[
    Path | None, typer.Option(help="A Markdown file whose block for this is replaced.", show_default=False)
]


@experiment.command()
def rare(
    directory: _Out,
    ads: _Ads = None,
    clicks: _Clicks = None,
    test: _Test = None,
    taxonomy: Annotated[Path | None, typer.Option(help="Google's product taxonomy as TSV.", show_default=False)] = None,
    settings: _Settings = None,
    results: _Results = None,
) -> None:
    """RARE's tables 1, 3 and 5 and the cache's figures, as Markdown and as one HTML file."""
    _need_models()
    from intently.experiments.data import world_files
    from intently.experiments.rare import RareSettings, run_rare
    from intently.experiments.rare_world import NUM_ADS, SETTINGS
    from intently.settings import read_settings

    files = _files(ads, clicks, test, taxonomy)
    default = RareSettings() if files else SETTINGS
    chosen = read_settings(RareSettings, settings, default) if settings else default
    with StageProgress(err) as progress:
        files = files or world_files(directory / "world", NUM_ADS, progress)
        report = run_rare(files, directory, chosen, progress=progress, results=results)
    out.print(f"{report}: complete", soft_wrap=True)


@experiment.command()
def bridge(
    directory: _Out,
    ads: _Ads = None,
    clicks: _Clicks = None,
    test: _Test = None,
    settings: _Settings = None,
    results: _Results = None,
) -> None:
    """BRIDGE's tables 1 and 2 and the fused engine, as Markdown and as one HTML file."""
    _need_models()
    from intently.experiments.bridge import BridgeExperimentSettings, run_bridge
    from intently.experiments.bridge_world import NUM_ADS, SETTINGS
    from intently.experiments.data import world_files
    from intently.settings import read_settings

    files = _files(ads, clicks, test, None)
    default = BridgeExperimentSettings() if files else SETTINGS
    chosen = read_settings(BridgeExperimentSettings, settings, default) if settings else default
    with StageProgress(err) as progress:
        files = files or world_files(directory / "world", NUM_ADS, progress)
        report = run_bridge(files, directory, chosen, progress=progress, results=results)
    out.print(f"{report}: complete", soft_wrap=True)


def _files(ads: Path | None, clicks: Path | None, test: Path | None, taxonomy: Path | None) -> "Files | None":
    """Return the files that an experiment was given, None if it was given none."""
    from intently.experiments.data import Files

    if ads and clicks and test:
        return Files(ads, clicks, test, test, taxonomy)
    if ads or clicks or test:
        raise InputError("--ads, --clicks and --test belong together", cure="give all three, or none for a world")
    if taxonomy:
        raise InputError("--taxonomy goes with --ads, --clicks and --test", cure="leave it out for a world")
    return None


@app.command()
def augment(
    ads: Annotated[
        Path, typer.Option(help="Ads: TSV, CSV, JSONL or Parquet, plain or compressed.", show_default=False)
    ],
    file: Annotated[Path, typer.Option("--out", help="JSON lines to write, plain or compressed.", show_default=False)],
    clicks: _Clicks = None,
    queries: Annotated[
        Path | None, typer.Option(help="Texts of the queries, where clicks name them by id only.", show_default=False)
    ] = None,
    settings: _Settings = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave wrong rows out, count and report them.")] = False,
) -> None:
    """Let language models write queries for ads, and find keywords for all: what BRIDGE's encoder reads beside them.

    Name the result in a build's settings: bridge.augmentation_file. Safe to interrupt.
    """
    _need_models()
    from intently.augment.augment import AugmentSettings, augment_catalog, report_path
    from intently.settings import read_settings

    chosen = read_settings(AugmentSettings, settings) if settings else AugmentSettings()
    with StageProgress(err) as progress:
        report = augment_catalog(
            ads, file, chosen, clicks=clicks, queries=queries, skip_bad=skip_bad, progress=progress
        )
    out.print(f"{report.path}: {report.num_ads:,} ads", soft_wrap=True)
    out.print(f"  queries: {report.num_queries:,} for {report.num_ads_with_queries:,} ads")
    out.print(f"  keywords: {report.num_keywords:,} for {report.num_ads_with_keywords:,} ads")
    out.print(f"  costs: {report_path(report.path)}", soft_wrap=True)
    if report.query_model is None:
        err.print("note: no language model is named ('queries.model.name'), so no queries were written")
    for note in report.notes:
        err.print(f"note: {note}", soft_wrap=True)


@app.command("read-pages")
def read_pages(
    pages: Annotated[Path, typer.Argument(help="Directory of landing pages, a file an ad: AD_ID.png, .jpg, .html")],
    file: Annotated[Path, typer.Option("--out", help="JSON lines to write: ad_id, landing_spans.", show_default=False)],
    chromium: Annotated[str, typer.Option(help="The browser that renders HTML.")] = "",
) -> None:
    """Read pictures of landing pages by OCR, to be joined to the ads by `ad_id`."""
    from intently.ocr.pages import write_pages
    from intently.ocr.reading import PageReader, ReadingSettings
    from intently.ocr.reading import read_pages as read

    with StageProgress(err) as progress:
        settings = ReadingSettings(chromium=chromium) if chromium else ReadingSettings()
        number = write_pages(read(pages, PageReader(settings), progress), file)
    out.print(f"{file}: {number:,} pages", soft_wrap=True)


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(metavar="[OUT]", help="Where the world and the engine go.")] = Path(
        "demo"
    ),
    ads: Annotated[int, typer.Option(help="Number of ads to simulate.")] = 3_000,
    seed: Annotated[int, typer.Option(help="Seed of the world.")] = 0,
) -> None:
    """See it all at once: simulate a world, build an engine, measure its paths, answer six queries."""
    _need_models()
    from intently.demo import run_demo

    run_demo(directory, ads, seed, out, err)


def _need_models() -> None:
    try:
        import intently.models.onnx_runner  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"this needs PyTorch and ONNX Runtime, and {error.name} is missing; run: pip install 'intently[models]'"
        ) from error


def _load(directory: Path, num_threads: int | None = None) -> "Engine":
    _need_models()
    from intently.retrieve.engine import Engine

    return Engine.load(directory, num_threads=num_threads)


def main() -> None:
    """Run the command line; an expected error is one line on standard error and a non-zero exit."""
    try:
        app()
    except IntentlyError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(0)  # the reader, such as `head`, has seen enough
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror or error}; check path, permissions and free space", file=sys.stderr)
        sys.exit(1)
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            print("interrupted; the same command goes on where it was", file=sys.stderr)
        raise
