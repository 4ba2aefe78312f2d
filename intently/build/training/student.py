"""Training the student: one contrastive loss for the embedding, one trie-masked loss for the intentions.

Each step takes B query–ad pairs. Queries and ads are encoded once; their embeddings meet in a softmax over all ads of
the batch (ads known to answer the query are masked out of its negatives, ads judged irrelevant are added), and every
source that has an intention also predicts one, token by token, over the tokens that the trie allows there, guided by a
prior. Decoding (`trie` mode) has the same prior and renormalisation, so the probabilities are calibrated for it.

Everything random in step n is drawn from (seed, n): a run that was interrupted and resumed is the run that was not.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from intently.arrays import IntArray
from intently.build.training.optimization import (
    build_optimizers,
    dense_parameters,
    learning_rate_factor,
    restore_checkpoint,
    set_learning_rate,
    store_checkpoint,
)
from intently.build.training.pairs import TrainingData
from intently.build.training.prior import TrainingPrior
from intently.build.training.reading import length_groups, with_typo
from intently.build.training.sampling import PairSampler
from intently.intentions.prior import Prior
from intently.intentions.trie import Trie
from intently.models.backbone import Backbone
from intently.models.centers import Centers
from intently.models.device import autocast
from intently.models.tokenizer import StudentTokenizer, TextKind
from intently.settings import check_range
from intently.types import Progress

_STAGE = "Training the student"


@dataclass(frozen=True)
class TrainingSettings:
    """How the student is trained."""

    num_epochs: int = 3  # passes over the clicks
    min_steps: int = 300  # a small click log is passed over more often
    max_steps: int = 2_000  # at most, however many clicks there are; 0: nothing is trained
    batch_size: int = 128  # pairs a step
    phrase_share: float = 0.15  # of a batch: pairs of an ad and one of its own intentions
    learning_rate: float = 2e-4  # at its highest
    warmup_share: float = 0.06  # of all steps, over which the learning rate rises
    weight_decay: float = 0.01  # of AdamW
    temperature: float = 0.05  # of the contrastive softmax
    contrastive_weight: float = 1.0  # of the contrastive loss; 0 leaves the embedding as it comes
    intention_weight: float = 0.5  # of the intention loss
    # To say what near intentions lack, as these guide decoding; false: everything, for a decoder without a prior.
    guided: bool = True
    max_query_tokens: int = 32  # longer queries are cut, in training
    max_ad_tokens: int = 48  # longer ads are cut, in training
    typo_rate: float = 0.1  # share of queries that are read with a typing mistake
    # Steps between two checkpoints, from which an interrupted build goes on; then all intentions are embedded anew.
    checkpoint_steps: int = 100
    seed: int = 0  # of everything that is drawn

    def __post_init__(self) -> None:
        check_range(self, "num_epochs", "batch_size", "checkpoint_steps", low=1)
        check_range(self, "min_steps", "max_steps")
        check_range(self, "learning_rate", "temperature", exclusive=True)
        check_range(self, "weight_decay", "contrastive_weight", "intention_weight")
        check_range(self, "phrase_share", "warmup_share", "typo_rate", high=1)
        check_range(self, "max_query_tokens", "max_ad_tokens", low=3)  # one between [CLS] and [SEP]
        check_range(self, "seed", high=2**32 - 1)


@dataclass(frozen=True)
class TrainedStudent:
    """A trained backbone and the smoothed losses of its last steps."""

    backbone: Backbone
    num_steps: int
    losses: dict[str, float]


class IntentionLoss:
    """The loss of saying given intentions, over what the trie allows at each token.

    Scores are computed against the tokens that occur in any intention (U of V), then masked position by position.
    """

    def __init__(self, trie: Trie, token_ids: list[list[int]], end_id: int) -> None:
        used = np.unique(np.append(trie.tokens[1:], end_id))
        self._used = torch.from_numpy(used)
        self._column = np.full(int(used.max()) + 1, -1, dtype=np.int64)
        self._column[used] = np.arange(len(used))
        self._trie, self._token_ids, self._end_column = trie, token_ids, int(self._column[end_id])

    def targets(self, intention_ids: IntArray) -> Tensor:
        """Return the token ids (B, T) of intentions, padded with 0."""
        sequences = [self._token_ids[i] for i in intention_ids]
        padded = np.zeros((len(sequences), max(map(len, sequences))), dtype=np.int64)
        for row, tokens in enumerate(sequences):
            padded[row, : len(tokens)] = tokens
        return torch.from_numpy(padded)

    def __call__(
        self, backbone: Backbone, states: Tensor, intention_ids: IntArray, prior: Prior | None = None
    ) -> Tensor:
        """Return the summed negative log-probability of intentions; `states (B, T + 1, D)` predict token 1 … end.

        `prior` is that of the B texts; the probabilities are then those of guided decoding.
        """
        trie = self._trie
        lengths = np.array([len(self._token_ids[i]) for i in intention_ids])
        num_positions = states.shape[1]
        sequences = np.full((len(lengths), num_positions), -1, dtype=np.int64)
        for row, intention_id in enumerate(intention_ids):
            sequences[row, : lengths[row]] = self._token_ids[intention_id]
        roots = np.full((len(lengths), 1), trie.root)
        nodes = np.concatenate((roots, trie.walk(sequences[:, :-1])), axis=1)
        real = np.arange(num_positions) <= lengths[:, None]
        nodes = nodes[real]
        target = np.where(sequences >= 0, self._column[sequences], self._end_column)[real]

        # What each choice has beside the model's score: minus infinity where the trie forbids it.
        children, owners = trie.children(nodes)
        ends = np.flatnonzero(trie.intention_ids[nodes] >= 0)
        rows = np.concatenate((owners, ends))
        columns = np.append(self._column[trie.tokens[children]], np.full(len(ends), self._end_column))
        masses = np.zeros(len(rows))
        if prior is not None:
            chosen, is_end = np.concatenate((children, nodes[ends])), np.arange(len(rows)) >= len(children)
            masses = prior.log_masses(np.nonzero(real)[0][rows], chosen, is_end)
        beside = torch.full((len(nodes), len(self._used)), -torch.inf)
        beside[rows, columns] = torch.from_numpy(masses).float()

        device = states.device
        used = self._used.to(device)
        weight = backbone.word_embeddings(used)
        head = backbone.head(states[torch.from_numpy(real).to(device)])
        scores = F.linear(head, weight, backbone.head_bias[used]).float()
        scores = scores + beside.to(device)
        return F.cross_entropy(scores, torch.from_numpy(target).to(device), reduction="sum")


def train_student(
    backbone: Backbone,
    tokenizer: StudentTokenizer,
    data: TrainingData,
    trie: Trie,
    settings: TrainingSettings,
    *,
    checkpoint: Path,
    token_ids: list[list[int]] | None = None,
    centers: Centers | None = None,
    prior: TrainingPrior | None = None,
    progress: Progress | None = None,
) -> TrainedStudent:
    """Train in place from where `checkpoint` stands (or the start) and return the student; CPU or GPU as it lies.

    `token_ids` are what the student says for each of `data.intentions`, if that is not their text (codes, say).
    `centers` are those that the student's embeddings are read with, in training as afterwards.
    """
    device = next(backbone.parameters()).device
    num_steps = count_steps(len(data.clicks), settings)
    optimizers = build_optimizers(backbone, settings.learning_rate, settings.weight_decay)
    token_ids = token_ids or tokenizer.encode_bare(data.intentions)
    intention_loss = IntentionLoss(trie, token_ids, tokenizer.sep_id)
    ad_ids, ad_lengths = tokenizer.encode(data.ad_texts, settings.max_ad_tokens, TextKind.PASSAGE)
    sampler = _BatchSampler(data, settings)
    restored = restore_checkpoint(checkpoint, backbone, optimizers) or {"step": 0, "losses": {}}
    losses: dict[str, float] = restored["losses"]
    told = progress or (lambda stage, done, total, note: None)
    backbone.train()
    for step in range(restored["step"], num_steps):
        if prior is not None and step % settings.checkpoint_steps == 0:  # where a run may be interrupted
            prior.renew(device, partial(_report, told, step, num_steps))
            backbone.train()
        factor = learning_rate_factor(step, num_steps, settings.warmup_share)
        set_learning_rate(optimizers, settings.learning_rate * factor)
        batch = sampler.batch(step)
        query_ids, query_lengths = tokenizer.encode(batch.queries, settings.max_query_tokens)
        with autocast(device):
            query_embeddings, query_intention = read_sources(
                backbone,
                query_ids,
                query_lengths,
                batch.query_targets,
                intention_loss,
                centers=centers,
                prior=prior,
            )
            rows = batch.ad_rows
            ad_embeddings, ad_intention = read_sources(
                backbone,
                ad_ids[rows],
                ad_lengths[rows],
                batch.ad_targets,
                intention_loss,
                kind=TextKind.PASSAGE,
                centers=centers,
                prior=prior,
            )
        similarity = query_embeddings @ ad_embeddings.T / settings.temperature
        similarity = similarity.masked_fill(torch.from_numpy(batch.masked).to(device), -torch.inf)
        own = torch.arange(len(similarity), device=device)
        contrastive = F.cross_entropy(similarity, own) + F.cross_entropy(similarity[:, : len(own)].T, own)
        intention = settings.intention_weight * (query_intention + ad_intention)
        loss = settings.contrastive_weight * contrastive + intention
        backbone.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(dense_parameters(backbone), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        now = {
            "contrastive": contrastive.item(),
            "query intention": query_intention.item(),
            "ad intention": ad_intention.item(),
        }
        losses = {name: 0.95 * losses.get(name, value) + 0.05 * value for name, value in now.items()}
        if not all(math.isfinite(value) for value in now.values()):
            raise FloatingPointError(f"the loss is not finite at step {step}: {now}")
        if (step + 1) % settings.checkpoint_steps == 0 and step + 1 < num_steps:
            store_checkpoint(checkpoint, backbone, optimizers, {"step": step + 1, "losses": losses})
        note = ", ".join(f"{name} {value:.2f}" for name, value in losses.items())
        told(_STAGE, step + 1, num_steps, note)
    backbone.eval()
    return TrainedStudent(backbone, num_steps, losses)


def _report(progress: Progress, step: int, num_steps: int, done: int, total: int) -> None:
    progress(_STAGE, step, num_steps, f"embedding intention {done:,} of {total:,}")


def _centered(embeddings: Tensor, centers: Centers, kind: TextKind) -> Tensor:
    """Return unit embeddings (B, D) as `Centers.subtract` does."""
    mean, direction = (torch.from_numpy(each).to(embeddings) for each in (centers.mean(kind), centers.direction))
    left = embeddings - mean
    return F.normalize(left - (left @ direction)[:, None] * direction, dim=1)


def count_steps(num_clicks: int, settings: TrainingSettings) -> int:
    """Return the number of steps that `settings` mean for this many clicks."""
    per_epoch = num_clicks / (settings.batch_size * (1 - settings.phrase_share))
    return int(min(max(settings.num_epochs * per_epoch, settings.min_steps), settings.max_steps))


@dataclass(frozen=True)
class _Batch:
    queries: list[str]  # B
    ad_rows: IntArray  # B positives, then ads judged irrelevant to some of the queries
    masked: NDArray[np.bool_]  # (B, ads): another ad that answers the query, to be left out of its negatives
    query_targets: IntArray  # (B,) intention ids, -1 for none
    ad_targets: IntArray  # (ads,), -1 for those judged irrelevant


class _BatchSampler:
    """Draws batch n: clicks without replacement within an epoch, phrase pairs at random."""

    def __init__(self, data: TrainingData, settings: TrainingSettings) -> None:
        self._data, self._settings = data, settings
        share = settings.phrase_share if len(data.clicks) else 1.0
        self._num_phrases = round(settings.batch_size * share)
        weights = np.ones(len(data.clicks)) if data.click_weights is None else data.click_weights
        self._clicks = PairSampler(weights, settings.batch_size - self._num_phrases, (settings.seed, 2))
        self._irrelevant_from = np.searchsorted(data.irrelevant[:, 0], np.arange(len(data.queries) + 1))
        self._speaking = np.flatnonzero(np.diff(data.ad_intentions.offsets))

    def batch(self, step: int) -> _Batch:
        data, settings = self._data, self._settings
        rng = np.random.default_rng((settings.seed, 1, step))
        clicks = data.clicks[self._clicks.batch(step)]
        phrase_ads = rng.choice(self._speaking, size=self._num_phrases)
        spoken = data.ad_intentions.sample(phrase_ads, rng)
        query_rows = np.concatenate((clicks[:, 0], np.full(len(phrase_ads), -1)))
        ad_rows = np.concatenate((clicks[:, 1], phrase_ads))
        queries = [data.queries[row] for row in clicks[:, 0]] + [data.intentions[i] for i in spoken]
        queries = [with_typo(query, rng) if rng.random() < settings.typo_rate else query for query in queries]
        query_targets = np.concatenate(
            (data.query_intentions.sample(clicks[:, 0], rng), data.ad_intentions.sample(phrase_ads, rng))
        )
        start, end = self._irrelevant_from[clicks[:, 0]], self._irrelevant_from[clicks[:, 0] + 1]
        some = end > start
        drawn = data.irrelevant[rng.integers(start[some], end[some]), 1]
        ad_targets = np.append(data.ad_intentions.sample(ad_rows, rng), np.full(len(drawn), -1))
        ad_rows = np.concatenate((ad_rows, drawn))
        masked = data.is_click(query_rows[:, None], ad_rows[None, :]) | (
            ad_rows[None, :] == ad_rows[: len(queries), None]
        )
        masked[np.arange(len(queries)), np.arange(len(queries))] = False
        return _Batch(queries, ad_rows, masked, query_targets, ad_targets)


def read_sources(
    backbone: Backbone,
    token_ids: IntArray,
    lengths: IntArray,
    intention_ids: IntArray,
    intention_loss: IntentionLoss,
    *,
    kind: TextKind = TextKind.QUERY,
    centers: Centers | None = None,
    prior: TrainingPrior | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the embeddings (B, D) of sources of a kind, and the mean loss of saying their intentions (-1: none).

    The embeddings are `centers`' if there are any, and give the `prior` by which the intentions are then guided.
    """
    device = backbone.head_bias.device
    groups = length_groups(lengths)
    embeddings, losses = [], []
    for group in groups:
        longest = int(lengths[group].max())
        ids, num = torch.from_numpy(token_ids[group, :longest]).to(device), torch.from_numpy(lengths[group]).to(device)
        states, cache = backbone.encode(ids, num)
        pooled = backbone.pool(states, num)
        embeddings.append(pooled if centers is None else _centered(pooled, centers, kind))
        speaks = np.flatnonzero(intention_ids[group] >= 0)
        if len(speaks):
            spoken_ids = intention_ids[group[speaks]]
            rows = torch.from_numpy(speaks).to(device)
            source = [(key[rows], value[rows]) for key, value in cache]
            decoded = backbone.decode_all(source, num[rows], intention_loss.targets(spoken_ids).to(device))
            first = backbone.last_state(states[rows], num[rows]).unsqueeze(1)
            guided_by = prior.of(embeddings[-1][rows]) if prior is not None else None
            losses.append(intention_loss(backbone, torch.cat((first, decoded), dim=1), spoken_ids, guided_by))
    back = torch.from_numpy(np.argsort(np.concatenate(groups))).to(device)
    num_spoken = max(int((intention_ids >= 0).sum()), 1)
    loss = torch.stack(losses).sum() / num_spoken if losses else embeddings[0].new_zeros(())
    return torch.cat(embeddings)[back], loss
