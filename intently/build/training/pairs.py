"""What the student learns from: pairs of a query and an ad it led to, and the intentions each should say.

Queries learn to say the intentions that their clicked ads share, ads those that clicks, bids and their own titles name;
rare intentions weigh more than common ones. Ads without clicks take part as well: one of their intentions plays the
query (a *phrase pair*). Phrase pairs stand beside clicks; a catalog without any clicks trains no student.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float64Array, IntArray
from intently.intentions.vocabulary import Vocabulary


@dataclass(frozen=True)
class Choices:
    """For each row a list of intentions with weights, to sample from: CSR arrays, weights cumulated over all rows."""

    offsets: IntArray  # (rows + 1,)
    intention_ids: IntArray
    cumulative: Float64Array  # (entries + 1,)

    @classmethod
    def build(cls, rows: IntArray, intention_ids: IntArray, weights: Float64Array, num_rows: int) -> "Choices":
        """Build from (row, intention, weight > 0) triples in any order; repeated entries simply count again."""
        order = np.argsort(rows, kind="stable")
        offsets = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=num_rows))))
        return cls(offsets, intention_ids[order], np.concatenate(([0.0], np.cumsum(weights[order]))))

    def sample(self, rows: IntArray, rng: np.random.Generator) -> IntArray:
        """Return one intention id for each row, drawn by weight; -1 for a row that has none."""
        start, end = self.offsets[rows], self.offsets[rows + 1]
        low, high = self.cumulative[start], self.cumulative[end]
        at = np.searchsorted(self.cumulative, low + rng.random(len(rows)) * (high - low), side="right") - 1
        some = end > start
        drawn = np.full(len(rows), -1, dtype=np.int64)
        drawn[some] = self.intention_ids[np.clip(at, start, end - 1)[some]]
        return drawn

    def distinct(self, row: int, number: int, rng: np.random.Generator) -> list[int]:
        """Return at most `number` different intention ids of one row, drawn by weight."""
        part = slice(self.offsets[row], self.offsets[row + 1])
        ids, inverse = np.unique(self.intention_ids[part], return_inverse=True)
        weights = np.bincount(inverse, weights=np.diff(self.cumulative[self.offsets[row] : self.offsets[row + 1] + 1]))
        # The largest of log(weight) + Gumbel noise are a draw without repetition.
        with np.errstate(divide="ignore"):  # what is lost in the cumulated weights comes last
            order = np.argsort(-(np.log(weights) + rng.gumbel(size=len(ids))), kind="stable")
        return [int(i) for i in ids[order[:number]]]


@dataclass(frozen=True)
class TrainingData:
    """Everything the training loop samples from. Rows are positions in `queries` and in the catalog."""

    queries: tuple[str, ...]
    ad_texts: tuple[str, ...]
    intentions: tuple[str, ...]
    clicks: IntArray  # (P, 2): query_row, ad_row
    irrelevant: IntArray  # (N, 2): query_row, ad_row judged irrelevant, sorted by query_row
    query_intentions: Choices
    ad_intentions: Choices
    click_weights: Float64Array | None = None  # (P,) how often each click is drawn beside the others; None: alike

    @cached_property
    def _click_keys(self) -> IntArray:
        return np.sort(self.clicks[:, 0] * len(self.ad_texts) + self.clicks[:, 1])

    def is_click(self, query_rows: IntArray, ad_rows: IntArray) -> NDArray[np.bool_]:
        """Return, broadcasting, whether (query_row, ad_row) is a click; a query_row of -1 never is."""
        keys = self._click_keys
        wanted = query_rows * len(self.ad_texts) + ad_rows
        if not len(keys):
            return np.zeros(wanted.shape, dtype=bool)
        found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        known: NDArray[np.bool_] = (query_rows >= 0) & (keys[found] == wanted)
        return known


@dataclass(frozen=True)
class Taught:
    """What a teacher said of queries or ads: distinct (intention_id, row) `pairs (T, 2)` and `log_probs (T,)`."""

    pairs: IntArray
    log_probs: Float64Array


def build_training_data(
    queries: Sequence[str],
    ad_texts: Sequence[str],
    vocabulary: Vocabulary,
    clicks: IntArray,
    irrelevant: IntArray,
    *,
    own_weight: float = 2.0,
    taught_queries: Taught | None = None,
    taught_share: float = 0.5,
    click_weights: Float64Array | None = None,
) -> TrainingData:
    """Derive what queries and ads should say from clicks and from where the vocabulary's intentions occur.

    A query's intention weighs its share among the query's clicked ads, times its inverse document frequency;
    intentions that the query itself contains weigh `own_weight` times that of one shared by all clicked ads. What a
    teacher said of a query or an ad is drawn by its probabilities in `taught_share` of the draws (distillation).
    """
    num_ads, num_queries = len(ad_texts), len(queries)
    of_ads = vocabulary.ad_pairs[np.argsort(vocabulary.ad_pairs[:, 1], kind="stable")]
    reach = np.bincount(of_ads[:, 0], minlength=len(vocabulary))
    idf = np.log1p(num_ads / (1.0 + reach))
    ad_intentions = Choices.build(of_ads[:, 1], of_ads[:, 0], idf[of_ads[:, 0]], num_ads)
    taught_ads = Taught(vocabulary.taught_pairs, vocabulary.taught_log_probs)

    # Every click brings all intentions of its ad: expand the CSR rows of the clicked ads.
    start, end = ad_intentions.offsets[clicks[:, 1]], ad_intentions.offsets[clicks[:, 1] + 1]
    counts = end - start
    entry = np.repeat(start - np.concatenate(([0], np.cumsum(counts)[:-1])), counts) + np.arange(counts.sum())
    brought = ad_intentions.intention_ids[entry.astype(np.int64)]
    query_rows = np.repeat(clicks[:, 0], counts)
    num_clicks = np.bincount(clicks[:, 0], minlength=num_queries)
    own = vocabulary.query_pairs
    query_intentions = Choices.build(
        np.concatenate((query_rows, own[:, 1])),
        np.concatenate((brought, own[:, 0])),
        np.concatenate((idf[brought] / num_clicks[query_rows], own_weight * idf[own[:, 0]])),
        num_queries,
    )
    return TrainingData(
        queries=tuple(queries),
        ad_texts=tuple(ad_texts),
        intentions=vocabulary.texts,
        clicks=clicks,
        irrelevant=irrelevant[np.argsort(irrelevant[:, 0], kind="stable")],
        query_intentions=_with_taught(query_intentions, taught_queries, taught_share),
        ad_intentions=_with_taught(ad_intentions, taught_ads, taught_share),
        click_weights=click_weights,
    )


def _with_taught(choices: Choices, taught: Taught | None, share: float) -> Choices:
    """Return choices of which those taught make up `share` of a row's weight, wherever a row has both kinds."""
    if taught is None or not len(taught.pairs):
        return choices
    num_rows = len(choices.offsets) - 1
    own_rows, own_weights = np.repeat(np.arange(num_rows), np.diff(choices.offsets)), np.diff(choices.cumulative)
    rows, weights = taught.pairs[:, 1], np.exp(taught.log_probs)
    own_mass = np.bincount(own_rows, weights=own_weights, minlength=num_rows)
    taught_mass = np.bincount(rows, weights=weights, minlength=num_rows)
    both = (own_mass > 0) & (taught_mass > 0)
    scale = np.divide(1.0, own_mass, out=np.zeros(num_rows), where=own_mass > 0) * np.where(both, 1 - share, 1.0)
    taught_scale = np.divide(1.0, taught_mass, out=np.zeros(num_rows), where=taught_mass > 0)
    taught_scale *= np.where(both, share, 1.0)
    return Choices.build(
        np.concatenate((own_rows, rows)),
        np.concatenate((choices.intention_ids, taught.pairs[:, 0])),
        np.concatenate((own_weights * scale[own_rows], weights * taught_scale[rows])),
        num_rows,
    )
