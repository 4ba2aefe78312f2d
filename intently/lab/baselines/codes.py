"""Identifiers made of code tokens, one for each ad (DSI and TIGER).

Code tokens are the `[unusedN]` tokens of the pretrained vocabulary: they are trained like words, no text contains them,
and no embedding has to grow.
"""

import re
from pathlib import Path

import numpy as np

from intently.arrays import Float32Array, IntArray
from intently.build.training.pairs import Choices
from intently.errors import InputError
from intently.files import atomic_write
from intently.index.postings import Postings
from intently.intentions.trie import as_padded
from intently.lab.baselines.generative import Identifiers
from intently.lab.baselines.task import Budget, Task
from intently.models.backbone import Backbone
from intently.models.student import Student
from intently.models.tokenizer import METASPACE, StudentTokenizer, TextKind
from intently.types import Progress


def code_tokens(tokenizer: StudentTokenizer) -> IntArray:
    """Return the ids of the tokens that no text contains, in the order of their numbers."""
    words = enumerate(words_of(tokenizer))
    found = {int(match[1]): token for token, word in words if (match := re.fullmatch(r"\[unused(\d+)\]", word))}
    return np.array([found[number] for number in sorted(found)], dtype=np.int64)


def words_of(tokenizer: StudentTokenizer) -> list[str]:
    """Return the tokenizer's tokens by id; those of Unigram as WordPiece would write them, "##" within a word."""
    if not tokenizer.is_unigram:
        return tokenizer.tokens
    return [
        token.removeprefix(METASPACE) if token.startswith(METASPACE) else f"##{token}" for token in tokenizer.tokens
    ]


def positional(codes: list[list[int]], base: int, tokens: IntArray) -> IntArray:
    """Return codes with digits below `base` as token sequences (N, T), padded with -1.

    Every position has `base` tokens of its own, as long as there are; from then on they are those of the first ones
    again. Raises `InputError` if there are not even `base` tokens.
    """
    num_books = len(tokens) // base
    if num_books == 0:
        raise InputError(f"the vocabulary has {len(tokens)} unused tokens, and codes need {base}")
    padded = as_padded(codes)
    books = np.arange(padded.shape[1]) % num_books
    return np.where(padded >= 0, tokens[np.where(padded >= 0, padded + books * base, 0)], -1)


def identifiers_of(task: Task, sequences: IntArray) -> Identifiers:
    """Return one identifier for each ad: said by the ad, by its title, and by the queries that it was clicked for."""
    rows, ones = np.arange(task.num_ads), np.ones(task.num_ads)
    return Identifiers(
        texts=task.titles,
        sequences=sequences,
        postings=Postings.build(rows, rows, ones, task.num_ads, task.num_ads),
        query_choices=Choices.build(task.clicks[:, 0], task.clicks[:, 1], np.ones(len(task.clicks)), len(task.queries)),
        ad_choices=Choices.build(rows, rows, ones, task.num_ads),
    )


def untrained_embeddings(
    task: Task, budget: Budget, begun: tuple[Backbone, StudentTokenizer], work: Path, progress: Progress
) -> Float32Array:
    """Return the ads' embeddings (N, D) by the encoder as it comes; kept under `work`."""
    path = work / "embeddings.npy"
    if not path.exists():
        embeddings = Student(*begun).embed(
            task.ad_texts,
            budget.max_ad_tokens,
            kind=TextKind.PASSAGE,
            progress=lambda done, total: progress("Reading the ads", done, total, ""),
        )
        with atomic_write(path) as file:
            np.save(file, embeddings)
    loaded: Float32Array = np.load(path)
    return loaded
