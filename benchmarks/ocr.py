"""Measure OCR cleaning: on noised text whose truth is known, and on rendered pages photographed badly and read again.

    python benchmarks/ocr.py text [--ads FILE] [--spans 1000] [--levels 0.02 0.05 0.1] [--high 0.9] [--model NAME]
    python benchmarks/ocr.py pages [--ads FILE] [--pages 6] [--severities 0 1 1.25 1.5]

`--ads` is any catalogue; without it a simulated world of 20,000 ads is made. Half of the ads make the lexicon (all that
is written on them), the titles (for pages: titles and descriptions) of the other half are the test, but for those that
are also in the first. English and Chinese texts have figures of their own. The character error rate (CER) is
Levenshtein's distance over the truth's length, on normalised text; spaces next to Chinese do not count.

`text` draws two kinds of noise. *glyphs*: a character becomes one whose picture in a font is near, two become one or
one two, some are lost, marks are added, spaces are lost. It shares nothing with the repair's table of lookalikes: the
nearest pictures are computed here. *world*: what the simulated world does to its own landing pages, by a short table of
its own. The level is the mean share of characters hit; the confidence falls with the damage and with the difficulty
that the damage was drawn from, with normal noise. `pages` needs the extra `ocr`; both need Pillow and matplotlib (for
its font), Chinese a font that has it. Seconds are of CPU time.
"""

import argparse
import json
import platform
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table

from intently.augment.ocr_repair import OcrRepairer
from intently.catalog import Catalog, read_ads
from intently.models.causal_lm import LanguageModelSettings
from intently.ocr.landing_pages import domain_lexicon
from intently.text.analyze import Analyzer
from intently.text.normalize import has_han, normalize
from intently.text.ocr_cleaning import Fate, OcrCleaner, OcrReport, OcrSettings
from intently.text.ocr_lexicon import OcrLexicon
from intently.types import Span
from intently.world import simulate_world
from intently.world.misspell import misread

GOOD = 0.05  # the greatest character error rate of a span that counts as recovered
CHINESE_FONTS = (
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",  # Debian: fonts-wqy-microhei
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",  # Debian: fonts-wqy-zenhei
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",  # Debian: fonts-noto-cjk
)
_MARKS = "|~_·•.,'`^*"


@dataclass(frozen=True)
class Noised:
    """A span as it was read, and what stands on the page."""

    span: Span
    truth: str


@dataclass(frozen=True)
class Figures:
    """What cleaning does to the spans of one language at one noise level; shares of 1."""

    noise: str
    language: str
    level: float
    num_spans: int
    cer_read: float  # over all spans, before
    doubtful: float  # share of the spans below `high`: what a threshold there drops
    good_as_read: float  # of the doubtful: those with a CER of at most GOOD as they were read
    recovered: float  # of the doubtful: kept, with a CER of at most GOOD after cleaning
    wrong: float  # of the doubtful: kept, with a greater CER
    dropped: float  # of the doubtful
    damaged: float  # of the spans read without error: changed into something wrong
    lost: float  # of the spans read without error: dropped
    cer_before: float  # of the doubtful spans that cleaning keeps, as read
    cer_after: float  # the same, cleaned
    recovered_below_half: float  # recovered, of the spans with a confidence below 0.5
    spans_per_second: float


