"""Queries that a catalog asks of itself, each after one of its ads: what stands in for clicks where there are none.

A person who looks for an ad remembers some words of its title, and some that other ads of its kind have (known-item
search: Azzopardi, de Rijke & Balog, SIGIR 2007, whose generative model this is: words of the item, mixed with noise).
Noise of any ads would be told apart too easily: by meaning nothing like such queries is ever asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from intently.index.lexical import LexicalIndex
from intently.text.analyze import Analyzer
from intently.text.normalize import has_han

_NUM_WORDS = {1: 0.05, 2: 0.25, 3: 0.35, 4: 0.25, 5: 0.1}  # of a query, with their shares: as shoppers write them
_NOISE = 0.4  # share of the words that come from the title of a like ad
_TRIES = 4  # ads that are looked at for each query wanted


@dataclass(frozen=True)
class KnownItem:
    """A query that was made for one ad."""

    query: str
    ad_row: int


def known_items(
    titles: Sequence[str], lexical: LexicalIndex, analyzer: Analyzer, number: int, seed: int = 0
) -> list[KnownItem]:
    """Return at most `number` queries for as many ads, drawn from all. The same ads and seed give the same."""
    rng = np.random.default_rng(seed)
    sizes, shares = list(_NUM_WORDS), list(_NUM_WORDS.values())
    found: dict[str, int] = {}
    for row in rng.permutation(len(titles))[: _TRIES * number].tolist():
        if len(found) == number:
            break
        own = _words(titles[row], analyzer)
        if not own:
            continue
        like = _like(row, own, lexical, analyzer, rng)
        others = [] if like is None else [word for word in _words(titles[like], analyzer) if word not in own]
        places = sorted(rng.permutation(len(own))[: rng.choice(sizes, p=shares)].tolist())
        is_noise = rng.random(len(places)) < (_NOISE if others and len(places) > 1 else 0.0)
        words = [
            others[int(rng.integers(len(others)))] if noisy else own[place]
            for place, noisy in zip(places, is_noise.tolist(), strict=True)
        ]
        if not is_noise.all():
            found.setdefault(_written(words), row)
    return [KnownItem(query, row) for query, row in found.items()]


def _words(title: str, analyzer: Analyzer) -> list[str]:
    return list(dict.fromkeys(word for word, _ in analyzer.content(title)))


def _like(
    row: int, words: Sequence[str], lexical: LexicalIndex, analyzer: Analyzer, rng: np.random.Generator
) -> int | None:
    """Return another ad that has the rarest of an ad's words that any other has, None if no other has one."""
    others = [with_it[with_it != row] for with_it in (lexical.ads_with(analyzer.stem(word)) for word in words)]
    shared = [each for each in others if len(each)]
    return int(rng.choice(min(shared, key=len))) if shared else None


def _written(words: Sequence[str]) -> str:
    """Return words as one query: with blanks between them, but not between Chinese ones."""
    query = words[0]
    for before, word in pairwise(words):
        query += word if has_han(before) and has_han(word) else f" {word}"
    return query
