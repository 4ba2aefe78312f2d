"""The command that lets a feed change an engine."""

import json
from typing import Annotated, Any

import typer

from intently.cli.shared import (
    AdsFiles,
    ColumnMap,
    Decimal,
    Encoding,
    EngineDirectory,
    FeedFormat,
    SettingsFile,
    SkipBad,
    err,
    feed_of,
    need_engine,
    out,
    print_json,
)
from intently.progress import StageProgress


def update(
    directory: EngineDirectory,
    ads: AdsFiles,
    delta: Annotated[
        bool, typer.Option("--delta", help="Only the ads listed change; one of status 'ended' is removed.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="However many ads would end.")] = False,
    max_ended: Annotated[
        float, typer.Option(help="Share of the ads that may end; with more the feed is refused.")
    ] = 0.5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would change, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    format: FeedFormat = "",
    columns: ColumnMap = None,
    decimal: Decimal = "",
    encoding: Encoding = "",
    settings: SettingsFile = None,
    skip_bad: SkipBad = False,
) -> None:
    """Let today's ads change an engine without training: ads come, go and change; publish its next generation."""
    need_engine()
    from intently.build.update import update_engine
    from intently.catalog.sources import local_files

    feed, mapped = feed_of(format, columns, decimal, encoding, settings)
    with local_files(ads) as files, StageProgress(err) as progress:
        report = update_engine(
            directory,
            files,
            feed=feed,
            columns=mapped,
            partial=delta,
            max_ended=1.0 if force else max_ended,
            dry_run=dry_run,
            skip_bad=skip_bad,
            progress=progress,
        )
    if as_json:
        print_json(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
        return
    state = "would change" if dry_run else "updated" if report.changes else "nothing changed"
    out.print(f"{report.directory}: {state}; generation {report.generation}", soft_wrap=True, markup=False)
    out.print(f"  ads: {report.num_ads_before:,} before, {report.num_ads:,} after")
    for name, number, examples in report.kinds:
        out.print(f"  {name}: {number:,}", markup=False)
        for ad in examples:
            out.print(f"    {ad.ad_id}  {_short(ad.title)}", markup=False, soft_wrap=True)
            for field, (before, after) in ad.fields.items():
                out.print(f"      {field}: {_short(before)} → {_short(after)}", markup=False, soft_wrap=True)
    if report.num_changes_of:
        told = ", ".join(f"{name} {number:,}" for name, number in report.num_changes_of.items())
        out.print(f"  fields: {told}", markup=False, soft_wrap=True)
    for note in report.notes:
        err.print(f"note: {note}", soft_wrap=True, markup=False)


def _short(value: Any) -> str:
    text = "|".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else str(value)
    text = " ".join(text.split()) or "(empty)"
    return text if len(text) <= 80 else f"{text[:79]}…"
