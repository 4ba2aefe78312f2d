"""Commands that build an engine and ask it."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from intently.catalog import Catalog, checked_user
from intently.cli.check import tell_short
from intently.cli.shared import (
    IS_ADDRESS,
    AdsFiles,
    ColumnMap,
    Decimal,
    Encoding,
    FeedFormat,
    MapClicks,
    QueriesFile,
    SettingsFile,
    SkipBad,
    err,
    feed_of,
    load_engine,
    need_files,
    need_models,
    out,
    parse_map,
    print_json,
)
from intently.errors import InputError
from intently.progress import StageProgress
from intently.types import Channel, Request, UserContext


def build(
    ads: AdsFiles,
    directory: Annotated[Path, typer.Option("--out", help="Directory for the engine.", show_default=False)],
    clicks: Annotated[
        Path | None,
        typer.Option(
            help="Clicks or judgements: query, ad_id, and clicks or relevance; or a log. Without: ads alone.",
            show_default=False,
        ),
    ] = None,
    map_clicks: MapClicks = None,
    queries: QueriesFile = None,
    pages: Annotated[
        Path | None, typer.Option(help="Landing pages as `intently read-pages` wrote them.", show_default=False)
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help="What to begin from: lexical (no model), instant (trains nothing), default, or best (also an encoder)."
        ),
    ] = "default",
    settings: SettingsFile = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="An engine whose student training starts from, such as the one to build again."),
    ] = None,
    format: FeedFormat = "",
    columns: ColumnMap = None,
    decimal: Decimal = "",
    encoding: Encoding = "",
    skip_bad: SkipBad = False,
) -> None:
    """Build an engine from ads and clicks. Safe to interrupt: the same command continues."""
    need_files(clicks=clicks, queries=queries, pages=pages)
    need_models()
    from intently.build.pipeline import build_engine
    from intently.build.settings import BuildSettings
    from intently.build.warm_start import started_from
    from intently.catalog.sources import local_files
    from intently.settings import read_settings

    chosen = BuildSettings.preset(preset)
    if settings:
        chosen = read_settings(BuildSettings, settings, chosen)
    feed, mapped = feed_of(format, columns, decimal, encoding, settings)
    chosen = replace(chosen, feed=feed, columns=mapped)
    if start:
        chosen = started_from(chosen, start)
    with local_files(ads) as files, StageProgress(err) as progress:
        report = build_engine(
            files,
            clicks,
            directory,
            chosen,
            queries=queries,
            pages=pages,
            click_columns=parse_map(map_clicks, "map-clicks"),
            skip_bad=skip_bad,
            progress=progress,
            tell=tell_short,
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


def query(
    source: Annotated[
        str,
        typer.Argument(
            metavar="ENGINE",
            help="The engine: a directory that `intently build` made, or the address of a service.",
            show_default=False,
        ),
    ],
    text: Annotated[str, typer.Argument(help="What the user typed.", show_default=False)],
    k: Annotated[int, typer.Option("-k", help="Number of ads.")] = 10,
    channel: Annotated[Channel, typer.Option(help="Which channel answers.")] = Channel.FUSED,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say why each ad came, and where the time went.")] = False,
    country: Annotated[str | None, typer.Option(help="The user's country, for targeting.")] = None,
    language: Annotated[str | None, typer.Option(help="The user's language.")] = None,
    device: Annotated[str | None, typer.Option(help="The user's device.")] = None,
    audience: Annotated[list[str] | None, typer.Option(help="An audience tag of the user; may be repeated.")] = None,
    time: Annotated[datetime | None, typer.Option(help="The user's local time, for day parts.")] = None,
    filters: Annotated[
        str | None,
        typer.Option("--filter", help='A condition: \'price < 50 and category in ("shoes", "boots")\'.'),
    ] = None,
    payload: Annotated[
        list[str] | None,
        typer.Option(help="A column to show with each ad; may be repeated. '*': all of its payload."),
    ] = None,
    max_per: Annotated[
        list[str] | None,
        typer.Option(help="At most so many ads of one value, such as advertiser=2; may be repeated."),
    ] = None,
    min_relevance: Annotated[
        float | None,
        typer.Option(
            help="Leave out ads whose probability of relevance is below this, from 0 to 1.", show_default=False
        ),
    ] = None,
    secret: Annotated[
        str | None, typer.Option("--key", envvar="INTENTLY_KEY", help="Secret of a service's key.", show_default=False)
    ] = None,
) -> None:
    """Retrieve ads for one query, from an engine on disk or from a running service."""
    user = UserContext(country, language, device, time, audience or None)
    checked_user(user)  # before the engine is loaded
    request = Request(
        text,
        k,
        user,
        channel,
        explain,
        filters=filters,
        payload=tuple(payload or ()),
        max_per=_caps(max_per or []),
        min_relevance=min_relevance,
    )
    catalog: Catalog | None = None
    if IS_ADDRESS.match(source):
        from intently.client import Client

        with Client(source, key=secret) as client:
            ranking = client.answer(request)
            if not as_json:
                catalog = Catalog.from_ads(filter(None, [client.ad(ad.ad_id) for ad in ranking.ads]))
    else:
        engine = load_engine(Path(source))
        ranking, catalog = engine.answer(request), engine.catalog
    if catalog is None or as_json:
        print_json(json.dumps(ranking.to_dict(), ensure_ascii=False, indent=2))
        return
    from intently.terminal import show_ranking

    show_ranking(out, catalog, ranking, explain=explain)


def _caps(given: list[str]) -> dict[str, int]:
    """Return the caps that were written as NAME=NUMBER."""
    caps = {}
    for each in given:
        name, _, number = each.rpartition("=")
        if not name or not number.isascii() or not number.isdigit():
            raise InputError(f"{each!r} is not a cap", cure="write --max-per advertiser=2", field="max_per")
        caps[name] = int(number)
    return caps


def demo(
    directory: Annotated[Path, typer.Argument(metavar="[OUT]", help="Where the world and the engine go.")] = Path(
        "demo"
    ),
    ads: Annotated[int, typer.Option(help="Number of ads to simulate.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Seed of the world.")] = 0,
) -> None:
    """Try everything: simulate a world, build an engine without training, train it, measure both, ask six queries."""
    need_models()
    from intently.lab.demo import run_demo

    run_demo(directory, ads, seed, out, err)
