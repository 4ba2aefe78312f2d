"""What every training loop here does alike: optimisers, the learning rate over time, and checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn


def learning_rate_factor(step: int, num_steps: int, warmup_share: float) -> float:
    """Return the learning rate's factor: linear warm-up, then linear decay to 0."""
    warmup = max(1, round(num_steps * warmup_share))
    return min((step + 1) / warmup, (num_steps - step) / max(num_steps - warmup, 1))


def set_learning_rate(optimizers: Sequence[torch.optim.Optimizer], rate: float) -> None:
    """Make `rate` the learning rate of all parameters."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def dense_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the trained parameters whose gradients are dense: all but embeddings that were made `sparse`."""
    sparse = {id(parameter) for parameter in _sparse_parameters(model)}
    return [one for one in model.parameters() if one.requires_grad and id(one) not in sparse]


def build_optimizers(model: nn.Module, learning_rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Return AdamW for the dense parameters, and the Adam that updates only the rows a step touched for sparse ones.

    Vectors (biases, norms) do not decay.
    """
    dense, sparse = dense_parameters(model), _sparse_parameters(model)
    groups = [
        {"params": [p for p in dense if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in dense if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=learning_rate, fused=True)]
    if sparse:
        optimizers.append(torch.optim.SparseAdam(sparse, lr=learning_rate))
    return optimizers


def store_checkpoint(
    path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], progress: dict[str, Any]
) -> None:
    """Write weights, optimizers and `progress` (plain values and tensors) to one file, whole or not at all."""
    temporary = path.with_suffix(".partial")
    states = [optimizer.state_dict() for optimizer in optimizers]
    torch.save({"model": model.state_dict(), "optimizers": states, "progress": progress}, temporary)
    temporary.replace(path)


def restore_checkpoint(
    path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Any] | None:
    """Fill model and optimizers from a checkpoint and return its `progress`; None, and nothing done, without a file."""
    if not path.exists():
        return None
    stored = torch.load(path, weights_only=True, map_location=next(model.parameters()).device)
    model.load_state_dict(stored["model"])
    for optimizer, state in zip(optimizers, stored["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    progress: dict[str, Any] = stored["progress"]
    return progress


def _sparse_parameters(model: nn.Module) -> list[nn.Parameter]:
    tables = (module for module in model.modules() if isinstance(module, nn.Embedding) and module.sparse)
    return [parameter for table in tables for parameter in table.parameters() if parameter.requires_grad]
