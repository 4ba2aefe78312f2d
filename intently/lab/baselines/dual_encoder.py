"""Plain dual encoders of several sizes: a query and an ad are read apart, and their cosine is the score.

One tower reads both. It is trained on clicks by the contrastive loss over the batch's ads. *BERT-small class* is the
first 4 layers of the checkpoint (BERT-small has 4, of 512 dimensions instead of 384), *BERT-base class*
all-mpnet-base-v2, whose 12 layers of 768 are BERT-base's: pretrained weights of the sizes themselves, as distinct from
ones made out of the smaller checkpoint, which no honest row could carry the name of.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from intently.arrays import Float32Array, IntArray
from intently.build.training.pairs import Choices
from intently.index.postings import top_rows
from intently.lab.baselines.contrastive import TEMPERATURE, Clicks, contrastive_loss, fit
from intently.lab.baselines.mpnet import mpnet_directory
from intently.lab.baselines.task import Answers, Budget, Ranking, Task, directory_of
from intently.lab.baselines.tower import Tower, load_tower
from intently.models.tokenizer import TextKind
from intently.types import Progress


class DualEncoder(nn.Module):
    """A tower for queries and one for ads, which may be the same."""

    def __init__(self, query_tower: Tower, ad_tower: Tower, budget: Budget) -> None:
        super().__init__()
        self.query_tower, self.ad_tower = query_tower, ad_tower
        self.max_query_tokens, self.max_ad_tokens = budget.max_query_tokens, budget.max_ad_tokens

    def queries(self, task: Task, rows: IntArray) -> Tensor:
        """Return embeddings (B, D) of training queries."""
        embeddings: Tensor = self.query_tower(
            [task.queries[row] for row in rows], self.max_query_tokens, TextKind.QUERY
        )
        return embeddings

    def ads(self, task: Task, rows: IntArray) -> Tensor:
        """Return embeddings (B, D) of ads."""
        embeddings: Tensor = self.ad_tower([task.ad_texts[row] for row in rows], self.max_ad_tokens, TextKind.PASSAGE)
        return embeddings

    def all_ads(self, task: Task, progress: Progress) -> Float32Array:
        """Return embeddings (N, D) of all ads, to be searched."""
        return self.ad_tower.embed(
            task.ad_texts,
            self.max_ad_tokens,
            TextKind.PASSAGE,
            lambda done, total: progress("Reading the ads", done, total, ""),
        )

    def answer(self, task: Task, budget: Budget, progress: Progress) -> Answers:
        """Answer the test queries by exact search."""
        ads = self.all_ads(task, progress)
        queries = self.query_tower.embed(task.test_queries, self.max_query_tokens)
        return Answers([nearest(task, budget, ads @ query) for query in queries])


def loss_over_batches(
    model: DualEncoder, task: Task, clicks: Clicks, negatives: Choices | None = None
) -> Callable[[int], Tensor]:
    """Return the contrastive loss by step, with an ad of `negatives` for each query."""

    def loss_of(step: int) -> Tensor:
        batch = clicks.batch(step, negatives)
        scores = model.queries(task, batch.query_rows) @ model.ads(task, batch.ad_rows).T
        return contrastive_loss(scores / TEMPERATURE, batch.masked)

    return loss_of


def nearest(task: Task, budget: Budget, scores: Float32Array) -> Ranking:
    """Return the best ads by `scores (N,)`, those below 0 as well, as a cosine may be."""
    rows = top_rows(scores, budget.num_ads, above=-np.inf)
    return [task.ad_ids[row] for row in rows.tolist()], scores[rows]


def dual_encoder(task: Task, budget: Budget, work: Path, progress: Progress, num_layers: int | None = None) -> Answers:
    """Train one tower on clicks and answer; of the checkpoint's layers the first `num_layers`, if given."""
    tower = load_tower(task, budget, num_layers)
    model = DualEncoder(tower, tower, budget)
    place = directory_of(work, f"dual-encoder-{num_layers}" if num_layers else "dual-encoder", budget)
    loss_of = loss_over_batches(model, task, Clicks(task, budget))
    fit(model, loss_of, budget.num_steps, budget, place / "training", progress)
    return model.answer(task, budget, progress)


def bert_base(task: Task, budget: Budget, work: Path, progress: Progress, checkpoint: str = "") -> Answers:
    """Train and answer with an encoder of BERT-base's size: that of `checkpoint`, all-mpnet-base-v2 if left empty.

    A step costs about eight times that of all-MiniLM-L6-v2, and so does reading an ad.
    """
    checkpoint = checkpoint or str(mpnet_directory(work))
    return dual_encoder(task, replace(budget, checkpoint=checkpoint), work, progress)
