"""Relevance over HTTP, in the client and on the inspector's pages."""

import pytest

httpx2 = pytest.importorskip("httpx2")
pytest.importorskip("starlette")

from intently.client import AsyncClient  # noqa: E402
from intently.types import Request  # noqa: E402
from tests.engine.small_engine import CALIBRATOR, QUERIES, make_engine, save  # noqa: E402
from tests.serve.serving import Served, assert_problem  # noqa: E402
from tests.serve.test_inspector import assert_safe  # noqa: E402


@pytest.fixture(scope="module")
def served(make_student, tmp_path_factory):
    directory = tmp_path_factory.mktemp("engine")
    save(make_engine(make_student(3)), directory, parts={"calibrator": CALIBRATOR})
    served = Served(directory)
    yield served
    served.close()


@pytest.fixture(scope="module")
def uncalibrated(make_student, tmp_path_factory):
    directory = tmp_path_factory.mktemp("old")
    save(make_engine(make_student(3)), directory)
    served = Served(directory)
    yield served
    served.close()


@pytest.mark.parametrize("query", QUERIES)
def test_relevance_and_its_least_are_the_engines(served, query):
    every = served.service.engine.answer(Request(query, 99))
    told = served.post("/v1/retrieve", {"query": query, "k": 99}).json()
    assert [ad["relevance"] for ad in told["ads"]] == [ad.relevance for ad in every]
    least = sorted(ad.relevance for ad in every)[len(every) // 2]
    told = served.post("/v1/retrieve", {"query": query, "k": 99, "min_relevance": least}).json()
    assert [ad["ad_id"] for ad in told["ads"]] == [ad.ad_id for ad in every if ad.relevance >= least]
    body = {"query": query, "min_relevance": 1, "ad_ids": [every[0].ad_id]}
    (verdict,) = served.post("/v1/explain", body).json()["verdicts"]
    assert verdict["stage"] == "relevance"
    assert verdict["relevance"] == pytest.approx(every[0].relevance, abs=1e-6)  # read alone, last bits may differ


@pytest.mark.parametrize("wrong", [-0.1, 1.01, "0.5", True])
def test_what_is_no_probability_is_refused_by_name(served, wrong):
    for path, more in (("/v1/retrieve", {}), ("/v1/explain", {"ad_ids": ["pan"]})):
        answer = served.post(path, {"query": "red", "min_relevance": wrong} | more)
        assert_problem(answer, 400, "invalid_value", "min_relevance")


def test_a_service_that_cannot_tell_relevance_says_so(uncalibrated):
    told = assert_problem(
        uncalibrated.post("/v1/retrieve", {"query": "red", "min_relevance": 0.1}), 400, "invalid_value", "min_relevance"
    )
    assert "does not tell relevance" in told["detail"] and "build it again" in told["cure"]
    assert {ad["relevance"] for ad in uncalibrated.post("/v1/retrieve", {"query": "red"}).json()["ads"]} == {None}
    assert "Relevance" not in assert_safe(uncalibrated.get("/", params={"q": "red"})).text


def test_the_client_sends_and_reads_it(served):
    async def story():
        async with AsyncClient("http://test", transport=httpx2.ASGITransport(served.app)) as client:
            for least in (None, 0.0, 0.4, 1.0):
                request = Request("红色水壶 kettle", 99, min_relevance=least)
                assert (await client.answer(request)).ads == served.service.engine.answer(request).ads
                ad_ids = ["pan", "kettle", "paused"]
                assert await client.explain(request, ad_ids) == list(served.service.engine.explain(request, ad_ids))

    served.run(story())


def test_pages_show_relevance_and_what_it_took_out(served):
    page = assert_safe(served.get("/", params={"q": "red robot vacuum"}))
    first = served.service.engine.answer(Request("red robot vacuum"))[0]
    assert "Relevance" in page.text and f"{first.relevance:.1%}"[:3] in page.text
    answer = served.get("/", params={"q": "red robot vacuum", "min_relevance": f"{first.relevance:.4f}"[:6]})
    page = assert_safe(answer)
    assert answer.status_code == 200 and "was asked for" in page.text
    page = assert_safe(served.get("/", params={"q": "red robot vacuum", "min_relevance": "1"}))
    assert "No ad of relevance 1 or more was found." in page.text
    page = assert_safe(served.get("/ads/pan", params={"q": "red robot vacuum", "min_relevance": "0.99"}))
    assert "because of relevance" in page.text
    wrong = served.get("/", params={"q": "red", "min_relevance": "much"})
    assert wrong.status_code == 400 and "write a number from 0 to 1" in assert_safe(wrong).text
