"""The clients against a service in the same process, and against one that fails in every way."""

import asyncio
import json

import pytest

httpx2 = pytest.importorskip("httpx2")
pytest.importorskip("starlette")

from intently.client import AsyncClient, Client, Retry  # noqa: E402
from intently.errors import InputError, ServiceError  # noqa: E402
from intently.types import Ad, Delete, Patch, Put, PutList, Request, UserContext  # noqa: E402
from tests.engine.small_engine import QUERIES, make_engine, save  # noqa: E402
from tests.serve.serving import Served  # noqa: E402


@pytest.fixture(scope="module")
def served(make_student, tmp_path_factory):
    directory = tmp_path_factory.mktemp("engine")
    save(make_engine(make_student(3)), directory)
    served = Served(directory)
    yield served
    served.close()


def test_the_async_client_says_what_the_engine_says(served):
    async def story():
        async with AsyncClient("http://test", transport=httpx2.ASGITransport(served.app)) as client:
            user = UserContext(country="CN", language="zh", audiences=frozenset(["cooks", "厨师"]))
            requests = [Request(query, 3, user, explain=True, exclude=frozenset(["pan"])) for query in QUERIES]
            engine = served.service.engine
            told = await client.answer_many(requests)  # in a batch, int8 layers may round the other way
            assert [len(each) for each in told] == [len(engine.answer(request)) for request in requests]
            for request in requests:
                answer, expected = await client.answer(request), engine.answer(request)
                assert (answer.ads, answer.intentions) == (expected.ads, expected.intentions)
                assert answer.read_as == expected.read_as
                ad_ids = ["pan", "robot", "nobody"]
                assert await client.explain(request, ad_ids) == list(engine.explain(request, ad_ids))
            put = await client.apply(Put(Ad("a/b 红", "Red gizmo", keywords=("gizmo",), bid=0.5)))
            assert not put.existed
            assert (await client.answer(Request("gizmo"), min_seq=put.seq)).ads[0].ad_id == "a/b 红"
            await client.apply(Patch("a/b 红", {"bid": None, "countries": ("DE",)}))
            assert await client.ad("a/b 红") == engine.ad("a/b 红")
            assert [ad async for ad in client.ads(limit=5)] == sorted(
                (engine.catalog.ad(row) for row in range(len(engine.catalog))), key=lambda ad: ad.ad_id.encode()
            )
            done = await client.bulk([Delete("a/b 红"), Put(Ad("x", "")), Put(Ad("y", "Pan")), Delete("y")])
            assert (done.succeeded, done.failed, done.errors[0].line, done.errors[0].error.field) == (
                3,
                1,
                2,
                "ad.title",
            )
            assert await client.ad("a/b 红") is None
            first = await client.put_list(PutList("夏 a/b", ("free", "[二手]")))
            assert (first.name, first.existed, await client.lists()) == ("夏 a/b", False, {"夏 a/b": 2})
            assert await client.list_values("夏 a/b") == engine.snapshot.lists.values["夏 a/b"] == ("free", "[二手]")
            assert (await client.put_list(PutList("夏 a/b", ()))).existed
            assert (await client.list_values("夏 a/b"), await client.lists()) == ((), {})
            assert (await client.limits()).max_k == 500
            assert (await client.generations()).served == engine.generation
            with pytest.raises(ServiceError) as refused:
                await client.go_to("none")
            assert (refused.value.status, refused.value.code, refused.value.field) == (
                400,
                "invalid_value",
                "generation",
            )
            with pytest.raises(ServiceError, match="there is no ad 'none'; put it first"):
                await client.apply(Patch("none", {"bid": 1.0}))

    served.run(story())


def test_both_clients_have_the_same_methods():
    def methods(kind):
        return {name for name in vars(kind) if not name.startswith("_")}

    assert methods(Client) == methods(AsyncClient)


class Flaky:
    """A service that answers as told, one after the other."""

    def __init__(self, *answers):
        self.answers, self.seen = list(answers), []

    def __call__(self, request):
        self.seen.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, headers, told = answer
        return httpx2.Response(status, headers=headers, content=json.dumps(told).encode())


