"""Rows of a snapshot by the ads' numbers, and what merging its segments copies."""

import random

import numpy as np
import pytest

from intently.catalog import Catalog
from intently.index.postings import Postings
from intently.snapshot.snapshot import Snapshot
from intently.types import Ad
from tests.snapshot.small_snapshot import READER, snapshot_of


def with_segments(*sizes: int) -> Snapshot:
    """Return a snapshot with a segment of so many ads each; an ad's id is its number."""
    first, *later = (
        [Ad(str(number), f"lamp 灯 {number}") for number in range(sum(sizes[:at]), sum(sizes[: at + 1]))]
        for at in range(len(sizes))
    )
    snapshot = snapshot_of(first)
    for ads in later:
        catalog = Catalog.from_ads(ads)
        snapshot = snapshot.appended(READER.read(catalog).numbered(int(ads[0].ad_id)), catalog)
    return snapshot


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_numbers_equal_looking_at_every_ad(seed):
    rng = random.Random(seed)
    snapshot = with_segments(9, 5, 1, 4)
    for _ in range(4):
        snapshot = snapshot.without(rng.sample(range(snapshot.num_rows), 2))
        expected = {int(snapshot.ad_id(row)): row for row in range(snapshot.num_rows) if snapshot.alive[row]}
        numbers = rng.sample(range(-2, 25), 27)
        assert snapshot.rows_of(np.array(numbers)).tolist() == [expected.get(number, -1) for number in numbers]
        assert [snapshot.row_of(number) for number in numbers] == [expected.get(number) for number in numbers]
        first = rng.randrange(len(snapshot.segments))
        last = rng.randint(first + 1, len(snapshot.segments))
        snapshot = snapshot.rebased(snapshot, first, last, snapshot.merged(first, last))
    assert snapshot.rows_of(np.array([], dtype=np.int64)).tolist() == []


def test_a_snapshot_without_ads_has_no_rows():
    emptied = snapshot_of([]).without([])
    assert emptied.rows_of(np.array([0, 3])).tolist() == [-1, -1]


def test_a_merge_copies_the_oldest_and_largest_segment_once(monkeypatch):
    sizes = (80, 20, 5, 1)
    snapshot, copied, real = with_segments(*sizes), [], Postings.concatenated

    def counted(self, other, *given):
        copied.append(self.num_ads + other.num_ads)
        return real(self, other, *given)

    monkeypatch.setattr(Postings, "concatenated", counted)
    merged = snapshot.merged(0, len(sizes))
    assert [merged.ad_id(row) for row in range(merged.num_rows)] == [str(number) for number in range(sum(sizes))]
    assert sorted(set(copied), reverse=True) == [106, 26, 6]
