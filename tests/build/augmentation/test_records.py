"""Ads and clicks joined: which pairs count, how often, and for whom."""

import numpy as np
import pyarrow as pa
import pytest

from intently.build.augmentation.records import AdsAndClicks
from intently.build.training.fusion import held_out
from intently.catalog import Judgements
from intently.errors import InputError

TEXTS = list("vwxyz")


def judgements(kind, values, ad_ids=("a", "b", "gone", "a")) -> Judgements:
    return Judgements(
        query_ids=("0", "1"),
        query_rows=np.array([0, 0, 1, 1]),
        ad_ids=pa.array(ad_ids),
        values=np.array(values, dtype=np.float64),
        kind=kind,
        queries=("one", "two"),
    )


def test_clicks_are_counted(catalog):
    data = AdsAndClicks.gather(catalog, TEXTS, judgements("clicks", [3, 0, 2, 5]))
    assert data.clicks.tolist() == [[0, 0], [1, 0]]  # shown and not clicked is none; nor is an ad that is gone
    assert data.num_clicks.tolist() == [8, 0, 0, 0, 0]
    assert data.num_judged.tolist() == [2, 1, 0, 0, 0]
    assert data.num_positive.tolist() == [2, 0, 0, 0, 0]
    assert data.queries_of == {0: [1, 0]}  # the most clicked first
    assert data.bids[0] == ["electric kettle", "tea maker"]


def test_judged_pairs_count_once(catalog):
    data = AdsAndClicks.gather(catalog, TEXTS, judgements("relevance", [3, 1, 3, 3]), min_relevance=2)
    assert data.num_clicks.tolist() == [2, 0, 0, 0, 0]
    assert data.num_judged.tolist() == [2, 1, 0, 0, 0]


def test_queries_held_out_are_not_there(catalog):
    texts = (*(f"query {number}" for number in range(200)), "扫地", "水壶")
    rows = np.random.default_rng(0).integers(len(texts), size=400)
    given = Judgements(
        query_ids=tuple(map(str, range(len(texts)))),
        query_rows=rows,
        ad_ids=pa.array([("a", "b", "c")[row % 3] for row in rows.tolist()]),
        values=np.ones(400),
        kind="clicks",
        queries=texts,
    )
    data = AdsAndClicks.gather(catalog, TEXTS, given)
    out = held_out(texts, 0.1, 0)
    assert (data.held_out_share, data.seed) == (0.1, 0)
    assert 5 < out.sum() < 40
    assert data.queries == tuple(text for text, away in zip(texts, out, strict=True) if not away)
    kept = rows[~out[rows]]
    assert [data.queries[query] for query in data.clicks[:, 0]] == [texts[row] for row in kept]
    assert data.clicks[:, 1].tolist() == (kept % 3).tolist()
    assert data.num_judged.sum() == data.num_clicks.sum() == len(kept)
    assert AdsAndClicks.gather(catalog, TEXTS, given, held_out_share=0.1, seed=1).queries != data.queries
    assert AdsAndClicks.gather(catalog, TEXTS, given, held_out_share=0.0).queries == texts


def test_without_clicks(catalog):
    data = AdsAndClicks.gather(catalog, TEXTS, None)
    assert (data.queries, len(data.clicks), data.queries_of) == ((), 0, {})
    assert data.num_clicks.tolist() == [0] * 5


def test_what_does_not_fit_is_refused(catalog):
    with pytest.raises(InputError, match="4 texts for 5 ads"):
        AdsAndClicks.gather(catalog, TEXTS[:4], None)
    with pytest.raises(InputError, match="no click names an ad of the catalog"):
        AdsAndClicks.gather(catalog, TEXTS, judgements("clicks", [1, 1, 1, 1], ("q", "r", "s", "t")))
