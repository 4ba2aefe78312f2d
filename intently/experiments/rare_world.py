"""The RARE experiment on a simulated world, with settings that keep it short on two cores."""

import json
from collections.abc import Callable
from pathlib import Path

from intently.baselines.registry import ALL
from intently.baselines.task import Budget
from intently.experiments.rare import Files, RareSettings
from intently.knowledge import KnowledgeSettings
from intently.models.causal_lm import LanguageModelSettings
from intently.models.free_beams import FreeBeamSettings
from intently.pipeline import BuildSettings
from intently.teacher import TeacherSettings
from intently.train.format import FormatSettings
from intently.train.student import TrainingSettings
from intently.world import simulate_world
from intently.world.simulate import VERSION

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
    ),
    knowledge=KnowledgeSettings(instances_per_task=200),
    budget=Budget(num_steps=80, batch_size=64, learning_rate=5e-4),
    baselines=",".join(name for name in ALL if not name.startswith("gemma3") and name != "ltrgr"),
    num_lm_queries=100,
    min_relevance=2.0,
)


def world_files(directory: Path, progress: Callable[[str, int, int, str], None]) -> Files:
    """Return the files of a simulated world in `directory`, simulating it if it is not there."""
    manifest = directory / "world.json"
    made = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
    if (made.get("version"), made.get("num_ads"), made.get("seed")) != (VERSION, NUM_ADS, 0):
        simulate_world(directory, NUM_ADS, 0, progress=lambda stage, done, total: progress(stage, done, total, ""))
    return Files(
        directory / "ads.jsonl.gz", directory / "clicks.tsv.gz", directory / "queries.tsv", directory / "qrels.trec"
    )
