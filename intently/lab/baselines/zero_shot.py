"""A language model that nobody trained for the trade, asked what a query wants to buy.

Two ways: held to RARE's vocabulary by constrained beam search (over all tokens, `full`, as the model was pretrained),
or writing a list of intentions freely, of which those count that are in the vocabulary. Both come to ads by the
postings of given intentions. Source: RARE's zero-shot rows, and its ablation "without constrained decoding".
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intently.build.knowledge.instances import Task as Asked
from intently.build.knowledge.instances import language_of, prompt_for
from intently.index.phrases import PhraseTable
from intently.intentions.decode import DecodeSettings, ScoreMode
from intently.intentions.trie import Trie
from intently.intentions.vocabulary import merge_equal
from intently.lab.baselines.phrases import phrase_postings
from intently.lab.baselines.task import Answers, Budget, Ranking, Task, ranked, shares
from intently.models.causal_lm import CausalLM, LanguageModelSettings
from intently.settings import check_range
from intently.text.analyze import Analyzer
from intently.types import Progress

_BEGUN = {"en": "Intentions:", "zh": "意图："}  # how the answer begins, so that the next thing is an intention
_POWER = 0.5  # an intention weighs the root of its probability, as in RARE's engine


@dataclass(frozen=True)
class ZeroShotSettings:
    """How the model is asked."""

    constrained: bool = True  # else it writes freely
    max_new_tokens: int = 48  # of a freely written list
    max_prompt_tokens: int = 256  # longer ones lose their beginning
    batch_size: int = 8

    def __post_init__(self) -> None:
        check_range(self, "max_new_tokens", "max_prompt_tokens", "batch_size", low=1)


def with_smollm2(task: Task, budget: Budget, work: Path, progress: Progress, *, constrained: bool = True) -> Answers:
    """Answer with SmolLM2-135M-Instruct; nothing is trained, so nothing is kept under `work`."""
    del work
    return ask(task, budget, _loaded("smollm2", budget, progress), progress, ZeroShotSettings(constrained))


def with_gemma3(task: Task, budget: Budget, work: Path, progress: Progress, *, constrained: bool = True) -> Answers:
    """Answer with Gemma-3-270M; nothing is trained, so nothing is kept under `work`."""
    del work
    return ask(task, budget, _loaded("gemma3", budget, progress), progress, ZeroShotSettings(constrained))


def _loaded(name: str, budget: Budget, progress: Progress) -> CausalLM:
    progress("Loading the language model", 0, 0, "")
    return LanguageModelSettings(name=name, device=budget.device).load()


def ask(
    task: Task, budget: Budget, language_model: CausalLM, progress: Progress, settings: ZeroShotSettings
) -> Answers:
    """Answer the test queries with a language model."""
    way = _Constrained if settings.constrained else _Free
    asked = way(task, budget, language_model, settings)
    rankings: list[Ranking] = []
    num_identifiers: list[int] = []
    order = np.argsort([len(query) for query in task.test_queries], kind="stable")  # prompts pad to their longest
    for first in range(0, len(order), settings.batch_size):
        rows = order[first : first + settings.batch_size].tolist()
        prompts = [_prompt(language_model, task.test_queries[row])[-settings.max_prompt_tokens :] for row in rows]
        for ids, weights in asked.intentions(prompts):
            rankings.append(ranked(task, budget, asked.postings.scores(ids, weights)))
            num_identifiers.append(len(ids))
        progress("Answering", len(rankings), len(order), "")
    back = np.argsort(order).tolist()
    return Answers([rankings[row] for row in back], [num_identifiers[row] for row in back])


def _prompt(language_model: CausalLM, query: str) -> list[int]:
    language = language_of(query)
    instruction = prompt_for(Asked.QUERY_INTENT, language, query)
    return language_model.instruct(instruction) + language_model.tokens([_BEGUN[language]])[0]


class _Constrained:
    """Beam search over the vocabulary."""

    def __init__(self, task: Task, budget: Budget, language_model: CausalLM, settings: ZeroShotSettings) -> None:
        sequences = language_model.tokens([f" {text}" for text in task.vocabulary.texts])
        vocabulary = merge_equal(task.vocabulary, sequences)
        trie = Trie.build(language_model.tokens([f" {text}" for text in vocabulary.texts]))
        self.postings = phrase_postings(vocabulary, task.num_ads)
        self._language_model, self._decoder = language_model, language_model.decoder(trie)
        self._decoding = DecodeSettings(num_beams=budget.num_beams, mode=ScoreMode.FULL)

    def intentions(self, prompts: list[list[int]]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return each prompt's intentions and what they weigh."""
        decoded = self._decoder.decode(self._language_model.read_tokens(prompts), self._decoding)
        return [(found.intention_ids, shares(found.log_probs, _POWER)) for found in decoded]


class _Free:
    """A list of phrases, written greedily."""

    def __init__(self, task: Task, budget: Budget, language_model: CausalLM, settings: ZeroShotSettings) -> None:
        self.postings = phrase_postings(task.vocabulary, task.num_ads)
        self._phrases = PhraseTable(task.vocabulary.texts, Analyzer())
        self._language_model, self._settings, self._num_beams = language_model, settings, budget.num_beams

    @torch.inference_mode()
    def intentions(self, prompts: list[list[int]]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return each prompt's intentions that the vocabulary has, all of the same weight."""
        model, end = self._language_model.model, self._language_model.end_id
        longest = max(map(len, prompts))
        ids = torch.tensor([[end] * (longest - len(prompt)) + prompt for prompt in prompts])
        visible = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        written: Any = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=visible.to(model.device),
            max_new_tokens=self._settings.max_new_tokens,
            do_sample=False,
            num_beams=1,
            pad_token_id=end,
        )
        answers = []
        for row in written[:, longest:].tolist():
            text = self._language_model.tokenizer.decode(row, skip_special_tokens=True)
            known = [one for phrase in listed(str(text)) if (one := self._phrases.exact(phrase)) is not None]
            found = list(dict.fromkeys(known))[: self._num_beams]
            answers.append((np.array(found, dtype=np.int64), np.ones(len(found))))
        return answers


def listed(text: str) -> list[str]:
    """Return the phrases of a list on the answer's first line, however they are set apart."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return [phrase for part in re.split("[;；,，、]", lines[0]) if (phrase := part.strip(" .。"))] if lines else []
