"""Writes docs/settings.md from the code: every setting of a build, with its default and the comment beside it.

python tests/settings_page.py > docs/settings.md
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass

from intently.build.settings import EVERYDAY, BuildSettings

HEAD = """\
# Every setting of a build

`python tests/settings_page.py` writes this page from the code. The dozen that most people need are set in **bold**, and
[explained](data-model.md#settings); all others are expert settings: their defaults were measured or follow a paper, and
they may change between versions.
"""


@dataclass(frozen=True)
class Setting:
    """A setting as a settings file names it, `table.key`."""

    name: str
    default: object
    meaning: str

    @property
    def shown(self) -> str:
        """The default as TOML writes it, `None` if it is nothing."""
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return f'"{self.default}"' if isinstance(self.default, str) else str(self.default)

    @property
    def everyday(self) -> bool:
        """Whether it is one of the dozen that users are told of."""
        return self.name in EVERYDAY


def all_settings(settings: object, table: str = "") -> Iterator[Setting]:
    """Yield every setting below a dataclass, tables after what stands above them."""
    meanings = comments(type(settings))
    tables = []
    for each in fields(settings):
        value, name = getattr(settings, each.name), f"{table}{each.name}"
        if is_dataclass(value):
            tables.append((value, f"{name}."))
        else:
            yield Setting(name, value, meanings.get(each.name, ""))
    for value, name in tables:
        yield from all_settings(value, name)


def comments(cls: type) -> dict[str, str]:
    """Return what the comment beside each field of a class, or else above it, says."""
    lines = textwrap.dedent(inspect.getsource(cls)).splitlines()
    found = {}
    for node in ast.parse("\n".join(lines)).body[0].body:
        if not isinstance(node, ast.AnnAssign):
            continue
        beside = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode().strip()
        above = []
        for line in reversed(lines[: node.lineno - 1]):
            if not line.strip().startswith("#"):
                break
            above.insert(0, line.strip().removeprefix("# "))
        found[node.target.id] = beside.removeprefix("# ") or " ".join(above)
    return found


def page() -> str:
    """Return the page."""
    parts, table = [HEAD], None
    for setting in all_settings(BuildSettings()):
        above, _, key = setting.name.rpartition(".")
        if above != table:
            table = above
            parts.append(
                f"\n## {f'`[{table}]`' if table else 'Above all tables'}\n\n"
                "| setting | default | meaning |\n|---|---|---|\n"
            )
        name = f"**`{key}`**" if setting.everyday else f"`{key}`"
        parts.append(f"| {name} | `{setting.shown}` | {re.sub(r'[|]', '/', setting.meaning)} |\n")
    return "".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
