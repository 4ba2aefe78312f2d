"""Learning how much nearness and the student have to say: what finds the clicked ads of held-out queries best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from intently.arrays import IntArray
from intently.build.interactions import Interactions
from intently.engine.channels.intention import weighted
from intently.engine.channels.lexical import best_above_zero
from intently.engine.settings import RetrievalSettings
from intently.index.intentions import IntentionIndex
from intently.intentions.decode import Decoded
from intently.intentions.prior import Guidance
from intently.models.models import Models
from intently.models.student import Reading
from intently.text.query_text import QueryText
from intently.types import Progress

_MOST_QUERIES = 300  # more tell the few choices apart no better
_SHARPNESS = (0.5, 1.0, 1.7)  # times the prior's temperature as it is set
_SAYS = (1.0, 2.0, 4.0)  # the model's temperature
_SPEECH_GAINS = 0.005  # of average precision, from which what the student says is worth the time that it takes
_BATCH_SIZE = 32
_DEPTH = 500


@dataclass(frozen=True)
class LearnedGuidance:
    """The best of the guidances that were tried, and what a build's report says of it."""

    guidance: Guidance
    facts: dict[str, float]


def learn_guidance(
    models: Models,
    intentions: IntentionIndex,
    read: Callable[[str], QueryText],
    aside: Interactions,
    settings: RetrievalSettings,
    show: Progress,
) -> LearnedGuidance:
    """Return the guidance of `models` whose intention channel has the best mean average precision on held-out queries.

    `intentions` must not know the clicks of these. First the temperature of the prior is chosen, by near intentions
    alone, then that of the student beside it. Cost: one reading of at most 300 queries, whose keys and values are kept
    (half a megabyte a query), then six searches, three of them without decoding.
    """
    clicked: list[list[int]] = [[] for _ in aside.queries]
    for query, ad in aside.clicks.tolist():
        clicked[query].append(ad)
    asked = [(read(query), np.array(ads)) for query, ads in zip(aside.queries, clicked, strict=True) if ads]
    asked = [each for each in asked if not each[0].says_nothing][:_MOST_QUERIES]
    start = models.intention_reader.guidance
    readings: list[Reading] = []
    for first in range(0, len(asked), _BATCH_SIZE):
        show("Learning the guidance", first, len(asked), "")
        texts = [text.for_models for text, _ in asked[first : first + _BATCH_SIZE]]
        readings.append(models.student.read(texts, settings.max_query_tokens))

    def precision(guidance: Guidance) -> float:
        found: list[Decoded] = []
        reader = replace(models.intention_reader, guidance=guidance)
        for reading in readings:
            found += reader.read(reading, settings.num_near, settings.decode)
            show("Learning the guidance", len(found), len(asked), "")
        return _precision(asked, found, intentions, settings)

    near_alone = {
        one: precision(one) for times in _SHARPNESS for one in [Guidance(times * start.prior_temperature, None)]
    }
    best = max(near_alone, key=near_alone.__getitem__)
    tried = dict(near_alone)
    if start.model_temperature is not None:
        spoken = {one: precision(one) for says in _SAYS for one in [replace(best, model_temperature=says)]}
        speaking = max(spoken, key=spoken.__getitem__)
        tried |= spoken
        if spoken[speaking] >= near_alone[best] + _SPEECH_GAINS:
            best = speaking
    facts = {"guidance_queries": float(len(asked)), "guidance_precision": tried[best]}
    return LearnedGuidance(best, facts)


def _precision(
    asked: Sequence[tuple[QueryText, IntArray]],
    found: Sequence[Decoded],
    intentions: IntentionIndex,
    settings: RetrievalSettings,
) -> float:
    """Return the mean average precision of the ads that queries' intentions lead to."""
    total, everything = 0.0, np.ones(intentions.postings.num_ads, dtype=bool)
    for (text, clicked), one in zip(asked, found, strict=True):
        scores = intentions.postings.scores(*weighted(one, intentions.literal(text), settings))
        hits = np.isin(best_above_zero(scores, everything, _DEPTH).rows, clicked)
        at = np.flatnonzero(hits) + 1
        total += float((np.arange(1, len(at) + 1) / at).sum()) / len(clicked)
    return total / max(len(asked), 1)
