"""The command that looks into the log of an engine's changes, copies it, and keeps it small."""

import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intently.cli.shared import EngineDirectory, err, out
from intently.errors import InputError, LogError
from intently.generation import seq_of_all

if TYPE_CHECKING:
    from intently.live.log import ChangeLog, Entry


class Action(StrEnum):
    """What may be done to a log."""

    BACKUP = "backup"
    RESTORE = "restore"
    COMPACT = "compact"


def log(
    directory: EngineDirectory,
    action: Annotated[
        Action | None,
        typer.Argument(
            help="`backup FILE` writes a copy while changes go on, `restore FILE` puts one back, `compact` removes "
            "what later changes supersede or all generations contain. The last two: while nobody writes into the log.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[Path | None, typer.Argument(help="The backup.", show_default=False)] = None,
    ad: Annotated[str | None, typer.Option(metavar="AD_ID", help="Show the changes of this ad.")] = None,
    last: Annotated[int, typer.Option(metavar="N", min=0, help="How many of the newest changes to show.")] = 10,
    where: Annotated[
        str | None, typer.Option("--log", metavar="URL", help="Where the log lies, if not in the directory.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Look at every byte; exit with 1 if any is wrong.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look into the log of an engine's changes; back it up, restore it, or make it smaller."""
    from intently.live.log import open_log  # as only this command needs it

    if (file is None) != (action not in (Action.BACKUP, Action.RESTORE)):
        cure = "name it behind `backup` or `restore`" if file is None else "only `backup` and `restore` take one"
        raise InputError(f"{'no file' if file is None else 'a file'} is given", cure=cure, field="FILE")
    opened = open_log(where or directory)
    try:
        if action and file:
            done = opened.backup(file) if action is Action.BACKUP else opened.restore(file)
            err.print(f"{action}: {done.num_entries:,} changes, up to {done.position.last}", markup=False)
        elif action is Action.COMPACT:
            opened.compact(seq_of_all(directory))
        problems = opened.verify().problems if verify else ()
        _show(opened, opened.history(ad, last), problems, as_json, verify)
    finally:
        opened.close()
    if problems:
        raise LogError(
            f"{len(problems)} problems were found", path=opened.facts().place,
            cure="the process that writes changes repairs the log when it starts; or restore a backup",
        )  # fmt: skip


def _show(
    opened: "ChangeLog", entries: "list[Entry]", problems: tuple[str, ...], as_json: bool, verified: bool
) -> None:
    facts = opened.facts()
    if as_json:
        values = facts.to_dict() | {"changes": [entry.to_dict() for entry in entries]}
        values |= {"problems": list(problems)} if verified else {}
        out.print_json(json.dumps(values, ensure_ascii=False))
        return
    kinds = ", ".join(f"{num:,} {kind}" for kind, num in facts.by_kind.items() if num) or "no changes"
    out.print(f"{facts.place}  {facts.kind} {facts.version}".rstrip(), markup=False, soft_wrap=True)
    told = f"{facts.bytes / 1e6:,.1f} MB, changes {facts.first} to {facts.position.last}: {kinds}"
    out.print(f"{told}, of {facts.num_ads:,} ads", markup=False, soft_wrap=True)
    for entry in entries:
        when = datetime.fromtimestamp(entry.at_ms / 1000, UTC)
        line = f"{entry.seq}  {when:%Y-%m-%d %H:%M:%S} UTC  {entry.kind}  {entry.name}  {_shown(entry)}"
        out.print(line.rstrip(), markup=False, soft_wrap=True)
    for problem in problems:
        err.print(problem, markup=False, soft_wrap=True)
    if verified and not problems:
        err.print("every byte is whole", markup=False)


def _shown(entry: "Entry") -> str:
    if entry.kind == "list":
        return json.dumps(entry.values, ensure_ascii=False)
    told = json.loads(entry.body) if entry.body else {}
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in told.items())
