"""Knowledge transfer by cross-attention between an ad's text and its augmentation (BRIDGE, section 4.1.2).

Text tokens attend to the augmentation's items, and the items to the text tokens, both as they were before. Projections
start orthogonal and are held so by a penalty; attention is softmax(QKᵀ / (τ√E)) with a learned τ that starts above 1.

Shape letters: B batch, R receivers, G givers, S source length, A items, D hidden size, H heads, E = D / H.
"""

import math

import torch
from torch import Tensor, nn

from intently.models.encoder.settings import EncoderSettings


class CrossAttention(nn.Module):
    """Adds to receivers, scaled, what they gather from givers."""

    def __init__(self, hidden_size: int, settings: EncoderSettings) -> None:
        super().__init__()
        settings.check_heads(hidden_size)
        self.num_heads = settings.num_heads
        # Receivers and givers are of different models: without this one's scale would drown the other's.
        self.receiver_norm, self.giver_norm = nn.LayerNorm(hidden_size), nn.LayerNorm(hidden_size)
        self.query, self.key, self.value, self.output = (
            nn.Linear(hidden_size, hidden_size, bias=False) for _ in range(4)
        )
        # Each head sees a random subspace. All heads together begin by comparing receivers with givers by their inner
        # product, and by passing givers on unchanged.
        nn.init.orthogonal_(self.query.weight)
        nn.init.orthogonal_(self.value.weight)
        with torch.no_grad():
            self.key.weight.copy_(self.query.weight)
            self.output.weight.copy_(self.value.weight.T)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(settings.temperature)))
        self.scale = nn.Parameter(torch.tensor(settings.initial_scale))
        self._head_entropy: Tensor | None = None

    def forward(self, receivers: Tensor, receiver_mask: Tensor, givers: Tensor, giver_mask: Tensor) -> Tensor:
        """Return `receivers (B, R, D)`, changed where a row has givers; masks (B, R), (B, G) are true for real ones."""
        known = self.giver_norm(givers)
        query = self._heads(self.query(self.receiver_norm(receivers)))
        key, value = self._heads(self.key(known)), self._heads(self.value(known))
        scores = query @ key.transpose(2, 3) / (self.log_temperature.exp() * math.sqrt(query.shape[-1]))
        scores = scores.float().masked_fill(~giver_mask[:, None, None, :], torch.finfo(torch.float32).min)
        weights = torch.softmax(scores, dim=-1)
        gathered = (weights.to(value.dtype) @ value).transpose(1, 2).reshape(receivers.shape)
        some = giver_mask.any(dim=1)
        self._head_entropy = _mean_entropy(weights.detach(), receiver_mask & some[:, None])
        told: Tensor = self.scale * self.output(gathered)
        return receivers + told * some[:, None, None]

    def _heads(self, x: Tensor) -> Tensor:
        """Return (B, H, P, E) of (B, P, D)."""
        return x.view(*x.shape[:2], self.num_heads, x.shape[2] // self.num_heads).transpose(1, 2)

    def penalty(self) -> Tensor:
        """Return Σ ‖WᵀW − I‖² over the four projections, a scalar."""
        weights = torch.stack([part.weight for part in (self.query, self.key, self.value, self.output)]).float()
        with torch.autocast(weights.device.type, enabled=False):  # bfloat16 would see its own rounding
            gram = weights.transpose(1, 2) @ weights
        return (gram - torch.eye(gram.shape[-1], device=gram.device)).square().sum()

    def head_entropy(self) -> Tensor:
        """Return the mean entropy (H,), in nats, of each head's attention in the batch read last."""
        return self.scale.new_zeros(self.num_heads) if self._head_entropy is None else self._head_entropy


class KnowledgeTransfer(nn.Module):
    """Cross-attention in both directions; only towards the text if nobody asks for the items afterwards."""

    def __init__(self, hidden_size: int, settings: EncoderSettings, *, both: bool) -> None:
        super().__init__()
        self.to_text = CrossAttention(hidden_size, settings)
        self.to_items = CrossAttention(hidden_size, settings) if both else None

    def forward(self, tokens: Tensor, token_mask: Tensor, items: Tensor, item_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, S, D) and items (B, A, D) that know of each other; without items a row stays as it is."""
        told: Tensor = self.to_text(tokens, token_mask, items, item_mask)
        return told, items if self.to_items is None else self.to_items(items, item_mask, tokens, token_mask)

    def penalty(self) -> Tensor:
        """Return the penalty of all projections, a scalar."""
        penalty = self.to_text.penalty()
        return penalty if self.to_items is None else penalty + self.to_items.penalty()


def _mean_entropy(weights: Tensor, counted: Tensor) -> Tensor:
    """Return the mean entropy (H,) of `weights (B, H, R, G)` over the receivers `counted (B, R)`."""
    entropy: Tensor = torch.special.entr(weights).sum(dim=-1)
    return (entropy * counted[:, None]).sum(dim=(0, 2)) / counted.sum().clamp(min=1)
