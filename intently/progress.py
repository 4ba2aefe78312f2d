"""Showing that something long is alive, how far it is and how long it will take."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

_SECONDS_BETWEEN_LINES = 10.0


class StageProgress:
    """Shows stages one after the other: a live bar on a terminal, a plain line now and then in a log.

    Call it with (stage, done, total, note); a total of 0 means that nobody knows. The note of a stage that has done all
    of its total is its result, which stays.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = _bars(console) if console.is_terminal else None
        self._stage, self._task, self._result = "", TaskID(0), ""
        self._started = self._told = self._first = 0.0

    def __enter__(self) -> "StageProgress":
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._close_stage()
        if self._bars:
            self._bars.stop()

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Show that `stage` has done so much of `total`."""
        now = time.monotonic()
        if stage != self._stage:
            self._close_stage()
            self._stage, self._started, self._told, self._first = stage, now, now, done
            if self._bars:
                self._task = self._bars.add_task(stage, total=total or None, note=note)
        self._result = note if 0 < total <= done else ""
        if self._bars:
            self._bars.update(self._task, completed=done, total=total or None, note=note)
        elif now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            self._console.print(
                f"{stage}: {self._amount(done, total, now)} {note}".rstrip(), highlight=False, soft_wrap=True
            )

    def _amount(self, done: int, total: int, now: float) -> str:
        if not total:
            return f"{done:,}" if done else "…"
        share = max(done - self._first, 0) / max(total - self._first, 1)
        left = (now - self._started) * (1 - share) / share if share else 0.0
        return f"{done:,} of {total:,}" + (f", {left / 60:.0f} min {left % 60:.0f} s left" if share else "")

    def _close_stage(self) -> None:
        if not self._stage:
            return
        spent = time.monotonic() - self._started
        if self._bars:
            task = self._bars.tasks[self._task]
            self._bars.update(self._task, completed=task.total or 1, total=task.total or 1)
        else:
            told = f"{self._stage}: done in {spent:.1f} s" + (f", {self._result}" if self._result else "")
            self._console.print(told, highlight=False, soft_wrap=True)


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<24}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False, table_column=Column()),  # which wraps
        console=console,
    )
