"""Learning how a teacher ranks: the divergence between its scores of a query's candidates and the encoder's.

Shape letters: B batch, C candidates of a query, M ads of a batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from intently.errors import InputError
from intently.train.sources import IntArray

# Texts of B queries and candidate ad rows (B, C) to finite scores (B, C); higher is better.
Teacher = Callable[[Sequence[str], IntArray], NDArray[np.floating]]


@dataclass(frozen=True)
class Candidates:
    """What each query's ads are: their columns among the batch's M ads, their rows, and which are real."""

    columns: IntArray  # (B, C); the first is the query's positive, and so is what is not real
    ad_rows: IntArray  # (B, C)
    real: NDArray[np.bool_]  # (B, C)


def find_candidates(ad_rows: IntArray, negatives: IntArray | None, num_queries: int) -> Candidates:
    """Return each query's positive, of which `ad_rows (M,)` has that of query i at i, and its own negatives.

    `negatives (B, C - 1)` are rows of ads that `ad_rows` names as well, -1 for none; None stands for all M ads.
    """
    own = np.arange(num_queries)[:, None]
    if negatives is None:
        others = np.arange(len(ad_rows))
        columns = np.append(own, np.array([others[others != row] for row in range(num_queries)]), axis=1)
        return Candidates(columns, ad_rows[columns], np.ones(columns.shape, dtype=bool))
    real = np.append(np.ones((num_queries, 1), dtype=bool), negatives >= 0, axis=1)
    by_row = np.argsort(ad_rows, kind="stable")
    found = by_row[np.minimum(ad_rows.searchsorted(negatives, sorter=by_row), len(ad_rows) - 1)]
    columns = np.where(real, np.append(own, found, axis=1), own)
    return Candidates(columns, ad_rows[columns], real)


def ask_teacher(teacher: Teacher, texts: Sequence[str], candidates: Candidates) -> Tensor:
    """Return the teacher's scores (B, C); raise `InputError` if they are not of that shape, or not finite."""
    scores = np.asarray(teacher(texts, candidates.ad_rows), dtype=np.float32)
    if scores.shape != candidates.columns.shape or not np.isfinite(scores).all():
        raise InputError(
            f"the teacher gave scores {scores.shape}, finite or not, for candidates {candidates.columns.shape}",
            cure="return a finite score for each candidate",
        )
    return torch.from_numpy(scores)


def divergence(taught: Tensor, said: Tensor, candidates: Candidates) -> Tensor:
    """Return the mean KL(softmax(taught) ‖ softmax(said)), a scalar, of scores (B, C) and of scores (B, M).

    Both are already divided by their temperatures.
    """
    unreal = torch.from_numpy(~candidates.real).to(said.device)
    said = said.float().gather(1, torch.from_numpy(candidates.columns).to(said.device))
    # Finite, so that what is no candidate has a gradient of 0 and not NaN.
    nothing = torch.finfo(torch.float32).min
    taught = torch.softmax(taught.to(said.device).masked_fill(unreal, nothing), dim=1)
    said = torch.log_softmax(said.masked_fill(unreal, nothing), dim=1).masked_fill(unreal, 0)
    return F.kl_div(said, taught, reduction="batchmean")
