"""The offline story: from ads and clicks to an artifact that answers queries.

    ads, clicks → catalogue → candidates → vocabulary → trie → student (trained) → ads' intentions → indexes → manifest
                       └ (teacher: customised, then says intentions of ads and queries) ┘   └ query cache (head queries)

Every stage is a function of the one before. What is expensive (the trained student, the ads' intentions) is kept under
`.build` while the build runs, together with a fingerprint of all that decided it, so that an interrupted build resumes,
a build with other inputs starts afresh, and one with other settings trains again only if these touch training. The
manifest is written last.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from intently.artifact import MANIFEST, open_artifact, sha256_of, write_atomically, write_manifest
from intently.catalog import Catalog, Judgements, read_ads, read_judgements, read_queries
from intently.catalog.texts import ad_texts, searchable_texts
from intently.errors import ArtifactError, InputError
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.index.phrases import PhraseTable
from intently.index.posting_weights import AdIntentions, PostingSettings, build_postings
from intently.index.postings import IntArray
from intently.index.vectors import VectorIndex
from intently.intentions.candidates import CandidateSettings, mine_candidates
from intently.intentions.decode import DecodeSettings
from intently.intentions.trie import Trie
from intently.intentions.vocabulary import Vocabulary, VocabularySettings, coverage, merge_equal, select_vocabulary
from intently.models.pretrained import DEFAULT_CHECKPOINT, checkpoint_directory, grow_vocabulary, load_pretrained
from intently.models.student import Runtime, Student
from intently.retrieve.cache import CACHE_FILE
from intently.retrieve.engine import RetrievalSettings
from intently.settings import check_choice, check_range
from intently.teacher import Lessons, TeacherSettings, fill_query_cache, take_lessons
from intently.text.analyze import Analyzer
from intently.train.pairs import Taught, TrainingData, build_training_data
from intently.train.student import TrainingSettings, train_student

# Called with (stage, done, total, note) whenever there is something to show; total 0 means unknown.
Progress = Callable[[str, int, int, str], None]
_CHUNK = 4096  # ads whose intentions are decoded between two saves


@dataclass(frozen=True)
class BuildSettings:
    """All settings of a build, a table a stage; what a settings file may contain."""

    checkpoint: str = DEFAULT_CHECKPOINT  # directory of a BERT-style encoder, or the default's name
    min_relevance: float | None = None  # from which a judged pair is a positive; None: the upper third of the scale
    min_ocr_confidence: float = 0.5  # from which an OCR span can be found lexically
    runtime: Runtime = Runtime.ONNX_INT8  # of the trained student, reading all ads
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    vocabulary: VocabularySettings = field(default_factory=VocabularySettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    postings: PostingSettings = field(default_factory=PostingSettings)
    lexical: LexicalSettings = field(default_factory=LexicalSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)

    def __post_init__(self) -> None:
        check_choice(self, "runtime", Runtime)
        check_range(self, "min_ocr_confidence", high=1)
        if self.min_relevance is not None:
            check_range(self, "min_relevance", low=-math.inf)


@dataclass(frozen=True)
class Interactions:
    """Clicks and judgements as rows: positives and judged-irrelevant pairs, each (P, 2) of (query_row, ad_row)."""

    queries: tuple[str, ...]
    clicks: IntArray
    irrelevant: IntArray
    num_unknown_ads: int  # pairs left out because the catalogue does not have the ad
    counts: IntArray  # (P,) how often each click was made, 1 where that is not known

    def by_frequency(self) -> list[str]:
        """Return the queries that were clicked, those with the most clicks first."""
        total = np.bincount(self.clicks[:, 0], weights=self.counts, minlength=len(self.queries))
        order = np.argsort(-total, kind="stable")
        return [self.queries[row] for row in order[: np.count_nonzero(total)]]


@dataclass(frozen=True)
class BuildReport:
    """What a build made: counts by name, and what was left out."""

    directory: Path
    facts: dict[str, float]
    notes: tuple[str, ...]


def build_engine(
    ads: Path,
    clicks: Path | None,
    out: Path,
    settings: BuildSettings | None = None,
    *,
    queries: Path | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Build an engine from files of ads and clicks (or judgements) into the directory `out`.

    `queries` gives the texts of clicks that name queries by id only. Without clicks the student learns from the ads
    alone. An engine that is in `out` answers until the new one is written. Raises `InputError` for wrong input, and for
    an `out` that holds something else.
    """
    settings = settings or BuildSettings()
    show = progress or (lambda *_: None)
    show("Reading", 0, 0, "")
    fingerprints = _fingerprints([ads, clicks, queries], settings, skip_bad)
    done = _finished(out, fingerprints, settings)
    if done:
        return done
    read = read_ads(ads, skip_bad=skip_bad, progress=lambda rows: show("Reading", rows, 0, "ads"))
    catalog = read.catalog
    asked = read_queries(queries, skip_bad=skip_bad) if queries else None
    judgements = read_judgements(clicks, queries=asked, skip_bad=skip_bad) if clicks else None
    interactions = match_interactions(catalog, judgements, settings.min_relevance)
    work = _prepare(out, fingerprints)

    show("Finding intentions", 0, 0, "")
    texts = ad_texts(catalog)
    backbone, tokenizer = load_pretrained(settings.checkpoint)
    tokenizer = tokenizer.extended_by((*texts, *interactions.queries))
    backbone = grow_vocabulary(backbone, tokenizer.vocab_size, settings.training.seed)
    draft = choose_vocabulary(catalog, interactions, settings)
    drafted = training_data(interactions, texts, draft)
    lessons = take_lessons(drafted, interactions.counts, settings.teacher, work / "teacher", show)
    vocabulary = choose_vocabulary(catalog, interactions, settings, lessons) if lessons.ads else draft
    vocabulary = merge_equal(vocabulary, tokenizer.encode_bare(vocabulary.texts))
    trie = Trie.build(tokenizer.encode_bare(vocabulary.texts))
    analyzer = Analyzer(settings.lexical.stemmer)
    phrases = PhraseTable(vocabulary.texts, analyzer)

    if not (work / "student" / "done").exists():
        data = training_data(interactions, texts, vocabulary, lessons.of_queries(phrases))
        trained = train_student(
            backbone,
            tokenizer,
            data,
            trie,
            settings.training,
            checkpoint=work / "checkpoint.pt",
            progress=lambda step, steps, losses: show("Training the student", step, steps, _told(losses)),
        )
        Student(trained.backbone, tokenizer).save(work / "student")
        (work / "student" / "done").touch()
    student = Student.load(work / "student").use(settings.runtime, torch.get_num_threads())

    decoded, log_probs, embeddings = read_all_ads(student, trie, texts, settings.postings, work, show)
    show("Indexing", 0, 0, "")
    ad_intentions = AdIntentions(
        given=vocabulary.ad_pairs,
        clicked=_clicked_pairs(interactions, phrases),
        decoded=np.concatenate((decoded, vocabulary.taught_pairs)),
        log_probs=np.concatenate((log_probs, vocabulary.taught_log_probs)),
    )
    meanings = student.embed(vocabulary.texts, settings.postings.max_ad_tokens)
    postings, statistics = build_postings(ad_intentions, embeddings, meanings, settings.postings)
    lexical = LexicalIndex.build(searchable_texts(catalog, settings.min_ocr_confidence), settings.lexical)
    intentions = IntentionIndex(vocabulary.texts, trie, postings, analyzer, statistics)

    head, cache = interactions.by_frequency(), work / CACHE_FILE
    num_cached = fill_query_cache(lessons, intentions, head, cache, settings.teacher, show)

    show("Writing", 0, 0, "")
    (out / MANIFEST).unlink(missing_ok=True)  # until here an engine that was there before still answers
    (out / CACHE_FILE).unlink(missing_ok=True)
    if num_cached:
        cache.replace(out / CACHE_FILE)
    catalog.save(out / "catalog.arrow")
    student.save(out / "student")
    intentions.save(out / "intentions")
    VectorIndex(embeddings).save(out / "vectors.npy")
    lexical.save(out / "lexical")
    facts = {
        "num_ads": catalog.num_ads,
        "num_queries": len(interactions.queries),
        "num_clicks": len(interactions.clicks),
        **coverage(vocabulary, catalog.num_ads, len(interactions.queries)),
        "postings": len(postings.ad_rows),
        "cached_queries": num_cached,
    }
    notes = _notes(read.num_skipped, read.problems, judgements, interactions)
    kept = [path for path in out.rglob("*") if path.is_file() and work not in path.parents and path.name != MANIFEST]
    write_manifest(
        out,
        kept,
        {"fingerprints": asdict(fingerprints), "settings": asdict(settings), "facts": facts, "notes": list(notes)},
    )
    shutil.rmtree(work)
    return BuildReport(out, facts, notes)


