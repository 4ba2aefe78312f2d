"""The terms of ads' titles, in their order: what tells how well a title matches a query word by word.

Shape letters: C ads, L terms of a title, N ads of an index.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from intently.arrays import IntArray
from intently.errors import ArtifactError
from intently.files import atomic_write, read_arrays
from intently.index.ragged import Ragged
from intently.text.analyze import Analyzer

Codes = NDArray[np.uint32]

MAX_TITLE_TERMS = 32  # of a title that are looked at


class TitleTerms(Ragged):
    """The terms of N titles in their order, as codes (T,).

    A term's code is the CRC-32 of its UTF-8 bytes, so that what was made apart fits together without a dictionary.
    """

    values: Codes

    @classmethod
    def build(cls, titles: Iterable[str], analyzer: Analyzer) -> "TitleTerms":
        """Return the terms of one title an ad."""
        each = [analyzer.terms(title) for title in titles]
        offsets = np.cumsum([0, *map(len, each)], dtype=np.int64)
        return cls(offsets, term_codes([term for terms in each for term in terms]))

    def of(self, ad_rows: IntArray) -> Codes:
        """Return the first terms of some titles (C, `MAX_TITLE_TERMS`), 0 where a title has no more."""
        places, lengths = self.places(ad_rows, MAX_TITLE_TERMS)
        found = np.zeros((len(ad_rows), MAX_TITLE_TERMS), dtype=np.uint32)
        found[np.arange(MAX_TITLE_TERMS) < lengths[:, None]] = self.values[places]
        return found

    def save(self, path: Path) -> None:
        """Write to one `.npz` file."""
        with atomic_write(path) as file:
            np.savez(file, offsets=self.offsets, codes=self.values)

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
