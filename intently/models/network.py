"""What runs the student's layers: PyTorch, which also trains them, or ONNX Runtime with NumPy around it.

A process that only asks the second never imports the first. Reading a text and leading beams on are written once, over
this protocol (`intently.models.student`).

Shape letters: B batch, P positions, K past positions, W beams, D hidden size.
"""

from importlib.util import find_spec
from typing import Any, Protocol

from intently.arrays import Float32Array, IntArray, Mask
from intently.errors import MissingDependencyError, install_hint
from intently.intentions.decode import OutputLayer, States

# Keys and values of positions that were read already, one (keys, values) pair a layer, each (B, H, K, E). Of arrays or
# of tensors: only the network that made them reads them.
Past = list[tuple[Any, Any]]


def need_torch() -> None:
    """Raise `MissingDependencyError` where PyTorch, which is about to be imported, is not installed."""
    if find_spec("torch") is None:
        raise MissingDependencyError(
            "PyTorch trains models, and runs them with runtime 'torch', and it is missing; " + install_hint("models")
        )


class Network(Protocol):
    """The student's embeddings, layers and head. States are arrays or tensors, as the network likes."""

    def embed(self, token_ids: IntArray, positions: IntArray, segment: int) -> States:
        """Return input states (…, D) of tokens at positions; segment 0 is the source, 1 the target."""

    def run(self, hidden: States, past: Past, visible: Mask) -> tuple[States, States, Past]:
        """Return the states (B, P, D) of `hidden (B, P, D)`, their head states (B, P, D), and the grown past.

        `visible (B, 1, P, K + P)` is true where a position sees a key: the K past ones first, then its own P.
        """

    def pool(self, states: States, lengths: IntArray) -> Float32Array:
        """Return embeddings (B, D) of unit length: the mean of each source's states (B, S, D)."""

    def output(self) -> OutputLayer:
        """Return what turns head states into token scores."""
