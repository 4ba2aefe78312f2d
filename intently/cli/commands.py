"""The manners that all commands share."""

from typing import Any

import typer
from typer.core import TyperCommand

from intently.terminal import CLOSED_PIPE, silence_output


class OnceCommand(TyperCommand):
    """A command that takes each option once, and ends as other programs do when its reader has gone."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments. Raises a usage error for an option given twice, of which only the last would count."""
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        seen = set()
        parameter: Any  # of a class that typer does not export
        for parameter in given:
            is_once = parameter.param_type_name == "option" and not (parameter.multiple or parameter.is_flag)
            if is_once and parameter.name in seen:
                raise typer.BadParameter(
                    "given twice, but takes one value (join several files into one)", ctx, parameter
                )
            seen.add(parameter.name)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            silence_output()
            raise SystemExit(CLOSED_PIPE) from None
