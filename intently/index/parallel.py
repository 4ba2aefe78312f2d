"""Helper threads, for parts of one query's work that can run at the same time."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Result = TypeVar("_Result")

# For all engines together; no thread runs before it is needed.
_HELPERS = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="intently")


def in_parallel(tasks: Sequence[Callable[[], _Result]], num_threads: int) -> list[_Result]:
    """Run tasks on at most `num_threads` threads, the calling one included, and return their results in order.

    What no helper has begun by the time the calling thread is through with its own, because all are busy, is done here:
    so nobody waits for somebody else's work, and tasks may have tasks of their own.
    """
    groups = [tasks[at::num_threads] for at in range(min(num_threads, len(tasks)))]
    helped = [_HELPERS.submit(_each, group) for group in groups[1:]]
    results: list[_Result] = [None] * len(tasks)  # type: ignore[list-item]
    for at, group in enumerate(groups):
        is_ours = at == 0 or helped[at - 1].cancel()
        results[at::num_threads] = _each(group) if is_ours else helped[at - 1].result()
    return results


def _each(tasks: Sequence[Callable[[], _Result]]) -> list[_Result]:
    return [task() for task in tasks]
