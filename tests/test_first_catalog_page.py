"""The commands and the snippet of docs/first-catalog.md, as a newcomer gives them."""

import re
import shlex
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "first-catalog.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_from_the_first_command_to_the_last(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    from test_cli import intently

    monkeypatch.chdir(tmp_path)
    today, answer, tomorrow = blocks("text")
    Path("ads.csv").write_text(today, encoding="utf-8")
    Path("tomorrow.csv").write_text(tomorrow, encoding="utf-8")
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    assert len(lines) == 8  # of which the last is of the next day
    *installing, look, build, ask, update = lines
    assert all(line.startswith(("python3", ". ", "pip ")) for line in installing)
    told = []
    for line in (look, build, ask):
        name, *arguments = shlex.split(line)
        assert name == "intently"
        ended = intently(*arguments)
        assert ended.code == 0, ended.err
        told.append(ended.out)
    assert "6 ads, 6 of them active" in told[0]
    assert re.search(r"brand +advertiser", told[0]) and re.search(r"price +payload", told[0])
    shown = [line for line in answer.splitlines() if not line.endswith("…")]
    for number in re.findall(r"\d\.\d\d", "\n".join(shown)):  # which another machine may round otherwise
        shown = [line.replace(number, "0.00") for line in shown]
    assert set(shown) <= set(re.sub(r"\d\.\d\d", "0.00", told[2]).splitlines())

    capsys.readouterr()
    exec(compile(blocks("python")[0], "first-catalog.md", "exec"), {})
    assert capsys.readouterr().out == re.findall(r"# (1 b1 .*)", PAGE)[0] + "\n"

    ended = intently(*shlex.split(update)[1:])
    assert ended.code == 0, ended.err
    assert "came: 1\n    b7" in ended.out and "went: 1\n    b2" in ended.out
    assert intently("generations", "engine", "--rollback").code == 0
