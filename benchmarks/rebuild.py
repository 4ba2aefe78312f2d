"""Measure whether an engine can be rebuilt and rolled back while it is queried.

    python benchmarks/rebuild.py [--publishes 20] [--rollbacks 3] [--ads 2000] [--every 1.0] [--directory DIR]

One process publishes generations of a small engine, whose ads and answers differ from one to the next, and rolls back
in between. Four threads of this process and two other processes query meanwhile, and load what is current whenever that
has changed. Every answer is compared with what its generation answered in the process that built it: one that is
neither is a mixture. Ten seconds after the last change the memory is compared with that before the first. Prints a
table and, last, one JSON line with machine, date and figures; exits with 1 if anything failed.
"""

import argparse
import gc
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from datetime import date
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from intently import Ad, Engine
from intently.catalog import Catalog
from intently.catalog.texts import ad_texts, searchable_texts
from intently.engine.layout import write_engine
from intently.engine.settings import RetrievalSettings
from intently.generation import About, Draft, build_lock, current_id, digest_of_ids, prune, roll_back
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.index.near import NearIntentions
from intently.index.phrases import PhraseTable
from intently.index.posting_weights import AdIntentions, PostingSettings, build_postings
from intently.index.vectors import VectorIndex
from intently.intentions.prior import Guidance
from intently.intentions.trie import Trie
from intently.models.backbone import Backbone
from intently.models.pretrained import load_pretrained
from intently.models.student import Runtime, Student
from intently.models.weights import BackboneConfig
from intently.text.analyze import Analyzer
from intently.text.rules import TEXT_RULES_VERSION

THINGS = ("running shoes", "garden hose", "robot vacuum", "desk lamp", "electric kettle", "cordless drill")
KINDS = ("red", "blue", "cheap", "light", "heavy", "small", "waterproof")
K, NUM_THREADS, NUM_PROCESSES, NUM_WARM_UPS, SETTLING_S = 20, 4, 2, 4, 10.0
Answer = tuple[tuple[str, ...], tuple[float, ...]]


@dataclass
class Seen:
    """What one reader met: which answers of which generation, and what went wrong."""

    answers: dict[tuple[str, str], set[Answer]] = field(default_factory=dict)
    num_queries: int = 0
    num_loads: int = 0
    failures: list[str] = field(default_factory=list)
    memory_mb: tuple[float, float] = (0.0, 0.0)  # before and after


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--publishes", type=int, default=20)
    parser.add_argument("--rollbacks", type=int, default=3)
    parser.add_argument("--ads", type=int, default=2_000)
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds between two changes")
    parser.add_argument("--directory", type=Path, help="where the engine goes, instead of a temporary directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        figures = measure(options.directory or Path(temporary) / "engine", options)
    table = Table("what", "value")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:,.2f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"machine": machine, "date": date.today().isoformat()} | figures))
    if figures["failures"] or figures["mixed_answers"] or figures["memory_growth"] > 0.05:
        sys.exit(1)


