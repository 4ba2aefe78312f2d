"""SEAL: the words of an ad identify it; whatever substrings a query calls to mind vote for the ads they occur in.

The network says substrings of titles (never anything that is in none). Each is weighed by how much more probable the
query makes it than it is anyway, and an ad's score is the sum over the substrings it contains, those that repeat what a
better one said counting less. Source: Bevilacqua et al., "Autoregressive Search Engines" (2022).

What differs: a trie takes the FM-index's place (`substrings`), with the same substrings up to a length; a substring's
probability includes that it ends there, normalized over what the trie allows, so that all substrings' probabilities sum
to 1, as do their frequencies, which are the unconditional probabilities; overlap is seen by tokens, not by positions.
LTRGR, SEAL with a second phase of learning to rank, is `ltrgr`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float32Array
from intently.build.training.pairs import Choices
from intently.index.postings import Postings
from intently.intentions.decode import Decoded
from intently.lab.baselines.codes import words_of
from intently.lab.baselines.generative import Identifiers, clicked, decode, start, train, trie_of
from intently.lab.baselines.substrings import Substrings, as_texts, find_substrings, similarity
from intently.lab.baselines.task import Answers, Budget, Task, directory_of, ranked
from intently.models.student import Student
from intently.models.tokenizer import StudentTokenizer
from intently.settings import check_range
from intently.types import Progress


@dataclass(frozen=True)
class SealSettings:
    """What may be said, and how it scores. `alpha` and `beta` are SEAL's own."""

    max_tokens: int = 6  # of a substring
    max_substrings: int = 4_000_000  # longer ones are left out from there
    sharpness: float = 5.0  # queries learn to say substrings in proportion to exp(sharpness · similarity)
    alpha: float = 2.0  # the power of a substring's weight
    beta: float = 0.8  # how much of it is lost by saying nothing new

    def __post_init__(self) -> None:
        check_range(self, "max_tokens", "max_substrings", low=1)
        check_range(self, "sharpness", "alpha")
        check_range(self, "beta", high=1)


def log_odds(log_probs: NDArray[np.float64], log_priors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return max(0, log p(1 - p₀) / (p₀(1 - p))): how much more probable a query makes it than its prior p₀."""
    p, prior = np.minimum(np.exp(log_probs), 1 - 1e-9), np.minimum(np.exp(log_priors), 1 - 1e-9)
    odds: NDArray[np.float64] = log_probs + np.log1p(-prior) - log_priors - np.log1p(-p)
    return np.maximum(odds, 0.0)


def substring_identifiers(
    task: Task, tokenizer: StudentTokenizer, settings: SealSettings
) -> tuple[Identifiers, Substrings]:
    """Return all substrings of titles as identifiers: said by their ads, and by queries that clicked one of these."""
    found = find_substrings(tokenizer.encode_bare(task.titles), settings.max_tokens, settings.max_substrings)
    query_rows, brought = clicked(task.clicks, found.pairs, task.num_ads)
    ids = found.pairs[brought, 0]
    alike = similarity(found.sequences[ids], query_rows, tokenizer.encode_bare(task.queries))
    num_pairs = len(found.pairs)
    identifiers = Identifiers(
        texts=as_texts(found.sequences, words_of(tokenizer)),
        sequences=found.sequences,
        postings=Postings.build(
            found.pairs[:, 0], found.pairs[:, 1], np.ones(num_pairs), len(found.counts), task.num_ads
        ),
        query_choices=Choices.build(query_rows, ids, np.exp(settings.sharpness * alike), len(task.queries)),
        ad_choices=Choices.build(found.pairs[:, 1], found.pairs[:, 0], np.ones(num_pairs), task.num_ads),
    )
    return identifiers, found


def score_ads(
    decoded: Decoded, found: Substrings, postings: Postings, settings: SealSettings
) -> tuple[Float32Array, int]:
    """Return every ad's score (N,) from a query's substrings, and how many of these weigh anything.

    Σ w^alpha · (1 - beta + beta · share of the substring's tokens that no better one of the ad's has), best first.
    """
    log_priors = np.log(found.counts[decoded.intention_ids] / found.counts.sum())
    weights = log_odds(decoded.log_probs, log_priors)
    order = np.argsort(-weights, kind="stable")
    order = order[weights[order] > 0]
    scores = np.zeros(postings.num_ads, dtype=np.float32)
    if not len(order):
        return scores, 0
    ids = decoded.intention_ids[order]
    rows_of = [postings.of(key)[0] for key in ids.tolist()]
    ads, places = np.unique(np.concatenate(rows_of), return_inverse=True)
    said = found.sequences[ids]
    tokens, columns = np.unique(said, return_inverse=True)
    columns = columns.reshape(said.shape)
    covered = np.zeros((len(ads), len(tokens)), dtype=bool)
    totals = np.zeros(len(ads))
    first = 0
    for rows, column, tokens_of, weight in zip(rows_of, columns, said, weights[order].tolist(), strict=True):
        at = places[first : first + len(rows)]
        first += len(rows)
        own = np.unique(column[tokens_of >= 0])
        fresh = 1.0 - covered[np.ix_(at, own)].mean(axis=1)
        totals[at] += weight**settings.alpha * (1 - settings.beta + settings.beta * fresh)
        covered[np.ix_(at, own)] = True
    scores[ads] = totals
    return scores, len(order)


def seal(task: Task, budget: Budget, work: Path, progress: Progress, settings: SealSettings | None = None) -> Answers:
    """Train and answer."""
    settings = settings or SealSettings()
    place = directory_of(work, "seal", budget, settings)
    begun = start(task, budget)
    progress("Finding substrings", 0, 0, "")
    identifiers, found = substring_identifiers(task, begun[1], settings)
    student = train(task, budget, begun, identifiers, place, progress)
    return answer_by_substrings(task, budget, student, identifiers, found, progress, settings)


def answer_by_substrings(
    task: Task,
    budget: Budget,
    student: Student,
    identifiers: Identifiers,
    found: Substrings,
    progress: Progress,
    settings: SealSettings,
) -> Answers:
    """Answer the test queries by SEAL's score."""
    trie = trie_of(found.sequences)
    decoded = decode(student, trie, task.test_queries, budget.num_beams, budget.max_query_tokens, progress)
    rankings, num_identifiers = [], []
    for each in decoded:
        scores, num_weighing = score_ads(each, found, identifiers.postings, settings)
        rankings.append(ranked(task, budget, scores))
        num_identifiers.append(num_weighing)
    return Answers(rankings, num_identifiers)
