"""TIGER: an ad as a tuple of semantic codes, from coarse to fine.

Three codes quantise the untrained encoder's embedding, each what the one before left over, and a last one tells ads
with equal codes apart. Residual k-means stands in for the RQ-VAE of the original: the same codes of codes, without its
learnt projection. The original recommends the next item of a session; here a query takes the session's place, as in
RARE's comparison, and ads are learnt from their texts as well, because most have no clicks.
Source: Rajput et al., "Recommender Systems with Generative Retrieval" (2023).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from intently.arrays import IntArray
from intently.errors import InputError
from intently.intentions.trie import as_padded
from intently.lab.baselines.clusters import numbered, residual_codes
from intently.lab.baselines.codes import code_tokens, identifiers_of, untrained_embeddings
from intently.lab.baselines.generative import answer, start, train
from intently.lab.baselines.task import Answers, Budget, Task, directory_of
from intently.settings import check_range
from intently.types import Progress


@dataclass(frozen=True)
class TigerSettings:
    """How ads are quantised, and how often they are learnt."""

    num_levels: int = 3
    num_codes: int = 256  # of a level
    phrase_share: float = 0.5  # of a batch: titles instead of clicked queries

    def __post_init__(self) -> None:
        check_range(self, "num_levels", "num_codes", low=1)
        check_range(self, "phrase_share", high=1)


def tuples(codes: IntArray, num_codes: int, tokens: IntArray) -> IntArray:
    """Return codes (N, L) with a last one that makes each distinct, as token sequences (N, T) padded with -1.

    Every level has its own tokens. If more ads share codes than tokens are left, the last code has several digits.
    """
    num_levels = codes.shape[1]
    base = len(tokens) - num_levels * num_codes
    if base < 2:
        raise InputError(f"{num_levels} levels of {num_codes} codes need more than {len(tokens)} unused tokens")
    of_levels = tokens[codes + np.arange(num_levels) * num_codes]
    last = tokens[num_levels * num_codes :]
    sequences = [
        [*row, *(int(last[digit]) for digit in _digits(number, base))]
        for row, number in zip(of_levels.tolist(), numbered(codes).tolist(), strict=True)
    ]
    return as_padded(sequences)


def _digits(number: int, base: int) -> list[int]:
    digits = [number % base]
    while number := number // base:
        digits.append(number % base)
    return digits[::-1]


def tiger(task: Task, budget: Budget, work: Path, progress: Progress, settings: TigerSettings | None = None) -> Answers:
    """Train and answer."""
    settings = settings or TigerSettings()
    place = directory_of(work, "tiger", budget, settings)
    begun = start(task, budget)
    vectors = untrained_embeddings(task, budget, begun, place, progress)
    progress("Quantising", 0, 0, "")
    codes = residual_codes(vectors, settings.num_levels, settings.num_codes, budget.seed)
    identifiers = identifiers_of(task, tuples(codes, settings.num_codes, code_tokens(begun[1])))
    student = train(task, budget, begun, identifiers, place, progress, phrase_share=settings.phrase_share)
    return answer(task, budget, student, identifiers, progress)
