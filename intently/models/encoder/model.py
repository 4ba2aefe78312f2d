"""The BRIDGE encoder: a backbone whose layers are fused, and for ads a text that knows of its augmentation.

A query is read, its layers are fused, the states' mean is its embedding. An ad's text exchanges knowledge with its
generated queries and keywords before it is pooled, and what the gate makes of these is added. With every part off this
is the plain mean-pooled backbone; with all on it begins near it, but for the layers that the fusion favours.

Shape letters: B batch, S source length, D hidden size, L layers, A items (generated queries, then keywords), F feature
size, H heads.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intently.arrays import Float32Array
from intently.errors import ArtifactError, SettingsError
from intently.models.backbone import Backbone
from intently.models.encoder.backbone import CompactBackbone, TextBackbone
from intently.models.encoder.features import AdFeatures
from intently.models.encoder.gate import ConcatenatedMerge, GatedMerge
from intently.models.encoder.layer_fusion import LayerFusion
from intently.models.encoder.settings import EncoderSettings, Gate
from intently.models.encoder.stored import StoredEncoder
from intently.models.encoder.transfer import KnowledgeTransfer

_BACKBONE = "backbone."  # what the names of the backbone's weights begin with


class ItemProjection(nn.Module):
    """Takes features (B, A, F) of one kind of item into the backbone's space, at the scale of its states."""

    def __init__(self, feature_size: int, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(feature_size, hidden_size)
        # The features come from the encoder that training starts from: at the start they are already at home.
        if feature_size == hidden_size:
            nn.init.eye_(self.linear.weight)
        else:
            nn.init.orthogonal_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, features: Tensor) -> Tensor:
        """Return items (B, A, D)."""
        items: Tensor = self.norm(self.linear(features))
        return items


@dataclass(frozen=True, eq=False)
class Encoded:
    """B texts: unit `embeddings (B, D)`, and unit embeddings of their `tokens (B, S, P)` where `real (B, S)` holds.

    P is 0 without late interaction.
    """

    embeddings: Tensor
    tokens: Tensor
    real: Tensor


