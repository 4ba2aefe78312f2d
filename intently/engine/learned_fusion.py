"""The learned fusion: boosted trees rank anew what all channels found and reciprocal rank fusion put in order."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float32Array, IntArray
from intently.engine.fusion_features import Candidates, QueryFacts, feature_names, features
from intently.errors import ArtifactError, MissingDependencyError, install_hint
from intently.files import write_text
from intently.index.title_terms import Codes
from intently.types import Channel

if TYPE_CHECKING:
    import lightgbm

Features = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureShare:
    """The share of one feature in an ad's score, against its share in an average candidate's."""

    feature: str
    value: float  # of the feature
    share: float


class LearnedFusion:
    """Ranks candidates by a LightGBM model over `fusion_features` and a weighted sum of them. Has no state."""

    def __init__(self, channels: Sequence[Channel], model: str, weights: Sequence[float], depth: int) -> None:
        """`model` is LightGBM's own text of one learned from candidates of `channels`; `depth` of a query's are ranked.

        `weights (F,)` are those of the sum that is the model's last feature.
        """
        self.channels, self.model, self.weights, self.depth = tuple(channels), model, tuple(weights), depth
        self.feature_names = (*feature_names(self.channels), "weighted sum")
        self._weights = np.array(self.weights, dtype=np.float64)
        self._booster = _booster(model)
        if not self._booster.num_feature() == len(self.weights) + 1 == len(self.feature_names):
            raise ArtifactError(
                f"the learned fusion has {self._booster.num_feature()} features and {len(self.weights)} weights, not "
                f"{len(self.feature_names)} and one less; build the engine again"
            )

    def rank(
        self,
        rows: IntArray,
        fused: NDArray[np.float64],
        best: Mapping[Channel, IntArray],
        scores_of: Callable[[Channel, IntArray], Float32Array],
        query: QueryFacts,
        titles_of: Callable[[IntArray], Codes],
    ) -> tuple[IntArray, NDArray[np.float64]]:
        """Return the rows (C,) that reciprocal rank fusion found, ranked anew, with scores (C,), best first.

        The first `depth` are ranked by the model, equal ones as they were; the others follow as they were. `best` are
        the rows of each channel, `scores_of` and `titles_of` return a channel's scores and the title terms of any rows.
        """
        first, rest = slice(self.depth), slice(self.depth, None)
        candidates = Candidates.of(
            rows[first], fused[first], {channel: best[channel] for channel in self.channels}, scores_of
        )
        scores = self.scores(features(candidates, query, titles_of(candidates.rows)))
        order = np.argsort(-scores, kind="stable")
        below = scores.min(initial=0.0) - 1.0 + fused[rest] - fused[rest].max(initial=0.0)
        return np.concatenate((rows[first][order], rows[rest])), np.concatenate((scores[order], below))

    def scores(self, table: Features) -> NDArray[np.float64]:
        """Return the model's scores (C,) of candidates with these features (C, F); higher is better."""
        if not len(table):  # which LightGBM refuses
            return np.empty(0)
        found = self._booster.predict(self._with_sum(table), raw_score=True, num_threads=1, validate_features=False)
        return np.asarray(found, dtype=np.float64)

    def contributions(self, table: Features, number: int = 3) -> list[tuple[FeatureShare, ...]]:
        """Return for each candidate (C,) the `number` features that move its score most, the furthest first.

        The shares of all features and the mean score add up to the score. Cost: far above that of `scores`, so this is
        for the few ads that are shown. Source: TreeSHAP (Lundberg, Erion & Lee, 2018), as LightGBM computes it.
        """
        if not len(table):
            return []
        table = self._with_sum(table)
        found = self._booster.predict(table, pred_contrib=True, num_threads=1, validate_features=False)
        shares = np.asarray(found, dtype=np.float64)[:, :-1]  # without the mean score
        order = np.argsort(-np.abs(shares), axis=1, kind="stable")[:, :number]
        return [
            tuple(FeatureShare(self.feature_names[at], float(values[at]), float(moved[at])) for at in best.tolist())
            for best, values, moved in zip(order, table, shares, strict=True)
        ]

    def _with_sum(self, table: Features) -> Features:
        return np.column_stack((table, (table @ self._weights).astype(np.float32)))

    def save(self, path: Path) -> None:
        """Write to one JSON file."""
        content = {
            "channels": self.channels,
            "features": self.feature_names,
            "depth": self.depth,
            "weights": self.weights,
            "model": self.model,
        }
        write_text(path, json.dumps(content))

    @classmethod
    def load(cls, path: Path) -> "LearnedFusion":
        """Read what `save` wrote; raise `ArtifactError` naming the file if it is not that."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            channels, depth, model = (
                [Channel(each) for each in content["channels"]],
                int(content["depth"]),
                content["model"],
            )
            told, weights = tuple(content["features"]), [float(each) for each in content["weights"]]
            if not isinstance(model, str):
                raise ValueError("the model is no text")
            fusion = cls(channels, model, weights, depth)
        except (OSError, ValueError, TypeError, KeyError, ArtifactError) as error:
            raise ArtifactError(f"{path} does not hold a learned fusion ({error}); build the engine again") from error
        if told != fusion.feature_names:
            raise ArtifactError(f"{path} was learned from other features than there are now; build the engine again")
        return fusion


def _booster(model: str) -> "lightgbm.Booster":
    try:
        import lightgbm
    except ImportError as error:
        raise MissingDependencyError(
            f"the learned fusion needs LightGBM ({error}); {install_hint('engine')}"
        ) from error
    try:
        return lightgbm.Booster(model_str=model)
    except lightgbm.basic.LightGBMError as error:
        raise ArtifactError(f"the model of the learned fusion cannot be read ({error}); build again") from error
