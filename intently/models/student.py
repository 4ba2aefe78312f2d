"""The student: backbone and tokenizer together, reading texts once for both the embedding and the intentions.

PyTorch is imported when it is to run the layers, or when the backbone itself is asked for, as training does. A student
that is loaded for ONNX Runtime does without.
"""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float64Array, IntArray
from intently.errors import ArtifactError, SettingsError
from intently.files import atomic_write, write_text
from intently.intentions.decode import ConstrainedDecoder, States
from intently.intentions.trie import Trie
from intently.models.centers import Centers
from intently.models.files import read_prefixes
from intently.models.network import Network, Past, need_torch
from intently.models.prompt import Ancestry
from intently.models.tokenizer import StudentTokenizer, TextKind
from intently.models.weights import BackboneConfig, BackboneWeights

if TYPE_CHECKING:
    from intently.models.backbone import Backbone

CENTERS = "centers.npy"


class Runtime(StrEnum):
    """What runs the student's layers. On CPUs ONNX Runtime is faster than PyTorch, and with int8 weights faster yet."""

    TORCH = "torch"
    ONNX = "onnx"
    ONNX_INT8 = "onnx-int8"


@dataclass(frozen=True)
class Reading:
    """What the student made of B texts: `embeddings (B, D)` of unit length, and a prompt for decoding intentions."""

    embeddings: NDArray[np.float32]
    prompt: "StudentPrompt"


def check_tokens(settings: object, *names: str, positions: int, longest: int = 0, table: str = "") -> None:
    """Raise `SettingsError` unless a model of so many positions can read as many tokens as each named setting says.

    After a text the student decodes an intention, of `longest` tokens at most. `table` is where the settings are.
    """
    high = positions - longest
    for name in names:
        value = getattr(settings, name)
        if value > high:
            after = f", {longest} of them for the longest intention" if longest else ""
            raise SettingsError(
                f"'{table}{name}' is {value}; it takes a whole number ≥ 3 and ≤ {high}, as the model has {positions} "
                f"positions{after}"
            )


