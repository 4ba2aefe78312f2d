import json
import stat
import sys

import numpy as np
import pytest

from intently.build.ocr import reading
from intently.build.ocr.reading import PageReader, ReadingSettings, page_paths, read_pages, strips
from intently.catalog import Catalog, read_ads
from intently.catalog.pages import Page, load_pages, write_pages
from intently.errors import InputError, MissingDependencyError, SettingsError
from intently.live.landing_pages import clean_landing_pages, domain_lexicon, join_pages, landing_spans
from intently.text.ocr_cleaning import OcrCleaner, OcrReport, OcrSettings
from intently.types import Ad, Span

ADS = [
    Ad("a1", "Robot vacuum cleaner", landing_spans=(Span("old text", 0.9),)),
    Ad("a2", "扫地机器人 免费送货", description="扫地机器人 大吸力"),
    Ad("a3", "Electric kettle"),
]


class FakeReader(PageReader):
    def __init__(self, spans):
        self.settings, self._spans = ReadingSettings(), spans

    def read(self, path):
        return self._spans[path.name]


@pytest.fixture(scope="module")
def reader():
    pytest.importorskip("rapidocr")
    return PageReader()


class TestReader:
    """With the real engine, where it is installed."""

    @pytest.fixture
    def page(self, tmp_path):
        pillow = pytest.importorskip("PIL.Image")
        draw, font = pytest.importorskip("PIL.ImageDraw"), pytest.importorskip("PIL.ImageFont")
        image = pillow.new("RGB", (480, 3000), "white")
        pen, face = draw.Draw(image), font.load_default(32)
        pen.text((20, 20), "Robot vacuum cleaner", fill="black", font=face)
        pen.text((20, 2900), "Free shipping", fill="black", font=face)
        image.save(tmp_path / "a1.png")
        return tmp_path / "a1.png"

    def test_reads_a_page_longer_than_a_strip_in_order(self, reader, page):
        spans = reader.read(page)
        assert [span.text for span in spans] == ["Robot vacuum cleaner", "Free shipping"]
        assert all(0.8 < span.confidence <= 1 for span in spans)

    def test_reads_what_is_transparent_on_white(self, reader, page):
        from PIL import Image

        image = Image.open(page).convert("RGBA")
        pixels = np.asarray(image).copy()
        pixels[:, :, 3] = 255 - pixels[:, :, 0]
        pixels[:, :, :3] = 0  # black ink on nothing
        Image.fromarray(pixels).save(page)
        assert reader.read(page)[0].text == "Robot vacuum cleaner"

    def test_an_empty_page_has_no_spans(self, reader, tmp_path):
        from PIL import Image

        Image.new("RGB", (300, 200), "white").save(tmp_path / "white.png")
        assert reader.read(tmp_path / "white.png") == ()

    def test_refuses_what_is_no_image(self, reader, tmp_path):
        (tmp_path / "a1.png").write_text("no image")
        with pytest.raises(InputError, match=r"a1.png: not an image that can be read .*; give one of .png"):
            reader.read(tmp_path / "a1.png")
        with pytest.raises(InputError, match="not an image"):
            reader.read(tmp_path / "missing.png")

    def test_html_without_chromium_is_refused(self, reader, tmp_path):
        (tmp_path / "a1.html").write_text("<h1>Robot</h1>")
        with pytest.raises(MissingDependencyError, match=r"a1.html: HTML is rendered by Chromium, and none is named"):
            reader.read(tmp_path / "a1.html")


def test_says_how_to_install_what_is_missing(monkeypatch):
    monkeypatch.setattr(reading, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"rapidocr; run: pip install 'intently\[ocr\]'"):
        PageReader()


def test_a_wheel_without_models_is_refused_rather_than_let_download(monkeypatch):
    pytest.importorskip("rapidocr")
    monkeypatch.setattr(reading, "_MODELS", {"Det": "none.onnx"})
    with pytest.raises(MissingDependencyError, match=r"does not come with none.onnx"):
        PageReader()


def test_settings_are_checked():
    with pytest.raises(SettingsError, match="num_threads"):
        ReadingSettings(num_threads=0)


class TestChromium:
    """With a program in its place that answers as Chromium does."""

    def program(self, tmp_path, body):
        path = tmp_path / "chromium"
        path.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    @pytest.fixture
    def page(self, tmp_path):
        (tmp_path / "a 1.html").write_text("<h1>Robot</h1>")
        return tmp_path / "a 1.html"

    def test_renders(self, tmp_path, page):
        from intently.build.ocr.rendering import render_html

        told = "out = next(a for a in sys.argv if a.startswith('--screenshot=')).split('=', 1)[1]\n"
        told += "page = open(sys.argv[-1].removeprefix('file://')).read()\n"
        program = self.program(tmp_path, told + "open(out, 'w').write('\\n'.join([*sys.argv, page]))")
        render_html(page, tmp_path / "out.png", program, 800, 600, sandbox=False)
        said = (tmp_path / "out.png").read_text().splitlines()
        assert said[-1].endswith("<h1>Robot</h1>")
        assert "default-src 'none'" in said[-1]  # no scripts, no files, no network
        assert {"--window-size=800,600", "--no-sandbox", "--blink-settings=scriptEnabled=false"} <= set(said)

    def test_root_must_ask_for_it(self, tmp_path, page, monkeypatch):
        from intently.build.ocr import rendering

        program = self.program(tmp_path, "")
        monkeypatch.setattr(rendering, "_is_root", lambda: True)
        with pytest.raises(InputError, match=r"root renders HTML .*; run as another user, or .* --no-sandbox"):
            rendering.render_html(page, tmp_path / "out.png", program, 800, 600)

    def test_its_failure_is_told(self, tmp_path, page):
        from intently.build.ocr.rendering import render_html

        program = self.program(tmp_path, "sys.exit('no display')")
        with pytest.raises(InputError, match=r"a 1.html: Chromium made no image of it \(no display\)"):
            render_html(page, tmp_path / "out.png", program, 800, 600, sandbox=False)

    def test_must_be_there(self, tmp_path, page):
        from intently.build.ocr.rendering import render_html

        with pytest.raises(MissingDependencyError, match="there is no Chromium at"):
            render_html(page, tmp_path / "out.png", str(tmp_path / "nowhere"), 800, 600)


