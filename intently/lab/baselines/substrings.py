"""All substrings of titles, up to a length: what an FM-index would allow to be said, and where each occurs.

SEAL keeps the texts in an FM-index, which tells at every step the tokens that continue the current substring somewhere.
A trie over all substrings up to a length allows exactly the same ones, up to that length; it costs memory that an
FM-index does not (about 2 million substrings for 55,000 product titles up to 7 tokens), and its counts are at hand.

Substrings are numbered length by length, so that lengths that are left out change nothing about the others. The cost
is a few sorts of as many integers as the titles have tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intently.arrays import IntArray
from intently.errors import InputError


@dataclass(frozen=True)
class Substrings:
    """I distinct substrings: `sequences (I, T)` padded with -1, how often each occurs, and in which texts.

    `pairs (P, 2)` are distinct (substring, text_row).
    """

    sequences: IntArray
    counts: IntArray  # (I,)
    pairs: IntArray

    @property
    def lengths(self) -> IntArray:
        """Number of tokens (I,) of each."""
        lengths: IntArray = (self.sequences >= 0).sum(axis=1)
        return lengths


def find_substrings(texts: Sequence[Sequence[int]], max_tokens: int, max_substrings: int) -> Substrings:
    """Find all substrings of 1 to `max_tokens` tokens; a length that would make more than `max_substrings` is left out.

    Raises `InputError` if not even single tokens are within `max_substrings`.
    """
    flat = np.array([token for text in texts for token in (*text, -1)], dtype=np.int64)
    rows = np.repeat(np.arange(len(texts)), [len(text) + 1 for text in texts])
    base = int(flat.max(initial=0)) + 1
    grams = flat.copy()  # grams[p]: number, within its length, of the substring that starts at p; -1 if it has none
    sequences, counts, pairs = [], [], []
    num_found = 0
    for length in range(1, max_tokens + 1):
        if length > 1:
            last = flat[length - 1 :]
            grams = np.where((grams[: len(last)] >= 0) & (last >= 0), grams[: len(last)] * base + last, -1)
        places = np.flatnonzero(grams >= 0)
        _, first, numbers, count = np.unique(grams[places], return_index=True, return_inverse=True, return_counts=True)
        if not len(first) or num_found + len(first) > max_substrings:
            break
        grams[places] = numbers
        found = np.full((len(first), max_tokens), -1, dtype=np.int64)
        found[:, :length] = flat[places[first][:, None] + np.arange(length)]
        keys = np.unique((num_found + numbers) * len(texts) + rows[places])
        sequences.append(found)
        counts.append(count)
        pairs.append(np.stack(np.divmod(keys, len(texts)), axis=1))
        num_found += len(first)
    if not sequences:
        raise InputError(f"the texts have no tokens, or more than {max_substrings} different ones")
    return Substrings(np.concatenate(sequences), np.concatenate(counts), np.concatenate(pairs))


def similarity(substrings: IntArray, query_rows: IntArray, queries: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Return how alike substrings (E, T) and their queries are: tokens of both, as a share of the longer one's.

    `query_rows (E,)` are rows of `queries`.
    """
    base = int(substrings.max(initial=0)) + 1
    known = {row * base + token for row, query in enumerate(queries) for token in query if token < base}
    keys = np.sort(np.fromiter(known, dtype=np.int64, count=len(known)))
    wanted = np.where(substrings >= 0, query_rows[:, None] * base + substrings, -1)
    shared = np.isin(wanted, keys).sum(axis=1)
    lengths = np.array([len(set(query)) for query in queries], dtype=np.int64)
    alike: NDArray[np.float64] = shared / np.maximum(np.maximum((substrings >= 0).sum(axis=1), lengths[query_rows]), 1)
    return alike


def as_texts(sequences: IntArray, words: Sequence[str]) -> tuple[str, ...]:
    """Return token sequences (I, T) as text; `words` are WordPiece tokens by id."""
    return tuple(
        " ".join(words[token] for token in row if token >= 0).replace(" ##", "").removeprefix("##")
        for row in sequences.tolist()
    )
