"""The queue before the threads: batches, equal queries, refusals, and who hangs up."""

import asyncio
import threading
from dataclasses import replace

import pytest

from intently.engine.pace import Pace
from intently.serve.metrics import Metrics
from intently.serve.problems import Problem
from intently.serve.readers import Readers
from intently.types import Ranking, Request


class SlowEngine:
    """An engine that answers when it is let, and remembers what it was asked together."""

    class Snapshot:
        seq = 0

    generation = "g"

    def __init__(self) -> None:
        self.pace, self.snapshot = Pace(), self.Snapshot()
        self.batches: list[list[Request]] = []
        self.go = threading.Semaphore(0)
        self.began = threading.Semaphore(0)

    def answer_many(self, requests, *, batch_size):
        assert batch_size == len(requests)
        self.batches.append(list(requests))
        self.began.release()
        self.go.acquire()
        for request in requests:
            if request.query == "boom":
                raise RuntimeError("boom")
            yield Ranking(request.query, (), seq=self.snapshot.seq)


@pytest.fixture
def engine():
    engine = SlowEngine()
    yield engine
    for _ in range(100):
        engine.go.release()


def readers_of(engine, **more):
    return Readers(lambda: engine, Metrics(), **more)


def value(metric, name, **labels):
    return metric.registry.get_sample_value(name, labels)


async def until(condition):
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("did not happen")


def test_alone_at_once_and_together_when_they_wait(engine):
    async def story():
        readers = readers_of(engine)
        asks = [asyncio.create_task(readers.answer([Request(f"q{at}")], 60_000)) for at in range(6)]
        await until(lambda: engine.batches)
        for _ in range(2):
            engine.go.release()
        answers = await asyncio.gather(*asks)
        assert [ranking.query for (ranking,) in answers] == [f"q{at}" for at in range(6)]
        readers.close()

    asyncio.run(story())
    assert [len(batch) for batch in engine.batches] == [1, 5]


def test_threads_share_what_waits(engine):
    async def story():
        readers = readers_of(engine, num_threads=2, max_batch=3)
        asks = [asyncio.create_task(readers.answer([Request(f"q{at}")], 60_000)) for at in range(10)]
        await until(lambda: len(engine.batches) == 2)
        for _ in range(9):
            engine.go.release()
        await asyncio.gather(*asks)
        readers.close()

    asyncio.run(story())
    assert [len(batch) for batch in engine.batches][:2] == [1, 1]
    assert max(len(batch) for batch in engine.batches) == 3
    assert sum(len(batch) for batch in engine.batches) == 10


def test_lists_stay_together(engine):
    async def story():
        readers = readers_of(engine, max_batch=4)
        first = asyncio.create_task(readers.answer([Request("first")], 60_000))
        await until(lambda: engine.batches)
        lists = [[Request(f"{name}{at}") for at in range(3)] for name in "ab"]
        asks = [asyncio.create_task(readers.answer(each, 60_000)) for each in lists]
        await asyncio.sleep(0)
        for _ in range(3):
            engine.go.release()
        await first
        for each, told in zip(lists, await asyncio.gather(*asks), strict=True):
            assert [ranking.query for ranking in told] == [request.query for request in each]
        readers.close()

    asyncio.run(story())
    assert [len(batch) for batch in engine.batches] == [1, 3, 3]


def test_equal_queries_are_answered_once(engine):
    async def story():
        readers = readers_of(engine)
        asks = [asyncio.create_task(readers.answer([Request("扫地机器人", 3)], 60_000)) for _ in range(5)]
        asks.append(asyncio.create_task(readers.answer([Request("扫地机器人", 4)], 60_000)))
        await until(lambda: engine.batches)
        for _ in range(2):
            engine.go.release()
        await asyncio.gather(*asks)
        assert value(readers.metrics, "intently_joined_requests_total") == 4
        readers.close()

    asyncio.run(story())
    assert [[request.k for request in batch] for batch in engine.batches] == [[3], [4]]


def test_an_answer_from_before_a_change_is_not_shared(engine):
    """Whoever asks after a change was acknowledged sees it, even if an equal query is under way."""

    async def story():
        readers = readers_of(engine)
        before = asyncio.create_task(readers.answer([Request("red")], 60_000))
        await until(lambda: engine.batches)
        engine.snapshot.seq = 7
        after = [asyncio.create_task(readers.answer([Request("red")], 60_000)) for _ in range(2)]
        for _ in range(2):
            engine.go.release()
        await before
        assert [ranking.seq for (ranking,) in await asyncio.gather(*after)] == [7, 7]
        readers.close()

    asyncio.run(story())
    assert len(engine.batches) == 2


