"""The terms of ads' titles, in their order: what tells how well a title matches a query word by word.

Shape letters: C ads, L terms of a title, N ads of an index.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from intently.arrays import IntArray, Mask
from intently.errors import ArtifactError
from intently.files import atomic_write, read_arrays
from intently.text.analyze import Analyzer

Codes = NDArray[np.uint32]

MAX_TITLE_TERMS = 32  # of a title that are looked at


@dataclass(frozen=True, eq=False)
class TitleTerms:
    """The terms of N titles in their order, as CSR: those of ad n are `codes[offsets[n]:offsets[n + 1]]`.

    A term's code is the CRC-32 of its UTF-8 bytes, so that what was made apart fits together without a dictionary.
    """

    offsets: IntArray  # (N + 1,)
    codes: Codes

    @classmethod
    def build(cls, titles: Iterable[str], analyzer: Analyzer) -> "TitleTerms":
        """Return the terms of one title an ad."""
        each = [analyzer.terms(title) for title in titles]
        offsets = np.cumsum([0, *map(len, each)], dtype=np.int64)
        return cls(offsets, term_codes([term for terms in each for term in terms]))

    @property
    def num_ads(self) -> int:
        """Number of ads N."""
        return len(self.offsets) - 1

    def of(self, ad_rows: IntArray) -> Codes:
        """Return the first terms of some titles (C, `MAX_TITLE_TERMS`), 0 where a title has no more."""
        starts = self.offsets[ad_rows]
        lengths = np.minimum(self.offsets[ad_rows + 1] - starts, MAX_TITLE_TERMS)
        found = np.zeros((len(ad_rows), MAX_TITLE_TERMS), dtype=np.uint32)
        is_term = np.arange(MAX_TITLE_TERMS) < lengths[:, None]
        first = np.cumsum(lengths) - lengths
        found[is_term] = self.codes[np.repeat(starts - first, lengths) + np.arange(int(lengths.sum()))]
        return found

    def concatenated(self, other: "TitleTerms") -> "TitleTerms":
        """Return the terms of these titles and, after them, those of `other`. Cost: one copy."""
        offsets = np.concatenate((self.offsets, self.offsets[-1] + other.offsets[1:]))
        return TitleTerms(offsets, np.concatenate((self.codes, other.codes)))

    def kept(self, mask: Mask) -> "TitleTerms":
        """Return the terms of the titles where `mask (N,)` holds, in their order."""
        lengths = np.diff(self.offsets)
        offsets = np.concatenate((self.offsets[:1], np.cumsum(lengths[mask])))
        return TitleTerms(offsets, self.codes[np.repeat(mask, lengths)])

    def save(self, path: Path) -> None:
        """Write to one `.npz` file."""
        with atomic_write(path) as file:
            np.savez(file, offsets=self.offsets, codes=self.codes)

    @classmethod
    def load(cls, path: Path) -> "TitleTerms":
        """Read what `save` wrote; raise `ArtifactError` naming the file if it is not that."""
        offsets, codes = read_arrays(path, ("offsets", "codes"), "title terms").values()
        if offsets.ndim != 1 or not offsets.size or codes.shape != (offsets[-1],):
            raise ArtifactError(f"{path} does not hold title terms (its arrays do not fit); build the engine again")
        return cls(offsets, codes)


def term_codes(terms: Sequence[str]) -> Codes:
    """Return the codes (T,) of terms, none of which is 0."""
    return np.array([crc32(term.encode()) or 1 for term in terms], dtype=np.uint32)
