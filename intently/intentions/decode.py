"""Trie-constrained beam search: the most probable intentions for a prompt, and never anything else.

An intention's log-probability is the sum of its choices': each of its tokens, then "end". Two score modes say over what
a choice is normalized:

* `trie`: over what the trie allows at the node: its children, and "end" where an intention is complete. All intentions'
  probabilities sum to 1, and a choice without alternative is certain, so a beam below which only one intention is left
  is finished without asking the model again. No work grows with the token vocabulary.
* `full`: over the whole token vocabulary, as the model was pretrained. The result is that of Hugging Face's `generate`
  with the same beams and `prefix_allowed_tokens_fn`, `length_penalty` 0 and `early_stopping` "never".

In both, whatever can no longer come among the best `num_beams` is dropped (a log-probability never rises), and with
`num_beams` ≥ the number of intentions the result is that of scoring every intention. With narrower beams the modes
differ in what competes: in `trie` mode finished intentions and partial ones fight for the same `num_beams` places; in
`full` mode, as in Hugging Face's search, partial ones have `num_beams` places of their own, and an intention may finish
only while it is among the `num_beams` best continuations of its step.

Intentions may have *values* (what showing their ads brings, say). Then they are ranked by log p + w · log value, and a
partial one by the highest value below its node, which nothing below can exceed: the search stays exact. (The idea is
VALUE's, arXiv 2504.05321.) Equals are ordered by intention id. Source of the whole: RARE, "constrained beam search".

A *prior* (`intently.intentions.prior`) may guide the search in `trie` mode: a choice's log-probability is the model's
plus β times the prior's, normalized again over what the trie allows. All that is said above of `trie` mode still holds.

Shape letters: B prompts, W beams of a prompt, R live beams of all prompts, A root tokens, E options, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float64Array, IntArray, Mask
from intently.errors import InputError, SettingsError
from intently.intentions.prior import LeafOrder, Near, Prior
from intently.intentions.trace import Trace
from intently.intentions.trie import Trie
from intently.settings import check_choice, check_range


class ScoreMode(StrEnum):
    """Over what the probabilities of tokens are normalized: what the trie allows, or all tokens."""

    TRIE = "trie"
    FULL = "full"


_LEAST_LEFT = 1e-9  # probability that beams leave to other intentions, whatever rounding says
MAX_BEAMS = 10_000  # a prompt's beams see one another's positions: memory grows with their square


@dataclass(frozen=True)
class DecodeSettings:
    """How intentions are searched."""

    num_beams: int = 8  # intentions of a query; more find more, and take longer (RARE has 50, without a prior)
    temperature: float = 1.0  # of the scores; above 1 is flatter
    mode: ScoreMode = ScoreMode.TRIE  # trie: probabilities among allowed tokens; full: among all
    max_new_tokens: int | None = None  # longer intentions are not found (but still bound values); None: any length
    truncation: float | None = None  # choices this many nats below the best at a node are dropped; None: none is
    value_weight: float = 0.0  # w in log p + w · log value
    prior_weight: float = 1.0  # β in log p + β · log prior, where a prior is given; 0: the model alone decides

    def __post_init__(self) -> None:
        check_range(self, "num_beams", low=1, high=MAX_BEAMS)
        check_range(self, "temperature", exclusive=True)
        check_range(self, "value_weight", "prior_weight")
        if self.max_new_tokens is not None:
            check_range(self, "max_new_tokens", low=1)
        if self.truncation is not None:
            check_range(self, "truncation")
        check_choice(self, "mode", ScoreMode)


# States (…, D) of a model, arrays or tensors: what its prompts give and its output layer takes. The decoder itself only
# chooses among their rows.
States = Any


class OutputLayer(Protocol):
    """Scores tokens against states: a model's last layer, of which only the rows asked for are computed.

    Two are equal if they are of the same model.
    """

    @property
    def num_tokens(self) -> int:
        """Number of tokens that can be scored."""

    def pack(self, tokens: IntArray) -> object:
        """Return the output rows of `tokens (A,)`, kept together for `score_packed`."""

    def score_packed(self, states: States, packed: object) -> Float64Array:
        """Return the scores (R, A) of all packed tokens for each of `states (R, D)`; scores are unnormalised."""

    def score(self, states: States, starts: IntArray, tokens: IntArray) -> Float64Array:
        """Return the scores (E,) of `tokens (E,)`; those of state r are tokens[starts[r]:starts[r + 1]]."""

    def log_normalizer(self, states: States, temperature: float) -> Float64Array:
        """Return log Σ exp(score / temperature) over the whole token vocabulary for each of `states (R, D)`."""


class Prompt(Protocol):
    """A model that has read B prompts and can be led on, beam by beam; one search at a time."""

    def first(self) -> States:
        """Begin (anew) after the prompts alone; return the states (B, D) that predict the first token."""

    def advance(self, parents: IntArray, tokens: IntArray) -> States:
        """Give beam w of prompt b the token `tokens[b, w]` after its `parents[b, w]`; return the states (B, W, D).

        Parents are columns of the step before. A rectangle: rows shorter than W are filled with anything.
        """


@dataclass(frozen=True)
class Decoded:
    """One prompt's intentions: ids (n,) and natural log-probabilities (n,), n ≤ num_beams.

    The best come first, by log-probability unless values have a say.
    """

    intention_ids: IntArray
    log_probs: Float64Array


def backed_off(decoded: Decoded, near: Near) -> Decoded:
    """Return the decoded intentions, and after them the other near ones.

    These share the probability that the decoded ones leave over, in proportion to their weights.
    """
    others = ~np.isin(near.intention_ids, decoded.intention_ids)
    rest = Near(near.intention_ids[others], near.log_weights[others], near.log_floor)
    left = max(1.0 - float(np.exp(decoded.log_probs).sum()), _LEAST_LEFT)
    log_probs = np.concatenate((decoded.log_probs, np.log(left) + rest.log_shares()))
    return Decoded(np.concatenate((decoded.intention_ids, rest.intention_ids)), log_probs)


@dataclass(frozen=True)
class _Beams:
    """Partial and finished intentions of all prompts, in one flat list."""

    prompt: IntArray
    log_prob: Float64Array
    rank_by: Float64Array  # log_prob, plus what values add
    node: IntArray
    column: IntArray  # among its prompt's live beams at the step before, i.e. whose state it continues
    done: Mask
    intention_id: IntArray  # of a finished one; of a partial one the lowest below it, which breaks ties

    def take(self, chosen: IntArray | Mask) -> "_Beams":
        return _Beams(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def concatenated(self, other: "_Beams") -> "_Beams":
        return _Beams(
            *(np.concatenate((getattr(self, name), getattr(other, name))) for name in self.__dataclass_fields__)
        )


class ConstrainedDecoder:
    """Decodes intentions of one trie version with one model; keeps the output rows of the root's tokens packed."""

    def __init__(
        self,
        trie: Trie,
        output: OutputLayer,
        end_id: int,
        values: Float64Array | None = None,
        *,
        like: "ConstrainedDecoder | None" = None,
    ) -> None:
        """`end_id` is the token that means "the intention ends here"; no intention may contain it.

        `values` are by intention id, above 0. `like` is a decoder of another version with the same model, whose packed
        rows are taken over if the root's tokens are still the same.
        """
        self.trie, self._output, self._end_id = trie, output, end_id
        if not (isinstance(end_id, int) and 0 <= end_id < output.num_tokens):
            raise InputError(f"the end token {end_id!r} is none of the model's {output.num_tokens} tokens")
        if like is not None and (like._end_id, like._output) != (end_id, output):
            raise InputError("'like' is a decoder of another model or with another end token")
        if trie.root == 0:  # all that is stored is in use; of later versions, what is met while decoding is checked
            self._check_tokens(trie.tokens[1:])
        self._root_nodes, _ = trie.children(np.array([trie.root]))
        self._root_tokens = trie.tokens[self._root_nodes].astype(np.int64)
        self._check_tokens(self._root_tokens)
        if like is not None and np.array_equal(like._root_tokens, self._root_tokens):
            self._root_rows: object = like._root_rows
        else:
            self._root_rows = output.pack(self._root_tokens)
        self._log_values: tuple[Float64Array, Float64Array] | None = None
        if values is not None:
            values, needed = np.asarray(values), int(trie.intention_ids.max()) + 1
            if values.ndim != 1 or values.dtype.kind not in "iuf" or len(values) < needed:
                raise InputError(f"values must be {needed} numbers, one for each intention id; they are {values.shape}")
            wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
            if len(wrong):
                raise InputError(
                    f"the value of intention {wrong[0]} is {values[wrong[0]]}; it must be above 0 and finite"
                )
            log_values = np.log(values)
            self._log_values = log_values, trie.highest_below(log_values)

    def _check_tokens(self, tokens: NDArray[np.integer[Any]]) -> None:
        """Raise `InputError` for tokens that the model does not have, or that mean the end."""
        if len(tokens) and int(tokens.max()) >= self._output.num_tokens:
            raise InputError(
                f"an intention contains the token {int(tokens.max())}, and the model has {self._output.num_tokens}; "
                "make the trie with the model's own tokenizer"
            )
        if (tokens == self._end_id).any():
            raise InputError(f"an intention contains the token {self._end_id}, which is to mean that one ends")

    @cached_property
    def _leaf_order(self) -> LeafOrder:
        """The order of the trie's intentions that a prior needs."""
        return LeafOrder(self.trie)

    def decode(
        self,
        prompt: Prompt,
        settings: DecodeSettings,
        near: Sequence[Near] | None = None,
        *,
        trace: Trace | None = None,
    ) -> list[Decoded]:
        """Return the `num_beams` best intentions of each prompt (all, if there are fewer).

        `near` are the intentions near each prompt, by which a prior guides the search. Mode `full` takes none. `trace`
        records the search, which then has to be of one prompt.
        """
        if settings.value_weight and self._log_values is None:
            raise SettingsError("'value_weight' is set, but the decoder was given no values")
        if near is not None and settings.mode is ScoreMode.FULL:
            raise SettingsError("a prior guides mode 'trie' alone; set 'mode' to 'trie', or give no near intentions")
        states = prompt.first()
        num_prompts, num_beams = states.shape[0], settings.num_beams
        if trace is not None and num_prompts != 1:
            raise InputError(f"there are {num_prompts} prompts", cure="trace one prompt at a time", field="trace")
        prior = None
        if near is not None and settings.prior_weight:
            if len(near) != num_prompts:
                raise InputError(f"there are {num_prompts} prompts, and near intentions of {len(near)}")
            prior = self._leaf_order.prior(near)
        live, finished = self._start(num_prompts), self._start(0)
        depth = 0
        while True:
            options = self._continue(live, states, depth, settings, prior, trace)
            if settings.mode is ScoreMode.TRIE:
                best = _best(finished.concatenated(options), num_beams, num_prompts)
                live, finished = best.take(~best.done), best.take(best.done)
            else:
                ended = _best(options, num_beams, num_prompts)
                finished = _best(finished.concatenated(ended.take(ended.done)), num_beams, num_prompts)
                live = _best(options.take(~options.done), num_beams, num_prompts)
                live = live.take(live.rank_by >= _worst(finished, num_beams, num_prompts)[live.prompt])
            if trace is not None:
                trace.keep(np.concatenate((live.node, finished.node)))
            depth += 1
            if not len(live.prompt):
                break
            # Live beams of a prompt sit side by side: give each its column of a (B, W) rectangle.
            counts = np.bincount(live.prompt, minlength=num_prompts)
            column = np.arange(len(live.prompt)) - np.repeat(np.cumsum(counts) - counts, counts)
            parents = np.zeros((num_prompts, int(counts.max())), dtype=np.int64)
            tokens = np.zeros_like(parents)
            parents[live.prompt, column] = live.column
            tokens[live.prompt, column] = self.trie.tokens[live.node]
            states = prompt.advance(parents, tokens)[live.prompt, column]
            live.column[:] = column
        return [
            Decoded(finished.intention_id[start:end], finished.log_prob[start:end])
            for start, end in _segments(finished.prompt, num_prompts)
        ]

    def _start(self, num_prompts: int) -> _Beams:
        """Return one beam a prompt, at the root."""
        zeros = np.zeros(num_prompts, dtype=np.int64)
        certain = np.zeros(num_prompts)
        return _Beams(np.arange(num_prompts), certain, certain, zeros + self.trie.root, zeros, zeros > 0, zeros)

    def _continue(
        self,
        live: _Beams,
        states: States,
        depth: int,
        settings: DecodeSettings,
        prior: Prior | None,
        trace: Trace | None,
    ) -> _Beams:
        """Return every continuation of the live beams: their children, and their end where one is allowed."""
        trie = self.trie
        children, owners = trie.children(live.node)
        if settings.max_new_tokens is not None:  # an end must be within reach
            near = trie.heights[children] < settings.max_new_tokens - depth
            children, owners = children[near], owners[near]
        # A beam's options are its children, then its end.
        counts = np.bincount(owners, minlength=len(live.node))
        ends = trie.intention_ids[live.node] >= 0
        starts = np.concatenate(([0], np.cumsum(counts + ends)))
        rows = np.repeat(np.arange(len(live.node)), counts + ends)
        is_end = np.zeros(len(rows), dtype=bool)
        is_end[starts[1:][ends] - 1] = True
        nodes = live.node[rows]
        nodes[~is_end] = children

        self._check_tokens(trie.tokens[children])
        if depth == 0:
            scores = self._output.score_packed(states, self._root_rows)
            if len(children) < scores.size:
                scores = scores[:, children[: counts[0]] - self._root_nodes[0]]
            scores = scores.ravel()
        else:
            scores = self._output.score(states, starts, np.where(is_end, self._end_id, trie.tokens[nodes]))
        if not len(scores):  # the trie is empty, or holds nothing this short
            return live.take(rows)
        with np.errstate(over="ignore"):  # seen in the next line
            scores = scores / settings.temperature
        if not np.isfinite(scores).all():
            raise InputError("the model's scores are not finite; check its weights, and that temperature is not tiny")
        model_scores, prior_scores = scores, None
        if prior is not None:
            prior_scores = prior.log_masses(live.prompt[rows], nodes, is_end)
            scores = scores + settings.prior_weight * prior_scores
        best = np.maximum.reduceat(scores, starts[:-1])
        if settings.mode is ScoreMode.TRIE:
            normalizer = best + np.log(np.add.reduceat(np.exp(scores - best[rows]), starts[:-1]))
        else:
            normalizer = self._output.log_normalizer(states, settings.temperature)
        # A choice is never more than certain, whatever rounding says: what is dropped by its bound must stay dropped.
        log_prob = live.log_prob[rows] + np.minimum(scores - normalizer[rows], 0.0)
        if trace is not None:
            trace.offer(trie, live.node[rows], nodes, is_end, log_prob, model_scores, prior_scores)
        if settings.truncation is not None:
            kept = scores >= best[rows] - settings.truncation
            rows, nodes, is_end, log_prob = rows[kept], nodes[kept], is_end[kept], log_prob[kept]

        done, intention_id = is_end, np.where(is_end, trie.intention_ids[nodes], trie.lowest_id[nodes])
        if settings.mode is ScoreMode.TRIE:
            done = done | (trie.num_leaves[nodes] == 1)
        rank_by = log_prob
        if settings.value_weight and self._log_values is not None:
            by_id, by_node = self._log_values
            rank_by = log_prob + settings.value_weight * np.where(done, by_id[intention_id], by_node[nodes])
        return _Beams(live.prompt[rows], log_prob, rank_by, nodes, live.column[rows], done, intention_id)


