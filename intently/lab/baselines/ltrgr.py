"""LTRGR: SEAL whose network is then trained on the ranking itself, not on substrings one by one.

In each further step queries are answered as in retrieval, and where another ad comes within a margin of the best
clicked one, what only the clicked ad contains becomes more probable and what only the other contains less so. The
network goes on learning to say substrings beside that. Source: Li et al., "Learning to Rank in Generative Retrieval"
(2023).

What differs: in this phase an ad's score is the sum of its substrings' weights (alpha 1, beta 0), whose gradient is
that of their log-probabilities, unless one is nearly certain; one of the original's two ranking losses is used. The
further steps come on top of SEAL's training, which is taken over if it is there.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from intently.arrays import IntArray
from intently.build.training.optimization import load_checkpoint
from intently.build.training.student import IntentionLoss
from intently.files import sealed_write
from intently.intentions.decode import Decoded, DecodeSettings
from intently.intentions.trie import Trie
from intently.lab.baselines.generative import Identifiers, as_lists, start, train, trie_of
from intently.lab.baselines.seal import SealSettings, answer_by_substrings, log_odds, substring_identifiers
from intently.lab.baselines.substrings import Substrings
from intently.lab.baselines.task import Answers, Budget, Task, directory_of
from intently.models.student import Student
from intently.settings import check_range
from intently.types import Progress


@dataclass(frozen=True)
class LtrgrSettings:
    """How the ranking is learnt."""

    num_steps: int = 100
    num_queries: int = 16  # a step
    learning_rate: float = 2e-5
    margin: float = 5.0  # by which a clicked ad's score is to exceed all others'; a substring weighs 5 to 15
    ranking_weight: float = 0.3  # of the ranking loss against that of saying substrings
    seal: SealSettings = field(default_factory=SealSettings)

    def __post_init__(self) -> None:
        check_range(self, "num_steps", "num_queries", low=1)
        check_range(self, "learning_rate", exclusive=True)
        check_range(self, "margin", "ranking_weight")


@dataclass(frozen=True)
class Contest:
    """What is to be said more by some queries, and less: positions among the step's queries, and substrings, (E,)."""

    more: tuple[IntArray, IntArray]
    less: tuple[IntArray, IntArray]
    num_lost: int


def contest(
    decoded: list[Decoded], clicked_ads: list[IntArray], identifiers: Identifiers, found: Substrings, margin: float
) -> Contest:
    """Compare each query's best clicked ad with the best other one; those that win by `margin` leave nothing to do."""
    log_priors = np.log(found.counts / found.counts.sum())
    more: list[tuple[int, int]] = []
    less: list[tuple[int, int]] = []
    num_lost = 0
    for row, (said, own) in enumerate(zip(decoded, clicked_ads, strict=True)):
        ids = said.intention_ids
        scores = identifiers.postings.scores(ids, log_odds(said.log_probs, log_priors[ids]))
        best = int(own[scores[own].argmax()])
        others = scores.copy()
        others[own] = -np.inf
        rival = int(others.argmax())
        if scores[best] == 0 or scores[best] - others[rival] >= margin:
            continue  # won, or nothing that was said is in a clicked ad, of which there is nothing to learn
        num_lost += 1
        has = [(set(identifiers.postings.of(key)[0].tolist()) & {best, rival}, key) for key in ids.tolist()]
        more += [(row, key) for ads, key in has if ads == {best}]
        less += [(row, key) for ads, key in has if ads == {rival}]
    return Contest(_columns(more), _columns(less), num_lost)


