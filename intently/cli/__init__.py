"""The command line: thin commands over the package's functions."""

import logging
import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.logging import RichHandler

from intently.cli import experiment
from intently.cli.data import augment, knowledge, read_pages, world
from intently.cli.engine import build, demo, query
from intently.cli.runs import evaluate, run
from intently.cli.shared import err
from intently.errors import IntentlyError

_INTERRUPTED = 130  # the exit code into which typer turns a KeyboardInterrupt
# In the order in which they are listed.
_COMMANDS: tuple[Callable[..., None], ...] = (
    world, build, query, run, evaluate, knowledge, augment, read_pages, demo,
)  # fmt: skip

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what is logged, not only warnings.")] = False,
) -> None:
    """Ad retrieval by commercial intention: build an engine from ads and clicks, ask it, measure it."""
    logger, level = logging.getLogger("intently"), logging.INFO if verbose else logging.WARNING
    if verbose:
        logger.setLevel(level)
    shown = RichHandler(level, console=err, show_time=False, show_path=False)
    logger.handlers = [*(one for one in logger.handlers if not isinstance(one, RichHandler)), shown]


for _command in _COMMANDS:
    app.command()(_command)
app.add_typer(experiment.app, name="experiment")


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
