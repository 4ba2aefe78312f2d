"""Reading images of landing pages into spans with confidences, by RapidOCR's Chinese and English models.

The models come in RapidOCR's wheel and are given to it by path, so that nothing is ever downloaded. Spans come in
reading order, the doubtful ones too: what to make of them is for `intently.text.ocr_cleaning` to say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from intently.build.ocr.rendering import render_html
from intently.catalog.pages import Page
from intently.errors import InputError, MissingDependencyError, install_hint
from intently.settings import check_range
from intently.types import Progress, Span

if TYPE_CHECKING:
    from PIL.Image import Image


IMAGES, HTML = (".png", ".jpg", ".jpeg", ".webp"), (".html", ".htm")
_MODELS = {
    "Det": "PP-OCRv6_det_small.onnx",
    "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "Rec": "PP-OCRv6_rec_small.onnx",
}
_INSTALL = install_hint("ocr")
_MAX_SIDE = 2000  # pixels; RapidOCR would shrink what is longer, and small letters would be lost


@dataclass(frozen=True)
class ReadingSettings:
    """How pages are read."""

    num_threads: int = 1
    chromium: str = ""  # the program that renders HTML; without it HTML pages are refused
    sandbox: bool = True  # render inside Chromium's sandbox, which root cannot
    page_width: int = 1024  # pixels, of rendered HTML
    page_height: int = 6000  # pixels; what a rendered page has below is not read

    def __post_init__(self) -> None:
        check_range(self, "num_threads", "page_width", "page_height", low=1)


class PageReader:
    """Reads images. Loading takes about a second, a page of a screen about one or two on one core."""

    def __init__(self, settings: ReadingSettings | None = None) -> None:
        """Raise `MissingDependencyError` if RapidOCR or its models are not installed."""
        self.settings = settings or ReadingSettings()
        params: dict[str, Any] = {
            "Global.text_score": 0.0,
            "Global.max_side_len": _MAX_SIDE,
            "Global.log_level": "error",
            "EngineConfig.onnxruntime.intra_op_num_threads": self.settings.num_threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
        for part, path in _model_paths().items():
            params[f"{part}.model_path"] = str(path)
        try:
            import PIL  # noqa: F401
            from rapidocr import RapidOCR
        except ImportError as error:
            raise MissingDependencyError(f"reading pages needs {error.name}; {_INSTALL}") from error
        self._engine = RapidOCR(params=params)

    def read(self, path: Path) -> tuple[Span, ...]:
        """Return the spans of one page, an image or HTML. Raises InputError if it cannot be read or rendered."""
        if path.suffix.lower() not in HTML:
            return self._read_image(path)
        settings = self.settings
        with TemporaryDirectory() as directory:
            image = Path(directory) / "page.png"
            render_html(
                path, image, settings.chromium, settings.page_width, settings.page_height, sandbox=settings.sandbox
            )
            return self._read_image(image)

    def _read_image(self, path: Path) -> tuple[Span, ...]:
        from PIL import Image, ImageOps

        try:
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image)
                pixels = _on_white(upright)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            kinds = ", ".join(IMAGES)
            raise InputError(
                f"not an image that can be read ({error})", cure=f"give one of {kinds}", path=path
            ) from None
        spans: list[Span] = []
        for strip in strips(pixels):
            found = self._engine(np.ascontiguousarray(strip[:, :, ::-1]))
            texts, scores = getattr(found, "txts", None) or (), getattr(found, "scores", None) or ()
            spans += [
                Span(text, min(1.0, max(0.0, float(score)))) for text, score in zip(texts, scores, strict=True) if text
            ]
        return tuple(spans)


def page_paths(source: Path | Sequence[Path]) -> list[Path]:
    """Return the pages in a directory (or those given), sorted; a file's stem is the id of its ad.

    Raises InputError if there is none, one is of another kind, or two have one stem.
    """
    if isinstance(source, Path):
        if not source.is_dir():
            raise InputError("not a directory of pages", path=source)
        paths = sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGES + HTML)
    else:
        paths = sorted(source)
    if not paths:
        raise InputError("no pages", cure=f"give files that end in {', '.join(IMAGES + HTML)}", path=source)
    of_ad: dict[str, Path] = {}
    for path in paths:
        if path.suffix.lower() not in IMAGES + HTML:
            raise InputError("neither an image nor HTML", cure=f"give one of {', '.join(IMAGES + HTML)}", path=path)
        other = of_ad.setdefault(path.stem, path)
        if other is not path:
            raise InputError(f"the same ad as {other.name}", cure="keep one page an ad", path=path)
    return paths


def read_pages(source: Path | Sequence[Path], reader: PageReader, progress: Progress | None = None) -> Iterator[Page]:
    """Yield what is read on each page of a directory or list, in the order of the paths."""
    paths = page_paths(source)
    for done, path in enumerate(paths):
        if progress:
            progress("Reading pages", done, len(paths), path.name)
        yield Page(path.stem, reader.read(path))
    if progress:
        progress("Reading pages", len(paths), len(paths), "")


def strips(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return a page (height, width, 3) cut into strips short enough to be read unshrunk, without its blank end.

    A cut goes through the row with the least contrast in the last quarter of a strip: between two lines, if it can.
    """
    if not pixels.size:
        return []
    contrast = np.ptp(pixels.min(axis=2), axis=1)  # (height,)
    inked = np.flatnonzero(contrast > 8)
    if not len(inked):
        return []
    end, found, top = min(int(inked[-1]) + 16, len(pixels)), [], 0
    while end - top > _MAX_SIDE:
        first = top + _MAX_SIDE * 3 // 4
        rows = contrast[first : top + _MAX_SIDE]
        cut = first + int(np.flatnonzero(rows == rows.min())[-1])
        found.append(pixels[top:cut])
        top = cut
    return [*found, pixels[top:end]]


def _on_white(image: "Image") -> NDArray[np.uint8]:
    """Return the pixels (height, width, 3) of an image, on white where it is transparent."""
    from PIL import Image

    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _model_paths() -> dict[str, Path]:
    found = find_spec("rapidocr")
    if found is None or not found.submodule_search_locations:
        raise MissingDependencyError(f"reading pages needs rapidocr; {_INSTALL}")
    paths = {part: Path(found.submodule_search_locations[0]) / "models" / name for part, name in _MODELS.items()}
    for path in paths.values():
        if not path.exists():
            raise MissingDependencyError(f"this rapidocr does not come with {path.name}; {_INSTALL}")
    return paths
