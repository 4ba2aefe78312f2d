"""A snapshot of some ads, read without models."""

from intently.catalog import Catalog
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.snapshot.attributes import Attributes
from intently.snapshot.snapshot import Snapshot
from intently.types import Ad
from tests.live.hashed_reader import HashedReader

READER = HashedReader(10, 8, LexicalIndex.build(["lamp 灯"], LexicalSettings()).statistics, False)


def snapshot_of(ads: list[Ad]) -> Snapshot:
    catalog = Catalog.from_ads(ads)
    return Snapshot.of(READER.read(catalog), Attributes.of(catalog))
