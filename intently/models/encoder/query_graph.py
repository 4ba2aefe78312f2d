"""The query's whole way, from token ids to its embeddings, as one ONNX graph over the compact backbone.

One call of the runtime instead of one an operation: at a query's length that, and int8 weights, is most of the time.
`tests/encoder/test_query_graph.py` holds it to the PyTorch reference.

Shape letters: B batch, S source length, D hidden size, P size of a token's embedding, L layers.
"""

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from intently.models.encoder.stored import StoredEncoder
from intently.models.onnx_graph import Graph, Writer, described
from intently.models.onnx_network import UNSEEN, open_session

_NORM_EPSILON = 1e-5  # of `LayerFusion.norm`, PyTorch's default


class QueryRunner:
    """Embeds queries on the CPU, and ads without an augmentation, which are read alike. Holds a copy of the weights."""

    def __init__(self, encoder: StoredEncoder, *, int8: bool, num_threads: int) -> None:
        self._session = open_session(build_query_graph(encoder, int8=int8).SerializeToString(), num_threads)

    def __call__(
        self, token_ids: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the unit embeddings of queries `token_ids (B, S)` of `lengths (B,)`: (B, D), and tokens' (B, S, P)."""
        real = (np.arange(token_ids.shape[1]) < lengths[:, None]).astype(np.float32)
        embeddings, tokens = self._session.run(["embedding", "tokens"], {"token_ids": token_ids, "real": real})
        return embeddings, tokens


def build_query_graph(encoder: StoredEncoder, *, int8: bool) -> ModelProto:
    """Return the model (`token_ids (B, S)`, `real (B, S)`: 1 for tokens, 0 for padding) → `embedding`, `tokens`."""
    config = encoder.backbone.config
    writer = Writer(encoder.backbone, int8)
    graph = writer.graph
    one = graph.constant("one", np.float32(1))
    unseen = graph.op("Mul", graph.op("Sub", one, "real"), graph.constant("unseen", np.float32(UNSEEN)))
    mask = graph.op("Unsqueeze", unseen, graph.numbers(1, 2))
    counts = graph.op("Unsqueeze", "real", graph.numbers(1))  # (B, 1, S)
    num_tokens = graph.op("ReduceSum", counts, graph.numbers(2), keepdims=1)
    share = graph.op("Div", counts, num_tokens)

    hidden, states = writer.embed("token_ids"), []
    for index in range(config.num_hidden_layers):
        hidden = writer.finish(hidden, writer.attend(*writer.project(hidden, index), mask), index)
        states.append(hidden)
    if encoder.settings.layer_fusion:
        weights = _weights(writer, encoder, graph.op("MatMul", share, hidden))
        hidden = _mixed(graph, states, weights)
    text = graph.op("Squeeze", graph.op("MatMul", share, hidden), graph.numbers(1))
    graph.op("LpNormalization", text, outputs=["embedding"], axis=1, p=2)
    size = encoder.settings.token_dimension
    if not size:
        graph.op("Slice", hidden, graph.numbers(0), graph.numbers(0), graph.numbers(2), outputs=["tokens"])
    else:
        weight = graph.constant("to_tokens.weight", encoder.parts["to_tokens.weight"].T)
        graph.op("LpNormalization", graph.op("MatMul", hidden, weight), outputs=["tokens"], axis=2, p=2)
    inputs = [described("token_ids", "B", "S", kind=TensorProto.INT64), described("real", "B", "S")]
    outputs = [described("embedding", "B", config.hidden_size), described("tokens", "B", "S", size)]
    return graph.model("query", inputs, outputs)


def _mixed(graph: Graph, states: list[str], weights: str) -> str:
    """Write `LayerFusion.mix` of states (B, S, D) by weights (B, 1, L)."""
    first = graph.op("Split", weights, outputs=len(states), num_outputs=len(states), axis=2)
    each = [first, *(f"{first}_{index}" for index in range(1, len(states)))]
    return graph.op("Sum", *(graph.op("Mul", state, weight) for state, weight in zip(states, each, strict=True)))


def _weights(writer: Writer, encoder: StoredEncoder, text: str) -> str:
    """Write `LayerFusion.weights` (B, 1, L) of a text (B, 1, D), in float32: it is small and decides much."""
    graph = writer.graph

    def constant(name: str) -> str:
        name = f"layer_fusion.{name}"
        return graph.constant(name, encoder.parts[name].T)

    norm = constant("norm.weight"), constant("norm.bias")
    text = graph.op("LayerNormalization", text, *norm, axis=-1, epsilon=_NORM_EPSILON)
    inner = graph.op("MatMul", text, constant("inner.weight"))
    inner = writer.gelu(graph.op("Add", inner, constant("inner.bias")))
    scores = graph.op("MatMul", inner, constant("outer.weight"))
    return graph.op("Softmax", graph.op("Add", scores, constant("bias")), axis=-1)