class TestPaths:
    def test_are_those_of_images_and_html_in_order(self, tmp_path):
        for name in ("b.png", "a.JPG", "c.html", "notes.txt"):
            (tmp_path / name).touch()
        assert [path.name for path in page_paths(tmp_path)] == ["a.JPG", "b.png", "c.html"]

    def test_one_page_an_ad(self, tmp_path):
        for name in ("a.png", "a.jpg"):
            (tmp_path / name).touch()
        with pytest.raises(InputError, match=r"a.png: the same ad as a.jpg"):
            page_paths(tmp_path)

    def test_there_must_be_some(self, tmp_path):
        with pytest.raises(InputError, match="no pages"):
            page_paths(tmp_path)
        with pytest.raises(InputError, match="not a directory"):
            page_paths(tmp_path / "none")
        with pytest.raises(InputError, match=r"a.txt: neither an image nor HTML"):
            page_paths([tmp_path / "a.txt"])


def test_pages_are_read_written_and_joined_to_their_ads(tmp_path):
    for name in ("a1.png", "a2.jpg"):
        (tmp_path / name).touch()
    reader = FakeReader(
        {"a1.png": (Span("R0bot vacuurn", 0.75), Span("Sale", 0.9375)), "a2.jpg": (Span("免费迭货", 0.625),)}
    )
    told = []
    pages = list(read_pages(tmp_path, reader, lambda *call: told.append(call)))
    assert pages[1] == Page("a2", (Span("免费迭货", 0.625),))
    assert told == [("Reading pages", 0, 2, "a1.png"), ("Reading pages", 1, 2, "a2.jpg"), ("Reading pages", 2, 2, "")]

    assert write_pages(pages, tmp_path / "pages.jsonl") == 2
    records = [json.loads(line) for line in (tmp_path / "pages.jsonl").read_text(encoding="utf-8").splitlines()]
    with (tmp_path / "ads.jsonl").open("w", encoding="utf-8") as file:  # as the catalog's reader takes them
        file.writelines(json.dumps(record | {"title": "t"}) + "\n" for record in records)
    assert list(landing_spans(read_ads(tmp_path / "ads.jsonl").catalog)) == [page.spans for page in pages]

    catalog = join_pages(Catalog.from_ads(ADS), pages)
    assert list(landing_spans(catalog)) == [pages[0].spans, pages[1].spans, ()]
    cleaned = clean_landing_pages(catalog, OcrCleaner(domain_lexicon(catalog), OcrSettings()))
    assert cleaned.texts == ("robot vacuum Sale", "免费送货", "")
    assert cleaned.report == OcrReport(kept=1, repaired_by_lexicon=2)

    with pytest.raises(InputError, match="a page of the ad 'a9'"):
        join_pages(catalog, [Page("a9", ())])


def test_the_lexicon_is_what_is_written_and_intended_not_what_was_read():
    lexicon = domain_lexicon(Catalog.from_ads(ADS), intentions=["quiet fan"])
    assert "quiet" in lexicon
    assert "kettle" in lexicon
    assert "old" not in lexicon


def test_progress_of_cleaning_ends_at_the_number_of_ads():
    told = []
    catalog = Catalog.from_ads(ADS)
    clean_landing_pages(
        catalog, OcrCleaner(domain_lexicon(catalog), OcrSettings()), lambda *call: told.append(call[:3])
    )
    assert told == [("Cleaning pages", 0, 3), ("Cleaning pages", 3, 3)]


def test_strips_make_the_page_again_and_cut_between_lines():
    pixels = np.full((5000, 40, 3), 255, dtype=np.uint8)
    lines = range(0, 4500, 50)
    for top in lines:
        pixels[top : top + 30, 5:30] = 0
    cut = strips(pixels)
    assert all(len(strip) <= 2000 for strip in cut)
    assert np.array_equal(np.concatenate(cut), pixels[:4495])  # the last line ends at 4480
    assert all((strip[0] == 255).all() or number == 0 for number, strip in enumerate(cut))
    assert strips(pixels[4800:]) == []
    assert [len(strip) for strip in strips(pixels[:100])] == [95]


def test_pages_are_written_and_loaded(tmp_path):
    pages = [Page("a1", (Span("扫地机器人", 0.5), Span("sale", 1.0))), Page("a2", ())]
    path = tmp_path / "pages.jsonl"
    assert write_pages(pages, path) == 2
    assert load_pages(path) == pages


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", ":2: not valid JSON"),
        ("[]", ":2 field 'ad_id': no page of an ad"),
        ('{"ad_id": 1, "landing_spans": []}', ":2 field 'ad_id': no page of an ad"),
        ('{"ad_id": "a", "landing_spans": "text"}', ":2 field 'landing_spans': not a list of spans"),
        ('{"ad_id": "a", "landing_spans": [{"text": "x", "confidence": "?"}]}', "field 'landing_spans'"),
    ],
)
def test_a_line_that_is_no_page(tmp_path, line, told):
    path = tmp_path / "pages.jsonl"
    path.write_text('{"ad_id": "a1", "landing_spans": []}\n' + line + "\n")
    with pytest.raises(InputError, match=told):
        load_pages(path)
