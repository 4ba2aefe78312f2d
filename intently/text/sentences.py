"""Text to sentences, English and Chinese, also where OCR broke the lines or lost what was between sentences."""

import re
import unicodedata
from collections.abc import Iterable

from intently.text.normalize import HAN

_CLOSING = "\"'”’」』）)】]"
_WIDE_STOPS = "。！？；"
_STOP = re.compile(rf"[。！？；…!?.]++[{re.escape(_CLOSING)}]*+")
_STOPPED = re.compile(rf"[。！？；…!?.:：][{re.escape(_CLOSING)}]*+$")
_BLANK_LINES = re.compile(r"\n[^\S\n]*+(?:\n[^\S\n]*+)++")
_CJK = re.compile(rf"[{HAN}\u3001-\u303f\uff00-\uff64]")  # \u3000 is a space
_UNIT_BEFORE = re.compile(r"\d[\s-]*(?:in|ft|yd|sq|cu|gal|qt|pt|oz|lb|lbs|hr|hrs|min|max|amp|no)$", re.IGNORECASE)
_WORD_BEFORE = re.compile(r"[^\W\d_]+$")
_ABBREVIATED = """
approx avg bros co corp dept dr eg est etc ext fig ft hrs inc incl jr ltd max min misc mr mrs ms no nos op prof qty ref
sq sr st tel temp vol vs
"""
_ABBREVIATIONS = frozenset(_ABBREVIATED.split())
_STRAY = frozenset("、，。：；！？,.;:!?)）]】」』”’%")  # begin no sentence
_ITEM = re.compile(r"(?:[•·▪◦●○■□★☆✓✔►▶*–—-]|\(?\d{1,2}[.)、](?!\d)|[①-⑳])\s*")
_GOES_ON = re.compile(
    r"(?:[,，、&/+(（【-]|\b(?:a|an|and|as|at|by|for|from|in|into|is|its|of|on|or|our|that|the|to|with|your))$",
    re.IGNORECASE,
)
_LENGTH = re.compile(rf"[{HAN}]|[^\W_{HAN}]+")
_LOOK_BACK = 24  # characters before a stop that tell what it is
_WRAPPED_WIDTH = 24  # a narrower line was hardly broken for want of room; a Chinese character is two wide


def split_sentences(text: str) -> list[str]:
    """Return the sentences of `text` in order, without line breaks, spaces single.

    A blank line ends a sentence. A single line break does so unless the sentence visibly goes on: the next line begins
    in lower case, this one ends in a comma or a word like "the", or Chinese fills the line. A word hyphenated at the
    end of a line is put together. Within a line, 。！？； end a sentence, and . ! ? do unless they belong to a number,
    an abbreviation or a unit; also where OCR read a full stop between Chinese characters or lost the space after it.
    Pieces without a letter or digit are dropped; nothing else is lost. Time and memory are linear in the text.
    """
    text = "\n".join(text.splitlines())
    lines = (line for block in _BLANK_LINES.split(text) for line in _unbroken(block))
    return [sentence for line in lines for sentence in _split_line(line) if any(map(str.isalnum, sentence))]


def join_texts(texts: Iterable[str]) -> str:
    """Return texts in a row as one: with a space between them, except between Chinese and Chinese."""
    joined: list[str] = []
    for text in filter(None, texts):
        if joined:
            joined.append(_space(joined[-1], text))
        joined.append(text)
    return "".join(joined)


def _space(text: str, following: str) -> str:
    return "" if _CJK.match(text[-1]) and _CJK.match(following[0]) else " "


def sentence_length(text: str) -> int:
    """Return how long a text is in words, a Chinese character counting as one: near what it takes in tokens."""
    return sum(1 for _ in _LENGTH.finditer(text))


def _unbroken(block: str) -> list[str]:
    """Return the lines of a block of text, those put together that one sentence was broken into."""
    lines = [" ".join(line.split()) for line in block.split("\n")]
    lines = [line for line in lines if line]
    widest = max(map(_width, lines), default=0)
    whole: list[list[str]] = []  # in pieces, put together once: a sentence may be broken into thousands
    last = ""
    for line in lines:
        if not whole or not _continues(last, line, widest):
            whole.append([line])
        elif last[-1] == "-" and last[-2:-1].islower() and line[0].islower():
            whole[-1][-1] = last[:-1]
            whole[-1].append(line)
        else:
            whole[-1] += [_space(last, line), line]
        last = line
    return ["".join(pieces) for pieces in whole]


def _continues(line: str, following: str, widest: int) -> bool:
    if _ITEM.match(following):
        return False
    if following[0].islower() or following[0] in _STRAY or _GOES_ON.search(line):
        return True
    if _STOPPED.search(line):
        return False
    # Chinese has no capitals to tell: what fills its line goes on.
    is_wrapped = _width(line) >= max(_WRAPPED_WIDTH, widest / 2)
    return is_wrapped and _CJK.match(line[-1]) is not None and _CJK.match(following[0]) is not None


def _width(text: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def _split_line(line: str) -> list[str]:
    sentences, start = [], 0
    for stop in _STOP.finditer(line):
        if _ends(line, stop):
            sentences.append(line[start : stop.end()].strip())
            start = stop.end()
    sentences.append(line[start:].strip())
    return sentences


def _ends(line: str, stop: re.Match[str]) -> bool:
    """Return whether the stop ends a sentence of the line."""
    if any(mark in _WIDE_STOPS for mark in stop[0]):
        return True
    before = line[max(0, stop.start() - _LOOK_BACK) : stop.start()]
    after = line[stop.end() : stop.end() + 3].lstrip()
    if not after or not before:
        return False  # nothing to divide
    between_chinese = _CJK.match(before[-1]) is not None and not after[0].isdigit()
    if line[stop.end()] != " ":
        glued = before[-2:].islower() and before[-2:].isalpha() and after[0].isupper() and after[1:2].islower()
        return glued or (between_chinese and not after[0].islower()) or _CJK.match(after[0]) is not None
    if after[0].islower():
        return between_chinese
    if stop[0] != ".":
        return True
    word = _WORD_BEFORE.search(before)
    if word and (word[0].lower() in _ABBREVIATIONS or (len(word[0]) == 1 and word[0].isupper())):
        return False
    return not _UNIT_BEFORE.search(before)
