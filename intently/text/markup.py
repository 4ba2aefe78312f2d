"""Text that came as HTML, made plain at the door."""

import html
import re
from html.entities import html5

# Only entities that end in ";", so that "AT&T" and "R&D" stay; "&amp;eacute;" was escaped twice.
_ENTITY = re.compile(r"&(?:amp;)*+(?:(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});)?+")
_BLOCKS = """
address article aside blockquote body br button caption center dd details div dl dt fieldset figcaption figure footer
form h1 h2 h3 h4 h5 h6 head header hr html iframe img input legend li link main meta nav ol option p pre script section
select style summary table tbody td textarea tfoot th thead title tr ul video
"""
_INLINE = "a abbr b bdi bdo big cite code del em font i ins kbd mark q s samp small span strike strong sub sup u"
_BLOCK_NAMES = frozenset(_BLOCKS.split())
_NAMES = "|".join(sorted(_BLOCK_NAMES | set(_INLINE.split()), key=len, reverse=True))
_TAG = re.compile(rf"<(/?)({_NAMES})(?:[\s/][^<>]*+)?>", re.IGNORECASE)
_HIDDEN = frozenset(("script", "style"))


def plain_text(text: str) -> str:
    """Return the text of what may be HTML: entities read, known tags gone, scripts and styles with them.

    A tag of a block is a space, one inside a line ("<b>") is nothing. What is no known tag or entity stays as it is.
    Cost: linear.
    """
    if "&" in text:
        text = _ENTITY.sub(_read_entity, text)
    return _without_tags(text) if "<" in text else text


def _read_entity(found: re.Match[str]) -> str:
    name = found[1]
    if not name:
        return "&"
    return html.unescape(f"&{name};") if name[0] == "#" else html5.get(f"{name};", f"&{name};")


def _without_tags(text: str) -> str:
    kept: list[str] = []
    tags = list(_TAG.finditer(text))
    last_end = {tag[2].lower(): tag.start() for tag in tags if tag[1]}
    at, hidden = 0, ""
    for tag in tags:
        name = tag[2].lower()
        if hidden and not (tag[1] and name == hidden):
            continue
        if not hidden:
            kept.append(text[at : tag.start()])
        hidden = name if not tag[1] and name in _HIDDEN and last_end.get(name, -1) > tag.start() else ""
        kept.append(" " if name in _BLOCK_NAMES else "")
        at = tag.end()
    kept.append(text[at:])
    return "".join(kept)