def _best(beams: _Beams, num_beams: int, num_prompts: int) -> _Beams:
    """Return the best `num_beams` of each prompt, prompts in order, best first, ties by lowest intention id."""
    if len(beams.prompt) > 2 * num_beams * num_prompts:  # sorting all would cost more than finding the cut first
        by_prompt = np.argsort(beams.prompt, kind="stable")
        keep = []
        for start, end in _segments(beams.prompt[by_prompt], num_prompts):
            segment = by_prompt[start:end]
            if len(segment) > num_beams:
                rank_by = beams.rank_by[segment]
                segment = segment[rank_by >= -np.partition(-rank_by, num_beams - 1)[num_beams - 1]]
            keep.append(segment)
        beams = beams.take(np.concatenate(keep))
    order = np.lexsort((beams.intention_id, -beams.rank_by, beams.prompt))
    counts = np.bincount(beams.prompt, minlength=num_prompts)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return beams.take(order[rank < num_beams])


def _worst(finished: _Beams, num_beams: int, num_prompts: int) -> Float64Array:
    """Return what each prompt's last of `num_beams` finished intentions is ranked by; -inf where there are fewer."""
    counts = np.bincount(finished.prompt, minlength=num_prompts)
    worst = np.full(num_prompts, -np.inf)
    full = counts == num_beams
    worst[full] = finished.rank_by[np.cumsum(counts)[full] - 1]
    return worst


def _segments(prompt: IntArray, num_prompts: int) -> list[tuple[int, int]]:
    """Return where each prompt's entries start and end in the sorted `prompt`."""
    bounds = np.searchsorted(prompt, np.arange(num_prompts + 1)).tolist()
    return list(pairwise(bounds))