def measure(directory: Path, options: argparse.Namespace) -> dict[str, float]:
    """Return the figures of one run."""
    spawn = multiprocessing.get_context("spawn")
    over, settled, ready = spawn.Event(), spawn.Event(), spawn.Barrier(2 + NUM_PROCESSES)
    started, changes = time.perf_counter(), []
    told, tells = spawn.Pipe(duplex=False)
    publisher = spawn.Process(target=publish_all, args=(directory, options, ready, over, tells))
    publisher.start()
    expected: dict[str, dict[str, Answer]] = {}
    expect(told.recv(), expected)  # the first generation, which readers begin with
    ends, processes = [], []
    for _ in range(NUM_PROCESSES):
        end, other = spawn.Pipe(duplex=False)
        process = spawn.Process(target=read_alone, args=(directory, ready, over, settled, other))
        process.start()
        ends.append(end)
        processes.append(process)
    seen = Readers(directory, NUM_THREADS)
    threads = [threading.Thread(target=seen.read, args=(number, over)) for number in range(NUM_THREADS)]
    for thread in threads:
        thread.start()
    seen.wait_until_warm()
    ready.wait()
    while (message := told.recv()) is not None:
        changes.append(message["kind"])
        expect(message, expected)
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    time.sleep(SETTLING_S)
    settled.set()
    every = [seen.result(), *(end.recv() for end in ends)]
    for process in (publisher, *processes):
        process.join()
    mixed = sum(
        not is_of(answer, expected[generation][query])
        for each in every
        for (generation, query), answers in each.answers.items()
        for answer in answers
    )
    failures = [failure for each in every for failure in each.failures]
    for failure in failures[:5]:
        print(failure, file=sys.stderr)
    growth = [after / before - 1 for before, after in (each.memory_mb for each in every)]
    return {
        "publishes": changes.count("publish"),
        "rollbacks": changes.count("rollback"),
        "queries": sum(each.num_queries for each in every),
        "loads": sum(each.num_loads for each in every),
        "generations_answered": len({generation for each in every for generation, _ in each.answers}),
        "failures": len(failures),
        "mixed_answers": mixed,
        "memory_before_mb": every[0].memory_mb[0],
        "memory_after_mb": every[0].memory_mb[1],
        "memory_growth": max(growth),
        "seconds": seconds,
    }


def expect(message: dict, expected: dict[str, dict[str, Answer]]) -> None:
    """Note what a generation answers."""
    if message["answers"]:
        expected[message["generation"]] = message["answers"]


def is_of(answer: Answer, expected: Answer) -> bool:
    """Return whether an answer is the expected one; scores may differ in the last digits only."""
    return answer[0] == expected[0] and bool(np.allclose(answer[1], expected[1], rtol=1e-4, atol=1e-6))


class Readers:
    """Threads that query one engine, which the first of them that sees a new generation replaces."""

    def __init__(self, directory: Path, number: int) -> None:
        self._directory, self._lock = directory, threading.Lock()
        self._engine = Engine.load(directory, num_threads=1)
        self._seen = [Seen() for _ in range(number)]
        self._warm, self._before = threading.Barrier(number + 1), 0.0

    def wait_until_warm(self) -> None:
        """Wait until every thread has loaded and queried so often that nothing is made for the first time any more."""
        self._warm.wait()
        self._before = memory_mb()

    def read(self, number: int, over: Event) -> None:
        """Query until it is over."""
        seen = self._seen[number]
        for _ in range(NUM_WARM_UPS):
            with self._lock:
                self._engine = Engine.load(self._directory, num_threads=1)
            for query in THINGS:
                self._engine.retrieve(query, K, explain=False)
        self._warm.wait()
        while not over.is_set():
            query = THINGS[seen.num_queries % len(THINGS)]
            seen.num_queries += 1
            try:
                engine = self._renewed(seen)
                ads = engine.retrieve(query, K, explain=False).ads
                answer = tuple(ad.ad_id for ad in ads), tuple(float(np.float32(ad.score)) for ad in ads)
                seen.answers.setdefault((engine.generation, query), set()).add(answer)
            except Exception as error:
                seen.failures.append(f"{type(error).__name__}: {error}")

    def _renewed(self, seen: Seen) -> Engine:
        if current_id(self._directory) != self._engine.generation and self._lock.acquire(blocking=False):
            try:
                self._engine = Engine.load(self._directory, num_threads=1)
                seen.num_loads += 1
            finally:
                self._lock.release()
        return self._engine

    def result(self) -> Seen:
        """Return what all threads saw."""
        whole = Seen(memory_mb=(self._before, memory_mb()))
        for each in self._seen:
            whole.num_queries += each.num_queries
            whole.num_loads += each.num_loads
            whole.failures += each.failures
            for key, answers in each.answers.items():
                whole.answers.setdefault(key, set()).update(answers)
        return whole


