"""Fine-tuning a language model: knowledge first, then the format (RARE, "customized LLM").

Both stages minimise the same loss, the negative log-probability of the answers' tokens given the prompt. A prompt may
have several answers (all the intentions of a query): they lie side by side behind it as branches that do not see each
other, so the prompt is read once for all of them. What is trained is LoRA's matrices beside every linear layer, or all
weights.

Everything random in an epoch is drawn from (seed, epoch), so a run that was interrupted resumes to the same model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from intently.build.training.optimization import load_checkpoint
from intently.errors import InputError
from intently.files import sealed_write
from intently.models.causal_lm import CausalLM, LayerStack
from intently.settings import check_choice, check_range
from intently.types import Progress

_POOL = 16  # batches that are put in order of length together
_MAX_HELD_OUT = 256
_PAD_TO = 16  # few distinct lengths: oneDNN keeps memory for each it has seen, 12 GB for all of them


class Method(StrEnum):
    """What is trained."""

    LORA = "lora"
    FULL = "full"


@dataclass(frozen=True)
class FineTuningSettings:
    """How a language model is fine-tuned in one stage."""

    method: Method = Method.LORA  # low-rank adapters, or all weights
    rank: int = 16  # of the adapters
    alpha: int = 32  # the adapters are scaled by alpha / rank
    learning_rate: float = 4e-4  # at its highest
    batch_size: int = 16  # examples a step
    num_epochs: int = 1  # passes over the examples
    max_steps: int = 1_000  # at most
    max_prompt_tokens: int = 128  # a longer prompt loses its beginning
    max_answer_tokens: int = 96  # a longer answer is cut
    warmup_share: float = 0.05  # of all steps, over which the learning rate rises
    held_out_share: float = 0.03  # of the examples, to measure the loss by
    eval_steps: int = 50  # between two looks at the held-out loss; a checkpoint is written there
    patience: int = 3  # looks without a better held-out loss before training ends
    seed: int = 0  # of the order, the held-out examples and the adapters

    def __post_init__(self) -> None:
        check_choice(self, "method", Method)
        check_range(self, "rank", "alpha", "batch_size", "num_epochs", "max_steps", "eval_steps", low=1)
        check_range(self, "max_prompt_tokens", "max_answer_tokens", "patience", low=1)
        check_range(self, "learning_rate", exclusive=True)
        check_range(self, "warmup_share", high=1)
        check_range(self, "held_out_share", high=0.5)
        check_range(self, "seed", high=2**32 - 1)


@dataclass(frozen=True)
class Example:
    """A prompt and the answers it should get, as token ids; the token that ends an answer is not among them."""

    prompt: list[int]
    answers: tuple[list[int], ...]


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned language model, and how its loss went: (step, training loss, held-out loss)."""

    lm: CausalLM
    num_steps: int
    history: tuple[tuple[int, float, float], ...]
    stopped_early: bool


@dataclass
class _State:
    """Where a training stands; what a checkpoint holds beside weights and optimizer."""

    step: int = 0
    loss: float = math.nan
    best: float = math.inf
    looks_since_best: int = 0
    history: list[tuple[int, float, float]] = field(default_factory=list)


def fine_tune(
    lm: CausalLM,
    examples: Sequence[Example],
    settings: FineTuningSettings,
    *,
    checkpoint: Path,
    progress: Progress | None = None,
) -> FineTuned:
    """Return a model trained on `examples`, from where `checkpoint` stands or the start; `lm` itself may be used up.

    Training ends after `num_epochs` or `max_steps`, or when the held-out loss stops falling; the weights are those that
    had the lowest. Raises `InputError` for examples without prompt or answers.
    """
    for position, example in enumerate(examples):
        if not example.prompt or not example.answers or not all(example.answers):
            raise InputError(f"example {position + 1} lacks a prompt or an answer", cure="leave it out")
    if not examples:
        raise InputError("there are no examples to learn from", cure="give at least one")
    training, held_out = _split(examples, settings)
    num_steps = min(settings.max_steps, math.ceil(len(training) / settings.batch_size) * settings.num_epochs)
    torch.manual_seed(settings.seed)  # LoRA's first matrices are random
    wrapped = None
    if settings.method is Method.LORA:
        from peft import LoraConfig, get_peft_model  # of the extra that brings the language model

        config = LoraConfig(
            r=settings.rank, lora_alpha=settings.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        wrapped = get_peft_model(lm.model, config)
    model = lm.model
    trained = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad or settings.method is Method.FULL
    }
    for parameter in trained.values():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained.values(), lr=settings.learning_rate, weight_decay=0.0)
    state, best = _restore(checkpoint, trained, optimizer)
    layers = LayerStack(model)
    stopped = state.looks_since_best >= settings.patience
    while state.step < num_steps and not stopped:
        batch = [training[row] for row in _rows(len(training), training, state.step, settings)]
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(state.step, num_steps, settings.warmup_share)
        loss = _loss(lm, layers, batch, settings)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        state.step += 1
        now = loss.item()
        if not math.isfinite(now):
            raise FloatingPointError(f"the loss is not finite at step {state.step}: {now}")
        state.loss = now if math.isnan(state.loss) else 0.95 * state.loss + 0.05 * now
        if state.step % settings.eval_steps == 0 or state.step == num_steps:
            held_out_loss = _evaluate(lm, layers, held_out, settings)
            state.history.append((state.step, state.loss, held_out_loss))
            if held_out_loss < state.best or not held_out:
                state.best, state.looks_since_best = held_out_loss, 0
                best = {name: parameter.detach().clone() for name, parameter in trained.items()}
            else:
                state.looks_since_best += 1
            stopped = state.looks_since_best >= settings.patience
            _store(checkpoint, trained, optimizer, state, best)
        if progress:
            progress("Fine-tuning", state.step, num_steps, f"loss {state.loss:.2f}")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(best[name])
            parameter.requires_grad_(False)
    plain: Any = wrapped.merge_and_unload() if wrapped is not None else model
    tuned = CausalLM.of(plain, lm.tokenizer, system=lm.system)
    return FineTuned(tuned, state.step, tuple(state.history), stopped)


