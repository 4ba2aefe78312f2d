"""What commands share: where they print, options, and what they need to be there."""

import json
import re
import sys
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intently.catalog.reading import FeedSettings
from intently.errors import InputError, MissingDependencyError, install_hint
from intently.settings import from_mapping, read_toml
from intently.terminal import SafeConsole

if TYPE_CHECKING:
    from intently.engine.engine import Engine

# Answers go to standard output, everything about the work itself to standard error.
out, err = SafeConsole(), SafeConsole(stderr=True)

IS_ADDRESS = re.compile("https?://")  # of a service, where a command takes an engine or a service
EngineDirectory = Annotated[
    Path, typer.Argument(help="The engine: a directory that `intently build` made.", show_default=False)
]
AdsFile = Annotated[
    Path, typer.Option(help="Ads: TSV, CSV, JSONL or Parquet, plain or compressed.", show_default=False)
]
AdsFiles = Annotated[
    list[str],
    typer.Option(
        help="Ads: a feed or an export, plain or compressed; a glob, an address, -. May be repeated.",
        show_default=False,
    ),
]
FeedFormat = Annotated[str, typer.Option("--format", help="What the files of ads are, if not what they look like.")]
ColumnMap = Annotated[
    list[str] | None, typer.Option("--map", help='What a column of ads is: "Max CPC=bid"; may be repeated.')
]
Decimal = Annotated[str, typer.Option(help="What separates decimals in ads: point or comma.")]
Encoding = Annotated[str, typer.Option(help="The encoding of the files of ads, such as cp1252.")]
ClicksFile = Annotated[Path | None, typer.Option(help="Clicks or judgements to learn from.", show_default=False)]
QueriesFile = Annotated[
    Path | None, typer.Option(help="Texts of the queries, where clicks name them by id only.", show_default=False)
]
SettingsFile = Annotated[Path | None, typer.Option(help="A TOML file of the settings that are to differ.")]
MapClicks = Annotated[
    list[str] | None,
    typer.Option(
        "--map-clicks", metavar="COLUMN=FIELD", help="What a column of clicks is: clicked=clicks. May be repeated."
    ),
]
ServiceKey = Annotated[
    str | None, typer.Option("--key", envvar="INTENTLY_KEY", help="Secret of a key.", show_default=False)
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave wrong rows out, count and report them.")]


_EXAMPLES = {"map": "Max CPC=bid", "map-clicks": "clicked=clicks"}


def parse_map(texts: list[str] | None, option: str = "map-clicks") -> dict[str, str]:
    """Return `column=field` texts as a mapping; raise `InputError` for one that is none, or names a column again."""
    columns: dict[str, str] = {}
    for text in texts or ():
        column, _, field = (part.strip() for part in text.rpartition("="))
        if not column or not field or column in columns:
            cure = f'write --{option} "{_EXAMPLES[option]}", each column once'
            raise InputError(f"{text!r} does not say what a column is", cure=cure, field=option)
        columns[column] = field
    return columns


def print_json(text: str) -> None:
    """Print JSON, in ASCII where standard output cannot take other characters."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").replace("_", "")
    if encoding not in ("utf8", "utf8sig", "utf16", "utf32"):
        text = json.dumps(json.loads(text), indent=2)
    sys.stdout.write(f"{text}\n")


def need_files(**paths: Path | None) -> None:
    """Raise InputError for standard input and pipes: a build reads its input twice, once for the checksum."""
    for option, path in paths.items():
        if path is not None and (str(path) == "-" or path.is_fifo() or path.is_char_device()):
            cure = "write it to a file first"
            raise InputError(f"--{option} is read more than once, which a pipe cannot be", cure=cure, path=path)


def feed_of(
    format: str, columns: list[str] | None, decimal: str, encoding: str, path: Path | None
) -> tuple[FeedSettings, dict[str, str]]:
    """Return how files of ads are read, and what columns are, as options say, else the tables of a settings file."""
    tables = read_toml(path) if path else {}
    kept: dict[str, Any] = {name: tables[name] for name in ("feed", "columns") if name in tables}
    chosen = from_mapping(_FeedTables, kept, str(path))
    said = {"format": format, "decimal": decimal, "encoding": encoding}
    feed = replace(chosen.feed, **{name: value for name, value in said.items() if value})
    return feed, chosen.columns | parse_map(columns, "map")


@dataclass(frozen=True)
class _FeedTables:
    feed: FeedSettings = field(default_factory=FeedSettings)
    columns: dict[str, str] = field(default_factory=dict)


def need_engine() -> None:
    """Raise MissingDependencyError unless what engines answer with is installed."""
    try:
        import intently.models.onnx_network  # noqa: F401

        if find_spec("onnx") is None:  # imported only where no generation has stored what it makes
            raise ModuleNotFoundError(name="onnx")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"this needs ONNX Runtime, and {error.name} is missing; " + install_hint("engine")
        ) from error


def need_models() -> None:
    """Raise MissingDependencyError unless what trains and runs models is installed."""
    try:
        import intently.models.onnx_network
        import intently.models.torch_network  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"this needs PyTorch and ONNX Runtime, and {error.name} is missing; " + install_hint("models")
        ) from error


def load_engine(directory: Path, num_threads: int | None = None) -> "Engine":
    """Load an engine, with as many threads for one question."""
    need_engine()
    from intently.engine.engine import Engine

    return Engine.load(directory, num_threads=num_threads)
