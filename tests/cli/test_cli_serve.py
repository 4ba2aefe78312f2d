"""`intently serve`, `key`, `push` and `query URL`: what they print, and what goes wrong.

(The service that they start or ask is tested in tests/serve.)
"""

import re
import socket

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from test_cli import assert_refused, intently

from intently.serve.keys import Role, digest_of, read_keys


@pytest.fixture
def nowhere():
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("command", ["serve", "key", "push", "lists"])
def test_every_command_has_help(command):
    outcome = intently(command, "--help")
    assert outcome.code == 0
    assert f"Usage: intently {command}" in outcome.out


def test_a_key_is_an_entry_and_a_secret(tmp_path):
    outcome = intently("key", "锅具 front-end", "--role", "write", "--advertiser", '锅具 "A"')
    assert outcome.code == 0
    (entry,) = read_keys(tmp_path, outcome.out.encode())
    (secret,) = re.findall(r"intently_\S+", outcome.err)
    assert entry.sha256 == digest_of(secret)
    assert (entry.name, entry.role, entry.advertiser) == ("锅具 front-end", Role.WRITE, '锅具 "A"')
    assert secret not in outcome.out
    assert_refused(intently("key", "x", "--role", "root"), "'role' is 'root'", "read, write, admin")


def test_what_cannot_be_served(tmp_path):
    assert_refused(intently("serve", tmp_path, "--host", "0.0.0.0"), "--host", "no keys", "--anybody")
    assert_refused(intently("serve", tmp_path, "--port", "70000"), "'port' is 70000")
    assert_refused(intently("serve", tmp_path, "--keys", tmp_path / "none.toml"), "none.toml", "cannot be read")
    wrong = tmp_path / "serve.toml"
    wrong.write_text("threads = 3\n")
    assert_refused(intently("serve", tmp_path, "--settings", wrong), "unknown setting 'threads'", "read_threads")
    assert_refused(intently("serve", tmp_path / "none"), "none")
    assert_refused(intently("serve", tmp_path, "--cache", "http://:geheim@x/0"), "'cache' is 'http://x/0'", "redis://")


def test_a_service_that_is_not_there(nowhere, tmp_path, monkeypatch):
    monkeypatch.setattr("intently.client.client.time.sleep", lambda _: None)
    feed = tmp_path / "ads.tsv"
    feed.write_text("ad_id\ttitle\na\t红色水壶\n", encoding="utf-8")
    assert_refused(intently("query", nowhere, "红色"), "cannot be reached", "is the service running")
    outcome = intently("push", feed, "--to", nowhere)
    assert outcome.code == 1
    assert "cannot be reached" in outcome.err.splitlines()[-1]
    terms = tmp_path / "terms.txt"
    for content, told in ((b" \n", "has no values"), (b"\xff\xfe", "is not UTF-8")):
        terms.write_bytes(content)
        assert_refused(intently("lists", nowhere, "account", "--put", terms), "terms.txt", told)
    assert_refused(intently("lists", nowhere, "--remove"), "name the list")
    assert_refused(intently("lists", nowhere, "account", "--remove", "--put", terms), "a change is of one list")
    assert_refused(intently("lists", nowhere), "cannot be reached")
    assert_refused(intently("push", feed, "--to", "localhost"), "'localhost' is not an address")
    assert_refused(intently("push", tmp_path / "none.tsv", "--to", nowhere), "none.tsv", "no such file")
