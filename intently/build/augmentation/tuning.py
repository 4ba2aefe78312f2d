"""Tuning the two models: the generator on the queries that led to ads, the keyword model on what ads bid on."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from intently.build.augmentation.records import AdsAndClicks
from intently.build.augmentation.writer import Prompt, digest
from intently.build.training.language_model import Example, FineTuningSettings, fine_tune
from intently.errors import InputError
from intently.files import write_text
from intently.models.causal_lm import CausalLM, LanguageModelSettings
from intently.types import Progress

_MAX_ANSWERS = 4  # queries of one ad that are learned from at once


@dataclass(frozen=True)
class TuningCost:
    """What tuning a model took; the seconds are those of the run that finished it."""

    model: str
    num_examples: int
    num_steps: int
    seconds: float


@dataclass(frozen=True)
class Tuned:
    """A tuned language model, where its weights come from, and what the tuning took."""

    lm: CausalLM
    origin: str
    cost: TuningCost


def tune(
    model: LanguageModelSettings,
    examples_for: Callable[[CausalLM], list[Example]],
    settings: FineTuningSettings,
    home: Path,
    stage: str,
    progress: Progress,
) -> Tuned:
    """Return the language model tuned on examples, from `home` if it was tuned on the same before.

    An interrupted tuning goes on from its checkpoint. Raises `InputError` without examples.
    """
    lm = model.load()
    examples = examples_for(lm)
    if not examples:
        raise InputError("there is nothing to tune the language model on", cure="give clicks, or do not tune it")
    origin = digest([asdict(model), asdict(settings), [asdict(example) for example in examples]])
    done = home / f"tuned-{origin}"
    history = done / "training.json"
    if not history.is_file():
        home.mkdir(parents=True, exist_ok=True)
        checkpoint, begun = home / f"tuned-{origin}.pt", time.perf_counter()
        trained = fine_tune(
            lm,
            examples,
            settings,
            checkpoint=checkpoint,
            progress=lambda _, *amount: progress(stage, *amount),
        )
        trained.lm.save(done)
        cost = TuningCost(model.name, len(examples), trained.num_steps, time.perf_counter() - begun)
        write_text(history, json.dumps({"cost": asdict(cost), "losses": trained.history}, indent=1))
        checkpoint.unlink(missing_ok=True)
    kept = json.loads(history.read_text(encoding="utf-8"))
    precision = "fp32" if str(lm.model.dtype) == "torch.float32" else "bf16"
    again = LanguageModelSettings(str(done), precision, model.device, model.system)  # type: ignore[arg-type]
    return Tuned(again.load(), origin, TuningCost(**kept["cost"]))


def query_examples(
    lm: CausalLM,
    data: AdsAndClicks,
    prompt: Callable[[str], Prompt],
    settings: FineTuningSettings,
    max_text_tokens: int,
) -> list[Example]:
    """Return examples of ads with the queries they were clicked for most: at most four an ad.

    No more than the training can use, drawn by chance.
    """
    wanted = settings.max_steps * settings.batch_size
    rows = np.random.default_rng(settings.seed).permutation(np.array(sorted(data.queries_of), dtype=np.int64))[:wanted]
    answers = [[data.queries[query] for query in data.queries_of[row][:_MAX_ANSWERS]] for row in rows.tolist()]
    return examples(lm, [data.texts[row] for row in rows.tolist()], answers, prompt, max_text_tokens)


def examples(
    lm: CausalLM,
    texts: Sequence[str],
    answers: Sequence[Sequence[str]],
    prompt: Callable[[str], Prompt],
    max_text_tokens: int,
) -> list[Example]:
    """Return an example for each text, answered in each of its ways; the texts are cut as when the model writes."""
    found = []
    for text, ways in zip(lm.shortened(texts, max_text_tokens), answers, strict=True):
        asked = prompt(text)
        said = tuple(tokens for tokens in lm.tokens([asked.led_on(way) for way in ways]) if tokens)
        found.append(Example(asked.tokens(lm), said))
    return found
