"""A record of one search: which choices the trie allowed at each step, what spoke for each, and which were kept."""

import math
from dataclasses import dataclass, field

import numpy as np

from intently.arrays import Float64Array, IntArray, Mask
from intently.intentions.trie import Trie

NUM_CUT = 3  # choices after one partial intention that are recorded though they were cut


@dataclass(frozen=True)
class Choice:
    """One choice after a partial intention: a token, or its end.

    `parent` and `node` are nodes of the trie; at an end they are the same. The shares, in [0, 1], are of everything
    that the trie allows after `parent`: the model's alone, the prior's alone (None without a prior), and the two
    together. `intention_id` is the intention that is certain after this choice, None if there are several.
    """

    parent: int
    node: int
    token: int
    is_end: bool
    intention_id: int | None
    log_prob: float
    model_share: float
    prior_share: float | None
    is_kept: bool

    @property
    def probability(self) -> float:
        """The probability of everything chosen so far."""
        return math.exp(self.log_prob)


@dataclass(frozen=True)
class Cut:
    """What a step cut after one partial intention beside the recorded choices: how many, and their probability."""

    parent: int
    num_choices: int
    probability: float


@dataclass
class Trace:
    """The steps of one prompt's search, filled while it runs.

    Every step has the choices that were kept, and after each partial intention the `NUM_CUT` best that were cut.
    """

    trie: Trie | None = None
    steps: list[tuple[Choice, ...]] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    _offered: tuple[IntArray, IntArray, Mask, Float64Array, Float64Array, Float64Array | None] | None = None

    def offer(
        self,
        trie: Trie,
        parents: IntArray,
        nodes: IntArray,
        is_end: Mask,
        log_prob: Float64Array,
        model_scores: Float64Array,
        prior_scores: Float64Array | None,
    ) -> None:
        """Note all choices (E,) of a step, those after one partial intention side by side."""
        self.trie = trie
        model = _shares(model_scores, parents)
        prior = None if prior_scores is None else _shares(prior_scores, parents)
        self._offered = parents, nodes, is_end, log_prob, model, prior

    def keep(self, kept_nodes: IntArray) -> None:
        """Record the choices offered last: those that lead to `kept_nodes` were kept."""
        if self._offered is None or self.trie is None:  # the trie is empty, or holds nothing this short
            return
        trie, (parents, nodes, is_end, log_prob, model, prior) = self.trie, self._offered
        is_kept = np.isin(nodes, kept_nodes)
        order = np.lexsort((nodes, -log_prob, ~is_kept, parents))
        choices = []
        for group in np.split(order, np.flatnonzero(np.diff(parents[order])) + 1):
            num_kept = int(is_kept[group].sum())
            shown, rest = group[: num_kept + NUM_CUT], group[num_kept + NUM_CUT :]
            choices += [
                Choice(
                    int(parents[at]),
                    int(nodes[at]),
                    int(trie.tokens[nodes[at]]),
                    bool(is_end[at]),
                    _certain(trie, int(nodes[at]), bool(is_end[at])),
                    float(log_prob[at]),
                    float(model[at]),
                    None if prior is None else float(prior[at]),
                    bool(is_kept[at]),
                )
                for at in shown.tolist()
            ]
            if len(rest):
                self.cuts.append(Cut(int(parents[rest[0]]), len(rest), float(np.exp(log_prob[rest]).sum())))
        self.steps.append(tuple(choices))
        self._offered = None


def _certain(trie: Trie, node: int, is_end: bool) -> int | None:
    if is_end:
        return int(trie.intention_ids[node])
    return int(trie.lowest_id[node]) if trie.num_leaves[node] == 1 else None


def _shares(scores: Float64Array, parents: IntArray) -> Float64Array:
    """Return the softmax (E,) of scores among those with the same parent; these stand side by side."""
    if not len(scores):
        return scores
    starts = np.flatnonzero(np.diff(parents, prepend=-1))
    counts = np.diff(np.append(starts, len(scores)))
    weights = np.exp(scores - np.repeat(np.maximum.reduceat(scores, starts), counts))
    shares: Float64Array = weights / np.repeat(np.add.reduceat(weights, starts), counts)
    return shares
