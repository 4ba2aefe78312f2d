"""From interactions to a vocabulary, to what the student learns, to what it says of every ad."""

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from intently.arrays import IntArray
from intently.build.gain import Gain, training_gain
from intently.build.interactions import Interactions
from intently.build.limits import check_student_tokens
from intently.build.settings import BuildSettings
from intently.build.teacher import TeacherLabels, label_with_teacher
from intently.build.training.pairs import Taught, TrainingData, build_training_data
from intently.build.training.prior import TrainingPrior
from intently.build.training.student import train_student
from intently.build.work import STUDENT, begin, finish, is_finished
from intently.catalog import Catalog
from intently.errors import ArtifactError
from intently.files import read_sealed, sealed_write, set_aside, write_text
from intently.index.intentions import IntentionIndex
from intently.index.near import NearIntentions, spread
from intently.index.phrases import PhraseTable
from intently.index.posting_weights import AdIntentions, PostingSettings, build_postings
from intently.intentions.candidates import mine_candidates
from intently.intentions.prior import Guidance
from intently.intentions.trie import Trie
from intently.intentions.vocabulary import Vocabulary, merge_equal, select_vocabulary
from intently.live.readings import Readings, read_ads
from intently.models.backbone import Backbone
from intently.models.centers import Centers
from intently.models.intention_reader import IntentionReader
from intently.models.models import Models
from intently.models.pretrained import start_from
from intently.models.student import Student
from intently.models.tokenizer import StudentTokenizer
from intently.text.analyze import Analyzer
from intently.types import Progress

_GAIN = "gain.json"  # what training gained, beside the student
# Intentions, and ads, that show what all embeddings share: at most, and at least.
_MOST_CENTERED, _LEAST_CENTERED = 256, 64
_CHUNK = 4096  # ads that are read between two saves


@dataclass(frozen=True, eq=False)
class StudentContent:
    """A student, and what it says of N ads."""

    student: Student
    trie: Trie
    near: NearIntentions
    decoded: IntArray  # (P, 2): intention_id, ad_row; near ones too
    log_probs: NDArray[np.float64]  # (P,)
    embeddings: NDArray[np.float32]  # (N, D) of the ads
    facts: dict[str, float]
    notes: tuple[str, ...]

    @property
    def models(self) -> Models:
        """The student as it reads queries, without an encoder."""
        return Models.of(self.student, None, self.trie, self.near, self.near.guidance)


@dataclass(frozen=True, eq=False)
class IntentionContent:
    """The intention channel before it is indexed: a vocabulary, and what a teacher and a student, if any, say."""

    vocabulary: Vocabulary
    labels: TeacherLabels
    phrases: PhraseTable
    by_student: StudentContent | None
    num_ads: int

    def index(self, interactions: Interactions, settings: PostingSettings) -> IntentionIndex:
        """Return the index of these intentions; `interactions` tell what ads were clicked for."""
        clicked = clicked_pairs(interactions, self.phrases)
        # The vocabulary does not know the clicks of queries that were held out of it.
        given = np.unique(np.concatenate((self.vocabulary.ad_pairs, clicked)), axis=0)
        return self._index(given, clicked, settings)

    def index_without_clicks(self, catalog: Catalog, settings: PostingSettings) -> IntentionIndex:
        """Return the index as it would be if no ad had been clicked, which is how ads that come later are indexed.

        Ads that are clicked for one query were shown, and are clicked for others. What learns from clicks how much to
        trust this index must not see that in it: it would learn which ads were shown. Cost: 0.2 ms an ad.
        """
        titles, keywords = catalog.strings("title"), catalog.column("keywords").to_pylist()
        given = [self.phrases.given(title, bid_on) for title, bid_on in zip(titles, keywords, strict=True)]
        rows = np.repeat(np.arange(len(given)), [len(ids) for ids in given])
        nobody = np.empty((0, 2), dtype=np.int64)
        return self._index(np.stack((np.concatenate((nobody[:, 0], *given)), rows), axis=1), nobody, settings)

    def _index(self, given: IntArray, clicked: IntArray, settings: PostingSettings) -> IntentionIndex:
        said = self.by_student
        taught_pairs, taught_log_probs = self.vocabulary.taught_pairs, self.vocabulary.taught_log_probs
        ads = AdIntentions(
            given,
            clicked,
            decoded=np.concatenate((said.decoded, taught_pairs)) if said else taught_pairs,
            log_probs=np.concatenate((said.log_probs, taught_log_probs)) if said else taught_log_probs,
        )
        postings, statistics = build_postings(ads, self.num_ads, len(self.vocabulary), settings)
        trie, near = (said.trie, said.near) if said else (None, None)
        phrases = self.phrases
        return IntentionIndex(
            self.vocabulary.texts, trie, postings, phrases.analyzer, statistics, near, phrases.made_of
        )


