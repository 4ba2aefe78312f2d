"""What the log keeps of a batch: an entry an effect, and what models read in new texts."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace

from intently.live.ad_reader import ReadAds
from intently.live.changes import Effect, Fields, Full, Gone, Listed, Replaced
from intently.live.log.base import Reading
from intently.live.log.entries import Entry, Kind, body_of, body_of_ad, digest_of_content


def logged(
    effects: Sequence[tuple[Effect, int]], after: int, read: ReadAds | None, generation: str
) -> tuple[list[Entry], dict[bytes, Reading]]:
    """Return effects as one batch of entries behind the number `after`, and the readings of new texts.

    Each effect comes with its place among the ads of `read`. A new text is new to `generation`.
    """
    batch, at_ms = after + len(effects), time.time_ns() // 1_000_000
    entries, readings = [], {}
    for seq, (effect, place) in enumerate(effects, start=after + 1):
        ad = effect.ad if isinstance(effect, Full | Replaced) else None
        if ad is not None:
            content = digest_of_content(ad)
            if isinstance(effect, Full) and read:
                readings[content] = read.parts.dump(place)
            if isinstance(effect, Replaced):
                ad = replace(ad, **effect.values)
            new_to = generation if isinstance(effect, Full) else ""
            entries.append(Entry(seq, batch, at_ms, ad.ad_id, Kind.PUT, content, body_of_ad(ad), new_to))
        elif isinstance(effect, Fields):
            entries.append(Entry(seq, batch, at_ms, effect.ad_id, Kind.PATCH, None, body_of(effect.values)))
        elif isinstance(effect, Listed):
            entries.append(Entry(seq, batch, at_ms, effect.ad_id, Kind.LIST, None, json.dumps(effect.values)))
        elif isinstance(effect, Gone):
            entries.append(Entry(seq, batch, at_ms, effect.ad_id, Kind.DELETE))
    return entries, readings
