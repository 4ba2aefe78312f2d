"""The service's log of answers is what estimates read."""

import io
import json
from dataclasses import replace

import pytest

from intently.errors import SettingsError
from intently.lab.experiments.online_log import read_log
from intently.market.estimates import AnswerRecord
from intently.serve.answers import AnswerLog
from intently.types import Ranking
from tests.serve.serving import ROOMY


def records(path):
    return [AnswerRecord.from_dict(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_answer_is_a_line(serve, tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text("")
    served = serve(replace(ROOMY, answers=str(path)))
    answer = served.post("/v1/retrieve", {"query": "红色 pan", "k": 3, "explain": True}, headers={"X-Request-Id": "r1"})
    many = served.post("/v1/retrieve", [{"query": "red"}, {"query": "?!"}], headers={"X-Request-Id": "r2"}).json()
    served.post("/v1/retrieve", {"query": "red", "k": 0})  # refused
    served.service.answers.close()
    first, *others = records(path)
    told = answer.json()
    assert (first.request_id, first.query, first.generation, first.seq) == (
        "r1", "红色 pan", told["generation"], told["seq"],
    )  # fmt: skip
    assert [(ad.ad_id, ad.position, ad.score) for ad in first.ads] == [
        (ad["ad_id"], ad["rank"], ad["score"]) for ad in told["ads"]
    ]
    assert {ad.propensity for ad in first.ads} == {1.0}
    assert first.ads[0].score_parts
    assert [(each.request_id, each.query, len(each.ads)) for each in others] == [
        ("r2.0", "red", len(many[0]["ads"])), ("r2.1", "?!", 0),
    ]  # fmt: skip
    with path.open("a") as file:
        file.write(json.dumps({"event": "click", "request_id": "r1", "ad_id": told["ads"][1]["ad_id"], "value": 0.5}))
    log = read_log(path)
    assert log.rewards["clicks"][log.request_ids.index("r1")].tolist()[:3] == [0, 1, 0]


def test_a_disk_that_takes_nothing_fails_no_answer(serve, caplog):
    served = serve(replace(ROOMY, answers="/dev/full"))
    for _ in range(3):
        assert served.post("/v1/retrieve", {"query": "red"}).status_code == 200
    served.service.answers.close()
    assert "intently_unlogged_answers_total 3.0" in served.get("/metrics").text
    assert len([record for record in caplog.records if "cannot be logged" in record.message]) == 1


def test_a_line_that_was_torn_ends_before_the_next():
    """A disk that fills up takes a part of a line."""
    ranking, lost = Ranking("红色", ()), []
    log = AnswerLog("", lost.append)

    class Disk(io.RawIOBase):
        content, room = b"", [10, 0, 1_000]

        def write(self, data):
            taken = bytes(data)[: self.room.pop(0)]
            self.content += taken
            return len(taken)

    disk = Disk()
    for told in (([ranking], "a", 0.0), ([ranking, ranking], "b", 1.0), ([ranking], "c", 2.0), None):
        log._waiting.put(told)
    log._write(disk)
    torn, whole, end = disk.content.split(b"\n")
    assert (len(torn), json.loads(whole)["request_id"], end, lost) == (10, "c", b"", [1, 2])


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"'answers' names a file that cannot be written: .*Is a directory"):
        AnswerLog(str(tmp_path), print)
