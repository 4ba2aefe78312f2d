"""`intently augment`, `read-pages`, `build --pages` and `experiment bridge`: what they write, and what goes wrong.

(What a build with BRIDGE makes is tested in tests/building, the experiment in tests/experiments.)
"""

import json
import re
from itertools import combinations
from pathlib import Path

import pytest

pytest.importorskip("torch")

from test_cli import Outcome, assert_refused, files_of, inputs, intently  # noqa: F401 - a fixture
from test_cli_experiment import NAMES, folder, given, last_line  # noqa: F401 - a fixture

from intently.build.augmentation.augmentation import Augmentation
from intently.build.ocr import reading
from intently.catalog import read_ads
from intently.catalog.pages import load_pages
from intently.errors import InputError
from intently.types import Span


def page(ad_id: str, *texts: str) -> str:
    spans = [{"text": text, "confidence": 0.95} for text in texts]
    return json.dumps({"ad_id": ad_id, "landing_spans": spans}, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("command", ["augment", "read-pages", "experiment bridge"])
def test_every_command_has_help(command):
    outcome = intently(*command.split(), "--help")
    assert outcome.code == 0
    assert f"Usage: intently {command}" in outcome.out


# Augmenting.


def test_augmenting_without_a_model_finds_keywords_and_says_so(folder):  # noqa: F811
    out = folder / "augmentation.jsonl.gz"
    outcome = intently("augment", "--ads", folder / "ads.tsv", "--clicks", folder / "clicks.tsv", "--out", out)
    assert outcome.code == 0, outcome.err
    assert "note: no language model is named ('queries.model.name'), so no queries were written" in outcome.err
    assert f"{out}: 9 ads" in outcome.out
    assert "queries: 0 for 0 ads" in outcome.out
    found = Augmentation.load(out, read_ads(folder / "ads.tsv").catalog)
    num_keywords, num_ads = sum(map(len, found.keywords)), sum(map(bool, found.keywords))
    assert f"keywords: {num_keywords} for {num_ads} ads" in outcome.out
    assert num_ads >= 8
    assert any("扫地机器人" in keyword for keyword in found.keywords[3])
    assert not any(found.queries)
    report = json.loads((folder / "augmentation.report.json").read_text(encoding="utf-8"))
    assert (report["num_queries"], report["query_model"]) == (0, None)
    assert "augmentation.report.json" in outcome.out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--ads", "none.tsv"], ["none.tsv", "no such file"]),
        (["--ads", "ads.tsv", "--settings", "wrong.toml"], ["wrong.toml", "unknown setting 'model'"]),
        (["--ads", "ads.tsv", "--settings", "none.toml"], ["none.toml", "cannot be read"]),
    ],
)
def test_wrong_input_of_augment(folder, options, told):  # noqa: F811
    (folder / "wrong.toml").write_text('model = "mine"\n')
    paths = [option if option.startswith("--") else folder / option for option in options]
    assert_refused(last_line(intently("augment", *paths, "--out", folder / "out.jsonl")), *told)
    assert not (folder / "out.jsonl").exists()


def test_augment_says_where_it_cannot_write(folder):  # noqa: F811
    outcome = intently("augment", "--ads", folder / "ads.tsv", "--out", folder / "none" / "out.jsonl")
    assert_refused(last_line(outcome), "out.jsonl", "cannot be written")


# Pages.


def build(inputs: Path, out: Path, *more: object) -> Outcome:  # noqa: F811
    return intently(
        "build", "--ads", inputs / "ads.tsv", "--clicks", inputs / "clicks.tsv", "--out", out,
        "--settings", inputs / "settings.toml", *more,
    )  # fmt: skip


