"""What models made of ads survives as bytes: a segment from it equals the one made at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.errors import LogError
from intently.index.token_vectors import TokenVectors
from intently.live.changes import as_catalog
from intently.live.parts import AdParts
from intently.live.readings import Readings
from intently.models.encoder.embedder import EmbeddedAds
from intently.types import Ad
from tests.engine.small_engine import make_engine


def some_parts(rng: np.random.Generator, num: int, *, encoder: bool, tokens: bool) -> AdParts:
    ids = rng.integers(-1, 50, size=(num, 4))
    log_probs = np.where(ids >= 0, rng.normal(size=ids.shape), -np.inf)
    found = [rng.integers(-127, 128, size=(rng.integers(1, 5), 6)).astype(np.int8) for _ in range(num)]
    vectors = TokenVectors.build(found) if tokens else None
    encoded = EmbeddedAds(rng.normal(size=(num, 5)).astype(np.float32), vectors) if encoder else None
    pages = [rng.choice(["", "页面 of steel", "\0 ﬁ"]) for _ in range(num)]
    named = [rng.integers(0, 50, size=rng.integers(0, 3)) for _ in range(num)]
    embeddings = rng.normal(size=(num, 7)).astype(np.float32)
    return AdParts(Readings(ids, log_probs, embeddings), encoded, pages, named)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from([(False, False), (True, False), (True, True)]))
def test_bytes_and_back(seed, num, has):
    before = some_parts(np.random.default_rng(seed), num, encoder=has[0], tokens=has[1])
    dumped = [before.dump(row) for row in range(num)]
    after = AdParts.load(dumped)
    assert after.pages == before.pages
    assert [each.tolist() for each in after.given] == [each.tolist() for each in before.given]
    for ours, theirs in zip(after.readings.pairs(), before.readings.pairs(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(after.readings.embeddings, before.readings.embeddings)
    assert (after.encoded is None) == (before.encoded is None)
    if after.encoded and before.encoded:
        np.testing.assert_array_equal(after.encoded.embeddings, before.encoded.embeddings)
        assert (after.encoded.tokens is None) == (before.encoded.tokens is None)
        if after.encoded.tokens and before.encoded.tokens:
            np.testing.assert_array_equal(after.encoded.tokens.values, before.encoded.tokens.values)
            np.testing.assert_array_equal(after.encoded.tokens.offsets, before.encoded.tokens.offsets)
    assert [after.dump(row) for row in range(num)] == dumped


def test_a_torn_reading_is_told():
    (dumped,) = (some_parts(np.random.default_rng(0), 1, encoder=True, tokens=True).dump(0),)
    for content in (b"", dumped[:5], dumped[:60]):
        with pytest.raises(LogError, match="a reading is torn"):
            AdParts.load([content])
    with pytest.raises(LogError, match="of format 9, not 1"):
        AdParts.load([b"\x09" + dumped[1:]])
    other = some_parts(np.random.default_rng(0), 1, encoder=False, tokens=False).dump(0)
    with pytest.raises(LogError, match="of different models"):
        AdParts.load([dumped, other])


def test_a_segment_from_bytes_equals_the_one_made_at_once(make_student):
    reader = make_engine(make_student(3))._live._reader
    catalog = as_catalog([Ad("a", "Red gizmo pan"), Ad("b", "红色 扫地机器人", keywords=("robot vacuum",))])
    parts = reader.parts(catalog)
    ours = reader.segment(catalog, AdParts.load([parts.dump(row) for row in range(2)]))
    theirs = reader.read(catalog)
    np.testing.assert_array_equal(ours.vectors.embeddings, theirs.vectors.embeddings)
    for name in ("offsets", "ad_rows", "weights"):
        np.testing.assert_array_equal(getattr(ours.postings, name), getattr(theirs.postings, name))
    assert len(ours.postings.ad_rows) > 4
