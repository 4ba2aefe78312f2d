"""The probability that an ad is relevant to a query, from evidence that means the same for every query.

The fusion tells which of a query's ads is better, not whether any of them is good: its features compare an ad with the
query's other candidates. Here each ad is looked at alone, so that its probability depends on nothing but the query and
the ad: not on k, on other ads, on filters, or on which channel found it.

Shape letters: C ads, T words of a query.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from intently.arrays import Float32Array, Float64Array, IntArray, Mask
from intently.engine.search import Searched
from intently.errors import ArtifactError
from intently.files import write_text
from intently.index.bm25 import Statistics
from intently.snapshot.segment import Segment
from intently.types import Channel

VERSION = 1  # of the evidence: what was learned from another one is refused
WORDS = ("coverage",)  # which every engine has
OF_CHANNEL = {Channel.DENSE: "cosine", Channel.INTENTION: "intentions"}
_FLOOR = 0.1  # added before logarithms: below it, little and nothing are the same

Evidence = Mapping[str, Float64Array]
"""Columns (C,) by name; more of each can only speak for an ad."""


def evidence(searched: Searched, ad_rows: IntArray, statistics: Statistics) -> Evidence:
    """Return what speaks for some ads (C,), whether a channel found them or not. Cost: T binary searches an ad.

    "coverage": ln(0.1 + the share of the query's words, weighed by idf, that the ad has). "cosine": ln(0.1 + the cosine
    of the query's embedding, as models read it, and the ad's). "intentions": ln(1 + the intention channel's score)
    times that share of words: a query from elsewhere has few intentions, perhaps of one word alone, and these then look
    certain. The last two are there if their channel was searched. Logarithms, because a sum of them asks for both: an
    ad that is near in meaning, or has many of the words, is not yet what the query wants.
    """
    question = searched.question
    share = _share_of_words(searched, ad_rows, statistics)
    found = {"coverage": np.log(_FLOOR + share)}
    if (embedding := question.understood.embedding) is not None and Channel.DENSE in searched.found:

        def cosines(part: Segment, rows: IntArray) -> Float32Array:
            assert part.vectors is not None
            return part.vectors.scores_of(embedding, rows, question.settings.num_threads)

        found["cosine"] = np.log(_FLOOR + question.snapshot.gather(ad_rows, cosines).astype(np.float64).clip(min=0.0))
    if Channel.INTENTION in searched.found:
        scores = searched.found[Channel.INTENTION].scores_of(ad_rows)
        found["intentions"] = share * np.log1p(scores.astype(np.float64))
    return found


def _share_of_words(searched: Searched, ad_rows: IntArray, statistics: Statistics) -> Float64Array:
    """Return which share (C,) of a query's words, weighed by idf, ads have: as typed or corrected, whichever is more.

    A word that no ad has counts as the rarest, so a query from elsewhere has low shares.
    """
    text, snapshot = searched.question.text, searched.question.snapshot
    weight_of = dict(zip(text.terms, text.weights, strict=True))
    share = np.zeros(len(ad_rows))
    for reading in text.readings:
        terms = list(dict.fromkeys(reading))
        weights = statistics.idf(terms) * np.array([weight_of.get(term, 1.0) for term in terms])
        has = snapshot.gather(ad_rows, partial(_holds, terms))
        share = np.maximum(share, has @ weights / max(float(weights.sum()), 1e-9))
    return share


def _holds(terms: Sequence[str], part: Segment, ad_rows: IntArray) -> Mask:
    return part.lexical.holds(terms, ad_rows)


@dataclass(frozen=True)
class Logistic:
    """A probability from evidence: the logistic function of `bias` and the weighted sum of what `weights` name."""

    weights: Mapping[str, float]
    bias: float

    def of(self, found: Evidence) -> Float64Array:
        """Return the probabilities (C,)."""
        total = self.bias + sum(weight * found[name] for name, weight in self.weights.items())
        return 1.0 / (1.0 + np.exp(-np.asarray(total, dtype=np.float64)))


@dataclass(frozen=True)
class Calibrator:
    """Tells relevance. It has a model for each set of evidence that an answer may have, by its names in order.

    An answer has less evidence if it was asked of one channel alone, or if a deadline left out what models say.
    `learned_from` says in words what was learned from, `keeping` which threshold keeps which share of relevant ads.
    """

    models: Mapping[tuple[str, ...], Logistic]
    learned_from: str
    keeping: Mapping[float, float]

    def relevance(self, searched: Searched, ad_rows: IntArray, statistics: Statistics) -> Float64Array:
        """Return the probabilities (C,) that some ads are relevant."""
        found = evidence(searched, ad_rows, statistics)
        return self.models[tuple(found)].of(found)

    def has(self, channel: Channel) -> bool:
        """Return whether a channel's evidence was learned from."""
        return any(OF_CHANNEL[channel] in names for names in self.models)

    def save(self, path: Path) -> None:
        """Write to one JSON file."""
        content = {
            "version": VERSION,
            "learned_from": self.learned_from,
            "keeping": {str(share): least for share, least in self.keeping.items()},
            "models": [asdict(model) for model in self.models.values()],
        }
        write_text(path, json.dumps(content, indent=1))

    @classmethod
    def load(cls, path: Path) -> "Calibrator":
        """Read what `save` wrote; raise `ArtifactError` naming the file if it is not that."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version, learned_from = content["version"], str(content["learned_from"])
            keeping = {float(share): float(least) for share, least in content["keeping"].items()}
            told = [
                Logistic({str(name): float(weight) for name, weight in each["weights"].items()}, float(each["bias"]))
                for each in content["models"]
            ]
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ArtifactError(f"{path} does not tell relevance ({error}); build the engine again") from error
        models = {tuple(model.weights): model for model in told}
        if version != VERSION or not {*models} <= {*sets_of_evidence(tuple(OF_CHANNEL))}:
            raise ArtifactError(f"{path} was learned from other evidence than there is now; build the engine again")
        return cls(models, learned_from, keeping)


def sets_of_evidence(channels: Sequence[Channel]) -> tuple[tuple[str, ...], ...]:
    """Return the names of evidence that an answer of an engine with these channels may have, the fullest set last."""
    sets: list[tuple[str, ...]] = [WORDS]
    for channel, name in OF_CHANNEL.items():  # in the order in which `evidence` has them
        if channel in channels:
            sets += [(*each, name) for each in sets]
    return tuple(sets)
