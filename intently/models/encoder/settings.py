"""What the encoder is made of; each part can be switched off, to see what it is worth."""

from dataclasses import dataclass, replace
from enum import StrEnum

from intently.errors import SettingsError
from intently.settings import check_choice, check_range

LAYER_FUSION_SIZE = 64  # of the network between a text and its layers' weights; it decides among a few layers only


class Gate(StrEnum):
    """How an ad's generated queries and keywords are merged before they join its text."""

    GATE = "gate"  # an element-wise gate between the two
    CONCAT = "concat"  # a linear map of both, one after the other: the baseline that the gate must beat
    NONE = "none"  # they do not join the pooled text


@dataclass(frozen=True)
class EncoderSettings:
    """The encoder's parts. Off by default is what measured no better (docs/results/bridge-home-depot.md).

    With all off it is the mean-pooled backbone.
    """

    layer_fusion: bool = False  # whether all layers are weighed, token by token, instead of the last alone
    gate: Gate = Gate.NONE  # how the augmentation joins the text: none, gate or concat
    cross_attention: bool = False  # whether text and augmentation attend to each other
    # Layers between these shares of the depth are favoured at the start. In the paper these are 12-16 of 24, 0.5 to
    # 0.67; a sentence encoder has what it learned in its last layer, and starting elsewhere costs half the recall.
    favoured_depth_low: float = 1.0
    favoured_depth_high: float = 1.0  # see favoured_depth_low
    layer_bias: float = 20.0  # log-odds that a layer loses per whole depth away from those
    num_heads: int = 8  # of the cross-attention
    temperature: float = 2.0  # of the cross-attention at the start; learned
    initial_scale: float = 0.1  # of what augmentation adds at the start, so that training begins near the plain encoder
    token_dimension: int = 64  # of each token's own embedding, for late interaction; 0: none
    max_query_tokens: int = 32  # as the student reads
    max_ad_tokens: int = 64  # longer ads are cut
    seed: int = 0  # of the parts' initial weights

    def __post_init__(self) -> None:
        check_choice(self, "gate", Gate)
        check_range(self, "favoured_depth_low", "favoured_depth_high", high=1)
        if self.favoured_depth_low > self.favoured_depth_high:
            raise SettingsError(
                f"'favoured_depth_low' {self.favoured_depth_low} is above 'favoured_depth_high' "
                f"{self.favoured_depth_high}"
            )
        check_range(self, "layer_bias", "initial_scale")
        check_range(self, "temperature", exclusive=True)
        check_range(self, "num_heads", low=1)
        check_range(self, "token_dimension")
        check_range(self, "max_query_tokens", "max_ad_tokens", low=3)  # one between [CLS] and [SEP]
        check_range(self, "seed", high=2**32 - 1)

    def check_heads(self, hidden_size: int) -> None:
        """Raise `SettingsError` unless the cross-attention's heads share states of this size."""
        if hidden_size % self.num_heads:
            raise SettingsError(
                f"'num_heads' is {self.num_heads}; it takes a divisor of the backbone's hidden size {hidden_size}"
            )

    def with_all_parts(self) -> "EncoderSettings":
        """Return these settings with every part on."""
        size = self.token_dimension or EncoderSettings.token_dimension
        return replace(self, layer_fusion=True, gate=Gate.GATE, cross_attention=True, token_dimension=size)

    def without_parts(self) -> "EncoderSettings":
        """Return these settings with every part off."""
        return replace(self, layer_fusion=False, gate=Gate.NONE, cross_attention=False, token_dimension=0)

    @property
    def reads_augmentation(self) -> bool:
        """Whether any part takes an ad's generated queries and keywords."""
        return self.cross_attention or self.gate is not Gate.NONE
