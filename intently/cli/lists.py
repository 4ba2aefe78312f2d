"""The command for lists that ads share: show, change and remove them in a running service."""

from typing import Annotated

import typer

from intently.cli.shared import ServiceKey, out
from intently.errors import InputError


def lists(
    address: Annotated[str, typer.Argument(metavar="URL", help="Address of the service.", show_default=False)],
    name: Annotated[str | None, typer.Argument(help="A list: `blocked terms`, or a name of yours.")] = None,
    put: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Give the list the lines of a file, - for a pipe.", show_default=False),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the list.")] = False,
    secret: ServiceKey = None,
) -> None:
    """Show or change the lists of a service: negative keywords that ads share, and what is blocked."""
    from intently.client import Client
    from intently.types import PutList

    if (put is not None or remove) and (name is None or (put is not None and remove)):
        raise InputError("a change is of one list", cure="name the list, with --put FILE or with --remove")
    values = () if put is None else _lines(put)
    with Client(address, key=secret) as client:
        if name is None:
            for each, num in client.lists().items():
                out.print(f"{each}\t{num:,}", soft_wrap=True)
        elif put is not None or remove:
            done = client.put_list(PutList(name, values))
            out.print(f"{len(values):,} values put, seq {done.seq}" if values else f"removed, seq {done.seq}")
        else:
            for value in client.list_values(name):
                out.print(value, soft_wrap=True)


def _lines(file: str) -> tuple[str, ...]:
    """Return the lines of a file that have something on them."""
    from intently.catalog.sources import local_files

    with local_files([file]) as (path,):
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(f"is not UTF-8 ({error.reason})", cure="write it in UTF-8", path=file) from None
    values = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not values:
        raise InputError("has no values", cure="write one a line; --remove removes a list", path=file)
    return values