def test_a_build_joins_pages_and_tells_its_stages_in_sentences(inputs, tmp_path):  # noqa: F811
    pages = tmp_path / "pages.jsonl"
    pages.write_text(page("a1", "Warranty 5 years") + page("a4", "保修三年", "静音"), encoding="utf-8")
    outcome = build(inputs, tmp_path / "engine", "--pages", pages)
    assert outcome.code == 0, outcome.err
    assert "ocr spans kept: 3" in outcome.out
    for query, ad in (("warranty", "a1"), ("保修", "a4")):
        answer = json.loads(intently("query", tmp_path / "engine", query, "--json", "--channel", "lexical").out)
        assert [one["ad_id"] for one in answer["ads"]] == [ad]
    first_page, *told = outcome.err.splitlines()[1:]  # after the number of ads
    assert "ads.tsv: tsv, plain; ad_id → ad_id" in first_page
    lines = [re.fullmatch(r"([A-Z][^:]*): done in [\d.]+ s(?:, .*)?", line) for line in told]
    stages = [line[1] for line in lines if line]
    assert len(stages) == len([line for line in told if " of " not in line])  # but for slow stages
    assert stages.index("Reading the ads") < stages.index("Cleaning pages") < stages.index("Indexing")
    assert "already built" in build(inputs, tmp_path / "engine", "--pages", pages).err
    before = files_of(tmp_path / "engine")
    assert build(inputs, tmp_path / "engine").code == 0  # without them it is another engine
    assert files_of(tmp_path / "engine")["catalog.arrow"] != before["catalog.arrow"]


WRONG_PAGES = [
    (page("a1") + page("a77", "text"), ["pages.jsonl: a page of the ad 'a77', which is not in the catalog"]),
    (page("a1") + "{\n", ["pages.jsonl:2", "not valid JSON"]),
    (page("a1") + '{"ad_id": "a2"}\n', ["pages.jsonl:2 field 'landing_spans'", "not a list of spans"]),
    (page("a1") + "\n" + page("a1"), ["pages.jsonl:3 field 'ad_id'", "ad 'a1' is on line 1 already"]),
    (None, ["pages.jsonl", "no such file"]),
]


@pytest.mark.parametrize(("text", "told"), WRONG_PAGES)
def test_a_wrong_file_of_pages_is_named(inputs, tmp_path, text, told):  # noqa: F811
    pages = tmp_path / "pages.jsonl"
    if text is not None:
        pages.write_text(text, encoding="utf-8")
    assert_refused(last_line(build(inputs, tmp_path / "engine", "--pages", pages)), *told)
    assert not (tmp_path / "engine").exists()


def test_pages_of_ads_that_are_not_there_are_skipped_with_bad_rows(inputs, tmp_path):  # noqa: F811
    pages = tmp_path / "pages.jsonl"
    pages.write_text(page("a77", "text") + page("a1", "Warranty") + page("没有", "字"), encoding="utf-8")
    outcome = build(inputs, tmp_path / "engine", "--pages", pages, "--skip-bad")
    assert outcome.code == 0, outcome.err
    assert "note: 2 pages left out: their ads are not in the catalog" in outcome.err
    assert "ocr spans kept: 1" in outcome.out


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('enabled = true\naugmentation_file = "none.jsonl"', ["none.jsonl", "check 'bridge.augmentation_file'"]),
        ('enabled = true\nkind = "hugging-face"', ["'retrieval.runtime' is 'onnx-int8'", "it takes 'torch'"]),
        ("max_generated = 0", ["'max_generated' is 0"]),
        ('kind = "huge"', ["'kind' is 'huge'", "compact"]),
    ],
)
def test_wrong_settings_of_the_bridge_are_told_before_the_build(inputs, tmp_path, table, told):  # noqa: F811
    text = (inputs / "settings.toml").read_text() + f"[bridge]\n{table}\n"
    (tmp_path / "wrong.toml").write_text(text)
    outcome = intently(
        "build", "--ads", inputs / "ads.tsv", "--out", tmp_path / "engine", "--settings", tmp_path / "wrong.toml"
    )
    assert_refused(last_line(outcome), *told)
    assert not (tmp_path / "engine").exists()


# Reading pages.


class FakeReader:
    """Reads what is written in a file, and refuses one that is empty."""

    def __init__(self, settings) -> None:
        self.settings = settings

    def read(self, path: Path) -> tuple[Span, ...]:
        if not (text := path.read_text(encoding="utf-8")):
            raise InputError("not an image that can be read", path=path)
        return tuple(Span(line, 0.5) for line in text.splitlines())


