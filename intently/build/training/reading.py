"""How texts are read in training: some with a typing mistake, and in groups of similar length."""

import re

import numpy as np

from intently.arrays import IntArray
from intently.text.normalize import HAN

_GROUP = 96
_SPACING_RATE = 0.1  # of the mistakes: two words joined, or one split
# Runs of four letters or more, or of Chinese characters. A word that holds a digit is a number, a measure or a model.
_LETTERS = re.compile(rf"(?<![^\W{HAN}])[^\W\d_{HAN}]{{4,}}(?![^\W{HAN}])|[{HAN}]{{4,}}")
_GAP = re.compile(r"(?<=[^\W\d_]{2}) (?=[^\W\d_]{2})")


def with_typo(text: str, rng: np.random.Generator) -> str:
    """Return `text` with two neighbouring letters swapped or one dropped, seldom two words joined or one split.

    Digits, words that hold one and words of less than four letters are left as they are: "2x4x8" and "2x4x" are
    different things.
    """
    places = [at for run in _LETTERS.finditer(text) for at in range(run.start(), run.end() - 1)]
    if not places:
        return text
    kind, at = rng.random(), places[int(rng.integers(len(places)))]
    if kind >= _SPACING_RATE:
        swapped = text[at + 1] + text[at] if rng.random() < 0.5 else text[at + 1]
        return text[:at] + swapped + text[at + 2 :]
    gaps = [gap.start() for gap in _GAP.finditer(text)]
    if gaps and rng.random() < 0.5:
        at = gaps[int(rng.integers(len(gaps)))]
        return text[:at] + text[at + 1 :]
    return f"{text[: at + 1]} {text[at + 1 :]}"


def length_groups(lengths: IntArray) -> list[IntArray]:
    """Return the rows of `lengths (B,)` in order of length, in groups of about 96.

    Padding all of a batch to its longest would nearly double the work.
    """
    order = np.argsort(lengths, kind="stable")
    return np.array_split(order, max(1, len(order) // _GROUP))
