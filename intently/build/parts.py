"""An engine's parts, and what it learns from its own answers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from intently.build.augmentation.augmentation import Augmentation
from intently.build.augmentation.ocr_repair import OcrRepairer
from intently.build.calibration import LearnedRelevance, learn_relevance, questions
from intently.build.encoder import BuiltEncoder, EncoderMaterial, build_encoder, chosen_augmentation, read_by_encoder
from intently.build.encoder_teacher import Guide
from intently.build.fusion import Learned, learn_fusion
from intently.build.guidance import learn_guidance
from intently.build.inputs import Material
from intently.build.intentions import IntentionContent, StudentContent, build_intentions
from intently.build.settings import BuildSettings
from intently.build.work import Work
from intently.catalog.texts import brand_words, searchable_texts
from intently.engine.engine import Engine
from intently.index.concatenated import concatenate_embeddings
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalIndex, query_reader
from intently.index.title_terms import TitleTerms
from intently.index.token_vectors import TokenVectors
from intently.index.vectors import VectorIndex
from intently.live.landing_pages import CleanedPages, clean_landing_pages, domain_lexicon, landing_spans
from intently.models.encoder.embedder import Embedder
from intently.models.student import Student
from intently.text.analyze import Analyzer
from intently.text.ocr_cleaning import OcrCleaner, OcrReport
from intently.text.query_text import QueryText
from intently.types import Progress


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of an engine, made from words and by models. Without a model, `student` and `vectors` are None."""

    content: IntentionContent
    pages: CleanedPages
    lexical: LexicalIndex
    titles: TitleTerms
    encoder: Embedder | None
    vectors: VectorIndex | None
    tokens: TokenVectors | None
    read_query: Callable[[str], QueryText]

    @property
    def student(self) -> Student | None:
        """The student, None without a model."""
        return self.content.by_student.student if self.content.by_student else None


def make_parts(material: Material, settings: BuildSettings, work: Work, show: Progress) -> Parts:
    """Return the parts of an engine: models are trained and read all ads, unless `work` has what came of that."""
    catalog = material.catalog
    content = build_intentions(
        catalog, material.texts, material.learnt, material.held_out, settings, work.student, show
    )
    pages = _cleaned(material, content.vocabulary.texts, settings, show)
    show("Indexing", 0, 0, "")
    lexical = LexicalIndex.build(searchable_texts(catalog, pages.texts), settings.lexical)
    said, encoder, vectors, known_words = content.by_student, None, None, brand_words(catalog)
    if said:
        embeddings, known_words = said.embeddings, known_words | said.student.tokenizer.whole_words
        if settings.bridge.enabled:
            encoder = _encoder(material, content, said, pages, lexical, settings, work.encoder, show)
            embeddings = concatenate_embeddings(embeddings, encoder.ads.embeddings)
        vectors = VectorIndex.build(embeddings, settings.coarse, show)
    return Parts(
        content,
        pages,
        lexical,
        TitleTerms.build(catalog.strings("title"), Analyzer(settings.lexical.stemmer)),
        encoder.embedder if encoder else None,
        vectors,
        encoder.ads.tokens if encoder else None,
        query_reader([lexical], known_words).read,
    )


def guided(parts: Parts, material: Material, settings: BuildSettings, show: Progress) -> tuple[Parts, dict[str, float]]:
    """Return the parts with the guidance that finds most for the held-out queries, and what a report says of it."""
    said = parts.content.by_student
    if not said or not material.held_out.queries:
        return parts, {}
    learnt = parts.content.index(material.learnt, settings.postings)
    best = learn_guidance(said.models, learnt, parts.read_query, material.held_out, settings.retrieval, show)
    said = replace(said, near=replace(said.near, guidance=best.guidance))
    return replace(parts, content=replace(parts.content, by_student=said)), best.facts


def learn_from_answers(
    parts: Parts, intentions: IntentionIndex, material: Material, settings: BuildSettings, show: Progress
) -> tuple[Learned, LearnedRelevance]:
    """Return the fusion and the relevance that an engine of these parts learns from how it answers.

    That engine knows no clicks, as it would take from them which ads were shown.
    """
    learned, relevance = Learned(None, {}), LearnedRelevance(None, {})
    learns_fusion = settings.fusion.learned and len(material.held_out.queries) > 0
    if not learns_fusion and not settings.calibration.enabled:
        return learned, relevance
    catalog, has_clicks = material.catalog, len(material.interactions.queries) > 0
    engine = Engine(
        catalog,
        parts.student,
        parts.content.index_without_clicks(catalog, settings.postings) if has_clicks else intentions,
        parts.vectors,
        parts.lexical,
        replace(settings.retrieval, num_threads=torch.get_num_threads()),
        titles=parts.titles,
        encoder=parts.encoder,
        tokens=parts.tokens,
    )
    if learns_fusion:
        learned = learn_fusion(engine, material.held_out, settings.fusion, show)
        engine.fusion = learned.fusion
    if settings.calibration.enabled:
        is_taught = settings.bridge.enabled or (parts.student is not None and settings.training.max_steps > 0)
        clicked = material.held_out if is_taught else material.interactions
        asked = questions(catalog, parts.lexical, clicked, settings.calibration)
        relevance = learn_relevance(engine, asked, settings.calibration, show)
    return learned, relevance


def _cleaned(material: Material, intentions: tuple[str, ...], settings: BuildSettings, show: Progress) -> CleanedPages:
    """Return what is left of all OCR spans; without any, no lexicon is made."""
    catalog = material.catalog
    if not any(spans for spans in landing_spans(catalog)):
        return CleanedPages(("",) * catalog.num_ads, OcrReport())
    repair = OcrRepairer(settings.ocr_model.load()) if settings.ocr_model.name else None
    return clean_landing_pages(catalog, OcrCleaner(domain_lexicon(catalog, intentions), settings.ocr, repair), show)


def _encoder(
    material: Material,
    content: IntentionContent,
    said: StudentContent,
    pages: CleanedPages,
    lexical: LexicalIndex,
    settings: BuildSettings,
    work: Path,
    show: Progress,
) -> BuiltEncoder:
    """Return the trained encoder, which the lexical index and the student have taught, and what it says of the ads."""
    catalog, file = material.catalog, settings.bridge.augmentation_file
    reader = said.student.on(settings.device)
    made_of = EncoderMaterial(
        tuple(read_by_encoder(catalog, pages.texts, material.learnt, reader, settings.bridge, show)),
        tuple(catalog.strings("title")),
        material.learnt,
        content.vocabulary,
        chosen_augmentation(Augmentation.load(Path(file), catalog), settings.bridge) if file else None,
        lexical,
        settings.checkpoint,
        Guide(partial(reader.embed, max_tokens=settings.training.max_query_tokens), said.embeddings),
    )
    return build_encoder(made_of, settings.bridge, work, show, device=settings.device)
