"""Learning how to fuse the channels: boosted trees that rank judged or clicked candidates (XE-NDCG, Bruch, WWW 2021).

The channels were themselves trained on clicks, and rank the ads of a query they have seen far better than those of a
new one. Trees that learned from such queries would trust the trained channels too much. So some queries are held out
from all other training (`held_out`), and the fusion learns from these alone. They are few and what is not judged is not
known to be irrelevant: trees that are free to fit that rank worse than reciprocal rank fusion. What holds them is that
their scores may only rise with evidence such as a channel's score, and that one of their features is the score of a
linear ranker: it draws the slanted lines that few steps along single features cannot.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from intently.errors import InputError, MissingDependencyError, install_hint
from intently.settings import check_range
from intently.text.normalize import normalize
from intently.types import Progress

if TYPE_CHECKING:
    import lightgbm

_STAGE = "Learning the fusion"
_NEWTON_STEPS = 30  # far more than it takes


@dataclass(frozen=True)
class FusionSettings:
    """How the fusion is learned."""

    held_out_share: float = 0.1  # of the clicked queries, kept from all other training; 0: no learned fusion
    learned: bool = True  # otherwise reciprocal ranks fuse, and held-out queries only judge training and guidance
    min_queries: int = 100  # with a relevant candidate; with fewer, reciprocal rank fusion stays
    depth: int = 800  # candidates of a query that are ranked anew, when learning and when answering
    num_negatives: int = 300  # candidates of a query that are learned from beside the relevant ones
    max_trees: int = 150  # at most; folds tell how many are best
    num_folds: int = 5  # of the held-out queries: tell how many trees are best, and whether they help
    num_leaves: int = 8  # of a tree
    learning_rate: float = 0.05  # of a tree
    min_leaf: int = 200  # candidates in a leaf
    feature_share: float = 0.6  # drawn for each tree
    l2: float = 5.0  # of a leaf's value
    linear_l2: float = 0.1  # of the linear ranker's weights, per standard deviation
    max_p_value: float = 0.05  # of the folds' gain over reciprocal ranks; where chance may explain more, these stay
    seed: int = 0  # draws the held-out queries and the folds

    def __post_init__(self) -> None:
        check_range(self, "held_out_share", high=0.5)
        check_range(self, "num_leaves", "num_folds", low=2)
        check_range(self, "min_queries", low=self.num_folds)
        check_range(self, "depth", "num_negatives", "max_trees", low=1)
        check_range(self, "min_leaf", low=1)
        check_range(self, "learning_rate", "feature_share", high=1, exclusive=True)
        check_range(self, "l2")
        check_range(self, "linear_l2", "max_p_value", exclusive=True)
        check_range(self, "seed", high=2**31 - 1)


@dataclass(frozen=True, eq=False)
class FusionExample:
    """One held-out query: the features (C, F) of its candidates and their gains (C,), from 0 (irrelevant) to 30.

    The candidates are in the order of reciprocal rank fusion, best first, which is what has to be beaten.
    """

    features: NDArray[np.float32]
    gains: NDArray[np.int64]
    positive: NDArray[np.bool_] | None = None  # (C,) what counts when rankings are compared; None: any gain

    @property
    def relevant(self) -> NDArray[np.bool_]:
        """Which candidates (C,) count when rankings are compared; graded gains say more than that."""
        return self.gains > 0 if self.positive is None else self.positive


@dataclass(frozen=True)
class TrainedFusion:
    """A model as LightGBM's own text, and how well such a one ranks queries that it has not learned from.

    `precision` is the mean average precision of the folds, each ranked by trees of the others, with as many trees;
    `baseline` that of reciprocal rank fusion; `gains` are the differences, query by query. Only candidates count.
    """

    model: str
    weights: tuple[float, ...]  # (F,) of the linear ranker, whose score is the last feature of the trees
    num_trees: int
    num_queries: int
    precision: float
    baseline: float
    gains: tuple[float, ...]  # (Q,)


def held_out(queries: Sequence[str], share: float, seed: int = 0) -> NDArray[np.bool_]:
    """Return which queries (Q,) are held out: about `share` of them, each by its own text, whatever the others are.

    Queries that differ in case, width or spaces only are on the same side.
    """
    limit = int(share * 2**64)
    digests = (hashlib.blake2b(f"{seed}\t{normalize(query)}".encode(), digest_size=8).digest() for query in queries)
    return np.array([int.from_bytes(digest, "big") < limit for digest in digests], dtype=np.bool_)


def train_fusion(
    examples: Sequence[FusionExample],
    rising: Sequence[bool],
    settings: FusionSettings,
    progress: Progress | None = None,
) -> TrainedFusion:
    """Return trees learned from held-out queries; those without a relevant candidate teach nothing and are left out.

    `rising (F,)` tells for which features more can only be better. The queries are learned from in folds, each ranked
    by trees of the others, to find with how many trees that is best; then all are learned from with that many. The same
    examples and settings give the same model. Raises `InputError` if fewer than `min_queries` are left. Cost: half a
    minute for a thousand queries.
    """
    _need_lightgbm()
    show = progress or (lambda *_: None)
    examples = [example for example in examples if example.relevant.any()]
    if len(examples) < settings.min_queries:
        raise InputError(
            f"{len(examples)} held-out queries have a relevant candidate, too few to learn a fusion from",
            cure=f"give more clicks, or lower min_queries ({settings.min_queries})",
        )
    rng = np.random.default_rng(settings.seed)
    fold_of = rng.permutation(len(examples)) % settings.num_folds
    precision = np.zeros((settings.max_trees, len(examples)))  # by number of trees
    for fold in range(settings.num_folds):
        show(_STAGE, fold, settings.num_folds + 1, "")
        learned = [example for example, at in zip(examples, fold_of, strict=True) if at != fold]
        others = [example for example, at in zip(examples, fold_of, strict=True) if at == fold]
        precision[:, fold_of == fold] = _boost(learned, rising, settings, settings.max_trees, rng, others).precision
    num_trees = int(precision.mean(axis=1).argmax()) + 1
    show(_STAGE, settings.num_folds, settings.num_folds + 1, "")
    final = _boost(examples, rising, settings, num_trees, rng)
    show(_STAGE, settings.num_folds + 1, settings.num_folds + 1, f"{num_trees} trees")
    reached = precision[num_trees - 1]
    baseline = np.array([_average_precision(example.relevant) for example in examples])
    return TrainedFusion(
        final.booster.model_to_string(),
        tuple(final.weights.tolist()),
        num_trees,
        len(examples),
        float(reached.mean()),
        float(baseline.mean()),
        tuple((reached - baseline).tolist()),
    )


@dataclass(frozen=True, eq=False)
class _Boosted:
    """Trees, the weights (F,) of the linear ranker, and the precision (T, Q) on other queries after each tree."""

    booster: "lightgbm.Booster"
    weights: NDArray[np.float64]
    precision: NDArray[np.float64]


def _boost(
    examples: Sequence[FusionExample],
    rising: Sequence[bool],
    settings: FusionSettings,
    num_trees: int,
    rng: np.random.Generator,
    others: Sequence[FusionExample] = (),
) -> _Boosted:
    """Return trees learned from `examples`, and with `others` the average precision of each after each tree."""
    import lightgbm

    params = {
        "objective": "rank_xendcg",
        "monotone_constraints": [*(int(each) for each in rising), 1],
        "num_leaves": settings.num_leaves,
        "learning_rate": settings.learning_rate,
        "min_data_in_leaf": settings.min_leaf,
        "feature_fraction": settings.feature_share,
        "lambda_l2": settings.l2,
        "seed": settings.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
        "metric": "None",
    }
    ends = np.cumsum([len(example.gains) for example in others])[:-1]

    after_trees: list[list[float]] = []

    def note_precision(scores: NDArray[np.float64], _: object) -> tuple[str, float, bool]:
        parts = zip(np.split(scores, ends), others, strict=True)
        found = [_average_precision(example.relevant[np.argsort(-part, kind="stable")]) for part, example in parts]
        after_trees.append(found)
        return "MAP", float(np.mean(found)), True

    sampled = [_sampled(example, settings.num_negatives, rng) for example in examples]
    weights = _linear_ranker(sampled, settings.linear_l2)
    data = _dataset(sampled, weights, params)
    if not others:
        return _Boosted(lightgbm.train(params, data, num_trees), weights, np.empty((num_trees, 0)))
    tried = [_dataset(others, weights, params, data)]
    booster = lightgbm.train(params, data, num_trees, valid_sets=tried, feval=note_precision)
    return _Boosted(booster, weights, np.array(after_trees))


def _dataset(
    examples: Sequence[FusionExample],
    weights: NDArray[np.float64],
    params: dict[str, object],
    reference: "lightgbm.Dataset | None" = None,
) -> "lightgbm.Dataset":
    import lightgbm

    table = np.concatenate([example.features for example in examples])
    return lightgbm.Dataset(
        np.column_stack((table, (table @ weights).astype(np.float32))),
        np.concatenate([example.gains for example in examples]),
        group=[len(example.gains) for example in examples],
        params=params,
        reference=reference,
    )


def _linear_ranker(examples: Sequence[FusionExample], l2: float) -> NDArray[np.float64]:
    """Return weights (F,) of features whose sum ranks candidates: a softmax over those of a query, by Newton's method.

    Minimises the mean cross-entropy between it and the candidates' shares of their query's gains (ListNet: Cao et al.,
    ICML 2007) plus `l2` times the squared weights of features of unit deviation, which is convex.
    """
    table = np.concatenate([example.features for example in examples]).astype(np.float64)
    deviations = table.std(axis=0)
    deviations[deviations < 1e-6] = 1.0  # of a constant, which gets no weight
    table /= deviations
    counts = np.array([len(example.gains) for example in examples])
    starts = np.cumsum(counts) - counts
    shares = np.concatenate([example.gains / example.gains.sum() for example in examples])

    def softmax(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = table @ weights
        scores -= np.repeat(np.maximum.reduceat(scores, starts), counts)
        log_sums = np.repeat(np.log(np.add.reduceat(np.exp(scores), starts)), counts)
        loss = -shares @ (scores - log_sums) / len(examples) + l2 * weights @ weights
        return float(loss), np.exp(scores - log_sums)

    weights: NDArray[np.float64] = np.zeros(table.shape[1])
    loss, chances = softmax(weights)
    for _ in range(_NEWTON_STEPS):
        slope = table.T @ (chances - shares) / len(examples) + 2 * l2 * weights
        means = np.add.reduceat(table * chances[:, None], starts)
        bend = (table.T @ (table * chances[:, None]) - means.T @ means) / len(examples)
        step = np.linalg.solve(bend + 2 * l2 * np.eye(len(weights)), slope)
        size = 1.0
        while softmax(weights - size * step)[0] > loss and size > 1e-6:
            size /= 2
        weights = weights - size * step
        before, (loss, chances) = loss, softmax(weights)
        if before - loss < 1e-9:
            break
    weights /= deviations
    return weights


def _sampled(example: FusionExample, num_negatives: int, rng: np.random.Generator) -> FusionExample:
    """Return an example of its relevant candidates and some others: half the first, half drawn from what follows."""
    others = np.flatnonzero(example.gains == 0)
    first = others[: (num_negatives + 1) // 2]
    drawn = rng.permutation(others[len(first) :])[: num_negatives - len(first)]
    kept = np.sort(np.concatenate((np.flatnonzero(example.gains), first, drawn)))
    return FusionExample(example.features[kept], example.gains[kept], example.relevant[kept])


def _average_precision(relevant: NDArray[np.bool_]) -> float:
    """Return the mean precision at the ranks of the relevant ones of ranked candidates, some of which are."""
    ranks = np.flatnonzero(relevant) + 1
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def _need_lightgbm() -> None:
    try:
        import lightgbm  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"learning the fusion needs LightGBM ({error}); {install_hint('models')}"
        ) from error
