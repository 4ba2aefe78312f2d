"""Commands around the HTTP service: serve an engine, make a key, push ads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from intently.cli.shared import (
    ColumnMap,
    Decimal,
    Encoding,
    EngineDirectory,
    FeedFormat,
    ServiceKey,
    SettingsFile,
    SkipBad,
    err,
    feed_of,
    need_engine,
    out,
)
from intently.errors import InputError, MissingDependencyError, install_hint
from intently.process import share_one_heap
from intently.types import Ad


def serve(
    directory: EngineDirectory,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 8080,
    keys: Annotated[
        Path | None, typer.Option(help="File of keys; see `intently key`. Without: anybody may do everything.")
    ] = None,
    anybody: Annotated[
        bool, typer.Option("--anybody", help="Without keys, let other machines reach the service too.")
    ] = False,
    log: Annotated[
        str | None,
        typer.Option(
            envvar="INTENTLY_LOG",
            help="Where the log of changes lies: postgresql://…, or a file. Default: changes.db in the engine.",
            show_default=False,
        ),
    ] = None,
    cache: Annotated[
        str | None,
        typer.Option(
            envvar="INTENTLY_CACHE",
            help="Valkey or Redis in which processes share decoded queries: redis://…, valkey://…, unix://….",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of one query, in place of the engine's setting.")] = None,
    settings: SettingsFile = None,
) -> None:
    """Serve an engine over HTTP until a signal comes: for people at /, for programs as /docs tells."""
    share_one_heap()
    need_engine()
    _need_service()
    from intently.serve.server import serve as run_server
    from intently.serve.settings import ServeSettings
    from intently.settings import read_settings

    chosen = read_settings(ServeSettings, settings) if settings else ServeSettings()
    run_server(directory, host, port, chosen, keys, threads, anybody, log, cache)


def key(
    name: Annotated[str, typer.Argument(help="What logs call its holder.", show_default=False)],
    role: Annotated[str, typer.Option(help="read, write or admin.")] = "read",
    advertiser: Annotated[str, typer.Option(help="Only ads of this advertiser.")] = "",
) -> None:
    """Make a key for `intently serve`: the secret goes to its holder, the entry into the file of keys."""
    _need_service()
    import json

    from intently.serve.keys import Key, digest_of, new_secret

    secret = new_secret()
    made = Key(name, digest_of(secret), role, advertiser)  # type: ignore[arg-type]
    entry = {"name": made.name, "sha256": made.sha256, "role": str(made.role), "advertiser": made.advertiser}
    out.print("[[key]]")
    for field, value in entry.items():
        if value:
            out.print(f"{field} = {json.dumps(value, ensure_ascii=False)}", soft_wrap=True)
    err.print(f"secret, shown only now: {secret}", soft_wrap=True)


def push(
    ads: Annotated[list[str], typer.Argument(metavar="FILE…", help="Files of ads; globs, addresses, - for a pipe.")],
    to: Annotated[str, typer.Option(help="Address of the service.", show_default=False)],
    secret: ServiceKey = None,
    format: FeedFormat = "",
    columns: ColumnMap = None,
    decimal: Decimal = "",
    encoding: Encoding = "",
    settings: SettingsFile = None,
    skip_bad: SkipBad = False,
) -> None:
    """Put the ads of files into a running service."""
    from intently.catalog import read_ads
    from intently.catalog.inputs import reading_notes, skipped_notes
    from intently.catalog.sources import local_files
    from intently.client import Client
    from intently.progress import StageProgress
    from intently.types import Put

    feed, mapped = feed_of(format, columns, decimal, encoding, settings)
    with local_files(ads) as files:
        read = read_ads(files, skip_bad=skip_bad, reading=feed.reading(mapped))
    for note in (*reading_notes(read), *skipped_notes(read.num_skipped, read.problems, None)):
        err.print(f"note: {note}", soft_wrap=True, markup=False)
    catalog = read.catalog

    def everything() -> Iterator[Ad]:
        for row in range(len(catalog)):
            yield catalog.ad(row)

    with StageProgress(err) as progress, Client(to, key=secret) as client:
        done = client.bulk(map(Put, everything()), progress=lambda at: progress("push", at, len(catalog), "ads"))
    out.print(f"{done.succeeded:,} ads put, seq {done.seq}")
    for each in done.errors[:20]:
        place = f"ad {each.ad_id!r}" if each.ad_id else f"line {each.line}"
        err.print(f"{place}: {each.error.message if each.error else each.status}", soft_wrap=True)
    if done.failed:
        raise InputError(f"{done.failed:,} ads were refused", cure="mend them and push again", path=ads[0])


def _need_service() -> None:
    """Raise MissingDependencyError unless what serves is installed."""
    try:
        import jinja2  # noqa: F401
        import msgspec  # noqa: F401
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"serving needs {error.name}; " + install_hint("serve")) from error
