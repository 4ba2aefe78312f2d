"""The engine: a request comes in, ranked ads with reasons go out. Ads come and go meanwhile.

This is its public side. `answerer.py` follows a query, `live/applier.py` a change, `load.py` opens a generation.
"""

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from intently.arrays import Float64Array
from intently.catalog import Catalog, checked_user
from intently.catalog.texts import brand_words
from intently.engine.answerer import Answerer
from intently.engine.cache import QueryCache
from intently.engine.inspection import AdInspection, Inspection, inspect, inspect_ad
from intently.engine.learned_fusion import LearnedFusion
from intently.engine.pace import Clock, Pace
from intently.engine.parts import check_parts
from intently.engine.relevance import Calibrator
from intently.engine.settings import RetrievalSettings
from intently.engine.understand import reader_threads
from intently.errors import ArtifactError, InputError
from intently.filters import Expression
from intently.frozen import EMPTY
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
from intently.live.log import ChangeLog, Receipt
from intently.models.encoder.embedder import Embedder
from intently.models.models import Models
from intently.models.student import Runtime, Student, check_tokens
from intently.rules.presets import rules_of
from intently.snapshot.attributes import Attributes
from intently.snapshot.segment import Segment
from intently.snapshot.snapshot import Snapshot
from intently.text.analyze import Analyzer
from intently.types import (
    Ad,
    Change,
    Channel,
    Progress,
    PutList,
    Ranking,
    Request,
    UserContext,
    Verdict,
)


class Engine(Answerer):
    """Answers requests for ads and applies changes of ads. Threads may share it; a forked process may not.

    `intentions`, `vectors`, `tokens` and `lexical` are as loaded; `catalog` has the ads as they are now. `generation`
    is the id of the generation that was loaded, empty for an engine that was never written. An engine without models
    has no student and no vectors: it finds intentions word by word. `channels` are those that it has the parts for.
    """

    models: str = ""  # the fingerprint of what reads ads, under which a log keeps what was read
    min_seq_wait_s = 1.0  # how long a request waits for the change that its `min_seq` names
    _opened: Generation | None = None  # which keeps the generation on disk

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
        calibrator: Calibrator | None = None,
    ) -> None:
        """`student` and `vectors` are None for an engine without models, whose `intentions` need no trie.

        `encoder` embeds for the dense channel beside the student; `fusion` stands in for reciprocal ranks.

        `tokens` are the vectors that the tokens of the encoder's queries interact with, if they do. `titles` are the
        catalog's, computed if not given. `cache` may answer for the student. `indexing` are the build settings that
        affect how an ad is indexed, which new ads need. `keywords` are the catalog's, computed if they have match
        types and are not given. `calibrator` tells relevance. Raises `ArtifactError` for parts that are not of one
        catalog or of these models, and for a `fusion` or a `calibrator` with a lexical index that does not know its
        statistics; `SettingsError` for queries longer than the student reads.
        """
        check_parts(student, encoder, intentions, vectors, tokens, lexical, fusion, calibrator)
        self.vectors, self.tokens = vectors, tokens
        num_threads = reader_threads(settings.num_threads, encoder)
        self.student = student.use(settings.runtime, num_threads) if student else None
        self.encoder = encoder.use(settings.runtime, num_threads) if encoder else None
        models, of_ads = None, None
        if self.student and (trie := intentions.trie) and (near := intentions.near):
            positions, longest = self.student.positions, trie.depth()
            check_tokens(settings, "max_query_tokens", positions=positions, longest=longest, table="retrieval.")
            models = Models.of(self.student, self.encoder, trie, near, near.guidance)
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
        known_words = brand_words(catalog) | (student.tokenizer.whole_words if student else frozenset())
        rules = rules_of(settings.match_rules, lexical.settings.stemmer)
        snapshot = Snapshot.of(segment, Attributes.of(catalog, rules), known_words, rules=rules)
        super().__init__(Applier(snapshot, reader), models, intentions, lexical, settings, cache, fusion, calibrator)
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
    def snapshot(self) -> Snapshot:
        """All ads as they are now, with their indexes."""
        return self._live.snapshot

    @property
    def merge_failure(self) -> str:
        """The error of the last background merge of segments, empty if it succeeded."""
        return self._live.merge_failure

    def ad(self, ad_id: str, *, newest: bool = False) -> Ad | None:
        """Return the ad with this id as queries see it, None if it is not there. Cost: microseconds.

        `newest`: with changes that are on their way to the disk, and may still be lost.
        """
        return self._live.ad(ad_id, newest=newest)

    def apply(self, changes: Iterable[Change | PutList], *, receipt: Callable[[int], Receipt] | None = None) -> int:
        """Apply a batch of `Put`, `Patch`, `Delete` and `PutList`, all or none; return its number once queries see it.

        A patch of status, bid, targeting or payload costs no model call. Nor does a put whose text did not change, and
        the ad keeps what it was clicked for. The student reads every other put once, and its intentions come from the
        present vocabulary. Batches are ordered by the calls of `apply`, not by when models finish. Statistics of the
        whole catalog (how rare words and intentions are, how long ads are) stay as built. Queries that have begun do
        not see the batch. Without a log (`join`) a batch does not outlive the process; `CurrentEngine` has one.
        `receipt` makes of the number what the log keeps together with the batch (`intently.live.log.Receipt`).

        Raises `InputError` naming the first change that is not valid, or that patches an ad that is not there;
        `LogError` if the log cannot be written, and then nothing has happened.
        """
        self._check_process()
        return self._live.apply(changes, receipt)

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
        min_relevance: float | None = None,
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
            min_relevance=min_relevance,
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
            self._check(request, snapshot)
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
        other.runtime_cache = None  # which is of these settings
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

    def _check_process(self) -> None:
        """Raise `InputError` in a forked child, where the threads of the libraries below do not exist."""
        if os.getpid() != self._pid:
            raise InputError(
                f"this engine was loaded by process {self._pid}, and this is process {os.getpid()}",
                cure="start workers by spawn, and load the engine in each of them",
            )
