"""How texts and landing pages are damaged, so that what stands on them is known."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from rapidfuzz.distance import Levenshtein

from intently.lab.world.misspell import misread
from intently.types import Span

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


def chinese_font(given: str | None) -> str | None:
    """Return a font with Chinese characters, None if there is none here."""
    return given or next((font for font in CHINESE_FONTS if Path(font).exists()), None)


def latin_font() -> str:
    """Return the font that comes with matplotlib."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


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
