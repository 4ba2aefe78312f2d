"""The online story: a query comes in, ranked ads with reasons go out.

query ─ read once by the student ─┬─ decode intentions → postings ─┐
                                  ├─ embedding → cosine ───────────┼─ eligible only → fuse → ranking (+ why)
      └─ terms ───────────────────┴─ BM25 ─────────────────────────┘
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from time import perf_counter
from typing import Any

import numpy as np

from intently.artifact import MANIFEST, open_artifact
from intently.catalog import Catalog
from intently.errors import ArtifactError, InputError, SettingsError
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalIndex, LexicalQuery
from intently.index.postings import FloatArray, IntArray, Mask, top_rows
from intently.index.vectors import VectorIndex
from intently.intentions.decode import Decoded, DecodeSettings
from intently.models.device import intra_op_threads
from intently.models.student import Reading, Runtime, Student
from intently.retrieve.fuse import reciprocal_rank_fusion
from intently.retrieve.targeting import Targeting
from intently.settings import check_choice, check_range, from_mapping
from intently.types import Intention, Path, Ranking, Reason, ScoredAd, UserContext

MAX_QUERY_LENGTH = 2_000  # characters; a longer "query" is a document or an attack
NUM_EVIDENCE = 3  # pieces of evidence told per reason


@dataclass(frozen=True)
class RetrievalSettings:
    """How a query is answered."""

    decode: DecodeSettings = field(default_factory=DecodeSettings)
    num_candidates: int = 500  # taken from each path before fusion (more if k asks for more)
    fusion_constant: float = 10.0
    intention_weight: float = 0.5
    dense_weight: float = 1.0
    lexical_weight: float = 1.0
    intention_power: float = 0.5  # below 1 evens out the decoded intentions' probabilities
    literal_weight: float = 1.0  # of all intentions that the query contains word by word, against 1 for all decoded
    max_query_tokens: int = 32
    runtime: Runtime = Runtime.ONNX_INT8
    num_threads: int = 1  # of the student: one answers single queries best, all cores answer batches best

    def __post_init__(self) -> None:
        check_range(self, "num_candidates", "num_threads", low=1)
        check_range(self, "fusion_constant", "intention_weight", "dense_weight", "lexical_weight")
        check_range(self, "intention_power", "literal_weight")
        check_range(self, "max_query_tokens", low=3)  # one between [CLS] and [SEP]
        check_choice(self, "runtime", Runtime)


@dataclass(frozen=True)
class _Evidence:
    """What one query is known by, kept until its reasons have been told."""

    intention_ids: IntArray
    intention_weights: FloatArray
    intentions: tuple[Intention, ...]
    lexical: LexicalQuery | None
    scores: dict[Path, FloatArray] = field(default_factory=dict)
    rows: dict[Path, IntArray] = field(default_factory=dict)


class Engine:
    """Retrieves ads for queries from one loaded artifact. Holds no state between queries; safe to share by threads."""

    def __init__(
        self,
        catalog: Catalog,
        student: Student,
        intentions: IntentionIndex,
        vectors: VectorIndex,
        lexical: LexicalIndex,
        settings: RetrievalSettings,
    ) -> None:
        self.catalog, self.intentions = catalog, intentions
        self.student = student.use(settings.runtime, settings.num_threads)
        self.vectors, self.lexical, self.settings = vectors, lexical, settings
        self._decoder = student.decoder(intentions.trie)
        self._targeting = Targeting(catalog)
        self._ad_ids = catalog.column("ad_id").combine_chunks()

    @classmethod
    def load(cls, path: str | FilePath, *, runtime: Runtime | None = None, num_threads: int | None = None) -> "Engine":
        """Load the artifact at `path` after checking all of it; raise `ArtifactError` naming what cannot be trusted.

        `runtime` and `num_threads` stand in for the artifact's settings, as they belong to the machine it runs on.
        """
        directory = FilePath(path)
        manifest = open_artifact(directory)
        try:
            settings = from_mapping(RetrievalSettings, manifest["settings"]["retrieval"], "settings")
        except (KeyError, AttributeError, SettingsError) as error:
            place = directory / MANIFEST
            raise ArtifactError(f"{place} does not hold retrieval settings ({error}); build again") from error
        told: dict[str, Any] = {"runtime": runtime, "num_threads": num_threads}
        settings = replace(settings, **{name: value for name, value in told.items() if value is not None})
        return cls(
            catalog=Catalog.load(directory / "catalog.arrow"),
            student=Student.load(directory / "student"),
            intentions=IntentionIndex.load(directory / "intentions"),
            vectors=VectorIndex.load(directory / "vectors.npy"),
            lexical=LexicalIndex.load(directory / "lexical"),
            settings=settings,
        )

    def retrieve(
        self,
        query: str,
        k: int = 10,
        *,
        user: UserContext | None = None,
        path: Path = Path.FUSED,
        explain: bool = True,
    ) -> Ranking:
        """Return the `k` best eligible ads for a query, with the reasons of each unless `explain` is off.

        Raises `InputError` for a query that is empty, enormous or no valid Unicode, and for k < 1.
        """
        return next(self.retrieve_many([query], k, user=user, path=path, explain=explain))

    def retrieve_many(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        user: UserContext | None = None,
        path: Path = Path.FUSED,
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
        path, eligible = Path(path), self._targeting.eligible(user)
        starts = range(0, len(queries), batch_size)
        return (
            ranking
            for start in starts
            for ranking in self._retrieve_batch(queries[start : start + batch_size], k, eligible, path, explain)
        )

    def _retrieve_batch(
        self, queries: Sequence[str], k: int, eligible: Mask, path: Path, explain: bool
    ) -> Iterator[Ranking]:
        paths = (Path.INTENTION, Path.DENSE, Path.LEXICAL) if path is Path.FUSED else (path,)
        timings: dict[str, float] = {}
        reading: Reading | None = None
        decoded: list[Decoded] = []
        if Path.INTENTION in paths or Path.DENSE in paths:
            with _timed(timings, "encode"), intra_op_threads(self.settings.num_threads):
                reading = self.student.read(queries, self.settings.max_query_tokens)
        if reading and Path.INTENTION in paths:
            with _timed(timings, "decode"), intra_op_threads(self.settings.num_threads):
                decoded = self._decoder.decode(reading.prompt, self.settings.decode)
        shared = {stage: spent / len(queries) for stage, spent in timings.items()}
        for position, query in enumerate(queries):
            own = dict(shared)
            with _timed(own, "search"):
                evidence = self._search(query, position, reading, decoded, paths, k, eligible)
            with _timed(own, "fuse"):
                if path is Path.FUSED:
                    rows, scores = reciprocal_rank_fusion(
                        [evidence.rows[each] for each in paths],
                        [self._weight(each) for each in paths],
                        self.settings.fusion_constant,
                    )
                else:
                    rows = evidence.rows[path]
                    scores = evidence.scores[path][rows].astype(np.float64)
            with _timed(own, "explain"):
                ads = tuple(
                    ScoredAd(
                        ad_id=self._ad_ids[int(row)].as_py(),
                        rank=rank,
                        score=float(score),
                        reasons=self._reasons(int(row), evidence) if explain else (),
                    )
                    for rank, (row, score) in enumerate(zip(rows[:k], scores[:k], strict=True), start=1)
                )
            yield Ranking(query, ads, evidence.intentions, own)

    def _search(
        self,
        query: str,
        position: int,
        reading: Reading | None,
        decoded: list[Decoded],
        paths: Sequence[Path],
        k: int,
        eligible: Mask,
    ) -> _Evidence:
        """Score every ad on each path and keep the best eligible candidates."""
        ids, weights = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        told: tuple[Intention, ...] = ()
        lexical = self.lexical.analyze(query) if Path.LEXICAL in paths else None
        if decoded:
            found = decoded[position]
            ids, weights = self._weighted_intentions(query, found)
            told = tuple(
                Intention(self.intentions.texts[intention_id], float(log_prob))
                for intention_id, log_prob in zip(found.intention_ids, found.log_probs, strict=True)
            )
        evidence = _Evidence(ids, weights, told, lexical)
        depth = max(k, self.settings.num_candidates)
        for path in paths:
            if path is Path.INTENTION:
                scores, above = self.intentions.postings.scores(ids, weights), 0.0
            elif path is Path.DENSE:
                assert reading is not None
                scores, above = self.vectors.scores(reading.embeddings[position]), -np.inf
            else:
                assert lexical is not None
                scores, above = self.lexical.scores(lexical), 0.0
            evidence.scores[path] = scores
            evidence.rows[path] = top_rows(scores, depth, eligible, above)
        return evidence

    def _weighted_intentions(self, query: str, found: Decoded) -> tuple[IntArray, FloatArray]:
        """Return the intentions that stand for a query, decoded ones and literal ones, with their weights."""
        shares = np.exp(self.settings.intention_power * found.log_probs)
        weight_of = dict(zip(found.intention_ids.tolist(), (shares / shares.sum()).tolist(), strict=True))
        literal = self.intentions.literal(query).tolist()
        for intention_id in literal:
            weight_of[intention_id] = weight_of.get(intention_id, 0.0) + self.settings.literal_weight / len(literal)
        return np.array(list(weight_of), dtype=np.int64), np.array(list(weight_of.values()), dtype=np.float32)

    def _weight(self, path: Path) -> float:
        settings = self.settings
        return {
            Path.INTENTION: settings.intention_weight,
            Path.DENSE: settings.dense_weight,
            Path.LEXICAL: settings.lexical_weight,
        }[path]

    def _reasons(self, ad_row: int, evidence: _Evidence) -> tuple[Reason, ...]:
        """Return what each path that found the ad saw in it."""
        reasons = []
        for path, rows in evidence.rows.items():
            at = np.flatnonzero(rows == ad_row)
            if not len(at):
                continue
            score = float(evidence.scores[path][ad_row])
            reasons.append(
                Reason(path, int(at[0]) + 1, score, self._told(path, ad_row, score, evidence)[:NUM_EVIDENCE])
            )
        return tuple(reasons)

    def _told(self, path: Path, ad_row: int, score: float, evidence: _Evidence) -> tuple[tuple[str, float], ...]:
        if path is Path.DENSE:
            return (("cosine", score),)
        if path is Path.LEXICAL:
            assert evidence.lexical is not None
            return self.lexical.explain(evidence.lexical, ad_row)
        found = self.intentions.postings.contributions(evidence.intention_ids, evidence.intention_weights, ad_row)
        return tuple((self.intentions.texts[evidence.intention_ids[position]], share) for position, share in found)


class _timed:
    """Adds the milliseconds spent in a block to `timings[stage]`."""

    def __init__(self, timings: dict[str, float], stage: str, clock: Callable[[], float] = perf_counter) -> None:
        self._timings, self._stage, self._clock = timings, stage, clock

    def __enter__(self) -> None:
        self._start = self._clock()

    def __exit__(self, *_: object) -> None:
        spent = (self._clock() - self._start) * 1000
        self._timings[self._stage] = self._timings.get(self._stage, 0.0) + spent


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