OK = (200, {}, {"ad_id": "x", "seq": 3, "existed": True})
BUSY = (503, {"Retry-After": "1"}, {"type": "", "title": "", "status": 503, "code": "overloaded", "detail": "busy"})
FAST = Retry(attempts=3, first_s=0.0, random=lambda: 0.0)


@pytest.fixture
def waits(monkeypatch):
    waited = []

    async def sleep(seconds):
        waited.append(seconds)

    monkeypatch.setattr("intently.client.client.time.sleep", waited.append)
    monkeypatch.setattr("intently.client.client.asyncio.sleep", sleep)
    return waited


def both(flaky, ask, retry=FAST):
    """Return what each client makes of a service: a result, or an error."""
    answers = list(flaky.answers)

    async def story():
        async with AsyncClient("http://test", retry=retry, transport=httpx2.MockTransport(flaky)) as client:
            return await ask(client)

    results = []
    for run in (lambda: ask(Client("http://test", retry=retry, transport=httpx2.MockTransport(flaky))),
                lambda: asyncio.run(story())):  # fmt: skip
        flaky.answers = list(answers)
        try:
            results.append(run())
        except ServiceError as error:
            results.append(error)
    assert type(results[0]) is type(results[1])
    return results[0]


def test_what_may_be_sent_again_is(waits):
    flaky = Flaky(BUSY, httpx2.ConnectError("refused"), OK)
    assert both(flaky, lambda client: client.apply(Delete("x"))).seq == 3
    assert waits == [0.0, 1.0, 0.0] * 2
    keys = [request.headers["idempotency-key"] for request in flaky.seen]
    assert len(set(keys)) == 2
    assert keys[0] == keys[1] == keys[2]


def test_retries_end(waits):
    refused = both(Flaky(BUSY, BUSY, BUSY), lambda client: client.apply(Delete("x")))
    assert (refused.status, refused.code) == (503, "overloaded")
    lost = both(Flaky(*[httpx2.ReadError("gone")] * 3), lambda client: client.apply(Delete("x")))
    assert (lost.status, "http://test cannot be reached (gone)" in str(lost)) == (0, True)


@pytest.mark.parametrize("status", [400, 401, 403, 409, 412, 422, 500])
def test_what_would_fail_again_is_not_sent_again(waits, status):
    flaky = Flaky((status, {}, {"hello": "proxy"}))
    refused = both(flaky, lambda client: client.answer(Request("red")))
    assert refused.status == status
    assert len(flaky.seen) == 2


def test_an_equal_request_under_way_is_waited_for(waits):
    under_way = (409, {"Retry-After": "1"}, {"type": "", "title": "", "status": 409, "code": "x", "detail": "x"})
    assert both(Flaky(under_way, OK), lambda client: client.apply(Delete("x"))).seq == 3


def test_a_service_that_asks_for_too_much_patience_is_not_asked_again(waits):
    flaky = Flaky((503, {"Retry-After": "3600"}, {}), OK)
    assert both(flaky, lambda client: client.apply(Delete("x"))).status == 503


def test_waits_are_random_below_a_bound_that_doubles():
    highest = Retry(attempts=9, first_s=0.1, longest_s=1.0, random=lambda: 1.0)
    assert [highest.wait_s(at, 503, {}) for at in range(1, 7)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert Retry(attempts=2).wait_s(2, 503, {}) is None
    assert len({Retry().wait_s(1, 0, {}) for _ in range(20)}) > 10


def test_an_answer_that_is_none_of_ours(waits):
    told = both(Flaky((200, {}, {"hello": "world"})), lambda client: client.limits())
    assert "is it the address of an Intently service" in str(told)


def test_the_key_is_sent_and_an_address_is_checked():
    flaky = Flaky(OK)
    client = Client("http://test/", key="s3cret", transport=httpx2.MockTransport(flaky))
    client.apply(Delete("x"))
    assert flaky.seen[0].headers["authorization"] == "Bearer s3cret"
    assert str(flaky.seen[0].url) == "http://test/v1/ads/x"
    with pytest.raises(InputError, match="not an address"):
        Client("localhost:8080")
