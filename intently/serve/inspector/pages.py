"""Pages from templates. Titles, queries and ids come from strangers: all is escaped, and hidden characters shown."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response

HERE = Path(__file__).parent
MAX_SHOWN = 160  # characters of a text in a list
MAX_READ = 20_000  # characters of a text that is shown whole
_STATIC = {"inspector.css": "text/css", "icon.svg": "image/svg+xml"}
# Control characters, those that turn the direction of what follows, and halves of characters.
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def page(template: str, status: int = 200, *, headers: dict[str, str] | None = None, **values: Any) -> Response:
    """Return a page."""
    content = _environment().get_template(template).render(**values)
    more = _HEADERS | {"Cache-Control": "no-store"} | (headers or {})
    return Response(content.encode(errors="replace"), status, more, "text/html; charset=utf-8")


def static(name: str) -> Response:
    """Return a file that pages refer to."""
    more = _HEADERS | {"Cache-Control": "max-age=300"}
    return Response((HERE / "static" / name).read_bytes(), 200, more, _STATIC[name])


def short(value: object, most: int = MAX_SHOWN) -> str:
    """Return a text for a list: on one line, cut, with hidden characters shown by their numbers."""
    text = " ".join(_shown(str(value)[: 4 * most]).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def whole(value: object) -> str:
    """Return a text with hidden characters shown by their numbers, and what is left out of one that is very long."""
    text = str(value)
    left_out = f"… ({len(text) - MAX_READ:,} characters more)" if len(text) > MAX_READ else ""
    return _shown(text[:MAX_READ]) + left_out


def share(value: float) -> str:
    """Return a share in [0, 1] as a percentage."""
    return f"{100 * value:.3g}%" if value >= 0.0001 else "<0.01%" if value > 0 else "0%"


def _shown(text: str) -> str:
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": short, "whole": whole, "share": share}
    return environment
