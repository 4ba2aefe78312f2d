"""Trie-constrained beam search: the most probable intentions for a prompt, and never anything else.

Probabilities are renormalised over what the trie allows at each node (`trie` mode): the model chooses among the
children of the node it is at, and among them and "end" where an intention is complete. Then

* every intention's log-probability is the sum of its choices', and all intentions' probabilities sum to 1;
* a beam below which only one intention is left is finished at once: all its further choices are certain;
* a log-probability never rises, so whatever falls out of the best `num_beams` (finished ones included) is out for good.

With `num_beams` ≥ the number of intentions the result is therefore that of scoring every intention. Equal
log-probabilities are ordered by intention id. Source: RARE, "constrained beam search"; the exactness is ours to keep.

Shape letters: B prompts, W beams of a prompt, R live beams of all prompts, A root tokens, E options, D hidden size.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from intently.errors import SettingsError
from intently.intentions.trie import ROOT, Trie

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


class Scorer(Protocol):
    """Scores tokens against states; scores are logits, unnormalised."""

    def pack(self, tokens: IntArray) -> object:
        """Return the output rows of `tokens (A,)`, kept together for `score_packed`."""

    def score_packed(self, states: Tensor, packed: object) -> FloatArray:
        """Return the scores (B, A) of all packed tokens for each of `states (B, D)`."""

    def score(self, states: Tensor, rows: IntArray, tokens: IntArray) -> FloatArray:
        """Return the scores (E,) of `tokens (E,)`, each for the state `rows (E,)` of `states (R, D)`."""


class Prompt(Protocol):
    """A model that has read B prompts and can be led on, beam by beam."""

    def first(self) -> Tensor:
        """Return the states (B, D) that predict the first token."""

    def advance(self, parents: IntArray, tokens: IntArray) -> Tensor:
        """Give beam w of prompt b the token `tokens[b, w]` after its `parents[b, w]`; return the states (B, W, D)."""


@dataclass(frozen=True)
class Decoded:
    """One prompt's intentions, most probable first: ids (n,) and natural log-probabilities (n,), n ≤ num_beams."""

    intention_ids: IntArray
    log_probs: FloatArray


