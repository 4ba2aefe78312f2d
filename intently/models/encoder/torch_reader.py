"""The encoder read by PyTorch: ads with their augmentation, and whatever is read on a GPU."""

import numpy as np
import torch
from numpy.typing import NDArray

from intently.models.device import autocast
from intently.models.encoder.features import AdFeatures
from intently.models.encoder.model import BridgeEncoder


class TorchReader:
    """Embeds texts with an encoder, on the device that its weights are on."""

    def __init__(self, encoder: BridgeEncoder) -> None:
        self._encoder = encoder

    @torch.inference_mode()
    def queries(
        self, token_ids: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the unit embeddings of queries `token_ids (B, S)` of `lengths (B,)`: (B, D), and tokens' (B, S, P)."""
        device = self._encoder.device
        encoded = self._encoder.encode_queries(*(torch.from_numpy(each).to(device) for each in (token_ids, lengths)))
        return encoded.embeddings.cpu().numpy(), encoded.tokens.cpu().numpy()

    @torch.inference_mode()
    def ads(
        self, token_ids: NDArray[np.int64], lengths: NDArray[np.int64], features: AdFeatures | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the unit embeddings of ads, as of queries; bfloat16 where fast."""
        device = self._encoder.device
        ids, num = torch.from_numpy(token_ids).to(device), torch.from_numpy(lengths).to(device)
        with autocast(device):
            encoded = self._encoder.encode_ads(ids, num, None if features is None else features.to(device))
        return encoded.embeddings.float().cpu().numpy(), encoded.tokens.float().cpu().numpy()