def _columns(entries: list[tuple[int, int]]) -> tuple[IntArray, IntArray]:
    columns = np.array(entries, dtype=np.int64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def ltrgr(task: Task, budget: Budget, work: Path, progress: Progress, settings: LtrgrSettings | None = None) -> Answers:
    """Train (SEAL, then the ranking) and answer."""
    settings = settings or LtrgrSettings()
    begun = start(task, budget)
    progress("Finding substrings", 0, 0, "")
    identifiers, found = substring_identifiers(task, begun[1], settings.seal)
    student = train(task, budget, begun, identifiers, directory_of(work, "seal", budget, settings.seal), progress)
    place = directory_of(work, f"ltrgr-{budget.num_beams}", budget, settings)
    if len(task.clicks):
        _learn_to_rank(task, budget, student, identifiers, found, place / "checkpoint.pt", progress, settings)
    return answer_by_substrings(task, budget, student, identifiers, found, progress, settings.seal)


def _learn_to_rank(
    task: Task,
    budget: Budget,
    student: Student,
    identifiers: Identifiers,
    found: Substrings,
    checkpoint: Path,
    progress: Progress,
    settings: LtrgrSettings,
) -> None:
    """Train the student in place from where `checkpoint` stands."""
    backbone, trie = student.backbone, trie_of(found.sequences)
    dense = [weights for name, weights in backbone.named_parameters() if name != "word_embeddings.weight"]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(dense, lr=settings.learning_rate, weight_decay=0.0),
        torch.optim.SparseAdam([backbone.word_embeddings.weight], lr=settings.learning_rate),
    ]
    first = 0
    if (stored := load_checkpoint(checkpoint, backbone.head_bias.device)) is not None:
        backbone.load_state_dict(stored["backbone"])
        for optimizer, state in zip(optimizers, stored["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        first = int(stored["step"])
    loss_of = IntentionLoss(trie, as_lists(found.sequences), student.tokenizer.sep_id)
    asking = np.unique(task.clicks[:, 0])
    of_query = (
        {int(row): task.clicks[task.clicks[:, 0] == row, 1] for row in asking} if first < settings.num_steps else {}
    )
    for step in range(first, settings.num_steps):
        rng = np.random.default_rng((budget.seed, 5, step))
        rows = rng.choice(asking, size=min(settings.num_queries, len(asking)), replace=False)
        said = identifiers.query_choices.sample(rows, rng)
        texts = [task.queries[row] for row in rows]
        decoded = _decoded(student, trie, texts, budget)
        found_out = contest(decoded, [of_query[int(row)] for row in rows], identifiers, found, settings.margin)
        speaking = np.flatnonzero(said >= 0)
        say = _Saying(student, loss_of, texts, budget.max_query_tokens)
        ranking = (say(*found_out.more) - say(*found_out.less)) / len(rows)
        saying = say(speaking, said[speaking]) / max(len(speaking), 1)
        loss = saying + settings.ranking_weight * ranking
        backbone.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(dense, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        if (step + 1) % budget.checkpoint_steps == 0 or step + 1 == settings.num_steps:
            states = [optimizer.state_dict() for optimizer in optimizers]
            with sealed_write(checkpoint) as file:
                torch.save({"step": step + 1, "backbone": backbone.state_dict(), "optimizers": states}, file)
        progress("Ranking", step + 1, settings.num_steps, f"{found_out.num_lost} of {len(rows)} within the margin")


def _decoded(student: Student, trie: Trie, texts: list[str], budget: Budget) -> list[Decoded]:
    decoder = student.decoder(trie)  # anew in every step: it keeps rows of the weights, and these change
    prompt = student.read(texts, budget.max_query_tokens).prompt
    return decoder.decode(prompt, DecodeSettings(num_beams=budget.num_beams))


class _Saying:
    """The loss of saying substrings after a step's queries, which are read once."""

    def __init__(self, student: Student, loss_of: IntentionLoss, texts: list[str], max_tokens: int) -> None:
        self._backbone, self._loss_of = student.backbone, loss_of
        self._device = student.backbone.head_bias.device
        ids, lengths = student.tokenizer.encode(texts, max_tokens)
        self._lengths = torch.from_numpy(lengths).to(self._device)
        self._states, self._cache = student.backbone.encode(torch.from_numpy(ids).to(self._device), self._lengths)

    def __call__(self, rows: IntArray, ids: IntArray) -> Tensor:
        """Return the summed negative log-probability of substrings `ids (E,)`, each after the query at `rows (E,)`."""
        backbone = self._backbone
        if not len(rows):
            return self._states.new_zeros(())
        at = torch.from_numpy(rows).to(self._device)
        source = [(keys[at], values[at]) for keys, values in self._cache]
        decoded = backbone.decode_all(source, self._lengths[at], self._loss_of.targets(ids).to(self._device))
        first = backbone.last_state(self._states[at], self._lengths[at]).unsqueeze(1)
        return self._loss_of(backbone, torch.cat((first, decoded), dim=1), ids)
