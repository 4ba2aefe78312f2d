"""How texts are read in training: some with a typing mistake, and in groups of similar length."""

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
_GROUP = 96


def with_typo(text: str, rng: np.random.Generator) -> str:
    """Return `text` with two neighbouring characters swapped, or one dropped."""
    if len(text) < 4:
        return text
    at = int(rng.integers(len(text) - 1))
    swapped = text[at + 1] + text[at] if rng.random() < 0.5 else text[at + 1]
    return text[:at] + swapped + text[at + 2 :]


def length_groups(lengths: IntArray) -> list[IntArray]:
    """Return the rows of `lengths (B,)` in order of length, in groups of about 96.

    Padding all of a batch to its longest would nearly double the work.
    """
    order = np.argsort(lengths, kind="stable")
    return np.array_split(order, max(1, len(order) // _GROUP))
