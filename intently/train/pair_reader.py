"""How the encoder reads the pairs of a batch: in groups of similar length, the pair's own query hidden from its ad.

Shape letters: B batch, M ads, A items an ad, D dimension.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from intently.encoder.backbone import TextTokenizer
from intently.encoder.features import AdFeatures
from intently.encoder.model import BridgeEncoder
from intently.models.device import autocast
from intently.train.reading import length_groups
from intently.train.sources import BridgeData, IntArray


class PairReader:
    """Embeds queries and ads of `data`, with gradients unless these are off."""

    def __init__(self, encoder: BridgeEncoder, tokenizer: TextTokenizer, data: BridgeData) -> None:
        self._encoder, self._tokenizer, self._data = encoder, tokenizer, data
        self._ad_ids, self._ad_lengths = tokenizer.encode(data.ad_texts, encoder.settings.max_ad_tokens)

    def queries(self, texts: Sequence[str]) -> Tensor:
        """Return embeddings (B, D) of queries."""
        ids, lengths = self._tokenizer.encode(texts, self._encoder.settings.max_query_tokens)
        groups, device = length_groups(lengths), self._encoder.device
        with autocast(device):
            parts = [self._encoder.encode_queries(*_cut(ids, lengths, group, device)) for group in groups]
        return _in_order(parts, groups)

    def ads(self, pairs: IntArray, ad_rows: IntArray) -> Tensor:
        """Return embeddings (M, D) of ads, each as the answer of a pair or, where `pairs (M,)` is -1, for itself."""
        ids, lengths = self._ad_ids[ad_rows], self._ad_lengths[ad_rows]
        groups, device = length_groups(lengths), self._encoder.device
        with autocast(device):
            parts = [
                self._encoder.encode_ads(
                    *_cut(ids, lengths, group, device), self._features(pairs[group], ad_rows[group])
                )
                for group in groups
            ]
        return _in_order(parts, groups)

    def _features(self, pairs: IntArray, ad_rows: IntArray) -> AdFeatures | None:
        if self._data.features is None or not self._encoder.settings.reads_augmentation:
            return None
        features, known = self._data.features.batch(ad_rows), self._data.pairs
        return replace(
            features,
            generated_mask=_without(features.generated_mask, known.generated_places, pairs),
            keywords_mask=_without(features.keywords_mask, known.keyword_places, pairs),
        ).to(self._encoder.device)


def _without(mask: Tensor, places: IntArray, pairs: IntArray) -> Tensor:
    """Return the mask (M, A) of items without that which is the query of each row's pair."""
    place = np.where(pairs >= 0, places[pairs], -1)
    return mask & (torch.arange(mask.shape[1]) != torch.from_numpy(place)[:, None])


def _cut(ids: IntArray, lengths: IntArray, group: IntArray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return token ids and lengths of some texts, cut at their longest."""
    longest = int(lengths[group].max())
    return torch.from_numpy(ids[group, :longest]).to(device), torch.from_numpy(lengths[group]).to(device)


def _in_order(parts: list[Tensor], groups: list[IntArray]) -> Tensor:
    """Return the rows of groups, put together again, in the order before."""
    back = torch.from_numpy(np.argsort(np.concatenate(groups))).to(parts[0].device)
    return torch.cat(parts).float()[back]
