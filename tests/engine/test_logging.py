"""What an operator asks about is logged: slow queries, refused input, and what is too long for the model at once."""

import logging
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from small_engine import SETTINGS, make_engine

from intently.catalog import read_ads
from intently.engine.engine import Engine
from intently.errors import InputError, SettingsError
from intently.types import Request


@pytest.fixture(scope="module")
def engine(make_student) -> Engine:
    return make_engine(make_student(0))


def test_a_slow_query_is_logged_with_where_the_time_went(engine, caplog, monkeypatch):
    with caplog.at_level(logging.WARNING, "intently"):
        engine.retrieve("robot vacuum")
        assert caplog.records == []
        monkeypatch.setattr(engine, "slow_query_ms", 0.0)
        ranking = engine.retrieve("robot vacuum")
    (record,) = caplog.records
    assert record.name == "intently.engine.answerer" and record.getMessage().startswith("slow query 'robot vacuum': ")
    assert "search" in record.getMessage() and record.spent_ms == pytest.approx(sum(ranking.timings_ms.values()))


def test_refused_input_is_logged_at_debug(caplog, tmp_path):
    (tmp_path / "ads.tsv").write_text("ad_id\ttitle\na1\tKettle\na2\t\n")
    with caplog.at_level(logging.DEBUG, "intently"):
        with pytest.raises(InputError):
            Request("kettle", k=0)
        read_ads(tmp_path / "ads.tsv", skip_bad=True)
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told[0] == ("DEBUG", "request refused: field 'k': k is 0; ask for a whole number of ads, at least 1")
    assert told[1][1].startswith("row skipped: ") and "ads.tsv:3 field 'title': empty" in told[1][1]


def test_queries_longer_than_the_student_reads_are_refused_when_the_engine_is_made(make_student):
    longest = 64 - max(map(len, make_student(0).tokenizer.encode_bare(["robot vacuum", "扫地机器人"])))
    assert make_engine(make_student(0), replace(SETTINGS, max_query_tokens=longest)).retrieve("red " * 200).ads
    for wrong in (longest + 1, 5_000):
        with pytest.raises(SettingsError, match=rf"'retrieval.max_query_tokens' is {wrong}; .* ≤ {longest}, "):
            make_engine(make_student(0), replace(SETTINGS, max_query_tokens=wrong))
