"""Optimizers, learning rate and checkpoints that all training loops share."""

import pytest
import torch
from torch import nn

from intently.build.training.optimization import (
    WeightAverage,
    build_optimizers,
    dense_parameters,
    learning_rate_factor,
    restore_checkpoint,
    set_learning_rate,
    store_checkpoint,
)


class Words(nn.Module):
    def __init__(self, sparse: bool, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.words = nn.Embedding(5, 4, sparse=sparse)
            self.frozen = nn.Embedding(5, 4).requires_grad_(False)
            self.out = nn.Linear(4, 1)

    def learn(self, optimizers) -> None:
        self.zero_grad()
        self.out(self.words(torch.tensor([1, 3]))).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()


def test_the_learning_rate_rises_then_falls_to_nothing():
    factors = [learning_rate_factor(step, 10, 0.2) for step in range(11)]
    assert factors == pytest.approx([0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0])
    assert learning_rate_factor(0, 10, 0) == 1


@pytest.mark.parametrize("sparse", [True, False])
def test_every_trained_parameter_has_one_optimizer(sparse):
    model = Words(sparse)
    optimizers = build_optimizers(model, 0.1, 0.5)
    assert [type(one).__name__ for one in optimizers] == ["AdamW", "SparseAdam"][: 1 + sparse]
    held = [p for one in optimizers for group in one.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in (model.words.weight, model.out.weight, model.out.bias)}
    assert len(held) == 3
    sparse_ids = {id(model.words.weight)} if sparse else set()
    assert {id(p) for p in dense_parameters(model)} == {id(p) for p in held} - sparse_ids
    assert [group["weight_decay"] for group in optimizers[0].param_groups] == [0.5, 0.0]
    set_learning_rate(optimizers, 0.3)
    assert all(group["lr"] == 0.3 for one in optimizers for group in one.param_groups)
    before = model.words.weight.detach().clone()
    model.learn(optimizers)
    changed = (before != model.words.weight).any(dim=1).tolist()
    assert changed == ([False, True, False, True, False] if sparse else [True] * 5)  # dense rows decay


def test_new_parts_learn_faster():
    model = Words(True)
    optimizers = build_optimizers(model, 0.1, 0.5, list(model.out.parameters()), 20.0)
    rates = {id(p): group["lr"] for one in optimizers for group in one.param_groups for p in group["params"]}
    assert rates == {id(model.words.weight): 0.1, id(model.out.weight): 2.0, id(model.out.bias): 2.0}
    set_learning_rate(optimizers, 0.3)
    rates = {id(p): group["lr"] for one in optimizers for group in one.param_groups for p in group["params"]}
    assert rates == pytest.approx({id(model.words.weight): 0.3, id(model.out.weight): 6.0, id(model.out.bias): 6.0})
    decays = {id(p): group["weight_decay"] for group in optimizers[0].param_groups for p in group["params"]}
    assert decays == {id(model.out.weight): 0.5, id(model.out.bias): 0.0}
    other = build_optimizers(model, 0.1, 0.5, list(model.out.parameters()), 20.0)
    for one, kept in zip(other, optimizers, strict=True):
        one.load_state_dict(kept.state_dict())
    set_learning_rate(other, 0.1)
    assert sorted({group["lr"] for one in other for group in one.param_groups}) == [0.1, 2.0]


@pytest.mark.parametrize("sparse", [True, False])
def test_the_average_is_the_mean_of_what_was_taken_in(sparse):
    model, average, seen = Words(sparse), WeightAverage(), []
    average.fill(model)  # nothing yet
    frozen = model.frozen.weight.clone()
    optimizers = build_optimizers(model, 0.1, 0.0)
    for _ in range(4):
        model.learn(optimizers)
        average.add(model)
        seen.append({name: value.detach().clone() for name, value in model.named_parameters()})
    average.fill(model)
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.detach(), torch.stack([each[name] for each in seen]).mean(dim=0))
    assert torch.equal(model.frozen.weight, frozen)
    assert "frozen.weight" not in average.means


def test_a_checkpoint_is_taken_up_where_it_was_left(tmp_path):
    path = tmp_path / "c.pt"
    model, other = Words(True), Words(True, seed=1)
    mine, theirs = build_optimizers(model, 0.1, 0.0), build_optimizers(other, 0.1, 0.0)
    assert restore_checkpoint(path, other, theirs) is None
    model.learn(mine)
    store_checkpoint(path, model, mine, {"step": 1, "kept": torch.ones(2), "names": ["点击"]})
    assert [file.name for file in tmp_path.iterdir()] == ["c.pt"]
    restored = restore_checkpoint(path, other, theirs)
    assert restored is not None
    assert (restored["step"], restored["kept"].tolist(), restored["names"]) == (1, [1, 1], ["点击"])
    model.learn(mine)
    other.learn(theirs)
    for one, two in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two)
