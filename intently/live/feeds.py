"""From what a feed changes to the effects that change it."""

import numpy as np

from intently.arrays import IntArray
from intently.catalog import Catalog
from intently.errors import InputError
from intently.live.changes import Effect, Fields, Full, Gone, ads_of
from intently.live.difference import Difference


def effects_of(difference: Difference) -> dict[str, Effect]:
    """Return one effect for each ad that a feed changes, numbered from 1: those that go first, those that come last.

    The values are a catalog's, so they are clean. An ad with other text is put whole, one with other attributes alone
    is patched. Raises `InputError` for a new ad without a title, which a partial feed may have.
    """
    has_new_text = difference.has_new_text
    values: dict[int, dict[str, object]] = {}  # of ads whose attributes alone change
    for name, mask in difference.changed.items():
        rows = np.flatnonzero(mask & ~has_new_text)
        for row, value in zip(rows.tolist(), difference.after.column(name).take(rows).to_pylist(), strict=True):
            values.setdefault(row, {})[name] = tuple(value) if isinstance(value, list) else value
    came = ads_of(_taken(difference.feed, difference.came))
    for ad in came:
        if not ad.title:
            raise InputError(f"ad {ad.ad_id!r} is new and has no title", cure="give it a title", field="title")
    ads = [*ads_of(_taken(difference.after, np.flatnonzero(has_new_text))), *came]
    gone, patched = difference.before.column("ad_id").take(difference.went), difference.after.column("ad_id")
    effects: list[Effect] = [Gone(ad_id, line) for line, ad_id in enumerate(gone.to_pylist(), start=1)]
    for row, fields in values.items():
        effects.append(Fields(patched[row].as_py(), fields, len(effects) + 1))
    effects += [Full(ad, line) for line, ad in enumerate(ads, start=len(effects) + 1)]
    return {effect.ad.ad_id if isinstance(effect, Full) else effect.ad_id: effect for effect in effects}


def _taken(catalog: Catalog, rows: IntArray) -> Catalog:
    return Catalog(catalog.table.take(rows))
