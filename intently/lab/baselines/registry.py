"""All baselines by name, as a comparison lists them."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from intently.lab.baselines.mpnet import mpnet_parts
from intently.lab.baselines.task import Answers, Budget, Task
from intently.models.packaged import packaged_model
from intently.types import Progress


@dataclass(frozen=True)
class Baseline:
    """One baseline: how people call it, what it does, and the function that runs it.

    Its module is imported when it runs, so that baselines without a language model need no transformers.
    """

    title: str
    description: str
    _function: str  # of the module of that name, or "module.function"
    _options: Mapping[str, Any] = field(default_factory=dict)  # given to the function by keyword
    _find_model: Callable[[], object] | None = None  # finds what it starts from, if that has a package of its own

    def require(self) -> None:
        """Raise `MissingDependencyError` if the model that it starts from is not installed."""
        if self._find_model:
            self._find_model()

    def run(self, task: Task, budget: Budget, work: Path, progress: Progress, **options: Any) -> Answers:
        """Train (where there is something to train) and answer the task's test queries.

        What is expensive is kept under `work`, which belongs to one task, and an interrupted run goes on from there.
        `options` are those of the baseline's function, and go before the register's.
        """
        module, _, function = self._function.rpartition(".")
        loaded = importlib.import_module(f"intently.lab.baselines.{module or function}")
        answers: Answers = getattr(loaded, function)(task, budget, work, progress, **{**self._options, **options})
        return answers


# What RARE is compared with.
RARE: Mapping[str, Baseline] = {
    "simbert": Baseline(
        "SimBERT", "embeds queries and ads, trained to tell pairs apart and to write similar texts", "simbert"
    ),
    "keyword-generation": Baseline(
        "T5-style keywords",
        "an encoder-decoder writes keywords freely; an inverted index of keywords has the ads",
        "keyword_generation",
    ),
    "dsi": Baseline("DSI", "says the number of an ad, its path through a hierarchical clustering", "dsi"),
    "tiger": Baseline("TIGER", "says the tuple of codes that an ad's embedding was quantised to", "tiger"),
    "seal": Baseline("SEAL", "says substrings of titles, which vote for the ads they occur in", "seal"),
    "ltrgr": Baseline("LTRGR", "SEAL, then trained further to score clicked ads above others", "ltrgr"),
    "minder": Baseline("MINDER", "says titles, pseudo-queries and substrings, whose scores add up", "minder"),
    "smollm2": Baseline(
        "SmolLM2-135M, zero-shot",
        "an untrained language model, held to the vocabulary of intentions",
        "zero_shot.with_smollm2",
        _find_model=partial(packaged_model, "smollm2"),
    ),
    "smollm2-free": Baseline(
        "SmolLM2-135M, zero-shot, free",
        "the same, writing a list freely, of which what the vocabulary has counts",
        "zero_shot.with_smollm2",
        {"constrained": False},
        partial(packaged_model, "smollm2"),
    ),
    "gemma3": Baseline(
        "Gemma-3-270M, zero-shot",
        "an untrained language model, held to the vocabulary of intentions",
        "zero_shot.with_gemma3",
        _find_model=partial(packaged_model, "gemma3"),
    ),
    "gemma3-free": Baseline(
        "Gemma-3-270M, zero-shot, free",
        "the same, writing a list freely, of which what the vocabulary has counts",
        "zero_shot.with_gemma3",
        {"constrained": False},
        partial(packaged_model, "gemma3"),
    ),
}

# What BRIDGE is compared with: dense and late-interaction retrieval, and BM25 over queries written for the ads.
BRIDGE: Mapping[str, Baseline] = {
    "bm25": Baseline("BM25, the package's", "the ads' texts, stemmed, without spelling correction", "lexical.bm25"),
    "doc2query": Baseline(
        "doc2query + BM25",
        "the same over the ads' texts and queries that an encoder-decoder wrote for them",
        "doc2query",
    ),
    "bert-small": Baseline(
        "Dual encoder, BERT-small class",
        "embeds queries and ads by the checkpoint's first 4 layers, trained to tell clicked ads from others",
        "dual_encoder",
        {"num_layers": 4},
    ),
    "bert-base": Baseline(
        "Dual encoder, BERT-base class",
        "the same with the 12 layers of all-mpnet-base-v2, twice as wide",
        "dual_encoder.bert_base",
        _find_model=mpnet_parts,
    ),
    "dpr": Baseline("DPR-style", "two towers, trained with the batch's ads and BM25's best as negatives", "dpr"),
    "colbert": Baseline(
        "ColBERT-style", "embeds every token; the best match of each query token counts, compared exactly", "colbert"
    ),
    "rocketqa": Baseline(
        "RocketQA-style",
        "a dual encoder with negatives of other batches, and hard ones that a cross-encoder has looked through",
        "rocketqa",
    ),
}

ALL: Mapping[str, Baseline] = {**RARE, **BRIDGE}
