"""Finds the intentions near an embedding: a query's, to guide its decoding, or an ad's, to find it by."""

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from intently.arrays import Float32Array
from intently.errors import ArtifactError, SettingsError
from intently.files import write_text
from intently.index.coarse import CoarseSettings
from intently.index.vectors import VectorIndex
from intently.intentions.prior import Guidance, Near
from intently.settings import from_mapping
from intently.types import Progress

# A vocabulary is scanned for every query and every ad, and its nearest need not be exact: coarse earlier than ads are.
_COARSE = CoarseSettings(exact_up_to=8_000)
# Of more intentions than this, codes are half as long and half as many are compared.
_MANY, _COARSER = 300_000, replace(_COARSE, piece=8, min_candidates=1_500)
_SAMPLE = 4_000  # pairs of intentions whose cosines tell how far apart these lie


@dataclass(frozen=True)
class NearIntentions:
    """The embeddings of I intentions, and how much their cosines with queries and with ads have to say.

    `guidance` is for queries, `of_ads` for ads: what was learned for queries must not change how ads are read.
    """

    vectors: VectorIndex
    guidance: Guidance
    of_ads: Guidance

    @classmethod
    def build(cls, embeddings: Float32Array, guidance: Guidance, progress: Progress | None = None) -> "NearIntentions":
        """Return what finds intentions by their unit embeddings (I, D)."""
        coarse = _COARSE if len(embeddings) <= _MANY else _COARSER
        return cls(VectorIndex.build(embeddings, coarse, progress), guidance, guidance)

    @cached_property
    def _mean(self) -> Float32Array:
        """The mean embedding (D,), whose product with a text's is the mean cosine of all intentions."""
        mean: Float32Array = np.asarray(self.vectors.embeddings).mean(axis=0)
        return mean

    def of(self, embedding: Float32Array, num: int, temperature: float) -> Near:
        """Return the `num` intentions nearest to a unit embedding (D,), best first. The mean of all is the floor.

        Log weights are cosines divided by `temperature`.

        Beyond 8,000 intentions the coarse stage of `VectorIndex` may miss some of the farthest of them.
        """
        if not num:
            return Near(np.empty(0, dtype=np.int64), np.empty(0), 0.0)
        ids, cosines = self.vectors.search(embedding, num)
        return Near(ids, cosines.astype(np.float64) / temperature, float(self._mean @ embedding) / temperature)

    def save(self, directory: Path) -> None:
        """Write embeddings.npy, embeddings.coarse.npz and guidance.json into `directory`."""
        self.vectors.save(directory / "embeddings.npy")
        told = {"queries": asdict(self.guidance), "ads": asdict(self.of_ads)}
        write_text(directory / "guidance.json", json.dumps(told, indent=1))

    @classmethod
    def load(cls, directory: Path) -> "NearIntentions":
        """Read what `save` wrote; raise `ArtifactError` naming the file that is not that."""
        path = directory / "guidance.json"
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            guidance, of_ads = (from_mapping(Guidance, told[kind], kind) for kind in ("queries", "ads"))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, SettingsError) as error:
            raise ArtifactError(f"{path} does not hold a guidance ({error}); build the engine again") from error
        near = cls(VectorIndex.load(directory / "embeddings.npy", coarse=True), guidance, of_ads)
        near.of(near._mean, 1, 1.0)  # neither the mean nor faiss should wait for the first query
        return near


def spread(embeddings: Float32Array, seed: int = 0) -> float:
    """Return the standard deviation of the cosine between two random intentions (I, D), the unit of temperatures.

    Encoders differ in how far apart they put texts: a temperature in this unit suits all of them.
    """
    rng = np.random.default_rng(seed)
    first, second = rng.integers(len(embeddings), size=(2, _SAMPLE))
    first, second = first[first != second], second[first != second]
    if not len(first):
        return _LEAST
    return max(float(np.einsum("pd,pd->p", embeddings[first], embeddings[second]).std()), _LEAST)


_LEAST = 1e-3  # of the spread, as equal embeddings have none
