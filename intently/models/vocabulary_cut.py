"""Which tokens of a Unigram vocabulary a catalog needs: a few tens of thousands of a quarter of a million.

Kept are the tokens that occur in the texts at hand, all single characters, and of the frequent tokens those in scripts
that the texts are written in. So the texts are tokenized as before, and new ones never hold an unknown character that
the whole vocabulary would have known.
"""

import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np

from intently.arrays import IntArray
from intently.models.tokenizer import METASPACE, StudentTokenizer
from intently.text.normalize import normalize

MAX_FREQUENT = 20_000  # frequent tokens that are kept though no text has them
_CHUNK = 10_000


def needed_tokens(tokenizer: StudentTokenizer, texts: Sequence[str], max_frequent: int = MAX_FREQUENT) -> IntArray:
    """Return the tokens to keep, ascending: those that `texts` need, single characters, `max_frequent` others.

    These are the likeliest ones that the tokenizer's own scores tell. Tokens that no normalized text can contain
    (capitals, traditional Chinese characters) are not counted, and not kept.
    """
    tokens, scores = tokenizer.tokens, tokenizer.scores
    used = np.zeros(len(tokens), dtype=bool)
    for start in range(0, len(texts), _CHUNK):
        for ids in tokenizer.encode_bare(texts[start : start + _CHUNK]):
            used[ids] = True
    scripts = {script for token_id in np.flatnonzero(used).tolist() for script in _scripts(tokens[token_id])}
    used[[*tokenizer.special_ids, *tokenizer.prefix_ids]] = True
    # The library prices an unknown character by the lowest score of all: that must not change.
    used[int(np.argmin(scores))] = True
    frequent = 0
    for token_id in np.argsort(-scores, kind="stable").tolist():
        token, is_frequent = tokens[token_id], frequent < max_frequent
        wanted = len(token) == 1 or (is_frequent and _scripts(token) <= scripts)
        if wanted and not used[token_id] and _can_occur(token):
            used[token_id] = True
            frequent += len(token) > 1
    return np.flatnonzero(used)


def _can_occur(token: str) -> bool:
    text = token.replace(METASPACE, " ").strip()
    return normalize(text) == text


def _scripts(token: str) -> frozenset[str]:
    return frozenset(filter(None, map(_script, token)))


@cache
def _script(char: str) -> str:
    """Return the script of a letter, as its Unicode name begins; nothing for what all scripts share."""
    return unicodedata.name(char, "").split(" ")[0] if char.isalpha() else ""
