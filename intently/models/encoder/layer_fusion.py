"""Layer-wise fusion: a text decides how much each layer of the backbone counts for it (BRIDGE, section 4.3.1).

h = Σ_l α_l(x) h_l with α(x) = softmax(MLP(x) + b). The weights depend on the whole text, not on a token.

Shape letters: B batch, S source length, D hidden size, L layers.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intently.models.encoder.settings import LAYER_FUSION_SIZE, EncoderSettings


class LayerFusion(nn.Module):
    """Weighs the backbone's layers for each text."""

    def __init__(self, hidden_size: int, num_layers: int, settings: EncoderSettings) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        self.inner = nn.Linear(hidden_size, LAYER_FUSION_SIZE)
        self.outer = nn.Linear(LAYER_FUSION_SIZE, num_layers, bias=False)
        nn.init.normal_(self.outer.weight, std=0.02)  # the bias decides at the start
        self.bias = nn.Parameter(initial_bias(num_layers, settings))
        self._last: Tensor | None = None

    def weights(self, text: Tensor) -> Tensor:
        """Return the layers' weights (B, L), which sum to 1, of texts whose last states' mean is `text (B, D)`."""
        scores = self.outer(F.gelu(self.inner(self.norm(text)))) + self.bias
        weights = torch.softmax(scores.float(), dim=1)
        self._last = weights.detach()
        return weights

    @staticmethod
    def mix(states: Sequence[Tensor], weights: Tensor) -> Tensor:
        """Return Σ_l α_l h_l (B, …, D) of L states (B, …, D)."""
        shape = (-1,) + (1,) * (states[0].ndim - 1)
        total = states[0] * weights[:, 0].view(shape)
        for layer, state in enumerate(states[1:], start=1):
            total = total + state * weights[:, layer].view(shape)
        return total

    def last_weights(self) -> Tensor:
        """Return the weights (B, L) of the batch read last; (0, L) before the first. For the log."""
        return self.bias.new_empty((0, len(self.bias))) if self._last is None else self._last


def initial_bias(num_layers: int, settings: EncoderSettings) -> Tensor:
    """Return b (L,): 0 for layers within the favoured depths, falling by `layer_bias` per whole depth away."""
    depth = torch.arange(1, num_layers + 1) / num_layers
    below = (settings.favoured_depth_low - depth).clamp(min=0)
    above = (depth - settings.favoured_depth_high).clamp(min=0)
    return -settings.layer_bias * (below + above)
