"""What every training loop here does alike: optimizers, the learning rate over time, averages, and checkpoints."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from intently.errors import ArtifactError
from intently.files import read_sealed, sealed_write, set_aside

_SPEED = "speed"  # of a group of parameters: by what its learning rate is multiplied


def learning_rate_factor(step: int, num_steps: int, warmup_share: float) -> float:
    """Return the learning rate's factor: linear warm-up, then linear decay to 0."""
    warmup = max(1, round(num_steps * warmup_share))
    return min((step + 1) / warmup, (num_steps - step) / max(num_steps - warmup, 1))


def set_learning_rate(optimizers: Sequence[torch.optim.Optimizer], rate: float) -> None:
    """Make `rate` the learning rate of all parameters, a multiple of it that of those that learn faster."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get(_SPEED, 1.0)


def dense_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the trained parameters whose gradients are dense: all but embeddings that were made `sparse`."""
    sparse = {id(parameter) for parameter in _sparse_parameters(model)}
    return [one for one in model.parameters() if one.requires_grad and id(one) not in sparse]


def build_optimizers(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    fast: Collection[nn.Parameter] = (),
    speed: float = 1.0,
) -> list[torch.optim.Optimizer]:
    """Return AdamW for the dense parameters, and the Adam that updates only the rows a step touched for sparse ones.

    Vectors (biases, norms) and scalars do not decay. `fast` dense parameters have `speed` times the learning rate.
    """
    dense, sparse = dense_parameters(model), _sparse_parameters(model)
    faster = {id(parameter) for parameter in fast}
    groups: list[dict[str, Any]] = [
        {
            "params": [p for p in dense if (p.ndim > 1) == decays and (id(p) in faster) == is_fast],
            "weight_decay": weight_decay if decays else 0.0,
            **({"lr": learning_rate * speed, _SPEED: speed} if is_fast else {}),
        }
        for is_fast in ((False, True) if faster else (False,))
        for decays in (True, False)
    ]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=learning_rate, fused=True)]
    if sparse:
        optimizers.append(torch.optim.SparseAdam(sparse, lr=learning_rate))
    return optimizers


class WeightAverage:
    """The running mean of a model's trained weights over some steps (stochastic weight averaging, Izmailov 2018)."""

    def __init__(self) -> None:
        self.num_steps = 0
        self.means: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        """Take in the weights as they are now. Cost: a copy of them the first time, one pass over them each time."""
        self.num_steps += 1
        for name, value in _trained(model):
            if name in self.means:
                self.means[name].lerp_(value, 1 / self.num_steps)
            else:
                self.means[name] = value.clone()

    @torch.no_grad()
    def fill(self, model: nn.Module) -> None:
        """Give the model the mean, if there is one."""
        for name, value in _trained(model) if self.num_steps else ():
            value.copy_(self.means[name])


def _trained(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, value.detach()) for name, value in model.named_parameters() if value.requires_grad]


def store_checkpoint(
    path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], progress: dict[str, Any]
) -> None:
    """Write weights, optimizers and `progress` (plain values and tensors) to one file, whole or not at all."""
    states = [optimizer.state_dict() for optimizer in optimizers]
    with sealed_write(path) as file:
        torch.save({"model": model.state_dict(), "optimizers": states, "progress": progress}, file)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """Return what a sealed checkpoint holds, its tensors on `device`, or None without one.

    One that is torn or altered is set aside, with a warning, as if there were none.
    """
    try:
        content = read_sealed(path)
    except FileNotFoundError:
        return None
    except ArtifactError as error:
        set_aside(path, str(error))
        return None
    stored: dict[str, Any] = torch.load(content, weights_only=True, map_location=device)
    return stored


def restore_checkpoint(
    path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Any] | None:
    """Fill model and optimizers from a checkpoint and return its `progress`; None without a whole one."""
    stored = load_checkpoint(path, next(model.parameters()).device)
    return None if stored is None else fill_from(stored, model, optimizers)


def fill_from(stored: dict[str, Any], model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Any]:
    """Fill model and optimizers from what `store_checkpoint` wrote, and return its `progress`."""
    model.load_state_dict(stored["model"])
    for optimizer, state in zip(optimizers, stored["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    progress: dict[str, Any] = stored["progress"]
    return progress


def _sparse_parameters(model: nn.Module) -> list[nn.Parameter]:
    tables = (module for module in model.modules() if isinstance(module, nn.Embedding) and module.sparse)
    return [parameter for table in tables for parameter in table.parameters() if parameter.requires_grad]