def _loss(lm: CausalLM, layers: LayerStack, batch: Sequence[Example], settings: FineTuningSettings) -> Tensor:
    """Return the mean negative log-probability of the answers' tokens, their ends included."""
    token_ids, places, branch, states_at, targets = _collate(lm, batch, settings)
    device = lm.model.device
    branch, places = branch.to(device), places.to(device)
    order = torch.arange(branch.shape[1], device=device)
    same = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
    visible = same & (branch[:, None, :] >= 0) & (order[None, None, :] <= order[None, :, None])
    visible |= torch.eye(len(order), dtype=torch.bool, device=device)  # what is padding sees itself
    states = layers.run(token_ids.to(device), places, visible, places)
    spoken = states.flatten(0, 1)[states_at.to(device)]
    return F.cross_entropy(lm.scores(spoken), targets.to(device))


def _collate(
    lm: CausalLM, batch: Sequence[Example], settings: FineTuningSettings
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Lay every example out as one row: its prompt (branch 0), then its answers (branches 1, 2, …); -1 is padding.

    Returns tokens, places in the text and branches, each (B, P); then which of the B · P states predict, and what (N,).
    """
    rows = []
    for example in batch:
        prompt = example.prompt[-settings.max_prompt_tokens :]
        tokens, places, branch = list(prompt), list(range(len(prompt))), [0] * len(prompt)
        states_at, targets = [], []
        for number, answer in enumerate(example.answers, start=1):
            cut = answer[: settings.max_answer_tokens]
            said = [*answer, lm.end_id][: settings.max_answer_tokens + 1]  # an answer that was cut does not end there
            states_at += [len(prompt) - 1, *range(len(tokens), len(tokens) + len(cut))]
            targets += said
            tokens += cut
            places += range(len(prompt), len(prompt) + len(cut))
            branch += [number] * len(cut)
        rows.append((tokens, places, branch, states_at, targets))
    longest = -(-max(len(row[0]) for row in rows) // _PAD_TO) * _PAD_TO

    def padded(column: int, filler: int) -> Tensor:
        return torch.tensor([row[column] + [filler] * (longest - len(row[column])) for row in rows])

    states_at = [at + number * longest for number, row in enumerate(rows) for at in row[3]]
    targets = [token for row in rows for token in row[4]]
    return padded(0, 0), padded(1, 0), padded(2, -1), torch.tensor(states_at), torch.tensor(targets)


@torch.no_grad()
def _evaluate(lm: CausalLM, layers: LayerStack, held_out: Sequence[Example], settings: FineTuningSettings) -> float:
    """Return the mean loss of the held-out examples, NaN if there are none."""
    size = settings.batch_size
    losses = [
        _loss(lm, layers, held_out[start : start + size], settings).item() for start in range(0, len(held_out), size)
    ]
    return float(np.mean(losses)) if losses else math.nan


def _split(examples: Sequence[Example], settings: FineTuningSettings) -> tuple[list[Example], list[Example]]:
    """Return training and held-out examples; the latter in order of length, so that they are read without padding."""
    order = np.random.default_rng((settings.seed, 0)).permutation(len(examples))
    num_held_out = min(round(settings.held_out_share * len(examples)), _MAX_HELD_OUT)
    held_out = sorted((examples[row] for row in order[:num_held_out]), key=_length)
    return [examples[row] for row in order[num_held_out:]], held_out


def _length(example: Example) -> int:
    return len(example.prompt) + sum(map(len, example.answers))


def _rows(num: int, training: Sequence[Example], step: int, settings: FineTuningSettings) -> list[int]:
    """Return the rows of batch `step`: without replacement within an epoch, of similar length within a batch."""
    per_epoch = math.ceil(num / settings.batch_size)
    epoch, position = divmod(step, per_epoch)
    rng = np.random.default_rng((settings.seed, 1, epoch))
    order, size = rng.permutation(num), settings.batch_size * _POOL
    pools = [
        sorted(order[at : at + size].tolist(), key=lambda row: _length(training[row])) for at in range(0, num, size)
    ]
    batches = [pool[at : at + settings.batch_size] for pool in pools for at in range(0, len(pool), settings.batch_size)]
    return batches[rng.permutation(len(batches))[position]]


def _schedule(step: int, num_steps: int, warmup_share: float) -> float:
    """Return the learning rate's factor: linear warm-up, then linear decay to a tenth."""
    warmup = max(1, round(num_steps * warmup_share))
    return min((step + 1) / warmup, 0.1 + 0.9 * (num_steps - step) / max(num_steps - warmup, 1))


def _store(
    path: Path, trained: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, state: _State, best: Any
) -> None:
    weights = {name: parameter.detach() for name, parameter in trained.items()}
    with sealed_write(path) as file:
        torch.save({"state": vars(state), "weights": weights, "optimizer": optimizer.state_dict(), "best": best}, file)


def _restore(
    path: Path, trained: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
) -> tuple[_State, dict[str, Tensor]]:
    stored = load_checkpoint(path, next(iter(trained.values())).device)
    if stored is None:
        return _State(), {name: parameter.detach().clone() for name, parameter in trained.items()}
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(stored["weights"][name])
    optimizer.load_state_dict(stored["optimizer"])
    return _State(**stored["state"]), stored["best"]
