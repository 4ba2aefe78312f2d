"""Which entries of an ad are superseded by a later one. At most two are left: a put or a delete, and a patch."""

from collections.abc import Sequence
from dataclasses import replace

from intently.live.log.entries import Entry, Kind, attributes_of, body_of


def folded(before: Sequence[Entry], new: Entry) -> list[Entry]:
    """Return the fewest entries of an ad that do what `before`, folded already, and then `new` do.

    The newest keeps its number, so that whoever has seen an older one gets everything that came later. A put of a
    text that was there already becomes a patch of all attributes, because the ad keeps its place among the others.
    """
    if not before or new.kind in (Kind.DELETE, Kind.LIST):
        return [new]
    first, last = before[0], before[-1]
    if new.kind is Kind.PUT:
        if first.kind is not Kind.PUT or first.content != new.content or new.new_to:
            return [new]
        return [first, replace(new, kind=Kind.PATCH, content=None, body=body_of(attributes_of(new.ad)))]
    if last.kind is Kind.PATCH:
        return [*before[:-1], replace(new, body=body_of({**last.fields, **new.fields}))]
    return [*before, new]
