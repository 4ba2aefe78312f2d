"""ColBERT-style late interaction: every token keeps an embedding, and the best match of each query token counts.

The score is that of `intently.models.encoder.late_interaction`, of an encoder with nothing else. The projection starts
as a random rotation onto fewer dimensions, which nearly keeps cosines. Left out are the markers of query and ad, the
[MASK] tokens that lengthen queries, and the filter of punctuation. The search is exact: all tokens of all ads are
compared, without the original's candidates from an approximate index.
Source: Khattab & Zaharia, "ColBERT" (SIGIR 2020), section 3.

Shape letters: B queries, M ads, N ads of the catalog, S and T tokens of a query and of an ad, P projected size,
D hidden size, Q query tokens of a block of queries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intently.arrays import Float32Array, IntArray
from intently.lab.baselines.contrastive import TEMPERATURE, Clicks, contrastive_loss, fit
from intently.lab.baselines.dual_encoder import nearest
from intently.lab.baselines.task import Answers, Budget, Task, directory_of
from intently.lab.baselines.tower import Tower, load_tower
from intently.models.encoder.late_interaction import max_sim
from intently.models.tokenizer import TextKind
from intently.settings import check_range
from intently.types import Progress

_BLOCK = 2**16  # ad tokens compared at once, so that the products of a block stay in the cache
_NUM_QUERIES = 16  # searched together


@dataclass(frozen=True)
class ColbertSettings:
    """The size of a token's embedding; an ad takes 4 bytes times this times its tokens."""

    dimension: int = 64

    def __post_init__(self) -> None:
        check_range(self, "dimension", low=1)


class Colbert(nn.Module):
    """One tower for queries and ads, and the projection of its states."""

    def __init__(self, tower: Tower, dimension: int, seed: int) -> None:
        super().__init__()
        self.tower = tower
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.projection = nn.Linear(tower.hidden_size, dimension, bias=False)
            nn.init.orthogonal_(self.projection.weight)
        self.to(tower.device)

    def forward(self, token_ids: IntArray, lengths: IntArray) -> tuple[Tensor, Tensor]:
        """Return the unit embeddings (B, S, P) of all tokens and which are no padding (B, S)."""
        states, visible = self.tower.read(token_ids, lengths)
        return F.normalize(self.projection(states), dim=2), visible


class TokenIndex:
    """The token embeddings of all ads, those of equal length in one block, so that nothing is padded."""

    def __init__(self, model: Colbert, texts: Sequence[str], max_tokens: int, progress: Progress) -> None:
        self.num_ads = len(texts)
        self.blocks: list[tuple[IntArray, Tensor]] = []  # ad rows (n,), their tokens (n, T, P)
        token_ids, lengths = model.tower.tokenizer.encode(texts, max_tokens, TextKind.PASSAGE)
        done = 0
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            for first in range(0, len(rows), max(1, _BLOCK // length)):
                some = rows[first : first + max(1, _BLOCK // length)]
                read = []
                for start in range(0, len(some), 128):
                    each = some[start : start + 128]
                    with torch.inference_mode():
                        read.append(model(token_ids[each, :length], lengths[each])[0])
                    done += len(each)
                    progress("Reading the ads", done, self.num_ads, "")
                self.blocks.append((some, torch.cat(read)))

    @torch.inference_mode()
    def scores(self, queries: Tensor, lengths: IntArray) -> Float32Array:
        """Return the scores (B, N) of queries, whose tokens are given one query after the other (Q, P).

        Cost: 2·Q·P operations a token of the catalog, 0.5 GFLOP for a query of 8 tokens and a million of them.
        """
        ends = np.cumsum(lengths).tolist()
        scores = np.empty((len(lengths), self.num_ads), dtype=np.float32)
        for rows, tokens in self.blocks:
            best = (tokens @ queries.T).amax(dim=1)  # (n, Q)
            for row, (end, length) in enumerate(zip(ends, lengths.tolist(), strict=True)):
                scores[row, rows] = best[:, end - length : end].mean(dim=1).cpu().numpy()
        return scores


def colbert(
    task: Task, budget: Budget, work: Path, progress: Progress, settings: ColbertSettings | None = None
) -> Answers:
    """Train and answer."""
    settings = settings or ColbertSettings()
    model = Colbert(load_tower(task, budget), settings.dimension, budget.seed)
    tower, clicks = model.tower, Clicks(task, budget)

    def loss_of(step: int) -> Tensor:
        batch = clicks.batch(step)
        queries = model(
            *tower.tokenizer.encode([task.queries[row] for row in batch.query_rows], budget.max_query_tokens)
        )
        ads = model(
            *tower.tokenizer.encode(
                [task.ad_texts[row] for row in batch.ad_rows], budget.max_ad_tokens, TextKind.PASSAGE
            )
        )
        return contrastive_loss(max_sim(*queries, *ads) / TEMPERATURE, batch.masked)

    place = directory_of(work, "colbert", budget, settings)
    fit(model, loss_of, budget.num_steps, budget, place / "training", progress)
    index = TokenIndex(model, task.ad_texts, budget.max_ad_tokens, progress)
    rankings = []
    for first in range(0, len(task.test_queries), _NUM_QUERIES):
        ids, lengths = tower.tokenizer.encode(task.test_queries[first : first + _NUM_QUERIES], budget.max_query_tokens)
        with torch.inference_mode():
            tokens, visible = model(ids, lengths)
        rankings += [nearest(task, budget, scores) for scores in index.scores(tokens[visible], lengths)]
        progress("Answering", len(rankings), len(task.test_queries), "")
    return Answers(rankings)
