"""The query's whole way, from token ids to the embedding, as one ONNX graph over the compact backbone.

One call of the runtime instead of one an operation: at a query's length that, and int8 weights, is most of the time.
`tests/encoder/test_query_graph.py` holds it to the PyTorch reference.

Shape letters: B batch, S source length, D hidden size, L layers.
"""

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from intently.encoder.layer_fusion import LayerFusion
from intently.models.backbone import Backbone
from intently.models.onnx_graph import Writer, described
from intently.models.onnx_runner import UNSEEN, open_session


class QueryRunner:
    """Embeds queries on the CPU. Holds its own copy of the weights."""

    def __init__(self, backbone: Backbone, layer_fusion: LayerFusion | None, *, int8: bool, num_threads: int) -> None:
        self._session = open_session(build_query_graph(backbone, layer_fusion, int8=int8), num_threads)

    def __call__(self, token_ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return unit embeddings (B, D) of queries `token_ids (B, S)` of `lengths (B,)`."""
        real = (np.arange(token_ids.shape[1]) < lengths[:, None]).astype(np.float32)
        embeddings: NDArray[np.float32] = self._session.run(None, {"token_ids": token_ids, "real": real})[0]
        return embeddings


def build_query_graph(backbone: Backbone, layer_fusion: LayerFusion | None, *, int8: bool) -> ModelProto:
    """Return the model (`token_ids (B, S)`, `real (B, S)`: 1 for tokens, 0 for padding) → `embedding (B, D)`."""
    writer = Writer(backbone, int8)
    graph = writer.graph
    one = graph.constant("one", np.float32(1))
    unseen = graph.op("Mul", graph.op("Sub", one, "real"), graph.constant("unseen", np.float32(UNSEEN)))
    mask = graph.op("Unsqueeze", unseen, graph.numbers(1, 2))
    counts = graph.op("Unsqueeze", "real", graph.numbers(1))  # (B, 1, S)
    num_tokens = graph.op("ReduceSum", counts, graph.numbers(2), keepdims=1)
    share = graph.op("Div", counts, num_tokens)

    hidden, pooled = writer.embed("token_ids"), []
    num_layers = backbone.config.num_hidden_layers
    for index in range(num_layers):
        hidden = writer.finish(hidden, writer.attend(*writer.project(hidden, index), mask), index)
        if layer_fusion is not None or index == num_layers - 1:
            pooled.append(graph.op("MatMul", share, hidden))  # (B, 1, D)
    text = pooled[0]
    if layer_fusion is not None:
        weights = _weights(writer, layer_fusion, pooled[-1])
        text = graph.op("MatMul", weights, graph.op("Concat", *pooled, axis=1))
    text = graph.op("Squeeze", text, graph.numbers(1))
    graph.op("LpNormalization", text, outputs=["embedding"], axis=1, p=2)
    inputs = [described("token_ids", "B", "S", kind=TensorProto.INT64), described("real", "B", "S")]
    return graph.model("query", inputs, [described("embedding", "B", backbone.config.hidden_size)])


def _weights(writer: Writer, layer_fusion: LayerFusion, text: str) -> str:
    """Write `LayerFusion.weights` (B, 1, L) of a text (B, 1, D), in float32: it is small and decides much."""
    graph = writer.graph
    own = {name: value.detach().float().cpu().numpy() for name, value in layer_fusion.state_dict().items()}

    def constant(name: str, value: NDArray[np.float32]) -> str:
        return graph.constant(f"layer_fusion.{name}", value)

    norm = constant("norm.weight", own["norm.weight"]), constant("norm.bias", own["norm.bias"])
    text = graph.op("LayerNormalization", text, *norm, axis=-1, epsilon=layer_fusion.norm.eps)
    inner = graph.op("MatMul", text, constant("inner.weight", own["inner.weight"].T))
    inner = writer.gelu(graph.op("Add", inner, constant("inner.bias", own["inner.bias"])))
    scores = graph.op("MatMul", inner, constant("outer.weight", own["outer.weight"].T))
    return graph.op("Softmax", graph.op("Add", scores, constant("bias", own["bias"])), axis=-1)
