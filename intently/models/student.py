"""The student: backbone and tokenizer together, reading texts once for both the embedding and the intentions."""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from intently.arrays import IntArray
from intently.errors import ArtifactError, SettingsError
from intently.files import atomic_write, write_text
from intently.intentions.decode import ConstrainedDecoder
from intently.intentions.trie import Trie
from intently.models.backbone import Backbone, LayerCache
from intently.models.device import autocast
from intently.models.files import fill, read_config, read_prefixes, read_weights
from intently.models.onnx_runner import OnnxRunner
from intently.models.output import OutputRows
from intently.models.prompt import Ancestry
from intently.models.tokenizer import StudentTokenizer, TextKind

# Input states, past and visibility to states, head states and grown past: `Backbone.forward`, or what stands for it.
Forward = Callable[[Tensor, LayerCache, Tensor], tuple[Tensor, Tensor, LayerCache]]


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

    def __init__(self, backbone: Backbone, tokenizer: StudentTokenizer) -> None:
        if backbone.config.vocab_size != tokenizer.vocab_size:
            raise ArtifactError(
                f"the backbone knows {backbone.config.vocab_size} tokens, the tokenizer {tokenizer.vocab_size}"
            )
        self.backbone = backbone.eval()
        self.tokenizer = tokenizer
        self.runtime = Runtime.TORCH
        self._forward: Forward = backbone

    def use(self, runtime: Runtime, num_threads: int = 1) -> "Student":
        """Return this student, its weights shared, with layers that `runtime` runs on `num_threads` threads.

        PyTorch has its own setting for threads (`intra_op_threads`). Raises `SettingsError` for ONNX Runtime if the
        student is not on the CPU.
        """
        student = Student(self.backbone, self.tokenizer)
        if runtime is not Runtime.TORCH:
            if (device := self.backbone.head_bias.device).type != "cpu":
                raise SettingsError(f"runtime '{runtime}' is for CPUs and the student is on {device}; use 'torch'")
            student.runtime = runtime
            student._forward = OnnxRunner(self.backbone, int8=runtime is Runtime.ONNX_INT8, num_threads=num_threads)
        return student

    def on(self, device: str) -> "Student":
        """Return this student for reading on a device: itself if it is on such a one, else a copy run by PyTorch."""
        if torch.device(device).type == self.backbone.head_bias.device.type:
            return self
        return Student(copy.deepcopy(self.backbone).to(torch.device(device)), self.tokenizer)

    @property
    def dimension(self) -> int:
        """Size D of the embeddings."""
        return self.backbone.config.hidden_size

    @property
    def speaks(self) -> bool:
        """Whether the head was trained to say intentions: a pretrained encoder begins without one, its biases 0."""
        return bool(self.backbone.head_bias.any())

    @property
    def positions(self) -> int:
        """Tokens that a text with its marks and an intention after it may have together, beside the longest prefix."""
        return self.backbone.config.max_position_embeddings - self.tokenizer.num_prefix_tokens

    @torch.inference_mode()
    def read(self, texts: Sequence[str], max_tokens: int, kind: TextKind = TextKind.QUERY) -> Reading:
        """Read texts of a kind once, bidirectionally; longer ones are cut at `max_tokens`, the kind's prefix aside."""
        token_ids, lengths = self.tokenizer.encode(texts, max_tokens, kind)
        device = self.backbone.head_bias.device
        ids, num = torch.from_numpy(token_ids).to(device), torch.from_numpy(lengths).to(device)
        places = torch.arange(ids.shape[1], device=device)
        visible = (places < num[:, None])[:, None, None, :].expand(-1, 1, len(places), -1)
        states, head, past = self._forward(self.backbone.embed(ids, places, segment=0), [], visible)
        embeddings = self.backbone.pool(states, num).cpu().numpy()
        last = self.backbone.last_state(head, num)
        return Reading(embeddings, StudentPrompt(self.backbone, self._forward, past, num, last))

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
        device = self.backbone.head_bias.device
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            with autocast(device):
                yield rows, self.read([texts[row] for row in rows], max_tokens, kind)
            if progress:
                progress(start + len(rows), len(order))

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

    def decoder(self, trie: Trie, like: ConstrainedDecoder | None = None) -> ConstrainedDecoder:
        """Return a decoder of the trie's intentions; `like` is one of another version of the trie."""
        output = OutputRows(self.backbone.word_embeddings.weight, self.backbone.head_bias)
        return ConstrainedDecoder(trie, output, self.tokenizer.sep_id, like=like)

    def save(self, directory: Path) -> None:
        """Write config.json, tokenizer.json and model.safetensors into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        prefixes = {f"{kind}_prefix": text for kind, text in asdict(self.tokenizer.prefixes).items()}
        write_text(directory / "config.json", json.dumps(asdict(self.backbone.config) | prefixes, indent=1))
        write_text(directory / "tokenizer.json", self.tokenizer.definition)
        with atomic_write(directory / "model.safetensors") as file:
            file.write(save(self.backbone.state_dict()))

    @classmethod
    def load(cls, directory: Path) -> "Student":
        """Load what `save` wrote; raise `ArtifactError` naming the file that does not fit."""
        path = directory / "model.safetensors"
        backbone = fill(Backbone(read_config(directory / "config.json")), read_weights(path), path)
        tokenizer = StudentTokenizer.load(directory / "tokenizer.json", read_prefixes(directory))
        try:
            return cls(backbone, tokenizer)
        except ArtifactError as error:
            raise ArtifactError(f"{directory}: {error}") from error


class StudentPrompt:
    """B texts that the student has read, to be led on beam by beam (the `Prompt` of `intently.intentions.decode`)."""

    def __init__(self, backbone: Backbone, forward: Forward, past: LayerCache, lengths: Tensor, last: Tensor) -> None:
        self._backbone, self._forward, self._source, self._last = backbone, forward, past, last
        self._lengths = lengths

    def first(self) -> Tensor:
        """Begin after the texts alone; return the states (B, D) that predict the first token."""
        self._past, self._ancestry = self._source, Ancestry(self._lengths, self._source[0][0].shape[2])
        return self._last

    @torch.inference_mode()
    def advance(self, parents: IntArray, tokens: IntArray) -> Tensor:
        """Give beam w of prompt b the token `tokens[b, w]` after its `parents[b, w]`; return states (B, W, D)."""
        at, seen = self._ancestry.advance(parents)
        hidden = self._backbone.embed(torch.from_numpy(tokens).to(at.device), at, segment=1)
        _, head, self._past = self._forward(hidden, self._past, seen[:, None])
        return head
