"""The command that lists the generations of an engine, rolls back, and prunes."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from intently.cli.shared import EngineDirectory, err, out
from intently.errors import InputError
from intently.generation import Listed, list_generations, prune, roll_back

_FACTS = (("num_ads", "ads"), ("num_intentions", "intentions"), ("num_queries", "queries"))


def generations(
    directory: EngineDirectory,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Make another generation current: the one before, or the one named last.")
    ] = False,
    generation: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Which to roll back to.", show_default=False)
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option("--prune", metavar="N", help="Remove all but the N newest, the current one and those in use."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the generations of an engine, newest first; roll back to one, or remove old ones."""
    if generation and not rollback:
        raise InputError("an id is given, and nothing to do with it", cure="add --rollback", field="ID")
    if rollback:
        err.print(f"current: {roll_back(directory, generation)}", markup=False, soft_wrap=True)
    if keep is not None:
        for removed in prune(directory, keep):
            err.print(f"removed: {removed}", markup=False, soft_wrap=True)
    found = list_generations(directory)
    if as_json:
        told = [asdict(each) | {"created": each.created.isoformat()} for each in found]
        out.print_json(json.dumps({"generations": told}, ensure_ascii=False))
        return
    for each in found:
        out.print(_line(each), markup=False, soft_wrap=True)


def _line(each: Listed) -> str:
    facts = [f"{each.facts[key]:,} {name}" for key, name in _FACTS if key in each.facts]
    state = [word for word, holds in (("current", each.is_current), ("in use", each.is_pinned)) if holds]
    shown = each.problem or ", ".join([f"{each.bytes / 1e6:,.1f} MB", *facts])
    return f"{each.id}  {each.created:%Y-%m-%d %H:%M:%S} UTC  {shown}" + (f"  [{', '.join(state)}]" if state else "")
