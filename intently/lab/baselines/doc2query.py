"""doc2query: an encoder-decoder writes queries for every ad, which are indexed by BM25 together with the ad's text.

It learns from clicks to write the query when it reads the ad, and writes by sampling from the 10 most probable tokens,
so that an ad's queries differ. What it writes repeatedly counts repeatedly. The index is the package's plain BM25
(`lexical`), hence the row "BM25, the package's" is the same without the queries.
Source: Nogueira et al., "Document Expansion by Query Prediction" (2019); sampling: Nogueira & Lin, "From doc2query to
docTTTTTquery" (2019), who write 40 queries with a T5. The network is `encoder_decoder`.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig

from intently.lab.baselines.codes import words_of
from intently.lab.baselines.contrastive import Clicks
from intently.lab.baselines.encoder_decoder import Model, build, fit, read
from intently.lab.baselines.lexical import answer
from intently.lab.baselines.task import Answers, Budget, Task, directory_of
from intently.models.device import autocast
from intently.models.pretrained import open_checkpoint
from intently.models.tokenizer import StudentTokenizer
from intently.settings import check_range
from intently.text.normalize import HAN
from intently.types import Progress

_HAN_GAP = re.compile(rf"(?<=[{HAN}]) (?=[{HAN}])")
_NUMBER_GAP = re.compile(r"(?<=\d) ([./]) (?=\d)")


@dataclass(frozen=True)
class Doc2QuerySettings:
    """How many queries are written for an ad, and how.

    A query takes one core about 0.02 s with 6 layers of 384: three for each of 55,000 ads are an hour.
    """

    num_queries: int = 3
    top_k: int = 10  # tokens sampled from
    max_query_tokens: int = 16  # learnt and written; in Chinese a token is a character
    batch_size: int = 64  # ads read together

    def __post_init__(self) -> None:
        check_range(self, "num_queries", "top_k", "max_query_tokens", "batch_size", low=1)


def doc2query(
    task: Task, budget: Budget, work: Path, progress: Progress, settings: Doc2QuerySettings | None = None
) -> Answers:
    """Train, write queries for all ads, and answer."""
    settings = settings or Doc2QuerySettings()
    place = directory_of(work, "doc2query", budget, settings)
    begun = open_checkpoint(budget.checkpoint).fitted_to((*task.ad_texts, *task.queries))
    model, tokenizer = build(budget, begun), begun.tokenizer
    batches = _batches(task, Clicks(task, budget), tokenizer, budget, settings)
    fit(model, tokenizer, batches, budget, place / "checkpoint.pt", progress)
    written = write_queries(model, tokenizer, task, budget, settings, place / "queries.jsonl", progress)
    texts = [" ".join((text, *queries)) for text, queries in zip(task.ad_texts, written, strict=True)]
    return answer(task, budget, texts, progress)


def _batches(
    task: Task, clicks: Clicks, tokenizer: StudentTokenizer, budget: Budget, settings: Doc2QuerySettings
) -> Iterator[tuple[int, list[str], list[list[int]]]]:
    """Yield (step, ads' texts, queries to write) of every step."""
    for step in range(budget.num_steps):
        drawn = clicks.drawn(step)
        queries = tokenizer.encode_bare([task.queries[row] for row in drawn[:, 0]])
        texts = [task.ad_texts[row] for row in drawn[:, 1]]
        yield step, texts, [tokens[: settings.max_query_tokens] for tokens in queries]


def write_queries(
    model: Model,
    tokenizer: StudentTokenizer,
    task: Task,
    budget: Budget,
    settings: Doc2QuerySettings,
    path: Path,
    progress: Progress,
) -> list[list[str]]:
    """Return the queries that the model writes for each ad, in the order of the ads.

    They are kept in `path`, a line of JSON a batch, and an interrupted writing goes on after its last whole line. What
    a batch draws depends on the seed and the batch alone.
    """
    order = np.argsort(tokenizer.encode(task.ad_texts, budget.max_ad_tokens)[1], kind="stable")
    written: list[list[str]] = [[] for _ in task.ad_texts]
    lines = _whole_lines(path)
    for number, line in enumerate(lines):
        for row, queries in zip(_rows(order, number, settings), line, strict=True):
            written[row] = queries
    with path.open("a", encoding="utf-8") as file:
        for number in range(len(lines), -(-len(order) // settings.batch_size)):
            rows = _rows(order, number, settings)
            seed = int(np.random.default_rng((budget.seed, 9, number)).integers(2**31))
            found = sample(model, tokenizer, [task.ad_texts[row] for row in rows], budget, settings, seed)
            file.write(json.dumps(found, ensure_ascii=False) + "\n")
            file.flush()
            for row, queries in zip(rows, found, strict=True):
                written[row] = queries
            done = min((number + 1) * settings.batch_size, len(order))
            progress("Writing queries", done, len(order), found[0][0])
    return written


def _rows(order: Any, number: int, settings: Doc2QuerySettings) -> list[int]:
    rows: list[int] = order[number * settings.batch_size : (number + 1) * settings.batch_size].tolist()
    return rows


def _whole_lines(path: Path) -> list[list[list[str]]]:
    """Return what the lines of `path` hold, and cut off a last one that was torn."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    os.truncate(path, whole)
    return [json.loads(line) for line in content[:whole].splitlines()]


@torch.inference_mode()
def sample(
    model: Model,
    tokenizer: StudentTokenizer,
    texts: Sequence[str],
    budget: Budget,
    settings: Doc2QuerySettings,
    seed: int,
) -> list[list[str]]:
    """Return `num_queries` texts written for each ad, cut at `max_query_tokens`."""
    model.eval()
    ids, visible = read(tokenizer, texts, budget.max_ad_tokens, model.device)
    config = GenerationConfig(
        do_sample=True,
        top_k=settings.top_k,
        num_return_sequences=settings.num_queries,
        max_new_tokens=settings.max_query_tokens + 1,  # the end token
        decoder_start_token_id=tokenizer.cls_id,
        bos_token_id=tokenizer.cls_id,
        eos_token_id=tokenizer.sep_id,
        pad_token_id=tokenizer.pad_id,
    )
    with torch.random.fork_rng(), autocast(model.device):
        torch.manual_seed(seed)
        sequences: Any = model.generate(input_ids=ids, attention_mask=visible, generation_config=config)
    speller = Speller(tokenizer)
    found = [speller.text(tokens) for tokens in sequences[:, 1:].tolist()]
    number = settings.num_queries
    return [found[row * number : (row + 1) * number] for row in range(len(texts))]


class Speller:
    """Turns token ids back into text, as far as the lexical analyzer tells texts apart."""

    def __init__(self, tokenizer: StudentTokenizer) -> None:
        words = enumerate(words_of(tokenizer))
        self._tokens = {token_id: word for token_id, word in words if token_id not in tokenizer.special_ids}
        self._end = tokenizer.sep_id

    def text(self, token_ids: Sequence[int]) -> str:
        """Return the text up to the end token; Chinese characters and the parts of a number stand close."""
        words: list[str] = []
        for token_id in token_ids:
            if token_id == self._end:
                break
            token = self._tokens.get(token_id)
            if token is None:
                continue
            if token.startswith("##") and words:
                words[-1] += token.removeprefix("##")
            else:
                words.append(token)
        return _NUMBER_GAP.sub(r"\1", _HAN_GAP.sub("", " ".join(words)))
