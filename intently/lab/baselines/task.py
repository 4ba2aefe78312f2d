"""What every baseline is given and gives back, so that none gets more data, steps or beams than another."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float32Array, IntArray
from intently.errors import InputError
from intently.index.postings import top_rows
from intently.intentions.vocabulary import Vocabulary
from intently.models.device import check_device
from intently.models.pretrained import ENGLISH
from intently.settings import check_range

Ranking = tuple[list[str], Float32Array]  # ad ids and their scores, best first


@dataclass(frozen=True)
class Task:
    """One catalog, what was clicked in it, and the queries to answer. Rows are positions in ads and queries."""

    ad_ids: tuple[str, ...]
    ad_texts: tuple[str, ...]  # what a model reads of each ad
    titles: tuple[str, ...]
    keywords: tuple[tuple[str, ...], ...]  # bid on, by ad; mostly none
    queries: tuple[str, ...]  # of the training part
    clicks: IntArray  # (P, 2): query_row, ad_row
    irrelevant: IntArray  # (N, 2): query_row, ad_row judged irrelevant
    test_queries: tuple[str, ...]
    vocabulary: Vocabulary  # the intentions that RARE itself uses

    def __post_init__(self) -> None:
        if not len(self.ad_ids) == len(self.ad_texts) == len(self.titles) == len(self.keywords):
            raise InputError(
                f"there are {len(self.ad_ids)} ad ids, {len(self.ad_texts)} texts, {len(self.titles)} titles and "
                f"{len(self.keywords)} lists of keywords; each ad has one of each"
            )
        limits = np.array([len(self.queries), len(self.ad_ids)])
        for name in ("clicks", "irrelevant"):
            pairs = getattr(self, name)
            if pairs.ndim != 2 or pairs.shape[1] != 2 or ((pairs < 0) | (pairs >= limits)).any():
                raise InputError(f"'{name}' must be (pairs, 2) of query rows and ad rows")

    @property
    def num_ads(self) -> int:
        """Number of ads."""
        return len(self.ad_ids)


@dataclass(frozen=True)
class Budget:
    """What every baseline may spend, and where it starts from."""

    num_steps: int = 900
    batch_size: int = 128  # pairs a step
    learning_rate: float = 2e-4
    num_beams: int = 50  # identifiers decoded a query
    num_ads: int = 500  # ads returned a query, at most
    seed: int = 0
    checkpoint: str = ENGLISH  # as a build's, but for "auto"
    device: str = "cpu"
    checkpoint_steps: int = 100  # between two saves of a training
    max_query_tokens: int = 32
    max_ad_tokens: int = 48

    def __post_init__(self) -> None:
        check_range(self, "num_steps", "batch_size", "num_beams", "num_ads", "checkpoint_steps", low=1)
        check_range(self, "learning_rate", exclusive=True)
        check_range(self, "max_query_tokens", "max_ad_tokens", low=3)  # one between [CLS] and [SEP]
        check_range(self, "seed", high=2**32 - 1)
        check_device(self)


@dataclass(frozen=True)
class Answers:
    """The answers to all test queries, in order, and how many identifiers (or intentions) each query came to.

    A ranking holds at most `Budget.num_ads` ads, fewer if fewer were reached. `num_identifiers` is None for baselines
    that have none, as a dense one.
    """

    rankings: list[Ranking]
    num_identifiers: list[int] | None = None


def ranked(task: Task, budget: Budget, scores: Float32Array) -> Ranking:
    """Return the best ads by `scores (N,)`; those without a score above 0 were not retrieved."""
    rows = top_rows(scores, budget.num_ads, above=0.0)
    return [task.ad_ids[row] for row in rows.tolist()], scores[rows]


def shares(log_probs: NDArray[np.float64], power: float = 1.0) -> NDArray[np.float64]:
    """Return p^power of one query's identifiers, the most probable's being 1, so that none vanishes in float32."""
    if not len(log_probs):
        return log_probs
    relative: NDArray[np.float64] = np.maximum(np.exp(power * (log_probs - log_probs.max())), 1e-30)
    return relative


def directory_of(work: Path, name: str, budget: Budget, settings: Any = None) -> Path:
    """Return (and make) the directory under `work` of a baseline with these settings.

    A training with another budget starts afresh there. The task is not part of it: `work` belongs to one task.
    """
    answering = ("num_beams", "num_ads", "device", "checkpoint_steps")  # these do not touch what is learnt
    decisive = {name: value for name, value in asdict(budget).items() if name not in answering}
    decisive["settings"] = asdict(settings) if settings is not None else None
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
    directory = work / f"{name}-{digest[:12]}"
    directory.mkdir(parents=True, exist_ok=True)
    return directory
