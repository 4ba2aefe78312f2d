"""What an intention's posting of an ad weighs.

An intention that an ad was clicked for weighs as much as one that its title has or that it bids on, one that is near it
or that a model decoded for it a share. It counts the more, the rarer it is; and an ad with many intentions is found by
each of them a little less, as long titles would otherwise always win. How close an ad is in meaning does not count a
second time: the dense channel compares that better. Each of these was measured on held-out queries (docs/log.md).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intently.arrays import IntArray
from intently.errors import ArtifactError
from intently.files import atomic_write, read_arrays
from intently.index.postings import Postings
from intently.settings import check_range

_MIN_NORM = 0.1  # of the mean: ads with next to nothing do not win by it


@dataclass(frozen=True)
class PostingSettings:
    """How ads get their postings."""

    num_near: int = 16  # intentions near each ad, by the cosine of their embeddings
    num_beams: int = 0  # intentions that the student decodes for each ad, before the others near it; 0: none
    max_ad_tokens: int = 48  # longer ads are cut when their intentions are decoded
    clicked_weight: float = 1.0  # of an intention that the ad was clicked for, against 1 for being given otherwise
    decoded_weight: float = 0.3  # of a decoded or near intention's probability
    idf_power: float = 1.5  # how much more a rare intention counts than a common one
    length_power: float = 0.3  # weights are divided by this power of the norm of the ad's weights

    def __post_init__(self) -> None:
        check_range(self, "num_near", "num_beams", high=1_000)
        check_range(self, "max_ad_tokens", low=3)  # one between [CLS] and [SEP]
        check_range(self, "clicked_weight", "decoded_weight", "idf_power", "length_power")


@dataclass(frozen=True)
class AdIntentions:
    """What ads are known by: distinct (intention_id, ad_row) pairs of each kind.

    `given (P, 2)`: in the title, bid on or clicked; `clicked (C, 2)`: those of them that are a whole clicked query;
    `decoded (T, 2)`: what a model decoded, with `log_probs (T,)`; the same pair may come from several models.
    """

    given: IntArray
    clicked: IntArray
    decoded: IntArray
    log_probs: NDArray[np.float64]


@dataclass(frozen=True)
class PostingStatistics:
    """What weights depend on beside the ad itself, as it was at the build; ads that come later are weighed by it too.

    `reach (I,)`: the ads that each intention was given to; `mean_norm`: the mean norm of an ad's weights.
    """

    reach: IntArray
    num_ads: int
    mean_norm: float

    def save(self, path: Path) -> None:
        """Write to one `.npz` file."""
        with atomic_write(path) as file:
            np.savez(file, **vars(self))

    @classmethod
    def load(cls, path: Path, num_intentions: int) -> "PostingStatistics":
        """Read what `save` wrote; raise `ArtifactError` naming the file if it is not that."""
        arrays = read_arrays(path, ("reach", "num_ads", "mean_norm"), "statistics of postings")
        reach, num_ads, mean_norm = arrays.values()
        if reach.shape != (num_intentions,) or num_ads.ndim or mean_norm.ndim:
            raise ArtifactError(f"{path} does not hold statistics of {num_intentions} intentions; build again")
        return cls(reach, int(num_ads), float(mean_norm))


def build_postings(
    ads: AdIntentions, num_ads: int, num_intentions: int, settings: PostingSettings
) -> tuple[Postings, PostingStatistics]:
    """Return the postings of a whole catalog, and the statistics that they were weighed with."""
    reach = np.bincount(ads.given[:, 0], minlength=num_intentions)
    statistics = PostingStatistics(reach, num_ads, 1.0)
    _, rows, weights = _weights(ads, num_ads, statistics, settings)
    norms = _norms(rows, weights, num_ads)
    mean_norm = float(norms[norms > 0].mean()) if norms.any() else 1.0
    statistics = PostingStatistics(reach, num_ads, mean_norm)
    return weigh(ads, num_ads, statistics, settings), statistics


def weigh(ads: AdIntentions, num_ads: int, statistics: PostingStatistics, settings: PostingSettings) -> Postings:
    """Return the postings of `num_ads` ads, weighed by the statistics of the catalog as it was built."""
    ids, rows, weights = _weights(ads, num_ads, statistics, settings)
    norms = np.maximum(_norms(rows, weights, num_ads) / statistics.mean_norm, _MIN_NORM)
    return Postings.build(ids, rows, weights / norms[rows] ** settings.length_power, len(statistics.reach), num_ads)


def _weights(
    ads: AdIntentions, num_ads: int, statistics: PostingStatistics, settings: PostingSettings
) -> tuple[IntArray, IntArray, NDArray[np.float64]]:
    """Return distinct (intention_id, ad_row) entries with their weights before the ad's norm, as three arrays (P,)."""
    num_ads = max(num_ads, 1)
    idf = np.log1p(statistics.num_ads / (1.0 + statistics.reach))
    given = np.where(np.isin(_keys(ads.given, num_ads), _keys(ads.clicked, num_ads)), settings.clicked_weight, 1.0)
    every = np.concatenate((ads.given, ads.decoded))
    each = np.concatenate((given, settings.decoded_weight * np.exp(ads.log_probs)))
    keys, inverse = np.unique(_keys(every, num_ads), return_inverse=True)
    ids, rows = np.divmod(keys, num_ads)
    weights: NDArray[np.float64] = np.bincount(inverse, weights=each) * idf[ids] ** settings.idf_power
    return ids, rows, weights


def _keys(pairs: IntArray, num_ads: int) -> IntArray:
    keys: IntArray = pairs[:, 0] * num_ads + pairs[:, 1]
    return keys


def _norms(rows: IntArray, weights: NDArray[np.float64], num_ads: int) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.sqrt(np.bincount(rows, weights=weights**2, minlength=num_ads))
    return norms
