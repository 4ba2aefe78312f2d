"""Fine-tuning tiny language models: the loss against a plain forward, and what a training leaves behind."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("peft")

from intently.build.training.language_model import (
    Example,
    FineTuningSettings,
    Method,
    _evaluate,
    _loss,
    _rows,
    _split,
    fine_tune,
)
from intently.errors import InputError, SettingsError
from intently.models.causal_lm import LayerStack
from intently.models.free_beams import FreeBeamSettings, free_beam_search
from tests.conftest import FAMILIES

# PEFT 0.21 asks transformers 5.23 a question under its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

LONG = FineTuningSettings()  # which cuts nothing here
QUICK = FineTuningSettings(
    rank=4, alpha=8, learning_rate=1e-2, batch_size=4, num_epochs=3, held_out_share=0.2, eval_steps=4, patience=100
)


def random_examples(num: int, seed: int = 0, high: int = 40) -> list[Example]:
    rng = np.random.default_rng(seed)

    def tokens(longest: int) -> list[int]:
        return [int(token) for token in rng.integers(3, high, size=rng.integers(1, longest + 1))]

    return [Example(tokens(12), tuple(tokens(5) for _ in range(rng.integers(1, 5)))) for _ in range(num)]


def plain_loss(lm, batch, chosen) -> torch.Tensor:
    """The slow twin: every answer is read alone behind its prompt, by the model's own forward."""
    losses = []
    for example in batch:
        prompt = example.prompt[-chosen.max_prompt_tokens :]
        for answer in example.answers:
            wanted = [*answer, lm.end_id][: chosen.max_answer_tokens + 1]
            said = answer[: chosen.max_answer_tokens]
            logits = lm.model(torch.tensor([[*prompt, *said]]), use_cache=False).logits[0, len(prompt) - 1 :]
            losses.append(F.cross_entropy(logits, torch.tensor(wanted), reduction="none"))
    return torch.cat(losses).mean()


def loss_of(lm, batch, chosen) -> torch.Tensor:
    return _loss(lm, LayerStack(lm.model), batch, chosen)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "chosen", [LONG, replace(LONG, max_prompt_tokens=4, max_answer_tokens=2)], ids=["whole", "cut"]
)
def test_branches_have_the_loss_of_each_answer_alone(make_lm, family, chosen):
    lm = make_lm(family)
    for seed, num in ((0, 1), (1, 2), (2, 7)):  # of different lengths: all but the longest are padded
        batch = random_examples(num, seed)
        assert loss_of(lm, batch, chosen).item() == pytest.approx(plain_loss(lm, batch, chosen).item(), rel=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_branches_have_the_gradient_of_each_answer_alone(make_lm, family):
    batch = random_examples(5, seed=3)
    gradients = []
    for measure in (loss_of, plain_loss):
        lm = make_lm(family)
        measure(lm, batch, LONG).backward()
        gradients.append({name: p.grad for name, p in lm.model.named_parameters() if p.grad is not None})
    ours, theirs = gradients
    assert set(ours) == set(theirs) != set()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-3 * float(gradient.abs().max()), msg=name)


token_lists = st.lists(st.integers(3, 30), min_size=1, max_size=7)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.builds(Example, token_lists, st.lists(token_lists, min_size=1, max_size=4).map(tuple)), min_size=1),
    st.integers(1, 8),
    st.integers(1, 8),
    st.sampled_from(["llama", "mistral"]),
)
def test_any_batch_has_the_loss_of_each_answer_alone(make_lm, batch, prompt_tokens, answer_tokens, family):
    lm, chosen = make_lm(family), replace(LONG, max_prompt_tokens=prompt_tokens, max_answer_tokens=answer_tokens)
    with torch.no_grad():
        assert loss_of(lm, batch, chosen).item() == pytest.approx(plain_loss(lm, batch, chosen).item(), rel=1e-4)


TOYS = {"red": ["rot", "rouge"], "pan": ["锅"], "shoe": ["schuh"], "灯": ["lamp"], "blue": ["blau", "bleu"]}


@pytest.mark.parametrize("method", Method)
def test_a_toy_set_is_memorised(make_lm, tmp_path, method):
    lm = make_lm(std=0.2)
    examples = [Example(lm.instruct(asked), tuple(lm.tokens(answers))) for asked, answers in TOYS.items()]
    chosen = FineTuningSettings(
        method, rank=16, learning_rate=2e-2 if method is Method.LORA else 1e-2, batch_size=5,
        num_epochs=150, held_out_share=0.0, eval_steps=50,
    )  # fmt: skip
    told = []
    tuned = fine_tune(lm, examples, chosen, checkpoint=tmp_path / "c.pt", progress=lambda *args: told.append(args))
    assert (tuned.num_steps, tuned.stopped_early) == (150, False)
    assert [(step, steps) for _, step, steps, _ in told] == [(step, 150) for step in range(1, 151)]
    assert [step for step, *_ in tuned.history] == [50, 100, 150]
    assert all(np.isnan(held_out) for *_, held_out in tuned.history)
    first, *_, last = [float(note.removeprefix("loss ")) for *_, note in told]
    assert last < 0.3 * first
    reading = tuned.lm.read_tokens([example.prompt for example in examples])
    for said, answers in zip(
        free_beam_search(tuned.lm, reading, FreeBeamSettings(8, temperature=1.0)), TOYS.values(), strict=True
    ):
        assert {one.text for one in said[: len(answers)]} == set(answers)


