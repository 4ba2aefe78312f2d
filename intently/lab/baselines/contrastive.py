"""What the trainings of all dense baselines share: batches of clicks, the contrastive loss, and a loop that resumes.

A batch is B clicks; the clicked ads and one ad judged irrelevant to each query (where there is one) are every query's
candidates, as in the training of the student, and so is what a baseline adds to them. Ads that a query is known to have
clicked are never its negatives. Everything random in step n is drawn from (seed, n).

Shape letters: B clicks, M candidate ads.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from intently.arrays import IntArray
from intently.build.training.optimization import (
    build_optimizers,
    dense_parameters,
    learning_rate_factor,
    restore_checkpoint,
    set_learning_rate,
    store_checkpoint,
)
from intently.build.training.pairs import Choices
from intently.build.training.sampling import PairSampler
from intently.errors import InputError
from intently.lab.baselines.task import Budget, Task
from intently.types import Progress

TEMPERATURE = 0.05  # of cosines, as in the student's training
_WARMUP_SHARE = 0.06
_WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class ClickBatch:
    """B queries and M candidate ads, of which ad i is the one that query i clicked."""

    query_rows: IntArray  # (B,)
    ad_rows: IntArray  # (M,)
    masked: NDArray[np.bool_]  # (B, M): known to answer the query, so left out of its negatives


class Clicks:
    """The clicks of a task: what each query clicked, and the batches of a training."""

    def __init__(self, task: Task, budget: Budget) -> None:
        """Raise `InputError` for a task without clicks, as there is nothing to learn from."""
        if not len(task.clicks):
            raise InputError("there are no clicks to train on; leave out the dense baselines, or give a click log")
        self.pairs = np.unique(task.clicks, axis=0)
        self.num_queries, self.num_ads = len(task.queries), task.num_ads
        self._offsets = np.searchsorted(self.pairs[:, 0], np.arange(self.num_queries + 1))
        self._keys = self.pairs[:, 0] * self.num_ads + self.pairs[:, 1]
        no_clicks = task.irrelevant[~self.are(task.irrelevant[:, 0], task.irrelevant[:, 1])]
        self._irrelevant = Choices.build(no_clicks[:, 0], no_clicks[:, 1], np.ones(len(no_clicks)), self.num_queries)
        self._seed = budget.seed
        self._sampler = self.sampler(budget.batch_size)

    def of(self, query_row: int) -> IntArray:
        """Return the ads that a query clicked."""
        return self.pairs[self._offsets[query_row] : self._offsets[query_row + 1], 1]

    def are(self, query_rows: IntArray, ad_rows: IntArray) -> NDArray[np.bool_]:
        """Return, broadcasting, whether (query_row, ad_row) is a click; an ad_row of -1 never is."""
        wanted = query_rows * self.num_ads + ad_rows
        found = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        known: NDArray[np.bool_] = (ad_rows >= 0) & (self._keys[found] == wanted)
        return known

    def sampler(self, size: int) -> PairSampler:
        """Return what draws batches of `size` clicks, all of them before any comes again."""
        return PairSampler(np.ones(len(self.pairs)), size, (self._seed, 6))

    def drawn(self, step: int) -> IntArray:
        """Return the clicks (B, 2) of a step."""
        return self.pairs[self._sampler.batch(step)]

    def batch(self, step: int, negatives: Choices | None = None) -> ClickBatch:
        """Return the batch of a step, with an ad of `negatives` for each query that has one."""
        clicks, rng = self.drawn(step), np.random.default_rng((self._seed, 7, step))
        query_rows = clicks[:, 0]
        added = [each.sample(query_rows, rng) for each in (self._irrelevant, negatives) if each is not None]
        ad_rows = np.concatenate([clicks[:, 1], *(rows[rows >= 0] for rows in added)])
        return ClickBatch(query_rows, ad_rows, self.masked(clicks, ad_rows))

    def masked(self, clicks: IntArray, ad_rows: IntArray) -> NDArray[np.bool_]:
        """Return (B, M) which candidates are left out for each of the clicks (B, 2); candidate i is click i's own."""
        masked = self.are(clicks[:, :1], ad_rows[None, :])
        own = np.arange(len(clicks))
        masked[own, own] = False
        return masked


def contrastive_loss(scores: Tensor, masked: NDArray[np.bool_]) -> Tensor:
    """Return the mean cross-entropy of `scores (B, M)`, where the candidate i is the right one for query i."""
    visible = scores.masked_fill(torch.from_numpy(masked).to(scores.device), -torch.inf)
    return F.cross_entropy(visible, torch.arange(len(scores), device=scores.device))


def fit(
    model: nn.Module,
    loss_of: Callable[[int], Tensor],
    num_steps: int,
    budget: Budget,
    place: Path,
    progress: Progress,
    stage: str = "Training",
) -> None:
    """Train in place by `loss_of(step)`, or go on from what `place` (a path without suffix) holds of it.

    Of a training that is done only the weights are kept. Raises `FloatingPointError` if a loss is not finite.
    """
    checkpoint, weights = place.with_suffix(".checkpoint"), place.with_suffix(".weights")
    if restore_checkpoint(weights, model, []) is not None:
        model.eval()
        return
    optimizers, dense = build_optimizers(model, budget.learning_rate, _WEIGHT_DECAY), dense_parameters(model)
    stands = restore_checkpoint(checkpoint, model, optimizers) or {"step": 0, "loss": None}
    smoothed: float | None = stands["loss"]
    model.train()
    for step in range(stands["step"], num_steps):
        set_learning_rate(optimizers, budget.learning_rate * learning_rate_factor(step, num_steps, _WARMUP_SHARE))
        loss = loss_of(step)
        now = loss.item()
        if not math.isfinite(now):
            raise FloatingPointError(f"the loss is not finite at step {step}")
        smoothed = now if smoothed is None else 0.95 * smoothed + 0.05 * now
        model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(dense, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        if (step + 1) % budget.checkpoint_steps == 0 and step + 1 < num_steps:
            store_checkpoint(checkpoint, model, optimizers, {"step": step + 1, "loss": smoothed})
        progress(stage, step + 1, num_steps, f"loss {smoothed:.2f}")
    store_checkpoint(weights, model, [], {"step": num_steps, "loss": smoothed})
    checkpoint.unlink(missing_ok=True)
    model.eval()
