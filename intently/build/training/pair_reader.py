"""How the encoder reads the pairs of a batch: in groups of similar length, what says a pair's query hidden from its ad.

Shape letters: B batch, M ads, A items an ad, D dimension.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from intently.arrays import IntArray
from intently.build.training.reading import length_groups
from intently.build.training.sources import BridgeData
from intently.models.device import autocast
from intently.models.encoder.backbone import TextTokenizer
from intently.models.encoder.features import AdFeatures
from intently.models.encoder.model import BridgeEncoder, Encoded
from intently.models.tokenizer import TextKind
from intently.types import Progress

_BLOCK = 8192  # ads whose texts are taken apart at once


class PairReader:
    """Embeds queries and ads of `data`, with gradients unless these are off. Holds the ads' tokens, 4·N·S bytes."""

    def __init__(
        self, encoder: BridgeEncoder, tokenizer: TextTokenizer, data: BridgeData, progress: Progress | None = None
    ) -> None:
        self._encoder, self._tokenizer, self._data = encoder, tokenizer, data
        self._ad_ids, self._ad_lengths = _tokens(
            tokenizer, data.ad_texts, encoder.settings.max_ad_tokens, progress or (lambda *_: None)
        )

    def queries(self, texts: Sequence[str]) -> Encoded:
        """Return the embeddings of queries."""
        ids, lengths = self._tokenizer.encode(texts, self._encoder.settings.max_query_tokens)
        groups, device = length_groups(lengths), self._encoder.device
        with autocast(device):
            parts = [self._encoder.encode_queries(*_cut(ids, lengths, group, device)) for group in groups]
        return _in_order(parts, groups)

    def ads(self, query_rows: IntArray, ad_rows: IntArray, bare: NDArray[np.bool_] | None = None) -> Encoded:
        """Return the embeddings of ads, each as an answer to a query or, where `query_rows (M,)` is -1, for itself.

        Those where `bare (M,)` holds are read without augmentation.
        """
        ids, lengths = self._ad_ids[ad_rows], self._ad_lengths[ad_rows]
        bare = np.zeros(len(ad_rows), dtype=np.bool_) if bare is None else bare
        groups, device = length_groups(lengths), self._encoder.device
        with autocast(device):
            parts = [
                self._encoder.encode_ads(
                    *_cut(ids, lengths, group, device), self._features(query_rows[group], ad_rows[group], bare[group])
                )
                for group in groups
            ]
        return _in_order(parts, groups)

    def _features(self, query_rows: IntArray, ad_rows: IntArray, bare: NDArray[np.bool_]) -> AdFeatures | None:
        if self._data.features is None or not self._encoder.settings.reads_augmentation:
            return None
        hidden = np.where(query_rows >= 0, self._data.query_keys[query_rows], 0)
        return self._data.features.batch(ad_rows, hidden).without(bare).to(self._encoder.device)


def _tokens(
    tokenizer: TextTokenizer, texts: Sequence[str], max_tokens: int, progress: Progress
) -> tuple[NDArray[np.int32], IntArray]:
    """Return token ids (N, S), 0 beyond a text's own, and lengths (N,)."""
    blocks: list[NDArray[np.int32]] = []
    lengths = np.empty(len(texts), dtype=np.int64)
    for start in range(0, len(texts), _BLOCK):
        ids, own = tokenizer.encode(texts[start : start + _BLOCK], max_tokens, TextKind.PASSAGE)
        lengths[start : start + len(own)] = own
        blocks.append(ids.astype(np.int32))
        progress("Reading the ads' tokens", start + len(own), len(texts), "")
    token_ids = np.zeros((len(texts), int(lengths.max(initial=0))), dtype=np.int32)
    for number, block in enumerate(blocks):
        token_ids[number * _BLOCK : number * _BLOCK + len(block), : block.shape[1]] = block
    return token_ids, lengths


def _cut(ids: NDArray[np.integer], lengths: IntArray, group: IntArray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return token ids and lengths of some texts, cut at their longest."""
    longest = int(lengths[group].max())
    return torch.from_numpy(ids[group, :longest].astype(np.int64)).to(device), torch.from_numpy(lengths[group]).to(
        device
    )


def _in_order(parts: list[Encoded], groups: list[IntArray]) -> Encoded:
    """Return the texts of groups, put together again, in the order before."""
    back = torch.from_numpy(np.argsort(np.concatenate(groups))).to(parts[0].real.device)
    longest = max(part.real.shape[1] for part in parts)
    missing = [longest - part.real.shape[1] for part in parts]
    return Encoded(
        torch.cat([part.embeddings for part in parts]).float()[back],
        torch.cat([F.pad(part.tokens, (0, 0, 0, more)) for part, more in zip(parts, missing, strict=True)])[back],
        torch.cat([F.pad(part.real, (0, more)) for part, more in zip(parts, missing, strict=True)])[back],
    )
