"""Instances of the three tasks that teach a language model the trade, and their file of JSON lines.

The tasks are those of RARE's knowledge injection (arXiv 2504.01304, appendix A): what a searcher wants, which needs an
ad serves, and which keywords an ad should bid on. Prompts are short, because models are trained on CPU cores with them.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from intently.catalog.jsonl import parse_json
from intently.catalog.lines import read_lines
from intently.catalog.problems import quote
from intently.errors import InputError
from intently.files import write_text
from intently.text.normalize import has_han

NOTHING = "none"  # the answer for a query without commercial intent, in every language
LANGUAGES = ("en", "zh")
MAX_INTENTION_CHARS = 80


class Task(StrEnum):
    """What an instance teaches."""

    QUERY_INTENT = "query_intent"
    AD_INTENT = "ad_intent"
    KEYWORD_PURCHASE = "keyword_purchase"


_PROMPTS = {
    (Task.QUERY_INTENT, "en"): "What does this user want to buy? End with “Intentions: a; b” or “Intentions: none”.",
    (Task.QUERY_INTENT, "zh"): "用户想买什么？最后写“意图：甲; 乙”或“意图：none”。",
    (Task.AD_INTENT, "en"): "Which needs does this ad serve? End with “Intentions: a; b”.",
    (Task.AD_INTENT, "zh"): "这条广告满足什么需求？最后写“意图：甲; 乙”。",
    (Task.KEYWORD_PURCHASE, "en"): "Which keywords should this ad bid on? End with “Keywords: a; b”.",
    (Task.KEYWORD_PURCHASE, "zh"): "这条广告应买哪些关键词？最后写“关键词：甲; 乙”。",
}
_INPUT = {
    (Task.QUERY_INTENT, "en"): "Query: ",
    (Task.QUERY_INTENT, "zh"): "搜索词：",
    (Task.AD_INTENT, "en"): "Ad: ",
    (Task.AD_INTENT, "zh"): "广告：",
    (Task.KEYWORD_PURCHASE, "en"): "Ad: ",
    (Task.KEYWORD_PURCHASE, "zh"): "广告：",
}
_MARKERS = {
    (task, language): word
    for task in Task
    for language, word in zip(
        LANGUAGES,
        ("Keywords: ", "关键词：") if task is Task.KEYWORD_PURCHASE else ("Intentions: ", "意图："),
        strict=True,
    )
}
_MARKER = re.compile(r"^\W*(?:(?:intentions|keywords)\W*?[:：]|(?:意图|关键词)\W*?[:：])(.*)$", re.IGNORECASE)


def language_of(text: str) -> str:
    """Return the language whose prompts a text gets: "zh" if it holds a Chinese character, else "en"."""
    return "zh" if has_han(text) else "en"


def prompt_for(task: Task, language: str, text: str) -> str:
    """Return what a chat model is told to do with `text`, a query or an ad: one instruction, ending before the answer.

    Raises InputError for a language without prompts.
    """
    if (task, language) not in _PROMPTS:
        raise InputError(f"no prompt in language {language!r}", cure=f"use one of {', '.join(LANGUAGES)}")
    return f"{_PROMPTS[task, language]}\n{_INPUT[task, language]}{' '.join(text.split())}"


@dataclass(frozen=True, slots=True)
class Instance:
    """One example of a task: a query or an ad, what it means, and why.

    `answer` is short phrases with "; " between them, or "none"; `reasoning` is one line or empty; `source` says who
    wrote it ("handwritten", "clicks", "bids", "titles", "taxonomy", "endpoint"). Raises InputError for a wrong value.
    """

    task: Task
    language: str
    input: str
    answer: str
    reasoning: str = ""
    source: str = "handwritten"

    def __post_init__(self) -> None:
        if self.task not in tuple(Task):
            raise InputError(f"{self.task!r} is no task", cure=f"use one of {', '.join(Task)}", field="task")
        object.__setattr__(self, "task", Task(self.task))
        if self.language not in LANGUAGES:
            cure = f"use one of {', '.join(LANGUAGES)}"
            raise InputError(f"{self.language!r} is no language with prompts", cure=cure, field="language")
        for name in ("input", "answer", "reasoning", "source"):
            value = getattr(self, name)
            if "\n" in value or value != value.strip():
                raise InputError("not one trimmed line", cure="write it on one line", field=name)
            if not value and name != "reasoning":
                raise InputError("empty", cure="give every instance a value", field=name)
        _check_answer(self)

    @property
    def intentions(self) -> tuple[str, ...]:
        """The phrases of the answer; none for "none"."""
        return () if self.answer == NOTHING else tuple(self.answer.split("; "))

    @property
    def prompt(self) -> str:
        """What a chat model is given."""
        return prompt_for(self.task, self.language, self.input)

    @property
    def response(self) -> str:
        """What it should answer: the reasoning if there is one, then a line with a fixed beginning and the answer."""
        line = _MARKERS[self.task, self.language] + self.answer
        return f"{self.reasoning}\n{line}" if self.reasoning else line


def _check_answer(instance: Instance) -> None:
    phrases = instance.answer.split("; ")
    folded = [phrase.casefold() for phrase in phrases]
    cure = 'write short phrases with "; " between them'
    if any(not phrase or phrase != phrase.strip(" ;；") for phrase in phrases):
        raise InputError(f"{quote(instance.answer)} has an empty phrase", cure=cure, field="answer")
    if len(set(folded)) < len(folded):
        raise InputError(f"{quote(instance.answer)} names a phrase twice", cure="name each once", field="answer")
    if long := next((phrase for phrase in phrases if len(phrase) > MAX_INTENTION_CHARS), None):
        raise InputError(f"{quote(long)} is over {MAX_INTENTION_CHARS} characters", cure=cure, field="answer")
    if NOTHING in folded and (len(phrases) > 1 or instance.task is not Task.QUERY_INTENT or instance.answer != NOTHING):
        cure = 'only a query can mean nothing commercial, and then "none" is the whole answer'
        raise InputError('"none" among the phrases', cure=cure, field="answer")


def parse_response(text: str) -> tuple[str, str]:
    """Return (answer, reasoning) of what a model answered; the answer is "" when no line begins as asked for."""
    lines = [line.strip() for line in text.strip().splitlines()]
    for at in range(len(lines) - 1, -1, -1):
        if found := _MARKER.match(lines[at]):
            phrases = (re.sub(r"\s+", " ", part).strip(' .。"“”*') for part in re.split("[;；]", found[1]))
            answer = "; ".join(dict.fromkeys(phrase for phrase in phrases if phrase))
            return NOTHING if answer.casefold() == NOTHING else answer, " ".join(" ".join(lines[:at]).split())
    return "", " ".join(text.split())


def read_instances(path: str | Path) -> tuple[Instance, ...]:
    """Read instances from a file of JSON lines, plain or compressed. A line without a source counts as handwritten.

    Raises InputError naming file, line, field and cure of the first wrong line, and for a file without any.
    """
    path = Path(path)
    instances: list[Instance] = []
    for lines in read_lines(path):
        if lines.errors:
            raise next(iter(lines.errors))
        for number, text in zip(lines.numbers.tolist(), lines.text.to_pylist(), strict=True):
            if text.strip():
                instances.append(_parsed(text, path, number))
    if not instances:
        raise InputError("no instances", cure="write one JSON object a line", path=path)
    return tuple(instances)


def _parsed(text: str, path: Path, line: int) -> Instance:
    try:
        row: Any = parse_json(text)
    except ValueError as error:
        cure = "write one JSON object a line"
        raise InputError(f"not valid JSON: {error}", cure=cure, path=path, line=line) from None
    if not isinstance(row, dict):
        raise InputError("no JSON object", cure="write one JSON object a line", path=path, line=line)
    known = Instance.__slots__
    for name in (*known, *row):
        if name not in known:
            cure = f"use {', '.join(known)}"
            raise InputError("no such field", cure=cure, path=path, line=line, field=name)
        if name not in row and name not in ("reasoning", "source"):
            raise InputError("missing", cure="give every instance a value", path=path, line=line, field=name)
        if not isinstance(row.get(name, ""), str):
            raise InputError("not a text", cure="write a JSON string", path=path, line=line, field=name)
    try:
        return Instance(**row)
    except InputError as error:
        raise InputError(error.problem, cure=error.cure, path=path, line=line, field=error.field) from None


def write_instances(path: str | Path, instances: Iterable[Instance]) -> None:
    """Write instances as JSON lines, whole or not at all."""
    names = Instance.__slots__
    rows = ({name: getattr(instance, name) for name in names} for instance in instances)
    write_text(Path(path), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def handwritten() -> tuple[Instance, ...]:
    """Return the instances that come with the package, written by people."""
    with as_file(files("intently.build.knowledge") / "handwritten.jsonl") as path:
        return read_instances(path)
