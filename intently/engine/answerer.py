"""Answering: from requests to rankings, over one snapshot.

query ─ read once ┬─ student reads ─┬─ decode intentions → postings ─┐
                  │                 └─ embedding ┐                   │
                  ├─ encoder reads, if there is ─┴→ nearest vectors ─┼─ eligible only → fuse → ranking (+ why)
                  └─ terms → BM25 ───────────────────────────────────┘
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from intently.arrays import Float32Array, Float64Array, IntArray, Mask
from intently.catalog import checked_user
from intently.engine.cache import QueryCache
from intently.engine.caps import Caps
from intently.engine.channels import ALL_CHANNELS, KEYWORD_CHANNEL
from intently.engine.channels.base import Question
from intently.engine.channels.intention import weighted
from intently.engine.fusion_features import features
from intently.engine.learned_fusion import Features, LearnedFusion
from intently.engine.pace import Clock, Pace
from intently.engine.relevance import Calibrator, Evidence, evidence
from intently.engine.runtime_cache import RuntimeCache
from intently.engine.search import Searched, continued
from intently.engine.settings import RetrievalSettings
from intently.engine.timing import timed
from intently.engine.understand import Understood, understand
from intently.engine.why import DEPTH, verdict
from intently.errors import InputError
from intently.filters import Expression
from intently.frozen import EMPTY, FrozenDict
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalIndex
from intently.live.applier import Applier
from intently.models.models import Models
from intently.snapshot.columns import check_columns, values_of
from intently.snapshot.snapshot import Snapshot
from intently.text.query_text import QueryText
from intently.types import (
    Channel,
    Degraded,
    Intention,
    Ranking,
    Request,
    ScoredAd,
    Verdict,
)

logger = logging.getLogger(__name__)

NUM_INTENTIONS = 20  # of a query, which a ranking shows; more stand for it
FUSED_CHANNELS = tuple(channel.name for channel in ALL_CHANNELS)  # of an engine with models
_SKIPPED = {Channel.INTENTION: Degraded.INTENTIONS_SKIPPED, Channel.DENSE: Degraded.DENSE_SKIPPED}
_CALIBRATED = "build it again, from clicks or from at least a hundred ads; or leave min_relevance out"
_WITH_MODELS = "build it with another preset, 'instant' for one, which needs a model and trains nothing"


class Answerer:
    """Answers requests over snapshots of an engine's ads. An `Engine` is one that holds ads, and changes them."""

    generation: str = ""
    runtime_cache: RuntimeCache | None = None  # behind `cache`; of `CurrentEngine`
    slow_query_ms = 1_000.0  # a query that takes longer is logged, with where the time went

    def __init__(
        self,
        live: Applier,
        models: Models | None,
        intentions: IntentionIndex,
        lexical: LexicalIndex,
        settings: RetrievalSettings,
        cache: QueryCache | None,
        fusion: LearnedFusion | None,
        calibrator: Calibrator | None,
    ) -> None:
        self._live, self._models = live, models
        self.intentions, self.lexical = intentions, lexical
        self.settings, self.cache, self.fusion, self.calibrator = settings, cache, fusion, calibrator
        first = live.snapshot.segments[0]
        self._searches = tuple(channel for channel in ALL_CHANNELS if channel.searches(first))
        self.pace = Pace()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels that the engine has and fuses."""
        return tuple(channel.name for channel in self._searches)

    @property
    def query_models(self) -> Models:
        """The models that read queries; raises `InputError` if the engine has none."""
        if self._models is None:
            raise InputError("this engine has no models", cure=_WITH_MODELS)
        return self._models

    def read(self, query: str) -> QueryText:
        """Return a query as every stage sees it. Corrections come from the words of the ads as they are now."""
        return self._live.snapshot.reader.read(query)

    def _check(self, request: Request, snapshot: Snapshot) -> None:
        """Raise `InputError` for what this engine and these ads cannot answer."""
        check_columns(request, snapshot)
        if request.min_relevance is not None and self.calibrator is None:
            raise InputError("this engine does not tell relevance", cure=_CALIBRATED, field="min_relevance")

    def _answered(self, request: Request, snapshot: Snapshot) -> Ranking:
        self._check(request, snapshot)
        checked_user(request.user)
        return next(self._answer_batch([request], snapshot, Clock()))

    def _answer_batch(self, requests: Sequence[Request], snapshot: Snapshot, clock: Clock) -> Iterator[Ranking]:
        texts = [snapshot.reader.read(request.query) for request in requests]
        begun_ms = clock.spent_ms
        expected_ms = self.pace.expected_ms(len(requests))
        wanted = [
            self._affordable(request, text, clock, expected_ms) for request, text in zip(requests, texts, strict=True)
        ]
        everything: list[Understood] = [Understood() for _ in requests]
        for names in dict.fromkeys(wanted):
            asked = [at for at, chosen in enumerate(wanted) if chosen == names and not texts[at].says_nothing]
            asked_texts = [texts[at] for at in asked]
            found = understand(
                asked_texts, names, self.intentions, self._models, self.cache, self.settings, self.runtime_cache
            )
            for at, one in zip(asked, found, strict=True):
                everything[at] = one
        is_reduced = any(names != self._names(request.channel) for request, names in zip(requests, wanted, strict=True))
        if is_reduced:
            self.pace.passed_over(len(requests))
        is_typical = all(names == self.channels for names in wanted) and not any(one.cached for one in everything)
        for at, (request, text) in enumerate(zip(requests, texts, strict=True), start=1):
            ranking = self._answer(request, wanted[at - 1], text, everything[at - 1], snapshot, clock)
            if at == len(requests) and is_typical:
                self.pace.learn(at, clock.spent_ms - begun_ms)
            yield ranking

    def _affordable(self, request: Request, text: QueryText, clock: Clock, expected_ms: float) -> tuple[Channel, ...]:
        """Return the channels that a request's deadline leaves time for. A channel asked for by name always answers."""
        names = self._names(request.channel)
        if request.channel is not Channel.FUSED or clock.leaves(request.deadline_ms, expected_ms):
            return names
        is_cached = self.cache is not None and self.cache.lookup(text.key) is not None
        needless = {Channel.DENSE} if is_cached else {Channel.DENSE, Channel.INTENTION}
        return tuple(name for name in names if name not in needless)

    def _names(self, channel: Channel) -> tuple[Channel, ...]:
        """Return the channels to search; raise `InputError` for one that the engine lacks."""
        if channel is Channel.FUSED:
            return self.channels
        if channel not in (*self.channels, Channel.KEYWORD):
            raise InputError(
                f"this engine has no channel '{channel}', but {', '.join(self.channels)}",
                cure=_WITH_MODELS,
                field="channel",
            )
        return (channel,)

    def _answer(
        self,
        request: Request,
        names: tuple[Channel, ...],
        text: QueryText,
        understood: Understood,
        snapshot: Snapshot,
        clock: Clock,
    ) -> Ranking:
        timings = understood.timings_ms
        ranked: tuple[ScoredAd, ...] = ()
        degraded = [
            code for name, code in _SKIPPED.items() if name in self._names(request.channel) and name not in names
        ]
        if not text.says_nothing:
            with timed(timings, "rules"):
                eligible, caps = self._eligible(request, text, snapshot), Caps(request.max_per, snapshot)
            names = self._with_keywords(request.channel, names, snapshot)
            with timed(timings, "search"):
                searched = self._searched(text, understood, snapshot, names, eligible)
            is_learned = request.channel is Channel.FUSED and self.fusion is not None
            if is_learned and (degraded or clock.is_late(request.deadline_ms)):
                degraded.append(Degraded.FUSION_FALLBACK)
                is_learned = False
            with timed(timings, "fuse"):
                admitted = self._relevant(request, searched, *self._ranked(searched, request.channel, is_learned))
                rows, scores = caps.kept(*admitted, request.k)
            searches, found_more = [searched], len(admitted[0]) > 0 or request.min_relevance is None
            while len(rows) < request.k and searches[-1].may_go_deeper and found_more:
                if clock.is_late(request.deadline_ms):
                    degraded.append(Degraded.DEPTH_REDUCED)
                    break
                with timed(timings, "search"):
                    depth, eligible = 2 * searches[-1].depth, caps.admitting(eligible)
                    searches.append(self._searched(text, understood, snapshot, names, eligible, depth))
                    deeper = self._ranked(searches[-1], request.channel, learned=False)
                    before, deeper = len(admitted[0]), self._relevant(request, searched, *deeper)
                    admitted = continued(admitted, deeper)
                    # Relevance falls with depth: where a search finds nothing relevant, a deeper one will not.
                    found_more = len(admitted[0]) > before or request.min_relevance is None
                    rows, scores = caps.kept(*admitted, request.k)
            explain = request.explain
            if explain and clock.is_late(request.deadline_ms):
                degraded.append(Degraded.EXPLAIN_SKIPPED)
                explain = False
            with timed(timings, "fuse"):
                relevance = self._relevance(searched, rows)
            with timed(timings, "explain"):
                told = [None] * len(rows) if relevance is None else relevance.tolist()
                best = zip(rows.tolist(), scores.tolist(), told, strict=True)
                ranked = tuple(
                    ScoredAd(
                        snapshot.ad_id(row),
                        rank,
                        score,
                        next(filter(None, (one.reasons(row) for one in searches))) if explain else (),
                        FrozenDict(values_of(row, request.payload, snapshot)) if request.payload else EMPTY,
                        probability,
                    )
                    for rank, (row, score, probability) in enumerate(best, start=1)
                )
        if (spent_ms := sum(timings.values())) > self.slow_query_ms:
            stages = ", ".join(f"{stage} {spent:.0f}" for stage, spent in timings.items())
            logger.warning("slow query %r: %.0f ms (%s)", request.query, spent_ms, stages, extra={"spent_ms": spent_ms})
        return Ranking(
            request.query,
            ranked,
            self._told(understood),
            timings,
            understood.cached,
            {correction.word: correction.read_as for correction in text.corrections},
            self.generation,
            snapshot.seq,
            tuple(degraded),
        )

    def _eligible(self, request: Request, text: QueryText, snapshot: Snapshot) -> Mask:
        eligible = snapshot.eligible(checked_user(request.user), text.normalized)
        if request.exclude:
            eligible[self._live.rows_in(snapshot, request.exclude)] = False
        if isinstance(request.filters, Expression):
            eligible &= snapshot.matching(request.filters)
        return eligible

    def _with_keywords(self, channel: Channel, names: tuple[Channel, ...], snapshot: Snapshot) -> tuple[Channel, ...]:
        """Return the channels that a request for `channel` searches: with keywords where these join the fusion."""
        joins = channel is Channel.FUSED and snapshot.has_match_types and self.settings.keyword_weight > 0
        return (*names, Channel.KEYWORD) if joins else names

    def _searched(
        self,
        text: QueryText,
        understood: Understood,
        snapshot: Snapshot,
        names: tuple[Channel, ...],
        eligible: Mask,
        depth: int | None = None,
    ) -> Searched:
        question = Question(text, understood, snapshot, self.intentions, self.settings)
        channels = [one for one in (*self._searches, KEYWORD_CHANNEL) if one.name in names]
        return Searched.of(question, channels, eligible, depth or self.settings.num_candidates)

    def _ranked(self, searched: Searched, channel: Channel, learned: bool = True) -> tuple[IntArray, Float64Array]:
        """Return all rows found and their scores, best first."""
        if channel is Channel.FUSED and learned and self.fusion is not None:
            assert self.lexical.statistics is not None  # as `check_parts` has made sure
            return searched.reranked(self.fusion, self.lexical.statistics)
        if channel is Channel.FUSED:
            return searched.by_reciprocal_ranks(partial(self._told_relevance, searched) if self.calibrator else None)
        hits = searched.found[channel].hits
        return hits.rows, hits.scores.astype(np.float64)

    def _relevance(self, searched: Searched, ad_rows: IntArray) -> Float64Array | None:
        """Return the probabilities (C,) that some ads are relevant, None if the engine cannot tell."""
        return None if self.calibrator is None else self._told_relevance(searched, ad_rows)

    def _told_relevance(self, searched: Searched, ad_rows: IntArray) -> Float64Array:
        assert self.calibrator is not None and self.lexical.statistics is not None  # as `check_parts` has made sure
        return self.calibrator.relevance(searched, ad_rows, self.lexical.statistics)

    def _relevant(
        self, request: Request, searched: Searched, rows: IntArray, scores: Float64Array
    ) -> tuple[IntArray, Float64Array]:
        """Return those rows, and their scores, that are as relevant as the request wants."""
        if request.min_relevance is None:
            return rows, scores
        relevance = self._relevance(searched, rows)
        assert relevance is not None  # as `_check` has made sure
        keep = relevance >= request.min_relevance
        return rows[keep], scores[keep]

    def _told(self, understood: Understood) -> tuple[Intention, ...]:
        """Return the intentions that count most for a query, each with the log of its share of what they all count."""
        if understood.intentions is None:
            return ()
        ids, weights = weighted(understood.intentions, understood.literal, self.settings)
        ids, weights = ids[weights > 0], weights[weights > 0]  # what is too improbable for a float counts nothing
        log_shares = np.log(weights.astype(np.float64) / weights.sum(dtype=np.float64))
        best = np.lexsort((ids, -log_shares))[:NUM_INTENTIONS]
        pairs = zip(ids[best].tolist(), log_shares[best].tolist(), strict=True)
        return tuple(Intention(self.intentions.texts[intention_id], log_prob) for intention_id, log_prob in pairs)

    def _verdicts(self, request: Request, ad_ids: Sequence[str], snapshot: Snapshot) -> tuple[Verdict, ...]:
        deep = replace(request, k=max(request.k, DEPTH), explain=True, deadline_ms=None)
        checked_user(request.user)
        self._check(request, snapshot)
        ranking = next(self._answer_batch([deep], snapshot, Clock()))
        uncapped = ranking
        if request.max_per:
            uncapped = next(self._answer_batch([replace(deep, max_per=EMPTY)], snapshot, Clock()))
        rows = {ad_id: self._row(snapshot, ad_id) for ad_id in ad_ids}
        known = np.array([row for row in rows.values() if row is not None], dtype=np.int64)
        searched = self._searched_for(request, snapshot)
        told = None if searched is None else self._relevance(searched, known)
        relevance = {} if told is None else dict(zip(known.tolist(), told.tolist(), strict=True))
        return tuple(
            verdict(request, ad_id, rows[ad_id], ranking, uncapped, snapshot, relevance.get(rows[ad_id]))
            for ad_id in ad_ids
        )

    def _searched_for(self, request: Request, snapshot: Snapshot) -> Searched | None:
        """Return the search of a request, None if its query says nothing."""
        text = snapshot.reader.read(request.query)
        if text.says_nothing:
            return None
        names = self._names(request.channel)
        understood = understand([text], names, self.intentions, self._models, self.cache, self.settings)[0]
        names = self._with_keywords(request.channel, names, snapshot)
        return self._searched(text, understood, snapshot, names, self._eligible(request, text, snapshot))

    def _row(self, snapshot: Snapshot, ad_id: str) -> int | None:
        return next(iter(self._live.rows_in(snapshot, [ad_id])), None)

    def embed_queries(self, queries: Sequence[str]) -> Float32Array:
        """Return the unit embeddings (B, D) of queries as the dense channel compares them with `vectors`.

        Feedback has not moved them yet. Raises `InputError` for every query that `retrieve` refuses, and if the engine
        has no models.
        """
        models = self.query_models
        texts = [self.read(Request(query).query) for query in queries]
        dimension = models.student.dimension + (models.encoder.dimension if models.encoder else 0)
        embeddings = np.empty((len(queries), dimension), dtype=np.float32)
        understood = understand(texts, (Channel.DENSE,), self.intentions, models, None, self.settings)
        for row, one in enumerate(understood):
            embeddings[row] = one.embedding
        return embeddings

    def candidates(
        self, queries: Sequence[str], depth: int | None = None, *, batch_size: int = 32
    ) -> Iterator[tuple[IntArray, Features]]:
        """Yield for each query the rows (C,) that reciprocal rank fusion finds, best first, and their features (C, F).

        A fusion of this `depth` learns from these. Candidates beyond the depth are left out before features compare an
        ad with the others, as when the fusion answers. The query cache is not used, because the fusion has to learn how
        to answer queries that the cache does not hold.
        """
        statistics = self.lexical.statistics
        assert statistics is not None
        for searched in self._searches_of(queries, batch_size):
            rows, scores = searched.by_reciprocal_ranks()
            rows = rows[:depth]
            one = searched.candidates(rows, scores[:depth])
            yield rows, features(one, searched.facts(statistics), searched.title_terms(rows))

    def evidence(
        self, queries: Sequence[str], depth: int, others: Sequence[IntArray], *, batch_size: int = 32
    ) -> Iterator[tuple[IntArray, Evidence]]:
        """Yield for each query the rows (C,) of its first `depth` ads and of `others`, and the evidence for them (C,).

        A calibrator learns from these. The query cache is not used, as for `candidates`.
        """
        statistics = self.lexical.statistics
        assert statistics is not None
        for searched, more in zip(self._searches_of(queries, batch_size), others, strict=True):
            rows, _ = self._ranked(searched, Channel.FUSED)
            rows = np.concatenate((rows[:depth], more))
            yield rows, evidence(searched, rows, statistics)

    def _searches_of(self, queries: Sequence[str], batch_size: int) -> Iterator[Searched]:
        """Yield the search of each query, for a user of whom nothing is known, without the query cache."""
        snapshot = self._live.snapshot
        eligible = snapshot.eligible(checked_user(None))
        for start in range(0, len(queries), batch_size):
            texts = [snapshot.reader.read(query) for query in queries[start : start + batch_size]]
            everything = understand(texts, self.channels, self.intentions, self._models, None, self.settings)
            for text, understood in zip(texts, everything, strict=True):
                yield self._searched(text, understood, snapshot, self.channels, eligible)
