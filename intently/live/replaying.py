"""Folds entries of the log into one effect an ad, in the order in which live changes would have left the ads."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from intently.live.changes import Effect, Fields, Full, Gone
from intently.live.log.base import Reading
from intently.live.log.entries import Entry, Kind


def unfold(page: Sequence[tuple[Entry, Reading | None]]) -> list[tuple[Effect, Reading | None]]:
    """Return the effects of entries, in order of arrival, each with what models read in its text.

    An ad whose text comes again keeps its place. Deletes stay, because the ad may be there already.
    """
    effects: dict[str, Effect] = {}
    contents: dict[str, bytes | None] = {}
    readings: dict[str, Reading | None] = {}
    for entry, reading in page:
        ad_id, before = entry.ad_id, effects.get(entry.ad_id)
        if entry.kind is Kind.DELETE:
            effects.pop(ad_id, None)
            effects[ad_id] = Gone(ad_id, entry.seq)
        elif entry.kind is Kind.PATCH:
            effect = _patched(before, ad_id, entry.fields, entry.seq)
            if effect is not None:
                effects[ad_id] = effect
        else:
            if not (isinstance(before, Full) and contents[ad_id] == entry.content):
                effects.pop(ad_id, None)
                readings.pop(ad_id, None)
            effects[ad_id] = Full(entry.ad, entry.seq)
            contents[ad_id] = entry.content
            readings[ad_id] = reading or readings.get(ad_id)
    return [(effect, readings.get(ad_id)) for ad_id, effect in effects.items()]


def _patched(before: Effect | None, ad_id: str, values: Mapping[str, Any], seq: int) -> Effect | None:
    if isinstance(before, Gone):
        return None
    if isinstance(before, Full):
        return Full(replace(before.ad, **values), seq)
    return Fields(ad_id, {**(before.values if before else {}), **values}, seq)
