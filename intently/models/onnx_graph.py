"""The backbone's layers as an ONNX graph, in float32 or with int8 weights, for ONNX Runtime on CPUs.

At the sizes of one query (tens of positions) PyTorch spends more time between operations than in them. `build_graph` is
`Backbone.run` and the head, nothing else; `tests/models/test_onnx_network.py` holds it to the PyTorch reference. Other
graphs over the same layers (see `intently.models.encoder.query_graph`) are written with `Writer`.

With int8, weights have a scale a column and every row of activations one of its own, taken as it comes, so that a
text's result does not depend on what shares its batch (but for rounding, when a float differs in its last bit).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from intently.models.processor import int8_levels
from intently.models.weights import BackboneWeights

_OPSET, _IR_VERSION = 20, 10
_CONTRIB = "com.microsoft"  # the domain of ONNX Runtime's own operators


class Graph:
    """Nodes and constants as they are written down; values are known by name."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def op(self, kind: str, *inputs: str, outputs: int | list[str] = 1, domain: str = "", **attributes: Any) -> str:
        """Write a node and return the name of its first output; further ones end in _1, _2, …."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        names = outputs if isinstance(outputs, list) else [name, *(f"{name}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=name, domain=domain, **attributes))
        return names[0]

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """Keep a constant under a name, once."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def numbers(self, *values: int) -> str:
        """Return a constant vector of integers."""
        return self.constant("numbers_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def model(self, name: str, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> ModelProto:
        """Return the whole graph as a model."""
        built = helper.make_graph(self.nodes, name, inputs, outputs, list(self.constants.values()))
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, 1)]
        return helper.make_model(built, opset_imports=opsets, ir_version=_IR_VERSION)


class Writer:
    """Writes the parts of the network, taking the backbone's weights."""

    def __init__(self, weights: BackboneWeights, int8: bool) -> None:
        self.graph, self._int8 = Graph(), int8
        self._weight_levels = int8_levels()
        self._weights, config = weights.arrays, weights.config
        self._epsilon, self._num_heads = config.layer_norm_eps, config.num_attention_heads
        self._head_size = config.hidden_size // config.num_attention_heads

    def linear(self, x: str, name: str) -> str:
        """Write x · Wᵀ + b."""
        graph, weight = self.graph, self._weights[f"{name}.weight"].T
        bias = graph.constant(f"{name}.bias", self._weights[f"{name}.bias"])
        if not self._int8:
            return graph.op("Add", graph.op("MatMul", x, graph.constant(f"{name}.weight", weight)), bias)
        # Each row is divided by its largest magnitude, then stands on the one grid from -1 to 1 that all rows share.
        largest = graph.op("ReduceMax", graph.op("Abs", x), graph.numbers(-1), keepdims=1)
        largest = graph.op("Max", largest, graph.constant("tiny", np.float32(1e-12)))
        step, middle = graph.constant("step", np.float32(1 / 127)), graph.constant("middle", np.uint8(128))
        levels = graph.op("QuantizeLinear", graph.op("Div", x, largest), step, middle)
        scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / self._weight_levels
        rounded = graph.constant(f"{name}.weight", np.round(weight / scale).astype(np.int8))
        scales = graph.constant(f"{name}.scale", scale.astype(np.float32))
        product = graph.op("MatMulIntegerToFloat", levels, rounded, step, scales, middle, domain=_CONTRIB)
        return graph.op("Add", graph.op("Mul", product, largest), bias)

    def norm(self, x: str, name: str) -> str:
        """Write a layer normalization."""
        weight = self.graph.constant(f"{name}.weight", self._weights[f"{name}.weight"])
        bias = self.graph.constant(f"{name}.bias", self._weights[f"{name}.bias"])
        return self.graph.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=self._epsilon)

    def gelu(self, x: str) -> str:
        """Write a GELU."""
        return self.graph.op("Gelu", x, domain=_CONTRIB)

    def embed(self, token_ids: str) -> str:
        """Write `Backbone.embed` of sources (B, S), segment 0."""
        graph, weights = self.graph, self._weights
        words = graph.constant("word_embeddings", weights["word_embeddings.weight"])
        # The segment is the same everywhere, so it is added to the positions once.
        places = weights["position_embeddings.weight"] + weights["type_embeddings.weight"][0]
        length = graph.op("Shape", token_ids, start=1, end=2)
        places = graph.op("Slice", graph.constant("places", places), graph.numbers(0), length, graph.numbers(0))
        return self.norm(graph.op("Add", graph.op("Gather", words, token_ids), places), "embedding_norm")

    def project(self, hidden: str, index: int) -> tuple[str, str, str]:
        """Write `Layer.project` of a layer."""
        graph = self.graph
        qkv = self.linear(hidden, f"layers.{index}.qkv")
        qkv = graph.op("Reshape", qkv, graph.numbers(0, 0, 3, self._num_heads, self._head_size))
        qkv = graph.op("Transpose", qkv, perm=[2, 0, 3, 1, 4])
        first = graph.op("Split", qkv, outputs=3, num_outputs=3, axis=0)
        query, key, value = (
            graph.op("Squeeze", part, graph.numbers(0)) for part in (first, first + "_1", first + "_2")
        )
        return query, key, value

    def attend(self, query: str, key: str, value: str, mask: str) -> str:
        """Write `attend`; the mask is added to the scores."""
        graph = self.graph
        query = graph.op("Mul", query, graph.constant("scale", np.float32(self._head_size**-0.5)))
        scores = graph.op("MatMul", query, graph.op("Transpose", key, perm=[0, 1, 3, 2]))
        return graph.op("MatMul", graph.op("Softmax", graph.op("Add", scores, mask), axis=-1), value)

    def finish(self, hidden: str, attended: str, index: int) -> str:
        """Write `Layer.finish` of a layer."""
        graph, layer = self.graph, f"layers.{index}"
        merged = graph.op("Transpose", attended, perm=[0, 2, 1, 3])
        merged = graph.op("Reshape", merged, graph.numbers(0, 0, self._num_heads * self._head_size))
        hidden = graph.op("Add", hidden, self.linear(merged, f"{layer}.attention_output"))
        hidden = self.norm(hidden, f"{layer}.attention_norm")
        inner = self.gelu(self.linear(hidden, f"{layer}.intermediate"))
        hidden = graph.op("Add", hidden, self.linear(inner, f"{layer}.output"))
        return self.norm(hidden, f"{layer}.output_norm")


