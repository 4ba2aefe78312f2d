"""The engine: a request comes in, ranked ads with reasons go out. Ads come and go meanwhile.

query ─ read once ┬─ student reads ─┬─ decode intentions → postings ─┐
                  │                 └─ embedding ┐                   │
                  ├─ encoder reads, if there is ─┴→ nearest vectors ─┼─ eligible only → fuse → ranking (+ why)
                  └─ terms → BM25 ───────────────────────────────────┘
"""

import copy
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from intently.arrays import Float32Array, Float64Array, IntArray, Mask
from intently.catalog import Catalog, checked_user
from intently.catalog.texts import brand_words
from intently.engine.cache import QueryCache
from intently.engine.caps import Caps
from intently.engine.channels import ALL_CHANNELS, KEYWORD_CHANNEL
from intently.engine.channels.base import Question
from intently.engine.fusion_features import features
from intently.engine.inspection import AdInspection, Inspection, inspect, inspect_ad
from intently.engine.learned_fusion import Features, LearnedFusion
from intently.engine.pace import Clock, Pace
from intently.engine.parts import check_parts
from intently.engine.search import Searched, continued
from intently.engine.settings import RetrievalSettings
from intently.engine.timing import timed
from intently.engine.understand import Understood, reader_threads, understand
from intently.engine.why import DEPTH, verdict
from intently.errors import ArtifactError, InputError
from intently.filters import Expression
from intently.frozen import EMPTY, FrozenDict
from intently.generation import Generation
from intently.index.intentions import IntentionIndex
from intently.index.keywords import KeywordIndex
from intently.index.lexical import LexicalIndex
from intently.index.title_terms import TitleTerms
from intently.index.token_vectors import TokenVectors
from intently.index.vectors import VectorIndex
from intently.live.ad_reader import AdReader, IndexSettings
from intently.live.applier import Applier
from intently.live.difference import Difference
from intently.live.log import ChangeLog
from intently.models.encoder.embedder import Embedder
from intently.models.models import Models
from intently.models.student import Runtime, Student, check_tokens
from intently.rules.presets import rules_of
from intently.snapshot.attributes import Attributes
from intently.snapshot.columns import check_columns, values_of
from intently.snapshot.segment import Segment
from intently.snapshot.snapshot import Snapshot
from intently.text.analyze import Analyzer
from intently.text.query_text import QueryText
from intently.types import (
    Ad,
    Change,
    Channel,
    Degraded,
    Intention,
    Progress,
    PutList,
    Ranking,
    Request,
    ScoredAd,
    UserContext,
    Verdict,
)

logger = logging.getLogger(__name__)

NUM_INTENTIONS = 20  # of a query, which a ranking shows; more stand for it
FUSED_CHANNELS = tuple(channel.name for channel in ALL_CHANNELS)  # of an engine with models
_SKIPPED = {Channel.INTENTION: Degraded.INTENTIONS_SKIPPED, Channel.DENSE: Degraded.DENSE_SKIPPED}
_WITH_MODELS = "build it with another preset, 'instant' for one, which needs a model and trains nothing"


