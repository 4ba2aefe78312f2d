"""The backbone's layers as an ONNX graph, in float32 or with int8 weights, for ONNX Runtime on CPUs.

At the sizes of one query (tens of positions) PyTorch spends more time between operations than in them. The graph is
`Backbone.run` and the head, nothing else; `tests/models/test_onnx_graph.py` holds it to the PyTorch reference.

With int8, weights have a scale a column and every row of activations one of its own, taken as it comes, so that a
text's result does not depend on what shares its batch (but for rounding, when a float differs in its last bit).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from intently.models.backbone import Backbone
from intently.models.device import has_int8_products

_OPSET, _IR_VERSION = 20, 10
_CONTRIB = "com.microsoft"  # the domain of ONNX Runtime's own operators


class _Graph:
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


class _Writer:
    """Writes the parts of the network, taking weights from the backbone's state."""

    def __init__(self, backbone: Backbone, int8: bool) -> None:
        self.graph, self._int8 = _Graph(), int8
        # Where neighbouring products are added in 16 bits, 255 · 64 · 2 fits and 255 · 127 · 2 does not.
        self._weight_levels = 127 if has_int8_products() else 64
        self._weights = {name: value.detach().float().cpu().numpy() for name, value in backbone.state_dict().items()}
        self._epsilon = backbone.config.layer_norm_eps

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
        """Write a layer normalisation."""
        weight = self.graph.constant(f"{name}.weight", self._weights[f"{name}.weight"])
        bias = self.graph.constant(f"{name}.bias", self._weights[f"{name}.bias"])
        return self.graph.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=self._epsilon)

    def gelu(self, x: str) -> str:
        """Write a GELU."""
        return self.graph.op("Gelu", x, domain=_CONTRIB)


def build_graph(backbone: Backbone, *, int8: bool) -> ModelProto:
    """Return the model (hidden, mask, past keys and values) → (states, head states, grown keys and values).

    `hidden (B, P, D)` as from `Backbone.embed`; `mask (B, 1, P, K + P)` is added to attention scores: 0 where a
    position sees a key and very negative where not; `key_l`, `value_l` `(B, H, K, E)` are the past of layer l.
    """
    config = backbone.config
    writer, num_heads = _Writer(backbone, int8), config.num_attention_heads
    graph, size = writer.graph, config.hidden_size // num_heads
    inputs = [_described("hidden", "B", "P", config.hidden_size), _described("mask", "B", 1, "P", "T")]
    outputs = [_described("states", "B", "P", config.hidden_size), _described("head", "B", "P", config.hidden_size)]
    hidden = "hidden"
    for index in range(config.num_hidden_layers):
        layer = f"layers.{index}"
        qkv = graph.op("Reshape", writer.linear(hidden, f"{layer}.qkv"), graph.numbers(0, 0, 3, num_heads, size))
        qkv = graph.op("Transpose", qkv, perm=[2, 0, 3, 1, 4])
        query = graph.op("Split", qkv, outputs=3, num_outputs=3, axis=0)
        query, key, value = (
            graph.op("Squeeze", part, graph.numbers(0)) for part in (query, query + "_1", query + "_2")
        )
        graph.op("Concat", f"key_{index}", key, outputs=[f"grown_key_{index}"], axis=2)
        graph.op("Concat", f"value_{index}", value, outputs=[f"grown_value_{index}"], axis=2)
        query = graph.op("Mul", query, graph.constant("scale", np.float32(size**-0.5)))
        scores = graph.op("MatMul", query, graph.op("Transpose", f"grown_key_{index}", perm=[0, 1, 3, 2]))
        weights = graph.op("Softmax", graph.op("Add", scores, "mask"), axis=-1)
        attended = graph.op("Transpose", graph.op("MatMul", weights, f"grown_value_{index}"), perm=[0, 2, 1, 3])
        attended = graph.op("Reshape", attended, graph.numbers(0, 0, config.hidden_size))
        hidden = graph.op("Add", hidden, writer.linear(attended, f"{layer}.attention_output"))
        hidden = writer.norm(hidden, f"{layer}.attention_norm")
        inner = writer.gelu(writer.linear(hidden, f"{layer}.intermediate"))
        hidden = graph.op("Add", hidden, writer.linear(inner, f"{layer}.output"))
        hidden = writer.norm(hidden, f"{layer}.output_norm")
        for kind in ("key", "value"):
            inputs.append(_described(f"{kind}_{index}", "B", num_heads, "K", size))
            outputs.append(_described(f"grown_{kind}_{index}", "B", num_heads, "T", size))
    graph.op("Identity", hidden, outputs=["states"])
    head = graph.op("Add", writer.gelu(writer.linear(hidden, "head_dense")), hidden)
    graph.op("Identity", writer.norm(head, "head_norm"), outputs=["head"])
    built = helper.make_graph(graph.nodes, "backbone", inputs, outputs, list(graph.constants.values()))
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, 1)]
    return helper.make_model(built, opset_imports=opsets, ir_version=_IR_VERSION)


def _described(name: str, *shape: str | int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
