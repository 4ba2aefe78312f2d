"""A log of answers, from which somebody can later estimate what another system would have earned."""

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from io import RawIOBase
from pathlib import Path

from intently.errors import SettingsError
from intently.market.estimates import answer_record
from intently.types import Ranking

logger = logging.getLogger(__name__)

_MAX_WAITING = 10_000  # requests whose records are not written yet; those of more are lost, and counted
_Waiting = tuple[Sequence[Ranking], str, float]


class AnswerLog:
    """Appends a line of JSON for each answer to a file, on a thread of its own: no answer waits, and none fails.

    `on_lost` is called with the number of records that could not be written. Without a path nothing is written.
    """

    def __init__(self, path: str, on_lost: Callable[[int], None]) -> None:
        self._on_lost = on_lost
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue(_MAX_WAITING)
        self._thread: threading.Thread | None = None
        if path:
            try:
                file = Path(path).open("ab", buffering=0)  # noqa: SIM115 - the thread closes it
            except OSError as error:
                raise SettingsError(f"'answers' names a file that cannot be written: {error}") from None
            self._thread = threading.Thread(target=self._write, args=(file,), name="answers")
            self._thread.start()

    def add(self, rankings: Sequence[Ranking], request_id: str) -> None:
        """Write the records of a request's answers later. The one at position i of a list has the id `request_id.i`."""
        if self._thread is None:
            return
        try:
            self._waiting.put_nowait((rankings, request_id, time.time()))
        except queue.Full:
            self._on_lost(len(rankings))

    def close(self) -> None:
        """Write what waits, and close the file."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _write(self, file: RawIOBase) -> None:
        failed, start = False, b""
        with file:
            while (told := self._waiting.get()) is not None:
                lines = start + "".join(_lines(*told)).encode(errors="surrogatepass")
                try:
                    written = file.write(lines) or 0
                except OSError as error:
                    written, told_why = 0, str(error)
                else:
                    told_why = "the disk is full"
                if written == len(lines):
                    failed, start = False, b""
                    continue
                start = b"\n" if written else start  # ends the line that was torn
                self._on_lost(len(told[0]))
                if not failed:
                    logger.error("answers cannot be logged: %s", told_why)
                failed = True


def _lines(rankings: Sequence[Ranking], request_id: str, at_s: float) -> Iterator[str]:
    for at, ranking in enumerate(rankings):
        own_id = request_id if len(rankings) == 1 else f"{request_id}.{at}"
        yield json.dumps(answer_record(ranking, own_id, at_s).to_dict(), ensure_ascii=False) + "\n"
