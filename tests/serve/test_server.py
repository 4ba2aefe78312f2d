"""The service as a process: over a real socket, with signals, swaps, and bodies that break off."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx2
import pytest
import uvicorn
from uvicorn.server import ServerState

from intently.client import Client, Retry
from intently.engine.engine import Engine
from intently.errors import InputError
from intently.live.log import LOG_FILE, open_log
from intently.serve import protocol
from intently.serve.server import serve
from intently.serve.settings import ServeSettings
from intently.types import Ad, Delete, Patch, Put, PutList, Request
from tests.engine.small_engine import QUERIES, SETTINGS, make_engine, save
from tests.engine.valkey_server import started, until

SETTINGS_FILE = "refresh_s = 0.1\ndrain_delay_s = 0.7\ndeadline_ms = 10000.0\n"


class Process:
    """`intently serve` on a free port."""

    def __init__(self, directory: Path, settings: Path, *more: str) -> None:
        command = [sys.executable, "-m", "intently", "serve", str(directory), "--port", "0"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
        self.process = subprocess.Popen(
            [*command, "--settings", str(settings), *more], stderr=subprocess.PIPE, text=True, env=environment
        )
        self.logged: list[dict] = []
        self._started = threading.Event()
        self._address = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stderr:
            told = json.loads(line)  # everything that is logged is JSON
            self.logged.append(told)
            if found := re.search(r"running on (http://\S+)", told["message"]):
                self._address = found[1]
                self._started.set()
        self._started.set()

    @property
    def address(self) -> str:
        assert self._started.wait(120)
        assert self._address, self.logged
        return self._address

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        assert self.process.stderr
        self._reader.join(10)
        self.process.stderr.close()
        return code


@pytest.fixture(scope="module")
def engines(make_student):
    return make_engine(make_student(3)), make_engine(make_student(4), replace(SETTINGS, intention_weight=3.0))


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("settings") / "serve.toml"
    path.write_text(SETTINGS_FILE)
    return path


@pytest.fixture(scope="module")
def directory(engines, tmp_path_factory):
    directory = tmp_path_factory.mktemp("served")
    save(engines[0], directory)
    return directory


@pytest.fixture(scope="module")
def process(directory, settings_file):
    process = Process(directory, settings_file)
    yield process
    assert process.end() == 0
    assert not [told for told in process.logged if told["level"] == "error"]


def raw(process: Process, content: bytes, *, shut: bool = False) -> bytes:
    """Send bytes, and return what comes back."""
    with socket.create_connection(("127.0.0.1", process.port), timeout=20) as connection:
        connection.sendall(content)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
        return answer


def test_answers_over_a_socket_are_the_engines(process, engines):
    with Client(process.address) as client:
        for query in QUERIES:
            told, expected = client.answer(Request(query, 4)), engines[0].answer(Request(query, 4))
            assert [(ad.ad_id, ad.rank, ad.score) for ad in told] == [(ad.ad_id, ad.rank, ad.score) for ad in expected]


@pytest.mark.parametrize(
    "content",
    [
        b"POST /v1/retrieve HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"POST /v1/retrieve HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"que\r\n",
        b"PUT /v1/ads/cut HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n{\"title\": \"x\"}",
        b"POST /v1/ads:bulk HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{\"op\": \"put\"",
        b"GET /livez",
    ],
)  # fmt: skip
def test_what_breaks_off_changes_nothing(process, content):
    raw(process, content, shut=True)
    with Client(process.address) as client:
        assert client.ad("cut") is None


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"POST /v1/retrieve HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/retrieve HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\nConnection: close\r\n\r\n{",
    ],
)
def test_wrong_http_is_refused(process, content):
    with contextlib.suppress(ConnectionError):  # refused by hanging up, as the rest was on its way
        assert re.match(rb"HTTP/1\.1 4\d\d ", raw(process, content))
    assert httpx2.get(f"{process.address}/livez").status_code == 200


def test_lines_of_a_bulk_that_breaks_off_stay_applied(process):
    lines = b"".join(b'{"op":"put","ad":{"ad_id":"p%d","title":"Red pan"}}\n' % at for at in range(1_000))
    head = b"POST /v1/ads:bulk HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", process.port), timeout=20) as connection:
        connection.sendall(head + b"%x\r\n%s\r\n" % (len(lines), lines))
        with Client(process.address) as client:
            for _ in range(200):
                if client.ad("p999") is not None:
                    break
                time.sleep(0.05)
            assert client.ad("p0") is not None
    with Client(process.address) as client:
        done = client.bulk([Delete(f"p{at}") for at in range(1_000)])
        assert (done.succeeded, done.failed) == (1_000, 0)


def test_the_client_and_the_commands_change_ads(process, tmp_path):
    progress: list[int] = []
    with Client(process.address) as client:
        changes = [Put(Ad(f"s{at}", "Red pan 红色", advertiser="s")) for at in range(1_500)]
        done = client.bulk([*changes, Patch("nobody", {"bid": 1.0})], progress=progress.append)
        assert (done.succeeded, done.failed, progress) == (1_500, 1, [1_000, 1_501])
        assert [(each.line, each.error.code) for each in done.errors] == [(1_501, "unknown_ad")]
        assert len(list(client.ads(advertiser="s", limit=700))) == 1_500
        client.bulk([Delete(change.ad.ad_id) for change in changes])
        assert list(client.ads(advertiser="s")) == []

    def intently(*arguments: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "intently", *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)

    feed = tmp_path / "ads.tsv"
    feed.write_text("ad_id\ttitle\nq1\tElectric gizmo\nq2\t红色水壶 gizmo\n", encoding="utf-8")
    pushed = intently("push", feed, "--to", process.address)
    assert pushed.returncode == 0, pushed.stderr
    assert "2 ads put" in pushed.stdout
    shown = intently("query", process.address, "水壶 gizmo", "--explain")
    assert shown.returncode == 0, shown.stderr
    assert "红色水壶 gizmo" in shown.stdout
    told = json.loads(intently("query", process.address, "gizmo", "--json").stdout)
    assert {"q1", "q2"} <= {ad["ad_id"] for ad in told["ads"]}
    terms = tmp_path / "terms.txt"
    terms.write_text("\ufeffgizmo\n\n 二手 \ngizmo\n", encoding="utf-8")
    blocked = intently("lists", process.address, "blocked terms", "--put", terms)
    assert (blocked.returncode, "2 values put" in blocked.stdout) == (0, True), blocked.stderr
    assert json.loads(intently("query", process.address, "gizmo", "--json").stdout)["ads"] == []
    with Client(process.address) as client:
        assert client.list_values("blocked terms") == ("gizmo", "二手")
        assert client.put_list(PutList("blocked terms", ())).existed


def test_a_generation_that_is_published_is_taken_over(process, directory, engines):
    before = httpx2.get(f"{process.address}/readyz").json()
    save(engines[1], directory)
    for _ in range(200):
        after = httpx2.get(f"{process.address}/readyz").json()
        if after["generation"] != before["generation"]:
            break
        time.sleep(0.05)
    assert after["generation"] > before["generation"]
    assert after["seq"] == before["seq"]


def test_a_signal_drains_and_no_request_is_lost(directory, tmp_path):
    """The delay would last a minute; a second signal ends it once the clients have seen it."""
    patient = tmp_path / "serve.toml"
    patient.write_text("deadline_ms = 10000.0\ndrain_delay_s = 60.0\n")
    process = Process(directory, patient)
    address = process.address
    failed: list[str] = []
    codes: set[int] = set()
    closed = threading.Event()
    seen = {200: threading.Event(), 503: threading.Event()}

    def ask() -> None:
        with Client(address, retry=Retry(attempts=1)) as client:
            try:
                while not closed.is_set():
                    client.answer(Request("red robot vacuum"))
            except Exception as error:
                if not closed.is_set():
                    failed.append(repr(error))

    def watch() -> None:
        with httpx2.Client() as http:
            while not closed.is_set():
                answer = http.get(f"{address}/readyz")
                codes.add(answer.status_code)
                seen[answer.status_code].set()
                assert (answer.status_code == 503) == (answer.headers.get("connection") == "close")
                time.sleep(0.02)

    threads = [threading.Thread(target=ask) for _ in range(4)] + [threading.Thread(target=watch)]
    for thread in threads:
        thread.start()
    assert seen[200].wait(30)
    process.process.send_signal(signal.SIGTERM)
    assert seen[503].wait(30)
    time.sleep(0.2)  # within the delay, whoever comes is answered
    closed.set()
    for thread in threads:
        thread.join(30)
    assert (process.end(), failed) == (0, [])
    assert codes == {200, 503}
    assert any(told["message"].startswith("draining") for told in process.logged)
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", process.port), timeout=2).close()


def test_a_process_shares_what_it_decoded(engines, tmp_path):
    settings, directory = tmp_path / "serve.toml", tmp_path / "engine"
    settings.write_text(SETTINGS_FILE + "cache_timeout_ms = 10000.0\n")
    save(engines[0], directory)
    with started() as server:
        process = Process(directory, settings, "--cache", server.url)
        with Client(process.address) as client:
            until(lambda: not httpx2.get(f"{process.address}/readyz").json()["cache_problem"], "the cache is reached")
            assert not client.answer(Request("灯 lamp")).cached
            until(lambda: client.answer(Request("灯 lamp")).cached, "the intentions are kept")
        assert process.end() == 0
        generation = Engine.load(directory).generation
        assert any(generation.encode() in key for key in server.client().scan_iter())


def test_people_are_told_where_to_begin(process):
    [told] = [each["message"] for each in process.logged if "people begin at" in each["message"]]
    assert told == f"people begin at {process.address}/, programs at /docs"
    page = httpx2.get(f"{process.address}/", params={"q": "red"})
    assert "How the query was read" in page.text


def test_without_keys_only_this_machine_is_served(tmp_path):
    with pytest.raises(InputError, match="no keys"):
        serve(tmp_path, "0.0.0.0", 8080, ServeSettings())


def test_the_service_itself_loads_no_pytorch():
    """Nor does what loads an engine (tests/build/test_without_torch.py loads some)."""
    modules = "intently.serve.app, intently.serve.server, intently.client, intently.engine.current"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert ran.stdout.strip() == "False"


def test_a_head_that_does_not_end_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.1)
    closed: list[bool] = []

    async def story():
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})

        config = uvicorn.Config(
            app, http=protocol.BoundedProtocol, lifespan="off", log_config=None, timeout_keep_alive=1
        )
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: protocol.BoundedProtocol(config, state, {}), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for content in (b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / "):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(content)
            answer = await asyncio.wait_for(reader.read(), 20)
            closed.append(answer.startswith(b"HTTP/1.1 200") == content.startswith(b"GET / HTTP/1.1"))
            writer.close()
        server.close()

    asyncio.run(story())
    assert closed == [True, True, True]


def test_changes_sent_three_times_are_applied_once_whenever_the_process_is_killed(engines, settings_file, tmp_path):
    """So many changes by INTENTLY_SENT_THRICE, by default 90."""
    save(engines[0], tmp_path / "engine")
    num_ads, num_kills, seqs = int(os.environ.get("INTENTLY_SENT_THRICE", "90")), 3, defaultdict(set)

    def send(process: Process, number: int) -> None:
        headers = {"Idempotency-Key": f"change-{number}"}
        with contextlib.suppress(httpx2.TransportError), httpx2.Client(timeout=30) as http:
            address = f"http://127.0.0.1:{process.port}/v1/ads/n{number}"
            answer = http.put(address, json={"title": f"Red pan {number} 红锅"}, headers=headers)
            if answer.status_code == 409:
                assert answer.json()["code"] == "key_in_use"
            else:
                assert answer.status_code == 201
                seqs[number].add(answer.json()["seq"])

    for kill in range(1, num_kills + 2):
        process = Process(tmp_path / "engine", settings_file)
        with ThreadPoolExecutor(6) as senders:
            left = [number for number in range(num_ads) if number not in seqs]
            sent = [senders.submit(send, process, number) for number in left for _ in range(3)]
            if kill <= num_kills:
                until(partial(lambda least: len(seqs) >= least, num_ads * kill // 5), "changes were applied")
                process.process.kill()
            for each in sent:
                each.result()
        if kill <= num_kills:
            process.end()
    for number in range(num_ads):  # to a process that knows most of them from the log alone
        send(process, number)
    assert process.end() == 0
    assert [len(seqs[number]) for number in range(num_ads)] == [1] * num_ads
    log = open_log(tmp_path / "engine" / LOG_FILE)
    applied = [entry.ad_id for page in log.entries(0, "") for entry, _ in page]
    log.close()
    assert sorted(applied) == sorted(f"n{number}" for number in range(num_ads))


def test_a_bulk_whose_process_is_killed_ends_as_if_nothing_had_happened_when_it_is_sent_again(
    engines, settings_file, tmp_path
):
    """Chunks of a thousand lines are there whole or not at all."""
    save(engines[0], tmp_path / "engine")
    num_lines = 5_000
    lines = [
        b'{"op":"put","ad":{"ad_id":"p%d","title":"Red pan","advertiser":"bulk"}}\n' % at for at in range(num_lines)
    ]
    process = Process(tmp_path / "engine", settings_file)
    head = b"POST /v1/ads:bulk HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with (
        socket.create_connection(("127.0.0.1", process.port), timeout=20) as connection,
        Client(process.address) as http,
    ):
        sent = b"".join(lines[:3_500])
        connection.sendall(head + b"%x\r\n%s\r\n" % (len(sent), sent))
        until(lambda: http.ad("p999") is not None, "the first chunk is applied")
        process.process.kill()
    process.end()
    process = Process(tmp_path / "engine", settings_file)
    try:
        with Client(process.address) as client:
            kept = {ad.ad_id for ad in client.ads(advertiser="bulk")}
            done = client.bulk([Put(Ad(f"p{at}", "Red pan", advertiser="bulk")) for at in range(num_lines)])
            after = {ad.ad_id for ad in client.ads(advertiser="bulk")}
    finally:
        code = process.end()
    assert kept == {f"p{at}" for at in range(len(kept))}
    assert len(kept) in (1_000, 2_000, 3_000)
    assert (done.succeeded, done.failed, code) == (num_lines, 0, 0)
    assert after == {f"p{at}" for at in range(num_lines)}
