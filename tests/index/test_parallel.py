"""Parts of a query's work at the same time: everything is done once and in order, however busy the helpers are."""

import threading
from concurrent.futures import Future
from functools import partial

import pytest

from intently.index.parallel import in_parallel


@pytest.mark.parametrize("num_threads", [1, 2, 3, 8])
@pytest.mark.parametrize("num_tasks", [0, 1, 2, 5])
def test_results_are_in_order_and_every_task_runs_once(num_tasks, num_threads):
    ran = []

    def task(number):
        ran.append(number)
        return number * number

    results = in_parallel([partial(task, number) for number in range(num_tasks)], num_threads)
    assert results == [number * number for number in range(num_tasks)]
    assert sorted(ran) == list(range(num_tasks))


def test_tasks_run_at_the_same_time():
    both = threading.Barrier(2, timeout=600)
    assert sorted(in_parallel([both.wait, both.wait], 2)) == [0, 1]


def test_one_thread_is_the_calling_one():
    assert in_parallel([threading.get_ident] * 3, 1) == [threading.get_ident()] * 3


def test_busy_helpers_are_not_waited_for(monkeypatch):
    class Busy:
        def submit(self, *_):
            return Future()  # which nobody begins

    monkeypatch.setattr("intently.index.parallel._HELPERS", Busy())
    assert in_parallel([threading.get_ident] * 3, 3) == [threading.get_ident()] * 3


def test_tasks_may_have_tasks_of_their_own():
    def task(depth):
        return 1 + sum(in_parallel([partial(task, depth - 1)] * 3, 3)) if depth else 1

    assert task(4) == 1 + 3 + 9 + 27 + 81


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_comes_through(failing):
    def task(number):
        if number == failing:
            raise ValueError(f"task {number}")

    with pytest.raises(ValueError, match=f"task {failing}"):
        in_parallel([partial(task, number) for number in range(2)], 2)
