"""Explicit negatives in three tiers, from easy to hard over training (BRIDGE, section 4.3.2).

Random ads, ads of middling similarity to the query, and the most similar ones. Similarity is that of the query as it
is embedded now to the ads as they were embedded some steps ago, by exact matrix products: no query is read twice.
Likely false negatives are passed over: known answers, ads that read as these do, and ads not clearly less similar than
the positive. (Refreshing the ads: ANCE, Xiong et al. 2021. The guard: "TopK-MarginPos" of NV-Retriever, Moreira et al.
2024, which admits negatives scored at most the positive's score less a margin, 0.05.) The very first ranks are passed
over as well: most of the unlabelled ads there are answers nobody clicked (RocketQA, Qu et al. 2021).

Shape letters: B batch, C explicit negatives of a query, N ads, M ads asked about, D dimension.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intently.arrays import Float64Array, IntArray
from intently.build.training.sources import BridgeData
from intently.errors import SettingsError
from intently.settings import check_range

_RANDOM, _MID, _HARD = range(3)
_BLOCK = 2**24  # similarities held at once


@dataclass(frozen=True)
class NegativeSettings:
    """How many explicit negatives a query gets, and of which kind. All of a batch's serve all its queries.

    None are mined unless asked for, as they have not been shown to help (docs/results/bridge-home-depot.md).
    """

    num_per_query: int = 0  # beside the other ads of the batch
    judged: bool = True  # one more for a query that has ads judged irrelevant
    mid_share: float = 0.3  # of the explicit negatives when training ends; when it begins all are random
    hard_share: float = 0.4  # as mid_share, of the hardest
    hard_first: int = 20  # the hardest are those of the ranks from here ...
    hard_last: int = 200  # ... to here, among ads that may be negatives
    mid_first: int = 201  # those of the middle are of the ranks from here ...
    mid_last: int = 1_000  # ... to here
    margin: float = -0.05  # an ad whose cosine is above the positive's plus this may well be an answer
    refresh_steps: int = 500  # between two embeddings of all ads
    num_queued: int = 0  # ads of the batches before that serve as negatives as they were embedded then

    def __post_init__(self) -> None:
        check_range(self, "num_per_query", "num_queued")
        check_range(self, "mid_share", "hard_share", high=1)
        check_range(self, "hard_first", "hard_last", "mid_first", "mid_last", "refresh_steps", low=1)
        check_range(self, "margin", low=-2, high=2)
        if self.mid_share + self.hard_share > 1:
            raise SettingsError(f"'mid_share' and 'hard_share' sum to {self.mid_share + self.hard_share}, above 1")
        for tier in ("hard", "mid"):
            first, last = getattr(self, f"{tier}_first"), getattr(self, f"{tier}_last")
            if first > last:
                raise SettingsError(f"'{tier}_first' {first} is above '{tier}_last' {last}")

    @property
    def mines(self) -> bool:
        """Whether negatives are chosen by similarity."""
        return self.num_per_query > 0 and self.mid_share + self.hard_share > 0

    def mining(self) -> "NegativeSettings":
        """Return these settings if they mine negatives, else with one a query."""
        if self.mines:
            return self
        default = NegativeSettings()
        return replace(self, num_per_query=1, mid_share=default.mid_share, hard_share=default.hard_share)


def mixture(settings: NegativeSettings, progress: float) -> Float64Array:
    """Return the shares (3,) of random, middling and hardest negatives; `progress` in [0, 1] of training is done."""
    mid, hard = progress * settings.mid_share, progress * settings.hard_share
    return np.array([1 - mid - hard, mid, hard])


@dataclass(frozen=True)
class Asked:
    """The B queries that negatives are wanted for: their rows, those of their positives, and their embeddings now."""

    query_rows: IntArray  # (B,)
    ad_rows: IntArray  # (B,)
    embeddings: Tensor  # (B, D)


class NegativeSampler:
    """Draws explicit negatives; `embeddings (N, D)` are the ads' as last refreshed, None as long as there are none."""

    def __init__(self, data: BridgeData, settings: NegativeSettings) -> None:
        self._data, self._settings = data, settings
        self._answer_ids = torch.from_numpy(data.answer_ids)
        self.embeddings: Tensor | None = None

    def draw(self, asked: Asked, progress: float, rng: np.random.Generator) -> IntArray:
        """Return the ad rows (B, C) of each query's negatives, -1 where a draw found none.

        Costs B·N·D multiplications once similarity counts.
        """
        settings, num_ads = self._settings, len(self._data.ad_texts)
        shape = len(asked.query_rows), settings.num_per_query
        tiers = rng.choice(3, size=shape, p=mixture(settings, progress))
        rows = rng.integers(num_ads, size=shape)
        if settings.mines:
            hard = _distinct(np.arange(settings.hard_first - 1, settings.hard_last), shape, rng)
            mid = _distinct(np.arange(settings.mid_first - 1, settings.mid_last), shape, rng)
            ranks = np.where(tiers == _HARD, hard, np.where(tiers == _MID, mid, -1))
            if (ranks >= 0).any():
                rows = np.where(ranks >= 0, self._at_ranks(asked, ranks), rows)
        rows[(rows >= 0) & self._data.is_positive(asked.query_rows[:, None], rows)] = -1
        return rows

    def suspects(self, asked: Asked, ad_rows: IntArray) -> NDArray[np.bool_]:
        """Return (B, M) which of the ads (M,) are likely answers to which queries, thus no negatives of them."""
        suspects = self._data.is_positive(asked.query_rows[:, None], ad_rows[None, :])
        if self.embeddings is not None:
            ads = self.embeddings[torch.from_numpy(ad_rows).to(self.embeddings.device)]
            suspects |= (asked.embeddings @ ads.T > self._limits(asked)).cpu().numpy()
        return suspects

    def _limits(self, asked: Asked) -> Tensor:
        """Return the cosine (B, 1) above which an ad may well be an answer."""
        assert self.embeddings is not None
        own = self.embeddings[torch.from_numpy(asked.ad_rows).to(self.embeddings.device)]
        return (asked.embeddings * own).sum(dim=1, keepdim=True) + self._settings.margin

    def _at_ranks(self, asked: Asked, ranks: IntArray) -> IntArray:
        """Return the ads (B, C) at `ranks (B, C)`, from 0, among those that are no suspects; at the last one beyond.

        -1 where a rank is negative, or all ads are suspects.
        """
        if self.embeddings is None:
            raise RuntimeError("negatives are chosen by similarity before the ads were embedded")
        device, limits = self.embeddings.device, self._limits(asked)
        answer_ids = self._answer_ids.to(device)
        found = np.full(ranks.shape, -1, dtype=np.int64)
        # Together those that must be sorted equally deep.
        order = np.argsort(ranks.max(axis=1), kind="stable")
        size = max(_BLOCK // len(self.embeddings), 1)
        for start in range(0, len(order), size):
            block = order[start : start + size]
            depth = min(int(ranks[block].max()) + 1, len(self.embeddings))
            if not depth:
                continue
            at = torch.from_numpy(block).to(device)
            similarity = asked.embeddings[at] @ self.embeddings.T
            known = torch.zeros((len(block), self._data.num_answers), dtype=torch.bool)
            known[tuple(torch.from_numpy(part) for part in self._data.positives(asked.query_rows[block]))] = True
            passed = known.to(device)[:, answer_ids] | (similarity > limits[at])
            nearest = similarity.masked_fill(passed, -torch.inf).topk(depth).indices.cpu().numpy()
            left = (~passed).sum(dim=1).cpu().numpy()[:, None]
            chosen = np.take_along_axis(nearest, np.clip(np.minimum(ranks[block], left - 1), 0, None), axis=1)
            found[block] = np.where((ranks[block] >= 0) & (left > 0), chosen, -1)
        return found


def _distinct(ranks: IntArray, shape: tuple[int, int], rng: np.random.Generator) -> IntArray:
    """Return (B, C) of `ranks`, drawn for each row without repetition, or with it where there are too few."""
    drawn = rng.permuted(np.tile(ranks, (shape[0], -(-shape[1] // len(ranks)))), axis=1)
    return drawn[:, : shape[1]]
