"""Folds entries of the log into one effect an ad, in the order in which live changes would have left the ads."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from intently.live.changes import Effect, Fields, Full, Gone, Listed
from intently.live.log.base import Reading
from intently.live.log.entries import Entry, Kind


@dataclass(frozen=True)
class Replayed:
    """The effect of all entries of one ad. A put also has what models read in its text, and what it was new to."""

    effect: Effect
    reading: Reading | None = None
    content: bytes | None = None
    new_to: str = ""


def unfold(pages: Iterable[Sequence[tuple[Entry, Reading | None]]]) -> list[Replayed]:
    """Return the effects of entries, one an ad, in order of arrival.

    An ad whose text comes again keeps its place. Deletes stay, because the ad may be there already.
    """
    found: dict[str, Replayed] = {}
    for page in pages:
        for entry, reading in page:
            ad_id, before = entry.ad_id, found.get(entry.ad_id)
            if entry.kind is Kind.PATCH:
                effect = _patched(before.effect if before else None, ad_id, entry.fields, entry.seq)
                if effect is not None:
                    found[ad_id] = replace(before, effect=effect) if before else Replayed(effect)
            elif entry.kind is Kind.LIST:
                found[ad_id] = Replayed(Listed(entry.name, entry.values, entry.seq))
            elif entry.kind is Kind.DELETE:
                found.pop(ad_id, None)
                found[ad_id] = Replayed(Gone(ad_id, entry.seq))
            elif before and isinstance(before.effect, Full) and before.content == entry.content and not entry.new_to:
                found[ad_id] = replace(before, effect=Full(entry.ad, entry.seq), reading=reading or before.reading)
            else:
                found.pop(ad_id, None)
                found[ad_id] = Replayed(Full(entry.ad, entry.seq), reading, entry.content, entry.new_to)
    return list(found.values())


def _patched(before: Effect | None, ad_id: str, values: Mapping[str, Any], seq: int) -> Effect | None:
    if isinstance(before, Gone):
        return None
    if isinstance(before, Full):
        return Full(replace(before.ad, **values), seq)
    return Fields(ad_id, {**before.values, **values} if isinstance(before, Fields) else values, seq)
