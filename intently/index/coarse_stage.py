"""The coarse stage of one catalog: the engines it has, and which of them answers a query.

The choice is made query by query, by how many ads are eligible. Few are all compared in full precision. Otherwise a
flat scan skips the others. A graph, where one was built, answers only if most ads are eligible, and hands over to the
scan if too few of those it found are. So a filter hardly costs recall, unless it leaves just those ads that the
query is least like.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intently.arrays import Float32Array, IntArray, Mask
from intently.errors import ArtifactError, SettingsError
from intently.files import atomic_write, read_arrays
from intently.index.coarse import CoarseEngine, CoarseIndex, CoarseSettings, Plan
from intently.index.coarse_flat import MIN_ADS, FlatIndex
from intently.index.coarse_hnsw import HnswIndex
from intently.settings import from_mapping
from intently.types import Progress

_DIMENSION = 384  # that `oversampling` is meant for


@dataclass(frozen=True, eq=False)
class CoarseStage:
    """The engines of N ads; none if all queries are answered exactly."""

    settings: CoarseSettings
    num_ads: int
    engines: Mapping[CoarseEngine, CoarseIndex]

    @classmethod
    def build(
        cls,
        embeddings: Float32Array,
        settings: CoarseSettings,
        progress: Progress | None = None,
    ) -> "CoarseStage":
        """Build what `settings` choose for `embeddings (N, D)`; fewer than 1,000 ads are always searched exactly.

        Raises `MissingDependencyError` if that needs faiss, and there is none.
        """
        num_ads, wanted = len(embeddings), settings.engine
        if wanted is CoarseEngine.AUTO:
            wanted = CoarseEngine.EXACT if num_ads <= settings.exact_up_to else CoarseEngine.FLAT
        engines: dict[CoarseEngine, CoarseIndex] = {}
        if wanted is not CoarseEngine.EXACT and num_ads >= MIN_ADS:
            engines[CoarseEngine.FLAT] = FlatIndex.build(embeddings, settings.seed, progress, settings.piece)
            if wanted is CoarseEngine.HNSW:
                engines[CoarseEngine.HNSW] = HnswIndex.build(embeddings, progress)
        return cls(settings, num_ads, engines)

    def plan(self, k: int, num_eligible: int) -> Plan:
        """Return how a query for the best `k` of `num_eligible` ads is answered."""
        settings, most = self.settings, self._most(k)
        if not self.engines or num_eligible <= most:
            return Plan(CoarseEngine.EXACT, num_eligible)
        if CoarseEngine.HNSW in self.engines and 2 * num_eligible >= self.num_ads:
            width = settings.graph_oversampling * k * self.num_ads // num_eligible
            return Plan(CoarseEngine.HNSW, min(max(width, settings.graph_oversampling * 100), most))
        # Codes grow with the dimensions, and the longer they are the less they err.
        wanted = settings.oversampling * k * _DIMENSION // self.engines[CoarseEngine.FLAT].shape[1]
        return Plan(CoarseEngine.FLAT, min(max(wanted, settings.min_candidates), most))

    def candidates(
        self, embedding: Float32Array, k: int, eligible: Mask | None, plan: Plan, num_threads: int = 1
    ) -> IntArray:
        """Return the eligible rows that are worth comparing with a query embedding (D,), in order of row."""
        if plan.engine is CoarseEngine.EXACT:
            return np.arange(self.num_ads) if eligible is None else np.flatnonzero(eligible)
        rows = self.engines[plan.engine].candidates(embedding, plan.num_candidates, eligible, num_threads)
        if plan.engine is CoarseEngine.HNSW and len(rows) < 2 * k:  # what lies around the query is not eligible
            rows = self.engines[CoarseEngine.FLAT].candidates(embedding, self._most(k), eligible, num_threads)
        rows.sort()
        return rows

    def _most(self, k: int) -> int:
        """Return how many ads may be compared in full precision: a share of all, but not fewer than 2 k."""
        return max(int(self.settings.rescored_share * self.num_ads), 2 * k)

    def save(self, path: Path) -> None:
        """Write settings and engines to one `.npz` file; the same stage gives the same bytes."""
        told: dict[str, Any] = {"settings": np.array(json.dumps(asdict(self.settings)))}
        told["engines"] = np.array([str(engine) for engine in self.engines], dtype="U8")
        for index in self.engines.values():
            told |= index.arrays()
        with atomic_write(path) as file:
            np.savez(file, **told)

    @classmethod
    def load(cls, path: Path, shape: tuple[int, int]) -> "CoarseStage":
        """Read what `save` wrote of embeddings of `shape` (N, D); raise `ArtifactError` naming the file otherwise."""
        told = read_arrays(path, ("settings", "engines"), "a coarse stage")
        try:
            settings = from_mapping(CoarseSettings, json.loads(str(told["settings"])), "settings")
            kinds = [CoarseEngine(name) for name in told["engines"].tolist()]
        except (ValueError, TypeError, AttributeError, SettingsError) as error:
            raise ArtifactError(f"{path} does not hold a coarse stage ({error}); build the engine again") from error
        engines: dict[CoarseEngine, CoarseIndex] = {}
        if kinds:
            engines[CoarseEngine.FLAT] = FlatIndex.load(path)
        if CoarseEngine.HNSW in kinds:
            engines[CoarseEngine.HNSW] = HnswIndex.load(path)
        for index in engines.values():
            if index.shape != shape:
                raise ArtifactError(f"{path} is of {index.shape} vectors, not {shape}; build the engine again")
        return cls(settings, shape[0], engines)
