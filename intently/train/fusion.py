"""Learning how to fuse the paths: boosted trees that rank judged or clicked candidates (XE-NDCG, Bruch, WWW 2021).

The paths were themselves trained on clicks, and rank the ads of a query they have seen far better than those of a new
one. Trees that learned from such queries would trust the trained paths too much. So some queries are held out from all
other training (`held_out`), and the fusion learns from these alone. They are few and what is not judged is not known
to be irrelevant: trees that are free to fit that rank worse than reciprocal rank fusion. What holds them is that their
scores may only rise with evidence such as a path's score.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from intently.errors import InputError, MissingDependencyError
from intently.settings import check_range
from intently.text.normalize import normalize

if TYPE_CHECKING:
    import lightgbm

# Called with (stage, done, total, note).
Progress = Callable[[str, int, int, str], None]
_STAGE = "Learning the fusion"


@dataclass(frozen=True)
class FusionSettings:
    """How the fusion is learned."""

    held_out_share: float = 0.1  # of the clicked queries, kept from all other training; 0: no learned fusion
    min_queries: int = 100  # with a relevant candidate; with fewer, reciprocal rank fusion stays
    depth: int = 500  # candidates of a query that are ranked anew, when learning and when answering
    num_negatives: int = 300  # candidates of a query that are learned from beside the relevant ones
    max_trees: int = 400
    patience: int = 40  # trees without a better ranking of the validation queries, after which learning ends
    validation_share: float = 0.2  # of the held-out queries: tell how many trees are enough, and whether they help
    num_leaves: int = 8
    learning_rate: float = 0.05
    min_leaf: int = 200  # candidates in a leaf
    feature_share: float = 0.6  # drawn for each tree
    l2: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, "held_out_share", high=0.5)
        check_range(self, "min_queries", "num_leaves", low=2, whole=True)
        check_range(self, "depth", "num_negatives", "max_trees", "patience", low=1, whole=True)
        check_range(self, "min_leaf", low=1, whole=True)
        check_range(self, "validation_share", high=0.5, exclusive=True)
        check_range(self, "learning_rate", "feature_share", high=1, exclusive=True)
        check_range(self, "l2")
        check_range(self, "seed", high=2**31 - 1, whole=True)


@dataclass(frozen=True, eq=False)
class FusionExample:
    """One held-out query: the features (C, F) of its candidates and their gains (C,) from 0 to 30, 0 for one not relevant.

    The candidates are in the order of reciprocal rank fusion, best first, which is what has to be beaten.
    """

    features: NDArray[np.float32]
    gains: NDArray[np.int64]


@dataclass(frozen=True)
class TrainedFusion:
    """A model as LightGBM's own text, and the mean average precision on queries that it had not learned from.

    `precision` is that of the trees before they learned from these queries too, `baseline` that of reciprocal rank
    fusion; both count the relevant candidates only.
    """

    model: str
    num_trees: int
    num_queries: int
    precision: float
    baseline: float


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

    `rising (F,)` tells for which features more can only be better. A validation part of the queries tells after how many trees to stop; then all queries are learned from with that
    many. The same examples and settings give the same model. Raises `InputError` if fewer than `min_queries` are left.
    """
    show = progress or (lambda *_: None)
    examples = [example for example in examples if example.gains.any()]
    if len(examples) < settings.min_queries:
        raise InputError(
            f"{len(examples)} held-out queries have a relevant candidate, too few to learn a fusion from",
            cure=f"give more clicks, or lower min_queries ({settings.min_queries})",
        )
    rng = np.random.default_rng(settings.seed)
    order = rng.permutation(len(examples))
    num_validation = max(1, round(settings.validation_share * len(examples)))
    validation, learned = ([examples[at] for at in part] for part in np.split(order, [num_validation]))
    draft = _boost(learned, rising, settings, settings.max_trees, rng, show, validation)
    num_trees = max(draft.best_iteration, 1)
    precision = [_average_precision(_ranked(draft, example)) for example in validation]
    baseline = [_average_precision(example.gains) for example in validation]
    final = _boost(examples, rising, settings, num_trees, rng, show)
    return TrainedFusion(
        final.model_to_string(), num_trees, len(examples), float(np.mean(precision)), float(np.mean(baseline))
    )


def _boost(
    examples: Sequence[FusionExample],
    rising: Sequence[bool],
    settings: FusionSettings,
    num_trees: int,
    rng: np.random.Generator,
    show: Progress,
    validation: Sequence[FusionExample] = (),
) -> "lightgbm.Booster":
    """Return trees learned from `examples`, at most `num_trees`, fewer if those rank `validation` best."""
    lightgbm = _lightgbm()
    params = {
        "objective": "rank_xendcg",
        "monotone_constraints": [int(each) for each in rising],
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

    def mean_precision(scores: NDArray[np.float64], _: object) -> tuple[str, float, bool]:
        ends = np.cumsum([len(example.gains) for example in validation])[:-1]
        parts = zip(np.split(scores, ends), validation, strict=True)
        found = [_average_precision(example.gains[np.argsort(-part, kind="stable")]) for part, example in parts]
        return "MAP", float(np.mean(found)), True

    data = _dataset([_sampled(example, settings.num_negatives, rng) for example in examples], params)
    callbacks: list[Callable[..., None]] = [lambda env: show(_STAGE, env.iteration + 1, num_trees, "")]
    if validation:
        callbacks.append(lightgbm.early_stopping(settings.patience, verbose=False))
    return lightgbm.train(
        params,
        data,
        num_trees,
        valid_sets=[_dataset(validation, params, data)] if validation else None,
        feval=mean_precision if validation else None,
        callbacks=callbacks,
    )


def _dataset(
    examples: Sequence[FusionExample], params: dict[str, object], reference: "lightgbm.Dataset | None" = None
) -> "lightgbm.Dataset":
    return _lightgbm().Dataset(
        np.concatenate([example.features for example in examples]),
        np.concatenate([example.gains for example in examples]),
        group=[len(example.gains) for example in examples],
        params=params,
        reference=reference,
    )


def _sampled(example: FusionExample, num_negatives: int, rng: np.random.Generator) -> FusionExample:
    """Return an example of its relevant candidates and some others: half the first, half drawn from what follows."""
    others = np.flatnonzero(example.gains == 0)
    first = others[: (num_negatives + 1) // 2]
    drawn = rng.permutation(others[len(first) :])[: num_negatives - len(first)]
    kept = np.sort(np.concatenate((np.flatnonzero(example.gains), first, drawn)))
    return FusionExample(example.features[kept], example.gains[kept])


def _ranked(booster: "lightgbm.Booster", example: FusionExample) -> NDArray[np.int64]:
    scores = np.asarray(booster.predict(example.features, num_threads=1, validate_features=False))
    return example.gains[np.argsort(-scores, kind="stable")]


def _average_precision(gains: NDArray[np.int64]) -> float:
    """Return the mean precision at the ranks of the relevant ones of ranked candidates, some of which are."""
    ranks = np.flatnonzero(gains) + 1
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def _lightgbm():  # type: ignore[no-untyped-def]
    try:
        import lightgbm
    except ImportError as error:
        raise MissingDependencyError(
            f"learning the fusion needs LightGBM ({error}); run: pip install 'intently[models]'"
        ) from error
    return lightgbm
