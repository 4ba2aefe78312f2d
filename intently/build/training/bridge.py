"""Training the BRIDGE encoder: batches of several sources in turns, negatives from easy to hard, a teacher beside them.

A step reads B queries, chooses their explicit negatives by the embeddings just made, and reads the ads: the B positives
and, each once, the negatives of all and what a teacher proposes. Queries meet the positives and negatives in one
softmax, from which known answers and suspects are masked; positives meet all queries in another. The loss is their sum,
plus λ₁ times the divergence from the teacher's ranking of all ads of the batch, plus λ₂ times the encoder's
regularisation (BRIDGE, sections 4.2 to 4.5). With a teacher, only clicks meet in these softmaxes, unless settings say
otherwise: of what augmentation pairs, the teacher says how far it is true. Where the encoder's tokens interact, their
score is given the same task beside the cosine.

Everything random in step n is drawn from (seed, n): a run that was interrupted and resumed is the run that was not. The
embeddings of all ads, by which negatives are chosen, are written once whenever they change, into a file of their own
beside the checkpoint, which names it.

Shape letters: N ads, B batch, C explicit negatives of a query, M ads of a batch, D dimension.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intently.arrays import IntArray
from intently.build.training.batch_task import BatchTask
from intently.build.training.distillation import DistillationSettings, Teacher, add_labels, ask_teacher, propose
from intently.build.training.looks import Look, forgetting, measure
from intently.build.training.negatives import Asked, NegativeSampler, NegativeSettings
from intently.build.training.optimization import (
    WeightAverage,
    build_optimizers,
    dense_parameters,
    fill_from,
    learning_rate_factor,
    load_checkpoint,
    set_learning_rate,
    store_checkpoint,
)
from intently.build.training.pair_reader import PairReader
from intently.build.training.reading import with_typo
from intently.build.training.sampling import PairSampler, SamplingSettings, click_weights
from intently.build.training.schedule import Order, ScheduleSettings, SourceSchedule
from intently.build.training.sources import BridgeData
from intently.errors import ArtifactError, InputError
from intently.files import read_sealed, sealed_write, set_aside
from intently.models.encoder.backbone import TextTokenizer
from intently.models.encoder.embedder import Embedder
from intently.models.encoder.late_interaction import max_sim
from intently.models.encoder.model import BridgeEncoder
from intently.settings import check_range
from intently.types import Progress

_STAGE = "Training the encoder"


@dataclass(frozen=True)
class BridgeTrainingSettings:
    """How the BRIDGE encoder is trained; `plain` turns everything off that fine-tuning alone does not have."""

    num_steps: int = 1_000  # of the encoder's training
    batch_size: int = 128  # pairs a step
    learning_rate: float = 2e-4  # at its highest
    warmup_share: float = 0.06  # of all steps, over which the learning rate rises
    weight_decay: float = 0.01  # of AdamW
    temperature: float = 0.05  # of the contrastive softmax
    parts_rate: float = 5.0  # times the learning rate: that of all parts but the backbone, which begin from nothing
    typo_rate: float = 0.1  # share of queries that are read with a typing mistake
    feature_dropout: float = 0.15  # share of ads that are read without augmentation, as new ones will be
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    negatives: NegativeSettings = field(default_factory=NegativeSettings)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)  # where there is a teacher
    regularisation_weight: float = 1e-4  # λ₂
    average_share: float = 0.0  # of all steps, the last: the weights become their mean over these
    num_held_out: int = 200  # pairs of each source to measure it by; 0: none
    eval_steps: int = 250  # between two looks at these
    checkpoint_steps: int = 100  # steps between two checkpoints, from which an interrupted build goes on
    seed: int = 0  # of everything that is drawn

    def __post_init__(self) -> None:
        check_range(self, "num_steps", "batch_size", "eval_steps", "checkpoint_steps", low=1)
        check_range(self, "learning_rate", "parts_rate", "temperature", exclusive=True)
        check_range(self, "weight_decay", "regularisation_weight")
        check_range(self, "warmup_share", "typo_rate", "feature_dropout", "average_share", high=1)
        check_range(self, "num_held_out")
        check_range(self, "seed", high=2**32 - 1)

    def plain(self) -> "BridgeTrainingSettings":
        """Return plain fine-tuning of the same length: the shuffled union, its batch's negatives, one loss.

        It is meant for an encoder without parts, and one source, the clicks.
        """
        return replace(
            self,
            schedule=ScheduleSettings(order=Order.CONCATENATED),
            negatives=NegativeSettings(judged=False),
            sampling=SamplingSettings(),
            feature_dropout=0.0,
            distillation=DistillationSettings(weight=0),
            regularisation_weight=0.0,
            average_share=0.0,
        )


@dataclass(frozen=True)
class TrainedEncoder:
    """A trained encoder, the smoothed losses of its last steps, and how it came there."""

    encoder: BridgeEncoder
    num_steps: int
    losses: dict[str, float]
    num_drawn: dict[str, int]  # pairs of each source that were learnt, repeated ones again
    history: tuple[Look, ...]

    def forgetting(self) -> dict[str, float]:
        """Return for each source by how much its last reciprocal rank lies below its best; empty without looks."""
        return forgetting(self.history)


def train_bridge(
    encoder: BridgeEncoder,
    tokenizer: TextTokenizer,
    data: BridgeData,
    settings: BridgeTrainingSettings,
    *,
    checkpoint: Path,
    teacher: Teacher | None = None,
    progress: Progress | None = None,
) -> TrainedEncoder:
    """Train in place from where `checkpoint` stands (or the start) and return the encoder, on the device it lies on.

    Raises `InputError` for an encoder that reads augmentation without features of the right size, for a teacher whose
    scores are not finite, and for a checkpoint of other sources; `FloatingPointError` for a loss that is not finite.
    """
    run = _Run(encoder, tokenizer, data, settings, teacher, progress or (lambda *_: None))
    run.restore(checkpoint)
    if run.step == 0:
        run.look()
    encoder.train()
    while run.step < settings.num_steps:
        run.take_step()
        ended = run.step == settings.num_steps
        if ended:
            run.average.fill(encoder)
        if ended or run.step % settings.eval_steps == 0:
            run.look()
        if run.step % settings.checkpoint_steps == 0 and not ended:
            run.store(checkpoint)
    encoder.eval()
    drawn = {source.name: number for source, number in zip(data.sources, run.num_drawn.tolist(), strict=True)}
    return TrainedEncoder(encoder, run.step, run.losses, drawn, tuple(run.history))


class _Run:
    """A training on its way: what a checkpoint holds, and what is derived from data and settings."""

    def __init__(
        self,
        encoder: BridgeEncoder,
        tokenizer: TextTokenizer,
        data: BridgeData,
        settings: BridgeTrainingSettings,
        teacher: Teacher | None,
        show: Progress,
    ) -> None:
        _check_features(encoder, data)
        self.step = 0
        self._encoder, self._tokenizer, self._data, self._settings = encoder, tokenizer, data, settings
        self._teacher, self._show = teacher if settings.distillation.weight else None, show
        taught = settings.distillation.weight
        self._weights = {
            "contrastive": 1.0,
            "late contrastive": 1.0,
            "distillation": taught,
            "late distillation": taught,
            "regularisation": settings.regularisation_weight,
        }
        self._optimizers = build_optimizers(
            encoder,
            settings.learning_rate,
            settings.weight_decay,
            encoder.parts_parameters(),
            settings.parts_rate,
        )
        self._reader = PairReader(encoder, tokenizer, data, self._meanwhile)
        learnt, held_out = data.split(settings.num_held_out, settings.seed)
        weights = _weights(data, settings.sampling)
        if settings.schedule.order is Order.CONCATENATED:
            even = settings.schedule.shares(np.ones(len(learnt)))
            for pool, share in zip(learnt, even, strict=True):
                weights[pool] *= share / weights[pool].sum()
            learnt = [np.concatenate(learnt)]
        self._pools, self._held_out = learnt, held_out
        self._samplers = [
            PairSampler(weights[pool], settings.batch_size, (settings.seed, 2, index))
            for index, pool in enumerate(learnt)
        ]
        self._schedule = SourceSchedule(len(learnt), settings.num_steps, settings.schedule, settings.seed)
        self._negatives = NegativeSampler(data, settings.negatives)
        self._queued_rows = np.empty(0, dtype=np.int64)
        self._queued = torch.empty((0, encoder.dimension), device=encoder.device)
        self._stored_at = -1  # the step before which the ads were embedded that lie beside the checkpoint
        self.average = WeightAverage()
        self.losses: dict[str, float] = {}
        self.num_drawn = np.zeros(len(data.sources), dtype=np.int64)
        self.history: list[Look] = []

    def take_step(self) -> None:
        """Learn one batch."""
        data, settings, encoder, step = self._data, self._settings, self._encoder, self.step
        if settings.negatives.mines and step % settings.negatives.refresh_steps == 0:
            self._refresh()
        # Dropout, where a backbone has it, follows from the step as well.
        torch.manual_seed(int(np.random.default_rng((settings.seed, 5, step)).integers(2**63)))
        rng = np.random.default_rng((settings.seed, 1, step))
        factor = learning_rate_factor(step, settings.num_steps, settings.warmup_share)
        set_learning_rate(self._optimizers, settings.learning_rate * factor)

        source = self._schedule.draw(step)
        pairs = self._pools[source][self._samplers[source].batch(int(self._schedule.num_drawn[source]))]
        query_rows, ad_rows = data.pairs.query_rows[pairs], data.pairs.ad_rows[pairs]
        texts = [data.queries[row] for row in query_rows]
        typed = [with_typo(text, rng) if rng.random() < settings.typo_rate else text for text in texts]
        queries = self._reader.queries(typed)
        asked = Asked(query_rows, ad_rows, queries.embeddings.detach())
        # (B,) whose pairs are learnt by contrast; the others by the teacher alone.
        contrasted = (data.pairs.sources[pairs] == 0) | (self._teacher is None) | (not settings.distillation.alone)
        own = self._own_negatives(asked, rng)
        own[~contrasted] = -1
        taught, proposed = self._asked_teacher(texts, rng)
        extra = np.setdiff1d(np.append(own, proposed), np.append(ad_rows, -1))
        all_rows = np.append(ad_rows, extra)
        bare = rng.random(len(all_rows)) < settings.feature_dropout
        ads = self._reader.ads(np.append(query_rows, np.full(len(extra), -1)), all_rows, bare)

        cosines = queries.embeddings @ ads.embeddings.T
        task = BatchTask(
            torch.from_numpy(self._masked(asked, extra, own)).to(encoder.device),
            torch.from_numpy(contrasted).to(encoder.device),
            None if taught is None else self._taught(taught[:, all_rows], query_rows, all_rows, contrasted),
            settings.temperature,
        )
        queued = self._queued_similarity(asked, queries.embeddings, cosines.detach().diagonal())
        losses = task.losses(cosines, queued)
        if encoder.settings.token_dimension:
            late = task.losses(max_sim(queries.tokens, queries.real, ads.tokens, ads.real))
            losses |= {f"late {name}": loss for name, loss in late.items()}
        if settings.regularisation_weight:
            losses["regularisation"] = encoder.regularisation()
        self._descend(torch.stack([self._weights[name] * loss for name, loss in losses.items()]).sum())

        now = {name: value.item() for name, value in losses.items()}
        if not all(math.isfinite(value) for value in now.values()):
            raise FloatingPointError(f"the loss is not finite at step {step}: {now}")
        now["accuracy"] = task.accuracy(cosines)
        self._schedule.report(source, now["accuracy"])
        asked_about = np.isin(all_rows, np.append(ad_rows, own))  # not only proposed
        self._enqueue(all_rows[asked_about], ads.embeddings.detach()[torch.from_numpy(asked_about)])
        self.num_drawn += np.bincount(data.pairs.sources[pairs], minlength=len(self.num_drawn))
        self.losses |= {name: 0.95 * self.losses.get(name, value) + 0.05 * value for name, value in now.items()}
        self.step += 1
        if self.step > settings.num_steps * (1 - settings.average_share):
            self.average.add(encoder)
        note = ", ".join(f"{name} {value:.3f}" for name, value in self.losses.items())
        self._show(_STAGE, self.step, settings.num_steps, note)

    def _descend(self, loss: Tensor) -> None:
        self._encoder.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(dense_parameters(self._encoder), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()

    def look(self) -> None:
        """Measure the held-out pairs of every source, if there are any."""
        if any(map(len, self._held_out)):
            self.history.append(
                measure(self._encoder, self._reader, self._data, self._held_out, self.step, self._meanwhile)
            )

    def _meanwhile(self, stage: str, done: int, total: int, _: str) -> None:
        """Tell of what interrupts the steps, without an end of their stage."""
        self._show(_STAGE, self.step, self._settings.num_steps, f"{stage[0].lower()}{stage[1:]}, {done:,} of {total:,}")

    def _refresh(self) -> None:
        """Embed all ads, to choose negatives by."""
        data = self._data
        embeddings = Embedder(self._encoder, self._tokenizer).embed_ads(
            data.ad_texts,
            data.features,
            progress=lambda _, *amount: self._meanwhile("Embedding ads for negatives", *amount),
        )
        self._encoder.train()
        self._negatives.embeddings = torch.from_numpy(embeddings).to(self._encoder.device)

    def _own_negatives(self, asked: Asked, rng: np.random.Generator) -> IntArray:
        """Return each query's explicit negatives (B, C), -1 for none; the last column are those judged irrelevant."""
        settings = self._settings
        drawn = self._negatives.draw(asked, self.step / settings.num_steps, rng)
        judged = np.full((len(drawn), 1), -1, dtype=np.int64)
        if settings.negatives.judged:
            judged[:, 0] = self._data.draw_irrelevant(asked.query_rows, rng)
        return np.append(drawn, judged, axis=1)

    def _asked_teacher(
        self, texts: Sequence[str], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32] | None, IntArray]:
        """Return the teacher's scores (B, N) and what it proposes (B, C); None and nothing without a teacher."""
        if self._teacher is None:
            return None, np.empty((len(texts), 0), dtype=np.int64)
        scores = ask_teacher(self._teacher, texts, len(self._data.ad_texts))
        return scores, propose(scores, self._settings.distillation, rng)

    def _taught(
        self, scores: NDArray[np.float32], query_rows: IntArray, ad_rows: IntArray, contrasted: NDArray[np.bool_]
    ) -> Tensor:
        """Return the teacher's logits (B, M) for its scores (B, M), labels added where pairs are `contrasted (B,)`."""
        distillation = self._settings.distillation
        bonuses = distillation.label_bonus * contrasted
        labelled = add_labels(scores, self._data, query_rows, ad_rows, bonuses)
        return torch.from_numpy(labelled / distillation.temperature).to(self._encoder.device)

    def _masked(self, asked: Asked, extra: IntArray, own: IntArray) -> NDArray[np.bool_]:
        """Return (B, M) which ads, of the positives and the `extra` ones, are no negatives of which queries."""
        others = self._data.is_positive(asked.query_rows[:, None], asked.ad_rows[None, :])
        np.fill_diagonal(others, False)
        judged = (own[:, -1:] == extra) & ~self._data.is_positive(asked.query_rows[:, None], extra[None, :])
        suspects = self._negatives.suspects(asked, extra) & ~judged
        # What only the teacher proposed is near to the query, and nobody said that it is wrong.
        return np.append(others, suspects | ~np.isin(extra, own), axis=1)

    def _queued_similarity(self, asked: Asked, queries: Tensor, own: Tensor) -> Tensor:
        """Return scaled cosines (B, queued) with the ads of the batches before, known and likely answers masked.

        `own (B,)` are the cosines with the positives.
        """
        known = torch.from_numpy(self._data.is_positive(asked.query_rows[:, None], self._queued_rows[None, :]))
        cosines = queries @ self._queued.T
        likely = cosines.detach() > own[:, None] + self._settings.negatives.margin
        return (cosines / self._settings.temperature).masked_fill(known.to(likely.device) | likely, -torch.inf)

    def _enqueue(self, ad_rows: IntArray, embeddings: Tensor) -> None:
        number = self._settings.negatives.num_queued
        if number:
            self._queued_rows = np.append(self._queued_rows, ad_rows)[-number:]
            self._queued = torch.cat((self._queued, embeddings))[-number:]

    def store(self, path: Path) -> None:
        """Write everything that the next step depends on."""
        embeddings = self._store_embeddings(path)
        progress = {
            "sources": [source.name for source in self._data.sources],
            "step": self.step,
            "losses": self.losses,
            "schedule": self._schedule.state(),
            "num_drawn": self.num_drawn.tolist(),
            "history": [vars(look) for look in self.history],
            "queued_rows": self._queued_rows.tolist(),
            "queued": self._queued,
            "average": vars(self.average),
            "ad_embeddings": embeddings,
        }
        store_checkpoint(path, self._encoder, self._optimizers, progress)
        for file in path.parent.iterdir():
            if file.name.startswith(f"{path.stem}.ads-") and file.suffix == ".npy" and file.name != embeddings:
                file.unlink()

    def _store_embeddings(self, path: Path) -> str | None:
        """Write the ads' embeddings, if they are not written, and return the file's name; None if none are needed."""
        step, every = self.step, self._settings.negatives.refresh_steps
        if self._negatives.embeddings is None or step % every == 0:  # renewed by the next step, in any case
            return None
        embedded_at = step // every * every
        file = path.with_name(f"{path.stem}.ads-{embedded_at}.npy")
        if self._stored_at != embedded_at:
            with sealed_write(file) as content:
                np.save(content, self._negatives.embeddings.cpu().numpy())
            self._stored_at = embedded_at
        return file.name

    def restore(self, path: Path) -> None:
        """Take up what `store` wrote, if the file is there."""
        stored = load_checkpoint(path, self._encoder.device)
        if stored is None:
            return
        progress, embeddings = stored["progress"], None
        if name := progress["ad_embeddings"]:
            try:
                embeddings = np.load(read_sealed(path.with_name(name)))
            except (OSError, ArtifactError) as error:  # without them training cannot go on as it would have
                set_aside(path, f"{path} lacks the ads' embeddings ({error})")
                return
        names = [source.name for source in self._data.sources]
        if progress["sources"] != names:
            raise InputError(
                f"is of a training from {', '.join(progress['sources'])}, not from {', '.join(names)}",
                cure="delete it to start again",
                path=path,
            )
        fill_from(stored, self._encoder, self._optimizers)
        self.step, self.losses = progress["step"], progress["losses"]
        self._schedule.restore(progress["schedule"])
        self.num_drawn = np.array(progress["num_drawn"], dtype=np.int64)
        self.history = [Look(**look) for look in progress["history"]]
        self._queued_rows = np.array(progress["queued_rows"], dtype=np.int64)
        self._queued = progress["queued"]
        self.average.num_steps, self.average.means = progress["average"]["num_steps"], progress["average"]["means"]
        if embeddings is not None:
            every = self._settings.negatives.refresh_steps
            self._stored_at = self.step // every * every
            self._negatives.embeddings = torch.from_numpy(embeddings).to(self._encoder.device)


def _check_features(encoder: BridgeEncoder, data: BridgeData) -> None:
    if not encoder.settings.reads_augmentation:
        return
    if data.features is None:
        raise InputError(
            "the encoder reads augmentation and the data has no features",
            cure="compute them, or turn gate and cross-attention off",
        )
    if data.features.dimension != encoder.feature_size:
        raise InputError(
            f"features of {data.features.dimension} dimensions for an encoder that takes {encoder.feature_size}",
            cure="compute them with the encoder that training starts from",
        )


def _weights(data: BridgeData, settings: SamplingSettings) -> NDArray[np.float64]:
    """Return how often each pair is drawn; those of the first source, the clicks, by their ads' clicks as well."""
    weights = data.pairs.weights.copy()
    clicked = np.flatnonzero(data.pairs.sources == 0)
    ads = data.pairs.ad_rows[clicked]
    qualities = np.ones(len(ads)) if data.qualities is None else data.qualities[ads]
    aware = click_weights(data.clicks_of_ads[ads], qualities, settings)
    weights[clicked] *= aware / aware.mean()  # beside other sources, in one pool, the clicks keep their share
    return weights