def read_alone(directory: Path, ready: Barrier, over: Event, settled: Event, result: Connection) -> None:
    """Query in a process of its own."""
    torch.set_num_threads(1)
    readers = Readers(directory, 1)
    thread = threading.Thread(target=readers.read, args=(0, over))
    thread.start()
    readers.wait_until_warm()
    ready.wait()
    thread.join()
    settled.wait()
    result.send(readers.result())


def memory_mb() -> float:
    """Return what this process alone holds in memory, files that it maps left out."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def publish_all(directory: Path, options: argparse.Namespace, ready: Barrier, over: Event, tells: Connection) -> None:
    """Publish and roll back, and tell what each generation answers."""
    torch.set_num_threads(1)
    _, tokenizer = load_pretrained()
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = Student(Backbone(BackboneConfig(vocab_size=tokenizer.vocab_size, **sizes)).eval(), tokenizer)
    tells.send(publish(directory, student, 0, options.ads))
    every = max(1, options.publishes // (options.rollbacks + 1))
    num_rollbacks = 0
    ready.wait()
    for version in range(1, options.publishes + 1):
        tells.send(publish(directory, student, version, options.ads))
        time.sleep(options.every)
        if version % every == 0 and num_rollbacks < options.rollbacks:
            tells.send({"kind": "rollback", "generation": roll_back(directory), "answers": None})
            num_rollbacks += 1
            time.sleep(options.every)
    over.set()
    tells.send(None)


def publish(directory: Path, student: Student, version: int, num_ads: int) -> dict:
    """Publish the engine of one version; return its generation and answers."""
    engine = engine_of(student, version, num_ads)
    answers: dict[str, Answer] = {}
    for query in THINGS:
        ads = engine.retrieve(query, K, explain=False).ads
        answers[query] = tuple(ad.ad_id for ad in ads), tuple(ad.score for ad in ads)
    ads = digest_of_ids(engine.catalog.strings("ad_id"))
    settings = {"retrieval": asdict(engine.settings)}
    about = About(engine.catalog.num_ads, ads, TEXT_RULES_VERSION, {}, settings, {"num_ads": num_ads})
    with build_lock(directory):
        with Draft(directory, about) as draft:
            write_engine(draft, engine.catalog, student, engine.intentions, engine.vectors, engine.lexical)
            draft.publish()
        prune(directory)
    return {"kind": "publish", "generation": draft.id, "answers": answers}


def engine_of(student: Student, version: int, num_ads: int) -> Engine:
    """Return an engine whose ads, and how many there are, depend on the version."""
    rng = np.random.default_rng(version)
    ads = [
        Ad(f"v{version}-{row}", f"{rng.choice(KINDS)} {rng.choice(KINDS)} {rng.choice(THINGS)} {row}")
        for row in range(num_ads + 7 * (version % 3))
    ]
    catalog, settings, phrases = Catalog.from_ads(ads), PostingSettings(), PhraseTable(THINGS, Analyzer())
    trie = Trie.build(student.tokenizer.encode_bare(THINGS))
    given = np.array([(key, row) for row, ad in enumerate(ads) for key in phrases.within(ad.title).tolist()])
    nothing = np.empty((0, 2), dtype=np.int64)
    vectors = student.embed(ad_texts(catalog), settings.max_ad_tokens)
    near = NearIntentions.build(student.embed(THINGS, 24), Guidance(0.05, 1.0))
    postings, statistics = build_postings(
        AdIntentions(given, nothing, nothing, np.empty(0)), catalog.num_ads, len(THINGS), settings
    )
    intentions = IntentionIndex(THINGS, trie, postings, Analyzer(), statistics, near)
    lexical = LexicalIndex.build(searchable_texts(catalog), LexicalSettings())
    return Engine(catalog, student, intentions, VectorIndex(vectors), lexical, RetrievalSettings(runtime=Runtime.TORCH))


if __name__ == "__main__":
    main()
