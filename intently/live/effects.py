"""What effects make of a snapshot: the next one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from intently.live.ad_reader import ReadAds
from intently.live.changes import Effect, Fields, Full, Listed, as_catalog
from intently.live.numbers import AdNumbers
from intently.snapshot.segment import CONTENT_FIELDS
from intently.snapshot.snapshot import Snapshot
from intently.types import Ad


def after(
    snapshot: Snapshot, effects: Sequence[tuple[Effect, int]], read: ReadAds | None, numbers: AdNumbers
) -> tuple[Snapshot, dict[str, int]]:
    """Return the snapshot with some effects, and the numbers of the ads that came, which it takes from `numbers`.

    Each effect comes with the place of its ad in `read`; those that no model reads come with any.
    """
    patched: dict[int, Mapping[str, Any]] = {}
    removed: list[int] = []
    arrived: list[tuple[int, Full]] = []
    rows = numbers.rows(snapshot, [effect.ad_id for effect, _ in effects])
    for (effect, place), row in zip(effects, rows.tolist(), strict=True):
        if isinstance(effect, Listed):
            snapshot = snapshot.with_list(effect.name, effect.values)
            continue
        if isinstance(effect, Fields):
            if row >= 0:
                patched[row] = effect.values
            continue
        if row >= 0:
            removed.append(row)
        if isinstance(effect, Full):
            arrived.append((place, effect))
    if patched:
        snapshot = snapshot.patched(list(patched), [dict(values) for values in patched.values()])
    if removed:
        snapshot = snapshot.without(removed)
    came: dict[str, int] = {}
    if arrived and read:
        snapshot, came = _appended(snapshot, arrived, read, numbers)
    return snapshot, came


def _appended(
    snapshot: Snapshot, arrived: Sequence[tuple[int, Full]], read: ReadAds, numbers: AdNumbers
) -> tuple[Snapshot, dict[str, int]]:
    """Return the snapshot with the ads that arrived after it, and their numbers."""
    kept = np.zeros(read.segment.num_rows, dtype=np.bool_)
    kept[[at for at, _ in arrived]] = True
    segment = read.segment.kept(kept).numbered(numbers.next)
    # Attributes may have been patched since the models began to read.
    catalog = as_catalog([effect.ad for _, effect in sorted(arrived, key=lambda each: each[0])])
    snapshot = snapshot.appended(segment, catalog)
    numbers.next += segment.num_rows
    return snapshot, dict(zip(catalog.strings("ad_id"), segment.numbers.tolist(), strict=True))


def has_text(snapshot: Snapshot, row: int, ad: Ad) -> bool:
    """Return whether the ad in a row of the snapshot has the same text as `ad`, so that no model need read it."""
    segment, at = snapshot.locate(row)
    if segment.content.column("title")[at].as_py() != ad.title:  # mostly enough, and ten times as fast
        return False
    before = segment.content_of(at)
    return all(before[name] == getattr(ad, name) for name in CONTENT_FIELDS)
