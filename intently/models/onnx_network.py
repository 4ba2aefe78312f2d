"""The student's layers run by ONNX Runtime on the CPU, in float32 or with int8 weights, and NumPy around them.

PyTorch is not needed. `tests/models/test_onnx_network.py` holds it to the PyTorch reference.
"""

import os
from pathlib import Path

import numpy as np

# ONNX Runtime reports its use to its makers unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
from onnxruntime import InferenceSession, SessionOptions

from intently.arrays import Float32Array, IntArray, Mask
from intently.models.array_output import ArrayOutput
from intently.models.network import Past
from intently.models.weights import BackboneWeights

UNSEEN = -1e9  # added to the score of a key that a position may not see; its weight underflows to 0


def open_session(model: bytes | Path, num_threads: int) -> InferenceSession:
    """Return a session that runs the model, or that of a file, on the CPU."""
    options = SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3  # errors only
    # NumPy has threads too, for what surrounds the layers: none should burn the cores that the other's need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return InferenceSession(model, options, providers=["CPUExecutionProvider"])


def layers_of(weights: BackboneWeights, *, int8: bool) -> bytes:
    """Return the layers as ONNX Runtime reads them; with int8 weights, for CPUs like this one."""
    from intently.models.onnx_graph import build_graph  # with `onnx`, which a stored graph does without

    content: bytes = build_graph(weights, int8=int8).SerializeToString()
    return content


class OnnxNetwork:
    """The `Network` of ONNX Runtime. Holds its own copy of the layers' weights; the others stay where they are."""

    def __init__(self, weights: BackboneWeights, *, int8: bool, num_threads: int, graph: Path | None = None) -> None:
        """One thread is best for answering queries one at a time, all cores for batches.

        `graph` is a file of what `layers_of` returns for these weights, made if not given.
        """
        self._session = open_session(graph or layers_of(weights, int8=int8), num_threads)
        config, arrays = weights.config, weights.arrays
        self._num_layers = config.num_hidden_layers
        heads = config.num_attention_heads
        self._no_past = (heads, 0, config.hidden_size // heads)
        self._words, self._bias = arrays["word_embeddings.weight"], arrays["head_bias"]
        # The segment is the same for all tokens that are embedded at once, so it is added to the positions once.
        self._places = arrays["position_embeddings.weight"] + arrays["type_embeddings.weight"][:, None]
        self._norm = arrays["embedding_norm.weight"], arrays["embedding_norm.bias"]
        self._epsilon = np.float32(config.layer_norm_eps)

    def embed(self, token_ids: IntArray, positions: IntArray, segment: int) -> Float32Array:
        """Return input states (…, D), as `Backbone.embed` does."""
        states: Float32Array = self._words[token_ids]
        states += self._places[segment, positions]
        states -= states.mean(axis=-1, keepdims=True)
        variance = np.square(states).mean(axis=-1, keepdims=True)
        states /= np.sqrt(variance + self._epsilon)
        weight, bias = self._norm
        states *= weight
        states += bias
        return states

    def run(self, hidden: Float32Array, past: Past, visible: Mask) -> tuple[Float32Array, Float32Array, Past]:
        """Return states, head states and the grown past, as `Backbone.forward` does."""
        feeds = {"hidden": hidden, "mask": np.where(visible, np.float32(0), np.float32(UNSEEN))}
        nothing = np.empty((len(hidden), *self._no_past), dtype=np.float32)
        for index, (key, value) in enumerate(past or [(nothing, nothing)] * self._num_layers):
            feeds[f"key_{index}"], feeds[f"value_{index}"] = key, value
        states, head, *grown = self._session.run(None, feeds)
        return states, head, list(zip(grown[::2], grown[1::2], strict=True))

    def pool(self, states: Float32Array, lengths: IntArray) -> Float32Array:
        """Return embeddings (B, D), as `Backbone.pool` does."""
        visible = np.arange(states.shape[1]) < lengths[:, None]
        total = np.where(visible[:, :, None], states, np.float32(0)).sum(axis=1)
        embeddings: Float32Array = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), np.float32(1e-12))
        return embeddings

    def output(self) -> ArrayOutput:
        """Return the output layer, whose weights are the word embeddings."""
        return ArrayOutput(self._words, self._bias)
