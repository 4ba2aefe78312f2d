"""What commands share: where they print, options, and what they need to be there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from intently.errors import MissingDependencyError, install_hint

if TYPE_CHECKING:
    from intently.engine.engine import Engine

# Answers go to standard output, everything about the work itself to standard error.
out, err = Console(highlight=False), Console(stderr=True, highlight=False)

EngineDirectory = Annotated[
    Path, typer.Argument(help="The engine: a directory that `intently build` made.", show_default=False)
]
AdsFile = Annotated[
    Path, typer.Option(help="Ads: TSV, CSV, JSONL or Parquet, plain or compressed.", show_default=False)
]
ClicksFile = Annotated[Path | None, typer.Option(help="Clicks or judgements to learn from.", show_default=False)]
QueriesFile = Annotated[
    Path | None, typer.Option(help="Texts of the queries, where clicks name them by id only.", show_default=False)
]
SettingsFile = Annotated[Path | None, typer.Option(help="A TOML file of the settings that are to differ.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave wrong rows out, count and report them.")]


def need_models() -> None:
    """Raise MissingDependencyError unless what runs models is installed."""
    try:
        import intently.models.onnx_runner  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"this needs PyTorch and ONNX Runtime, and {error.name} is missing; " + install_hint("models")
        ) from error


def load_engine(directory: Path, num_threads: int | None = None) -> "Engine":
    """Load an engine, with as many threads for one question."""
    need_models()
    from intently.engine.engine import Engine

    return Engine.load(directory, num_threads=num_threads)
