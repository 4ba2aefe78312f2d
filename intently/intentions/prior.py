"""A prior of intentions: how near each is to a query, summed up along the trie so that it can guide the decoder.

A query's embedding gives every intention a weight, exp(cosine / temperature). The mass of a trie node is the sum of the
weights of all intentions at or below it. The prior of a choice (a token, or "end") is its mass over the mass of all
that the trie allows there. An intention's prior is the product of its choices': its share in the softmax over all.
(Planning ahead for constrained decoding is PAG's idea, SIGIR 2024; it needs identifiers of its own for that. Here the
embedding that the dense channel compares anyway is the plan, and a new intention only needs an embedding.)

Only the nearest intentions have weights of their own. All others share one, the floor. With as many as there are
intentions the softmax is exact; with fewer its cost does not grow with the vocabulary.

A few beams hold most of what the guided model would find with many. What their probabilities leave over goes to the
other near intentions, in proportion to the prior (`backed_off`), as n-gram models back off to shorter contexts.

Shape letters: B prompts, M near intentions of all prompts, E choices, L intentions of the trie.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intently.arrays import Float64Array, IntArray, Mask
from intently.errors import InputError
from intently.intentions.trie import Trie
from intently.settings import check_range

_LEAST = 1e-300  # mass of a choice: no weight is so small that the model has no say any more


@dataclass(frozen=True)
class Near:
    """The intentions near one prompt: distinct ids (m,), their log weights (m,), and the log weight of all others."""

    intention_ids: IntArray
    log_weights: Float64Array
    log_floor: float

    def log_shares(self) -> Float64Array:
        """Return the log of each near intention's share (m,) of the weights of all that are near."""
        shares: Float64Array = self.log_weights - np.logaddexp.reduce(self.log_weights, initial=-np.inf)
        return shares


@dataclass(frozen=True)
class Guidance:
    """How much nearness and the model have to say, as a build found it best."""

    prior_temperature: float  # of the softmax over cosines
    model_temperature: float | None  # of the model's scores beside the prior's; None: the model says nothing

    def __post_init__(self) -> None:
        check_range(self, "prior_temperature", exclusive=True)
        if self.model_temperature is not None:
            check_range(self, "model_temperature", exclusive=True)


class LeafOrder:
    """The intentions of one trie version in an order in which every node's intentions are neighbors.

    `first (N,)` is the position of a node's first intention, its children's before its own; `place (I,)` the position
    of each intention id, -1 for one that is not in the trie. Cost: one pass over the nodes.
    """

    def __init__(self, trie: Trie) -> None:
        self.trie = trie
        self.first = np.zeros(trie.num_nodes, dtype=np.int64)
        self.place = np.full(int(trie.intention_ids.max(initial=-1)) + 1, -1, dtype=np.int64)
        above = np.empty(0, dtype=np.int64)
        for nodes, parents in trie.levels():
            if len(above):
                before = np.cumsum(trie.num_leaves[nodes]) - trie.num_leaves[nodes]
                of_siblings = before[np.searchsorted(parents, parents)]  # parents ascend, and siblings are neighbors
                self.first[nodes] = self.first[above[parents]] + before - of_siblings
            ending = nodes[trie.intention_ids[nodes] >= 0]
            self.place[trie.intention_ids[ending]] = self.first[ending] + trie.num_leaves[ending] - 1
            above = nodes

    def prior(self, near: Sequence[Near]) -> "Prior":
        """Return the prior of B prompts; ids that the trie does not have are passed over."""
        keys, weights, floors = [], [], np.empty(len(near))
        for prompt, one in enumerate(near):
            ids = np.asarray(one.intention_ids)
            known = (ids >= 0) & (ids < len(self.place))
            places = self.place[ids[known]]
            known[known] = places >= 0
            places, log_weights = places[places >= 0], one.log_weights[known]
            highest = np.maximum(log_weights.max(initial=-np.inf), one.log_floor)
            if not np.isfinite(highest):
                raise InputError(f"the weights of intentions near prompt {prompt} are not finite")
            order = np.argsort(places)
            keys.append(places[order] + prompt * self.trie.num_intentions)
            weights.append(np.exp(log_weights[order] - highest))
            floors[prompt] = np.exp(one.log_floor - highest)
        return Prior(self, np.concatenate(keys), np.concatenate([*weights, [0.0]]), floors)


@dataclass(frozen=True)
class Prior:
    """The masses of B prompts' choices.

    `keys (M,)` ascend: the prompt times L plus the place of a near intention. `weights (M + 1,)` are theirs, and a zero
    after them; `floors (B,)` are the weights of an intention that is not near.
    """

    order: LeafOrder
    keys: IntArray
    weights: Float64Array
    floors: Float64Array

    def log_masses(self, prompts: IntArray, nodes: IntArray, is_end: Mask) -> Float64Array:
        """Return the log masses (E,) of choices: to go to each of `nodes`, or to end there."""
        trie = self.order.trie
        counts = np.where(is_end, 1, trie.num_leaves[nodes])
        starts = self.order.first[nodes] + trie.num_leaves[nodes] - counts + prompts * trie.num_intentions
        low, high = np.searchsorted(self.keys, starts), np.searchsorted(self.keys, starts + counts)
        masses = self.floors[prompts] * (counts - (high - low))
        some = np.flatnonzero(high > low)  # few of the first tokens lead to anything that is near
        if len(some):
            masses[some] += np.add.reduceat(self.weights, np.stack((low[some], high[some]), axis=1).ravel())[::2]
        log_masses: Float64Array = np.log(np.maximum(masses, _LEAST))
        return log_masses
