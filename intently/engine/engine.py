"""The online story: a query comes in, ranked ads with reasons go out. Ads come and go meanwhile.

query ─ read once by the student ─┬─ decode intentions → postings ─┐
      │                           └─ embedding ┐                   │
      ├─ read by an encoder, if there is one ──┴→ nearest vectors ─┼─ eligible only → fuse → ranking (+ why)
      └─ terms → BM25 ─────────────────────────────────────────────┘
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float32Array, IntArray, Mask
from intently.catalog import Catalog
from intently.engine.cache import QueryCache
from intently.engine.fusion_features import Candidates, QueryFacts, features
from intently.engine.learned_fusion import Features, LearnedFusion
from intently.engine.load import load_engine
from intently.engine.reciprocal_ranks import reciprocal_rank_fusion
from intently.engine.search import NUM_EVIDENCE, Found, search
from intently.engine.settings import RetrievalSettings
from intently.engine.timing import timed
from intently.engine.understand import Understood, reader_threads, understand
from intently.errors import ArtifactError, InputError
from intently.generation import Generation
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalIndex
from intently.index.title_terms import TitleTerms
from intently.index.token_vectors import TokenVectors
from intently.index.vectors import VectorIndex
from intently.live.ad_reader import AdReader, IndexSettings
from intently.live.applier import LiveAds
from intently.models.encoder.embedder import Embedder
from intently.models.student import Runtime, Student
from intently.snapshot.segment import Segment
from intently.snapshot.snapshot import Ads
from intently.text.analyze import Analyzer
from intently.types import Ad, Channel, Intention, Ranking, ScoredAd, UserContext

__all__ = ["MAX_QUERY_LENGTH", "NUM_EVIDENCE", "Engine", "RetrievalSettings"]

MAX_QUERY_LENGTH = 2_000  # characters; a longer "query" is a document or an attack
FUSED_CHANNELS = (Channel.INTENTION, Channel.DENSE, Channel.LEXICAL)  # that are fused


class Engine:
    """Retrieves ads for queries from one loaded artifact. Holds no state between queries; safe to share by threads.

    `intentions`, `vectors`, `tokens` and `lexical` are as loaded; `catalog` is of the ads as they are now.
    """

    generation: str = ""  # the id of the generation it was loaded from
    _opened: Generation | None = None  # which keeps that on disk

    def __init__(
        self,
        catalog: Catalog,
        student: Student,
        intentions: IntentionIndex,
        vectors: VectorIndex,
        lexical: LexicalIndex,
        settings: RetrievalSettings,
        *,
        titles: TitleTerms | None = None,
        encoder: Embedder | None = None,
        tokens: TokenVectors | None = None,
        fusion: LearnedFusion | None = None,
        cache: QueryCache | None = None,
        indexing: IndexSettings | None = None,
    ) -> None:
        """`encoder` embeds for the dense channel beside the student; `fusion` stands in for reciprocal ranks.

        `tokens` are the vectors that the tokens of the encoder's queries interact with, if they do. `titles` are the
        catalogue's, computed if not given. `cache` may answer for the student. `indexing` are the build's settings for
        what an ad is found by, which new ads need. Raises `ArtifactError` for vectors that are not of student and
        encoder, and for a `fusion` with a lexical index that does not know its statistics.
        """
        readers, dimension = "the student", student.dimension
        if encoder:
            readers, dimension = "student and encoder together", dimension + encoder.dimension
        if (held := vectors.embeddings.shape[1]) != dimension:
            raise ArtifactError(
                f"the vectors are of {held} dimensions, those of {readers} of {dimension}; build the engine again"
            )
        held = tokens.codes.shape[1] if tokens else 0
        if held != (wanted := encoder.settings.token_dimension if encoder else 0):
            raise ArtifactError(
                f"the tokens' vectors are of {held} dimensions, the encoder's of {wanted}; build the engine again"
            )
        if tokens and tokens.num_ads != catalog.num_ads:
            raise ArtifactError(f"tokens of {tokens.num_ads} ads for {catalog.num_ads}; build the engine again")
        self.intentions, self.vectors, self.tokens, self.lexical = intentions, vectors, tokens, lexical
        self.settings, self.cache, self.fusion = settings, cache, fusion
        num_threads = reader_threads(settings.num_threads, encoder)
        self.student = student.use(settings.runtime, num_threads)
        self.encoder = encoder.use(settings.runtime, num_threads) if encoder else None
        self._decoder = student.decoder(intentions.trie)
        self._analyzer = Analyzer(lexical.settings.stemmer)
        if fusion and lexical.statistics is None:
            raise ArtifactError("the lexical index lacks the statistics that the fusion needs; build the engine again")
        reader = AdReader(
            self.student,
            self.encoder,
            self._decoder,
            intentions,
            catalog,
            lexical,
            indexing or IndexSettings(),
            settings.num_threads,
        )
        titles = titles or TitleTerms.build(catalog.strings("title"), self._analyzer)
        self._live = LiveAds(Ads.of(Segment(catalog, intentions.postings, vectors, lexical, titles, tokens)), reader)

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

        `runtime` and `num_threads` stand in for the settings it was built with, as they belong to the machine it runs
        on. Raises `ArtifactError` naming what cannot be trusted. The generation stays on disk as long as the engine is
        in use.
        """
        return load_engine(cls, Path(path), generation=generation, runtime=runtime, num_threads=num_threads)

    @property
    def catalog(self) -> Catalog:
        """The ads that are there now, in order of arrival."""
        return self._live.ads.catalog

    def add_ads(self, ads: Iterable[Ad], *, replace: bool = False) -> None:
        """Add ads, findable on every channel once this returns; all of them or none. Nothing is trained.

        The student reads each ad and decodes its intentions from the present vocabulary; those that its title contains
        or that it bids on are added. With `replace` an ad takes the place of the one with its id, but not what that was
        clicked for. What depends on the whole catalogue (how rare words and intentions are, how long ads) stays as
        built. Queries under way are not disturbed; the artifact on disk is not changed. Raises `InputError` naming the
        first ad that is not valid, comes twice or, without `replace`, is there already.
        """
        self._live.add(ads, replace=replace)

    def remove_ads(self, ad_ids: Sequence[str]) -> None:
        """Remove ads by their ids, all of them or none; raise `InputError` for an id unknown or given twice."""
        self._live.remove(ad_ids)

    def retrieve(
        self,
        query: str,
        k: int = 10,
        *,
        user: UserContext | None = None,
        channel: Channel = Channel.FUSED,
        explain: bool = True,
    ) -> Ranking:
        """Return the `k` best eligible ads for a query, with the reasons of each unless `explain` is off.

        Raises `InputError` for a query that is empty, enormous or no valid Unicode, and for k < 1.
        """
        return next(self.retrieve_many([query], k, user=user, channel=channel, explain=explain))

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
        """Return the rankings of the queries in order, read and decoded in batches: the fast way through many.

        What `retrieve` refuses is refused at once, before the first ranking is asked for.
        """
        if k < 1:
            raise InputError(f"k is {k}", cure="ask for at least 1 ad", field="k")
        for position, query in enumerate(queries):
            _check(query, position)
        ads, channel = self._live.ads, Channel(channel)  # one version from the first query to the last
        eligible = ads.eligible(user)
        starts = range(0, len(queries), batch_size)
        return (
            ranking
            for start in starts
            for ranking in self._retrieve_batch(queries[start : start + batch_size], k, ads, eligible, channel, explain)
        )

    def embed_queries(self, queries: Sequence[str]) -> Float32Array:
        """Return the unit embeddings (B, D) of queries as the dense channel compares them with `vectors`.

        That is before feedback moves them. Refuses what `retrieve` refuses.
        """
        for position, query in enumerate(queries):
            _check(query, position)
        embeddings = np.empty((len(queries), self.vectors.embeddings.shape[1]), dtype=np.float32)
        for row, one in enumerate(self._understand(queries, self._live.ads, (Channel.DENSE,), None)):
            embeddings[row] = one.embedding
        return embeddings

    def candidates(
        self, queries: Sequence[str], depth: int | None = None, *, batch_size: int = 32
    ) -> Iterator[tuple[IntArray, Features]]:
        """Yield for each query the rows (C,) that reciprocal rank fusion finds, best first, and their features (C, F).

        This is what a fusion of this `depth` learns from: candidates beyond it are left out before features compare an
        ad with the others, as when it answers. The query cache is not asked: what is to be learned is how to answer
        queries that nobody prepared.
        """
        ads, settings = self._live.ads, self.settings
        eligible = ads.eligible(None)
        for start in range(0, len(queries), batch_size):
            part = queries[start : start + batch_size]
            everything = self._understand(part, ads, FUSED_CHANNELS, None)
            for query, understood in zip(part, everything, strict=True):
                found = search(
                    query, understood, ads, self.intentions, FUSED_CHANNELS, settings.num_candidates, eligible, settings
                )
                rows, scores = self._by_reciprocal_ranks(found)
                rows = rows[:depth]
                one = Candidates.of(rows, scores[:depth], found.best, found.scores_of)
                yield rows, features(one, self._facts(query, found), ads.title_terms(rows))

    def _understand(
        self, queries: Sequence[str], ads: Ads, channels: Sequence[Channel], cache: QueryCache | None
    ) -> list[Understood]:
        return understand(
            queries, ads.corrected, channels, self.student, self.encoder, self._decoder, cache, self.settings
        )

    def _retrieve_batch(
        self, queries: Sequence[str], k: int, ads: Ads, eligible: Mask, channel: Channel, explain: bool
    ) -> Iterator[Ranking]:
        channels = FUSED_CHANNELS if channel is Channel.FUSED else (channel,)
        depth = max(k, self.settings.num_candidates)
        everything = self._understand(queries, ads, channels, self.cache)
        for query, understood in zip(queries, everything, strict=True):
            timings = understood.timings_ms
            with timed(timings, "search"):
                found = search(query, understood, ads, self.intentions, channels, depth, eligible, self.settings)
            with timed(timings, "fuse"):
                if channel is Channel.FUSED:
                    rows, scores = self._fused(query, found)
                else:
                    rows, scores = found.hits[channel].rows, found.hits[channel].scores.astype(np.float64)
            with timed(timings, "explain"):
                ranked = tuple(
                    ScoredAd(ads.ad_id(row), rank, score, found.reasons(row) if explain else ())
                    for rank, (row, score) in enumerate(
                        zip(rows[:k].tolist(), scores[:k].tolist(), strict=True), start=1
                    )
                )
            yield Ranking(query, ranked, self._told(understood), timings, understood.cached)

    def _fused(self, query: str, found: Found) -> tuple[IntArray, NDArray[np.float64]]:
        """Return all that the channels found and its scores, best first."""
        rows, scores = self._by_reciprocal_ranks(found)
        if self.fusion is None:
            return rows, scores
        facts = self._facts(query, found)
        return self.fusion.rank(rows, scores, found.best, found.scores_of, facts, found.ads.title_terms)

    def _by_reciprocal_ranks(self, found: Found) -> tuple[IntArray, NDArray[np.float64]]:
        settings = self.settings
        weights = (settings.intention_weight, settings.dense_weight, settings.lexical_weight)
        return reciprocal_rank_fusion(
            [found.best[channel] for channel in FUSED_CHANNELS], weights, settings.fusion_constant
        )

    def _facts(self, query: str, found: Found) -> QueryFacts:
        assert self.lexical.statistics is not None
        return QueryFacts.of(query, found.lexical, found.num_literal, self._analyzer, self.lexical.statistics)

    def _told(self, understood: Understood) -> tuple[Intention, ...]:
        """Return a query's decoded intentions as they are shown."""
        found = understood.intentions
        if found is None:
            return ()
        pairs = zip(found.intention_ids.tolist(), found.log_probs.tolist(), strict=True)
        return tuple(Intention(self.intentions.texts[intention_id], log_prob) for intention_id, log_prob in pairs)


def _check(query: object, position: int) -> None:
    place = f"query {position + 1}"
    if not isinstance(query, str):
        raise InputError(f"{place} is {type(query).__name__}, not text", cure="pass a string")
    if not query.strip():
        raise InputError(f"{place} is empty", cure="pass at least one character that is not a space")
    if len(query) > MAX_QUERY_LENGTH:
        raise InputError(
            f"{place} has {len(query)} characters", cure=f"pass at most {MAX_QUERY_LENGTH}; longer text is a document"
        )
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{place} is not valid Unicode (a lone surrogate)", cure="pass text read as UTF-8") from error
