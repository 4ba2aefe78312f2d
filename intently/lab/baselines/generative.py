"""What most generative baselines share: a student that says identifiers of ads instead of intentions.

They differ in what identifies an ad (codes, its words, queries) and in how identifiers score ads; the network, its
start, its trie-masked loss and its exact constrained search are the same for all, and the same as RARE's. That is the
comparison's point, and its limit: the originals are T5 or BART models of 10 to 100 times the size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from intently.arrays import IntArray
from intently.build.training.pairs import Choices, TrainingData
from intently.build.training.student import TrainingSettings, train_student
from intently.index.postings import Postings
from intently.intentions.decode import Decoded, DecodeSettings
from intently.intentions.trie import Trie
from intently.lab.baselines.task import Answers, Budget, Task, ranked, shares
from intently.models.backbone import Backbone
from intently.models.pretrained import start_from
from intently.models.student import Student
from intently.models.tokenizer import StudentTokenizer
from intently.types import Progress

_NONE = np.empty((0, 2), dtype=np.int64)


@dataclass(frozen=True)
class Identifiers:
    """I identifiers: what is said, what it leads to, and who says it in training."""

    texts: tuple[str, ...]  # (I,) what plays the query where an ad is read without a click
    sequences: IntArray  # (I, T) distinct token sequences, padded with -1
    postings: Postings  # identifier → ads
    query_choices: Choices  # what a query may say, by weight
    ad_choices: Choices  # what an ad may say


def start(task: Task, budget: Budget) -> tuple[Backbone, StudentTokenizer]:
    """Return what every training starts from: the pretrained encoder, knowing all characters of the training data."""
    backbone, tokenizer = start_from(budget.checkpoint, (*task.ad_texts, *task.queries), budget.seed)
    return backbone.to(torch.device(budget.device)), tokenizer


def train(
    task: Task,
    budget: Budget,
    begun: tuple[Backbone, StudentTokenizer],
    identifiers: Identifiers,
    work: Path,
    progress: Progress,
    *,
    phrase_share: float = 0.15,
    contrastive_weight: float = 0.0,
) -> Student:
    """Train (in place, from where `work` stands) what `start` returned to say the identifiers; the student is kept.

    `phrase_share` of a batch are pairs of an ad and one of its identifiers, which is how ads without clicks are learnt.
    """
    done = work / "student" / "done"
    if not done.exists():
        backbone, tokenizer = begun
        data = TrainingData(
            queries=task.queries,
            ad_texts=task.ad_texts,
            intentions=identifiers.texts,
            clicks=task.clicks,
            # They only serve as negatives of the contrastive loss.
            irrelevant=task.irrelevant[np.argsort(task.irrelevant[:, 0], kind="stable")]
            if contrastive_weight
            else _NONE,
            query_intentions=identifiers.query_choices,
            ad_intentions=identifiers.ad_choices,
        )
        settings = TrainingSettings(
            num_epochs=1,
            min_steps=budget.num_steps,
            max_steps=budget.num_steps,
            batch_size=budget.batch_size,
            phrase_share=phrase_share,
            learning_rate=budget.learning_rate,
            contrastive_weight=contrastive_weight,
            intention_weight=0.5 if contrastive_weight else 1.0,
            max_query_tokens=budget.max_query_tokens,
            max_ad_tokens=budget.max_ad_tokens,
            checkpoint_steps=budget.checkpoint_steps,
            seed=budget.seed,
        )
        trained = train_student(
            backbone,
            tokenizer,
            data,
            trie_of(identifiers.sequences),
            settings,
            checkpoint=work / "checkpoint.pt",
            token_ids=as_lists(identifiers.sequences),
            progress=lambda _, *amount: progress("Training", *amount),
        )
        Student(trained.backbone, tokenizer).save(work / "student")
        done.touch()
        (work / "checkpoint.pt").unlink(missing_ok=True)
    student = Student.load(work / "student")
    student.backbone.to(torch.device(budget.device))
    return student


def decode(
    student: Student, trie: Trie, texts: Sequence[str], num_beams: int, max_tokens: int, progress: Progress
) -> list[Decoded]:
    """Return the `num_beams` most probable identifiers of each text."""
    decoder, settings = student.decoder(trie), DecodeSettings(num_beams=num_beams)
    found: dict[int, Decoded] = {}
    for rows, reading in student.batches(texts, max_tokens, batch_size=16):
        found.update(zip(rows.tolist(), decoder.decode(reading.prompt, settings), strict=True))
        progress("Answering", len(found), len(texts), "")
    return [found[row] for row in range(len(texts))]


def answer(task: Task, budget: Budget, student: Student, identifiers: Identifiers, progress: Progress) -> Answers:
    """Answer the test queries: an ad scores Σ p(identifier) · posting weight."""
    trie = trie_of(identifiers.sequences)
    decoded = decode(student, trie, task.test_queries, budget.num_beams, budget.max_query_tokens, progress)
    return Answers(
        [
            ranked(task, budget, identifiers.postings.scores(found.intention_ids, shares(found.log_probs)))
            for found in decoded
        ],
        [len(found.intention_ids) for found in decoded],
    )


def trie_of(sequences: IntArray) -> Trie:
    """Return the trie of padded sequences (I, T), identifier i being row i."""
    return Trie.from_items(np.arange(len(sequences)), sequences)


def as_lists(sequences: IntArray) -> list[list[int]]:
    """Return padded sequences (I, T) as lists without their padding."""
    lengths = (sequences >= 0).sum(axis=1).tolist()
    return [row[:length] for row, length in zip(sequences.tolist(), lengths, strict=True)]


def clicked(clicks: IntArray, pairs: IntArray, num_ads: int) -> tuple[IntArray, IntArray]:
    """Return what clicks bring their queries: (query rows, positions in `pairs`), each (E,).

    Every click brings all of the `pairs (P, 2)` of (identifier, ad_row) that have its ad.
    """
    order = np.argsort(pairs[:, 1], kind="stable")
    offsets = np.concatenate(([0], np.cumsum(np.bincount(pairs[:, 1], minlength=num_ads))))
    first, counts = offsets[clicks[:, 1]], np.diff(offsets)[clicks[:, 1]]
    entry = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    return np.repeat(clicks[:, 0], counts), order[entry.astype(np.int64)]