def match_interactions(catalog: Catalog, judgements: Judgements | None, min_relevance: float | None) -> Interactions:
    """Return clicks or judgements as rows of the catalogue; judged pairs below `min_relevance` are irrelevant ones."""
    none = np.empty((0, 2), dtype=np.int64)
    if judgements is None:
        return Interactions((), none, none, 0, none[:, 0])
    ad_rows = catalog.ad_rows(judgements.ad_ids)
    known = ad_rows >= 0
    if not known.any():
        raise InputError("no click names an ad of the catalogue", cure="check that both files use the same ad ids")
    positive = judgements.positives(min_relevance)
    pairs = np.stack((judgements.query_rows, ad_rows), axis=1)
    return Interactions(
        judgements.queries,
        pairs[known & positive],
        pairs[known & ~positive],
        int((~known).sum()),
        _click_counts(judgements)[known & positive],
    )


def _click_counts(judgements: Judgements) -> IntArray:
    """Return how often each pair (P,) was clicked; a judged pair counts once."""
    return judgements.values.astype(np.int64) if judgements.kind == "clicks" else np.ones(len(judgements), np.int64)


def choose_vocabulary(
    catalog: Catalog, interactions: Interactions, settings: BuildSettings, lessons: Lessons | None = None
) -> Vocabulary:
    """Mine candidates from titles, bid keywords, clicked queries and a teacher's lessons; select the vocabulary."""
    candidates = mine_candidates(
        catalog.strings("title"),
        catalog.column("keywords").to_pylist(),
        interactions.queries,
        interactions.clicks,
        Analyzer(settings.lexical.stemmer),
        settings.candidates,
        lessons.ads if lessons else (),
    )
    return select_vocabulary(candidates, catalog.num_ads, len(interactions.queries), settings.vocabulary)


