"""What one serving process holds: the engine, the threads that read and write, keys, kept answers, and metrics."""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from intently.errors import IntentlyError, LogError
from intently.generation import Listed, list_generations, roll_back
from intently.live.log import ChangeLog, Receipt
from intently.serve.answers import AnswerLog
from intently.serve.idempotency import Replays
from intently.serve.keys import Keys
from intently.serve.metrics import Metrics
from intently.serve.problems import Problem, of_log_error
from intently.serve.readers import Readers
from intently.serve.settings import ServeSettings
from intently.serve.writers import Writers
from intently.snapshot.listing import ads_after
from intently.types import MAX_QUERY_LENGTH, Request

if TYPE_CHECKING:
    from intently.engine.current import CurrentEngine
    from intently.engine.engine import Engine

logger = logging.getLogger(__name__)

T = TypeVar("T")
_LAG_EVERY_S = 0.1
_POLL_SEQ_S = 0.005
_NUM_WARM = 6  # queries before the first client's


class Service:
    """One service over the engine in a directory. `start` and `stop` run on the event loop that serves."""

    def __init__(
        self, current: "CurrentEngine", directory: Path, settings: ServeSettings | None = None, keys: Keys | None = None
    ) -> None:
        self.current, self.directory = current, directory
        self.settings = settings = settings or ServeSettings()
        self.keys = keys or Keys()
        self.metrics = Metrics()
        self.readers = Readers(lambda: current.engine, self.metrics, settings.read_threads, settings.max_batch)
        self.writers = Writers(current, self.metrics, settings.write_threads, settings.max_write_wait_ms)
        self.answers = AnswerLog(settings.answers, self.metrics.unlogged.inc)
        self.replays = Replays(settings.idempotency_hours * 3600, settings.max_idempotency_keys)
        self.bulks = 0  # that are being read
        self.draining = False
        self.refresh_problem = ""
        self.log_version = ""
        self._others = ThreadPoolExecutor(2, thread_name_prefix="other")
        self._tasks: list[asyncio.Task[None]] = []
        self._add_gauges()
        if current.cache is not None:
            current.cache.on_result = lambda result, num: self.metrics.runtime_cache.labels(result).inc(num)

    @property
    def engine(self) -> "Engine":
        """The engine as it is now."""
        return self.current.engine

    @property
    def cache_problem(self) -> str:
        """Why the store of the query cache is not asked now; empty if it is, or there is none."""
        return self.current.cache.problem if self.current.cache is not None else ""

    @property
    def log_problem(self) -> str:
        """Why the log takes no change until it is opened again, or what was lost when it was opened; mostly empty."""
        log = self.current.log
        return log.failure.problem if log.failure else str(log.recovered or "")  # no paths: anybody may ask

    @property
    def seq(self) -> int:
        """The number of the newest change that answers show."""
        return self.engine.snapshot.seq

    async def start(self) -> None:
        """Answer a few queries, so that the first client does not wait, and begin to follow generations and keys."""
        self.log_version = await self.run(self.current.log.version)
        await self.run(self._warm_up)
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._measure_lag())]

    async def stop(self) -> None:
        """End what `start` began, after what is under way."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for pool in (self.readers, self.writers, self.answers):
            await asyncio.to_thread(pool.close)
        self._others.shutdown()

    def receipt(self, sender: str, key: str) -> Receipt | None:
        """Return what the log keeps of a change that was sent with this key, maybe to a process that died since."""
        try:
            return self.current.log.receipt(sender, key)
        except LogError as error:
            raise of_log_error(error) from None

    async def until_seq(self, min_seq: int, deadline_ms: float) -> float:
        """Wait until answers show a change; return the milliseconds left. Raises `Problem` 409 at the deadline."""
        due = perf_counter() + deadline_ms / 1000
        if self.seq < min_seq:
            await self.run(self.current.catch_up)  # of what another process wrote, at once
        while self.seq < min_seq:
            left = due - perf_counter()
            if left <= 0:
                raise Problem(
                    409, "behind", f"change {min_seq} is not visible here; the newest is {self.seq}", field="min_seq",
                    cure="try again, or ask for less", seq=self.seq,
                )  # fmt: skip
            await asyncio.sleep(min(left, _POLL_SEQ_S))
        return (due - perf_counter()) * 1000

    async def generations(self) -> list[Listed]:
        """Return all generations on disk, newest first."""
        return await self.run(partial(list_generations, self.directory))

    async def go_to(self, generation: str | None) -> str:
        """Make a generation current, by default the one before, and go over to it; return its id."""
        chosen = await self.run(partial(roll_back, self.directory, generation))
        await self.refresh()
        return chosen

    async def refresh(self) -> bool:
        """Go over to the current generation if it is another one; return whether it was."""
        changed = await self.run(self.current.refresh)
        self.refresh_problem = ""
        if changed:
            await self.run(self._warm_up)
            self.metrics.generation.info({"generation": self.engine.generation})
        return changed

    async def run(self, work: Callable[[], T]) -> T:
        """Run work that is neither a query nor a change on a thread, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._others, work)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self.settings.refresh_s)
            try:
                await self.run(self.keys.reload)
                await self.refresh()
            except IntentlyError as error:
                if str(error) != self.refresh_problem:
                    logger.warning("kept generation %s and the keys: %s", self.engine.generation, error)
                self.refresh_problem = str(error)
                self.metrics.refresh_failures.inc()
            except Exception:  # whatever it is, the service goes on answering, and looks again
                logger.exception("could not look for a new generation")
                self.metrics.refresh_failures.inc()

    async def _measure_lag(self) -> None:
        while True:
            before = perf_counter()
            await asyncio.sleep(_LAG_EVERY_S)
            self.metrics.loop_lag.observe(max(0.0, perf_counter() - before - _LAG_EVERY_S))

    def _warm_up(self) -> None:
        """Ask the engine for some of its own titles; it learns from them how long its answers take."""
        engine = self.engine
        for ad in ads_after(engine.snapshot, "", _NUM_WARM):
            engine.answer(Request(ad.title[:MAX_QUERY_LENGTH]))

    def _add_gauges(self) -> None:
        self.metrics.generation.info({"generation": self.engine.generation})
        for name, (told, value) in GAUGES.items():
            self.metrics.gauge(name, told, partial(value, self))


