"""Sampling answers from a causal language model: several for a prompt, each at a temperature of its own.

A prompt is read once for all its samples, which are led on as beams that share it (`intently.models.prompt`). Samples
that have ended are left out of the next step. The random numbers come with the samples, so what is drawn does not
depend on which prompts lie in one batch.

Shape letters: B prompts, W samples that still go on, K candidates for the next token, D hidden size, T tokens at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from intently.arrays import Float64Array, IntArray
from intently.models.causal_lm import CausalLM


@dataclass(frozen=True, eq=False)
class Draw:
    """One sample to take: its temperature, 0 for the likeliest token always, and a number in [0, 1) for each token."""

    temperature: float
    uniform: Float64Array  # (T,)


@dataclass(frozen=True)
class Sample:
    """What was said, how many tokens that took (its end is one), and whether it ended within T tokens."""

    text: str
    num_tokens: int
    is_whole: bool


@dataclass
class _Saying:
    """A sample on its way: the tokens so far."""

    draw: Draw
    tokens: list[int]
    is_whole: bool = False


def line_ends(lm: CausalLM) -> frozenset[int]:
    """Return the tokens that end a one-line answer: the end of the text, and every token with a line break in it."""
    marks = ("\n", "Ċ", "<0x0A>")  # as such, in byte-level and in SentencePiece vocabularies
    found = {number for token, number in lm.tokenizer.get_vocab().items() if any(mark in token for mark in marks)}
    return frozenset({*found, lm.end_id})


@torch.inference_mode()
def sample(
    lm: CausalLM,
    prompts: Sequence[Sequence[int]],
    draws: Sequence[Sequence[Draw]],
    *,
    top_k: int,
    ends: frozenset[int],
) -> list[list[Sample]]:
    """Return what the model says to each prompt, a sample for each of its draws, all draws of the same length T.

    Each token is drawn from the `top_k` likeliest by softmax(scores / temperature). Cost: the prompts once, then one
    step of the model for each token of the longest sample.
    """
    sayings = [[_Saying(draw, []) for draw in of_prompt] for of_prompt in draws]
    going = [list(of_prompt) for of_prompt in sayings]
    reading = lm.read_tokens(prompts)
    states = reading.first()[:, None]  # (B, 1, D): all samples begin at their prompt's end
    beams = [[0] * len(of_prompt) for of_prompt in going]  # which state each sample goes on from
    num_steps = max((len(draw.uniform) for of_prompt in draws for draw in of_prompt), default=0)
    for step in range(num_steps):
        every = lm.scores(states)
        top, at = every.topk(min(top_k or every.shape[2], every.shape[2]), dim=2)  # (B, W, K)
        scores, tokens = top.double().cpu().numpy(), at.cpu().numpy()
        left: list[list[_Saying]] = [[] for _ in prompts]
        parents: list[list[int]] = [[] for _ in prompts]
        for row, some in enumerate(going):
            for beam, saying in zip(beams[row], some, strict=True):
                saying.tokens.append(_drawn(scores[row, beam], tokens[row, beam], saying.draw, step))
                saying.is_whole = saying.tokens[-1] in ends
                if not saying.is_whole:
                    left[row].append(saying)
                    parents[row].append(beam)
        going = left
        width = max(map(len, going))
        if not width or step + 1 == num_steps:
            break
        of_parents = np.zeros((len(prompts), width), dtype=np.int64)  # (B, W); what pads it is said to nobody
        tokens_of = np.full((len(prompts), width), lm.end_id, dtype=np.int64)
        for row, some in enumerate(going):
            of_parents[row, : len(some)] = parents[row]
            tokens_of[row, : len(some)] = [saying.tokens[-1] for saying in some]
        states = reading.advance(of_parents, tokens_of)
        beams = [list(range(len(some))) for some in going]
    return [[_told(lm, saying) for saying in of_prompt] for of_prompt in sayings]


def _drawn(scores: Float64Array, tokens: IntArray, draw: Draw, step: int) -> int:
    """Return the token of K, in order of falling score, on which the draw's number of this step falls."""
    if draw.temperature == 0:
        return int(tokens[0])
    shares = np.exp((scores - scores[0]) / draw.temperature)
    reached: NDArray[np.float64] = np.cumsum(shares)
    at = int(np.searchsorted(reached, draw.uniform[step] * reached[-1], side="right"))
    return int(tokens[min(at, len(tokens) - 1)])


def _told(lm: CausalLM, saying: _Saying) -> Sample:
    said = saying.tokens[:-1] if saying.is_whole else saying.tokens
    text = str(lm.tokenizer.decode(said, skip_special_tokens=True))
    return Sample(text.strip(), len(saying.tokens), saying.is_whole)
