"""Learning how a teacher ranks: the divergence between its scores of a query's candidates and the encoder's.

The teacher scores all ads for a query. Candidates are the ads of the batch: the positives, the explicit negatives, and
some ads that the teacher itself ranks first for each query. Without these, the batch is almost free of ads that a
query could be confused about, and there is little to learn from anybody's ranking of it. (Learning a lexical ranking on
texts that nobody asked: SPAR, Chen et al. 2022. Learning from a teacher of two views: ERNIE-Search, Lu et al. 2022.)

Shape letters: B batch, C proposed ads of a query, M ads of a batch, N ads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from intently.arrays import IntArray
from intently.build.training.sources import BridgeData
from intently.errors import InputError
from intently.index.postings import top_rows
from intently.settings import check_range

# Texts of B queries to finite scores (B, N) of all ads; higher is better.
Teacher = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class DistillationSettings:
    """What is learnt from a teacher, if there is one."""

    weight: float = 1.0  # λ₁ of the divergence; 0: nothing is learnt from a teacher
    temperature: float = 2.0  # of the teacher's scores
    cosine_weight: float = 15.0  # of the guide's cosine in the teacher's score, beside BM25
    label_bonus: float = 4.0  # added to the teacher's score of a known answer, taken from one judged irrelevant
    num_proposed: int = 2  # ads a query that the teacher proposes as candidates ...
    proposed_depth: int = 50  # ... among its first ones
    alone: bool = True  # sources but the clicks are learnt from the teacher alone: what they say is only plausible

    def __post_init__(self) -> None:
        check_range(self, "weight", "cosine_weight", "label_bonus")
        check_range(self, "temperature", exclusive=True)
        check_range(self, "num_proposed")
        check_range(self, "proposed_depth", low=1)


def ask_teacher(teacher: Teacher, texts: Sequence[str], num_ads: int) -> NDArray[np.float32]:
    """Return the teacher's scores (B, N) of all ads; raise `InputError` if they are of another shape, or not finite."""
    scores = np.asarray(teacher(texts), dtype=np.float32)
    shape = (len(texts), num_ads)
    if scores.shape != shape or not np.isfinite(scores).all():
        raise InputError(
            f"the teacher gave scores {scores.shape}, finite or not, for {shape[0]} queries and {shape[1]} ads",
            cure="return a finite score of each ad for each query",
        )
    return scores


def propose(scores: NDArray[np.float32], settings: DistillationSettings, rng: np.random.Generator) -> IntArray:
    """Return the rows (B, C) of ads drawn from the first ones of `scores (B, N)`, -1 where a query has too few.

    Ads that the teacher scores 0 or less are not worth proposing.
    """
    proposed = np.full((len(scores), settings.num_proposed), -1, dtype=np.int64)
    for row, own in enumerate(scores):
        drawn = rng.permutation(top_rows(own, settings.proposed_depth, above=0.0))[: settings.num_proposed]
        proposed[row, : len(drawn)] = drawn
    return proposed


def add_labels(
    scores: NDArray[np.float32],
    data: BridgeData,
    query_rows: IntArray,
    ad_rows: IntArray,
    bonuses: NDArray[np.floating],
) -> NDArray[np.float32]:
    """Return `scores (B, M)` of ads `ad_rows (M,)`, raised for known answers and lowered for ads judged irrelevant.

    By `bonuses (B,)`. A teacher, BM25 above all, often scores an ad that was judged irrelevant above the answer.
    """
    pairs = query_rows[:, None], ad_rows[None, :]
    labels = data.is_positive(*pairs).astype(np.float32) - data.is_irrelevant(*pairs).astype(np.float32)
    return scores + bonuses.astype(np.float32)[:, None] * labels


def divergence(taught: Tensor, said: Tensor) -> Tensor:
    """Return the mean KL(softmax(taught) ‖ softmax(said)), a scalar, of scores (B, M), both divided by temperatures."""
    return F.kl_div(torch.log_softmax(said.float(), dim=1), torch.softmax(taught, dim=1), reduction="batchmean")
