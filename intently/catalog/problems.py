"""Wrong rows: all are counted; the first ones are named, in an error or in the report of rows left out.

Readers work on batches of rows. Every check of a batch says which rows it refuses, and only then is the batch settled,
so that the rows that are told are the first wrong ones in the file, not the first that some check came across.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intently.errors import InputError

logger = logging.getLogger(__name__)

MAX_PROBLEMS = 20  # kept for the report; the rest is only counted
MAX_EXAMPLES = 3  # of each kind of problem
MAX_WRONG_ROWS = 1_000_000  # in one file; with more it is not what its name says, and reading on would take minutes


class RowsError(InputError):
    """Say which row of a file is wrong first, and how many others are.

    Place, field and cure are those of the first. `problems` are the first 20 rows with place, problem and cure;
    `num_problems` counts all.
    """

    def __init__(self, first: InputError, problems: tuple[str, ...], num_problems: int) -> None:
        super().__init__(first.problem, cure=first.cure, path=first.path, line=first.line, field=first.field)
        self.args = (f"{first} (and {num_problems - 1:,} more wrong rows)",)
        self.problems, self.num_problems = problems, num_problems


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """Problems of one kind: of which field, what is wrong, how many rows have it, and the first three of them."""

    field: str
    problem: str
    num_rows: int
    examples: tuple[str, ...]


class Errors:
    """The errors of some rows, at most one a row: how many there are, and those of the lowest lines.

    Memory does not grow with their number: a file may be wrong in every row.
    """

    def __init__(self, errors: Iterable[InputError] = ()) -> None:
        self._kept: list[InputError] = []
        self._num = 0
        self._kinds: dict[tuple[str, str], tuple[int, list[InputError]]] = {}
        for error in errors:
            self.append(error)

    def append(self, error: InputError) -> None:
        """Add the error of one row."""
        self.add([error], 1)

    def add(self, first: Iterable[InputError], num_errors: int) -> None:
        """Add `num_errors` errors, of which `first` are those of the lowest lines."""
        first = list(first)
        self._kept += first
        self._num += num_errors
        if first:
            self._add_kind((first[0].field, _kind_of(first[0].problem)), num_errors, first)
        if len(self._kept) > 4 * MAX_PROBLEMS:
            self._kept = list(self)

    def _add_kind(self, kind: tuple[str, str], num: int, first: list[InputError]) -> None:
        before, kept = self._kinds.get(kind, (0, []))
        self._kinds[kind] = (before + num, [*kept, *first][:MAX_EXAMPLES])

    def __add__(self, other: Errors) -> Errors:
        both = Errors()
        both._kept, both._num = [*self._kept, *other._kept], len(self) + len(other)
        for errors in (self, other):
            for kind, (num, first) in errors._kinds.items():
                both._add_kind(kind, num, first)
        if len(both._kept) > 4 * MAX_PROBLEMS:
            both._kept = list(both)
        return both

    def by_kind(self) -> tuple[ProblemKind, ...]:
        """Return the kinds of errors, the most frequent first."""
        kinds = [
            ProblemKind(field, problem, num, tuple(str(error) for error in first))
            for (field, problem), (num, first) in self._kinds.items()
        ]
        return tuple(sorted(kinds, key=lambda kind: -kind.num_rows))

    def __len__(self) -> int:
        return self._num

    def __iter__(self) -> Iterator[InputError]:
        """Yield the kept errors, at most 20, in the order of their lines."""
        return iter(sorted(self._kept, key=lambda error: error.line or 0)[:MAX_PROBLEMS])


class RowCheck:
    """Note which rows of one batch are wrong, keeping the first problem of each."""

    def __init__(self, path: object, lines: npt.NDArray[np.int64]):
        self.path, self.lines = path, lines
        self.keep = np.ones(len(lines), dtype=np.bool_)
        self.had_markup = np.zeros(len(lines), dtype=np.bool_)
        self.errors = Errors()

    def reject(
        self,
        wrong: npt.NDArray[np.bool_],
        field: str,
        problem: str | Callable[[int], str],
        cure: str | Callable[[int], str] = "",
    ) -> None:
        """Refuse the rows where `wrong` (N,) holds; texts are given, or made from the position of the row."""
        if not wrong.any():
            return
        rows = np.flatnonzero(wrong & self.keep)

        def error(row: int) -> InputError:
            texts = (text if isinstance(text, str) else text(row) for text in (problem, cure))
            return InputError(next(texts), cure=next(texts), path=self.path, line=int(self.lines[row]), field=field)

        self.errors.add([error(row) for row in rows[:MAX_PROBLEMS].tolist()], len(rows))
        self.keep &= ~wrong


class Problems:
    """Gather the wrong rows of one file: raise them when all are known, or with `skip_bad` count them."""

    def __init__(self, *, skip_bad: bool):
        self.skip_bad = skip_bad
        self._errors = Errors()

    @property
    def num_skipped(self) -> int:
        """The number of wrong rows so far."""
        return len(self._errors)

    @property
    def first(self) -> list[str]:
        """The first 20 of them, in words."""
        return [str(error) for error in self._errors]

    @property
    def kinds(self) -> tuple[ProblemKind, ...]:
        """Their kinds, the most frequent first."""
        return self._errors.by_kind()

    def settle(self, errors: Iterable[InputError]) -> None:
        """Take the errors of one batch, at most one a row. Raises RowsError when there are over a million in all."""
        for error in errors if logger.isEnabledFor(logging.DEBUG) else ():
            logger.debug("row %s: %s", "skipped" if self.skip_bad else "refused", error)
        self._errors += errors if isinstance(errors, Errors) else Errors(errors)
        if len(self._errors) > MAX_WRONG_ROWS:
            raise RowsError(next(iter(self._errors)), tuple(self.first), len(self._errors))

    def finish(self) -> None:
        """Raise the errors of all batches, unless there are none or wrong rows are left out."""
        if self._errors and not self.skip_bad:
            first = next(iter(self._errors))
            raise first if len(self._errors) == 1 else RowsError(first, tuple(self.first), len(self._errors))


def _kind_of(problem: str) -> str:
    """Return a problem without the values of its row."""
    return re.sub(r"\d[\d,]*(?:\.\d+)?", "…", re.sub(r"'[^']*'|\"[^\"]*\"", "…", problem))


def quote(text: str, limit: int = 60) -> str:
    """Return `text` in quotes, escaped and shortened so that it fits into a message."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")
