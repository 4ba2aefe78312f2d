"""All settings of a build."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from intently.build.teacher import TeacherSettings
from intently.build.training.bridge import BridgeTrainingSettings
from intently.build.training.calibration import CalibrationSettings
from intently.build.training.fusion import FusionSettings
from intently.build.training.student import TrainingSettings
from intently.catalog.logs.settings import LogSettings
from intently.catalog.reading import FeedSettings
from intently.engine.settings import RetrievalSettings
from intently.errors import SettingsError
from intently.index.coarse import CoarseSettings
from intently.index.lexical import LexicalSettings
from intently.index.posting_weights import PostingSettings
from intently.intentions.candidates import CandidateSettings
from intently.intentions.vocabulary import VocabularySettings
from intently.models.causal_lm import LanguageModelSettings
from intently.models.device import check_device
from intently.models.encoder.settings import EncoderSettings
from intently.models.pretrained import AUTO
from intently.models.student import Runtime
from intently.settings import check_choice, check_range
from intently.text import language
from intently.text.chunk import ChunkSettings
from intently.text.ocr_cleaning import OcrSettings

# The settings that most people need, as docs/data-model.md explains them; all others are expert settings.
EVERYDAY = (
    "checkpoint",
    "device",
    "min_relevance",
    "teacher.model.name",
    "vocabulary.max_intentions",
    "training.max_steps",
    "lexical.stemmer",
    "bridge.enabled",
    "bridge.reads_pages",
    "fusion.held_out_share",
    "retrieval.decode.num_beams",
    "retrieval.num_threads",
)


class Preset(StrEnum):
    """Named settings of a build, to begin from."""

    LEXICAL = "lexical"  # no model at all: words and literal intentions alone, in seconds
    INSTANT = "instant"  # nothing is trained: stands in a minute, and may be improved later by another build
    DEFAULT = "default"  # trains a student
    BEST = "best"  # also an encoder for the dense channel: more exact, builds and answers take longer


@dataclass(frozen=True)
class GuidanceSettings:
    """How much nearness and the student have to say about intentions."""

    # Of the softmax over cosines, in standard deviations of the cosine between two random intentions.
    prior_temperature: float = 0.6
    model_temperature: float = 2.0  # of the student's scores beside it; above 1 the student has less to say

    def __post_init__(self) -> None:
        check_range(self, "prior_temperature", "model_temperature", exclusive=True)


class BackboneKind(StrEnum):
    """What an encoder stands on."""

    COMPACT = "compact"  # as the student: int8 on CPUs
    HUGGING_FACE = "hugging-face"  # any encoder of that library


@dataclass(frozen=True)
class BridgeSettings:
    """Whether the dense channel has an encoder beside the student, and how that is made."""

    enabled: bool = False  # otherwise the student's embedding alone serves it
    kind: BackboneKind = BackboneKind.COMPACT  # compact, as the student; or hugging-face, any encoder of that library
    checkpoint: str = ""  # that training starts from: a directory, or a name; empty: the student's
    # That `intently augment` wrote; empty: ads are read without any, by an encoder without the parts that take it.
    augmentation_file: str = ""
    max_generated: int = 4  # generated queries of an ad that it is read with
    max_keywords: int = 8  # keywords of an ad that it is read with
    generated_queries: bool = True  # of the augmentation: what the encoder reads of an ad, and a source of pairs
    keywords: bool = True  # of the augmentation: as above
    intentions: bool = True  # of the vocabulary: a source of pairs
    reads_pages: bool = False  # after title and description, the best chunks of an ad's landing page
    chunks: ChunkSettings = field(default_factory=ChunkSettings)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    training: BridgeTrainingSettings = field(default_factory=BridgeTrainingSettings)

    def __post_init__(self) -> None:
        check_choice(self, "kind", BackboneKind)
        check_range(self, "max_generated", "max_keywords", low=1)


@dataclass(frozen=True)
class BuildSettings:
    """All settings of a build, a table a stage; what a settings file may contain."""

    device: str = "cpu"  # that trains student and encoder, and reads all ads with them; language models have their own
    # That the student starts from: "all-MiniLM-L6-v2" (English), "multilingual-e5-small", a directory of a BERT-style
    # encoder, or "auto", one of the first two by the language of the titles; empty: no model.
    checkpoint: str = AUTO
    num_layers: int | None = None  # of the checkpoint that the student keeps, from the bottom; None: all
    min_relevance: float | None = None  # from which a judged pair is a positive; None: the upper third of the scale
    runtime: Runtime = Runtime.ONNX_INT8  # of the trained student, reading all ads on a CPU; elsewhere PyTorch does
    columns: dict[str, str] = field(
        default_factory=dict
    )  # of the files of ads: column → field, payload name, or ignore
    feed: FeedSettings = field(default_factory=FeedSettings)
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    vocabulary: VocabularySettings = field(default_factory=VocabularySettings)
    logs: LogSettings = field(default_factory=LogSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    guidance: GuidanceSettings = field(default_factory=GuidanceSettings)
    postings: PostingSettings = field(default_factory=PostingSettings)
    ocr: OcrSettings = field(default_factory=OcrSettings)
    ocr_model: LanguageModelSettings = field(default_factory=LanguageModelSettings)  # repairs what the lexicon cannot
    lexical: LexicalSettings = field(default_factory=lambda: LexicalSettings(stemmer=language.AUTO))
    coarse: CoarseSettings = field(default_factory=CoarseSettings)
    bridge: BridgeSettings = field(default_factory=BridgeSettings)
    fusion: FusionSettings = field(default_factory=FusionSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)

    @classmethod
    def preset(cls, name: str) -> "BuildSettings":
        """Return the settings of a `Preset`; raise `SettingsError` for another name."""
        if name not in tuple(Preset):
            raise SettingsError(f"the preset is {name!r}; it takes one of {', '.join(Preset)}")
        if name == Preset.LEXICAL:
            return cls(checkpoint="", fusion=FusionSettings(held_out_share=0))
        if name == Preset.INSTANT:
            return cls(training=TrainingSettings(min_steps=0, max_steps=0), fusion=FusionSettings(held_out_share=0))
        return cls(bridge=BridgeSettings(enabled=name == Preset.BEST))

    def __post_init__(self) -> None:
        check_device(self)
        check_choice(self, "runtime", Runtime)
        if self.bridge.enabled and not self.checkpoint:
            raise SettingsError("'bridge.enabled' is true, but 'checkpoint' is empty; it takes a model to start from")
        foreign = self.bridge.enabled and self.bridge.kind is BackboneKind.HUGGING_FACE
        if foreign and self.retrieval.runtime is not Runtime.TORCH:
            raise SettingsError(
                f"'retrieval.runtime' is '{self.retrieval.runtime}', which cannot run an encoder of 'bridge.kind' "
                f"'{self.bridge.kind}'; it takes 'torch'"
            )
        if self.num_layers is not None:
            check_range(self, "num_layers", low=1)
        if self.min_relevance is not None:
            check_range(self, "min_relevance", low=-math.inf)
