"""The student backbone: one compact transformer that encodes a query once and decodes intentions from what it read.

The source (a query, or an ad's text) is read bidirectionally; its mean-pooled states are the dense embedding. The same
keys and values then prompt a causal decoding of intentions: a target token sees all source tokens and the target tokens
before it, never the other way round, so the source's states do not depend on the target. The state of the source's
final [SEP] predicts the first target token, hence reading the query already pays for the first step. (The idea of one
network for both is UniLM's and SimBERT's.)

Shape letters: B batch, S source length, T target length, D hidden size, H heads, E = D / H, L layers, P positions,
K past positions, V token vocabulary.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intently.models.weights import BackboneConfig, BackboneWeights

# Keys and values of positions that were read already, one (keys, values) pair a layer, each (B, H, K, E).
LayerCache = list[tuple[Tensor, Tensor]]


def attend(query: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    """Return softmax attention (B, H, P, E) over the `visible` keys.

    Written out, because at these lengths (tens of tokens) PyTorch's fused kernel is several times slower on CPUs,
    most of all in its backward pass.
    """
    scores = (query @ keys.transpose(2, 3)) * query.shape[-1] ** -0.5
    return torch.softmax(scores.masked_fill(~visible, -torch.inf), dim=-1).to(values.dtype) @ values


class Layer(nn.Module):
    """One post-norm transformer layer, as in BERT."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.qkv = nn.Linear(size, 3 * size)
        self.attention_output = nn.Linear(size, size)
        self.attention_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.intermediate = nn.Linear(size, config.intermediate_size)
        self.output = nn.Linear(config.intermediate_size, size)
        self.output_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)

    def project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, each (B, H, P, E), of `hidden (B, P, D)`."""
        batch, positions, size = hidden.shape
        qkv = self.qkv(hidden).view(batch, positions, 3, self.num_heads, size // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        return query, key, value

    def finish(self, hidden: Tensor, attended: Tensor) -> Tensor:
        """Return the layer's output (B, P, D) from its input and what attention gathered (B, H, P, E)."""
        merged = attended.transpose(1, 2).reshape(hidden.shape)
        hidden = self.attention_norm(hidden + self.attention_output(merged))
        out: Tensor = self.output_norm(hidden + self.output(F.gelu(self.intermediate(hidden))))
        return out


