"""Samples against reading every text whole, and against the probabilities they are drawn by."""

import numpy as np
import pytest

pytest.importorskip("transformers")
import torch

from intently.build.augmentation.sample import Draw, line_ends, sample

PROMPTS = [[5, 6, 7, 8, 9, 10, 11], [12, 13], [20, 30, 40, 50]]
T = 6


def draws(prompt: int, *temperatures: float, length: int = T) -> list[Draw]:
    return [
        Draw(temperature, np.random.default_rng((prompt, number)).random(length))
        for number, temperature in enumerate(temperatures)
    ]


@torch.inference_mode()
def plain_sample(lm, prompt, draw: Draw, top_k: int, ends: frozenset[int]) -> tuple[list[int], bool]:
    """The slow twin: the whole text is read anew for every token."""
    said: list[int] = []
    for number in draw.uniform:
        logits = lm.model(torch.tensor([[*prompt, *said]])).logits[0, -1].double().numpy()
        order = np.argsort(-logits, kind="stable")[: top_k or None]
        if draw.temperature == 0:
            token = int(order[0])
        else:
            shares = np.exp(logits[order] / draw.temperature - logits[order[0]] / draw.temperature)
            token = int(order[np.flatnonzero(np.cumsum(shares / shares.sum()) > number)[0]])
        said.append(token)
        if token in ends:
            return said, True
    return said, False


@pytest.mark.parametrize("family", ["llama", "gemma2"])
@pytest.mark.parametrize("top_k", [0, 7])
def test_samples_are_those_of_a_plain_reading(make_lm, family, top_k):
    lm = make_lm(family)
    ends = frozenset({*line_ends(lm), *range(40, 70)})  # so that samples end at different steps
    wanted = [draws(0, 1.0, 0.0, 3.0), draws(1, 0.5), draws(2, 2.0, 1.0)]
    found = sample(lm, PROMPTS, wanted, top_k=top_k, ends=ends)
    lengths = set()
    for prompt, of_prompt, samples in zip(PROMPTS, wanted, found, strict=True):
        for draw, one in zip(of_prompt, samples, strict=True):
            said, is_whole = plain_sample(lm, prompt, draw, top_k, ends)
            text = lm.tokenizer.decode(said[:-1] if is_whole else said, skip_special_tokens=True).strip()
            assert (one.text, one.num_tokens, one.is_whole) == (text, len(said), is_whole)
            lengths.add(len(said))
    assert len(lengths) > 1


def test_a_sample_does_not_depend_on_its_batch(make_lm):
    lm = make_lm()
    ends = line_ends(lm)
    together = sample(lm, PROMPTS, [draws(row, 1.0, 0.7) for row in range(3)], top_k=20, ends=ends)
    for row, prompt in enumerate(PROMPTS):
        assert sample(lm, [prompt], [draws(row, 1.0, 0.7)], top_k=20, ends=ends) == [together[row]]


@torch.inference_mode()
def test_tokens_are_drawn_by_their_probability(make_lm):
    lm, num = make_lm(std=0.1), 2_000
    many = [Draw(0.5, np.array([number])) for number in (np.arange(num) + 0.5) / num]
    ((*found,),) = sample(lm, [PROMPTS[0]], [many], top_k=3, ends=frozenset())
    logits = lm.model(torch.tensor([PROMPTS[0]])).logits[0, -1].double()
    top = logits.topk(3)
    shares = torch.softmax(top.values / 0.5, dim=0).tolist()
    texts = [one.text for one in found]
    for token, share in zip(top.indices.tolist(), shares, strict=True):
        said = lm.tokenizer.decode([token], skip_special_tokens=True).strip()
        assert texts.count(said) / num == pytest.approx(share, abs=0.002)


def test_a_line_ends_at_its_break(make_lm):
    lm = make_lm()
    ends = line_ends(lm)
    assert lm.end_id in ends
    assert lm.tokens(["\n"])[0][0] in ends
    assert not ends.intersection(lm.tokens(["red pan 红"])[0])
