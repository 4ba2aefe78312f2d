"""`intently replay`: what it says, in four forms, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from intently.build.pipeline import build_engine
from intently.build.settings import BuildSettings
from intently.cli import app
from intently.errors import InputError, SettingsError

ADS = (
    "ad_id\ttitle\tadvertiser\nshoes\tred running shoes & a|b\tRunwell\nboots\tred boots\tRunwell\n"
    "鞋\t红色跑步鞋\t跑得快\n"
)


def run(*arguments: object, input: str | None = None):
    return CliRunner().invoke(app, ["replay", *map(str, arguments)], input=input)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    (folder / "ads.tsv").write_text(ADS, encoding="utf-8")
    (folder / "fewer.tsv").write_text(ADS.replace("boots\tred boots\tRunwell\n", ""), encoding="utf-8")
    (folder / "log.txt").write_text("red boots\nred boots\n跑步鞋\n", encoding="utf-8")
    (folder / "judged.tsv").write_text("query\tad_id\trelevance\nred boots\tboots\t3\n", encoding="utf-8")
    (folder / "new.toml").write_text("[retrieval]\nintention_weight = 4.0\n")
    settings = BuildSettings.preset("lexical")
    for name, ads in (("engine", "ads.tsv"), ("other", "fewer.tsv")):
        build_engine(folder / ads, None, folder / name, settings, progress=lambda *_: None)
    more = replace(settings, retrieval=replace(settings.retrieval, lexical_weight=0.0))
    build_engine(folder / "ads.tsv", None, folder / "engine", more, progress=lambda *_: None)
    return folder


def test_two_directories(folder):
    html, markdown = folder / "told.html", folder / "told.md"
    options = ("--queries", folder / "log.txt", "--judgements", folder / "judged.tsv")
    result = run(folder / "engine", folder / "other", *options, "--html", html, "--markdown", markdown)
    assert result.exit_code == 0, result.output
    for said in (
        "2 queries, 3 requests replayed",
        "NDCG@10",
        "that lost most",
        "red boots",
        "Han",
    ):
        assert said in result.output
    assert "shoes &amp; a|b" in html.read_text(encoding="utf-8")
    text = markdown.read_text(encoding="utf-8")
    assert text.startswith("# 2 queries, 3 requests replayed")
    assert r"shoes & a\|b" in text
    assert "there is no ad with this id" in text


def test_json_and_standard_input(folder):
    result = run(folder / "engine", folder / "other", "--json", input="red boots\nshoes\n")
    found = json.loads(result.stdout)
    assert found["total"]["num_queries"] == 2
    assert found["metrics"] == {}
    assert found["worst"][0]["answered"]["query"] == "red boots"


def test_generations_and_settings_of_one_engine(folder):
    first, second = sorted(path.name for path in (folder / "engine" / "generations").iterdir())
    given = (folder / "engine", "--queries", folder / "log.txt")
    result = run(*given, "--before-generation", first, "--after-generation", second)
    assert "setting lexical_weight: 1.0, then 0.0" in result.output
    result = run(*given, "--settings", folder / "new.toml")
    assert "setting intention_weight: 0.5, then 4.0" in result.output
    assert "channel: fused, then lexical" in run(*given, "--after-channel", "lexical").output
    assert "1 rarer queries were left out" in run(*given, "--most", 1, "--after-channel", "lexical").output


def test_what_is_refused(folder):
    given = (folder / "engine", "--queries", folder / "log.txt")
    assert "the same engine" in str(run(*given).exception)
    (folder / "build.toml").write_text("[training]\nmax_steps = 1\n")
    problem = run(*given, "--settings", folder / "build.toml").exception
    assert isinstance(problem, InputError)
    assert "how an engine is built" in str(problem)
    (folder / "wrong.toml").write_text("[retrieval]\nweight = 1\n")
    assert isinstance(run(*given, "--settings", folder / "wrong.toml").exception, SettingsError)