class Backbone(nn.Module):
    """Embeddings, layers and the head that turns a state into token scores (weights tied to the word embeddings)."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        size = config.hidden_size
        # Sparse gradients: a step touches a few thousand of the tokens, and filling and updating all rows for them
        # would cost as much as a layer.
        self.word_embeddings = nn.Embedding(config.vocab_size, size, sparse=True)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size)
        self.type_embeddings = nn.Embedding(config.type_vocab_size, size)
        self.embedding_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.head_dense = nn.Linear(size, size)
        self.head_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.head_bias = nn.Parameter(torch.zeros(config.vocab_size))
        # Near the identity, so that training starts from states that already resemble word embeddings.
        nn.init.eye_(self.head_dense.weight)
        nn.init.zeros_(self.head_dense.bias)

    @classmethod
    def of(cls, weights: BackboneWeights) -> "Backbone":
        """Return a backbone with a copy of the weights, on the CPU."""
        backbone = cls(weights.config)
        state = {name: torch.from_numpy(np.array(array)) for name, array in weights.arrays.items()}
        backbone.load_state_dict(state, strict=False)
        return backbone

    def weights(self) -> BackboneWeights:
        """Return the weights as arrays, which share the memory of those on the CPU."""
        arrays = {name: value.detach().float().cpu().numpy() for name, value in self.state_dict().items()}
        return BackboneWeights(self.config, arrays)

    def fill(self, weights: Mapping[str, Tensor], path: Path) -> "Backbone":
        """Take the weights that were read from `path`, once all of them fit, and return this backbone."""
        self.config.check({name: tuple(weight.shape) for name, weight in weights.items()}, path)
        self.load_state_dict(weights, strict=False)
        return self

    @property
    def _stack(self) -> list[Layer]:
        return [cast(Layer, layer) for layer in self.layers]

    def embed(self, token_ids: Tensor, positions: Tensor, segment: int) -> Tensor:
        """Return input states (…, D); segment 0 is the source, 1 the target."""
        kind = self.type_embeddings.weight[segment]
        state: Tensor = self.embedding_norm(
            self.word_embeddings(token_ids) + self.position_embeddings(positions) + kind
        )
        return state

    def run(self, hidden: Tensor, past: LayerCache, visible: Tensor) -> tuple[Tensor, LayerCache]:
        """Run all layers over input states (B, P, D) that also attend to what `past` (nothing, if empty) holds.

        `visible (B, 1, P, K + P)`, true where a position sees a key: the K past ones first, then its own P. Returns
        the states (B, P, D) and the past longer by these positions.
        """
        grown: LayerCache = []
        for index, layer in enumerate(self._stack):
            query, key, value = layer.project(hidden)
            if past:
                key, value = torch.cat((past[index][0], key), dim=2), torch.cat((past[index][1], value), dim=2)
            grown.append((key, value))
            hidden = layer.finish(hidden, attend(query, key, value, visible))
        return hidden, grown

    def forward(self, hidden: Tensor, past: LayerCache, visible: Tensor) -> tuple[Tensor, Tensor, LayerCache]:
        """Return states (B, P, D) and the grown past as `run` does, with the head states (B, P, D) between them."""
        states, grown = self.run(hidden, past, visible)
        return states, self.head(states), grown

    def encode(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, LayerCache]:
        """Read sources `token_ids (B, S)` of `lengths (B,)`; return states (B, S, D) and each layer's keys, values."""
        positions = torch.arange(token_ids.shape[1], device=token_ids.device)
        visible = (positions < lengths[:, None])[:, None, None, :].expand(-1, 1, len(positions), -1)
        return self.run(self.embed(token_ids, positions, segment=0), [], visible)

    def layer_states(self, token_ids: Tensor, lengths: Tensor) -> list[Tensor]:
        """Read sources as `encode` does; return the states (B, S, D) after each of the L layers."""
        positions = torch.arange(token_ids.shape[1], device=token_ids.device)
        visible = (positions < lengths[:, None])[:, None, None, :]
        hidden = self.embed(token_ids, positions, segment=0)
        states = []
        for layer in self._stack:
            hidden = layer.finish(hidden, attend(*layer.project(hidden), visible))
            states.append(hidden)
        return states

    def decode_all(self, source: LayerCache, lengths: Tensor, target_ids: Tensor) -> Tensor:
        """Return the states (B, T, D) of whole targets (B, T), a token seeing the source and the tokens up to itself.

        Used in training, where all targets are known. Padding sits at a target's end and is seen by padding only.
        """
        batch, num_target = target_ids.shape
        steps = torch.arange(num_target, device=target_ids.device)
        num_source = source[0][0].shape[2]
        seen_source = (torch.arange(num_source, device=target_ids.device) < lengths[:, None])[:, None, None, :]
        causal = (steps[None, :] <= steps[:, None])[None, None]
        visible = torch.cat(
            (seen_source.expand(batch, 1, num_target, num_source), causal.expand(batch, 1, -1, -1)), dim=-1
        )
        return self.run(self.embed(target_ids, lengths[:, None] + steps, segment=1), source, visible)[0]

    def head(self, states: Tensor) -> Tensor:
        """Return head states (…, D), whose product with the word embeddings (plus `head_bias`) gives token scores."""
        out: Tensor = self.head_norm(F.gelu(self.head_dense(states)) + states)
        return out

    def pool(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Return embeddings (B, D) of unit length: the mean of each source's states (B, S, D)."""
        visible = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
        total = (states * visible.unsqueeze(2)).sum(dim=1)
        return F.normalize(total.float(), dim=1)

    def last_state(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Return the states (B, D) of the final [SEP], which predict the first target token."""
        return states[torch.arange(states.shape[0], device=states.device), lengths - 1]
