"""UTF-8 out of whatever a text file is encoded in.

A byte-order mark, an XML declaration or the place of zero bytes says it. Else a file is UTF-8 if any of its lines with
other than ASCII characters is; if none is, charset-normalizer tells the code page from the file's first such block.
Whatever was not UTF-8 is said aloud, and `encoding` overrides it.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from typing import Any

from intently.errors import InputError

# Code pages in which tables are exported, the most common first: between equals it wins.
CODE_PAGES = ("cp1252", "gb18030", "big5", "shift_jis", "euc_kr", "cp1251", "cp1250")
_NAMES = {"cp1252": "Windows-1252", "cp1251": "Windows-1251", "cp1250": "Windows-1250", "utf-16": "UTF-16"}
_SAMPLE_BYTES = 64 << 10
_MIN_DISTINCT = 4  # other than ASCII bytes, to tell a code page that is not Windows-1252
_MARKS = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_XML = re.compile(rb"""^(?:\xef\xbb\xbf)?\s*<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_CURE = "save the file as UTF-8, or name what it is: --encoding cp1252"


def check_encoding(name: str) -> str:
    """Return the name by which Python knows an encoding; raise `InputError` for none."""
    try:
        return codecs.lookup(name).name
    except LookupError:
        cure = "use a name such as utf-8, cp1252, gb18030 or utf-16"
        raise InputError(f"unknown encoding {name!r}", cure=cure, field="encoding") from None


def utf8_blocks(
    read: Callable[[int], bytes], size: int, place: object, notes: list[str], encoding: str = ""
) -> Iterator[bytes]:
    """Yield the content of a file in UTF-8, in blocks of about `size` bytes; say in `notes` what it was."""
    block = read(size)
    named = check_encoding(encoding) if encoding else _declared(block)
    decoder = _decoder(named, notes) if named else None
    decided, tail = named is not None, b""
    while block:
        if not decided and not block.isascii():
            tail, sample = b"", tail + block
            decided, found = _told(sample)
            if found:
                decoder = _decoder(found, notes)
            elif not decided:
                tail = sample[-4:]
        if decoder:
            try:
                yield decoder.decode(block).encode()
            except UnicodeError as error:
                raise InputError(f"not in {notes[-1]}: {error}", cure=_CURE, path=place) from None
        else:
            yield block
        block = read(size)
    if decoder:
        try:
            rest = decoder.decode(b"", final=True).encode()
        except UnicodeError as error:
            raise InputError(f"it ends in the middle of a character: {error}", cure=_CURE, path=place) from None
        if rest:
            yield rest


def _declared(block: bytes) -> str | None:
    """Return the encoding that the start of a file says it has, None for UTF-8 or if it says nothing."""
    for mark, name in _MARKS:
        if block.startswith(mark):
            return name
    start = block[:1024]
    if wide := _without_mark(start):
        return wide
    if declared := _XML.match(start):
        try:
            name = codecs.lookup(declared[1].decode()).name
        except LookupError:
            return None
        return None if name in ("utf-8", "ascii", "utf-16", "utf-16-le", "utf-16-be") else name
    return None


def _without_mark(start: bytes) -> str | None:
    """Return which UTF-16 the start of a file without a byte-order mark is in, None if in none.

    Separators, digits and Latin letters have a zero byte, all at even places or all at odd ones.
    """
    for name, zeros, others in (("utf-16-le", start[1::2], start[::2]), ("utf-16-be", start[::2], start[1::2])):
        if zeros.count(0) >= max(4, len(start) // 16) and not others.count(0):
            try:
                text = start[: len(start) // 2 * 2].decode(name, "strict" if len(start) < 1024 else "ignore")
            except UnicodeDecodeError:
                continue
            return name if re.search(r"[\t\r\n,;{<]", text) else None
    return None


def _decoder(name: str, notes: list[str]) -> Any:
    if name != "utf-8":
        notes.append(_NAMES.get(name, name))
    return None if name == "utf-8" else codecs.getincrementaldecoder(name)()


def _told(block: bytes) -> tuple[bool, str | None]:
    """Return whether the encoding is known now, and its code page if it is not UTF-8."""
    try:
        if not codecs.getincrementaldecoder("utf-8")().decode(block).isascii():
            return True, None
    except UnicodeDecodeError:
        if _has_valid_line(block):
            return True, None
    if b"\n" not in block and b"\r" not in block and len(block) < _SAMPLE_BYTES:
        return False, None
    return True, code_page(block)


def _has_valid_line(block: bytes) -> bool:
    for line in re.split(rb"[\r\n]", block):
        if not line.isascii():
            try:
                line.decode()
            except UnicodeDecodeError:
                continue
            return True
    return False


def code_page(block: bytes) -> str | None:
    """Return which of `CODE_PAGES` bytes that are not UTF-8 are most likely in, None if none fits well."""
    from charset_normalizer import from_bytes  # here, because most files are UTF-8

    lines = b"\n".join(line for line in re.split(rb"[\r\n]+", block) if not line.isascii())[:_SAMPLE_BYTES]
    if _is_russian(lines):
        return "cp1251"
    matches = list(from_bytes(lines, cp_isolation=list(CODE_PAGES)))
    if not matches:
        return None
    best = matches[0]
    found = best.encoding
    equal = {name for each in matches if (each.chaos, each.coherence) == (best.chaos, best.coherence)
             for name in (each.encoding, *each.could_be_from_charset)}  # fmt: skip
    if "cp1252" in equal:
        found = "cp1252"
    if found in _DAILY:
        found = max(_DAILY, key=lambda name: (_share_in_daily_use(lines, name), name == found))
    distinct = {byte for byte in lines if byte > 127}
    if found == "cp1252":  # ÿ is in no word that people sell; it is how damage looks
        return None if 0xFF in distinct else found
    return found if len(distinct) >= _MIN_DISTINCT else None


# Code page → the first bytes of its characters in daily use, which stand before the others.
_DAILY = {
    "gb18030": {*range(0xB0, 0xD8)},
    "big5": {*range(0xA4, 0xC7)},
    "shift_jis": {0x82, 0x83, *range(0x88, 0x98)},
    "euc_kr": {*range(0xB0, 0xC9)},
}


def _share_in_daily_use(lines: bytes, name: str) -> float:
    """Return the share of letters other than ASCII that are in daily use if bytes are in a code page; −1 if not in it.

    A few titles in one code page are often text in another one, too, but then of characters that hardly anyone writes.
    """
    try:
        letters = [char for char in lines.decode(name) if char > "\x7f" and char.isalpha()]
    except UnicodeDecodeError:
        return -1.0
    return sum(char.encode(name)[0] in _DAILY[name] for char in letters) / max(len(letters), 1)


def _is_russian(lines: bytes) -> bool:
    """Return whether bytes are words of Cyrillic letters in Windows-1251: in small letters, but for the first."""
    try:
        words = re.findall(r"[^\W\d_]+", lines.decode("cp1251"))
    except UnicodeDecodeError:
        return False
    others = [word for word in words if not word.isascii()]
    fitting = [word for word in others if re.fullmatch(r"[А-яЁё][а-яё]{2,}|[а-яё]{1,2}", word)]
    return len("".join(fitting)) >= 5 and len(fitting) >= 0.9 * len(others)