class GlyphNoise:
    """Takes characters for others whose pictures in a font are near."""

    def __init__(self, font: str, characters: Sequence[str], size: int = 24) -> None:
        """Compare the pictures of all `characters` (and pairs of Latin letters): quadratic in their number."""
        face = ImageFont.truetype(font, size)
        signs = [*characters]
        latin = [char for char in characters if char.isascii() and char.islower()]
        signs += [a + b for a in latin for b in latin]
        pictures = np.stack([self._picture(face, sign, size) for sign in signs])
        self._alike: dict[str, tuple[list[str], list[float]]] = {}
        for first in range(0, len(signs), 1024):
            near = pictures[first : first + 1024] @ pictures.T
            for row, sign in enumerate(signs[first : first + 1024], first):
                near[row - first, row] = -1
                best = np.argsort(-near[row - first])[:6]
                best = [at for at in best if not (len(sign) == 2 == len(signs[at]))]
                weights = np.exp(20 * (near[row - first, best] - 1)) if best else []
                if len(sign) == 1 or (best and max(near[row - first, best]) > 0.9):
                    self._alike[sign] = [signs[at] for at in best], list(weights)

    def read(self, text: str, rate: float, rng: random.Random) -> str:
        """Return `text` with about `rate` of its characters hit."""
        read, at = [], 0
        while at < len(text):
            step = 2 if text[at : at + 2] in self._alike and rng.random() < 0.5 else 1
            sign = text[at : at + step]
            kind = rng.random() if rng.random() < rate * step else None
            if kind is None:
                read.append(sign)
            elif sign == " ":
                read.append("" if kind < 0.8 else " " + rng.choice(_MARKS) + " ")
            elif kind < 0.8 and self._alike.get(sign, ([], []))[0]:
                read.append(rng.choices(*self._alike[sign])[0])
            elif kind < 0.9:
                read.append(sign[1:])
            else:
                read.append(sign + rng.choice(_MARKS))
            at += step
        return "".join(read)

    @staticmethod
    def _picture(face: ImageFont.FreeTypeFont, sign: str, size: int) -> np.ndarray:
        image = Image.new("L", (size * 3 // 2, size * 3 // 2))
        ImageDraw.Draw(image).text((size * 3 // 4, size * 9 // 8), sign, font=face, fill=255, anchor="ms")
        pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(1.2)), dtype=np.float32).ravel()
        return pixels / max(float(np.linalg.norm(pixels)), 1e-6)


def glyph_spans(truths: Sequence[str], noise: GlyphNoise, level: float, rng: random.Random) -> Iterator[Noised]:
    """Yield each text as read at a difficulty of its own."""
    for truth in truths:
        difficulty = rng.betavariate(1.3, 3.0)  # mean 0.3
        read = noise.read(truth, level * difficulty / 0.3, rng)
        share = Levenshtein.distance(read, truth) / len(truth)
        confidence = 1 - 1.5 * share - 0.35 * difficulty + rng.gauss(0, 0.07)
        yield Noised(Span(read, min(0.99, max(0.01, confidence))), truth)


def world_spans(truths: Sequence[str], rng: random.Random) -> Iterator[Noised]:
    """Yield lines as the simulated world reads its landing pages: its lines have 24 characters at least."""
    for truth in truths:
        words = truth.split(" ")
        line = words[0][:24]
        for word in words[1:]:
            line = f"{line} {word}" if len(line) + len(word) < 24 else line
        for number, span in enumerate(misread(line, rng)):
            yield Noised(span, line if number == 0 else "")  # what follows the one line is junk


def measure(noise: str, language: str, level: float, spans: Sequence[Noised], cleaner: OcrCleaner) -> Figures:
    """Clean spans and compare them with the truth."""
    settings = cleaner.settings
    start = time.process_time()
    cleaned = [cleaner.clean(each.span) for each in spans]
    seconds = time.process_time() - start
    truths = [normalize(each.truth) for each in spans]
    before = np.array([cer(each.span.text, truth) for each, truth in zip(spans, truths, strict=True)])
    after = np.array([cer(each.text, truth) for each, truth in zip(cleaned, truths, strict=True)])
    kept = np.array([each.fate is not Fate.DROPPED for each in cleaned])
    doubtful = np.array([each.span.confidence < settings.high for each in spans])
    below_half = np.array([each.span.confidence < 0.5 for each in spans])
    real = np.array([bool(truth) for truth in truths])
    lengths = np.array([len(truth) for truth in truths])
    clean, good = real & (before == 0), after <= GOOD
    saved = doubtful & kept & real
    return Figures(
        noise,
        language,
        level,
        len(spans),
        share((before * lengths)[real], lengths[real]),
        mean(doubtful[real]),
        mean((before <= GOOD)[doubtful & real]),
        mean((kept & good)[doubtful & real]),
        mean((kept & ~good)[doubtful]),
        mean(~kept[doubtful & real]),
        mean((kept & (after > 0))[clean]),
        mean(~kept[clean]),
        share((before * lengths)[saved], lengths[saved]),
        share((after * lengths)[saved], lengths[saved]),
        mean((kept & good)[below_half & real]),
        len(spans) / seconds,
    )


def cer(read: str, truth: str) -> float:
    """Return the character error rate of a text against normalised truth."""
    return num_errors(read, truth) / max(len(truth), 1)


def num_errors(read: str, truth: str) -> int:
    """Return the edits between a text and normalised truth. Spaces next to Chinese say nothing and do not count."""
    return Levenshtein.distance(unspaced(normalize(read)), unspaced(truth))


def unspaced(text: str) -> str:
    """Return `text` without the spaces next to Chinese."""
    return re.sub(r"(?<=[\u4e00-\u9fff]) | (?=[\u4e00-\u9fff])", "", text)


def mean(values: np.ndarray) -> float:
    """Return the mean, NaN of nothing."""
    return float(values.mean()) if len(values) else float("nan")


def share(part: np.ndarray, whole: np.ndarray) -> float:
    """Return the ratio of two sums, NaN over nothing."""
    return float(part.sum() / whole.sum()) if len(whole) else float("nan")


def load_ads(path: Path | None) -> Catalog:
    """Read the catalogue, or simulate one."""
    if path is not None:
        return read_ads(path).catalog
    with TemporaryDirectory() as directory:
        simulate_world(Path(directory) / "world", 20_000, seed=1)
        return read_ads(next((Path(directory) / "world").glob("ads*"))).catalog


def halves(catalog: Catalog) -> tuple[OcrLexicon, Catalog]:
    """Return the lexicon of every second ad, and those of the other ads whose titles are not among them."""
    titles = catalog.strings("title")
    known = set(titles[::2])
    test = [row for row in range(1, len(titles), 2) if titles[row] not in known]
    return domain_lexicon(Catalog(catalog.table.take(list(range(0, len(titles), 2))))), Catalog(
        catalog.table.take(test)
    )


def chinese_font(given: str | None) -> str | None:
    """Return a font with Chinese characters, None if there is none here."""
    return given or next((font for font in CHINESE_FONTS if Path(font).exists()), None)


def latin_font() -> str:
    """Return the font that comes with matplotlib."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


def run_text(options: argparse.Namespace, console: Console) -> list[Figures]:
    """Measure on noised text."""
    lexicon, test = halves(load_ads(options.ads))
    titles = sorted(set(test.strings("title")))
    console.print(f"{len(lexicon):,} words; {len(titles):,} titles to test")
    settings = OcrSettings(high=options.high, low=options.low, min_known=options.min_known)
    repair = OcrRepairer(LanguageModelSettings(name=options.model).load()) if options.model else None
    rng = random.Random(0)
    rows = []
    latin = [chr(code) for code in range(33, 127) if chr(code).isalnum()]
    for language in ("en", "zh"):
        chosen = [title for title in titles if has_han(title) == (language == "zh")]
        chosen = rng.sample(chosen, min(options.spans, len(chosen)))
        font = latin_font() if language == "en" else chinese_font(options.chinese_font)
        if not chosen:
            console.print(f"{language}: the catalogue has no such titles")
            continue
        if font is None:
            console.print("zh: no Chinese font; install Debian's fonts-wqy-microhei or give --chinese-font")
        else:
            common = [bytes([a, b]).decode("gb2312", "ignore") for a in range(0xB0, 0xD8) for b in range(0xA1, 0xFF)]
            noise = GlyphNoise(font, latin + [char for char in common if char] if language == "zh" else latin)
            for level in options.levels:
                spans = list(glyph_spans(chosen, noise, level, rng))
                rows.append(measure("glyphs", language, level, spans, OcrCleaner(lexicon, settings, repair)))
        spans = list(world_spans(chosen, rng))
        rows.append(measure("world", language, float("nan"), spans, OcrCleaner(lexicon, settings, repair)))
    return rows


@dataclass(frozen=True)
class PageFigures:
    """What is read of pages of one language at one quality, and what cleaning leaves of it; shares of 1."""

    quality: str
    language: str
    num_pages: int
    num_spans: int
    mean_confidence: float
    doubtful: float  # share of the spans below `high`
    cer_read: float  # of whole pages: everything that was read
    cer_threshold: float  # without the doubtful spans
    cer_cleaned: float
    recall_read: float  # share of the pages' distinct terms that are in the text
    recall_threshold: float
    recall_cleaned: float
    precision_read: float  # share of the text's distinct terms that are on the page
    precision_threshold: float
    precision_cleaned: float
    report: str  # the fates of the spans
    seconds_per_page: float


def draw_page(title: str, price: str, description: str, font: str) -> tuple[Image.Image, str]:
    """Return a landing page 800 pixels wide, and its text."""
    page = Image.new("RGB", (800, 600), "white")
    pen = ImageDraw.Draw(page)
    pen.rectangle((0, 0, 800, 56), fill=(32, 64, 120))
    y, lines = 80, []
    for text, size, ink in ((title, 34, (20, 20, 20)), (price, 30, (190, 30, 30)), (description, 21, (70, 70, 70))):
        face = ImageFont.truetype(font, size)
        for line in wrapped(text, lambda part, face=face: face.getlength(part) <= 720):
            pen.text((40, y), line, font=face, fill=ink)
            lines.append(line)
            y += size * 3 // 2
        y += 16
    return page.crop((0, 0, 800, min(y + 40, 600))), " ".join(lines)


def wrapped(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Return a text in lines that fit, broken between words or Chinese characters."""
    lines = [""]
    for piece in re.findall(r"[\u4e00-\u9fff，。！？]|[^\u4e00-\u9fff，。！？\s]+\s*|\s+", text):
        if fits(lines[-1] + piece.rstrip()):
            lines[-1] += piece
        else:
            lines.append(piece)
    return [line.strip() for line in lines if line.strip()]


def photograph(page: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """Return a page as a bad photograph of it: skewed, small, blurred, pale, unevenly lit, noisy."""
    if not severity:
        return page
    width, height = page.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=float)
    moved = corners + rng.uniform(-0.03, 0.03, (4, 2)) * severity * width
    rows = [(*m, 1, 0, 0, 0, *(-c[0] * m)) for c, m in zip(corners, moved, strict=True)]
    rows += [(0, 0, 0, *m, 1, *(-c[1] * m)) for c, m in zip(corners, moved, strict=True)]
    bent = np.linalg.solve(np.array(rows), corners.T.ravel())
    image = page.transform(
        page.size, Image.Transform.PERSPECTIVE, bent.tolist(), Image.Resampling.BICUBIC, fillcolor="white"
    )
    image = image.rotate(rng.uniform(-2, 2) * severity, Image.Resampling.BICUBIC, fillcolor="white")
    shrink = 1 / (1 + 0.4 * severity)
    image = image.resize((int(width * shrink), int(height * shrink)), Image.Resampling.BILINEAR)
    image = image.filter(ImageFilter.GaussianBlur(0.9 * severity))
    pixels = np.asarray(image, dtype=float)
    light = np.linspace(1, 1 / (1 + 0.3 * severity), pixels.shape[1])[None, :, None]
    pixels = (255 - (255 - pixels) / (1 + 0.8 * severity)) * light + rng.normal(0, 5 * severity, pixels.shape)
    with BytesIO() as file:
        photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        photo.save(file, "JPEG", quality=max(10, int(80 - 30 * severity)))
        return Image.open(BytesIO(file.getvalue())).convert("RGB")


def run_pages(options: argparse.Namespace, console: Console) -> list[PageFigures]:
    """Measure on pages that are drawn, photographed badly, read by RapidOCR and cleaned."""
    from intently.ocr.reading import PageReader

    lexicon, test = halves(load_ads(options.ads))
    reader, analyzer = PageReader(), Analyzer()
    settings = OcrSettings(high=options.high, low=options.low, min_known=options.min_known)
    rows = []
    ads = [test.ad(row) for row in random.Random(0).sample(range(len(test)), min(len(test), 200))]
    for language in ("en", "zh"):
        font = latin_font() if language == "en" else chinese_font(options.chinese_font)
        if font is None:
            console.print("zh: no Chinese font; install Debian's fonts-wqy-microhei or give --chinese-font")
            continue
        chosen = [ad for ad in ads if has_han(ad.title + ad.description) == (language == "zh") and ad.description]
        for severity in options.severities:
            rng, cleaner = np.random.default_rng(0), OcrCleaner(lexicon, settings)
            texts: dict[str, list[str]] = {"truth": [], "read": [], "threshold": [], "cleaned": []}
            report, spans, seconds = OcrReport(), [], 0.0
            for ad in chosen[: options.pages]:
                number = f"{rng.integers(5, 3000)}.{rng.integers(10, 99)}"
                page, truth = draw_page(
                    ad.title, f"¥ {number}" if language == "zh" else f"$ {number}", ad.description, font
                )
                with TemporaryDirectory() as directory:
                    path = Path(directory) / f"{ad.ad_id}.png"
                    photograph(page, severity, rng).save(path)
                    start = time.process_time()
                    found = reader.read(path)
                    seconds += time.process_time() - start
                text, of_page = cleaner.clean_page(found)
                spans += found
                report += of_page
                texts["truth"].append(normalize(truth))
                texts["read"].append(" ".join(span.text for span in found))
                texts["threshold"].append(" ".join(span.text for span in found if span.confidence >= settings.high))
                texts["cleaned"].append(text)
            truths = texts.pop("truth")
            errors, recall, precision = {}, {}, {}
            for name, all_texts in texts.items():
                wrong = [num_errors(a, b) for a, b in zip(all_texts, truths, strict=True)]
                errors[name] = sum(wrong) / sum(map(len, truths))
                terms = [
                    (set(analyzer.terms(a)), set(analyzer.terms(b))) for a, b in zip(all_texts, truths, strict=True)
                ]
                common = sum(len(a & b) for a, b in terms)
                recall[name] = common / sum(len(b) for _, b in terms)
                precision[name] = common / max(sum(len(a) for a, _ in terms), 1)
            confidences = np.array([span.confidence for span in spans])
            fates = " ".join(f"{value}" for value in asdict(report).values())
            rows.append(
                PageFigures(
                    f"{severity:g}",
                    language,
                    len(truths),
                    len(spans),
                    mean(confidences),
                    mean(confidences < settings.high),
                    *errors.values(),
                    *recall.values(),
                    *precision.values(),
                    fates,
                    seconds / len(truths),
                )
            )
    return rows


def show(rows: Sequence[Figures] | Sequence[PageFigures], console: Console) -> None:
    """Print rows of one dataclass, each as a column."""
    table = Table(show_header=False)
    for name in asdict(rows[0]) if rows else ():
        values = [getattr(row, name) for row in rows]
        table.add_row(name, *(f"{value:.3g}" if isinstance(value, float) else f"{value}" for value in values))
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("text", "pages"))
    parser.add_argument("--ads", type=Path)
    parser.add_argument("--spans", type=int, default=1_000, help="titles tested in each language")
    parser.add_argument("--levels", type=float, nargs="+", default=[0.02, 0.05, 0.1])
    parser.add_argument("--high", type=float, default=OcrSettings.high)
    parser.add_argument("--low", type=float, default=OcrSettings.low)
    parser.add_argument("--min-known", type=float, default=OcrSettings.min_known)
    parser.add_argument("--pages", type=int, default=6, help="pages rendered in each language")
    parser.add_argument("--severities", type=float, nargs="+", default=[0.0, 1.0, 1.25, 1.5], help="of the photographs")
    parser.add_argument("--chinese-font")
    parser.add_argument("--model", help="the language model that repairs what the lexicon cannot, such as smollm2")
    options = parser.parse_args()
    console = Console(width=220)
    rows = run_text(options, console) if options.what == "text" else run_pages(options, console)
    show(rows, console)
    print(json.dumps({"date": str(date.today()), "machine": platform.machine(), "rows": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    main()
