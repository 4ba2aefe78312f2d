"""Searching one snapshot of the ads for one query, path by path, and telling what each path saw in an ad."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalQuery
from intently.index.postings import FloatArray, IntArray, Mask, top_rows
from intently.intentions.decode import Decoded
from intently.retrieve.ads import Ads
from intently.retrieve.settings import RetrievalSettings
from intently.retrieve.understand import Understood
from intently.types import Path, Reason

NUM_EVIDENCE = 3  # pieces of evidence told per reason


@dataclass(frozen=True)
class Found:
    """What one query found in `ads`: every ad's score (N,) on each path and the best eligible rows, best first."""

    ads: Ads
    intentions: IntentionIndex
    intention_ids: IntArray
    intention_weights: FloatArray
    lexical: list[LexicalQuery]
    scores: dict[Path, FloatArray] = field(default_factory=dict)
    rows: dict[Path, IntArray] = field(default_factory=dict)

    def reasons(self, ad_row: int) -> tuple[Reason, ...]:
        """Return what each path that found the ad saw in it."""
        reasons = []
        for path, rows in self.rows.items():
            at = np.flatnonzero(rows == ad_row)
            if len(at):
                score = float(self.scores[path][ad_row])
                reasons.append(Reason(path, int(at[0]) + 1, score, self._told(path, ad_row, score)[:NUM_EVIDENCE]))
        return tuple(reasons)

    def _told(self, path: Path, ad_row: int, score: float) -> tuple[tuple[str, float], ...]:
        if path is Path.DENSE:
            return (("cosine", score),)
        if path is Path.LEXICAL:
            return self.ads.explain_words(self.lexical, ad_row)
        found = self.ads.explain_intentions(self.intention_ids, self.intention_weights, ad_row)
        return tuple((self.intentions.texts[self.intention_ids[position]], share) for position, share in found)


def search(
    query: str,
    understood: Understood,
    ads: Ads,
    intentions: IntentionIndex,
    paths: Sequence[Path],
    depth: int,
    eligible: Mask,
    settings: RetrievalSettings,
) -> Found:
    """Score every ad on each of `paths` and keep the best `depth` eligible ones."""
    ids, weights = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    if understood.intentions is not None:
        ids, weights = weighted_intentions(query, understood.intentions, intentions, settings)
    asked = ads.lexical_query(query) if Path.LEXICAL in paths else []
    found = Found(ads, intentions, ids, weights, asked)
    for path in paths:
        if path is Path.INTENTION:
            scores, above = ads.intention_scores(ids, weights), 0.0
        elif path is Path.DENSE:
            assert understood.embedding is not None
            scores, above = ads.dense_scores(understood.embedding), -np.inf
        else:
            scores, above = ads.lexical_scores(asked), 0.0
        found.scores[path] = scores
        found.rows[path] = top_rows(scores, depth, eligible, above)
    return found


def weighted_intentions(
    query: str, found: Decoded, intentions: IntentionIndex, settings: RetrievalSettings
) -> tuple[IntArray, FloatArray]:
    """Return the intentions that stand for a query, decoded ones and literal ones, with their weights."""
    shares = np.exp(settings.intention_power * found.log_probs)
    weight_of = dict(zip(found.intention_ids.tolist(), (shares / shares.sum()).tolist(), strict=True))
    literal = intentions.literal(query).tolist()
    for intention_id in literal:
        weight_of[intention_id] = weight_of.get(intention_id, 0.0) + settings.literal_weight / len(literal)
    return np.array(list(weight_of), dtype=np.int64), np.array(list(weight_of.values()), dtype=np.float32)
