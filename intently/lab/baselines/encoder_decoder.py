"""A true encoder-decoder: two BERT stacks with cross-attention between them, both started from the same encoder.

What a T5 is to this comparison, at the size of the student's start: the query's stack reads bidirectionally, the
keyword's is causal and attends to it. Cross-attention is new; the head starts near the identity, as the student's does.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # all weights are on disk

import numpy as np
import torch
from torch import Tensor
from transformers import BertConfig, EncoderDecoderConfig, EncoderDecoderModel, GenerationConfig

from intently.arrays import IntArray
from intently.build.training.optimization import load_checkpoint
from intently.files import sealed_write
from intently.lab.baselines.task import Budget
from intently.models.device import autocast
from intently.models.pretrained import Checkpoint
from intently.models.tokenizer import StudentTokenizer
from intently.types import Progress

Model = Any  # an `EncoderDecoderModel`, whose parts are of whatever type it was configured with
_IGNORED = -100  # what PyTorch's cross-entropy takes as no target


def build(budget: Budget, begun: Checkpoint) -> Model:
    """Return the model at its start, knowing the tokenizer's tokens."""
    # As the student; a few epochs.
    without: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tokenizer, weights = begun.tokenizer, begun.weights()
    sizes: dict[str, Any] = {**vars(begun.config), "pad_token_id": tokenizer.pad_id}
    reads = BertConfig(**sizes, **without)
    writes = BertConfig(**sizes, **without, is_decoder=True, add_cross_attention=True)
    with torch.random.fork_rng():
        torch.manual_seed(budget.seed)
        model: Model = EncoderDecoderModel(EncoderDecoderConfig.from_encoder_decoder_configs(reads, writes))
        for stack in (model.encoder, model.decoder.bert):
            stack.load_state_dict(weights, strict=False)
        for stack in (model.encoder, model.decoder):
            stack.resize_token_embeddings(tokenizer.vocab_size)
    head = model.decoder.cls.predictions.transform.dense
    torch.nn.init.eye_(head.weight)
    torch.nn.init.zeros_(head.bias)
    model.config.decoder_start_token_id = tokenizer.cls_id
    model.config.pad_token_id = tokenizer.pad_id
    model.to(torch.device(budget.device))
    return model


def fit(
    model: Model,
    tokenizer: StudentTokenizer,
    batches: Iterator[tuple[int, list[str], list[list[int]]]],
    budget: Budget,
    checkpoint: Path,
    progress: Progress,
) -> None:
    """Train on batches of (step, texts, token sequences to say) from where `checkpoint` stands, in place.

    `batches` yields every step from 0; those that were taken before are passed over.
    """
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=budget.learning_rate, weight_decay=0.01)
    first = 0
    if (stored := load_checkpoint(checkpoint, model.device)) is not None:
        model.load_state_dict(stored["model"])
        optimizer.load_state_dict(stored["optimizer"])
        first = int(stored["step"])
    device = model.device
    warmup = max(1, round(0.06 * budget.num_steps))
    model.train()
    for step, texts, targets in batches:
        if step < first:
            continue
        rate = min((step + 1) / warmup, (budget.num_steps - step) / max(budget.num_steps - warmup, 1))
        optimizer.param_groups[0]["lr"] = budget.learning_rate * rate
        ids, visible = read(tokenizer, texts, budget.max_ad_tokens, device)
        labels = torch.full((len(targets), max(map(len, targets)) + 1), _IGNORED)
        for row, tokens in enumerate(targets):
            labels[row, : len(tokens) + 1] = torch.tensor([*tokens, tokenizer.sep_id])
        said = torch.cat((torch.full((len(targets), 1), tokenizer.cls_id), labels[:, :-1]), dim=1)
        with autocast(device):
            logits = model(
                input_ids=ids,
                attention_mask=visible,
                decoder_input_ids=said.masked_fill(said == _IGNORED, tokenizer.pad_id).to(device),
            ).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten().to(device))
        if not bool(torch.isfinite(loss)):
            raise FloatingPointError(f"the loss is not finite at step {step}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if (step + 1) % budget.checkpoint_steps == 0 or step + 1 == budget.num_steps:
            save(checkpoint, model, optimizer, step + 1)
        progress("Training", step + 1, budget.num_steps, f"keyword {loss.item():.2f}")
    model.eval()


def save(path: Path, model: Model, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write where a training stands, whole or not at all."""
    with sealed_write(path) as file:
        torch.save({"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)


def read(
    tokenizer: StudentTokenizer, texts: Sequence[str], max_tokens: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return token ids (B, S) and which of them are not padding (B, S)."""
    ids, lengths = tokenizer.encode(texts, max_tokens)
    return torch.from_numpy(ids).to(device), torch.from_numpy(np.arange(ids.shape[1]) < lengths[:, None]).to(device)


@torch.inference_mode()
def generate(
    model: Model, tokenizer: StudentTokenizer, texts: Sequence[str], num_beams: int, budget: Budget
) -> list[list[tuple[tuple[int, ...], float]]]:
    """Return for each text up to `num_beams` (token sequence, log-probability), the best first, no constraint on them.

    Those that came to no end within 12 tokens are left out.
    """
    ids, visible = read(tokenizer, texts, budget.max_query_tokens, model.device)
    settings = GenerationConfig(
        num_beams=num_beams,
        num_return_sequences=num_beams,
        max_new_tokens=12,
        length_penalty=0.0 if num_beams > 1 else None,  # scores are log-probabilities as they are
        early_stopping=False,
        do_sample=False,
        decoder_start_token_id=tokenizer.cls_id,
        bos_token_id=tokenizer.cls_id,
        eos_token_id=tokenizer.sep_id,
        pad_token_id=tokenizer.pad_id,
        output_scores=True,  # without them beams have no scores either
        return_dict_in_generate=True,
    )
    found: Any = model.generate(input_ids=ids, attention_mask=visible, generation_config=settings)
    if num_beams == 1:
        scores = model.compute_transition_scores(found.sequences, found.scores, normalize_logits=True)
        log_probs = scores.masked_fill(torch.isinf(scores), 0.0).sum(dim=1)
    else:
        log_probs = found.sequences_scores
    answers: list[list[tuple[tuple[int, ...], float]]] = [[] for _ in texts]
    sequences: IntArray = found.sequences[:, 1:].cpu().numpy()
    for row, (tokens, log_prob) in enumerate(zip(sequences.tolist(), log_probs.tolist(), strict=True)):
        if tokenizer.sep_id in tokens:
            answers[row // num_beams].append((tuple(tokens[: tokens.index(tokenizer.sep_id)]), log_prob))
    return answers
