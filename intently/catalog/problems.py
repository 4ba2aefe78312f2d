"""Wrong rows: the first is raised, or all are counted and left out.

Readers work on batches of rows. Every check of a batch says which rows it refuses, and only then is the batch settled,
so that the row that is raised is the first wrong one in the file, not the first that some check came across.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from intently.errors import InputError

logger = logging.getLogger(__name__)

MAX_PROBLEMS = 20  # kept for the report; the rest is only counted


class RowCheck:
    """Note which rows of one batch are wrong, keeping the first problem of each."""

    def __init__(self, path: object, lines: npt.NDArray[np.int64]):
        self.path, self.lines = path, lines
        self.keep = np.ones(len(lines), dtype=np.bool_)
        self.errors: list[InputError] = []

    def reject(
        self, wrong: npt.NDArray[np.bool_], field: str, problem: str | Callable[[int], str], cure: str = ""
    ) -> None:
        """Refuse the rows where `wrong` (N,) holds; `problem` is a text, or makes one from the position of the row."""
        for row in np.flatnonzero(wrong & self.keep):
            text = problem if isinstance(problem, str) else problem(int(row))
            self.errors.append(InputError(text, cure=cure, path=self.path, line=int(self.lines[row]), field=field))
        self.keep &= ~wrong


class Problems:
    """Gather the wrong rows of one file: raise the first of them, or with `skip_bad` count them."""

    def __init__(self, *, skip_bad: bool):
        self.skip_bad = skip_bad
        self.num_skipped = 0
        self.first: list[str] = []

    def settle(self, errors: Sequence[InputError]) -> None:
        """Take the errors of one batch, at most one a row. Raises the one of the lowest line unless `skip_bad`."""
        if not errors:
            return
        in_order = sorted(errors, key=lambda error: error.line or 0)
        if not self.skip_bad:
            raise in_order[0]
        for error in in_order:
            logger.debug("row skipped: %s", error)
        self.num_skipped += len(in_order)
        self.first += [str(error) for error in in_order[: MAX_PROBLEMS - len(self.first)]]


def quote(text: str, limit: int = 60) -> str:
    """Return `text` in quotes, escaped and shortened so that it fits into a message."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")