def training_data(
    interactions: Interactions, texts: list[str], vocabulary: Vocabulary, taught_queries: Taught | None = None
) -> TrainingData:
    """Return what queries and ads (with their `texts`) should say, from clicks and, if any, a teacher's lessons."""
    return build_training_data(
        interactions.queries,
        texts,
        vocabulary,
        interactions.clicks,
        interactions.irrelevant,
        taught_queries=taught_queries,
    )


def _clicked_pairs(interactions: Interactions, phrases: PhraseTable) -> IntArray:
    """Return the (intention_id, ad_row) pairs (C, 2) of queries that are intentions as a whole, and their clicks."""
    found = np.array([-1 if (one := phrases.exact(query)) is None else one for query in interactions.queries])
    if not len(found):
        return np.empty((0, 2), dtype=np.int64)
    ids = found[interactions.clicks[:, 0]]
    return np.stack((ids, interactions.clicks[:, 1]), axis=1)[ids >= 0]


def read_all_ads(
    student: Student, trie: Trie, texts: list[str], settings: PostingSettings, work: Path, show: Progress
) -> tuple[IntArray, np.ndarray, np.ndarray]:
    """Let the student read every ad: decoded (intention_id, ad_row) pairs, their log-probabilities, and embeddings.

    Saved chunk by chunk under `work`, so that an interrupted build goes on where it was.
    """
    decoder, decoding = student.decoder(trie), DecodeSettings(num_beams=settings.num_beams)
    pairs, log_probs, embeddings = [], [], []
    for start in range(0, len(texts), _CHUNK):
        chunk = texts[start : start + _CHUNK]
        path = work / f"ads-{settings.num_beams}-{settings.max_ad_tokens}-{student.runtime}-{start}.npz"
        if not path.exists():
            vectors = np.empty((len(chunk), student.dimension), dtype=np.float32)
            ids = np.full((len(chunk), settings.num_beams), -1, dtype=np.int64)
            probs = np.full((len(chunk), settings.num_beams), -np.inf)
            done = start
            for rows, reading in student.batches(chunk, settings.max_ad_tokens, batch_size=64):
                vectors[rows] = reading.embeddings
                for row, found in zip(rows, decoder.decode(reading.prompt, decoding), strict=True):
                    ids[row, : len(found.intention_ids)] = found.intention_ids
                    probs[row, : len(found.log_probs)] = found.log_probs
                done += len(rows)
                show("Reading the ads", done, len(texts), "")
            partial = path.with_suffix(".partial")
            with partial.open("wb") as file:
                np.savez(file, ids=ids, probs=probs, vectors=vectors)
            partial.replace(path)
        with np.load(path) as stored:
            row, beam = np.nonzero(stored["ids"] >= 0)
            pairs.append(np.stack((stored["ids"][row, beam], row + start), axis=1))
            log_probs.append(stored["probs"][row, beam])
            embeddings.append(stored["vectors"])
    return np.concatenate(pairs), np.concatenate(log_probs), np.concatenate(embeddings)