@dataclass(frozen=True)
class _Beams:
    """Partial and finished intentions of all prompts, in one flat list."""

    prompt: IntArray
    log_prob: FloatArray
    node: IntArray
    slot: IntArray  # position among its prompt's live beams before this step, i.e. whose states it continues
    done: NDArray[np.bool_]
    intention_id: IntArray  # of a finished one; of a partial one the lowest below it, which breaks ties

    def take(self, chosen: IntArray | NDArray[np.bool_]) -> "_Beams":
        return _Beams(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def joined(self, other: "_Beams") -> "_Beams":
        return _Beams(
            *(np.concatenate((getattr(self, name), getattr(other, name))) for name in self.__dataclass_fields__)
        )


class ConstrainedDecoder:
    """Decodes intentions of one trie with one model; keeps the output rows of the root's tokens packed."""

    def __init__(self, trie: Trie, scorer: Scorer, end_id: int) -> None:
        """`end_id` is the token that means "the intention ends here"."""
        self.trie, self._scorer, self._end_id = trie, scorer, end_id
        children = trie.children(ROOT)
        self._root_nodes = np.arange(children.start, children.stop)
        self._root_rows = scorer.pack(trie.tokens[self._root_nodes])

    def decode(self, prompt: Prompt, num_beams: int, temperature: float = 1.0) -> list[Decoded]:
        """Return the `num_beams` most probable intentions of each prompt (all, if there are fewer)."""
        if num_beams < 1:
            raise SettingsError(f"num_beams is {num_beams}; it must be at least 1")
        if not temperature > 0:
            raise SettingsError(f"temperature is {temperature}; it must be above 0")
        states = prompt.first()
        num_prompts = states.shape[0]
        scores = self._scorer.score_packed(states, self._root_rows) / temperature
        scores -= _log_sum_exp(scores)
        num_children = len(self._root_nodes)
        beams = self._at(
            prompt=np.repeat(np.arange(num_prompts), num_children),
            log_prob=scores.ravel(),
            node=np.tile(self._root_nodes, num_prompts),
            slot=np.zeros(scores.size, dtype=np.int64),
        )
        beams = _best(beams, num_beams, num_prompts)
        while not beams.done.all():
            live, finished = beams.take(~beams.done), beams.take(beams.done)
            # Live beams of a prompt sit side by side: give each its column of a (B, W) rectangle.
            counts = np.bincount(live.prompt, minlength=num_prompts)
            column = np.arange(len(live.prompt)) - np.repeat(np.cumsum(counts) - counts, counts)
            parents = np.zeros((num_prompts, int(counts.max())), dtype=np.int64)
            tokens = np.zeros_like(parents)
            parents[live.prompt, column] = live.slot
            tokens[live.prompt, column] = self.trie.tokens[live.node]
            states = prompt.advance(parents, tokens)[live.prompt, column]
            beams = _best(finished.joined(self._expand(live, column, states, temperature)), num_beams, num_prompts)
        return [
            Decoded(beams.intention_id[start:end], beams.log_prob[start:end])
            for start, end in _segments(beams.prompt, num_prompts)
        ]

    def _expand(self, live: _Beams, column: IntArray, states: Tensor, temperature: float) -> _Beams:
        """Return every continuation of the live beams: their children, and their end where one is allowed."""
        trie = self.trie
        starts, counts = trie.first_child[live.node], np.diff(trie.first_child)[live.node]
        ends = trie.intention_ids[live.node] >= 0
        widths = counts + ends  # a beam's options: its children, then its end
        rows = np.repeat(np.arange(len(live.node)), widths)
        position = np.arange(len(rows)) - np.repeat(np.cumsum(widths) - widths, widths)
        is_end = position == counts[rows]
        nodes = np.where(is_end, live.node[rows], starts[rows] + position)
        tokens = np.where(is_end, self._end_id, trie.tokens[nodes])
        scores = self._scorer.score(states, rows, tokens) / temperature
        first = np.cumsum(widths) - widths
        top = np.maximum.reduceat(scores, first)
        scores -= top[rows]
        scores -= np.log(np.add.reduceat(np.exp(scores), first))[rows]
        return self._at(live.prompt[rows], live.log_prob[rows] + scores, nodes, column[rows], is_end)

    def _at(
        self,
        prompt: IntArray,
        log_prob: FloatArray,
        node: IntArray,
        slot: IntArray,
        ended: NDArray[np.bool_] | None = None,
    ) -> _Beams:
        """Return beams at trie nodes, finished where they have ended or only one intention is left below."""
        done = self.trie.num_leaves[node] == 1
        intention_id = self.trie.lowest_id[node]
        if ended is not None:
            done = done | ended
            intention_id = np.where(ended, self.trie.intention_ids[node], intention_id)
        return _Beams(prompt, log_prob, node, slot, done, intention_id)


def _best(beams: _Beams, num_beams: int, num_prompts: int) -> _Beams:
    """Return the best `num_beams` of each prompt, prompts in order, best first, ties by lowest intention id."""
    if len(beams.prompt) > 2 * num_beams * num_prompts:  # sorting all would cost more than finding the cut first
        by_prompt = np.argsort(beams.prompt, kind="stable")
        keep = []
        for start, end in _segments(beams.prompt[by_prompt], num_prompts):
            segment = by_prompt[start:end]
            if len(segment) > num_beams:
                log_prob = beams.log_prob[segment]
                segment = segment[log_prob >= -np.partition(-log_prob, num_beams - 1)[num_beams - 1]]
            keep.append(segment)
        beams = beams.take(np.concatenate(keep))
    order = np.lexsort((beams.intention_id, -beams.log_prob, beams.prompt))
    counts = np.bincount(beams.prompt, minlength=num_prompts)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return beams.take(order[rank < num_beams])


def _segments(prompt: IntArray, num_prompts: int) -> list[tuple[int, int]]:
    """Return where each prompt's entries start and end in the sorted `prompt`."""
    bounds = np.searchsorted(prompt, np.arange(num_prompts + 1)).tolist()
    return list(pairwise(bounds))


def _log_sum_exp(scores: FloatArray) -> FloatArray:
    """Return log Σ exp over the last axis, keeping it."""
    top = scores.max(axis=-1, keepdims=True)
    total: FloatArray = top + np.log(np.exp(scores - top).sum(axis=-1, keepdims=True))
    return total
