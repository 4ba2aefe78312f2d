"""What a batch is to learn: which ad answers each query, and how a teacher ranks all of them.

Shape letters: B queries, M ads of the batch, of which ad b answers query b, K ads of the batches before.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from intently.build.training.distillation import divergence


@dataclass(frozen=True, eq=False)
class BatchTask:
    """One task for whatever scores the batch, late interaction as well as cosines; logits are scores / `temperature`.

    `masked (B, M)` ads are no negatives of a query. Where `contrasted (B,)` is false, only the teacher is learnt from.
    `taught (B, M)` are its scores, divided by a temperature of their own; None without a teacher.
    """

    masked: Tensor
    contrasted: Tensor
    taught: Tensor | None
    temperature: float

    def losses(self, scores: Tensor, queued: Tensor | None = None) -> dict[str, Tensor]:
        """Return the losses, scalars by name, of scores (B, M); logits `queued (B, K)` compete with the answers.

        "contrastive" is the sum of two softmaxes, queries among ads and answers among queries; "distillation" is the
        divergence from the teacher's ranking.
        """
        logits, rows = scores / self.temperature, self.contrasted
        allowed = logits.masked_fill(self.masked, -torch.inf)
        losses = {}
        if rows.any():
            target = torch.arange(len(scores), device=scores.device)[rows]
            competing = allowed if queued is None else torch.cat((allowed, queued), dim=1)
            asked, answering = competing[rows], allowed[:, : len(scores)].T[rows]
            losses["contrastive"] = F.cross_entropy(asked, target) + F.cross_entropy(answering, target)
        if self.taught is not None:
            losses["distillation"] = divergence(self.taught, logits)
        return losses

    def accuracy(self, scores: Tensor) -> float:
        """Return the share of queries whose answer is scored highest of all ads that are not masked."""
        best = scores.masked_fill(self.masked, -torch.inf).argmax(dim=1)
        return (best == torch.arange(len(scores), device=scores.device)).float().mean().item()