class Engine:
    """Answers requests for ads and applies changes of ads. Threads may share it; a forked process may not.

    `intentions`, `vectors`, `tokens` and `lexical` are as loaded; `catalog` has the ads as they are now. `generation`
    is the id of the generation that was loaded, empty for an engine that was never written. An engine without models
    has no student and no vectors: it finds intentions word by word. `channels` are those that it has the parts for.
    """

    generation: str = ""
    models: str = ""  # the fingerprint of what reads ads, under which a log keeps what was read
    min_seq_wait_s = 1.0  # how long a request waits for the change that its `min_seq` names
    _opened: Generation | None = None  # which keeps the generation on disk
    slow_query_ms = 1_000.0  # a query that takes longer is logged, with where the time went

    def __init__(
        self,
        catalog: Catalog,
        student: Student | None,
        intentions: IntentionIndex,
        vectors: VectorIndex | None,
        lexical: LexicalIndex,
        settings: RetrievalSettings,
        *,
        titles: TitleTerms | None = None,
        encoder: Embedder | None = None,
        tokens: TokenVectors | None = None,
        fusion: LearnedFusion | None = None,
        cache: QueryCache | None = None,
        indexing: IndexSettings | None = None,
        keywords: KeywordIndex | None = None,
    ) -> None:
        """`student` and `vectors` are None for an engine without models, whose `intentions` need no trie.

        `encoder` embeds for the dense channel beside the student; `fusion` stands in for reciprocal ranks.

        `tokens` are the vectors that the tokens of the encoder's queries interact with, if they do. `titles` are the
        catalogue's, computed if not given. `cache` may answer for the student. `indexing` are the build settings that
        affect how an ad is indexed, which new ads need. `keywords` are the catalogue's, computed if they have match
        types and are not given. Raises `ArtifactError` for parts that are not of one catalogue
        or of these models, and for a `fusion` with a lexical index that does not know its statistics; `SettingsError`
        for queries longer than the student reads.
        """
        check_parts(student, encoder, intentions, vectors, tokens, lexical, fusion)
        self.intentions, self.vectors, self.tokens, self.lexical = intentions, vectors, tokens, lexical
        self.settings, self.cache, self.fusion = settings, cache, fusion
        num_threads = reader_threads(settings.num_threads, encoder)
        self.student = student.use(settings.runtime, num_threads) if student else None
        self.encoder = encoder.use(settings.runtime, num_threads) if encoder else None
        self._models, of_ads = None, None
        if self.student and (trie := intentions.trie) and (near := intentions.near):
            positions, longest = self.student.positions, trie.depth()
            check_tokens(settings, "max_query_tokens", positions=positions, longest=longest, table="retrieval.")
            self._models = Models.of(self.student, self.encoder, trie, near, near.guidance)
            of_ads = Models.of(self.student, self.encoder, trie, near, near.of_ads)
        reader = AdReader(
            of_ads,
            intentions,
            catalog,
            lexical,
            indexing or IndexSettings(),
            settings.num_threads,
        )
        titles = titles or TitleTerms.build(catalog.strings("title"), Analyzer(lexical.settings.stemmer))
        try:
            segment = Segment.build(catalog, intentions.postings, vectors, lexical, titles, tokens)
        except ValueError as error:
            raise ArtifactError(f"{error}; build the engine again") from error
        if keywords:
            segment.remember(keywords)
        self._searches = tuple(channel for channel in ALL_CHANNELS if channel.searches(segment))
        known_words = brand_words(catalog) | (student.tokenizer.whole_words if student else frozenset())
        rules = rules_of(settings.match_rules, lexical.settings.stemmer)
        snapshot = Snapshot.of(segment, Attributes.of(catalog, rules), known_words, rules=rules)
        self._live = Applier(snapshot, reader)
        self.pace = Pace()
        self._pid = os.getpid()

    @classmethod
    def build(
        cls,
        ads: Iterable[Ad | Mapping[str, Any]],
        clicks: Iterable[tuple[str, str] | Mapping[str, Any]] | None = None,
        preset: str = "default",
        *,
        settings: Any = None,
        progress: Progress | None = None,
    ) -> "Engine":
        """Build an engine from lists in memory: of `Ad`, or of mappings with the columns' names.

        `clicks` are (query, ad_id) pairs, which are counted, or mappings with the columns of a click log. `preset`
        names the settings of the build; `settings`, a `BuildSettings`, stands in for it. Raises `InputError` naming
        the position of the first ad or click that is not valid. The engine lives as long as the process;
        `intently.build_engine` writes one to a directory. Cost: that of a build.
        """
        from intently.build.from_lists import build_from_lists  # the one door to the room above, opened on request
        from intently.build.settings import BuildSettings

        return build_from_lists(cls, ads, clicks, settings or BuildSettings.preset(preset), progress)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        generation: str | None = None,
        runtime: Runtime | None = None,
        num_threads: int | None = None,
    ) -> "Engine":
        """Load the engine in directory `path` after checking all of it: its current generation, or the one named.

        `runtime` and `num_threads` stand in for the settings of the build, as they belong to the machine it runs on.
        Raises `ArtifactError` naming the file that cannot be trusted. The generation stays on disk as long as the
        engine exists, whatever builds publish meanwhile.
        """
        from intently.engine.load import load_engine  # which makes an engine, and so imports this module

        return load_engine(cls, Path(path), generation=generation, runtime=runtime, num_threads=num_threads)

    @property
    def catalog(self) -> Catalog:
        """The ads that are there now, in order of arrival. Cost: a copy of every column after a change."""
        return self._live.snapshot.catalog

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

    @property
    def snapshot(self) -> Snapshot:
        """All ads as they are now, with their indexes."""
        return self._live.snapshot

    @property
    def merge_failure(self) -> str:
        """The error of the last background merge of segments, empty if it succeeded."""
        return self._live.merge_failure

    def ad(self, ad_id: str) -> Ad | None:
        """Return the ad with this id as it is now, None if it is not there. Cost: microseconds."""
        return self._live.ad(ad_id)

    def apply(self, changes: Iterable[Change | PutList]) -> int:
        """Apply a batch of `Put`, `Patch`, `Delete` and `PutList`, all or none; return its number once queries see it.

        A patch of status, bid, targeting or payload costs no model call. Nor does a put whose text did not change, and
        the ad keeps what it was clicked for. The student reads every other put once, and its intentions come from the
        present vocabulary. Batches are ordered by the calls of `apply`, not by when models finish. Statistics of the
        whole catalog (how rare words and intentions are, how long ads are) stay as built. Queries that have begun do
        not see the batch. Without a log (`join`) a batch does not outlive the process; `CurrentEngine` has one.

        Raises `InputError` naming the first change that is not valid, or that patches an ad that is not there;
        `LogError` if the log cannot be written, and then nothing has happened.
        """
        self._check_process()
        return self._live.apply(changes)

    def follow(self, difference: Difference) -> int:
        """Apply what a feed changes, all of it or nothing; return the number of the change once queries see it.

        Costs what `apply` costs, for the ads that came or changed.
        """
        self._check_process()
        return self._live.follow(difference)

    def compacted(self) -> tuple[Catalog, Segment]:
        """Return the living ads and one segment of them, row by row the same. Cost: a copy of all after a change."""
        self._live.wait()
        snapshot = self._live.snapshot
        return snapshot.catalog, snapshot.merged(0, len(snapshot.segments))

    def number_from(self, seq: int) -> None:
        """Number further changes from `seq` on. An engine that takes the place of another goes on with its numbers."""
        self._live.number_from(seq)

    def join(self, log: ChangeLog) -> None:
        """Apply what `log` holds beyond this engine, and write further changes to it.

        Cost: no model, as long as the models of this engine read the ads of the log.
        """
        self._check_process()
        self._live.join(log, self.models, self.generation)

    def catch_up(self) -> int:
        """Apply what other processes have written to the log since; return the number of the newest change shown."""
        self._check_process()
        return self._live.catch_up()

    def retire(self, reason: str) -> None:
        """Take no more changes, and wait for those on their way to the disk."""
        self._live.retire(reason)

    def resume(self) -> None:
        """Take changes again after `retire`."""
        self._live.resume()

    def add_ads(self, ads: Iterable[Ad], *, replace: bool = False) -> int:
        """Add ads, all of them or none; return the number of the change once queries see them.

        With `replace` an ad takes the place of the one with its id. Raises `InputError` naming the first ad that is not
        valid, is given more than once or, without `replace`, exists already. Costs what `apply` costs.
        """
        self._check_process()
        return self._live.add(ads, replace=replace)

    def remove_ads(self, ad_ids: Sequence[str]) -> int:
        """Remove ads by their ids, all of them or none; raise `InputError` for an id unknown or given twice."""
        self._check_process()
        return self._live.remove(ad_ids)

    def read(self, query: str) -> QueryText:
        """Return a query as every stage sees it. Corrections come from the words of the ads as they are now."""
        return self._live.snapshot.reader.read(query)

    def retrieve(
        self,
        query: str,
        k: int = 10,
        *,
        user: UserContext | None = None,
        channel: Channel = Channel.FUSED,
        explain: bool = True,
        exclude: Iterable[str] = (),
        filters: Expression | str | None = None,
        payload: Iterable[str] = (),
        max_per: Mapping[str, int] = EMPTY,
    ) -> Ranking:
        """Return the `k` best eligible ads for a query, with the reasons of each unless `explain` is off.

        A short form of `answer`. Raises `InputError` naming the first argument that is not valid.
        """
        request = Request(
            query,
            k,
            user,
            channel,
            explain,
            exclude,  # type: ignore[arg-type]
            filters=filters,
            payload=payload,  # type: ignore[arg-type]
            max_per=max_per,
        )
        return self.answer(request)

    def retrieve_many(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        user: UserContext | None = None,
        channel: Channel = Channel.FUSED,
        explain: bool = False,
        batch_size: int = 32,
    ) -> Iterator[Ranking]:
        """Return the rankings of many queries in order. Reads and decodes in batches, which is faster than one by one.

        Raises `InputError` at once, before the first ranking is computed, for every query that `retrieve` refuses.
        """
        if isinstance(queries, str):
            raise InputError(f"expected a list of queries, got the text {queries!r}", cure=f"pass [{queries!r}]")
        requests = []
        for position, query in enumerate(queries, start=1):
            try:
                requests.append(Request(query, k, user, channel, explain))
            except InputError as error:
                raise InputError(error.problem, cure=error.cure, path="queries", line=position) from None
        return self.answer_many(requests, batch_size=batch_size)

    def answer(self, request: Request) -> Ranking:
        """Return the best eligible ads for a request. The first k ads do not depend on k."""
        return next(self.answer_many([request]))

    def answer_many(self, requests: Sequence[Request], *, batch_size: int = 32) -> Iterator[Ranking]:
        """Return the rankings of requests in order, in batches, all from one snapshot.

        Raises `BehindError` if the change that a request's `min_seq` names does not come in time.
        """
        self._check_process()
        if type(batch_size) is not int or batch_size < 1:
            raise InputError(f"batch_size is {batch_size!r}", cure="pass a whole number of at least 1")
        for position, request in enumerate(requests, start=1):
            if not isinstance(request, Request):
                told = f"expected a Request, got {type(request).__name__}"
                raise InputError(told, cure="pass Request(query)", path="requests", line=position)
            checked_user(request.user)  # refuse values that are not understood before anything is answered
            self._names(request.channel)
        min_seq = max((request.min_seq for request in requests), default=0)
        if min_seq > self._live.snapshot.seq:
            self._live.reach(min_seq, self.min_seq_wait_s)
        snapshot, clock = self._live.snapshot, Clock()  # one from the first request to the last
        for request in requests:
            check_columns(request, snapshot)
        starts = range(0, len(requests), batch_size)
        return (
            ranking
            for start in starts
            for ranking in self._answer_batch(requests[start : start + batch_size], snapshot, clock)
        )

    def explain(self, request: Request, ad_ids: Sequence[str]) -> tuple[Verdict, ...]:
        """Return for each ad why it is in the answer to a request, or why not.

        Cost: one answer that is `why.DEPTH` ads deep. The request's `k` decides what counts as shown; its deadline does
        not count.
        """
        self._check_process()
        return self._verdicts(request, ad_ids, self._live.snapshot)

    def inspect(self, request: Request, ad_ids: Sequence[str] = ()) -> Inspection:
        """Return everything behind the answer to a request, and where each of some ads stands in every channel.

        The request's deadline does not count. Cost: about five answers, one of them `why.DEPTH` ads deep.
        """
        self._check_process()
        return inspect(self, request, ad_ids, self._live.snapshot)

    def inspect_ad(self, ad_id: str) -> AdInspection | None:
        """Return an ad as the engine knows it, with the head queries that reach it; None if it is not there.

        Cost: one pass over all postings, and the answers to `inspection.NUM_HEAD_QUERIES` queries.
        """
        self._check_process()
        return inspect_ad(self, ad_id, self._live.snapshot)

    def varied(
        self,
        settings: RetrievalSettings,
        *,
        learned: bool = True,
        decoded: bool = False,
        values: Float64Array | None = None,
    ) -> "Engine":
        """Return an engine that answers with other settings, and shares everything else with this one, changes too.

        Without `learned` it fuses by reciprocal ranks. With `decoded` it reads queries as it reads ads, without the
        query cache: a build may have found that queries are read better by nearness alone. `values` (I,), above 0, say
        what showing the ads of each intention brings; `settings.decode.value_weight` says how much they count beside
        probability, and without a decoder for queries that of ads stands in. Runtime and threads stay as they are.
        Raises `InputError` for `decoded` if the student was not trained to speak. Cost: none.
        """
        other, near = copy.copy(self), self.intentions.near
        other.settings, other.pace = settings, Pace()
        if not learned:
            other.fusion = None
        if decoded or values is not None:
            models = self.query_models
            if near is None or near.of_ads.model_temperature is None:
                raise InputError("the student of this engine was not trained to decode", field="decoded")
            reader = models.intention_reader
            if decoded or reader.guidance.model_temperature is None:
                reader = replace(reader, guidance=near.of_ads)
            if values is not None:
                reader = replace(reader, decoder=models.student.decoder(reader.decoder.trie, values=values))
            other._models, other.cache = replace(models, intention_reader=reader), None
        return other

    def _row(self, snapshot: Snapshot, ad_id: str) -> int | None:
        return next(iter(self._live.rows_in(snapshot, [ad_id])), None)

    def _answered(self, request: Request, snapshot: Snapshot) -> Ranking:
        check_columns(request, snapshot)
        checked_user(request.user)
        return next(self._answer_batch([request], snapshot, Clock()))

    def _verdicts(self, request: Request, ad_ids: Sequence[str], snapshot: Snapshot) -> tuple[Verdict, ...]:
        deep = replace(request, k=max(request.k, DEPTH), explain=True, deadline_ms=None)
        checked_user(request.user)
        check_columns(request, snapshot)
        ranking = next(self._answer_batch([deep], snapshot, Clock()))
        uncapped = ranking
        if request.max_per:
            uncapped = next(self._answer_batch([replace(deep, max_per=EMPTY)], snapshot, Clock()))
        rows = {ad_id: self._row(snapshot, ad_id) for ad_id in ad_ids}
        return tuple(verdict(request, ad_id, rows[ad_id], ranking, uncapped, snapshot) for ad_id in ad_ids)

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
        snapshot, statistics = self._live.snapshot, self.lexical.statistics
        assert statistics is not None
        eligible = snapshot.eligible(checked_user(None))
        for start in range(0, len(queries), batch_size):
            texts = [snapshot.reader.read(query) for query in queries[start : start + batch_size]]
            everything = understand(texts, self.channels, self.intentions, self._models, None, self.settings)
            for text, understood in zip(texts, everything, strict=True):
                searched = self._searched(text, understood, snapshot, self.channels, eligible)
                rows, scores = searched.by_reciprocal_ranks()
                rows = rows[:depth]
                one = searched.candidates(rows, scores[:depth])
                yield rows, features(one, searched.facts(statistics), searched.title_terms(rows))

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
            found = understand(asked_texts, names, self.intentions, self._models, self.cache, self.settings)
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
                rows, scores = caps.kept(*self._ranked(searched, request.channel, is_learned))
            searches = [searched]
            while len(rows) < request.k and searches[-1].may_go_deeper:
                if clock.is_late(request.deadline_ms):
                    degraded.append(Degraded.DEPTH_REDUCED)
                    break
                with timed(timings, "search"):
                    depth, eligible = 2 * searches[-1].depth, caps.admitting(eligible)
                    searches.append(self._searched(text, understood, snapshot, names, eligible, depth))
                    deeper = self._ranked(searches[-1], request.channel, learned=False)
                    rows, scores = caps.kept(*continued((rows, scores), deeper))
            explain = request.explain
            if explain and clock.is_late(request.deadline_ms):
                degraded.append(Degraded.EXPLAIN_SKIPPED)
                explain = False
            with timed(timings, "explain"):
                best = zip(rows[: request.k].tolist(), scores[: request.k].tolist(), strict=True)
                ranked = tuple(
                    ScoredAd(
                        snapshot.ad_id(row),
                        rank,
                        score,
                        next(filter(None, (one.reasons(row) for one in searches))) if explain else (),
                        FrozenDict(values_of(row, request.payload, snapshot)) if request.payload else EMPTY,
                    )
                    for rank, (row, score) in enumerate(best, start=1)
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
        if channel is Channel.FUSED:
            return searched.fused(self.fusion if learned else None, self.lexical.statistics)
        hits = searched.found[channel].hits
        return hits.rows, hits.scores.astype(np.float64)

    def _told(self, understood: Understood) -> tuple[Intention, ...]:
        """Return a query's most probable intentions as they are shown."""
        found = understood.intentions
        if found is None:
            return ()
        best = np.lexsort((found.intention_ids, -found.log_probs))[:NUM_INTENTIONS]
        pairs = zip(found.intention_ids[best].tolist(), found.log_probs[best].tolist(), strict=True)
        return tuple(Intention(self.intentions.texts[intention_id], log_prob) for intention_id, log_prob in pairs)

    def _check_process(self) -> None:
        """Raise `InputError` in a forked child, where the threads of the libraries below do not exist."""
        if os.getpid() != self._pid:
            raise InputError(
                f"this engine was loaded by process {self._pid}, and this is process {os.getpid()}",
                cure="start workers by spawn, and load the engine in each of them",
            )

    def _with_keywords(self, channel: Channel, names: tuple[Channel, ...], snapshot: Snapshot) -> tuple[Channel, ...]:
        """Return the channels that a request for `channel` searches: with keywords where these join the fusion."""
        joins = channel is Channel.FUSED and snapshot.has_match_types and self.settings.keyword_weight > 0
        return (*names, Channel.KEYWORD) if joins else names

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
