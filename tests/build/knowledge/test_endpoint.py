"""The endpoint, against a local server that misbehaves in every way."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from intently.build.knowledge import (
    EndpointSettings,
    KnowledgeSettings,
    Task,
    build_knowledge,
    handwritten,
    read_instances,
)
from intently.build.knowledge.endpoint import Endpoint
from intently.errors import InputError, SettingsError

SECRET = "sk-very-secret"


def said(text) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


@contextmanager
def serving(*answers: tuple[int, bytes] | tuple[int, bytes, dict[str, str]]) -> Iterator[tuple[str, list[dict]]]:
    """Serve `answers` one after the other, the last one for ever; yield the address and the requests."""
    asked: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({"path": self.path, "key": self.headers.get("Authorization"), "body": body})
            status, content, *more = answers[min(len(asked), len(answers)) - 1]
            self.send_response(status)
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def endpoint(url: str, **chosen) -> Endpoint:
    settings = EndpointSettings(url, "m", max_instances=9, timeout_s=5, wait_s=0, **chosen)
    return Endpoint(settings, handwritten(), max_intentions=3)


def ask(asked: Endpoint, *inputs: str) -> list:
    return list(asked.write(Task.QUERY_INTENT, inputs, lambda: None))


def test_a_good_answer_in_both_languages():
    with serving((200, said("Hot.\nIntentions: air conditioner; fan")), (200, said("热。\n意图：空调；风扇"))) as (
        url,
        asked,
    ):
        cool, hot = ask(endpoint(url), "ac unit", "房间太热")
    assert (cool.answer, cool.reasoning, cool.source) == ("air conditioner; fan", "Hot.", "endpoint")
    assert (hot.answer, hot.language) == ("空调; 风扇", "zh")
    assert asked[0]["path"] == "/v1/chat/completions" and asked[0]["key"] == f"Bearer {SECRET}"
    body = asked[0]["body"]
    assert body["model"] == "m" and body["messages"][-1]["content"] == cool.prompt
    assert len(body["messages"]) == 9 and body["messages"][1]["role"] == "assistant"


@pytest.mark.parametrize(
    "bad",
    [
        b"not json",
        b"[]",
        b"{}",
        said(None),
        said("no marker"),
        said("Intentions: "),
        said("Intentions: a; b; c; d"),
        said("Intentions: a; none"),
        said("Intentions: " + "x" * 81),
        b" " * (1 << 21),
    ],
)
def test_an_invalid_answer_is_counted_and_dropped(bad):
    with serving((200, bad), (200, said("Intentions: lamp"))) as (url, _):
        asked = endpoint(url)
        assert [one.input for one in ask(asked, "first", "second")] == ["second"]
    assert asked.num_invalid == 1


def test_it_tries_again_after_429_and_500():
    answers = [(429, b"", {"Retry-After": "0"}), (500, b""), (200, said("Intentions: lamp"))]
    with serving(*answers) as (url, asked):
        assert len(ask(endpoint(url), "light")) == 1
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("answer", "requests", "message"),
    [
        ((500, b""), 3, "answers with status 500, 3 times; check that it runs"),
        ((401, b""), 1, "status 401; put a valid key into the environment variable OPENAI_API_KEY"),
        ((404, b""), 1, "status 404; check url and model"),
        ((302, b"", {"Location": "http://127.0.0.1:1/"}), 1, "status 302"),
    ],
)
def test_an_error_names_endpoint_and_cure_and_not_the_key(answer, requests, message):
    with serving(answer) as (url, asked), pytest.raises(InputError) as caught:
        ask(endpoint(url + "?api-key=hidden", num_retries=2), "light")
    assert len(asked) == requests and message in str(caught.value)
    assert str(caught.value).startswith(f"{url}/chat/completions: ")
    assert SECRET not in str(caught.value) and "hidden" not in str(caught.value)


def test_nobody_there():
    with pytest.raises(InputError, match=r"does not answer .*, 1 times"):
        ask(endpoint("http://127.0.0.1:1", num_retries=0), "light")


def test_a_key_that_cannot_be_sent_is_not_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-\nbroken")
    with pytest.raises(InputError, match="OPENAI_API_KEY") as caught:
        ask(endpoint("http://127.0.0.1:1"), "light")
    assert "broken" not in str(caught.value)


def test_without_a_key_none_is_sent(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with serving((200, said("Intentions: lamp"))) as (url, asked):
        ask(endpoint(url), "light")
    assert asked[0]["key"] is None


@pytest.mark.parametrize("url", ["ftp://x", "localhost:8000", "http://", "http://me:pass@x/v1", "http://x:99999"])
def test_addresses_that_are_refused(url):
    with pytest.raises(SettingsError) as caught:
        EndpointSettings(url, "m")
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"model": ""}, {"max_instances": -1}, {"timeout_s": 0}, {"temperature": -1}])
def test_settings_that_are_refused(wrong):
    with pytest.raises(SettingsError):
        EndpointSettings(**{"url": "http://x", "model": "m"} | wrong)


def test_it_writes_its_share_of_a_build(tmp_path):
    ads = tmp_path / "ads.tsv"
    ads.write_text("ad_id\ttitle\n" + "".join(f"{n}\tBrand{n} Electric Kettle, model {n}x\n" for n in range(9)))
    answers = said("Boils water.\nIntentions: electric kettle; tea maker\nKeywords: electric kettle")
    with serving((200, answers)) as (url, asked):
        chosen = EndpointSettings(url, "m", max_instances=4, wait_s=0)
        settings = KnowledgeSettings(instances_per_task=5, handwritten=False, max_same_answer=1, endpoint=chosen)
        report = build_knowledge(ads, tmp_path / "k.jsonl", settings)
    assert 0 < len(asked) <= 4 and "the endpoint was asked" in report.notes[0]
    assert any(one.source == "endpoint" for one in read_instances(report.path))
    assert SECRET not in report.path.read_text() + repr(report) + repr(settings)