def build_intentions(
    catalog: Catalog,
    texts: list[str],
    interactions: Interactions,
    aside: Interactions,
    settings: BuildSettings,
    work: Path,
    show: Progress,
) -> IntentionContent:
    """Choose the vocabulary, train the student, and let it read every ad; what is expensive is kept in `work`.

    Without a checkpoint there is no student. Without clicks nothing is trained, and a student that training made worse
    on the queries of `aside` is left as it began.
    """
    show("Finding intentions", 0, 0, "")
    draft = choose_vocabulary(catalog, interactions, settings)
    drafted = training_data(interactions, texts, draft)
    labels = label_with_teacher(drafted, interactions.counts, settings.teacher, work / "teacher", show)
    vocabulary = choose_vocabulary(catalog, interactions, settings, labels) if labels.ads else draft
    phrases = PhraseTable(vocabulary.texts, Analyzer(settings.lexical.stemmer))
    if not settings.checkpoint:
        return IntentionContent(vocabulary, labels, phrases, None, catalog.num_ads)
    read = (*texts, *interactions.queries, *vocabulary.texts)
    backbone, tokenizer = start_from(settings.checkpoint, read, settings.training.seed, settings.num_layers)
    vocabulary = merge_equal(vocabulary, tokenizer.encode_bare(vocabulary.texts), tokenizer.unknown_id)
    trie = Trie.build(tokenizer.encode_bare(vocabulary.texts))
    check_student_tokens(settings, Student(backbone, tokenizer).positions, trie.depth())
    phrases = PhraseTable(vocabulary.texts, Analyzer(settings.lexical.stemmer))

    directory, wanted = work / STUDENT, settings.training.max_steps > 0 and len(interactions.clicks) > 0
    if not is_finished(directory):
        begin(directory)
        gain = None
        kept = copy.deepcopy(backbone) if wanted else backbone  # training changes the other one
        student = start = _start(kept, tokenizer, vocabulary.texts, texts, settings)
        if wanted:
            backbone = backbone.to(torch.device(settings.device))
            backbone = train_student(
                backbone,
                tokenizer,
                training_data(interactions, texts, vocabulary, labels.of_queries(phrases)),
                trie,
                settings.training,
                checkpoint=work / "checkpoint.pt",
                centers=start.centers,
                prior=_prior(backbone, tokenizer, start.centers, trie, vocabulary.texts, settings),
                progress=show,
            ).backbone
            trained = _reader(backbone.cpu(), tokenizer, settings, start.centers)
            max_tokens = settings.postings.max_ad_tokens
            gain = training_gain(start, trained, aside, texts, max_tokens, settings.training.seed, show)
            student = start if gain and gain.trained < gain.start else trained
        student.save(directory)
        write_text(directory / _GAIN, json.dumps(asdict(gain) if gain else None))
        finish(directory)
    student = Student.load(directory).use(settings.runtime, torch.get_num_threads())
    facts, notes = _told(directory, student, wanted, settings)
    reader = student.on(settings.device)
    near = embed_intentions(reader, vocabulary.texts, settings, show)
    decoded, log_probs, embeddings = read_all_ads(reader, trie, near, texts, settings.postings, work, show)
    said = StudentContent(student, trie, near, decoded, log_probs, embeddings, facts, notes)
    return IntentionContent(vocabulary, labels, phrases, said, catalog.num_ads)


def _reader(
    backbone: Backbone, tokenizer: StudentTokenizer, settings: BuildSettings, centers: Centers | None = None
) -> Student:
    """Return a student that reads as the published one will."""
    student = Student(backbone, tokenizer, centers=centers)
    return student.use(settings.runtime, torch.get_num_threads()).on(settings.device)


