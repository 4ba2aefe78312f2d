"""Tail coverage@K: whether rarely clicked ads are ever shown."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.evaluation.click_groups import ClickGroup, ClickGroups


def tail_coverage(groups: ClickGroups, shown: pa.StringArray, among: pa.StringArray) -> float:
    """Return the share of the distinct tail ads in `among` that are in `shown`, in [0, 1]; NaN if there are none.

    `shown` are the ads in the top k of any test query. With the ads that are relevant to at least one test query as
    `among` a perfect system reaches 1. With all ads of the catalog the share is bounded by how many slots the test
    queries have, and says how much of the tail they reach at all.
    """
    distinct = pc.unique(among)
    tail = distinct.filter(pa.array(groups.lookup(distinct) == ClickGroup.TAIL))
    if not len(tail):
        return float("nan")
    return float(np.mean(pc.is_in(tail, shown).to_numpy(zero_copy_only=False)))
