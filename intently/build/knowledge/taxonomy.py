"""A tree of categories: broader names for what is wanted, and names that vouch for phrases."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from intently.catalog.lines import read_lines
from intently.catalog.problems import Problems
from intently.errors import InputError
from intently.text.normalize import has_han

_LEVELS = re.compile(r"\s*[>»›]\s*")


def levels_of(path: str) -> tuple[str, ...]:
    """Return the levels of a category path such as "Hardware > Tools > Saws", the broadest first."""
    return tuple(level for level in _LEVELS.split(path.strip()) if level)


def names_of(level: str) -> tuple[str, ...]:
    """Return the names that one level gives in lower case: "饮用水/纯净水" gives two, "Saws" one."""
    if has_han(level):
        return tuple(name for part in level.split("/") if (name := part.strip()))
    return (level.lower(),)


@dataclass(frozen=True)
class Taxonomy:
    """Category paths, each a tuple of levels with the broadest first."""

    paths: tuple[tuple[str, ...], ...] = ()

    def names(self) -> list[str]:
        """Return the names of every level but the first, which names a department and not a thing."""
        return [name for path in self.paths for level in path[1:] for name in names_of(level)]

    def by_name(self, key: Callable[[str], str]) -> dict[str, tuple[str, ...]]:
        """Return `key(name)` → path, for names that belong to one path only."""
        found: dict[str, tuple[str, ...] | None] = {}
        for path in self.paths:
            for name in names_of(path[-1]):
                found[key(name)] = None if found.get(key(name), path) != path else path
        return {name: path for name, path in found.items() if name and path and len(path) > 1}


def read_taxonomy(path: Path, *, skip_bad: bool = False) -> tuple[Taxonomy, tuple[str, ...]]:
    """Read a TSV file with a column `path`, as Google's product taxonomy; return it and the problems of rows left out.

    Raises InputError for a file that cannot be read or has no such column or no path, and for an empty path, which
    `skip_bad` leaves out instead.
    """
    problems = Problems(skip_bad=skip_bad)
    column, paths = -1, []
    for lines in read_lines(path):
        errors = lines.errors
        for number, text in zip(lines.numbers.tolist(), lines.text.to_pylist(), strict=True):
            fields = text.split("\t")
            if column < 0:
                column = _path_column(fields, path)
            elif text.strip():
                levels = levels_of(fields[column]) if column < len(fields) else ()
                if levels:
                    paths.append(levels)
                else:
                    cure = 'write the levels with " > " between them'
                    errors.append(InputError("empty", cure=cure, path=path, line=number, field="path"))
        problems.settle(errors)
    problems.finish()
    if not paths:
        raise InputError("no categories", cure="give a row for each category under the header", path=path)
    return Taxonomy(tuple(dict.fromkeys(paths))), tuple(problems.first)


def _path_column(header: list[str], path: Path) -> int:
    names = [name.strip().lower() for name in header]
    if "path" not in names:
        cure = f"name a column 'path'; the header has: {', '.join(header)[:200]}"
        raise InputError("no such column", cure=cure, path=path, line=1, field="path")
    return names.index("path")
