"""HTML in text: entities become characters, tags go.

Feeds carry `AT&amp;T`, `Caf&eacute;` and `<br>`, some of them escaped twice. Only what is surely markup is touched:
entities that end with a semicolon, comments, and tags with a name of HTML. `AT&T`, `R&D`, `x < y` and `<3` stay.
"""

import html
import re
from html.entities import html5
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_SUSPECT = r"<[A-Za-z/!]|&(#[0-9]|#[xX][0-9A-Fa-f]|[A-Za-z])[0-9A-Za-z]{0,31};"
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][0-9A-Za-z]{1,31});", re.ASCII)
_TIMES_ESCAPED = 3
# Of Arrow's regular expressions, which take linear time. Tags inside a line join what is around them, others part it.
_WHOLE = (r"(?s)<!--.*?-->", r"(?is)<script\b.*?</script\s*>", r"(?is)<style\b.*?</style\s*>")
_INLINE = r"(?i)</?(a|abbr|b|big|em|font|i|mark|s|small|span|strike|strong|sub|sup|tt|u|wbr)(\s+[^<>=]+=[^<>]*|\s*)/?>"
_BLOCK = (
    r"(?i)</?(address|article|aside|blockquote|body|br|center|code|dd|details|div|dl|dt|figure|figcaption|footer|"
    r"form|h[1-6]|head|header|hr|html|iframe|img|input|label|li|link|main|meta|nav|ol|option|p|pre|section|select|"
    r"summary|table|tbody|td|tfoot|th|thead|title|tr|ul|video)(\s+[^<>=]+=[^<>]*|\s*)/?>"
)


def plain_texts(texts: Any) -> tuple[Any, npt.NDArray[np.bool_]]:
    """Return strings (N,) without HTML, and in which of them (N,) there was some. Takes linear time."""
    changed = np.zeros(len(texts), dtype=np.bool_)
    suspect = np.flatnonzero(pc.match_substring_regex(texts, _SUSPECT).to_numpy(zero_copy_only=False))
    if not suspect.size:
        return texts, changed
    before = texts.take(pa.array(suspect))
    after = _without_tags(before)
    for _ in range(_TIMES_ESCAPED):
        after = _without_tags(pa.array([_ENTITY.sub(_character, text) for text in after.to_pylist()], pa.string()))
    changed[suspect] = pc.not_equal(before, after).to_numpy(zero_copy_only=False)
    return pc.replace_with_mask(texts, pa.array(changed), after.filter(pa.array(changed[suspect]))), changed


def plain_text(text: str) -> str:
    """Return one text without HTML; see `plain_texts`."""
    if "<" not in text and "&" not in text:
        return text
    (plain,) = plain_texts(pa.array([text], pa.string()))[0].to_pylist()
    return str(plain)


def _without_tags(texts: Any) -> Any:
    for pattern in _WHOLE:
        texts = pc.replace_substring_regex(texts, pattern, " ")
    return pc.replace_substring_regex(pc.replace_substring_regex(texts, _INLINE, ""), _BLOCK, " ")


def _character(entity: re.Match[str]) -> str:
    name = entity[0][1:]
    character = html.unescape(entity[0]) if name[0] == "#" else html5.get(name, entity[0])
    # A NUL, a lone surrogate or a control character is none: what is written so stays as it is written.
    is_text = character.isprintable() or character in ("\xa0", "\n", "\t", "\xad")
    return character if is_text and character not in ("", "\ufffd") else entity[0]
