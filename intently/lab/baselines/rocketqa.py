"""RocketQA-style: negatives from other batches, and hard negatives that a cross-encoder has looked through.

1. A dual encoder is trained with cross-batch negatives: the ads of the batches before, embedded anew without
   gradients, stand in for those that other GPUs hold at the time. (A queue of old embeddings would be cheaper, but in a
   trial from random weights the encoder learnt to flee the queue and nothing else.)
2. It retrieves the best unclicked ads of training queries. A cross-encoder, which reads query and ad together, is
   trained to tell clicked ads from these, and those that it takes for clicked ones itself are removed: *denoising*.
3. The dual encoder is trained on, with one of the hard negatives that are left for each query.

The budget's steps are split over the three; all learn from `batch_size` pairs. Reading the ads of another batch comes
on top, forwards only: a sixth to a quarter of a step's work. One tower reads queries and ads. Left out is the
original's fourth step, data augmentation by labelling further queries, for which there are none.
Source: Qu et al., "RocketQA" (NAACL 2021), section 4; the queue that was tried: Wang et al., "Cross-Batch Memory"
(CVPR 2020).

Shape letters: B pairs of a query and an ad, P candidate pairs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intently.arrays import Float32Array, IntArray
from intently.build.training.pairs import Choices
from intently.errors import InputError
from intently.files import atomic_write
from intently.index.postings import top_rows
from intently.lab.baselines.contrastive import TEMPERATURE, Clicks, contrastive_loss, fit
from intently.lab.baselines.dual_encoder import DualEncoder
from intently.lab.baselines.task import Answers, Budget, Task, directory_of
from intently.lab.baselines.tower import Tower, load_tower
from intently.models.tokenizer import StudentTokenizer, TextKind
from intently.settings import check_range
from intently.types import Progress


@dataclass(frozen=True)
class RocketSettings:
    """How the budget is split, and what counts as a hard negative."""

    first_share: float = 0.4  # of the steps: the dual encoder without hard negatives
    cross_share: float = 0.2  # of the steps: the cross-encoder; the rest is the dual encoder with hard negatives
    other_batches: int = 2  # batches whose clicked ads are negatives beside those of the step itself
    num_candidates: int = 10  # ads retrieved a query, of which hard negatives are taken
    # Candidates with a probability above this count as clicked. The original takes only those below 0.1, of a
    # cross-encoder trained for long; a small one is never as sure.
    max_probability: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "first_share", "cross_share", "max_probability", high=1)
        check_range(self, "other_batches")
        check_range(self, "num_candidates", low=1)

    def steps(self, num_steps: int) -> tuple[int, int, int]:
        """Return the steps of the three stages, at least one each; raise `InputError` for fewer than three in all."""
        if num_steps < 3:
            raise InputError(f"RocketQA has three stages and the budget {num_steps} steps; it needs one for each")
        first = min(max(1, round(self.first_share * num_steps)), num_steps - 2)
        cross = min(max(1, round(self.cross_share * num_steps)), num_steps - first - 1)
        return first, cross, num_steps - first - cross


def cross_batch_loss(
    model: DualEncoder, task: Task, clicks: Clicks, step: int, num_batches: int, negatives: Choices | None = None
) -> Tensor:
    """Return the contrastive loss of a step over its own ads and those of the `num_batches` steps before it.

    The latter are embedded as the model is now, without gradients.
    """
    batch = clicks.batch(step, negatives)
    queries, ads = model.queries(task, batch.query_rows), model.ads(task, batch.ad_rows)
    earlier = [clicks.drawn(before)[:, 1] for before in range(max(0, step - num_batches), step)]
    if not earlier:
        return contrastive_loss(queries @ ads.T / TEMPERATURE, batch.masked)
    others = np.setdiff1d(np.concatenate(earlier), batch.ad_rows)
    with torch.no_grad():
        ads = torch.cat((ads, model.ads(task, others))) if len(others) else ads
    masked = np.concatenate((batch.masked, clicks.are(batch.query_rows[:, None], others[None, :])), axis=1)
    return contrastive_loss(queries @ ads.T / TEMPERATURE, masked)


class CrossEncoder(nn.Module):
    """Reads `[CLS] query [SEP] ad [SEP]` and returns one score; what it starts from says 0 of all."""

    def __init__(self, tower: Tower, budget: Budget) -> None:
        """Raise `InputError` for a tower that is not BERT-style."""
        super().__init__()
        if not isinstance(tower.tokenizer, StudentTokenizer):
            raise InputError(f"the cross-encoder needs a BERT-style checkpoint; {budget.checkpoint} is none")
        self.tower, self._tokenizer, self._budget = tower, tower.tokenizer, budget
        self.head = nn.Linear(tower.hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.to(tower.device)

    def forward(self, task: Task, query_rows: IntArray, ad_rows: IntArray) -> Tensor:
        """Return the log-odds (B,) that a query clicks an ad."""
        tokenizer, budget = self._tokenizer, self._budget
        queries, query_lengths = tokenizer.encode([task.queries[row] for row in query_rows], budget.max_query_tokens)
        ads, ad_lengths = tokenizer.encode(
            [task.ad_texts[row] for row in ad_rows], budget.max_ad_tokens, TextKind.PASSAGE
        )
        lengths = query_lengths + ad_lengths - 1  # the ad's own [CLS] is left out
        ids = np.full((len(lengths), int(lengths.max(initial=0))), tokenizer.pad_id, dtype=np.int64)
        for row, (query, ad) in enumerate(zip(query_lengths.tolist(), ad_lengths.tolist(), strict=True)):
            ids[row, :query] = queries[row, :query]
            ids[row, query : query + ad - 1] = ads[row, 1:ad]
        states, _ = self.tower.read(ids, lengths)
        scores: Tensor = self.head(states[:, 0]).squeeze(1)
        return scores

    def loss(self, task: Task, clicks: IntArray, negatives: IntArray) -> Tensor:
        """Return the mean binary cross-entropy of clicks (B, 2) and as many (query, ad) that are none."""
        pairs = np.concatenate((clicks, negatives))
        truth = torch.zeros(len(pairs), device=self.head.weight.device)
        truth[: len(clicks)] = 1.0
        return F.binary_cross_entropy_with_logits(self(task, pairs[:, 0], pairs[:, 1]), truth)


def retrieve_negatives(
    task: Task, clicks: Clicks, model: DualEncoder, query_rows: IntArray, number: int, progress: Progress
) -> IntArray:
    """Return (query_row, ad_row) pairs (P, 2): for each query the `number` nearest ads that it did not click."""
    model.eval()
    ads = model.all_ads(task, progress)
    queries = model.query_tower.embed([task.queries[row] for row in query_rows], model.max_query_tokens, TextKind.QUERY)
    pairs = []
    for done, (query, embedding) in enumerate(zip(query_rows.tolist(), queries, strict=True), start=1):
        scores = ads @ embedding
        scores[clicks.of(query)] = -np.inf
        rows = top_rows(scores, number)
        pairs.append(np.stack((np.full(len(rows), query), rows), axis=1))
        progress("Finding negatives", done, len(query_rows), "")
    return np.concatenate(pairs)


@torch.inference_mode()
def click_probabilities(task: Task, model: CrossEncoder, pairs: IntArray, progress: Progress) -> Float32Array:
    """Return the probability (P,) of a click for (query_row, ad_row) pairs (P, 2)."""
    model.eval()
    probabilities = np.empty(len(pairs), dtype=np.float32)
    for first in range(0, len(pairs), 96):
        part = slice(first, first + 96)
        probabilities[part] = torch.sigmoid(model(task, pairs[part, 0], pairs[part, 1])).cpu().numpy()
        progress("Denoising", min(first + 96, len(pairs)), len(pairs), "")
    return probabilities


def as_choices(pairs: IntArray, clicks: Clicks) -> Choices:
    """Return (query_row, ad_row) pairs (P, 2) as what each query may be given, all of equal weight."""
    return Choices.build(pairs[:, 0], pairs[:, 1], np.ones(len(pairs)), clicks.num_queries)


def rocketqa(
    task: Task, budget: Budget, work: Path, progress: Progress, settings: RocketSettings | None = None
) -> Answers:
    """Train in three stages and answer."""
    settings = settings or RocketSettings()
    num_first, num_cross, num_second = settings.steps(budget.num_steps)
    place, clicks = directory_of(work, "rocketqa", budget, settings), Clicks(task, budget)
    tower = load_tower(task, budget)
    encoder = DualEncoder(tower, tower, budget)

    def first_loss(step: int) -> Tensor:
        return cross_batch_loss(encoder, task, clicks, step, settings.other_batches)

    fit(encoder, first_loss, num_first, budget, place / "first", progress, "Training the encoder")
    negatives = _denoised(task, budget, clicks, encoder, place, progress, settings)

    def second_loss(step: int) -> Tensor:
        later = num_first + num_cross + step
        return cross_batch_loss(encoder, task, clicks, later, settings.other_batches, negatives)

    fit(encoder, second_loss, num_second, budget, place / "second", progress, "Training with hard negatives")
    return encoder.answer(task, budget, progress)


def _denoised(
    task: Task,
    budget: Budget,
    clicks: Clicks,
    encoder: DualEncoder,
    place: Path,
    progress: Progress,
    settings: RocketSettings,
) -> Choices:
    """Return the hard negatives of all queries that the last stage will draw."""
    kept = place / "negatives.npy"
    if kept.exists():
        return as_choices(np.load(kept), clicks)
    num_first, num_cross, num_second = settings.steps(budget.num_steps)
    halves = clicks.sampler(max(1, budget.batch_size // 2))  # with as many negatives a whole batch
    of_cross = [clicks.pairs[halves.batch(step)] for step in range(num_cross)]
    later = [clicks.drawn(num_first + num_cross + step) for step in range(num_second)]
    asking = np.unique(np.concatenate(of_cross + later)[:, 0])
    found = place / "candidates.npy"
    if not found.exists():
        _save(found, retrieve_negatives(task, clicks, encoder, asking, settings.num_candidates, progress))
    pairs = np.load(found)
    candidates = as_choices(pairs, clicks)
    cross = CrossEncoder(load_tower(task, budget), budget)

    def cross_loss(step: int) -> Tensor:
        rows = of_cross[step]
        drawn = candidates.sample(rows[:, 0], np.random.default_rng((budget.seed, 8, step)))
        some = drawn >= 0  # a query that clicked all ads has none
        return cross.loss(task, rows, np.stack((rows[some, 0], drawn[some]), axis=1))

    fit(cross, cross_loss, num_cross, budget, place / "cross", progress, "Training the cross-encoder")
    hard = pairs[click_probabilities(task, cross, pairs, progress) <= settings.max_probability]
    _save(kept, hard)
    return as_choices(hard, clicks)


def _save(path: Path, array: IntArray) -> None:
    with atomic_write(path) as file:
        np.save(file, array)
