"""How long a build will take on this machine, from a short probe of what takes long.

The probe does on a few ads what the build does on all of them, and counts up. So it knows about the machine, its
threads and what else runs on it, and nothing about how things get slower or faster by their number: it is an estimate.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from intently.arrays import IntArray
from intently.build.intentions import choose_vocabulary
from intently.build.interactions import Interactions
from intently.build.settings import BackboneKind, BuildSettings
from intently.build.training.student import IntentionLoss, count_steps, read_sources
from intently.catalog import Catalog
from intently.catalog.texts import ad_texts, searchable_texts
from intently.index.lexical import LexicalIndex
from intently.intentions.decode import DecodeSettings
from intently.intentions.trie import Trie
from intently.intentions.vocabulary import Vocabulary, merge_equal
from intently.live.landing_pages import clean_landing_pages, domain_lexicon, landing_spans
from intently.models.backbone import Backbone
from intently.models.device import autocast
from intently.models.pretrained import start_from
from intently.models.student import Student
from intently.models.tokenizer import StudentTokenizer
from intently.text.ocr_cleaning import OcrCleaner

Clock = Callable[[], float]

_FEW = 1_000  # ads that a build without training reads in seconds
_NUM_ADS = 200  # whose intentions are mined and whose words are indexed; few enough for a fifth of a second
_NUM_READ = 32  # ads, and as many intentions, that the student reads
_NUM_DECODED = 8  # texts that it decodes intentions for
_NUM_PAIRS = (2, 10)  # that steps of training are timed with
_GUIDANCES = 3  # searches without decoding, and as many with it, of at most ...
_GUIDED = 300  # ... so many held-out queries (`guidance.py`)


@dataclass(frozen=True)
class Estimate:
    """The seconds that a build's long stages will take, in order, and the stages of which that is not known."""

    seconds: Mapping[str, float]
    unknown: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """The sum of all seconds that are known."""
        return sum(self.seconds.values())

    def __str__(self) -> str:
        long = {stage: spent for stage, spent in self.seconds.items() if spent >= max(0.05 * self.total, 1.0)}
        parts = ", ".join(f"{stage} {_duration(spent)}" for stage, spent in long.items())
        told = f"about {_duration(self.total)}" + (f": {parts}" if len(long) > 1 or self.total >= 60 else "")
        return told + "".join(f"; {stage} comes on top" for stage in self.unknown)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


@dataclass(frozen=True)
class Amounts:
    """How much there is to do: what a build knows once the catalog is read."""

    num_ads: int
    num_distinct: int  # texts of ads, as equal ones are read once
    num_clicks: int  # that are learnt from
    num_aside: int  # queries held out of that
    is_trained: bool = False  # as an earlier build has left the student
    has_encoder: bool = False  # as it has left the encoder

    def are_few(self, settings: BuildSettings) -> bool:
        """Return whether a build ends about as soon as it could be estimated: nothing to train, and few ads."""
        return self.num_ads < _FEW and not (
            self.trains(settings) or settings.bridge.enabled or settings.teacher.model.name
        )

    def trains(self, settings: BuildSettings) -> bool:
        """Return whether a student is still to be trained."""
        return bool(settings.checkpoint and settings.training.max_steps and self.num_clicks and not self.is_trained)


