"""Intentions to decode, made of the simulated world's words or at random, and stop watches."""

import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations, product
from typing import Any

import numpy as np

from intently.lab.world import load_vocabulary
from intently.models.tokenizer import StudentTokenizer

Tokens = tuple[int, ...]
Row = dict[str, Any]
Tables = Iterator[tuple[str, list[Row]]]
NUM_TOKENS = 4  # the most of an intention


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
    note(f"tokenizing {len(phrases()):,} phrases")
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
