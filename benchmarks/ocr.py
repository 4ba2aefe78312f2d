"""Measure OCR cleaning: on noised text whose truth is known, and on rendered pages photographed badly and read again.

    python benchmarks/ocr.py text [--ads FILE] [--spans 1000] [--levels 0.02 0.05 0.1] [--high 0.9] [--model NAME]
    python benchmarks/ocr.py pages [--ads FILE] [--pages 6] [--severities 0 1 1.25 1.5]

`--ads` is any catalog; without it a simulated world of 20,000 ads is made. Half of the ads make the lexicon (all that
is written on them), the titles (for pages: titles and descriptions) of the other half are the test, but for those that
are also in the first. English and Chinese texts have figures of their own. The character error rate (CER) is
Levenshtein's distance over the truth's length, on normalized text; spaces next to Chinese do not count.

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
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ocr_damage import GlyphNoise, Noised, chinese_font, draw_page, glyph_spans, latin_font, photograph, world_spans
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table

from intently.build.augmentation.ocr_repair import OcrRepairer
from intently.catalog import Catalog, read_ads
from intently.lab.world import simulate_world
from intently.live.landing_pages import domain_lexicon
from intently.models.causal_lm import LanguageModelSettings
from intently.text.analyze import Analyzer
from intently.text.normalize import has_han, normalize
from intently.text.ocr_cleaning import Fate, OcrCleaner, OcrReport, OcrSettings
from intently.text.ocr_lexicon import OcrLexicon

GOOD = 0.05  # the greatest character error rate of a span that counts as recovered


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


def measure(noise: str, language: str, level: float, spans: Sequence[Noised], cleaner: OcrCleaner) -> Figures:
    """Clean spans and compare them with the truth."""
    settings = cleaner.settings
    start = time.process_time()
    cleaned = [cleaner.clean(each.span) for each in spans]
    seconds = time.process_time() - start
    truths = [normalize(each.truth) for each in spans]
    before = np.array([cer(each.span.text, truth) for each, truth in zip(spans, truths, strict=True)])
    after = np.array([cer(each.text, truth) for each, truth in zip(cleaned, truths, strict=True)])
    kept = np.array([each.fate not in (Fate.DROPPED, Fate.UNREAD) for each in cleaned])
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
    """Return the character error rate of a text against normalized truth."""
    return num_errors(read, truth) / max(len(truth), 1)


def num_errors(read: str, truth: str) -> int:
    """Return the edits between a text and normalized truth. Spaces next to Chinese say nothing and do not count."""
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
    """Read the catalog, or simulate one."""
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


def font_of(language: str, options: argparse.Namespace, console: Console) -> str | None:
    """Return a font for a language; None, which is told, if there is none here."""
    font = latin_font() if language == "en" else chinese_font(options.chinese_font)
    if font is None:
        console.print("zh: no Chinese font; install Debian's fonts-wqy-microhei or give --chinese-font")
    return font


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
        if not chosen:
            console.print(f"{language}: the catalog has no such titles")
            continue
        if font := font_of(language, options, console):
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


def run_pages(options: argparse.Namespace, console: Console) -> list[PageFigures]:
    """Measure on pages that are drawn, photographed badly, read by RapidOCR and cleaned."""
    from intently.build.ocr.reading import PageReader

    lexicon, test = halves(load_ads(options.ads))
    reader, analyzer = PageReader(), Analyzer()
    settings = OcrSettings(high=options.high, low=options.low, min_known=options.min_known)
    rows = []
    ads = [test.ad(row) for row in random.Random(0).sample(range(len(test)), min(len(test), 200))]
    for language in ("en", "zh"):
        font = font_of(language, options, console)
        if font is None:
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
