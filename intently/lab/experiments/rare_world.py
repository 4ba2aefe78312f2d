"""The RARE experiment on a simulated world, with settings that keep it short on two cores."""

from intently.build.knowledge import KnowledgeSettings
from intently.build.settings import BuildSettings
from intently.build.teacher import TeacherSettings
from intently.build.training.format import FormatSettings
from intently.build.training.fusion import FusionSettings
from intently.build.training.student import TrainingSettings
from intently.lab.baselines.registry import RARE
from intently.lab.baselines.task import Budget
from intently.lab.experiments.rare import RareSettings
from intently.models.causal_lm import LanguageModelSettings
from intently.models.free_beams import FreeBeamSettings
from intently.models.pretrained import ENGLISH

NUM_ADS = 3_000
_LEFT_OUT = ("ltrgr", "smollm2-free", "gemma3", "gemma3-free")  # minutes each, and much like others that stay
# Fewer steps, ads and queries than a real run takes, the same for all systems that are compared.
SETTINGS = RareSettings(
    build=BuildSettings(
        checkpoint=ENGLISH,
        teacher=TeacherSettings(
            model=LanguageModelSettings("smollm2"),
            examples=FormatSettings(num_examples=400),
            beams=FreeBeamSettings(num_beams=16, max_new_tokens=12),  # Chinese takes this tokenizer more of them
            max_ads=200,
            max_queries=100,
            max_cached_queries=100,
        ),
        training=TrainingSettings(batch_size=64, min_steps=160, max_steps=160),
        fusion=FusionSettings(held_out_share=0),
    ),
    knowledge=KnowledgeSettings(instances_per_task=120),
    budget=Budget(num_steps=60, batch_size=64, learning_rate=5e-4),
    baselines=",".join(name for name in RARE if name not in _LEFT_OUT),
    num_lm_queries=50,
    min_relevance=2.0,
)
