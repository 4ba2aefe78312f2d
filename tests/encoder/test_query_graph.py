"""The query's ONNX graph against the PyTorch encoder."""

import numpy as np
import pytest

from intently.errors import SettingsError
from intently.models import onnx_graph
from intently.models.student import Runtime

QUERIES = ["red robot vacuum", "红色扫地机器人", "", "drill bit for red lamp led " * 4, "pan"]


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
    monkeypatch.setattr(onnx_graph, "has_int8_products", lambda: has_products)
    embedder = make_embedder(layer_fusion=layer_fusion)
    expected = embedder.embed_queries(QUERIES)
    found = embedder.use(Runtime.ONNX_INT8).embed_queries(QUERIES)
    assert (found * expected).sum(axis=1).min() > 0.98
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert not np.array_equal(found, expected)  # it is int8
    alone = embedder.use(Runtime.ONNX_INT8).embed_queries(QUERIES, batch_size=1)
    np.testing.assert_allclose(alone, found, atol=1e-3)


def test_ads_are_read_by_torch_all_the_same(make_embedder, store):
    embedder = make_embedder()
    texts = ["red robot vacuum", "红色扫地机器人", "drill bit", "pan", "电热水壶"]
    np.testing.assert_array_equal(
        embedder.use(Runtime.ONNX_INT8).embed_ads(texts, store), embedder.embed_ads(texts, store)
    )


def test_onnx_runtime_is_for_the_cpu(make_embedder):
    embedder = make_embedder()
    embedder.encoder.to("meta")
    with pytest.raises(SettingsError, match=r"runtime 'onnx-int8' is for CPUs and the encoder is on meta"):
        embedder.use(Runtime.ONNX_INT8)