class Student:
    """A trained backbone ready for use; on CPU by default, and on whatever device its backbone was moved to."""

    def __init__(
        self,
        backbone: Union["Backbone", BackboneWeights],
        tokenizer: StudentTokenizer,
        runtime: Runtime = Runtime.TORCH,
        num_threads: int = 1,
        int8_layers: Path | None = None,
        centers: Centers | None = None,
    ) -> None:
        """Weights alone become a backbone when PyTorch is to run them. `num_threads` are ONNX Runtime's.

        `int8_layers` is a file that `save_int8_layers` wrote on a CPU with the same `int8_levels`. `centers` are
        subtracted from embeddings.
        """
        if backbone.config.vocab_size != tokenizer.vocab_size:
            raise ArtifactError(
                f"the backbone knows {backbone.config.vocab_size} tokens, the tokenizer {tokenizer.vocab_size}"
            )
        self._held, self._num_threads, self._int8_layers = backbone, num_threads, int8_layers
        if not isinstance(backbone, BackboneWeights):
            backbone.eval()
        self.tokenizer, self.runtime, self.centers = tokenizer, runtime, centers

    @property
    def config(self) -> BackboneConfig:
        """The backbone's sizes."""
        return self._held.config

    @property
    def backbone(self) -> "Backbone":
        """The backbone as PyTorch has it. Cost: a copy of the weights, if only these were loaded."""
        if isinstance(self._held, BackboneWeights):
            need_torch()
            from intently.models.backbone import Backbone

            self._held = Backbone.of(self._held).eval()
        return self._held

    @property
    def device(self) -> str:
        """What kind of device the weights are on, as PyTorch calls it."""
        return "cpu" if isinstance(self._held, BackboneWeights) else self._held.head_bias.device.type

    @cached_property
    def _network(self) -> Network:
        if self.runtime is Runtime.TORCH:
            from intently.models.torch_network import TorchNetwork

            return TorchNetwork(self.backbone)
        from intently.models.onnx_network import OnnxNetwork

        int8 = self.runtime is Runtime.ONNX_INT8
        graph = self._int8_layers if int8 else None
        return OnnxNetwork(self.weights, int8=int8, num_threads=self._num_threads, graph=graph)

    @property
    def weights(self) -> BackboneWeights:
        """The backbone's weights as arrays, which share the memory of those on the CPU."""
        return self._held if isinstance(self._held, BackboneWeights) else self._held.weights()

    def use(self, runtime: Runtime, num_threads: int = 1) -> "Student":
        """Return this student, its weights shared, with layers that `runtime` runs on `num_threads` threads.

        PyTorch has its own setting for threads (`intra_op_threads`). Raises `SettingsError` for ONNX Runtime if the
        student is not on the CPU.
        """
        if runtime is not Runtime.TORCH and self.device != "cpu":
            raise SettingsError(f"runtime '{runtime}' is for CPUs and the student is on {self.device}; use 'torch'")
        if runtime is Runtime.TORCH:
            self.backbone  # noqa: B018  # opened here, so that both share it
        student = Student(self._held, self.tokenizer, runtime, num_threads, self._int8_layers, self.centers)
        student._network  # noqa: B018  # made now, and not while a query waits
        return student

    def on(self, device: str) -> "Student":
        """Return this student for reading on a device: itself if it is on such a one, else a copy run by PyTorch."""
        if device.partition(":")[0] == self.device:
            return self
        return Student(copy.deepcopy(self.backbone).to(device), self.tokenizer, centers=self.centers)

    def centered(self, queries: Sequence[str], passages: Sequence[str], max_tokens: int) -> "Student":
        """Return this student, its layers shared, without what the embeddings of these texts share (`Centers`)."""
        centered = copy.copy(self)
        centered.centers = None
        kinds = ((queries, TextKind.QUERY), (passages, TextKind.PASSAGE))
        centered.centers = Centers.of(*(centered.embed(texts, max_tokens, kind=kind) for texts, kind in kinds))
        return centered

    @property
    def dimension(self) -> int:
        """Size D of the embeddings."""
        return self.config.hidden_size

    @property
    def speaks(self) -> bool:
        """Whether the head was trained to say intentions: a pretrained encoder begins without one, its biases 0."""
        return bool(self.weights.arrays["head_bias"].any())

    @property
    def positions(self) -> int:
        """Tokens that a text with its marks and an intention after it may have together, beside the longest prefix."""
        return self.config.max_position_embeddings - self.tokenizer.num_prefix_tokens

    def read(self, texts: Sequence[str], max_tokens: int, kind: TextKind = TextKind.QUERY) -> Reading:
        """Read texts of a kind once, bidirectionally; longer ones are cut at `max_tokens`, the kind's prefix aside."""
        token_ids, lengths = self.tokenizer.encode(texts, max_tokens, kind)
        reading = read_tokens(self._network, token_ids, lengths)
        if self.centers is None:
            return reading
        return replace(reading, embeddings=self.centers.subtract(reading.embeddings, kind))

    def batches(
        self,
        texts: Sequence[str],
        max_tokens: int,
        batch_size: int,
        progress: Callable[[int, int], None] | None = None,
        kind: TextKind = TextKind.QUERY,
    ) -> Iterator[tuple[IntArray, Reading]]:
        """Read many texts in batches of similar length; yields (rows, their reading). bfloat16 where fast."""
        order = np.argsort([len(text) for text in texts], kind="stable")
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            with self._autocast():
                yield rows, self.read([texts[row] for row in rows], max_tokens, kind)
            if progress:
                progress(start + len(rows), len(order))

    def _autocast(self) -> AbstractContextManager[object]:
        if self.runtime is not Runtime.TORCH:
            return nullcontext()
        from intently.models.device import autocast

        return autocast(self.backbone.head_bias.device)

    def embed(
        self,
        texts: Sequence[str],
        max_tokens: int,
        batch_size: int = 128,
        progress: Callable[[int, int], None] | None = None,
        kind: TextKind = TextKind.QUERY,
    ) -> NDArray[np.float32]:
        """Return unit embeddings (N, D) of texts of a kind."""
        embeddings = np.empty((len(texts), self.dimension), dtype=np.float32)
        for rows, reading in self.batches(texts, max_tokens, batch_size, progress, kind):
            embeddings[rows] = reading.embeddings
        return embeddings

    def decoder(
        self, trie: Trie, like: ConstrainedDecoder | None = None, *, values: Float64Array | None = None
    ) -> ConstrainedDecoder:
        """Return a decoder of what this student reads; `like` is one of another version of the trie.

        `values` are those of intentions, by id (see `intently.intentions.decode`).
        """
        return ConstrainedDecoder(trie, self._network.output(), self.tokenizer.sep_id, values, like=like)

    def save(self, directory: Path) -> None:
        """Write config.json, tokenizer.json, model.safetensors and, if it has centers, centers.npy into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        told: dict[str, object] = {f"{kind}_prefix": text for kind, text in asdict(self.tokenizer.prefixes).items()}
        if self.centers is not None:
            self.centers.save(directory / CENTERS)
            told["centered"] = True
        write_text(directory / "config.json", json.dumps(asdict(self.config) | told, indent=1))
        write_text(directory / "tokenizer.json", self.tokenizer.definition)
        self.weights.save(directory / "model.safetensors")

    def save_int8_layers(self, path: Path) -> None:
        """Write the layers as ONNX Runtime runs them with int8 weights, so that loading need not make them again."""
        from intently.models.onnx_network import layers_of

        with atomic_write(path) as file:
            file.write(layers_of(self.weights, int8=True))

    @classmethod
    def load(cls, directory: Path, int8_layers: Path | None = None) -> "Student":
        """Load what `save` and `save_int8_layers` wrote; raise `ArtifactError` naming the file that does not fit."""
        config = BackboneConfig.read(directory / "config.json")
        weights = BackboneWeights.load(config, directory / "model.safetensors")
        tokenizer = StudentTokenizer.load(directory / "tokenizer.json", read_prefixes(directory))
        centers = None
        if json.loads((directory / "config.json").read_text(encoding="utf-8")).get("centered"):
            centers = Centers.load(directory / CENTERS, config.hidden_size)
        try:
            return cls(weights, tokenizer, int8_layers=int8_layers, centers=centers)
        except ArtifactError as error:
            raise ArtifactError(f"{directory}: {error}") from error


def read_tokens(network: Network, token_ids: IntArray, lengths: IntArray) -> Reading:
    """Read texts `token_ids (B, S)` of `lengths (B,)`, padded on the right."""
    num_texts, num_source = token_ids.shape
    places = np.arange(num_source)
    visible = np.broadcast_to((places < lengths[:, None])[:, None, None], (num_texts, 1, num_source, num_source))
    states, head, past = network.run(network.embed(token_ids, places, segment=0), [], visible)
    last = head[np.arange(num_texts), lengths - 1]  # of the final [SEP], which predicts the first token
    return Reading(network.pool(states, lengths), StudentPrompt(network, past, num_source, lengths, last))


class StudentPrompt:
    """B texts that the student has read, to be led on beam by beam (the `Prompt` of `intently.intentions.decode`)."""

    def __init__(self, network: Network, past: Past, num_source: int, lengths: IntArray, last: States) -> None:
        """`past` is of `num_source` positions S; `last (B, D)` are the states that predict the first token."""
        self._network, self._source, self._num_source = network, past, num_source
        self._lengths, self._last = lengths, last

    def first(self) -> States:
        """Begin after the texts alone; return the states (B, D) that predict the first token."""
        self._past, self._ancestry = self._source, Ancestry(self._lengths, self._num_source)
        return self._last

    def advance(self, parents: IntArray, tokens: IntArray) -> States:
        """Give beam w of prompt b the token `tokens[b, w]` after its `parents[b, w]`; return states (B, W, D)."""
        at, seen = self._ancestry.advance(parents)
        hidden = self._network.embed(tokens, at, segment=1)
        _, head, self._past = self._network.run(hidden, self._past, seen[:, None])
        return head
