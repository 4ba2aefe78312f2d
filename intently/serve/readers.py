"""Answering queries: those that wait are batched, equal ones answered once, and those that would be late refused.

Everything here runs on the event loop, but for `_answer`, which runs on one of the threads.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING

from intently.errors import InputError
from intently.serve.metrics import Metrics
from intently.serve.problems import Problem
from intently.types import Ranking, Request

if TYPE_CHECKING:
    from intently.engine.engine import Engine

logger = logging.getLogger(__name__)

Rankings = tuple[Ranking, ...]
_NEWEST = 0.1  # weight of the newest measurement of what a query costs
_MARGIN = 1.2  # of what an answer is expected to take, as it may take longer
_LEAST_MS = 0.001  # what is left of a deadline that has passed


@dataclass(eq=False)
class _Job:
    """Queries that are answered from one snapshot, and how many clients wait for them."""

    requests: tuple[Request, ...]
    future: "asyncio.Future[Rankings]"
    came: float
    due: float
    num_waiting: int = 1
    shows: tuple[str, int] | None = None  # generation and seq that its answer shows at least; None: not begun

    @property
    def is_single(self) -> bool:
        return len(self.requests) == 1


@dataclass
class Readers:
    """Threads that answer queries, and the queue before them.

    A query that finds a thread free is answered at once and alone. Those that had to wait are answered in batches, as
    large as their deadlines allow. A query that equals one under way takes its answer, if that shows every change that
    was visible when the query came.
    """

    engine: "Callable[[], Engine]"
    metrics: Metrics
    num_threads: int = 1
    max_batch: int = 16
    _queue: deque[_Job] = field(default_factory=deque)
    _by_request: dict[Request, _Job] = field(default_factory=dict)
    _ends: dict[int, float] = field(default_factory=dict)  # number of a running batch → when it should end
    _num_begun: int = 0
    _cost_ms: float = 0.0  # of one query, when threads are busy

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.num_threads, thread_name_prefix="read")

    @property
    def num_queued(self) -> int:
        """Number of queries that wait for a thread."""
        return sum(len(job.requests) for job in self._queue)

    def expected_wait_ms(self) -> float:
        """Return how long a query that comes now would wait for a thread."""
        if len(self._ends) < self.num_threads:
            return 0.0
        until_free = max(0.0, min(self._ends.values()) - perf_counter()) * 1000
        return until_free + self.num_queued * self._cost_ms / self.num_threads

    async def answer(self, requests: Sequence[Request], deadline_ms: float) -> Rankings:
        """Return the rankings of requests, all from one snapshot, by a deadline from now.

        Raises `Problem` 503 at once if they would wait longer than the deadline leaves.
        """
        wanted, now = tuple(requests), perf_counter()
        job = self._by_request.get(wanted[0]) if len(wanted) == 1 else None
        if job is not None and (job.shows is None or job.shows == self._shown()):
            job.num_waiting += 1
            self.metrics.joined.inc()
        else:
            self._admit(len(wanted), deadline_ms)
            future = asyncio.get_running_loop().create_future()
            job = _Job(wanted, future, now, now + deadline_ms / 1000)
            if job.is_single:
                self._by_request[wanted[0]] = job
            self._queue.append(job)
            self._begin()
        try:
            return await asyncio.shield(job.future)
        finally:
            job.num_waiting -= 1
            if not job.num_waiting and job.shows is None:  # the client has gone, and nothing has begun
                self._forget(job)
                job.future.cancel()
                if job in self._queue:
                    self._queue.remove(job)

    def close(self) -> None:
        """Wait for what is under way, and end the threads."""
        self._pool.shutdown(wait=True)

    def _admit(self, num_queries: int, deadline_ms: float) -> None:
        wait_ms = self.expected_wait_ms()
        if not wait_ms and not self._queue:
            return
        full_ms = self.engine().pace.expected_ms(num_queries)
        work_ms = _MARGIN * full_ms if full_ms <= deadline_ms else 0.0  # a shorter deadline is kept by words alone
        if wait_ms + work_ms > deadline_ms:
            raise self._refusal("wait", f"it would wait {wait_ms:.0f} ms, and the deadline is {deadline_ms:.0f} ms")

    def _refusal(self, reason: str, told: str) -> Problem:
        self.metrics.shed.labels(reason).inc()
        retry = max(1, math.ceil(self.expected_wait_ms() / 1000))
        return Problem(
            503, "overloaded", told, cure="try again later, or give it a longer deadline_ms",
            headers={"Retry-After": str(retry)},
        )  # fmt: skip

    def _shown(self) -> tuple[str, int]:
        engine = self.engine()
        return engine.generation, engine.snapshot.seq

    def _begin(self) -> None:
        """Give every free thread a batch of what waits."""
        while self._queue and len(self._ends) < self.num_threads:
            jobs = self._taken()
            if not jobs:
                continue
            engine, number, now = self.engine(), self._num_begun, perf_counter()
            self._num_begun += 1
            size = sum(len(job.requests) for job in jobs)
            for job in jobs:
                job.shows = engine.generation, engine.snapshot.seq
                self.metrics.queue_wait.labels("read").observe(now - job.came)
            self.metrics.batch_size.observe(size)
            self._ends[number] = now + max(engine.pace.expected_ms(size), self._cost_ms) / 1000
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._pool, self._answer, engine, jobs, loop)
            running.add_done_callback(partial(self._ended, number, size, now))

    def _ended(self, number: int, size: int, began: float, _: object) -> None:
        spent_ms = (perf_counter() - began) * 1000 / size
        self._cost_ms += (_NEWEST if self._cost_ms else 1.0) * (spent_ms - self._cost_ms)
        del self._ends[number]
        self._begin()

    def _taken(self) -> list[_Job]:
        """Take the next jobs from the queue: a fair share of them, as many as the nearest deadline leaves time for."""
        pace, now = self.engine().pace, perf_counter()
        share = min(self.max_batch, math.ceil(self.num_queued / self.num_threads))
        jobs: list[_Job] = []
        size, due = 0, math.inf
        while self._queue:
            job = self._queue[0]
            more = size + len(job.requests)
            nearest = min(due, job.due)
            if jobs and (more > share or pace.expected_ms(more) > (nearest - now) * 1000):
                break
            self._queue.popleft()
            if now > job.due and now - job.came > 0.001:  # it has waited too long; whoever asked has given up
                self._forget(job)
                job.future.set_exception(self._refusal("expired", "its deadline passed while it waited"))
                continue
            jobs.append(job)
            size, due = more, nearest
        return jobs

    def _forget(self, job: _Job) -> None:
        if job.is_single and self._by_request.get(job.requests[0]) is job:
            del self._by_request[job.requests[0]]

    def _settle(self, job: _Job, answer: Rankings | BaseException) -> None:
        self._forget(job)
        if job.future.done():
            return
        if isinstance(answer, BaseException):
            job.future.set_exception(answer)
            job.future.exception()  # somebody may have gone; the error is logged where it happened
            return
        for request, ranking in zip(job.requests, answer, strict=True):
            self.metrics.answered(ranking, request.channel)
        job.future.set_result(answer)

    # On a thread.

    def _answer(self, engine: "Engine", jobs: Sequence[_Job], loop: asyncio.AbstractEventLoop) -> None:
        """Answer jobs, and settle each as soon as it is answered. Those with little time left come first."""
        expected_s = engine.pace.expected_ms(sum(len(job.requests) for job in jobs)) / 1000
        now = perf_counter()
        hurried = [job for job in jobs if job.due - now < expected_s]
        others = [job for job in jobs if job.due - now >= expected_s]
        for group in (hurried, others):
            if group:
                self._answer_together(engine, group, loop)

    def _answer_together(self, engine: "Engine", jobs: Sequence[_Job], loop: asyncio.AbstractEventLoop) -> None:
        now = perf_counter()
        requests = [
            replace(request, deadline_ms=max(_LEAST_MS, (job.due - now) * 1000))
            for job in jobs
            for request in job.requests
        ]
        left = deque(jobs)
        try:
            rankings = engine.answer_many(requests, batch_size=len(requests))
            while left:
                answer = tuple(islice(rankings, len(left[0].requests)))
                loop.call_soon_threadsafe(self._settle, left.popleft(), answer)
        except Exception as error:
            if isinstance(error, InputError) and len(left) == 1:
                loop.call_soon_threadsafe(self._settle, left[0], error)
                return
            if len(left) > 1:  # one of them is at fault; the others need not suffer
                for job in left:
                    self._answer_together(engine, [job], loop)
                return
            logger.exception("a query failed")
            loop.call_soon_threadsafe(self._settle, left[0], error)