class BridgeEncoder(nn.Module):
    """Embeds queries and ads, both as unit vectors whose inner product is the ad's score."""

    def __init__(self, backbone: TextBackbone, settings: EncoderSettings, feature_size: int | None = None) -> None:
        """`feature_size` F of the augmentation's features is the backbone's hidden size unless said otherwise.

        The parts' initial weights follow from `settings.seed`. Raises `SettingsError` for heads that do not fit.
        """
        super().__init__()
        size = backbone.hidden_size
        self.backbone, self.settings, self.feature_size = backbone, settings, feature_size or size
        self.layer_fusion: LayerFusion | None = None
        self.generated: ItemProjection | None = None
        self.keywords: ItemProjection | None = None
        self.transfer: KnowledgeTransfer | None = None
        self.merge: GatedMerge | ConcatenatedMerge | None = None
        self.to_tokens: nn.Linear | None = None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            if settings.layer_fusion:
                self.layer_fusion = LayerFusion(size, backbone.num_layers, settings)
            if settings.reads_augmentation:
                self.generated = ItemProjection(self.feature_size, size)
                self.keywords = ItemProjection(self.feature_size, size)
            if settings.cross_attention:
                self.transfer = KnowledgeTransfer(size, settings, both=settings.gate is not Gate.NONE)
            if settings.gate is not Gate.NONE:
                self.merge = GatedMerge(size) if settings.gate is Gate.GATE else ConcatenatedMerge(size)
                self.merge_scale = nn.Parameter(torch.tensor(settings.initial_scale))
            if settings.token_dimension:
                self.to_tokens = nn.Linear(size, settings.token_dimension, bias=False)
                nn.init.orthogonal_(self.to_tokens.weight)  # which nearly keeps cosines

    @property
    def dimension(self) -> int:
        """Size D of the embeddings."""
        return self.backbone.hidden_size

    @property
    def device(self) -> torch.device:
        """Where the encoder's weights are."""
        return next(self.parameters()).device

    def encode_queries(self, token_ids: Tensor, lengths: Tensor) -> Encoded:
        """Return the embeddings of queries `token_ids (B, S)` of `lengths (B,)`."""
        real = _real(token_ids, lengths)
        states = self._states(token_ids, lengths, real)
        return self._encoded(F.normalize(masked_mean(states, real), dim=1), states, real)

    def encode_ads(self, token_ids: Tensor, lengths: Tensor, features: AdFeatures | None = None) -> Encoded:
        """Return the embeddings of ads; without features, or items, an ad is read as a query is."""
        if features is None or self.generated is None or self.keywords is None:
            return self.encode_queries(token_ids, lengths)
        real = _real(token_ids, lengths)
        states = self._states(token_ids, lengths, real)
        items = torch.cat((self.generated(features.generated), self.keywords(features.keywords)), dim=1)
        if self.transfer is not None:
            mask = torch.cat((features.generated_mask, features.keywords_mask), dim=1)
            states, items = self.transfer(states, real, items, mask)
        embeddings = F.normalize(masked_mean(states, real), dim=1)
        if self.merge is None:
            return self._encoded(embeddings, states, real)
        num_generated = features.generated.shape[1]
        merged = self.merge(
            masked_mean(items[:, :num_generated], features.generated_mask),
            masked_mean(items[:, num_generated:], features.keywords_mask),
            features.generated_mask.any(dim=1),
            features.keywords_mask.any(dim=1),
        )
        # Items are at the scale of states, √D; here they join a unit vector.
        joined = embeddings + self.merge_scale * merged.float() / math.sqrt(self.dimension)
        return self._encoded(F.normalize(joined, dim=1), states, real)

    def _states(self, token_ids: Tensor, lengths: Tensor, real: Tensor) -> Tensor:
        """Return the states (B, S, D) of all tokens, those of the layers fused."""
        states = self.backbone.layer_states(token_ids, lengths)
        if self.layer_fusion is None:
            return states[-1]
        return self.layer_fusion.mix(states, self.layer_fusion.weights(masked_mean(states[-1], real)))

    def _encoded(self, embeddings: Tensor, states: Tensor, real: Tensor) -> Encoded:
        if self.to_tokens is None:
            return Encoded(embeddings, states[:, :, :0].float(), real)
        tokens = F.normalize(self.to_tokens(states).float(), dim=2)
        return Encoded(embeddings, tokens, real)

    def regularisation(self) -> Tensor:
        """Return the penalty Σ ‖WᵀW − I‖² of the cross-attention's projections, a scalar; 0 without one."""
        return torch.zeros((), device=self.device) if self.transfer is None else self.transfer.penalty()

    def head_entropy(self) -> Tensor:
        """Return the mean entropy (H,), in nats, of text tokens' attention to items in the last batch of ads.

        Empty without cross-attention. Heads that all fall towards 0 have collapsed onto one item.
        """
        return torch.zeros(0) if self.transfer is None else self.transfer.to_text.head_entropy()

    def parts_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of all parts but the backbone: what is new when training begins."""
        return [value for name, value in self.named_parameters() if not name.startswith(_BACKBONE)]

    def parts_state(self) -> dict[str, Tensor]:
        """Return the weights of all parts but the backbone, which is stored in its own form."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith(_BACKBONE)}

    def load_parts(self, weights: dict[str, Tensor], path: Path) -> None:
        """Take the weights that `parts_state` gave and that were read from `path`; raise `ArtifactError` for others."""
        own = {name: value.shape for name, value in self.parts_state().items()}
        found = {name: value.shape for name, value in weights.items()}
        if own != found:
            wrong = sorted(name for name in own.keys() | found.keys() if own.get(name) != found.get(name))
            raise ArtifactError(f"{path} does not hold the weights of this encoder ('{wrong[0]}'); train it again")
        self.load_state_dict(weights, strict=False)

    def load_arrays(self, arrays: Mapping[str, Float32Array], path: Path) -> None:
        """Take a copy of the weights of arrays, as `load_parts` does."""
        self.load_parts({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, path)

    @classmethod
    def of(cls, stored: StoredEncoder, path: Path) -> "BridgeEncoder":
        """Return an encoder with a copy of the stored weights, on the CPU; `path` is what errors name."""
        encoder = cls(CompactBackbone(Backbone.of(stored.backbone)), stored.settings, stored.feature_size)
        encoder.load_arrays(stored.parts, path)
        return encoder

    @property
    def is_compact(self) -> bool:
        """Whether the backbone is the compact one."""
        return isinstance(self.backbone, CompactBackbone)

    def stored(self) -> StoredEncoder:
        """Return the weights as arrays, which share the memory of those on the CPU.

        Raises `SettingsError` if the backbone is not the compact one.
        """
        if not isinstance(self.backbone, CompactBackbone):
            raise SettingsError(f"the backbone is a {type(self.backbone).__name__}, not the compact one")
        return StoredEncoder(self.settings, self.feature_size, self.backbone.network.weights(), self.parts_arrays())

    def parts_arrays(self) -> dict[str, Float32Array]:
        """Return `parts_state` as arrays."""
        return {name: value.detach().float().cpu().contiguous().numpy() for name, value in self.parts_state().items()}

    def layer_weights(self) -> Tensor:
        """Return the weights (B, L) that the batch read last gave to the layers; empty (0, 0) without layer fusion."""
        return torch.zeros((0, 0)) if self.layer_fusion is None else self.layer_fusion.last_weights()


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Return the float32 mean (B, D) of the states (B, P, D) where `mask (B, P)` holds; 0 where it never does."""
    total = (states.float() * mask.unsqueeze(2)).sum(dim=1)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)


def _real(token_ids: Tensor, lengths: Tensor) -> Tensor:
    """Return the mask (B, S) of tokens that are no padding."""
    return torch.arange(token_ids.shape[1], device=token_ids.device) < lengths[:, None]