class Interruption(Exception):
    pass


class Steps:
    """A progress that remembers the steps made."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def __call__(self, stage: str, step: int, num_steps: int, note: str) -> None:
        self.steps.append(step)


def states_of(lm) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}


def assert_identical(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert list(one) == list(other)
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("held_out_share", [0.0, 0.2])
def test_resumed_is_the_run_that_was_not_interrupted(make_lm, tmp_path, method, held_out_share):
    examples, chosen = random_examples(20), replace(QUICK, method=method, held_out_share=held_out_share)
    whole = fine_tune(make_lm(std=0.05), examples, chosen, checkpoint=tmp_path / "whole.pt")
    for stop_after in (2, 4, 7, whole.num_steps):

        def interrupt(stage, step, *_, stop_after=stop_after):
            if step == stop_after:
                raise Interruption

        path, told = tmp_path / f"{stop_after}.pt", Steps()
        with pytest.raises(Interruption):
            fine_tune(make_lm(std=0.05), examples, chosen, checkpoint=path, progress=interrupt)
        assert path.exists() == (stop_after >= 4)
        resumed = fine_tune(make_lm(std=0.05), examples, chosen, checkpoint=path, progress=told)
        begun = stop_after if stop_after == whole.num_steps else stop_after // 4 * 4
        assert told.steps == list(range(begun + 1, whole.num_steps + 1))
        assert_identical(states_of(resumed.lm), states_of(whole.lm))
        assert resumed.num_steps == whole.num_steps
        np.testing.assert_array_equal(resumed.history, whole.history)


def test_the_seed_decides(make_lm, tmp_path):
    examples = random_examples(12)
    tuned = [
        fine_tune(make_lm(std=0.05), examples, replace(QUICK, seed=seed), checkpoint=tmp_path / f"{n}.pt")
        for n, seed in enumerate([0, 0, 1])
    ]
    assert_identical(states_of(tuned[0].lm), states_of(tuned[1].lm))
    assert tuned[0].history == tuned[1].history != tuned[2].history


@pytest.mark.parametrize("method", Method)
def test_the_best_weights_are_kept_and_training_stops(make_lm, tmp_path, method):
    """Nothing can be learnt of random answers: what is memorised makes others less likely."""
    examples = random_examples(30)
    chosen = replace(QUICK, method=method, learning_rate=5e-2, num_epochs=50, eval_steps=3, patience=3)
    tuned = fine_tune(make_lm(std=0.05), examples, chosen, checkpoint=tmp_path / "c.pt")
    assert tuned.stopped_early
    assert tuned.num_steps < 50 * 6
    losses = [held_out for *_, held_out in tuned.history]
    assert len(losses) - 1 - int(np.argmin(losses)) == 3
    assert [step for step, *_ in tuned.history] == list(range(3, tuned.num_steps + 1, 3))
    _, held_out = _split(examples, chosen)
    again = _evaluate(tuned.lm, LayerStack(tuned.lm.model), held_out, chosen)
    assert again == pytest.approx(min(losses), rel=1e-4)
    # What has stopped stays so.
    resumed = fine_tune(
        make_lm(std=0.05), examples, chosen, checkpoint=tmp_path / "c.pt", progress=lambda *_: pytest.fail("a step")
    )
    assert (resumed.stopped_early, resumed.num_steps) == (True, tuned.num_steps)
    assert_identical(states_of(resumed.lm), states_of(tuned.lm))


def test_lora_leaves_the_weights_alone_until_it_is_merged(make_lm, tmp_path):
    lm, examples = make_lm(std=0.05), random_examples(12)
    before, asked = states_of(lm), torch.tensor([[5, 6, 7, 8, 9]])
    unmerged = []

    def look(stage, step, num_steps, _):
        now = {name.replace("base_layer.", ""): value for name, value in lm.model.state_dict().items()}
        assert_identical(before, {name: value for name, value in now.items() if "lora" not in name})
        if step == num_steps:
            with torch.no_grad():
                unmerged.append(lm.model(asked).logits)

    chosen = replace(QUICK, held_out_share=0.0)  # the last weights are kept
    tuned = fine_tune(lm, examples, chosen, checkpoint=tmp_path / "c.pt", progress=look)
    with torch.no_grad():
        merged = tuned.lm.model(asked).logits
    torch.testing.assert_close(merged, unmerged[0], rtol=1e-4, atol=1e-4)
    after = states_of(tuned.lm)
    assert list(after) == list(before)  # no trace of LoRA
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if "_proj" in name}  # every linear layer but the output
    assert not any(parameter.requires_grad for name, parameter in tuned.lm.model.named_parameters() if name in changed)


def test_full_training_changes_every_weight(make_lm, tmp_path):
    lm = make_lm(std=0.05)
    before = states_of(lm)
    tuned = fine_tune(lm, random_examples(12), replace(QUICK, method="full"), checkpoint=tmp_path / "c.pt")
    assert all(not torch.equal(value, before[name]) for name, value in states_of(tuned.lm).items())
    assert not any(parameter.requires_grad for parameter in tuned.lm.model.parameters())
    assert (tuned.lm.end_id, tuned.lm.system) == (lm.end_id, lm.system)


def test_one_stage_after_the_other(make_lm, tmp_path):
    """Knowledge first, then the format: a merged model is trained once more."""
    lm = make_lm(std=0.05, system="Be brief.")
    for number in range(2):
        lm = fine_tune(lm, random_examples(8, number), QUICK, checkpoint=tmp_path / f"{number}.pt").lm
    assert lm.system == "Be brief."
    assert not any("lora" in name for name in lm.model.state_dict())


@pytest.mark.parametrize(
    ("num", "chosen", "expected"),
    [
        (10, replace(QUICK, batch_size=4, num_epochs=2, held_out_share=0.0), 6),
        (10, replace(QUICK, batch_size=4, num_epochs=2, held_out_share=0.2), 4),
        (10, replace(QUICK, batch_size=4, num_epochs=9, max_steps=5), 5),
        (1, QUICK, 3),
    ],
)
def test_number_of_steps(make_lm, tmp_path, num, chosen, expected):
    assert fine_tune(make_lm(std=0.05), random_examples(num), chosen, checkpoint=tmp_path / "c").num_steps == expected


@pytest.mark.parametrize(("num", "batch_size"), [(1, 4), (40, 4), (41, 2), (9, 100)])
def test_an_epoch_draws_every_example_once(num, batch_size):
    examples, chosen = random_examples(num), replace(QUICK, batch_size=batch_size)
    per_epoch = -(-num // batch_size)
    orders = []
    for epoch in range(2):
        drawn = [_rows(num, examples, epoch * per_epoch + at, chosen) for at in range(per_epoch)]
        assert all(1 <= len(rows) <= batch_size for rows in drawn)
        orders.append([row for rows in drawn for row in rows])
        assert sorted(orders[-1]) == list(range(num))
    assert num == 1 or num <= batch_size or orders[0] != orders[1]


@pytest.mark.parametrize(
    ("examples", "problem"),
    [
        ([], "there are no examples to learn from"),
        ([Example([5], ([6],)), Example([], ([6],))], "example 2 lacks a prompt or an answer; leave it out"),
        ([Example([5], ())], "example 1 lacks a prompt or an answer"),
        ([Example([5], ([6], []))], "example 1 lacks a prompt or an answer"),
    ],
)
def test_wrong_examples(make_lm, tmp_path, examples, problem):
    with pytest.raises(InputError, match=problem):
        fine_tune(make_lm(std=0.05), examples, QUICK, checkpoint=tmp_path / "c.pt")
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_is_told(make_lm, tmp_path):
    lm = make_lm(std=0.05)
    with torch.no_grad():
        lm.model.get_input_embeddings().weight[3:40] = torch.nan
    with pytest.raises(FloatingPointError, match="the loss is not finite at step 1"):
        fine_tune(lm, random_examples(8), QUICK, checkpoint=tmp_path / "c.pt")
    assert not (tmp_path / "c.pt").exists()


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"method": "both"}, "'method' is 'both'; it takes one of lora, full"),
        ({"rank": 0}, "'rank' is 0"),
        ({"batch_size": 1.5}, "'batch_size' is 1.5; it takes a whole number"),
        ({"learning_rate": 0.0}, "'learning_rate' is 0.0"),
        ({"held_out_share": 0.6}, "'held_out_share' is 0.6"),
        ({"warmup_share": 1.1}, "'warmup_share' is 1.1"),
        ({"max_answer_tokens": 0}, "'max_answer_tokens' is 0"),
        ({"seed": -1}, "'seed' is -1"),
    ],
)
def test_wrong_settings(wrong, problem):
    with pytest.raises(SettingsError, match=problem):
        FineTuningSettings(**wrong)
