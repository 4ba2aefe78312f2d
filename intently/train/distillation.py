"""Learning how a teacher ranks: the divergence between its scores of a query's candidates and the encoder's.

Candidates are the ads of the batch, of which none is left that is labelled for the query but its own positive: a
lexical teacher often scores an ad that was judged irrelevant above the positive, and one loss would undo the other.

Shape letters: B batch, C candidates of a query, M ads of a batch.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from intently.errors import InputError
from intently.train.sources import BridgeData, IntArray

# Texts of B queries and candidate ad rows (B, C) to finite scores (B, C); higher is better.
Teacher = Callable[[Sequence[str], IntArray], NDArray[np.floating]]


def find_candidates(data: BridgeData, query_rows: IntArray, ad_rows: IntArray) -> NDArray[np.bool_]:
    """Return (B, M) which ads of a batch a query's ranking is learnt of; `ad_rows (M,)` has query i's positive at i.

    These are all but other known answers to the query and ads judged irrelevant to it.
    """
    pairs = query_rows[:, None], ad_rows[None, :]
    candidates = ~(data.is_positive(*pairs) | data.is_irrelevant(*pairs))
    np.fill_diagonal(candidates, True)
    return candidates


def ask_teacher(teacher: Teacher, texts: Sequence[str], ad_rows: IntArray) -> Tensor:
    """Return the teacher's scores (B, M) of ads (M,); raise `InputError` if they are of another shape, or not finite.

    It is asked about those that are no candidates as well, because the ads are the same for all queries.
    """
    asked = np.broadcast_to(ad_rows, (len(texts), len(ad_rows)))
    scores = np.asarray(teacher(texts, asked), dtype=np.float32)
    if scores.shape != asked.shape or not np.isfinite(scores).all():
        raise InputError(
            f"the teacher gave scores {scores.shape}, finite or not, for candidates {asked.shape}",
            cure="return a finite score for each candidate",
        )
    return torch.from_numpy(scores)


def divergence(taught: Tensor, said: Tensor, candidates: NDArray[np.bool_]) -> Tensor:
    """Return the mean KL(softmax(taught) ‖ softmax(said)), a scalar, of scores (B, M), over `candidates (B, M)`.

    Both are already divided by their temperatures.
    """
    others = torch.from_numpy(~candidates).to(said.device)
    # Finite, so that what is no candidate has a gradient of 0 and not NaN.
    nothing = torch.finfo(torch.float32).min
    taught = torch.softmax(taught.to(said.device).masked_fill(others, nothing), dim=1)
    said = torch.log_softmax(said.float().masked_fill(others, nothing), dim=1).masked_fill(others, 0)
    return F.kl_div(said, taught, reduction="batchmean")
