"""Listing ads page by page, in the order of their ids."""

import heapq

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.serving_words import STATUSES
from intently.snapshot.snapshot import Snapshot
from intently.types import Ad


def ads_after(
    snapshot: Snapshot, after: str, limit: int, *, status: str | None = None, advertiser: str | None = None
) -> list[Ad]:
    """Return the first `limit` ads whose id comes after `after`, in the order of the ids' UTF-8 bytes.

    With `status` or `advertiser`, only those that have it. Whatever changes between two pages, an ad that is there all
    the time comes exactly once. Cost: one pass over the ids of all ads.
    """
    wanted = snapshot.alive
    if status is not None:
        wanted = wanted & (snapshot.attributes.statuses == STATUSES.index(status))
    found: list[tuple[bytes, int]] = []
    for segment, start in zip(snapshot.segments, snapshot.starts[:-1], strict=True):
        ids = segment.content.column("ad_id")
        mask = pc.and_(pc.greater(ids, after), pa.array(wanted[start : start + segment.num_rows]))
        if advertiser is not None:
            mask = pc.and_(mask, pc.equal(segment.content.column("advertiser"), advertiser))
        rows = np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))
        if len(rows) > limit:
            first = pc.select_k_unstable(ids.take(pa.array(rows)), limit, [("", "ascending")])
            rows = rows[first.to_numpy()]
        found += [(str(ids[row].as_py()).encode(), start + row) for row in rows.tolist()]
    return [snapshot.ad(row) for _, row in heapq.nsmallest(limit, found)]
