"""The RARE experiment on a simulated world, with settings that keep it short on two cores."""

from intently.baselines.registry import RARE
from intently.baselines.task import Budget
from intently.building.settings import BuildSettings
from intently.experiments.rare import RareSettings
from intently.knowledge import KnowledgeSettings
from intently.models.causal_lm import LanguageModelSettings
from intently.models.free_beams import FreeBeamSettings
from intently.teacher import TeacherSettings
from intently.train.format import FormatSettings
from intently.train.fusion import FusionSettings
from intently.train.student import TrainingSettings

NUM_ADS = 3_000
# Fewer steps, ads and queries than a real run takes, the same for all systems that are compared.
SETTINGS = RareSettings(
    build=BuildSettings(
        teacher=TeacherSettings(
            model=LanguageModelSettings("smollm2"),
            examples=FormatSettings(num_examples=1_000),
            beams=FreeBeamSettings(num_beams=16, max_new_tokens=12),  # Chinese takes this tokenizer more of them
            max_ads=500,
            max_queries=200,
            max_cached_queries=100,
        ),
        training=TrainingSettings(batch_size=64, min_steps=160, max_steps=160),
        fusion=FusionSettings(held_out_share=0),
    ),
    knowledge=KnowledgeSettings(instances_per_task=200),
    budget=Budget(num_steps=80, batch_size=64, learning_rate=5e-4),
    baselines=",".join(name for name in RARE if not name.startswith("gemma3") and name != "ltrgr"),
    num_lm_queries=100,
    min_relevance=2.0,
)
