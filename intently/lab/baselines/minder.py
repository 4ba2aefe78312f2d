"""MINDER: several identifiers for every ad, each a view of it: its title, its words, and what people ask for it.

One network says all of them, asked for a view by a token of its own that every identifier of the view begins with.
Each view is decoded by itself; the beams are shared out among the views, so that a query comes to no more identifiers
than with other systems. An ad's score is the sum over all its identifiers of how much more probable the query makes
them than they are anyway (SEAL's weight). Source: Li et al., "Multiview Identifiers Enhanced Generative Retrieval"
(2023).

The original has a model write pseudo-queries for every passage. Here they are the queries that an ad was clicked for,
and for ads without clicks the rarest phrases that it shares with other ads: what this data has, and no other model.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from intently.arrays import IntArray
from intently.build.training.pairs import Choices
from intently.errors import InputError
from intently.index.postings import Postings
from intently.intentions.trie import as_padded
from intently.lab.baselines.codes import code_tokens, words_of
from intently.lab.baselines.generative import Identifiers, clicked, decode, start, train, trie_of
from intently.lab.baselines.seal import SealSettings, log_odds
from intently.lab.baselines.substrings import as_texts, find_substrings, similarity
from intently.lab.baselines.task import Answers, Budget, Task, directory_of, ranked
from intently.models.tokenizer import StudentTokenizer
from intently.settings import check_range
from intently.types import Progress


@dataclass(frozen=True)
class MinderSettings:
    """What the views hold."""

    title_tokens: int = 12  # of a title, from its beginning
    query_tokens: int = 16  # of a pseudo-query
    num_phrases: int = 5  # that play the queries of an ad without clicks
    substrings: SealSettings = field(default_factory=SealSettings)

    def __post_init__(self) -> None:
        check_range(self, "title_tokens", "query_tokens", "num_phrases", low=1)


@dataclass(frozen=True)
class View:
    """I identifiers of one kind: `sequences (I, T)` padded with -1, and distinct `pairs (P, 2)` of (one, ad_row).

    `counts (I,)` say how often each occurs, which is what it is expected by.
    """

    sequences: IntArray
    counts: IntArray
    pairs: IntArray


def views(task: Task, tokenizer: StudentTokenizer, settings: MinderSettings) -> list[View]:
    """Return the views of titles, of pseudo-queries and of substrings."""
    titles = tokenizer.encode_bare(task.titles)
    found = find_substrings(titles, settings.substrings.max_tokens, settings.substrings.max_substrings)
    asked = [tokens[: settings.query_tokens] for tokens in tokenizer.encode_bare(task.queries)]
    phrases = tokenizer.encode_bare(task.vocabulary.texts)
    of_queries = [(asked[query], ad) for query, ad in task.clicks.tolist()]
    of_queries += [(phrases[phrase], ad) for phrase, ad in _phrases(task, settings.num_phrases).tolist()]
    return [
        _view([(tokens[: settings.title_tokens], ad) for ad, tokens in enumerate(titles)], task.num_ads),
        _view(of_queries, task.num_ads),
        View(found.sequences, found.counts, found.pairs),
    ]


def _phrases(task: Task, num_phrases: int) -> IntArray:
    """Return (intention, ad_row) pairs: for ads without clicks the rarest intentions that they share with others."""
    pairs = task.vocabulary.ad_pairs
    reach = np.bincount(pairs[:, 0], minlength=len(task.vocabulary))
    without = np.ones(task.num_ads, dtype=bool)
    without[task.clicks[:, 1]] = False
    pairs = pairs[without[pairs[:, 1]] & (reach[pairs[:, 0]] > 1)]
    pairs = pairs[np.lexsort((pairs[:, 0], reach[pairs[:, 0]], pairs[:, 1]))]
    counts = np.bincount(pairs[:, 1], minlength=task.num_ads)
    place = np.arange(len(pairs)) - np.repeat(np.cumsum(counts) - counts, counts)
    return pairs[place < num_phrases]


def _view(said: list[tuple[list[int], int]], num_ads: int) -> View:
    """Return the view of (tokens, ad_row) pairs; equal token sequences are one identifier."""
    said = [(tokens, ad) for tokens, ad in said if tokens]
    if not said:
        raise InputError("no ad has a title, or none a query")
    numbers: dict[tuple[int, ...], int] = {}
    ids = [numbers.setdefault(tuple(tokens), len(numbers)) for tokens, _ in said]
    keys = np.unique(np.array(ids, dtype=np.int64) * num_ads + np.array([ad for _, ad in said]))
    pairs = np.stack(np.divmod(keys, num_ads), axis=1)
    return View(as_padded(list(numbers)), np.bincount(ids), pairs)


def minder(
    task: Task, budget: Budget, work: Path, progress: Progress, settings: MinderSettings | None = None
) -> Answers:
    """Train and answer."""
    settings = settings or MinderSettings()
    place = directory_of(work, "minder", budget, settings)
    begun = start(task, budget)
    progress("Finding identifiers", 0, 0, "")
    parts = views(task, begun[1], settings)
    asking = code_tokens(begun[1])[: len(parts)]
    if len(asking) < len(parts):
        raise InputError(f"the vocabulary has {len(asking)} unused tokens; {len(parts)} views need one each")
    identifiers = union(task, begun[1], parts, asking, settings.substrings.sharpness)
    student = train(task, budget, begun, identifiers, place, progress)

    weighed: list[list[tuple[IntArray, np.ndarray]]] = [[] for _ in task.test_queries]
    first = 0
    for number, (view, token) in enumerate(zip(parts, asking.tolist(), strict=True)):
        num_beams = budget.num_beams // len(parts) + (number < budget.num_beams % len(parts))
        trie = trie_of(_asked(view.sequences, token))
        log_priors = np.log(view.counts / view.counts.sum())
        decoded = decode(student, trie, task.test_queries, max(num_beams, 1), budget.max_query_tokens, progress)
        for row, found in zip(weighed, decoded, strict=True):
            weights = log_odds(found.log_probs, log_priors[found.intention_ids])
            row.append((found.intention_ids[weights > 0] + first, weights[weights > 0]))
        first += len(view.sequences)
    rankings, num_identifiers = [], []
    for row in weighed:
        ids, weights = (np.concatenate(arrays) for arrays in zip(*row, strict=True))
        rankings.append(ranked(task, budget, identifiers.postings.scores(ids, weights)))
        num_identifiers.append(len(ids))
    return Answers(rankings, num_identifiers)


def union(
    task: Task, tokenizer: StudentTokenizer, parts: list[View], asking: IntArray, sharpness: float
) -> Identifiers:
    """Return the identifiers of all views, numbered view after view, each beginning with its view's token.

    In training every view is said equally often. Substrings are said by likeness to the query, as in SEAL.
    """
    queries = tokenizer.encode_bare(task.queries)
    words = words_of(tokenizer)
    width = 1 + max(view.sequences.shape[1] for view in parts)
    texts: tuple[str, ...] = ()
    sequences, pairs, of_ads, of_queries = [], [], [], []
    first = 0
    for number, (view, token) in enumerate(zip(parts, asking.tolist(), strict=True)):
        said = _asked(view.sequences, token)
        sequences.append(np.pad(said, ((0, 0), (0, width - said.shape[1])), constant_values=-1))
        texts += as_texts(view.sequences, words)
        ids, ads = view.pairs[:, 0], view.pairs[:, 1]
        pairs.append(np.stack((ids + first, ads), axis=1))
        of_ads.append((ads, ids + first, _normalised(ads, np.ones(len(ads)))))
        rows, brought = clicked(task.clicks, view.pairs, task.num_ads)
        weights = np.ones(len(rows))
        if number == len(parts) - 1:
            weights = np.exp(sharpness * similarity(view.sequences[ids[brought]], rows, queries))
        of_queries.append((rows, ids[brought] + first, _normalised(rows, weights)))
        first += len(view.sequences)
    every = np.concatenate(pairs)
    return Identifiers(
        texts=texts,
        sequences=np.concatenate(sequences),
        postings=Postings.build(every[:, 0], every[:, 1], np.ones(len(every)), first, task.num_ads),
        query_choices=_choices(of_queries, len(task.queries)),
        ad_choices=_choices(of_ads, task.num_ads),
    )


def _asked(sequences: IntArray, token: int) -> IntArray:
    return np.concatenate((np.full((len(sequences), 1), token), sequences), axis=1)


def _normalised(rows: IntArray, weights: np.ndarray) -> np.ndarray:
    """Return weights that sum to 1 for each of `rows`."""
    return weights / np.bincount(rows, weights=weights)[rows]


def _choices(parts: list[tuple[IntArray, IntArray, np.ndarray]], num_rows: int) -> Choices:
    rows, ids, weights = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Choices.build(rows, ids, weights, num_rows)
