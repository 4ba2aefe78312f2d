"""The encoder over the compact backbone as it lies on disk: what reads queries with it needs no PyTorch.

Shape letters: D hidden size, L layers, P size of a token's embedding.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from intently.arrays import Float32Array
from intently.errors import ArtifactError
from intently.models.encoder.settings import LAYER_FUSION_SIZE, EncoderSettings
from intently.models.weights import BackboneWeights

_OF_QUERIES = ("layer_fusion.", "to_tokens.")  # what the names of the parts that read queries begin with


@dataclass(frozen=True, eq=False)
class StoredEncoder:
    """An encoder's settings, its backbone's weights, and those of its parts as `BridgeEncoder.parts_state` names them.

    `feature_size` is that of an ad's augmentation.
    """

    settings: EncoderSettings
    feature_size: int
    backbone: BackboneWeights
    parts: Mapping[str, Float32Array]

    def check(self, path: Path) -> None:
        """Raise `ArtifactError` unless the parts that read queries, which were read from `path`, are of these settings.

        PyTorch checks the others when it opens the encoder: no text is read by them without an augmentation.
        """
        wanted = dict(self._query_parts())
        found = {name: array.shape for name, array in self.parts.items() if name.startswith(_OF_QUERIES)}
        if found != wanted:
            wrong = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
            raise ArtifactError(f"{path} does not hold the weights of this encoder ('{wrong[0]}'); train it again")

    def _query_parts(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        size, num_layers = self.backbone.config.hidden_size, self.backbone.config.num_hidden_layers
        if self.settings.layer_fusion:
            yield "layer_fusion.norm.weight", (size,)
            yield "layer_fusion.norm.bias", (size,)
            yield "layer_fusion.inner.weight", (LAYER_FUSION_SIZE, size)
            yield "layer_fusion.inner.bias", (LAYER_FUSION_SIZE,)
            yield "layer_fusion.outer.weight", (num_layers, LAYER_FUSION_SIZE)
            yield "layer_fusion.bias", (num_layers,)
        if self.settings.token_dimension:
            yield "to_tokens.weight", (self.settings.token_dimension, size)