@dataclass(frozen=True)
class _Fingerprints:
    """Digests of all that decides the trained student, and of all that decides the whole artifact."""

    student: str
    artifact: str


def _fingerprints(files: list[Path | None], settings: BuildSettings, skip_bad: bool) -> _Fingerprints:
    """Return digests over the files' bytes and every setting that matters; those of retrieval never do."""
    for path in files:
        if path and not path.is_file():
            raise InputError("no such file", cure="check the path", path=path)
    files = [*files, checkpoint_directory(settings.checkpoint) / "model.safetensors"]
    if settings.teacher.knowledge_file:
        files.append(Path(settings.teacher.knowledge_file))
    inputs = [*(sha256_of(path) if path and path.is_file() else "" for path in files), skip_bad]
    every = asdict(settings)

    def digest(*left_out: str) -> str:
        decisive = {key: value for key, value in every.items() if key not in left_out}
        return hashlib.sha256(json.dumps([inputs, decisive], sort_keys=True).encode()).hexdigest()

    indexing = ("postings", "lexical", "min_ocr_confidence", "runtime")
    return _Fingerprints(
        student=digest("retrieval", *indexing) + settings.lexical.stemmer, artifact=digest("retrieval")
    )


def _finished(out: Path, fingerprints: _Fingerprints, settings: BuildSettings) -> BuildReport | None:
    """Return the report of an artifact that is already what was asked for, with the retrieval settings renewed."""
    try:
        manifest = open_artifact(out)
    except ArtifactError:
        return None  # of another version, incomplete or damaged: built anew
    if manifest["fingerprints"].get("artifact") != fingerprints.artifact:
        return None
    manifest["settings"] = asdict(settings)
    write_atomically(out / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
    return BuildReport(out, manifest["facts"], (*manifest["notes"], "already built from the same input and settings"))


def _prepare(out: Path, fingerprints: _Fingerprints) -> Path:
    """Return the work directory inside `out`, holding what an earlier build left that this one can use, and no more."""
    if out.exists() and not out.is_dir():
        raise InputError("is a file", cure="name a directory for the engine", path=out)
    work = out / ".build"
    if out.is_dir() and any(out.iterdir()) and not any(path.exists() for path in (work, out / MANIFEST)):
        raise InputError("holds files that are not an Intently engine", cure="name a new or empty directory", path=out)
    try:
        manifest = open_artifact(out)
        reusable = manifest["fingerprints"].get("student") == fingerprints.student
    except ArtifactError:
        reusable = False
    mark = work / "fingerprint"
    if work.exists() and (not mark.is_file() or mark.read_text() != fingerprints.student):
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    mark.write_text(fingerprints.student)
    trained = work / "student"
    if reusable and not trained.exists():
        shutil.copytree(out / "student", trained)
        (trained / "done").touch()
    return work


def _told(losses: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in losses.items())


def _notes(
    num_skipped: int, problems: tuple[str, ...], judgements: Judgements | None, interactions: Interactions
) -> tuple[str, ...]:
    notes = []
    if num_skipped:
        notes.append(f"{num_skipped} rows of ads skipped, the first: {problems[0]}")
    if judgements and judgements.num_skipped:
        notes.append(f"{judgements.num_skipped} rows of clicks skipped, the first: {judgements.problems[0]}")
    if interactions.num_unknown_ads:
        notes.append(f"{interactions.num_unknown_ads} clicks left out: their ads are not in the catalogue")
    return tuple(notes)
