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
from intently.index.posting_weights import AdIntentions, Embeddings, PostingSettings, weigh
from intently.index.title_terms import TitleTerms
from intently.index.vectors import VectorIndex
from intently.live.landing_pages import clean_landing_pages, domain_lexicon, landing_spans
from intently.live.readings import Readings, read_ads
from intently.models.device import intra_op_threads
from intently.models.encoder.embedder import EmbeddedAds, Embedder
from intently.models.encoder.pages import MAX_SENTENCE_TOKENS, encoder_texts
from intently.models.models import Models
from intently.models.student import Student
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
        """Return a segment of the ads. The result for one ad does not depend on the others.

        Raises `ArtifactError` if the engine does not hold the statistics that weigh new ads. Cost: the student reads
        each ad (and decodes `num_beams` intentions, if there are to be any), in batches of similar length; without
        models some microseconds.
        """
        if self.lexical.statistics is None:
            raise ArtifactError("the engine was built before ads could be added to one; build the engine again")
        pages, nobody = self._pages(catalog), np.empty((0, 2), dtype=np.int64)
        ads = AdIntentions(self._given(catalog), nobody, nobody, np.empty(0))
        embeddings, vectors, tokens = None, None, None
        if self.models:
            readings = self._readings(self.models, catalog)
            ads = AdIntentions(ads.given, nobody, *readings.pairs())
            assert self.intentions.near is not None
            embeddings = Embeddings(readings.embeddings, self.intentions.near.vectors.embeddings)
            vectors = readings.embeddings
            if self.models.encoder:
                encoded = self._encoded(self.models.encoder, self.models.student, catalog, pages)
                vectors, tokens = concatenate_embeddings(vectors, encoded.embeddings), encoded.tokens
        return Segment.build(
            catalog,
            weigh(ads, catalog.num_ads, self.intentions.statistics, self.settings.postings, embeddings),
            None if vectors is None else VectorIndex(vectors),
            LexicalIndex.build(searchable_texts(catalog, pages), self.lexical.settings, self.lexical.statistics),
            TitleTerms.build(catalog.strings("title"), Analyzer(self.lexical.settings.stemmer)),
            tokens,
        )

    def _pages(self, catalog: Catalog) -> Sequence[str]:
        """Return the cleaned OCR text of ads (N,), empty for ads without spans."""
        if not any(spans for spans in landing_spans(catalog)):
            return [""] * catalog.num_ads
        return clean_landing_pages(catalog, self._cleaner).texts

    def _readings(self, models: Models, catalog: Catalog) -> Readings:
        with intra_op_threads(self.num_threads):
            return read_ads(models.student, models.intention_reader, ad_texts(catalog), self.settings.postings)

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

    def _given(self, catalog: Catalog) -> IntArray:
        """Return the (intention_id, ad_row) pairs (P, 2) of the intentions that the ads name themselves."""
        pairs = [np.empty((0, 2), dtype=np.int64)]
        titles, keywords = catalog.strings("title"), catalog.column("keywords").to_pylist()
        for row, (title, bid_on) in enumerate(zip(titles, keywords, strict=True)):
            ids = self.intentions.given(title, bid_on)
            pairs.append(np.stack((ids, np.full(len(ids), row)), axis=1))
        return np.concatenate(pairs)
