"""`intently check`: what it says, in three forms, and its exit code."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from intently.cli import app
from intently.cli.shared import feed_of
from intently.errors import InputError, SettingsError

FEEDS = Path(__file__).parents[1] / "catalog" / "feeds"


def run(*arguments: object, input: str | None = None):
    return CliRunner().invoke(app, ["check", *map(str, arguments)], input=input)


def test_a_feed_that_would_do():
    result = run(FEEDS / "gmc_product_feed.tsv")
    assert result.exit_code == 0
    for said in ("8 ads, 6 of them active", "google-merchant", "item_group_id", "out_of_stock", "Shopping_ads",
                 "2 ads are variants of 1 groups", "Latin 100%"):  # fmt: skip
        assert said in result.output


def test_problems_are_told_by_kind(tmp_path):
    path = tmp_path / "ads.tsv"
    rows = "".join(f"a{at}\tTitle {at}\tx{at}\n" for at in range(50)) + "b\t\t1\nc\t电热水壶\t1\n"
    path.write_text("ad_id\ttitle\tbid\n" + rows, encoding="utf-8")
    found = json.loads(run(path, "--json").stdout)
    assert (found["would_build"], found["num_ads"], found["num_wrong"]) == (False, 1, 51)
    kinds = [(kind["field"], kind["problem"], kind["num_rows"], len(kind["examples"])) for kind in found["problems"]]
    assert kinds == [("bid", "… is not a number", 50, 3), ("title", "empty", 1, 1)]
    assert found["scripts"] == {"Han (Chinese)": 1.0}
    assert run(path).exit_code == 1
    assert run(path, "--skip-bad").exit_code == 0


def test_no_active_ad_and_no_ads(tmp_path):
    path = tmp_path / "ads.tsv"
    path.write_text("ad_id\ttitle\tstatus\na\tb\tpaused\n", encoding="utf-8")
    assert json.loads(run(path, "--json").stdout)["why_not"] == "no ad is active"
    path.write_text("ad_id\ttitle\n", encoding="utf-8")
    result = run(path, "--json")
    assert (result.exit_code, json.loads(result.stdout)["why_not"]) == (1, "there are no ads")
    assert isinstance(run(tmp_path / "none.tsv").exception, InputError)


def test_html_needs_nothing_else_and_shows_text_as_it_is(tmp_path):
    path, html = tmp_path / "ads.csv", tmp_path / "check.html"
    path.write_text('id,title,Ad schedule\na,"<script>x</script>[/b] Kettle & Co",z\n', encoding="utf-8")
    assert run(path, "--html", html).exit_code == 0
    text = html.read_text(encoding="utf-8")
    assert "Kettle &amp; Co" in text and "<script" not in text and "http" not in text.replace("http-equiv", "")
    assert 'class="loud"' in text and "Ad schedule" in text


def test_several_files_globs_and_standard_input(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.tsv").write_text(f"ad_id\ttitle\n{name}\tKettle\n", encoding="utf-8")
    found = json.loads(run(tmp_path / "*.tsv", "-", "--json", input="ad_id,title\nc,KETTLE\n").stdout)
    assert [file["num_ads"] for file in found["files"]] == [1, 1, 1]
    assert (found["num_same_titles"], found["same_titles"]) == (2, [["Kettle", ["a", "b", "c"]]])


def test_options_and_settings_say_what_a_file_does_not(tmp_path):
    ads, settings = tmp_path / "ads.csv", tmp_path / "settings.toml"
    ads.write_text("id,title,Max CPC,Cpc bid\na,b,1.234,5\n", encoding="utf-8")
    assert isinstance(run(ads).exception, InputError)
    found = json.loads(run(ads, "--map", "Max CPC=bid", "--decimal", "comma", "--json").stdout)
    assert found["samples"][0]["bid"] == 1234
    settings.write_text(
        '[columns]\n"Max CPC" = "bid"\n[feed]\ndecimal = "point"\n[training]\nmax_steps = 1\n', encoding="utf-8"
    )
    found = json.loads(run(ads, "--settings", settings, "--json").stdout)
    assert found["samples"][0]["bid"] == 1.234 and found["files"][0]["loud"] == ["Cpc bid"]
    assert feed_of("", ["a=title"], "comma", "", settings)[1] == {"Max CPC": "bid", "a": "title"}
    settings.write_text("[columns]\nbid = 1\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="'columns' is a table of texts"):
        feed_of("", [], "", "", settings)
    assert isinstance(run(ads, "--format", "excel").exception, InputError)


def test_near_duplicates(tmp_path):
    """One word is another one, or the order is: in English and in Chinese; variants of a group are told as such."""
    titles = ["Electric kettle 1.7 litres red", "Electric kettle 1.7 litres blue", "Red electric kettle, 1.7 litres",
              "ELECTRIC KETTLE 1.7 LITRES RED", "Glass kettle 1.7 litres of steel", "电热水壶 红色", "电热水壶 蓝色",
              "Kettle red", "Kettle blue", "Trail running shoes for men", "Trail running shoes for women"]  # fmt: skip
    path = tmp_path / "ads.tsv"
    rows = "".join(f"a{at}\t{title}\t{'g' if at > 8 else ''}\n" for at, title in enumerate(titles))
    path.write_text("ad_id\ttitle\titem_group_id\n" + rows, encoding="utf-8")
    found = json.loads(run(path, "--json").stdout)
    assert [pair[:2] for pair in found["near_titles"]] == [["a0", "a1"], ["a0", "a2"], ["a5", "a6"]]
    assert (found["num_near_titles"], found["num_same_titles"], found["num_variants"]) == (3, 1, 2)
    assert "3 ads have nearly the title of an earlier one" in run(path).output


def test_keyword_conflicts_and_long_titles(tmp_path):
    path = tmp_path / "ads.tsv"
    path.write_text(
        f"ad_id\ttitle\tkeywords\nk\tKettle\tused kettle|kettle|-used\nl\t{'x' * 301}\t\n", encoding="utf-8"
    )
    found = json.loads(run(path, "--json").stdout)
    assert found["keyword_conflicts"] == [["k", "used kettle", "used"]]
    assert found["long_titles"] == ["l"]
    assert re.search("negative keywords of 1 ads", run(path).output)
