"""Plain BM25 for baselines: the package's index (k1 0.9, b 0.4, English stemmer), without spelling correction."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from intently.arrays import IntArray
from intently.build.training.pairs import Choices
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.index.postings import top_rows
from intently.lab.baselines.contrastive import Clicks
from intently.lab.baselines.task import Answers, Budget, Task, ranked
from intently.types import Progress

SETTINGS = LexicalSettings(correct_spelling=False)


def bm25(task: Task, budget: Budget, work: Path, progress: Progress) -> Answers:
    """Answer by the ads' own texts; nothing is trained."""
    return answer(task, budget, task.ad_texts, progress)


def answer(task: Task, budget: Budget, texts: Sequence[str], progress: Progress) -> Answers:
    """Answer by BM25 over one text an ad."""
    index = LexicalIndex.build(texts, SETTINGS)
    rankings = []
    for query in task.test_queries:
        rankings.append(ranked(task, budget, index.scores(index.analyze(query))))
        progress("Answering", len(rankings), len(task.test_queries), "")
    return Answers(rankings)


def lexical_negatives(task: Task, clicks: Clicks, progress: Progress) -> Choices:
    """Return for each query that has clicks the ad that BM25 ranks first among those it did not click.

    Queries that share no term with such an ad have none. Cost: one search a query.
    """
    index = LexicalIndex.build(task.ad_texts, SETTINGS)
    asking = np.unique(clicks.pairs[:, 0])
    rows: list[int] = []
    found: list[IntArray] = []
    for done, query in enumerate(asking.tolist(), start=1):
        scores = index.scores(index.analyze(task.queries[query]))
        scores[clicks.of(query)] = 0.0
        best = top_rows(scores, 1, above=0.0)
        rows += [query] * len(best)
        found.append(best)
        progress("Finding negatives", done, len(asking), "")
    return Choices.build(np.array(rows, dtype=np.int64), np.concatenate(found), np.ones(len(rows)), clicks.num_queries)
