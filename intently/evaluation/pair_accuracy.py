"""Pair accuracy: whether the better of two judged ads is ranked higher."""

import numpy as np

from intently.evaluation.judged import JudgedRanking

_ROUNDING = 1e-9  # 2.33 − 1.33 is a gap of 1, though not quite in floating point


def pair_accuracy(judged: JudgedRanking, min_gap: float = 0) -> float:
    """Return the share of judged pairs, in [0, 1], whose better ad is ranked higher; NaN for a query without pairs.

    A pair is two ads judged for the query whose grades differ, by at least `min_gap`. An ad that was not retrieved is
    below all that were. Two ads that the run does not tell apart, by equal scores or because neither was retrieved,
    count half, so that neither the order of the file nor a short ranking earns anything: a coin, and an empty ranking,
    reach 0.5. Unjudged ads play no part.
    """
    num_ordered, num_pairs = count_pairs(judged, min_gap)
    return num_ordered / num_pairs if num_pairs else float("nan")


def count_pairs(judged: JudgedRanking, min_gap: float = 0) -> tuple[float, int]:
    """Return how many judged pairs are ordered rightly, a tie being half of one, and how many there are.

    Cost: linear in the judged ads, but for sorting, for each distinct grade.
    """
    levels, num_at_level = np.unique(judged.grades, return_counts=True)
    # As long as only lower levels count, a gap of 0 means different grades.
    num_levels_below = np.minimum(
        np.searchsorted(levels, levels - min_gap + _ROUNDING, side="right"), np.arange(len(levels))
    )
    retrieved = ~np.isnan(judged.ranked)
    retrieved_levels = np.searchsorted(levels, judged.ranked[retrieved])
    num_absent = num_at_level - np.bincount(retrieved_levels, minlength=len(levels))
    level_of = np.concatenate([retrieved_levels, np.repeat(np.arange(len(levels)), num_absent)])
    places = np.concatenate([judged.places[retrieved], np.full(num_absent.sum(), len(judged.ranked))])  # ascending
    num_ordered, num_pairs = 0.0, 0
    for level in np.flatnonzero(num_levels_below):
        better, worse = places[level_of == level], places[level_of < num_levels_below[level]]
        # Each worse ad counts 1 where it is behind, and 1/2 where it is in the same place.
        ahead, ahead_or_same = (np.searchsorted(worse, better, side=side) for side in ("left", "right"))
        num_pairs += len(better) * len(worse)
        num_ordered += len(better) * len(worse) - float((ahead + ahead_or_same).sum()) / 2
    return num_ordered, num_pairs
