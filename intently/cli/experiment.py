"""`intently experiment`: commands that reproduce published tables."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from intently.cli.commands import OnceCommand
from intently.cli.shared import ClicksFile, SettingsFile, err, need_models, out
from intently.errors import InputError
from intently.progress import StageProgress

if TYPE_CHECKING:
    from intently.lab.experiments.data import Files
    from intently.lab.experiments.report import Section

app = typer.Typer(no_args_is_help=True)
T = TypeVar("T")
_NUM_TOLD = 2  # chapters of a report in traffic that the terminal shows; the page has all

_Out = Annotated[Path, typer.Option("--out", help="Where all of it is kept.", show_default=False)]
_Ads = Annotated[Path | None, typer.Option(help="Ads. Without: a simulated world.", show_default=False)]
_Test = Annotated[Path | None, typer.Option(help="Judged queries to measure on.", show_default=False)]
_Results = Annotated[
    Path | None, typer.Option(help="A Markdown file whose block for this is replaced.", show_default=False)
]


@app.callback()
def _experiments() -> None:
    """Reproduce published tables on a simulated world or on your own data. Resumable; hours on a real catalog."""


@app.command(cls=OnceCommand)
def rare(
    directory: _Out,
    ads: _Ads = None,
    clicks: ClicksFile = None,
    test: _Test = None,
    taxonomy: Annotated[Path | None, typer.Option(help="Google's product taxonomy as TSV.", show_default=False)] = None,
    settings: SettingsFile = None,
    results: _Results = None,
) -> None:
    """RARE's tables 1, 3 and 5 and the cache's figures, as Markdown and as one HTML file."""
    need_models()
    from intently.lab.experiments.rare import RareSettings, run_rare
    from intently.lab.experiments.rare_world import NUM_ADS, SETTINGS

    files = _files(ads, clicks, test, taxonomy)
    default = RareSettings() if files else SETTINGS
    _reproduce(run_rare, files, NUM_ADS, default, directory, settings, results)


@app.command(cls=OnceCommand)
def bridge(
    directory: _Out,
    ads: _Ads = None,
    clicks: ClicksFile = None,
    test: _Test = None,
    settings: SettingsFile = None,
    results: _Results = None,
) -> None:
    """BRIDGE's tables 1 and 2 and the fused engine, as Markdown and as one HTML file."""
    need_models()
    from intently.lab.experiments.bridge import BridgeExperimentSettings, run_bridge
    from intently.lab.experiments.bridge_world import NUM_ADS, SETTINGS

    files = _files(ads, clicks, test)
    default = BridgeExperimentSettings() if files else SETTINGS
    _reproduce(run_bridge, files, NUM_ADS, default, directory, settings, results)


@app.command(cls=OnceCommand)
def online(
    directory: _Out,
    ads: _Ads = None,
    clicks: ClicksFile = None,
    test: _Test = None,
    settings: SettingsFile = None,
    results: _Results = None,
    log: Annotated[
        Path | None,
        typer.Option(help="A log of answers and events (JSON lines): estimates instead of a simulation."),
    ] = None,
    engine: Annotated[
        Path | None, typer.Option(help="With --log: the engine whose channels are judged.", show_default=False)
    ] = None,
    examination: Annotated[
        str, typer.Option(help="With --log: how probably each position is looked at: 1,0.7,0.5. Default: fitted.")
    ] = "",
) -> None:
    """Simulated traffic, split over retrieval systems behind one auction: what each of them earns.

    With --log no traffic is simulated: the log of a live system says what others would have earned on it.
    """
    need_models()
    from intently.lab.experiments.online import NUM_ADS, OnlineSettings, run_online
    from intently.lab.experiments.report_terminal import show

    def tell(sections: "Sequence[Section]") -> None:
        show(out, sections[:_NUM_TOLD])

    if (log is None) != (engine is None) or (log and (ads or clicks or test or settings)):
        cure = "give --log and --engine, and none of --ads, --clicks, --test and --settings; or neither of them"
        raise InputError("--log and --engine belong together", cure=cure)
    if log and engine:
        from intently.lab.experiments.online_log import run_online_log

        looks = _numbers(examination)
        with StageProgress(err) as progress:
            report = run_online_log(
                log, engine, directory, examination=looks, progress=progress, results=results, tell=tell
            )
        out.print(f"{report}: complete", soft_wrap=True)
        return
    run = partial(run_online, tell=tell)
    _reproduce(run, _files(ads, clicks, test), NUM_ADS, OnlineSettings(), directory, settings, results)


def _numbers(text: str) -> list[float]:
    try:
        return [float(each) for each in text.split(",")] if text else []
    except ValueError:
        told = f"{text!r} is not a list of numbers"
        raise InputError(told, cure="write --examination 1,0.7,0.5", field="examination") from None


def _files(ads: Path | None, clicks: Path | None, test: Path | None, taxonomy: Path | None = None) -> "Files | None":
    """Return the files that an experiment was given, None if it was given none."""
    from intently.lab.experiments.data import Files

    if ads and clicks and test:
        return Files(ads, clicks, test, test, taxonomy)
    if ads or clicks or test:
        raise InputError("--ads, --clicks and --test belong together", cure="give all three, or none for a world")
    if taxonomy:
        raise InputError("--taxonomy goes with --ads, --clicks and --test", cure="leave it out for a world")
    return None


def _reproduce(
    run: Callable[..., Path],
    files: "Files | None",
    num_ads: int,
    default: T,
    directory: Path,
    settings: Path | None,
    results: Path | None,
) -> None:
    """Run an experiment on files, or on a world of so many ads."""
    from intently.lab.experiments.data import world_files
    from intently.settings import read_settings

    chosen = read_settings(type(default), settings, default) if settings else default
    with StageProgress(err) as progress:
        files = files or world_files(directory / "world", num_ads, progress)
        report = run(files, directory, chosen, progress=progress, results=results)
    out.print(f"{report}: complete", soft_wrap=True)