def _log_value(value: Callable[[ChangeLog], float]) -> Callable[[Service], float]:
    """Return what asks the log for a value, and tells NaN while the log cannot be read."""

    def ask(service: Service) -> float:
        try:
            return value(service.current.log)
        except LogError:
            return math.nan

    return ask


# What a service tells of its state whenever it is asked: name, what it is, value.
GAUGES: dict[str, tuple[str, Callable[[Service], float]]] = {
    "intently_visible_seq": ("Number of the newest change that answers show.", lambda one: one.seq),
    "intently_log_seq": (
        "Number of the newest change in the log; a process that follows shows it a little later.",
        _log_value(lambda log: log.position().last),
    ),
    "intently_log_bytes": ("Size of the log.", _log_value(lambda log: log.num_bytes())),
    "intently_log_failed": (
        "1 after a write to the log failed, until it is opened again.",
        lambda one: float(one.current.log.failure is not None),
    ),
    "intently_log_repaired": (
        "1 if the log was damaged when it was opened.",
        lambda one: float(one.current.log.recovered is not None),
    ),
    "intently_segments": ("Segments of the snapshot.", lambda one: len(one.engine.snapshot.segments)),
    "intently_loose_ads": (
        "Ads in segments that are not merged into the first.",
        lambda one: one.engine.snapshot.num_rows - one.engine.snapshot.segments[0].num_rows,
    ),
    "intently_queued_queries": ("Queries that wait for a thread.", lambda one: one.readers.num_queued),
    "intently_pending_changes": ("Changes that wait or are applied.", lambda one: one.writers.num_pending),
    "intently_shared_cache_down": (
        "1 while the shared cache is not asked.",
        lambda one: float(one.cache_problem != ""),
    ),
    "intently_draining": ("1 after SIGTERM.", lambda one: float(one.draining)),
}
