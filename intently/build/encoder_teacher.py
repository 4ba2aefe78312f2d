"""Who teaches the encoder of the dense channel: words and an encoder that was trained before, together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intently.index.lexical import LexicalIndex


@dataclass(frozen=True, eq=False)
class Guide:
    """An encoder that was trained before, and how it embeds the N ads: half of what teaches the next one."""

    embed: Callable[[Sequence[str]], NDArray[np.float32]]  # B queries to unit embeddings (B, D)
    embeddings: NDArray[np.float32]  # (N, D)


@dataclass(frozen=True, eq=False)
class HybridTeacher:
    """Scores ads by BM25 plus a multiple of a guide's cosine; by BM25 alone without a guide.

    The two together rank better than either: what they know of a query is worth learning even where nobody clicked.
    """

    lexical: LexicalIndex
    guide: Guide | None = None
    cosine_weight: float = 0.0

    def __call__(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Return the scores (B, N) of all ads. Cost: one lexical search a query and B·N·D multiplications."""
        scores = np.stack([self.lexical.scores(self.lexical.analyze(query)) for query in queries]).astype(np.float32)
        if self.guide and self.cosine_weight:
            scores += np.float32(self.cosine_weight) * (self.guide.embed(queries) @ self.guide.embeddings.T)
        return scores