def estimate_build(
    catalog: Catalog, interactions: Interactions, amounts: Amounts, settings: BuildSettings, clock: Clock | None = None
) -> Estimate:
    """Return how long a build of these ads and clicks will take on this machine.

    Cost: on a plain core 2 to 4 s where a student is to be trained, 1 to 2 s if it only reads, 1 s without a model.
    """
    probe = _Probe(clock or time.perf_counter, settings)
    part, learnt = _sample(catalog, interactions)
    probe.mine(_sample(catalog, interactions, most=8)[0], learnt.of_queries(np.zeros(len(learnt.queries), dtype=bool)))
    vocabulary, mining = probe.mine(part, learnt)
    times = amounts.num_ads / part.num_ads
    num_intentions = min(round(len(vocabulary) * times), settings.vocabulary.max_intentions)
    seconds = {"finding intentions, cleaning pages and indexing": mining * times}
    unknown = ["the teacher"] if settings.teacher.model.name else []
    unknown += ["the repair of landing pages"] if settings.ocr_model.name else []
    if settings.checkpoint:
        model = probe.model(vocabulary, ad_texts(part))
        training, encoder = settings.training, settings.bridge.training
        wanted = amounts.trains(settings)
        has_encoder = settings.bridge.enabled and settings.bridge.kind is BackboneKind.COMPACT
        fixed, of_pair = model.training() if wanted or (has_encoder and not amounts.has_encoder) else (0.0, 0.0)
        if wanted:
            num_steps = count_steps(amounts.num_clicks, training)
            seconds["training"] = num_steps * (fixed + training.batch_size * of_pair)
            if training.guided:
                renewed = -(-num_steps // training.checkpoint_steps)
                seconds["training"] += renewed * num_intentions * model.of_intention
        reading = amounts.num_distinct * model.of_ad + num_intentions * model.of_intention
        if settings.postings.num_beams:
            beams = DecodeSettings(num_beams=settings.postings.num_beams)
            reading += amounts.num_distinct * model.decoding(beams)
        seconds[f"reading {amounts.num_distinct:,} ads and {num_intentions:,} intentions"] = reading
        if settings.bridge.enabled and not has_encoder:
            unknown.append("the encoder")
        if has_encoder and not amounts.has_encoder:  # a pair is two texts, and each negative one more
            num_pairs = encoder.batch_size * (2 + encoder.negatives.num_per_query) / 2
            seconds["training the encoder"] = encoder.num_steps * (fixed + num_pairs * of_pair)
        if has_encoder:
            seconds["embedding the ads"] = amounts.num_ads * model.of_ad
        if amounts.num_aside:
            decoding = model.decoding(settings.retrieval.decode)
            guided = min(amounts.num_aside, _GUIDED) * _GUIDANCES * (2 * model.of_intention + decoding)
            seconds["learning from held-out queries"] = guided + amounts.num_aside * (model.of_intention + decoding)
    return Estimate(seconds, tuple(unknown))


def _sample(catalog: Catalog, interactions: Interactions, most: int = _NUM_ADS) -> tuple[Catalog, Interactions]:
    """Return at most so many ads, evenly spread with some of the clicked ones first, and the clicks of these."""
    clicked = _spread(np.unique(interactions.clicks[:, 1]), most // 2)
    rows = np.unique(np.concatenate((clicked, _spread(np.arange(catalog.num_ads), most - len(clicked)))))

    def within(pairs: IntArray) -> IntArray:
        return np.column_stack((pairs[:, 0], np.searchsorted(rows, pairs[:, 1]), pairs[:, 2:]))

    there, judged, worth = (
        np.isin(pairs[:, 1], rows) for pairs in (interactions.clicks, interactions.irrelevant, interactions.gains)
    )
    learnt = replace(
        interactions,
        clicks=within(interactions.clicks[there]),
        irrelevant=within(interactions.irrelevant[judged]),
        counts=interactions.counts[there],
        gains=within(interactions.gains[worth]),
    )
    asked = np.isin(np.arange(len(interactions.queries)), learnt.clicks[:, 0])
    return Catalog(catalog.table.take(rows)), learnt.of_queries(asked)


def _spread(values: IntArray, most: int) -> IntArray:
    """Return at most so many of some values, evenly spread."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).astype(np.int64))]


@dataclass(frozen=True)
class _Probe:
    """Times what a build with some settings does."""

    clock: Clock
    settings: BuildSettings

    def mine(self, catalog: Catalog, interactions: Interactions) -> tuple[Vocabulary, float]:
        """Return the intentions of some ads, and the seconds that all took which needs no model."""
        began = self.clock()
        vocabulary = choose_vocabulary(catalog, interactions, self.settings)
        if any(landing_spans(catalog)):
            clean_landing_pages(catalog, OcrCleaner(domain_lexicon(catalog, vocabulary.texts), self.settings.ocr))
        LexicalIndex.build(searchable_texts(catalog), self.settings.lexical)
        return vocabulary, self.clock() - began

    def model(self, vocabulary: Vocabulary, texts: list[str]) -> "_ModelProbe":
        """Return a probe of the model that the student starts from."""
        read, seed = (*texts, *vocabulary.texts), self.settings.training.seed
        backbone, tokenizer = start_from(self.settings.checkpoint, read, seed, self.settings.num_layers)
        student = Student(backbone, tokenizer).use(self.settings.runtime, torch.get_num_threads())
        student = student.on(self.settings.device)
        vocabulary = merge_equal(vocabulary, tokenizer.encode_bare(vocabulary.texts))
        few = [texts[row] for row in _spread(np.arange(len(texts)), _NUM_READ).tolist()]
        phrases = [vocabulary.texts[row] for row in _spread(np.arange(len(vocabulary)), _NUM_READ).tolist()]
        self._embed(student, few[:2])  # what comes first takes longer
        of_ad, of_intention = self._embed(student, few), self._embed(student, phrases)
        return _ModelProbe(self, backbone, tokenizer, student, vocabulary, texts, of_ad, of_intention)

    def _embed(self, student: Student, texts: Sequence[str]) -> float:
        """Return the seconds that the student needs to read one of some texts."""
        began = self.clock()
        student.embed(texts, self.settings.postings.max_ad_tokens, batch_size=_NUM_READ // 4)
        return (self.clock() - began) / max(len(texts), 1)


@dataclass(frozen=True)
class _ModelProbe:
    """Times what the student does with some ads (their `texts`) and their intentions."""

    probe: _Probe
    backbone: Backbone
    tokenizer: StudentTokenizer
    student: Student
    vocabulary: Vocabulary
    texts: list[str]
    of_ad: float  # seconds to read one
    of_intention: float

    def decoding(self, decode: DecodeSettings) -> float:
        """Return the seconds to decode the intentions of one text."""
        decoder = self.student.decoder(self._trie())
        reading = self.student.read(self.texts[:_NUM_DECODED], self.probe.settings.retrieval.max_query_tokens)
        began = self.probe.clock()
        decoder.decode(reading.prompt, decode)
        return (self.probe.clock() - began) / len(self.texts[:_NUM_DECODED])

    def training(self) -> tuple[float, float]:
        """Return the seconds of a training step whatever it learns, and those that each of its pairs adds.

        Both texts of a pair are read, and learn what they should say. The optimizer is not timed.
        """
        token_ids = self.tokenizer.encode_bare(self.vocabulary.texts)
        loss = IntentionLoss(Trie.build(token_ids), token_ids, self.tokenizer.sep_id)
        few, many = (min(num_pairs, len(token_ids), len(self.texts)) for num_pairs in _NUM_PAIRS)
        self._learn(few, loss)  # what comes first takes longer
        small, large = self._learn(few, loss), self._learn(many, loss)
        of_pair = max(large - small, 0.0) / max(many - few, 1)
        return max(small - few * of_pair, 0.0), of_pair

    def _learn(self, num_pairs: int, intention_loss: IntentionLoss) -> float:
        training, device = self.probe.settings.training, torch.device(self.probe.settings.device)
        backbone, targets = self.backbone.to(device), np.arange(num_pairs)
        total = torch.zeros((), device=device)
        began = self.probe.clock()
        for texts, max_tokens in (
            (self.vocabulary.texts[:num_pairs], training.max_query_tokens),
            (self.texts[:num_pairs], training.max_ad_tokens),
        ):
            with autocast(device):
                tokens = self.tokenizer.encode(texts, max_tokens)
                embeddings, loss = read_sources(backbone, *tokens, targets, intention_loss)
            total = total + embeddings.sum() + loss
        total.backward()  # type: ignore[no-untyped-call]
        backbone.zero_grad(set_to_none=True)
        return self.probe.clock() - began

    def _trie(self) -> Trie:
        return Trie.build(self.tokenizer.encode_bare(self.vocabulary.texts))
