"""The student's output layer in NumPy, computed only for the tokens that are asked for."""

from itertools import pairwise

import numpy as np

from intently.arrays import Float32Array, Float64Array, IntArray

_BLOCK = 4096  # rows whose scores are held at once when all tokens are asked for; they stay in a core's cache


class ArrayOutput:
    """Scores of tokens: `weight (V, D)` times a state, plus `bias (V,)`; the `OutputLayer` of arrays."""

    def __init__(self, weight: Float32Array, bias: Float32Array) -> None:
        """The weights must not change any more."""
        self._weight, self._bias = weight, bias

    @property
    def num_tokens(self) -> int:
        """Number of tokens V."""
        return len(self._weight)

    def __eq__(self, other: object) -> bool:
        """Return whether both score with the same weights, in the same place."""
        return isinstance(other, ArrayOutput) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        return self._weight.ctypes.data, self._weight.shape, self._bias.ctypes.data

    def pack(self, tokens: IntArray) -> tuple[Float32Array, Float32Array]:
        """Return the rows (A, D) and biases (A,) of tokens."""
        return self._weight[tokens], self._bias[tokens]

    def score_packed(self, states: Float32Array, packed: object) -> Float64Array:
        """Return the scores (R, A) of packed tokens."""
        assert isinstance(packed, tuple)
        rows, bias = packed
        scores: Float64Array = (states @ rows.T + bias).astype(np.float64)
        return scores

    def score(self, states: Float32Array, starts: IntArray, tokens: IntArray) -> Float64Array:
        """Return the scores (E,) of `tokens (E,)`; those of state r are tokens[starts[r]:starts[r + 1]]."""
        rows, scores = self._weight[tokens], self._bias[tokens]
        for state, (start, end) in zip(states, pairwise(starts.tolist()), strict=True):
            scores[start:end] += rows[start:end] @ state
        return scores.astype(np.float64)

    def log_normalizer(self, states: Float32Array, temperature: float) -> Float64Array:
        """Return log Σ exp(score / temperature) over all tokens for each of `states (R, D)`."""
        total = np.full(len(states), -np.inf)
        for start in range(0, len(self._weight), _BLOCK):
            block = slice(start, start + _BLOCK)
            scores = (states @ self._weight[block].T + self._bias[block]) / np.float32(temperature)
            best = scores.max(axis=1, keepdims=True)
            sums = best[:, 0] + np.log(np.exp(scores - best).sum(axis=1, dtype=np.float64))
            total = np.logaddexp(total, sums)
        return total
