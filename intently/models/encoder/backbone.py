"""What the encoder stands on: a transformer that returns the states after each of its layers, and its tokenizer.

Shape letters: B batch, S source length, D hidden size, L layers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from intently.models.backbone import Backbone
from intently.models.tokenizer import TextKind


class TextTokenizer(Protocol):
    """Turns texts into token ids."""

    def encode(
        self, texts: Sequence[str], max_tokens: int, kind: TextKind = TextKind.QUERY, /
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # positional, because implementations name it differently
        """Return `token_ids (B, S)`, padded at the end to the longest, and `lengths (B,)` ≥ 1.

        S ≤ max_tokens, and the prefix of this kind of text, if the model has one.
        """


class TextBackbone(nn.Module, ABC):
    """A transformer encoder of texts."""

    hidden_size: int
    num_layers: int

    @abstractmethod
    def layer_states(self, token_ids: Tensor, lengths: Tensor) -> list[Tensor]:
        """Return the states (B, S, D) after each of the L layers, of texts `token_ids (B, S)` of `lengths (B,)`."""


class CompactBackbone(TextBackbone):
    """The student's backbone as the encoder's. Its head and its decoding of intentions are not used here."""

    def __init__(self, network: Backbone) -> None:
        super().__init__()
        self.network = network
        self.hidden_size, self.num_layers = network.config.hidden_size, network.config.num_hidden_layers

    def layer_states(self, token_ids: Tensor, lengths: Tensor) -> list[Tensor]:
        """Return the states (B, S, D) after each of the L layers."""
        return self.network.layer_states(token_ids, lengths)
