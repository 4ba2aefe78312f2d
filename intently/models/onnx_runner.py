"""The backbone run by ONNX Runtime: the same numbers as in PyTorch, or int8 weights, with far less time between."""

import os

import torch
from torch import Tensor

# ONNX Runtime reports its use to its makers unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
from onnx import ModelProto
from onnxruntime import InferenceSession, SessionOptions

from intently.models.backbone import Backbone, LayerCache
from intently.models.onnx_graph import build_graph

UNSEEN = -1e9  # added to the score of a key that a position may not see; its weight underflows to 0


def open_session(model: ModelProto, num_threads: int) -> InferenceSession:
    """Return a session that runs the model on the CPU."""
    options = SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3  # errors only
    # PyTorch has threads too, for what surrounds the layers: none should burn the cores that the other's need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class OnnxRunner:
    """Does what `Backbone.forward` does, on the CPU. Holds its own copy of the layers' weights."""

    def __init__(self, backbone: Backbone, *, int8: bool, num_threads: int) -> None:
        """One thread is best for answering queries one at a time, all cores for batches."""
        self._session = open_session(build_graph(backbone, int8=int8), num_threads)
        config = backbone.config
        self._num_layers = config.num_hidden_layers
        heads = config.num_attention_heads
        self._no_past = (heads, 0, config.hidden_size // heads)

    def __call__(self, hidden: Tensor, past: LayerCache, visible: Tensor) -> tuple[Tensor, Tensor, LayerCache]:
        """Return states (B, P, D), head states (B, P, D) and the grown past; shapes as in `Backbone.run`."""
        mask = torch.zeros(visible.shape).masked_fill_(~visible, UNSEEN)
        feeds = {"hidden": hidden.numpy(), "mask": mask.numpy()}
        nothing = torch.empty((hidden.shape[0], *self._no_past))
        for index, (key, value) in enumerate(past or [(nothing, nothing)] * self._num_layers):
            feeds[f"key_{index}"], feeds[f"value_{index}"] = key.numpy(), value.numpy()
        outputs = self._session.run(None, feeds)
        states, head, *grown = map(torch.from_numpy, outputs)
        return states, head, list(zip(grown[::2], grown[1::2], strict=True))
