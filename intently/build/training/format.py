"""Format fine-tuning: queries and ads answered by short intentions and nothing else (RARE, "format fine-tuning").

The examples come from real clicks by fixed rules. A query should say intentions that its clicked ads share, an ad those
it was clicked for, bids on or has in its title, drawn by weight without repetition, so that rare ones get their turn
(`intently.build.training.pairs`). To keep the model's answers diverse, no intention may be the answer of too many
examples.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intently.build.training.language_model import Example
from intently.build.training.pairs import Choices, TrainingData
from intently.models.causal_lm import CausalLM
from intently.settings import check_range


@dataclass(frozen=True)
class FormatSettings:
    """How many examples of the format are made."""

    num_examples: int = 8_000  # at most
    query_share: float = 0.6  # the others are ads
    answers_per_example: int = 8  # intentions that an example may have as answers
    max_text_tokens: int = 64  # of a query or an ad in a prompt; the rest is cut off
    max_share: float = 0.005  # of the examples that may have the same intention among their answers
    seed: int = 0  # draws the examples

    def __post_init__(self) -> None:
        check_range(self, "num_examples", "answers_per_example", "max_text_tokens", low=1)
        check_range(self, "query_share", high=1)
        check_range(self, "max_share", high=1, exclusive=True)
        check_range(self, "seed", high=2**32 - 1)


def query_prompt(query: str) -> str:
    """Return the instruction that asks for an intention of a query."""
    return f"Query: {query}\nIntention:"


def ad_prompt(text: str) -> str:
    """Return the instruction that asks for an intention of an ad."""
    return f"Ad: {text}\nIntention:"


def format_examples(lm: CausalLM, data: TrainingData, settings: FormatSettings) -> list[Example]:
    """Return examples of queries and ads with their intentions; fewer than asked for if the data has no more."""
    rng = np.random.default_rng(settings.seed)
    num_queries = round(settings.num_examples * settings.query_share)
    answers = lm.tokens(data.intentions)
    examples = []
    kinds = (
        (query_prompt, data.queries, data.query_intentions, num_queries),
        (ad_prompt, data.ad_texts, data.ad_intentions, settings.num_examples - num_queries),
    )
    speakers = [_speakers(choices, wanted, rng) for _, _, choices, wanted in kinds]
    limit = max(1, round(settings.max_share * sum(map(len, speakers))))
    used: Counter[int] = Counter()
    for (prompt, texts, choices, _), rows in zip(kinds, speakers, strict=True):
        short = lm.shortened([texts[row] for row in rows], settings.max_text_tokens)
        for row, text in zip(rows, short, strict=True):
            drawn = [i for i in choices.distinct(row, settings.answers_per_example, rng) if used[i] < limit]
            used.update(drawn)
            if drawn:
                examples.append(Example(lm.instruct(prompt(text)), tuple(answers[i] for i in drawn)))
    return examples


def _speakers(choices: Choices, wanted: int, rng: np.random.Generator) -> Sequence[int]:
    """Return at most `wanted` rows that have anything to say, at random."""
    able = np.flatnonzero(np.diff(choices.offsets))
    return [int(row) for row in rng.permutation(able)[:wanted]]
