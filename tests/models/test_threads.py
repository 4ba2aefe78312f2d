import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch

from intently.models.threads import intra_op_threads


class TestThreads:
    def test_a_thread_that_comes_while_another_is_inside_gets_its_own_number_back(self):
        main = torch.get_num_threads()
        outside = main + 3
        torch.set_num_threads(outside)
        inside, come, left, after = (threading.Event() for _ in range(4))
        told: dict[str, list[int]] = {"first": [], "second": []}

        def first() -> None:
            with intra_op_threads(1):
                told["first"].append(torch.get_num_threads())
                inside.set()
                assert come.wait(30)
            told["first"].append(torch.get_num_threads())
            left.set()

        def second() -> None:
            assert inside.wait(30)
            with intra_op_threads(2):
                come.set()
                assert left.wait(30)
                told["second"].append(torch.get_num_threads())
            told["second"].append(torch.get_num_threads())
            after.set()

        try:
            in_threads(first, second)
            assert told == {"first": [1, outside], "second": [2, outside]}
            assert torch.get_num_threads() == outside
            in_threads(lambda: told["first"].append(torch.get_num_threads()))
            assert told["first"][-1] == outside
        finally:
            torch.set_num_threads(main)

    def test_a_thread_keeps_a_number_of_its_own(self):
        inside, done = threading.Event(), threading.Event()
        told = []

        def other() -> None:
            torch.set_num_threads(5)
            assert inside.wait(30)
            with intra_op_threads(3), intra_op_threads(2):
                pass
            told.append(torch.get_num_threads())
            done.set()

        def one() -> None:
            with intra_op_threads(1):
                inside.set()
                assert done.wait(30)

        main = torch.get_num_threads()
        try:
            in_threads(other, one)
            assert told == [5]
        finally:
            torch.set_num_threads(main)

    def test_many_threads_leave_nothing_behind(self):
        main = torch.get_num_threads()
        left = []

        def work(number: int) -> None:
            for _ in range(50):
                with intra_op_threads(number):
                    assert torch.get_num_threads() == number
                    torch.ones(8, 8) @ torch.ones(8, 8)
            left.append(torch.get_num_threads())

        for _ in range(5):
            in_threads(*(partial(work, number) for number in (1, 2, 3, 4)))
        assert left == [main] * 20
        assert torch.get_num_threads() == main

    def test_an_exception_leaves_nothing_behind(self):
        main = torch.get_num_threads()
        with pytest.raises(ZeroDivisionError), intra_op_threads(main + 1):
            _ = 1 / 0
        assert torch.get_num_threads() == main


def in_threads(*functions: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(functions)) as pool:
        for future in [pool.submit(function) for function in functions]:
            future.result()


def test_without_pytorch_there_is_nothing_to_set_and_it_is_not_imported():
    code = "import sys\nfrom intently.models.threads import intra_op_threads\n"
    code += "with intra_op_threads(3): print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (ran.stdout.strip(), ran.stderr) == ("False", "")
