"""The prior in training: what a text should say is guided by what is near to it, as it will be in decoding.

So the model learns what nearness lacks, and no more: where the nearest intentions are right, it may stay silent. No
gradient flows into the prior; the contrastive loss has the embeddings to itself.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from intently.arrays import Float32Array
from intently.index.near import spread
from intently.intentions.prior import LeafOrder, Near, Prior
from intently.intentions.trie import Trie

NUM_NEAR = 200  # intentions with weights of their own, as many as queries have


Report = Callable[[int, int], None]  # how many intentions of how many are embedded


class TrainingPrior:
    """Gives the prior of a batch's texts from their embeddings and those of the intentions.

    The latter change with the student, and embedding all of them takes a while: `renew` does so now and then.
    """

    def __init__(
        self, trie: Trie, embed: Callable[[Report], Float32Array], temperature: float, num_near: int = NUM_NEAR
    ) -> None:
        """`embed` returns the unit embeddings (I, D) of all intentions as the student reads them now, and reports.

        `temperature` is in units of `spread`; all but the `num_near` nearest intentions share one weight.
        """
        self._order, self._embed, self._num_near = LeafOrder(trie), embed, num_near
        self._given_temperature = temperature

    def renew(self, device: torch.device, report: Report) -> None:
        """Embed all intentions anew."""
        embeddings = self._embed(report)
        self._temperature = self._given_temperature * spread(embeddings)
        self._embeddings = torch.from_numpy(embeddings).to(device)
        self._mean = self._embeddings.mean(dim=0)

    @torch.no_grad()
    def of(self, embeddings: Tensor) -> Prior:
        """Return the prior of texts by their unit embeddings (B, D)."""
        with torch.autocast(embeddings.device.type, enabled=False):  # as exact as in decoding
            cosines = embeddings.float() @ self._embeddings.T
            nearest = cosines.topk(min(self._num_near, cosines.shape[1]), dim=1)
            floors = (embeddings.float() @ self._mean).double().numpy(force=True)
        ids, weights = nearest.indices.numpy(force=True), nearest.values.double().numpy(force=True)
        near = zip(ids, weights / self._temperature, (floors / self._temperature).tolist(), strict=True)
        return self._order.prior([Near(*one) for one in near])