def build_graph(weights: BackboneWeights, *, int8: bool) -> ModelProto:
    """Return the model (hidden, mask, past keys and values) → (states, head states, grown keys and values).

    `hidden (B, P, D)` as from `Backbone.embed`; `mask (B, 1, P, K + P)` is added to attention scores: 0 where a
    position sees a key and very negative where not; `key_l`, `value_l` `(B, H, K, E)` are the past of layer l.
    """
    config = weights.config
    writer, num_heads = Writer(weights, int8), config.num_attention_heads
    graph, size = writer.graph, config.hidden_size // num_heads
    inputs = [described("hidden", "B", "P", config.hidden_size), described("mask", "B", 1, "P", "T")]
    outputs = [described("states", "B", "P", config.hidden_size), described("head", "B", "P", config.hidden_size)]
    hidden = "hidden"
    for index in range(config.num_hidden_layers):
        query, key, value = writer.project(hidden, index)
        key = graph.op("Concat", f"key_{index}", key, outputs=[f"grown_key_{index}"], axis=2)
        value = graph.op("Concat", f"value_{index}", value, outputs=[f"grown_value_{index}"], axis=2)
        hidden = writer.finish(hidden, writer.attend(query, key, value, "mask"), index)
        for kind in ("key", "value"):
            inputs.append(described(f"{kind}_{index}", "B", num_heads, "K", size))
            outputs.append(described(f"grown_{kind}_{index}", "B", num_heads, "T", size))
    graph.op("Identity", hidden, outputs=["states"])
    head = graph.op("Add", writer.gelu(writer.linear(hidden, "head_dense")), hidden)
    graph.op("Identity", writer.norm(head, "head_norm"), outputs=["head"])
    return graph.model("backbone", inputs, outputs)


def described(name: str, *shape: str | int, kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    """Return the description of an input or output; sizes that vary have a name."""
    return helper.make_tensor_value_info(name, kind, shape)
