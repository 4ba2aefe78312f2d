"""Learning to fuse: an engine of what was learned from other queries answers the held-out ones."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intently.build.interactions import Interactions
from intently.build.training.fusion import FusionExample, FusionSettings, held_out, train_fusion
from intently.engine.engine import Engine
from intently.engine.fusion_features import rising
from intently.engine.learned_fusion import LearnedFusion
from intently.evaluation.significance import randomization_test
from intently.types import Progress

_STAYS = "channels are fused by reciprocal ranks"


def held_out_queries(interactions: Interactions, settings: FusionSettings) -> NDArray[np.bool_]:
    """Return which queries (Q,) are kept for the fusion to learn from: none if they would be too few."""
    chosen = held_out(interactions.queries, settings.held_out_share, settings.seed)
    clicked = np.zeros(len(chosen), dtype=np.bool_)
    clicked[interactions.clicks[:, 0]] = True
    return chosen if np.count_nonzero(chosen & clicked) >= settings.min_queries else np.zeros_like(chosen)


@dataclass(frozen=True, eq=False)
class Learned:
    """What came of learning a fusion, and what a build's report says of it."""

    fusion: LearnedFusion | None  # None: reciprocal ranks stay
    facts: dict[str, float]
    notes: tuple[str, ...] = ()


def learn_fusion(engine: Engine, aside: Interactions, settings: FusionSettings, show: Progress) -> Learned:
    """Return a fusion learned from how the engine's channels answer queries that none of them has learned from.

    Reciprocal ranks stay if too few of these have a relevant ad among the candidates, or if what was learned does not
    order those better than chance would.
    """
    examples = list(_examples(engine, aside, settings, show))
    num_useful = sum(bool(example.relevant.any()) for example in examples)
    if num_useful < settings.min_queries:
        few = f"{num_useful} held-out queries have a relevant candidate, 'min_queries' is {settings.min_queries}"
        return Learned(None, {}, (f"{_STAYS}: {few}",))
    trained = train_fusion(examples, rising(engine.channels), settings, show)
    p_value = float(randomization_test(np.array(trained.gains)[:, None], seed=settings.seed)[0])
    facts = {
        "fusion_queries": trained.num_queries,
        "fusion_trees": trained.num_trees,
        "fusion_precision": trained.precision,
        "reciprocal_rank_precision": trained.baseline,
        "fusion_p_value": p_value,
    }
    if trained.precision <= trained.baseline or p_value > settings.max_p_value:
        why = f"held-out queries are not ranked better than by chance (p {p_value:.2g})"
        return Learned(None, facts, (f"{_STAYS}: with what was learned, {why}",))
    return Learned(LearnedFusion(engine.channels, trained.model, trained.weights, settings.depth), facts)


def _examples(engine: Engine, aside: Interactions, settings: FusionSettings, show: Progress) -> Iterator[FusionExample]:
    order = np.argsort(aside.gains[:, 0], kind="stable")
    _, ads, gains = aside.gains[order].T
    bounds = np.searchsorted(aside.gains[order, 0], np.arange(len(aside.queries) + 1))
    clicked: list[list[int]] = [[] for _ in aside.queries]
    for query, ad in aside.clicks.tolist():
        clicked[query].append(ad)
    for row, (rows, table) in enumerate(engine.candidates(aside.queries, settings.depth)):
        of_query = slice(bounds[row], bounds[row + 1])
        worth = np.zeros(len(rows), dtype=np.int64)
        for ad, gain in zip(ads[of_query].tolist(), gains[of_query].tolist(), strict=True):
            worth[rows == ad] = gain
        yield FusionExample(table, worth, np.isin(rows, clicked[row]))
        show("Answering held-out queries", row + 1, len(aside.queries), "")