def _start(
    backbone: Backbone,
    tokenizer: StudentTokenizer,
    intentions: Sequence[str],
    texts: Sequence[str],
    settings: BuildSettings,
) -> Student:
    """Return the pretrained student as it serves if nothing is trained, without what the embeddings of texts share."""
    reader = _reader(backbone, tokenizer, settings)
    if min(len(intentions), len(texts)) < _LEAST_CENTERED:
        return reader  # a mean of so few is what they say
    intentions, texts = (each[:: len(each) // _MOST_CENTERED + 1] for each in (intentions, texts))
    return reader.centered(intentions, texts, settings.postings.max_ad_tokens)


def _prior(
    backbone: Backbone,
    tokenizer: StudentTokenizer,
    centers: Centers | None,
    trie: Trie,
    intentions: Sequence[str],
    settings: BuildSettings,
) -> TrainingPrior | None:
    """Return what guides training, from the embeddings of intentions by the backbone as it is trained."""
    if not settings.training.guided:
        return None
    student, max_tokens = Student(backbone, tokenizer, centers=centers), settings.postings.max_ad_tokens
    return TrainingPrior(
        trie,
        lambda report: student.embed(intentions, max_tokens, progress=report),
        settings.guidance.prior_temperature,
    )


def _told(
    directory: Path, student: Student, wanted: bool, settings: BuildSettings
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return what a build's report says of the student's training: facts and notes."""
    if not wanted:
        why = "as there are no clicks to learn from" if settings.training.max_steps else "as 'max_steps' is 0"
        return {}, (f"the student was not trained, {why}; the pretrained start serves",)
    try:
        gain = Gain(**json.loads((directory / _GAIN).read_bytes()))
    except (OSError, ValueError, TypeError):  # too few queries, or taken over from a generation
        return {}, ()
    if student.speaks:
        return gain.facts, ()
    lost = f"({gain.trained:.3f} against {gain.start:.3f}, p {gain.p_value:.2g})"
    return gain.facts, (f"training made the student worse on held-out queries {lost}; the pretrained start serves",)


def embed_intentions(
    student: Student, intentions: Sequence[str], settings: BuildSettings, show: Progress
) -> NearIntentions:
    """Return what finds intentions by their embeddings. A student that was not trained has nothing to say itself."""
    report = partial(_report, show, "Embedding the intentions", 0)
    embeddings = student.embed(intentions, settings.postings.max_ad_tokens, progress=report)
    guidance = Guidance(
        settings.guidance.prior_temperature * spread(embeddings),
        settings.guidance.model_temperature if student.speaks else None,
    )
    return NearIntentions.build(embeddings, guidance, show)


def choose_vocabulary(
    catalog: Catalog, interactions: Interactions, settings: BuildSettings, labels: TeacherLabels | None = None
) -> Vocabulary:
    """Mine candidates from titles, bid keywords, clicked queries and a teacher's labels; select the vocabulary."""
    candidates = mine_candidates(
        catalog.strings("title"),
        catalog.bare_keywords(),
        interactions.queries,
        interactions.clicks,
        Analyzer(settings.lexical.stemmer),
        settings.candidates,
        labels.ads if labels else (),
    )
    return select_vocabulary(candidates, catalog.num_ads, len(interactions.queries), settings.vocabulary)


def training_data(
    interactions: Interactions, texts: list[str], vocabulary: Vocabulary, taught_queries: Taught | None = None
) -> TrainingData:
    """Return what queries and ads (with their `texts`) should say, from clicks and, if any, a teacher's labels."""
    return build_training_data(
        interactions.queries,
        texts,
        vocabulary,
        interactions.clicks,
        interactions.irrelevant,
        taught_queries=taught_queries,
        click_weights=interactions.weights,
    )


def clicked_pairs(interactions: Interactions, phrases: PhraseTable) -> IntArray:
    """Return the (intention_id, ad_row) pairs (C, 2) of queries that are intentions as a whole, and their clicks."""
    found = np.array([-1 if (one := phrases.exact(query)) is None else one for query in interactions.queries])
    if not len(found):
        return np.empty((0, 2), dtype=np.int64)
    ids = found[interactions.clicks[:, 0]]
    return np.stack((ids, interactions.clicks[:, 1]), axis=1)[ids >= 0]


def read_all_ads(
    student: Student,
    trie: Trie,
    near: NearIntentions,
    texts: list[str],
    settings: PostingSettings,
    work: Path,
    show: Progress,
) -> tuple[IntArray, np.ndarray, np.ndarray]:
    """Let the student read every ad: (intention_id, ad_row) pairs, their log-probabilities, and embeddings.

    Saved chunk by chunk under `work`, so that an interrupted build goes on where it was.
    """
    intention_reader = IntentionReader(student.decoder(trie), near, near.of_ads)
    decisive = (settings.num_near, settings.num_beams, settings.max_ad_tokens, *vars(near.of_ads).values())
    kind = "-".join(map(str, (*decisive, student.runtime)))
    pairs, log_probs, embeddings = [], [], []
    for start in range(0, len(texts), _CHUNK):
        chunk = texts[start : start + _CHUNK]
        path = work / f"ads-{kind}-{start}.npz"
        try:
            content = read_sealed(path)
        except (FileNotFoundError, ArtifactError) as error:
            if isinstance(error, ArtifactError):
                set_aside(path, str(error))
            report = partial(_report, show, "Reading the ads", start, total=len(texts))
            readings = read_ads(student, intention_reader, chunk, settings, report)
            with sealed_write(path) as file:
                np.savez(file, **vars(readings))
            content = read_sealed(path)
        with np.load(content) as stored:
            found = Readings(**{name: stored[name] for name in ("intention_ids", "log_probs", "embeddings")})
        of_chunk, probs = found.pairs(start)
        pairs.append(of_chunk)
        log_probs.append(probs)
        embeddings.append(found.embeddings)
    return np.concatenate(pairs), np.concatenate(log_probs), np.concatenate(embeddings)


def _report(show: Progress, stage: str, start: int, done: int, total: int) -> None:
    show(stage, start + done, total, "")