@pytest.fixture
def pictures(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(reading, "PageReader", FakeReader)
    folder = tmp_path / "pictures"  # noqa: F811
    folder.mkdir()
    (folder / "a1.png").write_text("Free bag\n送货", encoding="utf-8")
    (folder / "灯.jpg").write_text("台灯", encoding="utf-8")
    (folder / "notes.txt").write_text("no page")
    return folder


def test_pages_are_read_into_a_file_that_a_build_takes(pictures, tmp_path):
    outcome = intently("read-pages", pictures, "--out", tmp_path / "pages.jsonl")
    assert outcome.code == 0, outcome.err
    assert f"{tmp_path / 'pages.jsonl'}: 2 pages" in outcome.out
    assert "Reading pages: done in" in outcome.err
    read = {one.ad_id: [span.text for span in one.spans] for one in load_pages(tmp_path / "pages.jsonl")}
    assert read == {"a1": ["Free bag", "送货"], "灯": ["台灯"]}


def test_a_page_that_cannot_be_read_leaves_the_file_as_it_was(pictures, tmp_path):
    (pictures / "bad.png").touch()
    out = tmp_path / "pages.jsonl"
    out.write_text(page("old"), encoding="utf-8")
    assert_refused(last_line(intently("read-pages", pictures, "--out", out)), "bad.png", "not an image")
    assert out.read_text(encoding="utf-8") == page("old")
    assert {path.name for path in tmp_path.iterdir()} == {"pages.jsonl", "pictures"}


@pytest.mark.parametrize(
    ("directory", "told"),
    [("none", ["none", "not a directory of pages"]), ("empty", ["empty", "no pages", "give files that end in .png"])],
)
def test_a_directory_without_pages_is_told(pictures, tmp_path, directory, told):
    (tmp_path / "empty").mkdir()
    assert_refused(last_line(intently("read-pages", tmp_path / directory, "--out", tmp_path / "pages.jsonl")), *told)
    assert not (tmp_path / "pages.jsonl").exists()


def test_pictures_of_text_are_read(tmp_path):
    pytest.importorskip("rapidocr")
    draw, font = pytest.importorskip("PIL.ImageDraw"), pytest.importorskip("PIL.ImageFont")
    from PIL import Image

    picture = Image.new("RGB", (480, 120), "white")
    draw.Draw(picture).text((20, 30), "Robot vacuum cleaner", fill="black", font=font.load_default(32))
    (tmp_path / "pictures").mkdir()
    picture.save(tmp_path / "pictures" / "a3.png")
    outcome = intently("read-pages", tmp_path / "pictures", "--out", tmp_path / "pages.jsonl")
    assert outcome.code == 0, outcome.err
    (read,) = load_pages(tmp_path / "pages.jsonl")
    assert read.ad_id == "a3"
    assert " ".join(span.text for span in read.spans) == "Robot vacuum cleaner"


# The experiment.


def bridge(folder, *arguments: object) -> Outcome:  # noqa: F811
    return intently("experiment", "bridge", "--out", folder / "out", *arguments)


@pytest.mark.parametrize("options", [each for size in (1, 2) for each in combinations(NAMES, size)])
def test_the_three_files_belong_together(folder, options):  # noqa: F811
    outcome = bridge(folder, *given(folder, *options))
    assert_refused(outcome, "--ads, --clicks and --test belong together", "give all three, or none for a world")
    assert not (folder / "out").exists()


def test_bridge_takes_no_taxonomy(folder):  # noqa: F811
    outcome = bridge(folder, "--taxonomy", folder / "ads.tsv")
    assert outcome.code == 2
    assert "--taxonomy" in outcome.err


@pytest.mark.parametrize("missing", NAMES)
def test_a_file_that_is_not_there_is_told(folder, missing):  # noqa: F811
    (folder / NAMES[missing]).unlink()
    assert_refused(last_line(bridge(folder, *given(folder, *NAMES))), NAMES[missing], "no such file")
    assert not (folder / "out").exists()


@pytest.mark.parametrize("world", [True, False])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('baselines = "dpr, bm26"', ["'bm26'"]),
        ("steps = 3", ["unknown setting 'steps'"]),
        ("[budget]\nnum_steps = 0", ["'num_steps' is 0"]),
        ("[build.bridge.training]\nnum_steps = 0", ["'num_steps' is 0"]),
        ('[build.bridge.encoder]\ngate = "door"', ["'gate' is 'door'"]),
        ("[torn", ["not valid TOML"]),
        (None, ["cannot be read"]),
    ],
)
def test_wrong_settings_are_told_before_anything_is_done(folder, world, text, told):  # noqa: F811
    path = folder / "settings.toml"
    if text is not None:
        path.write_text(text)
    outcome = bridge(folder, "--settings", path, *([] if world else given(folder, *NAMES)))
    assert_refused(outcome, str(path), *told)
    assert not (folder / "out").exists()
