"""The command line: thin commands over the package's functions."""

import logging
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer
from rich.logging import RichHandler

from intently.catalog.problems import RowsError
from intently.cli import experiment
from intently.cli.check import check
from intently.cli.commands import OnceCommand
from intently.cli.data import augment, knowledge, read_pages, world
from intently.cli.engine import build, demo, query
from intently.cli.generations import generations
from intently.cli.lists import lists
from intently.cli.log import log
from intently.cli.replay import replay
from intently.cli.runs import evaluate, run
from intently.cli.service import key, push, serve
from intently.cli.shared import err
from intently.cli.update import update
from intently.errors import IntentlyError
from intently.terminal import CLOSED_PIPE, silence_output, visible

_INTERRUPTED = 130  # the exit code into which typer turns a KeyboardInterrupt
_RESUMABLE = ("build", "augment", "experiment")  # commands that go on where they were
# In the order in which they are listed.
_COMMANDS: tuple[Callable[..., None], ...] = (
    world, check, build, update, generations, log, query, serve, key, push, lists, run, evaluate, replay, knowledge,
    augment, read_pages, demo,
)  # fmt: skip

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


for _command in _COMMANDS:
    app.command(cls=OnceCommand)(_command)
app.add_typer(experiment.app, name="experiment")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"intently {version('intently')}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what is logged, not only warnings.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Ad retrieval by commercial intention: build an engine from ads and clicks, ask it, measure it."""
    logger, level = logging.getLogger("intently"), logging.INFO if verbose else logging.WARNING
    if verbose:
        logger.setLevel(level)
    shown = RichHandler(level, console=err, show_time=False, show_path=False)
    logger.handlers = [*(one for one in logger.handlers if not isinstance(one, RichHandler)), shown]


def main() -> None:
    """Run the command line; an expected error is told on standard error and makes the exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a legacy code page lacks most characters
    try:
        app()
    except IntentlyError as error:
        _tell(error)
        sys.exit(1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        problem = visible(f"error: {place}{error.strerror or error}; check path, permissions and free space")
        print(problem, file=sys.stderr)
        sys.exit(1)
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            resumes = "; the same command continues" if any(word in _RESUMABLE for word in sys.argv[1:3]) else ""
            print(f"interrupted{resumes}", file=sys.stderr)
        _flush()
        raise


def _tell(error: IntentlyError) -> None:
    """Print an error; of wrong rows, the first 20 and how many there are."""
    if not isinstance(error, RowsError):
        print(visible(f"error: {error}"), file=sys.stderr)
        return
    first, *others = error.problems
    print(visible(f"error: {first}"), file=sys.stderr)
    for other in others:
        print(visible(f"  {other}"), file=sys.stderr)
    left_out = error.num_problems - len(error.problems)
    print(f"{error.num_problems:,} rows are wrong" + (f", {left_out:,} not shown" if left_out else ""), file=sys.stderr)


def _flush() -> None:
    """Write what is left to write; the reader, such as `head`, may have gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence_output()
        sys.exit(CLOSED_PIPE)
