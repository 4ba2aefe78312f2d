"""The BRIDGE experiment on a simulated world, with settings that keep it short on two cores."""

from intently.build.augmentation.augment import AugmentSettings
from intently.build.augmentation.queries import QuerySettings
from intently.build.settings import BridgeSettings, BuildSettings
from intently.build.training.bridge import BridgeTrainingSettings
from intently.build.training.fusion import FusionSettings
from intently.build.training.language_model import FineTuningSettings
from intently.build.training.negatives import NegativeSettings
from intently.build.training.student import TrainingSettings
from intently.lab.baselines.registry import BRIDGE
from intently.lab.baselines.task import Budget
from intently.lab.experiments.bridge import BridgeExperimentSettings
from intently.models.causal_lm import LanguageModelSettings
from intently.models.encoder.settings import EncoderSettings
from intently.models.pretrained import ENGLISH

NUM_ADS = 2_000
_NUM_STEPS, _BATCH_SIZE, _AD_TOKENS, _HELD_OUT = 40, 32, 48, 0.15
# Fewer steps, ads and queries than a real run takes, the same for all systems that are compared.
SETTINGS = BridgeExperimentSettings(
    build=BuildSettings(
        checkpoint=ENGLISH,
        bridge=BridgeSettings(
            enabled=True,
            encoder=EncoderSettings(max_ad_tokens=_AD_TOKENS),
            training=BridgeTrainingSettings(
                num_steps=_NUM_STEPS,
                batch_size=_BATCH_SIZE,
                learning_rate=5e-4,
                eval_steps=20,
                num_held_out=100,
                negatives=NegativeSettings(refresh_steps=40),
            ),
        ),
        training=TrainingSettings(batch_size=64, min_steps=120, max_steps=120),
        fusion=FusionSettings(held_out_share=_HELD_OUT),
    ),
    augment=AugmentSettings(
        held_out_share=_HELD_OUT,
        queries=QuerySettings(
            model=LanguageModelSettings("gemma3"),  # which knows Chinese
            tune=True,
            tuning=FineTuningSettings(batch_size=8, max_steps=40),
            budget=600,
            max_per_ad=3,
        ),
    ),
    budget=Budget(num_steps=_NUM_STEPS, batch_size=_BATCH_SIZE, learning_rate=5e-4, max_ad_tokens=_AD_TOKENS),
    baselines=",".join(name for name in BRIDGE if name not in ("bm25", "bert-base")),
    min_relevance=2.0,
)
