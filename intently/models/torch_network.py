"""The student's layers run by PyTorch: the reference, and the way to a GPU."""

import torch

from intently.arrays import Float32Array, IntArray, Mask
from intently.models.backbone import Backbone, LayerCache
from intently.models.output import OutputRows


class TorchNetwork:
    """The `Network` that a backbone is, on the device its weights are on."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    @torch.inference_mode()
    def embed(self, token_ids: IntArray, positions: IntArray, segment: int) -> torch.Tensor:
        """Return input states (…, D), as `Backbone.embed` does."""
        return self._backbone.embed(self._put(token_ids), self._put(positions), segment)

    @torch.inference_mode()
    def run(
        self, hidden: torch.Tensor, past: LayerCache, visible: Mask
    ) -> tuple[torch.Tensor, torch.Tensor, LayerCache]:
        """Return states, head states and the grown past, as `Backbone.forward` does."""
        states, head, grown = self._backbone(hidden, past, self._put(visible))
        return states, head, grown

    @torch.inference_mode()
    def pool(self, states: torch.Tensor, lengths: IntArray) -> Float32Array:
        """Return embeddings (B, D), as `Backbone.pool` does."""
        embeddings: Float32Array = self._backbone.pool(states, self._put(lengths)).cpu().numpy()
        return embeddings

    def output(self) -> OutputRows:
        """Return the output layer, whose weights are the word embeddings."""
        return OutputRows(self._backbone.word_embeddings.weight, self._backbone.head_bias)

    def _put(self, array: IntArray | Mask) -> torch.Tensor:
        return torch.tensor(array, device=self._backbone.head_bias.device)
