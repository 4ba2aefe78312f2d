"""The command that tells what was understood of files of ads, on the terminal, as JSON and as HTML."""

import json
from pathlib import Path
from typing import Annotated

import typer

from intently.catalog.check import Check, FileFound
from intently.cli.parts import Part, page, show
from intently.cli.shared import (
    ColumnMap,
    Decimal,
    Encoding,
    FeedFormat,
    SettingsFile,
    SkipBad,
    err,
    feed_of,
    out,
    print_json,
)
from intently.files import write_text


def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Files of ads; globs, addresses, - for a pipe.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write an HTML page.", show_default=False)] = None,
    format: FeedFormat = "",
    columns: ColumnMap = None,
    decimal: Decimal = "",
    encoding: Encoding = "",
    settings: SettingsFile = None,
    skip_bad: SkipBad = False,
) -> None:
    """Say how files of ads are read: columns, problems, ads. The exit code is 1 if a build would not do."""
    from intently.catalog.ads import read_all
    from intently.catalog.check import check_ads
    from intently.catalog.sources import local_files

    feed, mapped = feed_of(format, columns, decimal, encoding, settings)
    with local_files(files) as paths:
        read, _ = read_all(paths, skip_bad=True, reading=feed.reading(mapped))
    found = check_ads(read, skip_bad=skip_bad)
    if as_json:
        print_json(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
    else:
        show(out, report(found))
    if html:
        write_text(html, page(report(found)))
        err.print(f"{html}: written", soft_wrap=True)
    if not found.would_build:
        raise typer.Exit(1)


def report(found: Check) -> list[Part]:
    """Return the parts of the report."""
    active = found.statuses["active"]
    parts = [
        Part(
            f"{found.num_ads:,} ads, {active:,} of them active",
            [f"{number:,} {status}" for status, number in found.statuses.items() if status != "active" and number],
            [f"a build would not do: {found.why_not}"] if found.why_not else [],
        )
    ]
    for file in found.files:
        title = f"{file.path}: {file.format}" + (f", {file.layout}" if file.layout != "plain" else "")
        lines = [f"{file.num_rows:,} rows, {file.num_ads:,} ads", *file.notes]
        loud = [
            *file.warnings,
            *(f"'{name}' is not read: it is there twice, or holds what no payload can" for name in _unread(file)),
            *(
                f"'{name}' decides nothing, but its name says that it may have to; "
                f'say what it is: --map "{name}=FIELD", or =ignore'
                for name in file.loud
            ),
        ]
        parts.append(Part(title, lines, loud, ("column", "became"), file.columns))
        if file.held:
            rows = [(column, value, status, f"{number:,}") for column, value, status, number in file.held[:20]]
            parts.append(Part("Why ads are not active", columns=("column", "value", "status", "ads"), rows=rows))
    if found.problems:
        rows = [(each.field, each.problem, f"{each.num_rows:,}", "\n".join(each.examples)) for each in found.problems]
        title = f"{found.num_wrong:,} rows are wrong"
        parts.append(Part(title, columns=("field", "problem", "rows", "the first"), rows=rows))
    samples = [
        (ad["ad_id"], ad["status"], ad["title"], "; ".join(f"{k}: {_told(v)}" for k, v in ad.items() if k not in
         ("ad_id", "status", "title")))
        for ad in found.samples
    ]  # fmt: skip
    parts.append(Part("Ads as they are read", columns=("ad_id", "status", "title", "more"), rows=samples))
    lines = [f"scripts of titles: {', '.join(f'{name} {share:.0%}' for name, share in found.scripts.items())}"]
    if found.num_variants:
        lines.append(f"{found.num_variants:,} ads are variants of {found.num_groups:,} groups (item_group_id)")
    if found.num_same_titles:
        told = "; ".join(f"{title!r}: {', '.join(ids)}" for title, ids in found.same_titles)
        lines.append(f"{found.num_same_titles:,} ads have the title of an earlier one: {told}")
    if found.num_near_titles:
        told = "; ".join(f"{a}: {first!r} and {b}: {second!r}" for a, b, first, second in found.near_titles)
        lines.append(f"{found.num_near_titles:,} ads have nearly the title of an earlier one: {told}")
    if found.num_long_titles:
        lines.append(f"{found.num_long_titles:,} titles have over 300 characters: {', '.join(found.long_titles)}")
    if found.num_keyword_conflicts:
        told = "; ".join(f"{ad}: {word!r} by {negative!r}" for ad, word, negative in found.keyword_conflicts)
        lines.append(f"{found.num_keyword_conflicts:,} keywords are excluded by their ad's negative keywords: {told}")
    parts.append(Part("Texts", lines))
    return parts


def _unread(file: FileFound) -> list[str]:
    return list(dict.fromkeys(name for name, what in file.columns if what == "ignored"))


def short_report(found: Check) -> list[str]:
    """Return the report in a few lines, as a build prints it first."""
    lines = [f"{found.num_ads:,} ads, {found.statuses['active']:,} of them active"]
    for file in found.files:
        became = ", ".join(f"{name} → {what}" for name, what in file.columns if what not in ("payload", "ignored"))
        lines.append(f"{file.path}: {file.format}, {file.layout}; {became}")
        kept = [name for name, what in file.columns if what == "payload"]
        lines += [f"  kept as payload: {', '.join(kept)}"] if kept else []
        lines += [f"  warning: not read: {', '.join(_unread(file))}"] if _unread(file) else []
        lines += [f"  {note}" for note in file.notes]
        lines += [f"  {number:,} {status}: {column} is {value!r}" for column, value, status, number in file.held[:5]]
        lines += [f"  warning: {warning}" for warning in file.warnings]
        lines += [f"  warning: '{name}' decides nothing, but its name says that it may have to" for name in file.loud]
    return lines


def tell_short(found: Check) -> None:
    """Print the report in a few lines to standard error."""
    for line in short_report(found):
        err.print(line, soft_wrap=True)


def _told(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | tuple) else str(value)
