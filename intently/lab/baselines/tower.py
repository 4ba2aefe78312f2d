"""What the dense baselines read texts with: a pretrained encoder and its tokenizer as one module.

BERT-style checkpoints are read by the project's own compact backbone, all others through Hugging Face.

Shape letters: B batch, S source length, D hidden size, N texts.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intently.arrays import Float32Array, IntArray
from intently.build.training.reading import length_groups
from intently.lab.baselines.generative import start
from intently.lab.baselines.task import Budget, Task
from intently.models.device import autocast
from intently.models.encoder.backbone import CompactBackbone, TextBackbone, TextTokenizer
from intently.models.encoder.hugging_face import HuggingFaceBackbone
from intently.models.pretrained import checkpoint_path
from intently.models.tokenizer import TextKind
from intently.text.normalize import has_han

_BATCH = 96  # texts embedded at once


class Tower(nn.Module):
    """Reads texts: states of all tokens, or their mean of unit length as the text's embedding."""

    def __init__(self, backbone: TextBackbone, tokenizer: TextTokenizer) -> None:
        super().__init__()
        self.backbone, self.tokenizer = backbone, tokenizer
        self.hidden_size = backbone.hidden_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def read(self, token_ids: IntArray, lengths: IntArray) -> tuple[Tensor, Tensor]:
        """Return the states (B, S, D) of token ids (B, S), and which are no padding (B, S); those of padding are 0."""
        device, groups = self.device, length_groups(lengths)
        num_positions, states = token_ids.shape[1], []
        for group in groups:
            longest = int(lengths[group].max())
            ids, num = torch.from_numpy(token_ids[group, :longest]), torch.from_numpy(lengths[group])
            with autocast(device):
                read = self.backbone.layer_states(ids.to(device), num.to(device))[-1]
            states.append(F.pad(read.float(), (0, 0, 0, num_positions - longest)))
        back = torch.from_numpy(np.argsort(np.concatenate(groups))).to(device)
        visible = torch.from_numpy(np.arange(num_positions) < lengths[:, None]).to(device)
        return torch.cat(states)[back] * visible[..., None], visible

    def forward(self, texts: Sequence[str], max_tokens: int, kind: TextKind = TextKind.QUERY) -> Tensor:
        """Return unit embeddings (B, D): the mean of each text's states, longer texts being cut at `max_tokens`."""
        return F.normalize(self.read(*self.tokenizer.encode(texts, max_tokens, kind))[0].sum(dim=1), dim=1)

    @torch.inference_mode()
    def embed(
        self,
        texts: Sequence[str],
        max_tokens: int,
        kind: TextKind = TextKind.QUERY,
        progress: Callable[[int, int], None] | None = None,
    ) -> Float32Array:
        """Return unit embeddings (N, D) of many texts."""
        embeddings = np.empty((len(texts), self.hidden_size), dtype=np.float32)
        order = np.argsort([len(text) for text in texts], kind="stable")
        for first in range(0, len(order), _BATCH):
            rows = order[first : first + _BATCH]
            embeddings[rows] = self([texts[row] for row in rows], max_tokens, kind).cpu().numpy()
            if progress:
                progress(first + len(rows), len(order))
        return embeddings


def load_tower(task: Task, budget: Budget, num_layers: int | None = None) -> Tower:
    """Return the encoder of `budget.checkpoint` as training starts from it, knowing the task's Chinese characters.

    Of a BERT-style one only the first `num_layers` are kept, if given (all, if it has no more).
    """
    directory = checkpoint_path(budget.checkpoint)
    config = directory / "config.json"
    kind = json.loads(config.read_text(encoding="utf-8")).get("model_type", "bert") if config.is_file() else "bert"
    if kind != "bert":
        return _hugging_face(directory, task, budget)
    backbone, tokenizer = start(task, budget)
    backbone.layers = backbone.layers[:num_layers]
    return Tower(CompactBackbone(backbone), tokenizer)


def _hugging_face(directory: Path, task: Task, budget: Budget) -> Tower:
    backbone, tokenizer = HuggingFaceBackbone.load(str(directory), device=budget.device)
    known = tokenizer.tokenizer.get_vocab()
    characters = {char for text in (*task.ad_texts, *task.queries) for char in text if has_han(char)}
    if added := sorted(characters - known.keys()):
        tokenizer.tokenizer.add_tokens(added)
        with torch.random.fork_rng():
            torch.manual_seed(budget.seed)
            backbone.model.resize_token_embeddings(len(tokenizer.tokenizer))
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # as the others train; a few epochs
    return Tower(backbone, tokenizer)
