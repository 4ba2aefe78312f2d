"""Files of `building_world` with clicks, generated queries and pages, and settings to build them quickly."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("torch")

from building_world import BIDS, FUSION, KINDS, NUM_ADS, QUERIES, THINGS, Stages, World, title
from test_cli import write_checkpoint

from intently.build.pipeline import build_engine
from intently.build.report import BuildReport
from intently.build.settings import BridgeSettings, BuildSettings
from intently.build.training.bridge import BridgeTrainingSettings
from intently.build.training.calibration import CalibrationSettings
from intently.build.training.student import TrainingSettings
from intently.engine.settings import RetrievalSettings
from intently.index.lexical import LexicalSettings
from intently.index.posting_weights import PostingSettings
from intently.models.encoder.settings import EncoderSettings
from intently.models.student import Runtime
from intently.types import Progress


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, tokenizer_json: str) -> World:
    folder = tmp_path_factory.mktemp("world")
    write_checkpoint(folder / "checkpoint", tokenizer_json)
    ads = [f"a{row}\t{title(row)}\tbuy {THINGS[row // len(KINDS)]}\n" for row in range(NUM_ADS)]
    clicks = [f"{query}\ta{number // 3}\t{1 + number % 4}\n" for number, query in enumerate(QUERIES)]
    clicks += [f"{text}\ta{row}\t2\n" for text, row in BIDS]
    lines = {
        "ads.tsv": ["ad_id\ttitle\tkeywords\n", *ads],
        "clicks.tsv": ["query\tad_id\tclicks\n", *clicks],
        "augmentation.jsonl": [
            json.dumps({"ad_id": f"a{row}", "queries": [f"good {title(row)}", "便宜"], "keywords": [title(row)]}) + "\n"
            for row in range(0, NUM_ADS, 2)
        ],
        "pages.jsonl": [
            json.dumps({"ad_id": f"a{row}", "landing_spans": [{"text": text, "confidence": 0.95}]}) + "\n"
            for row, text in enumerate(("Free warranty. Red drill.", "Ships at night.", "保修三年。家用水壶。"))
        ],
    }
    for name, content in lines.items():
        (folder / name).write_text("".join(content), encoding="utf-8")
    return World(folder)


@pytest.fixture(scope="session")
def chosen(world: World) -> BuildSettings:
    training = BridgeTrainingSettings(
        num_steps=8, batch_size=8, eval_steps=4, checkpoint_steps=3, num_held_out=8, learning_rate=1e-3
    )
    return BuildSettings(
        checkpoint=str(world.folder / "checkpoint"),
        lexical=LexicalSettings(),
        runtime=Runtime.TORCH,
        training=TrainingSettings(min_steps=6, max_steps=6, batch_size=8, checkpoint_steps=4),
        postings=PostingSettings(num_beams=3),
        bridge=BridgeSettings(
            enabled=True,
            augmentation_file=str(world.augmentation),
            reads_pages=True,
            training=training,
            encoder=EncoderSettings(num_heads=4, token_dimension=10).with_all_parts(),
        ),
        fusion=FUSION,
        calibration=CalibrationSettings(enabled=False),
        retrieval=RetrievalSettings(runtime=Runtime.TORCH, feedback_weight=0.0),
    )


Build = Callable[..., BuildReport]


@pytest.fixture(scope="session")
def build(world: World) -> Build:
    def build(out: Path, settings: BuildSettings, progress: Progress | None = None) -> BuildReport:
        return build_engine(world.ads, world.clicks, out, settings, pages=world.pages, progress=progress)

    return build


@dataclass(frozen=True)
class Built:
    """An engine that was built, not to be changed."""

    out: Path
    report: BuildReport
    stages: Stages


@pytest.fixture(scope="session")
def built(build: Build, chosen: BuildSettings, tmp_path_factory: pytest.TempPathFactory) -> Built:
    out, stages = tmp_path_factory.mktemp("bridge") / "engine", Stages()
    return Built(out, build(out, chosen, stages), stages)


@pytest.fixture
def copied(built: Built, tmp_path: Path) -> Path:
    """An engine to build again."""
    return Path(shutil.copytree(built.out, tmp_path / "engine"))