def test_a_query_that_would_come_too_late_is_refused_at_once(engine):
    engine.pace.learn(1, 200.0)

    async def story():
        readers = readers_of(engine)
        first = asyncio.create_task(readers.answer([Request("first")], 250))
        await until(lambda: engine.batches)
        with pytest.raises(Problem) as refused:
            await readers.answer([Request("second")], 250)
        assert (refused.value.status, refused.value.code) == (503, "overloaded")
        assert refused.value.headers["Retry-After"] == "1"
        patient = asyncio.create_task(readers.answer([Request("patient")], 60_000))
        await asyncio.sleep(0)
        for _ in range(2):
            engine.go.release()
        await asyncio.gather(first, patient)
        assert value(readers.metrics, "intently_shed_total", reason="wait") == 1
        readers.close()

    asyncio.run(story())
    assert [batch[0].query for batch in engine.batches] == ["first", "patient"]


def test_a_query_whose_deadline_passes_in_the_queue_is_not_begun(engine):
    async def story():
        readers = readers_of(engine)
        first = asyncio.create_task(readers.answer([Request("first")], 60_000))
        await until(lambda: engine.batches)
        late = asyncio.create_task(readers.answer([Request("late")], 5))
        await asyncio.sleep(0.02)
        engine.go.release()
        await first
        with pytest.raises(Problem, match="deadline passed"):
            await late
        assert value(readers.metrics, "intently_shed_total", reason="expired") == 1
        readers.close()

    asyncio.run(story())
    assert len(engine.batches) == 1


def test_batches_are_no_larger_than_deadlines_allow(engine):
    engine.pace.learn(1, 0.001)
    engine.pace.learn(1, 0.001)
    engine.pace.learn(2, 10.0)
    engine.pace.learn(4, 10_000.0)

    async def story():
        readers = readers_of(engine)
        first = asyncio.create_task(readers.answer([Request("first")], 60_000))
        await until(lambda: engine.batches)
        asks = [asyncio.create_task(readers.answer([Request(f"q{at}")], 5_000)) for at in range(4)]
        await asyncio.sleep(0)
        for _ in range(9):
            engine.go.release()
        await asyncio.gather(first, *asks)
        readers.close()

    asyncio.run(story())
    assert [len(batch) for batch in engine.batches] == [1, 3, 1]


def test_deadlines_that_the_engine_gets_are_what_is_left(engine):
    async def story():
        readers = readers_of(engine)
        first = asyncio.create_task(readers.answer([Request("first")], 60_000))
        await until(lambda: engine.batches)
        second = asyncio.create_task(readers.answer([Request("second")], 5_000))
        await asyncio.sleep(0.03)
        for _ in range(2):
            engine.go.release()
        await asyncio.gather(first, second)
        readers.close()

    asyncio.run(story())
    assert 59_000 < engine.batches[0][0].deadline_ms <= 60_000
    assert 1_000 < engine.batches[1][0].deadline_ms <= 4_970


def test_who_hangs_up_in_the_queue_costs_nothing(engine):
    async def story():
        readers = readers_of(engine)
        first = asyncio.create_task(readers.answer([Request("first")], 60_000))
        await until(lambda: engine.batches)
        gone = asyncio.create_task(readers.answer([Request("gone")], 60_000))
        half = [asyncio.create_task(readers.answer([Request("half")], 60_000)) for _ in range(2)]
        await asyncio.sleep(0.01)
        gone.cancel()
        half[0].cancel()
        await asyncio.sleep(0.01)
        assert readers.num_queued == 1
        for _ in range(2):
            engine.go.release()
        await first
        await half[1]
        readers.close()

    asyncio.run(story())
    assert [[request.query for request in batch] for batch in engine.batches] == [["first"], ["half"]]


def test_one_query_that_fails_does_not_fail_the_others(engine, caplog):
    async def story():
        readers = readers_of(engine)
        first = asyncio.create_task(readers.answer([Request("first")], 60_000))
        await until(lambda: engine.batches)
        asks = [asyncio.create_task(readers.answer([Request(query)], 60_000)) for query in ("a", "boom", "b")]
        await asyncio.sleep(0)
        for _ in range(9):
            engine.go.release()
        await first
        a, boom, b = await asyncio.gather(*asks, return_exceptions=True)
        assert (a[0].query, str(boom), b[0].query) == ("a", "boom", "b")
        readers.close()

    asyncio.run(story())


def test_over_http_many_queries_come_back_each_with_its_own_answer(serve):
    from tests.engine.small_engine import QUERIES
    from tests.serve.serving import ROOMY, query

    served = serve(replace(ROOMY, read_threads=2, max_batch=4))
    asked = [(text, k) for k in range(1, 9) for text in QUERIES]
    answers = served.together(*(query(text, k=k) for text, k in asked))
    for (text, k), answer in zip(asked, answers, strict=True):
        expected = served.service.engine.answer(Request(text, k))
        assert [ad["ad_id"] for ad in answer.json()["ads"]] == [ad.ad_id for ad in expected.ads]
