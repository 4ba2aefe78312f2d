"""Letting a language model write: a local one or one behind an endpoint, resumably, and what that cost."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from intently.build.augmentation.sample import Draw, Sample, line_ends, sample
from intently.build.knowledge.endpoint import Endpoint, EndpointSettings
from intently.catalog.jsonl import whole_lines
from intently.models.causal_lm import CausalLM
from intently.text.normalize import has_han
from intently.types import Progress


@dataclass(frozen=True)
class Prompt:
    """An instruction, and how the answer begins, so that what comes next is the answer itself."""

    instruction: str
    begun: str

    def tokens(self, lm: CausalLM) -> list[int]:
        """Return the prompt in the model's chat template."""
        return lm.instruct(self.instruction) + lm.tokens([self.begun])[0]

    def led_on(self, answer: str) -> str:
        """Return the answer as it stands behind what is begun: "Query:" wants a space, "搜索词：" none."""
        return answer if has_han(self.begun) else f" {answer}"


@dataclass(frozen=True)
class Request:
    """What to write of one ad: its clean text, and a temperature for each of the texts wanted."""

    ad_row: int
    text: str
    temperatures: tuple[float, ...]


@dataclass(frozen=True)
class Written:
    """What was written of one ad, and what that cost; a text that was cut off is not whole."""

    ad_row: int
    texts: tuple[str, ...]
    is_whole: tuple[bool, ...]
    tokens_in: int
    tokens_out: int
    seconds: float


@dataclass(frozen=True)
class ModelCost:
    """What a model cost: how many ads it was sent, tokens it read and wrote, and seconds."""

    model: str
    num_ads: int
    tokens_in: int
    tokens_out: int
    seconds: float

    @classmethod
    def of(cls, model: str, written: Sequence[Written]) -> "ModelCost":
        """Add up what was written."""
        return cls(
            model,
            len(written),
            sum(one.tokens_in for one in written),
            sum(one.tokens_out for one in written),
            sum(one.seconds for one in written),
        )


class Writer(Protocol):
    """What writes texts of ads."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    @property
    def identity(self) -> object:
        """All that decides what it writes, as JSON can hold it."""
        ...

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """Return what it writes of each ad."""
        ...


@dataclass(frozen=True)
class SamplingSettings:
    """How a local model is sampled."""

    max_text_tokens: int = 96  # of an ad in the prompt; the rest is cut off
    max_new_tokens: int = 24
    top_k: int = 50  # likeliest tokens that one is drawn from; 0: all
    seed: int = 0


class LanguageModelWriter:
    """A local language model; `origin` says where its weights come from."""

    def __init__(
        self, lm: CausalLM, name: str, origin: object, prompt: Callable[[str], Prompt], settings: SamplingSettings
    ) -> None:
        self.name = name
        self.identity = [name, origin, asdict(settings)]
        self._lm, self._prompt, self._settings, self._ends = lm, prompt, settings, line_ends(lm)

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """Return what it writes of each ad, sampled from (seed, ad_row, number of the text)."""
        begun = time.perf_counter()
        texts = self._lm.shortened([request.text for request in requests], self._settings.max_text_tokens)
        prompts = [self._prompt(text).tokens(self._lm) for text in texts]
        draws = [
            [self._draw(request.ad_row, number, each) for number, each in enumerate(request.temperatures)]
            for request in requests
        ]
        said = sample(self._lm, prompts, draws, top_k=self._settings.top_k, ends=self._ends)
        seconds = (time.perf_counter() - begun) / len(requests)
        return [
            _written(request, samples, len(prompt), seconds)
            for request, prompt, samples in zip(requests, prompts, said, strict=True)
        ]

    def _draw(self, ad_row: int, number: int, temperature: float) -> Draw:
        rng = np.random.default_rng((self._settings.seed, ad_row, number))
        return Draw(temperature, rng.random(self._settings.max_new_tokens))


def _written(request: Request, samples: Sequence[Sample], num_prompt_tokens: int, seconds: float) -> Written:
    return Written(
        request.ad_row,
        tuple(one.text for one in samples),
        tuple(one.is_whole for one in samples),
        num_prompt_tokens,
        sum(one.num_tokens for one in samples),
        seconds,
    )


class EndpointWriter:
    """A language model behind an OpenAI-compatible endpoint, asked once for every text."""

    def __init__(self, settings: EndpointSettings, prompt: Callable[[str], Prompt], max_text_tokens: int) -> None:
        self.name = settings.model
        self.identity = [settings.model, settings.shown_url]
        self._endpoint, self._prompt, self._max_text_tokens = Endpoint(settings, (), 1), prompt, max_text_tokens

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """Return what it writes of each ad. Raises `InputError` when the endpoint does not answer."""
        return [self._of(request) for request in requests]

    def _of(self, request: Request) -> Written:
        begun = time.perf_counter()
        # Whose tokenizer is unknown: about a token a Chinese character, and one for four Latin letters.
        chars = self._max_text_tokens * (1 if has_han(request.text) else 4)
        prompt = self._prompt(request.text[:chars])
        messages = [{"role": "user", "content": f"{prompt.instruction}\n{prompt.begun}"}]
        answers = [self._endpoint.complete(messages, each) for each in request.temperatures]
        return Written(
            request.ad_row,
            tuple(answer.text.strip() for answer in answers),
            (True,) * len(answers),
            sum(answer.tokens_in for answer in answers),
            sum(answer.tokens_out for answer in answers),
            time.perf_counter() - begun,
        )


def write_all(
    writer: Writer, requests: Sequence[Request], home: Path, batch_size: int, stage: str, progress: Progress
) -> list[Written]:
    """Return what the writer writes of each ad, in the order of `requests`, read in batches of similar length.

    It is kept under `home`, a line an ad, in a file of its own for every writer and set of requests; what an
    interrupted run has written is not written again.
    """
    path = home / f"written-{digest([writer.identity, [asdict(request) for request in requests]])}.jsonl"
    written = {one.ad_row: one for one in _read(path)}
    # Of as many texts, and of similar length: then little of a batch is padding.
    left = [request for request in requests if request.ad_row not in written]
    left.sort(key=lambda request: (len(request.temperatures), len(request.text), request.ad_row))
    home.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for start in range(0, len(left), batch_size):
            for one in writer.write(left[start : start + batch_size]):
                written[one.ad_row] = one
                file.write(json.dumps(asdict(one), ensure_ascii=False) + "\n")
            file.flush()
            progress(stage, len(written), len(requests), "")
    return [written[request.ad_row] for request in requests]


def _read(path: Path) -> list[Written]:
    found = []
    for line in whole_lines(path):
        record: dict[str, Any] = json.loads(line)
        found.append(Written(**(record | {name: tuple(record[name]) for name in ("texts", "is_whole")})))
    return found


def digest(content: object) -> str:
    """Return 16 hex digits that name `content`, anything that JSON can hold."""
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()[:16]
