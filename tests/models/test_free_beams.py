"""Free beams against listing every answer, and against a beam search in plain Python."""

import math
from functools import cache

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")
import transformers
from tokenizers import Tokenizer, models

from intently.errors import SettingsError
from intently.models.causal_lm import CausalLM
from intently.models.free_beams import FreeBeamSettings, GeneratedText, free_beam_search

END, VOCAB = 2, 11
LETTERS = "abXdefghijk"  # token by token; X stands for the end and is never seen
PROMPTS = [[3, 4, 5, 9, 1, 7], [6, 8], [10, 3, 3, 4]]
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}
CONFIGS = {
    "llama": transformers.LlamaConfig(**SIZES, tie_word_embeddings=False),
    "gemma2": transformers.Gemma2Config(
        **SIZES, sliding_window=3, query_pre_attn_scalar=8, final_logit_softcapping=2.0
    ),
    "gemma3": transformers.Gemma3TextConfig(
        **SIZES, sliding_window=3, query_pre_attn_scalar=8, sliding_window_pattern=2
    ),
}


@cache
def language_model(family: str = "llama") -> CausalLM:
    core = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(LETTERS)}, unk_token="a"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="X")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = transformers.AutoModelForCausalLM.from_config(CONFIGS[family])
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=0.4)
    return CausalLM.of(model, tokenizer)


@torch.inference_mode()
def next_log_probs(lm: CausalLM, tokens: list[list[int]], temperature: float) -> np.ndarray:
    """Return log-probabilities (rows, V) of what comes after texts of equal length, read from their beginning."""
    scores = lm.model(torch.tensor(tokens)).logits[:, -1]
    return torch.log_softmax(scores.double() / temperature, dim=-1).numpy()


def every_answer(lm: CausalLM, prompt: list[int], longest: int, temperature: float) -> dict[tuple[int, ...], float]:
    """Return the log-probability of every answer of 1 to `longest` tokens, its end included."""
    spoken: dict[tuple[int, ...], float] = {(): 0.0}
    answers = {}
    for length in range(longest + 1):
        begun = [tokens for tokens in spoken if len(tokens) == length]
        for tokens, after in zip(
            begun, next_log_probs(lm, [prompt + list(t) for t in begun], temperature), strict=True
        ):
            if tokens:
                answers[tokens] = spoken[tokens] + after[END]
            if length < longest:
                spoken |= {(*tokens, token): spoken[tokens] + after[token] for token in range(VOCAB) if token != END}
    return answers


def plain_beam_search(lm, prompt, longest: int, width: int, temperature: float) -> dict[tuple[int, ...], float]:
    """The slow twin: lists of tokens, the whole text read anew for every beam."""
    beams: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    answers = []
    for length in range(longest + 1):
        led_on = []
        for log_prob, tokens in beams:
            (after,) = next_log_probs(lm, [prompt + list(tokens)], temperature)
            if tokens:
                answers.append((log_prob + after[END], tokens))
            led_on += [(log_prob + after[token], (*tokens, token)) for token in range(VOCAB) if token != END]
        if length < longest:
            beams = sorted(led_on, reverse=True)[:width]
    return {tokens: log_prob for log_prob, tokens in sorted(answers, reverse=True)[:width]}


def assert_same(said: list[GeneratedText], expected: dict[tuple[int, ...], float]) -> None:
    """Assert equal answers with equal probabilities, best first."""
    texts = {" ".join(LETTERS[token] for token in tokens): log_prob for tokens, log_prob in expected.items()}
    assert len(said) == len(expected)
    assert {one.text for one in said} == set(texts)
    log_probs = [one.log_prob for one in said]
    assert log_probs == sorted(log_probs, reverse=True)
    assert log_probs == pytest.approx([texts[one.text] for one in said], abs=1e-4)


@pytest.mark.parametrize(
    ("family", "longest", "temperature"),
    [("llama", 1, 1.0), ("llama", 2, 0.8), ("llama", 3, 1.7), ("gemma2", 2, 0.8), ("gemma3", 2, 1.0)],
)
def test_wide_beams_are_every_answer_in_order(family, longest, temperature):
    lm, num = language_model(family), sum((VOCAB - 1) ** length for length in range(1, longest + 1))
    settings = FreeBeamSettings(num_beams=num + 5, temperature=temperature, max_new_tokens=longest)
    found = free_beam_search(lm, lm.read_tokens(PROMPTS), settings)
    for prompt, said in zip(PROMPTS, found, strict=True):
        expected = every_answer(lm, prompt, longest, temperature)
        assert len(expected) == num
        assert_same(said, expected)
        assert sum(math.exp(one.log_prob) for one in said) < 1


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize(("width", "longest"), [(1, 4), (3, 4), (8, 3), (15, 2)])
def test_narrow_beams_are_a_plain_beam_search(family, width, longest):
    lm = language_model(family)
    settings = FreeBeamSettings(num_beams=width, temperature=0.8, max_new_tokens=longest)
    for prompt, said in zip(PROMPTS, free_beam_search(lm, lm.read_tokens(PROMPTS), settings), strict=True):
        assert_same(said, plain_beam_search(lm, prompt, longest, width, 0.8))


def test_prompts_do_not_see_one_another():
    lm, settings = language_model(), FreeBeamSettings(num_beams=12, max_new_tokens=4)
    together = free_beam_search(lm, lm.read_tokens(PROMPTS), settings)
    for prompt, said in zip(PROMPTS, together, strict=True):
        (alone,) = free_beam_search(lm, lm.read_tokens([prompt]), settings)
        assert [one.text for one in alone] == [one.text for one in said]
        assert [one.log_prob for one in alone] == pytest.approx([one.log_prob for one in said], abs=1e-5)


def test_a_prompt_can_be_searched_again():
    lm = language_model()
    reading = lm.read_tokens(PROMPTS)
    first, _, again = (
        free_beam_search(lm, reading, FreeBeamSettings(num_beams, max_new_tokens=3)) for num_beams in (6, 9, 6)
    )
    for one, other in zip(first, again, strict=True):
        assert [said.text for said in one] == [said.text for said in other]
        assert [said.log_prob for said in one] == pytest.approx([said.log_prob for said in other], abs=1e-5)


def test_answers_without_text_are_left_out(make_lm):
    lm = make_lm(std=0.3)
    (said,) = free_beam_search(lm, lm.read_tokens([[5, 6, 7]]), FreeBeamSettings(256, max_new_tokens=1))
    assert all(one.text == one.text.strip() != "" for one in said)
    assert 200 < len(said) < 256  # a byte that is a space, or a special token, says nothing


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"num_beams": 0}, "'num_beams' is 0"),
        ({"num_beams": 2.5}, "'num_beams' is 2.5; it takes a whole number"),
        ({"temperature": 0.0}, "'temperature' is 0.0"),
        ({"max_new_tokens": 0}, "'max_new_tokens' is 0"),
    ],
)
def test_wrong_settings(wrong, problem):
    with pytest.raises(SettingsError, match=problem):
        FreeBeamSettings(**wrong)
