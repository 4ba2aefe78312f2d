"""Makes a new ad findable without training: the student reads it once, if there is one, and its words are looked up.

Its intentions come from the present vocabulary, as in a build (source: RARE, "dynamic index"). The other ads stay as
they are. Only clicks are not known yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from intently.arrays import IntArray
from intently.catalog import Catalog
from intently.catalog.texts import ad_texts, searchable_texts
from intently.errors import ArtifactError
from intently.index.concatenated import concatenate_embeddings
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalIndex
from intently.index.posting_weights import AdIntentions, PostingSettings, weigh
from intently.index.title_terms import TitleTerms
from intently.index.vectors import VectorIndex
from intently.live.landing_pages import clean_landing_pages, domain_lexicon, landing_spans
from intently.live.parts import AdParts
from intently.live.readings import read_ads
from intently.models.encoder.embedder import EmbeddedAds, Embedder
from intently.models.encoder.pages import MAX_SENTENCE_TOKENS, encoder_texts
from intently.models.models import Models
from intently.models.student import Student
from intently.models.threads import intra_op_threads
from intently.snapshot.segment import Segment
from intently.text.analyze import Analyzer
from intently.text.chunk import ChunkSettings
from intently.text.ocr_cleaning import OcrCleaner, OcrSettings


@dataclass(frozen=True)
class IndexSettings:
    """Build settings that affect how an ad is indexed."""

    postings: PostingSettings = field(default_factory=PostingSettings)
    ocr: OcrSettings = field(default_factory=OcrSettings)
    reads_pages: bool = False  # the encoder: after title and description, the best chunks of an ad's landing page
    chunks: ChunkSettings = field(default_factory=ChunkSettings)


@dataclass(frozen=True, eq=False)
class ReadAds:
    """Ads that models have read: as a catalog, as a segment, and what the models made of them."""

    catalog: Catalog
    segment: Segment
    parts: AdParts


@dataclass(frozen=True)
class AdReader:
    """Makes segments of new ads with an engine's models, vocabulary, statistics and settings."""

    models: Models | None
    intentions: IntentionIndex
    catalog: Catalog  # as built; its words clean the pages of new ads
    lexical: LexicalIndex  # as built; its settings and statistics score new ads
    settings: IndexSettings
    num_threads: int

    def read(self, catalog: Catalog) -> Segment:
        """Return a segment of the ads. The result for one ad does not depend on the others."""
        return self.segment(catalog, self.parts(catalog))

    def parts(self, catalog: Catalog) -> AdParts:
        """Let models read the ads.

        Raises `ArtifactError` if the engine does not hold the statistics that weigh new ads. Cost: the student reads
        each ad (and decodes `num_beams` intentions, if there are to be any), in batches of similar length; without
        models some microseconds.
        """
        if self.lexical.statistics is None:
            raise ArtifactError("the engine was built before ads could be added to one; build the engine again")
        readings, encoded, pages = None, None, self._pages(catalog)
        if self.models:
            student, texts = self.models.student, ad_texts(catalog)
            with intra_op_threads(self.num_threads):
                readings = read_ads(student, self.models.intention_reader, texts, self.settings.postings)
            if self.models.encoder:
                encoded = self._encoded(self.models.encoder, student, catalog, pages)
        return AdParts(readings, encoded, pages, self._given(catalog))

    def segment(self, catalog: Catalog, parts: AdParts) -> Segment:
        """Return the segment of ads that models have read already. Cost: no model."""
        nobody = np.empty((0, 2), dtype=np.int64)
        rows = np.repeat(np.arange(len(parts)), [len(ids) for ids in parts.given])
        given = np.stack((np.concatenate((nobody[:, 0], *parts.given)), rows), axis=1)
        ads, vectors, tokens = AdIntentions(given, nobody, nobody, np.empty(0)), None, None
        if parts.readings:
            vectors = parts.readings.embeddings
            ads = AdIntentions(given, nobody, *parts.readings.pairs())
            if parts.encoded:
                vectors, tokens = concatenate_embeddings(vectors, parts.encoded.embeddings), parts.encoded.tokens
        return Segment.build(
            catalog,
            weigh(ads, catalog.num_ads, self.intentions.statistics, self.settings.postings),
            None if vectors is None else VectorIndex(vectors),
            LexicalIndex.build(searchable_texts(catalog, parts.pages), self.lexical.settings, self.lexical.statistics),
            TitleTerms.build(catalog.strings("title"), Analyzer(self.lexical.settings.stemmer)),
            tokens,
        )

    def _pages(self, catalog: Catalog) -> Sequence[str]:
        """Return the cleaned OCR text of ads (N,), empty for ads without spans."""
        if not any(spans for spans in landing_spans(catalog)):
            return [""] * catalog.num_ads
        return clean_landing_pages(catalog, self._cleaner).texts

    def _encoded(self, encoder: Embedder, student: Student, catalog: Catalog, pages: Sequence[str]) -> EmbeddedAds:
        """Return the encoder's embeddings. These ads do not have generated queries yet."""
        texts = ad_texts(catalog)
        if self.settings.reads_pages:
            embed = partial(student.embed, max_tokens=MAX_SENTENCE_TOKENS)
            texts = encoder_texts(catalog, pages, [()] * catalog.num_ads, embed, self.settings.chunks)
        with intra_op_threads(self.num_threads):
            return encoder.read_ads(texts)

    @cached_property
    def _cleaner(self) -> OcrCleaner:
        """The cleaner of pages. Its lexicon is made when the first page comes, as many engines never get one."""
        return OcrCleaner(domain_lexicon(self.catalog, self.intentions.texts), self.settings.ocr)

    def _given(self, catalog: Catalog) -> list[IntArray]:
        """Return for each ad (N) the ids of the intentions that it names itself."""
        titles, keywords = catalog.strings("title"), catalog.bare_keywords()
        return [self.intentions.given(title, bid_on) for title, bid_on in zip(titles, keywords, strict=True)]
