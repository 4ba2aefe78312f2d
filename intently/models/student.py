"""The student: backbone and tokenizer together, reading texts once for both the embedding and the intentions."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from intently.errors import ArtifactError
from intently.intentions.decode import ConstrainedDecoder, Decoded
from intently.intentions.trie import Trie
from intently.models.backbone import Backbone, LayerCache
from intently.models.device import autocast
from intently.models.files import fill, read_config, read_weights
from intently.models.tokenizer import StudentTokenizer

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """What the student made of B texts: `embeddings (B, D)` of unit length, and a prompt for decoding intentions."""

    embeddings: NDArray[np.float32]
    prompt: "StudentPrompt"


class Student:
    """A trained backbone ready for use; on CPU by default, and on whatever device its backbone was moved to."""

    def __init__(self, backbone: Backbone, tokenizer: StudentTokenizer) -> None:
        if backbone.config.vocab_size != tokenizer.vocab_size:
            raise ArtifactError(
                f"the backbone knows {backbone.config.vocab_size} tokens, the tokenizer {tokenizer.vocab_size}"
            )
        self.backbone = backbone.eval()
        self.tokenizer = tokenizer

    @property
    def dimension(self) -> int:
        """Size D of the embeddings."""
        return self.backbone.config.hidden_size

    @torch.inference_mode()
    def read(self, texts: Sequence[str], max_tokens: int) -> Reading:
        """Read texts once, bidirectionally; longer ones are cut at `max_tokens`."""
        token_ids, lengths = self.tokenizer.encode(texts, max_tokens)
        device = self.backbone.head_bias.device
        ids, num = torch.from_numpy(token_ids).to(device), torch.from_numpy(lengths).to(device)
        states, cache = self.backbone.encode(ids, num)
        embeddings = self.backbone.pool(states, num).cpu().numpy()
        return Reading(embeddings, StudentPrompt(self.backbone, cache, num, self.backbone.last_state(states, num)))

    def batches(
        self,
        texts: Sequence[str],
        max_tokens: int,
        batch_size: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[tuple[IntArray, Reading]]:
        """Read many texts in batches of similar length; yields (rows, their reading). bfloat16 where fast."""
        order = np.argsort([len(text) for text in texts], kind="stable")
        device = self.backbone.head_bias.device
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            with autocast(device):
                yield rows, self.read([texts[row] for row in rows], max_tokens)
            if progress:
                progress(start + len(rows), len(order))

    def embed(
        self,
        texts: Sequence[str],
        max_tokens: int,
        batch_size: int = 128,
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Return unit embeddings (N, D) of texts."""
        embeddings = np.empty((len(texts), self.dimension), dtype=np.float32)
        for rows, reading in self.batches(texts, max_tokens, batch_size, progress):
            embeddings[rows] = reading.embeddings
        return embeddings

    def decoder(self, trie: Trie) -> "IntentionDecoder":
        """Return a decoder of the trie's intentions with this student."""
        return IntentionDecoder(self, trie)

    def save(self, directory: Path) -> None:
        """Write config.json, tokenizer.json and model.safetensors into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(json.dumps(asdict(self.backbone.config), indent=1), encoding="utf-8")
        (directory / "tokenizer.json").write_text(self.tokenizer.definition, encoding="utf-8")
        # Not by `save_file`, which makes files that only their owner may read.
        (directory / "model.safetensors").write_bytes(save(self.backbone.state_dict()))

    @classmethod
    def load(cls, directory: Path) -> "Student":
        """Load what `save` wrote; raise `ArtifactError` naming the file that does not fit."""
        path = directory / "model.safetensors"
        backbone = fill(Backbone(read_config(directory / "config.json")), read_weights(path), path)
        tokenizer = StudentTokenizer.load(directory / "tokenizer.json")
        try:
            return cls(backbone, tokenizer)
        except ArtifactError as error:
            raise ArtifactError(f"{directory}: {error}") from error


class StudentPrompt:
    """B texts that the student has read, to be led on beam by beam (the `Prompt` of `intently.intentions.decode`)."""

    def __init__(self, backbone: Backbone, source: LayerCache, lengths: Tensor, last: Tensor) -> None:
        self._backbone, self._source, self._lengths, self._last = backbone, source, lengths, last
        self._suffix: LayerCache = []

    @torch.inference_mode()
    def first(self) -> Tensor:
        """Return the states (B, D) that predict the first token."""
        return self._backbone.head(self._last)

    @torch.inference_mode()
    def advance(self, parents: IntArray, tokens: IntArray) -> Tensor:
        """Give beam w of prompt b the token `tokens[b, w]` after its `parents[b, w]`; return states (B, W, D)."""
        device = self._lengths.device
        chosen = torch.from_numpy(parents).to(device)
        prompt = torch.arange(chosen.shape[0], device=device)[:, None]
        suffix = [(key[prompt, chosen], value[prompt, chosen]) for key, value in self._suffix]
        states, self._suffix = self._backbone.decode_step(
            self._source, self._lengths, suffix, torch.from_numpy(tokens).to(device)
        )
        return self._backbone.head(states)


class IntentionDecoder:
    """Decodes readings into intentions: the student's output rows, bound to a trie."""

    def __init__(self, student: Student, trie: Trie) -> None:
        self._backbone = student.backbone
        self._decoder = ConstrainedDecoder(trie, self, student.tokenizer.sep_id)

    def decode(self, reading: Reading, num_beams: int, temperature: float = 1.0) -> list[Decoded]:
        """Return each text's `num_beams` most probable intentions."""
        return self._decoder.decode(reading.prompt, num_beams, temperature)

    @torch.inference_mode()
    def pack(self, tokens: IntArray) -> tuple[Tensor, Tensor]:
        """Return the output rows (A, D) and biases (A,) of tokens."""
        at = torch.from_numpy(tokens).to(self._backbone.head_bias.device)
        return self._backbone.word_embeddings.weight[at], self._backbone.head_bias[at]

    @torch.inference_mode()
    def score_packed(self, states: Tensor, packed: object) -> FloatArray:
        """Return the scores (B, A) of packed tokens."""
        assert isinstance(packed, tuple)
        weight, bias = packed
        return F.linear(states.float(), weight, bias).double().cpu().numpy()

    @torch.inference_mode()
    def score(self, states: Tensor, rows: IntArray, tokens: IntArray) -> FloatArray:
        """Return the scores (E,) of tokens, each for its state's row."""
        weight, bias = self.pack(tokens)
        of_rows = states.float()[torch.from_numpy(rows).to(weight.device)]
        return ((of_rows * weight).sum(dim=1) + bias).double().cpu().numpy()
