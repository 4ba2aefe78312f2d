"""Changes by the thousand: NDJSON in, a line of result for each line out.

A chunk of lines is applied at once, while the rest is still on its way. The answer begins when the last line has been
applied, so that its status can say whether all went well: 200 if so, 207 if some lines were refused.
"""

import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import IO

import msgspec

from intently.serve.problems import Problem, decoded
from intently.serve.wire import (
    KINDS,
    BulkEnd,
    BulkLine,
    BulkSummary,
    DeleteLine,
    LineError,
    LineResult,
    PatchLine,
    PutLine,
    ad_of,
    patch_of,
)
from intently.serve.writers import Applied, Writers, ad_id_of
from intently.types import Change, Delete, Patch, Put

MAX_LINE_BYTES = 4_000_000
_IN_MEMORY = 1 << 20  # bytes of results; longer ones go to a temporary file
_DECODER = msgspec.json.Decoder(BulkLine)
_KINDS = KINDS | {
    "": tuple(dict.fromkeys((*PutLine.__struct_fields__, *PatchLine.__struct_fields__, *DeleteLine.__struct_fields__)))
}


async def lines_of(stream: AsyncIterator[bytes], max_bytes: int = MAX_LINE_BYTES) -> AsyncIterator[bytes | None]:
    """Yield the lines of a stream of bytes, without line ends; None for one that is longer than `max_bytes`."""
    parts: list[bytes] = []
    size = 0
    async for content in stream:
        start = 0
        while (end := content.find(b"\n", start)) >= 0:
            size += end - start
            yield None if size > max_bytes else b"".join([*parts, content[start:end]]).removesuffix(b"\r")
            parts, size, start = [], 0, end + 1
        size += len(content) - start
        if size <= max_bytes:
            parts.append(content[start:])
        else:
            parts = []  # the rest of the line is read and forgotten
    if size:
        yield None if size > max_bytes else b"".join(parts).removesuffix(b"\r")


def change_of(line: bytes) -> Change:
    """Return the change that a line tells; raise `Problem` if it tells none."""
    told = decoded(_DECODER, line, _KINDS)
    if isinstance(told, PutLine):
        try:
            return Put(ad_of(told.ad, told.ad.ad_id))
        except Problem as problem:
            problem.field = f"ad.{problem.field}"
            raise
    if isinstance(told, PatchLine):
        return Patch(told.ad_id, patch_of(told.fields))
    return Delete(told.ad_id)


def _place(change: Change | Problem, field: str) -> str:
    """Return where a line holds a field of an ad."""
    if isinstance(change, Put) and field:
        return f"ad.{field}"
    return f"fields.{field}" if isinstance(change, Patch) and field not in ("", "ad_id") else field


@dataclass
class Bulk:
    """One bulk under way, and what became of its lines so far."""

    writers: Writers
    advertiser: str = ""
    stop_on_error: bool = False
    chunk: int = 1_000
    max_lines: int = 1_000_000
    num_lines: int = 0
    num_failed: int = 0
    seq: int = 0
    stopped: bool = False

    def __post_init__(self) -> None:
        self._results: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - `results` closes it

    async def read(self, stream: AsyncIterator[bytes]) -> None:
        """Apply all lines of a stream. Empty lines count, and do nothing.

        Raises `Problem` if the stream has not one line with something on it. Lines that were applied before the stream
        broke off stay applied.
        """
        waiting: list[tuple[int, Change | Problem]] = []
        at, num_told = 0, 0
        async for line in lines_of(stream):
            at += 1
            if self.stopped:
                continue  # read to the end, so that whoever sends comes to read the answer
            if line is not None and not line.strip():
                continue
            num_told += 1
            if num_told > self.max_lines:
                told = f"over {self.max_lines:,} lines"
                await self._apply([*waiting, (at, Problem(413, "body_too_large", told, cure="send the rest again"))])
                waiting, self.stopped = [], True
                continue
            waiting.append((at, self._read_line(line)))
            if len(waiting) >= self.chunk or (self.stop_on_error and isinstance(waiting[-1][1], Problem)):
                await self._apply(waiting)
                waiting = []
        if not num_told:
            raise Problem(400, "malformed_json", "the body has no lines", cure='send lines such as {"op": "delete", …}')
        if not self.stopped:
            await self._apply(waiting)

    def _read_line(self, line: bytes | None) -> Change | Problem:
        if line is None:
            return Problem(413, "body_too_large", f"a line of over {MAX_LINE_BYTES:,} bytes", cure="shorten it")
        try:
            return change_of(line)
        except Problem as problem:
            return problem

    async def _apply(self, lines: list[tuple[int, Change | Problem]]) -> None:
        changes = [change for _, change in lines if not isinstance(change, Problem)]
        if self.stop_on_error:
            outcomes = await self._apply_until_error(changes)
        else:
            outcomes = await self.writers.apply_chunk(changes, self.advertiser) if changes else []
        found = iter(outcomes)
        for line, change in lines:
            outcome = change if isinstance(change, Problem) else next(found, None)
            if outcome is None:  # after the one that stopped
                return
            self._note(line, change, outcome)
            if self.stop_on_error and isinstance(outcome, Problem):
                self.stopped = True
                return

    async def _apply_until_error(self, changes: list[Change]) -> list[Applied | Problem]:
        """Apply changes one by one up to the first that is refused."""
        outcomes: list[Applied | Problem] = []
        for change in changes:
            outcomes += await self.writers.apply_chunk([change], self.advertiser)
            if isinstance(outcomes[-1], Problem):
                break
        return outcomes

    def _note(self, line: int, change: Change | Problem, outcome: Applied | Problem) -> None:
        ad_id = "" if isinstance(change, Problem) else ad_id_of(change)
        self.num_lines += 1
        if isinstance(outcome, Problem):
            self.num_failed += 1
            error = LineError(outcome.code, outcome.detail, _place(change, outcome.field), outcome.cure)
            told = LineResult(line, outcome.status, ad_id, error=error)
        else:
            self.seq = max(self.seq, outcome.seq)
            told = LineResult(line, 200, ad_id, outcome.seq)
        self._results.write(msgspec.json.encode(told) + b"\n")

    @property
    def status(self) -> int:
        """The status of the answer: 200 if every line succeeded, 207 if some were refused."""
        return 207 if self.num_failed or self.stopped else 200

    def results(self) -> Iterator[bytes]:
        """Yield the answer: the result of each line in order, then the summary. Closes the bulk."""
        summary = BulkSummary(self.num_lines, self.num_lines - self.num_failed, self.num_failed, self.seq, self.stopped)
        self._results.write(msgspec.json.encode(BulkEnd(summary)) + b"\n")
        self._results.seek(0)
        with self._results:
            while content := self._results.read(1 << 16):
                yield content

    def close(self) -> None:
        """Forget the results."""
        self._results.close()
