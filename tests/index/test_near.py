"""Near intentions against comparing all of them, and what is saved of them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.errors import ArtifactError
from intently.index.near import NearIntentions, spread
from intently.intentions.prior import Guidance
from tests.nearness import near_intentions


def unit(num: int, seed: int, dimension: int = 8) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(num, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.integers(1, 40), st.integers(0, 50), st.integers(0, 9), st.sampled_from([0.02, 0.5]))
def test_the_nearest_and_the_floor_of_all_others(num_intentions, num, seed, temperature):
    embeddings, query = unit(num_intentions, seed), unit(1, seed + 100)[0]
    near = near_intentions(embeddings).of(query, num, temperature)
    cosines = embeddings @ query
    expected = np.argsort(-cosines, kind="stable")[:num]
    assert near.intention_ids.tolist() == expected.tolist()
    np.testing.assert_allclose(near.log_weights, cosines[expected] / temperature, rtol=1e-5)
    if num:
        assert near.log_floor == pytest.approx(cosines.mean() / temperature, rel=1e-4, abs=1e-5)


def test_of_many_nearly_all_of_the_nearest_are_found():
    pytest.importorskip("faiss")
    centers = np.repeat(unit(300, 2, 64), 30, axis=0)  # real intentions lie in neighborhoods
    embeddings = centers + 0.5 * unit(9_000, 0, 64)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    index = near_intentions(embeddings)
    assert index.vectors.stage.engines
    shared = []
    for query in embeddings[::450] + 0.3 * unit(20, 1, 64):
        found = set(index.of(query, 100, 0.1).intention_ids.tolist())
        shared.append(len(found & set(np.argsort(-(embeddings @ query))[:100].tolist())))
    assert np.mean(shared) > 90


@given(st.integers(1, 30), st.integers(0, 9))
def test_the_spread_is_that_of_random_pairs(num_intentions, seed):
    embeddings = unit(num_intentions, seed)
    cosines = (embeddings @ embeddings.T)[~np.eye(num_intentions, dtype=bool)]
    if num_intentions < 5:
        assert spread(embeddings) > 0
    else:
        assert spread(embeddings) == pytest.approx(cosines.std(), rel=0.15)


def test_equal_embeddings_have_a_spread_to_divide_by():
    assert spread(np.ones((3, 2), dtype=np.float32)) > 0


def test_it_is_saved_with_both_guidances(tmp_path):
    near = NearIntentions.build(unit(5, 0), Guidance(0.1, 2.0))
    learned = NearIntentions(near.vectors, Guidance(0.3, None), near.of_ads)
    learned.save(tmp_path)
    loaded = NearIntentions.load(tmp_path)
    assert (loaded.guidance, loaded.of_ads) == (Guidance(0.3, None), Guidance(0.1, 2.0))
    np.testing.assert_array_equal(loaded.vectors.embeddings, near.vectors.embeddings)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"[]",
        b'{"queries": {"prior_temperature": 0.1, "model_temperature": null}}',
        json.dumps({key: {"prior_temperature": 0, "model_temperature": None} for key in ("queries", "ads")}).encode(),
        json.dumps({key: {"prior_temperature": "x", "model_temperature": None} for key in ("queries", "ads")}).encode(),
    ],
)
def test_a_damaged_guidance_is_named(tmp_path, damage):
    near_intentions(unit(3, 0)).save(tmp_path)
    (tmp_path / "guidance.json").write_bytes(damage)
    with pytest.raises(ArtifactError, match=r"guidance\.json does not hold a guidance"):
        NearIntentions.load(tmp_path)
