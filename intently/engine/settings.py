"""How queries are answered: the settings of the online story."""

from dataclasses import dataclass, field

from intently.intentions.decode import DecodeSettings
from intently.models.student import Runtime
from intently.rules.presets import Preset
from intently.settings import check_choice, check_range


@dataclass(frozen=True)
class RetrievalSettings:
    """How a query is answered."""

    decode: DecodeSettings = field(default_factory=DecodeSettings)
    num_near: int = 200  # intentions near a query, which guide the decoder and stand for the query beside its beams
    num_candidates: int = 500  # taken from each channel before fusion (more if k asks for more)
    fusion_constant: float = 10.0  # added to ranks before they are inverted, where no fusion was learned
    intention_weight: float = 0.5  # of the channel's reciprocal ranks
    dense_weight: float = 1.0  # of the channel's reciprocal ranks
    lexical_weight: float = 1.0  # of the channel's reciprocal ranks
    relevance_weight: float = 0.5  # of the reciprocal ranks by relevance, where the engine tells it, none was learned
    keyword_weight: float = 1.0  # of the channel's reciprocal ranks, where any ad has a keyword with a match type
    match_rules: Preset = Preset.GOOGLE  # what keywords match: by the rules of google, microsoft or amazon, or strict
    intention_power: float = 0.5  # below 1 evens out the decoded intentions' probabilities
    literal_weight: float = 1.0  # of all intentions that the query contains word by word, against 1 for all decoded
    feedback_weight: float = 0.2  # of the mean of a query's first ads, against 1 for the query; 0: none
    num_feedback_ads: int = 3  # ads of that mean
    late_weight: float = 1.0  # of late interaction on the dense channel, against 1 for the cosine of whole texts
    max_query_tokens: int = 32  # longer queries are cut
    runtime: Runtime = Runtime.ONNX_INT8  # onnx-int8, onnx or torch
    num_threads: int = 1  # of all stages: one answers single queries best, all cores answer batches best

    def __post_init__(self) -> None:
        check_range(self, "num_candidates", "num_near", low=1)
        check_range(self, "num_threads", low=1, high=1_024)
        check_range(self, "num_feedback_ads", low=1)
        check_range(self, "feedback_weight", "late_weight")
        check_range(self, "fusion_constant", "intention_weight", "dense_weight", "lexical_weight")
        check_range(self, "relevance_weight", "keyword_weight")
        check_choice(self, "match_rules", Preset)
        check_range(self, "intention_power", "literal_weight")
        check_range(self, "max_query_tokens", low=3)  # one between [CLS] and [SEP]
        check_choice(self, "runtime", Runtime)
