"""The output layer of a language model, computed only for the tokens that are asked for."""

import warnings
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from intently.arrays import Float64Array, IntArray

# Said once a process when a CSR tensor is made. What is used of it here, a pattern and `sampled_addmm`, is tested.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")

_BLOCK = 4096  # rows whose scores are held at once when all tokens are asked for; they stay in a core's cache


class OutputRows:
    """Scores of tokens: `weight (V, D)` times a state, plus `bias (V,)`, capped softly if the model does so."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None, softcap: float | None = None) -> None:
        """`softcap` c turns a score s into c · tanh(s / c), as Gemma 2 does. The weights must not change any more."""
        self._weight, self._bias, self._softcap = weight, bias, softcap

    @property
    def num_tokens(self) -> int:
        """Number of tokens V."""
        return len(self._weight)

    def __eq__(self, other: object) -> bool:
        """Return whether both score with the same weights, in the same place."""
        return isinstance(other, OutputRows) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        bias = None if self._bias is None else self._bias.data_ptr()
        return self._weight.data_ptr(), self._weight.shape, bias, self._softcap

    @torch.inference_mode()
    def pack(self, tokens: IntArray) -> tuple[Tensor, Tensor | None]:
        """Return the rows (A, D) and biases (A,) of tokens."""
        at = torch.from_numpy(tokens).to(self._weight.device)
        return self._weight[at], None if self._bias is None else self._bias[at]

    @torch.inference_mode()
    def score_packed(self, states: Tensor, packed: object) -> Float64Array:
        """Return the scores (R, A) of packed tokens."""
        assert isinstance(packed, tuple)
        return self._finished(F.linear(states.to(self._weight.dtype), *packed))

    @torch.inference_mode()
    def score(self, states: Tensor, starts: IntArray, tokens: IntArray) -> Float64Array:
        """Return the scores (E,) of `tokens (E,)`; those of state r are tokens[starts[r]:starts[r + 1]]."""
        device = self._weight.device
        at = torch.from_numpy(tokens).to(device)
        if self._weight.dtype not in (torch.float32, torch.float64):  # there is no such product in bfloat16
            return self._finished(self._one_by_one(states, torch.from_numpy(np.diff(starts)), at))
        # A product of which only some elements are wanted; each is one inner product with a row where it lies.
        wanted = torch.sparse_csr_tensor(
            torch.from_numpy(starts).to(device),
            at,
            torch.zeros(len(tokens), dtype=self._weight.dtype, device=device),
            (len(states), len(self._weight)),
            check_invariants=False,
        )
        states = states.to(self._weight.dtype)
        scores = torch.sparse.sampled_addmm(wanted, states, self._weight.t(), beta=0.0).values()
        return self._finished(scores if self._bias is None else scores + self._bias[at])

    def _one_by_one(self, states: Tensor, counts: Tensor, at: Tensor) -> Tensor:
        """Return each token's score as an inner product of its own, in float32."""
        owners = torch.repeat_interleave(counts)
        products = [
            torch.einsum("ed,ed->e", states[owner].float(), self._weight[token].float())
            for owner, token in zip(torch.split(owners, _BLOCK), torch.split(at, _BLOCK), strict=True)
        ]
        scores = torch.cat(products) if products else states.new_zeros(0)
        return scores if self._bias is None else scores + self._bias[at]

    @torch.inference_mode()
    def log_normalizer(self, states: Tensor, temperature: float) -> Float64Array:
        """Return log Σ exp(score / temperature) over all tokens for each of `states (R, D)`."""
        states = states.to(self._weight.dtype)
        biases: Sequence[Tensor | None] = (
            [None] * len(self._blocks) if self._bias is None else torch.split(self._bias, _BLOCK)
        )
        parts = []
        for block, bias in zip(self._blocks, biases, strict=True):
            if block.is_mkldnn:
                scores = F.linear(states.to_mkldnn(), block).to_dense()
                scores = scores if bias is None else scores.add_(bias)
            else:
                scores = F.linear(states, block, bias)
            parts.append(torch.logsumexp(self._capped(scores).float().div_(temperature), dim=1))
        return torch.logsumexp(torch.stack(parts), dim=0).double().cpu().numpy()

    @cached_property
    def _blocks(self) -> list[Tensor]:
        """All rows, block by block; on CPUs packed for oneDNN, whose product is 2-3 times as fast on some of them."""
        blocks = list(torch.split(self._weight.detach(), _BLOCK))
        packed = self._weight.device.type == "cpu" and self._weight.dtype is torch.float32
        return [block.to_mkldnn() for block in blocks] if packed else blocks

    def _capped(self, scores: Tensor) -> Tensor:
        return scores if self._softcap is None else self._softcap * torch.tanh(scores / self._softcap)

    def _finished(self, scores: Tensor) -> Float64Array:
        return self._capped(scores).double().cpu().numpy()
