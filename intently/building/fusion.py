"""Learning to fuse: an engine of what was learned from other queries answers the held-out ones."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from intently.building.interactions import Interactions
from intently.retrieve.engine import FUSED_PATHS, Engine
from intently.retrieve.learned_fusion import LearnedFusion
from intently.teacher import Progress
from intently.train.fusion import FusionExample, FusionSettings, TrainedFusion, train_fusion


@dataclass(frozen=True, eq=False)
class Learned:
    """A fusion and how well it was learned."""

    fusion: LearnedFusion
    trained: TrainedFusion

    def facts(self) -> dict[str, float]:
        """Return what a build's report says of it."""
        trained = self.trained
        return {
            "fusion_queries": trained.num_queries,
            "fusion_trees": trained.num_trees,
            "fusion_precision": trained.precision,
            "reciprocal_rank_precision": trained.baseline,
        }


def learn_fusion(engine: Engine, held_out: Interactions, settings: FusionSettings, show: Progress) -> Learned | None:
    """Return a fusion learned from how the engine's paths answer queries that none of them has learned from.

    None if too few of these have a relevant ad among the candidates, or if reciprocal ranks order those better.
    """
    examples = list(_examples(engine, held_out, settings, show))
    if sum(bool(example.gains.any()) for example in examples) < settings.min_queries:
        return None
    trained = train_fusion(examples, settings, show)
    if trained.precision <= trained.baseline:
        return None
    return Learned(LearnedFusion(FUSED_PATHS, trained.model, settings.depth), trained)


def _examples(
    engine: Engine, held_out: Interactions, settings: FusionSettings, show: Progress
) -> Iterator[FusionExample]:
    order = np.argsort(held_out.clicks[:, 0], kind="stable")
    bounds = np.searchsorted(held_out.clicks[order, 0], np.arange(len(held_out.queries) + 1))
    ad_rows = held_out.clicks[order, 1]
    for row, (rows, table) in enumerate(engine.candidates(held_out.queries)):
        clicked = np.isin(rows[: settings.depth], ad_rows[bounds[row] : bounds[row + 1]])
        yield FusionExample(table[: settings.depth], clicked.astype(np.int64))
        show("Answering held-out queries", row + 1, len(held_out.queries), "")
