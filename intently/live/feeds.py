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
    rows = np.flatnonzero(difference.has_new_attributes)
    patches = [
        (ad.ad_id, {name: getattr(ad, name) for name, mask in difference.changed.items() if mask[row]})
        for row, ad in zip(rows.tolist(), ads_of(_taken(difference.after, rows)), strict=True)
    ]
    came = ads_of(_taken(difference.feed, difference.came))
    for ad in came:
        if not ad.title:
            raise InputError(f"ad {ad.ad_id!r} is new and has no title", cure="give it a title", field="title")
    ads = [*ads_of(_taken(difference.after, np.flatnonzero(difference.has_new_text))), *came]
    gone = difference.before.column("ad_id").take(difference.went)
    effects: list[Effect] = [Gone(ad_id, line) for line, ad_id in enumerate(gone.to_pylist(), start=1)]
    effects += [Fields(ad_id, fields, line) for line, (ad_id, fields) in enumerate(patches, start=len(effects) + 1)]
    effects += [Full(ad, line) for line, ad in enumerate(ads, start=len(effects) + 1)]
    return {effect.ad.ad_id if isinstance(effect, Full) else effect.ad_id: effect for effect in effects}


def _taken(catalog: Catalog, rows: IntArray) -> Catalog:
    return Catalog(catalog.table.take(rows))
