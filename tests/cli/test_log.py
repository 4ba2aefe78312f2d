"""`intently log DIR`: look, verify, back up, restore, compact."""

import json
import sqlite3
import sys

import pytest

from intently.cli import main
from intently.live.log import Entry, Kind, open_log
from intently.live.log.entries import body_of, body_of_ad, digest_of_content
from intently.types import Ad


@pytest.fixture
def directory(tmp_path):
    log = open_log(tmp_path)
    log.own()
    ad = Ad("新", "红色 [red] 小玩意", bid=0.5)
    log.append([Entry(1, 1, 0, "新", Kind.PUT, digest_of_content(ad), body_of_ad(ad))], {}, "m").result()
    for seq in range(2, 6):
        body = body_of({"bid": float(seq), "status": "paused"})
        log.append([Entry(seq, seq, 86_400_000, "新", Kind.PATCH, None, body)], {}, "m").result()
    log.append([Entry(6, 6, 0, "gone", Kind.DELETE)], {}, "m").result()
    log.close()
    return tmp_path


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["intently", "log", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    told = capsys.readouterr()
    return end.value.code or 0, told.out, told.err


def test_look(directory, capsys):
    code, told, _ = run(capsys, directory)
    assert code == 0
    assert "changes 1 to 6: 1 put, 4 patch, 1 delete, of 2 ads" in told
    lines = told.splitlines()[2:]
    assert lines[0] == "6  1970-01-01 00:00:00 UTC  delete  gone"
    assert lines[1] == '5  1970-01-02 00:00:00 UTC  patch  新  bid=5.0, status="paused"'
    assert lines[5] == '1  1970-01-01 00:00:00 UTC  put  新  title="红色 [red] 小玩意", bid=0.5'
    _, told, _ = run(capsys, directory, "--ad", "gone", "--json")
    found = json.loads(told)
    assert [change["seq"] for change in found["changes"]] == [6]
    assert (found["num_entries"], found["position"]["last"], found["kind"]) == (6, 6, "sqlite")
    assert len(run(capsys, directory, "--last", 2)[1].splitlines()) == 4


def test_verify(directory, capsys):
    code, _, told = run(capsys, directory, "--verify")
    assert (code, told.strip()) == (0, "every byte is whole")
    connection = sqlite3.connect(directory / "changes.db")
    connection.execute("UPDATE intently_entries SET checksum = 0 WHERE seq = 1")
    connection.commit()
    connection.close()
    code, told, error = run(capsys, directory, "--verify", "--json", "--last", 1)
    assert code == 1
    assert json.loads(told)["problems"] == ["change 1 has been altered (its checksum differs)"]
    assert "1 problems were found" in error


def test_backup_compact_restore(directory, tmp_path, capsys):
    code, _, told = run(capsys, directory, "backup", tmp_path / "copy.db")
    assert (code, told.strip()) == (0, "backup: 6 changes, up to 6")
    assert "1 put, 1 patch, 1 delete" in run(capsys, directory, "compact")[1]
    code, told, _ = run(capsys, directory, "restore", tmp_path / "copy.db")
    assert code == 0
    assert "1 put, 4 patch, 1 delete" in told
    log = open_log(directory)
    log.own()
    code, _, error = run(capsys, directory, "compact")
    assert code == 1
    assert "writes the changes of this engine; send changes to it" in error.replace("\n", " ")
    log.close()


def test_wrong_use(directory, capsys):
    assert "no file is given" in run(capsys, directory, "backup")[2]
    assert "a file is given; only" in run(capsys, directory, "compact", "x")[2]
    assert "no changes" in run(capsys, directory / "nothing")[1]
