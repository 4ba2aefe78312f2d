"""Ads that come and go while queries are answered.

A change makes the next `Ads` and puts it in the place of the last in one step: a query under way keeps what it began
with, and no reader ever waits. Writers make their changes one after the other, but the student reads outside their
queue, so that a single ad need not wait until ten thousand have been read. When many rows are loose, everything is
copied into one segment in the background, as `intently.intentions.live` does with tries.
"""

import threading
from collections.abc import Iterable, Sequence

import numpy as np

from intently.arrays import IntArray
from intently.catalog import Catalog
from intently.catalog.columns import AD_FIELDS
from intently.errors import InputError
from intently.live.ad_reader import AdReader
from intently.snapshot.snapshot import Ads
from intently.types import Ad

MIN_LOOSE = 4096  # rows that may be added or removed before a small catalogue is merged
LOOSE_SHARE = 0.02  # and of a large one, this share of its rows: new ones are searched one by one until then
_LISTS = tuple(field.name for field in AD_FIELDS if field.kind == "list")


class LiveAds:
    """The newest version of an engine's ads, and the way to the next. Any number of threads may read and change it.

    `ads` is the newest version: take it once and search it as long as you like.
    """

    def __init__(self, ads: Ads, reader: AdReader) -> None:
        self.ads = ads
        self._reader = reader
        self._lock = threading.Lock()  # held by whoever makes the next version; readers need none
        self._row_of: dict[str, int] | None = None  # of the living ads; made by the first change
        self._merging: threading.Thread | None = None

    def add(self, new: Iterable[Ad], *, replace: bool = False) -> None:
        """Add ads, or with `replace` put them in the place of those with the same ids; all of them or none.

        Raises `InputError` naming the first ad that is not valid, comes twice, or is there already.
        """
        catalog = _checked(new)
        if not catalog.num_ads:
            return
        ad_ids = catalog.strings("ad_id")
        with self._lock:  # what would be refused after reading is refused before
            self._replaced(ad_ids, replace)
        segment = self._reader.read(catalog)
        with self._lock:
            replaced = self._replaced(ad_ids, replace)
            ads = self.ads.without(replaced) if len(replaced) else self.ads
            first = len(ads.alive)
            self._publish(ads.appended(segment))
            self._rows().update(zip(ad_ids, range(first, first + len(ad_ids)), strict=True))

    def remove(self, ad_ids: Sequence[str]) -> None:
        """Remove ads by their ids; all of them or, raising `InputError` for an id unknown or given twice, none."""
        if isinstance(ad_ids, str):
            raise InputError(f"{ad_ids!r} is one id", cure="pass a list of ids")
        wanted = list(ad_ids)
        with self._lock:
            row_of = self._rows()
            seen: set[str] = set()
            for ad_id in wanted:
                if not isinstance(ad_id, str) or ad_id not in row_of:
                    raise InputError(f"there is no ad {ad_id!r} to remove", cure="pass ids of ads that are there")
                if ad_id in seen:
                    raise InputError(f"ad {ad_id!r} is to be removed twice", cure="name each ad once")
                seen.add(ad_id)
            if wanted:
                self._publish(self.ads.without(np.array([row_of.pop(ad_id) for ad_id in wanted])))

    def wait(self) -> None:
        """Return once no merging is under way."""
        merging = self._merging
        if merging:
            merging.join()

    def _rows(self) -> dict[str, int]:
        """Return the rows of the living ads by id. With the lock held."""
        if self._row_of is None:
            rows = np.flatnonzero(self.ads.alive).tolist()
            self._row_of = dict(zip(self.ads.catalog.strings("ad_id"), rows, strict=True))
        return self._row_of

    def _replaced(self, ad_ids: Sequence[str], replace: bool) -> IntArray:
        """Return the rows of those ads that are there already; raise `InputError` if none may. With the lock held."""
        row_of = self._rows()
        there = [ad_id for ad_id in ad_ids if ad_id in row_of]
        if there and not replace:
            raise InputError(
                f"ad {there[0]!r} is there already", cure="pass replace=True to put the new one in its place"
            )
        return np.array([row_of[ad_id] for ad_id in there], dtype=np.int64)

    def _publish(self, ads: Ads) -> None:
        """Make `ads` the newest version, and begin to merge it if many of its rows are loose. With the lock held."""
        self.ads = ads
        if self._merging is None and ads.num_loose > MIN_LOOSE + LOOSE_SHARE * ads.segments[0].num_rows:
            self._merging = threading.Thread(target=self._merge, args=(ads,), daemon=True)
            self._merging.start()

    def _merge(self, before: Ads) -> None:
        """Copy what lives in `before` into one segment, make the changes since then again, and go on from there."""
        try:
            merged = before.merged()
            with self._lock:
                self.ads = self.ads.rebased(before, merged)
                self._row_of = None
        finally:
            self._merging = None


def _checked(new: Iterable[Ad]) -> Catalog:
    """Return new ads as columns, or raise `InputError` for the first that is not valid."""
    try:
        ads = list(new)
    except TypeError:
        raise InputError(f"{type(new).__name__} is no list of ads", cure="pass a list of Ad") from None
    for position, ad in enumerate(ads, start=1):
        if not isinstance(ad, Ad):
            raise InputError(f"is {type(ad).__name__}, not an ad", cure="pass a list of Ad", path="ads", line=position)
        for name in _LISTS:
            if isinstance(value := getattr(ad, name), str):  # Arrow would take it for a list of its characters
                raise InputError(
                    f"{value!r} is one text", cure="pass a tuple of texts", path="ads", line=position, field=name
                )
    try:
        return Catalog.from_ads(ads)
    except AttributeError as error:  # spans that are none
        raise InputError(
            f"a value is of the wrong kind: {error}", cure="pass a Span for each span", path="ads"
        ) from error
