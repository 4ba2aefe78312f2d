"""Keywords by a language model that knows the trade: asked which keywords an ad should bid on.

Correct but slow on CPUs: an ad costs a read of its text and some thirty tokens. What it answers counts only where the
ad's text has it or some ad bids on it, so it cannot invent.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from intently.build.augmentation.records import AdsAndClicks
from intently.build.augmentation.tuning import TuningCost, examples, tune
from intently.build.augmentation.writer import (
    LanguageModelWriter,
    ModelCost,
    Prompt,
    Request,
    SamplingSettings,
    write_all,
)
from intently.build.knowledge.instances import Task, language_of, prompt_for, read_instances
from intently.build.training.language_model import Example, FineTuningSettings
from intently.models.causal_lm import CausalLM, LanguageModelSettings
from intently.settings import check_range
from intently.text.analyze import Analyzer
from intently.text.normalize import normalize
from intently.types import Progress

_BEGUN = {"en": "Keywords:", "zh": "关键词："}
_MAX_EXAMPLE_KEYWORDS = 8


@dataclass(frozen=True)
class KeywordModelSettings:
    """Which language model extracts keywords; without one the statistical model does."""

    model: LanguageModelSettings = field(default_factory=LanguageModelSettings)
    tune: bool = True  # on keyword instances of `knowledge_file`, else on the catalog's bids
    tuning: FineTuningSettings = field(default_factory=FineTuningSettings)
    knowledge_file: str = ""  # instances that `intently knowledge` wrote
    num_keywords: int = 8
    max_text_tokens: int = 96
    max_new_tokens: int = 48
    batch_size: int = 8

    def __post_init__(self) -> None:
        check_range(self, "num_keywords", "max_text_tokens", "max_new_tokens", "batch_size", low=1)


def keyword_prompt(text: str) -> Prompt:
    """Return the instruction of the knowledge task "keyword purchase", with the answer begun."""
    language = language_of(text)
    return Prompt(prompt_for(Task.KEYWORD_PURCHASE, language, text), _BEGUN[language])


class LanguageModelKeywords:
    """Extracts keywords with a language model, tuned first if the settings say so; keeps all under `home`."""

    def __init__(self, settings: KeywordModelSettings, analyzer: Analyzer, home: Path) -> None:
        self._settings, self._analyzer, self._home = settings, analyzer, home
        self.cost = ModelCost.of(settings.model.name, ())  # of the last extraction
        self.tuning: TuningCost | None = None

    def extract(self, data: AdsAndClicks, progress: Progress) -> list[tuple[str, ...]]:
        """Return at most `num_keywords` of each ad, in the order the model says them."""
        chosen = self._settings
        name, origin = chosen.model.name, ""
        if chosen.tune:
            progress("Loading the keyword model", 0, 0, "")
            tuned = tune(
                chosen.model,
                lambda lm: self._examples(lm, data),
                chosen.tuning,
                self._home,
                "Tuning the keyword model",
                progress,
            )
            lm, origin, self.tuning = tuned.lm, tuned.origin, tuned.cost
        else:
            lm = chosen.model.load()
        sampling = SamplingSettings(chosen.max_text_tokens, chosen.max_new_tokens, top_k=1)
        writer = LanguageModelWriter(lm, name, origin, keyword_prompt, sampling)
        requests = [Request(row, text, (0.0,)) for row, text in enumerate(data.texts)]
        written = write_all(writer, requests, self._home, chosen.batch_size, "Extracting keywords", progress)
        self.cost = ModelCost.of(name, written)
        bid = {self._key(keyword) for bids in data.bids for keyword in bids}
        return [self._kept(_phrases(one.texts[0], one.is_whole[0]), data.texts[one.ad_row], bid) for one in written]

    def _examples(self, lm: CausalLM, data: AdsAndClicks) -> list[Example]:
        wanted = self._settings.tuning.max_steps * self._settings.tuning.batch_size
        if self._settings.knowledge_file:
            told = read_instances(Path(self._settings.knowledge_file))
            pairs = [(one.input, one.answer) for one in told if one.task is Task.KEYWORD_PURCHASE]
        else:
            some = ((text, bids[:_MAX_EXAMPLE_KEYWORDS]) for text, bids in zip(data.texts, data.bids, strict=True))
            pairs = [(text, "; ".join(bids)) for text, bids in some if bids]
        texts, answers = [text for text, _ in pairs[:wanted]], [[answer] for _, answer in pairs[:wanted]]
        return examples(lm, texts, answers, keyword_prompt, self._settings.max_text_tokens)

    def _kept(self, phrases: Sequence[str], text: str, bid: set[str]) -> tuple[str, ...]:
        words = self._analyzer.words(text)
        kept: dict[str, str] = {}
        for phrase in phrases:
            key = self._key(phrase)
            if key and (key in bid or is_extractive(self._analyzer.words(phrase), words)):
                kept.setdefault(key, phrase)
        return tuple(kept.values())[: self._settings.num_keywords]

    def _key(self, text: str) -> str:
        return " ".join(stem for _, stem in self._analyzer.content(text))


def is_extractive(phrase: Sequence[str], text: Sequence[str]) -> bool:
    """Return whether the words of a phrase stand side by side in those of a text."""
    return any(list(text[at : at + len(phrase)]) == list(phrase) for at in range(len(text) - len(phrase) + 1))


def _phrases(said: str, is_whole: bool) -> list[str]:
    """Return the phrases of an answer, normalized. If the answer was cut off, its last phrase is left out."""
    phrases = [normalize(phrase.strip(' .。"“”*')) for phrase in re.split("[;；,，、]", said)]
    return [phrase for phrase in (phrases if is_whole else phrases[:-1]) if phrase]
