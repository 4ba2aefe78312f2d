"""Commands that write what an engine is built from: a simulated world, queries for ads, read pages, knowledge."""

from pathlib import Path
from typing import Annotated

import typer

from intently.cli.shared import (
    AdsFile,
    ClicksFile,
    QueriesFile,
    SettingsFile,
    SkipBad,
    err,
    need_files,
    need_models,
    out,
)
from intently.progress import StageProgress


def world(
    directory: Annotated[Path, typer.Argument(metavar="OUT", help="Directory to write; replaced if it is a world.")],
    ads: Annotated[int, typer.Option(help="Number of ads.")] = 3_000,
    seed: Annotated[int, typer.Option(help="The same seed and size give the same bytes.")] = 0,
) -> None:
    """Simulate ads, a click log and judged queries, in English, Chinese and both mixed."""
    from intently.lab.world import simulate_world

    with StageProgress(err) as progress:
        report = simulate_world(directory, ads, seed, progress=progress)
    out.print(f"{report.path}: a simulated world of {report.num_ads:,} ads (seed {report.seed})", soft_wrap=True)
    for name, value in report.statistics.items():
        out.print(f"  {name}: {value:,.4g}" if isinstance(value, float) else f"  {name}: {value:,}")


def augment(
    ads: AdsFile,
    file: Annotated[Path, typer.Option("--out", help="JSON lines to write, plain or compressed.", show_default=False)],
    clicks: ClicksFile = None,
    queries: QueriesFile = None,
    settings: SettingsFile = None,
    skip_bad: SkipBad = False,
) -> None:
    """Let language models write queries for ads, and find keywords for all: what BRIDGE's encoder reads beside them.

    Name the result in a build's settings: bridge.augmentation_file. Safe to interrupt.
    """
    need_files(ads=ads, clicks=clicks, queries=queries)
    need_models()
    from intently.build.augmentation.augment import AugmentSettings, augment_catalog, report_path
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
        err.print("note: no language model is named ('queries.model.name'), so no queries were written", soft_wrap=True)
    for note in report.notes:
        err.print(f"note: {note}", soft_wrap=True)


def read_pages(
    pages: Annotated[Path, typer.Argument(help="Directory of landing pages, a file an ad: AD_ID.png, .jpg, .html")],
    file: Annotated[Path, typer.Option("--out", help="JSON lines to write: ad_id, landing_spans.", show_default=False)],
    chromium: Annotated[str, typer.Option(help="The browser that renders HTML.")] = "",
    no_sandbox: Annotated[bool, typer.Option("--no-sandbox", help="Let root render HTML outside a sandbox.")] = False,
) -> None:
    """Read pictures of landing pages by OCR, to be joined to the ads by `ad_id`."""
    from intently.build.ocr.reading import PageReader, ReadingSettings
    from intently.build.ocr.reading import read_pages as read
    from intently.catalog.pages import write_pages

    with StageProgress(err) as progress:
        settings = ReadingSettings(chromium=chromium, sandbox=not no_sandbox)
        number = write_pages(read(pages, PageReader(settings), progress), file)
    out.print(f"{file}: {number:,} pages", soft_wrap=True)


def knowledge(
    ads: Annotated[Path, typer.Option(help="Ads, as for `intently build`.", show_default=False)],
    file: Annotated[Path, typer.Option("--out", help="The JSON lines to write.", show_default=False)],
    clicks: Annotated[Path | None, typer.Option(help="Clicks or judgements.", show_default=False)] = None,
    queries: Annotated[Path | None, typer.Option(help="Texts of the queries, or queries that users typed.")] = None,
    taxonomy: Annotated[Path | None, typer.Option(help="Google's product taxonomy as TSV.")] = None,
    settings: SettingsFile = None,
    skip_bad: SkipBad = False,
) -> None:
    """Write training examples for the teacher: query intents, ad intents and keywords, with reasons."""
    from intently.build.knowledge import KnowledgeSettings, build_knowledge
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
