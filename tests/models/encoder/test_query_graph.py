"""The query's ONNX graph against the PyTorch encoder."""

import numpy as np
import pytest

from intently.errors import SettingsError
from intently.models import processor
from intently.models.encoder.query_graph import QueryRunner
from intently.models.student import Runtime

QUERIES = ["red robot vacuum", "红色扫地机器人", "", "drill bit for red lamp led " * 4, "pan"]


def assert_tokens_near(found, expected, least: float) -> None:
    """Assert that all tokens of all queries are of unit length and have at least this cosine with those expected."""
    for own, wanted in zip(found, expected, strict=True):
        assert (own.dtype, own.shape) == (np.float32, wanted.shape)
        np.testing.assert_allclose(np.linalg.norm(own, axis=1), 1, atol=1e-5)
        assert (own * wanted).sum(axis=1).min() > least


@pytest.mark.parametrize("token_dimension", [0, 1, 6, 16])
@pytest.mark.parametrize("layer_fusion", [True, False])
def test_tokens_are_those_of_the_reference(make_embedder, layer_fusion, token_dimension):
    embedder = make_embedder(layer_fusion=layer_fusion, token_dimension=token_dimension)
    expected = embedder.read_queries(QUERIES).tokens
    for size in (64, 2, 1):
        found = embedder.use(Runtime.ONNX).read_queries(QUERIES, size)
        np.testing.assert_allclose(found.embeddings, embedder.embed_queries(QUERIES), atol=1e-5)
        if not token_dimension:
            assert found.tokens is expected is None
            continue
        for own, wanted in zip(found.tokens, expected, strict=True):
            np.testing.assert_allclose(own, wanted, atol=1e-5)


@pytest.mark.parametrize("layer_fusion", [True, False])
@pytest.mark.parametrize("has_products", [True, False])
def test_tokens_of_int8_are_near(make_embedder, layer_fusion, has_products, monkeypatch):
    monkeypatch.setattr(processor, "has_int8_products", lambda: has_products)
    embedder = make_embedder(layer_fusion=layer_fusion, token_dimension=8)
    expected, quick = embedder.read_queries(QUERIES).tokens, embedder.use(Runtime.ONNX_INT8)
    found = quick.read_queries(QUERIES).tokens
    assert_tokens_near(found, expected, 0.95)
    assert_tokens_near(quick.read_queries(QUERIES, batch_size=1).tokens, found, 0.999)
    assert not np.array_equal(found[0], expected[0])  # it is int8


def test_a_graph_reads_other_lengths_and_padding_says_nothing(make_embedder):
    """The graph itself: whatever tokens stand where there is padding, real ones are read alike."""
    embedder = make_embedder(token_dimension=6)
    runner = QueryRunner(embedder.encoder.stored(), int8=False, num_threads=1)
    ids, lengths = embedder.tokenizer.encode(QUERIES, 32)
    junk = np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, 7)
    junk = np.concatenate((junk, np.full((len(ids), 3), 9)), axis=1)
    (embeddings, tokens), (others, padded) = runner(ids, lengths), runner(junk, lengths)
    assert tokens.shape == (*ids.shape, 6)
    assert padded.shape == (*junk.shape, 6)
    np.testing.assert_allclose(others, embeddings, atol=1e-5)
    for own, wanted, length in zip(padded, tokens, lengths, strict=True):
        np.testing.assert_allclose(own[:length], wanted[:length], atol=1e-5)


@pytest.mark.parametrize("layer_fusion", [True, False])
def test_float32_is_the_reference(make_embedder, layer_fusion):
    embedder = make_embedder(layer_fusion=layer_fusion)
    expected = embedder.embed_queries(QUERIES)
    onnx = embedder.use(Runtime.ONNX)
    assert (embedder.runtime, onnx.runtime) == (Runtime.TORCH, Runtime.ONNX)
    np.testing.assert_allclose(onnx.embed_queries(QUERIES), expected, atol=1e-5)
    np.testing.assert_allclose(onnx.embed_queries(QUERIES, batch_size=1), expected, atol=1e-5)
    assert onnx.use(Runtime.TORCH).runtime is Runtime.TORCH


@pytest.mark.parametrize("layer_fusion", [True, False])
@pytest.mark.parametrize("has_products", [True, False])
def test_int8_is_near_and_does_not_depend_on_the_batch(make_embedder, layer_fusion, has_products, monkeypatch):
    monkeypatch.setattr(processor, "has_int8_products", lambda: has_products)
    embedder = make_embedder(layer_fusion=layer_fusion)
    expected = embedder.embed_queries(QUERIES)
    found = embedder.use(Runtime.ONNX_INT8).embed_queries(QUERIES)
    assert (found * expected).sum(axis=1).min() > 0.98
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert not np.array_equal(found, expected)  # it is int8
    alone = embedder.use(Runtime.ONNX_INT8).embed_queries(QUERIES, batch_size=1)
    np.testing.assert_allclose(alone, found, atol=1e-3)


ADS = ["red robot vacuum", "红色扫地机器人", "drill bit", "pan", "电热水壶"]


def test_ads_without_an_augmentation_are_read_as_queries_are(make_embedder):
    embedder = make_embedder(token_dimension=8)
    quick, expected = embedder.use(Runtime.ONNX).read_ads(ADS), embedder.read_ads(ADS)
    assert (quick.embeddings * expected.embeddings).sum(axis=1).min() > 0.999  # PyTorch reads ads in bfloat16 if fast
    np.testing.assert_allclose(quick.embeddings, embedder.embed_queries(ADS), atol=1e-5)
    np.testing.assert_array_equal(quick.tokens.offsets, expected.tokens.offsets)
    assert np.abs(quick.tokens.values.astype(int) - expected.tokens.values).max() <= 4  # of 127 levels


def test_torch_reads_ads_with_an_augmentation_all_the_same(make_embedder, store):
    embedder, texts = make_embedder(), ADS
    np.testing.assert_array_equal(
        embedder.use(Runtime.ONNX_INT8).embed_ads(texts, store), embedder.embed_ads(texts, store)
    )


def test_onnx_runtime_is_for_the_cpu(make_embedder):
    embedder = make_embedder()
    embedder.encoder.to("meta")
    with pytest.raises(SettingsError, match=r"runtime 'onnx-int8' is for CPUs and the encoder is on meta"):
        embedder.use(Runtime.ONNX_INT8)
