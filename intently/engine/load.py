"""Loading an engine from a generation on disk."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intently.catalog import Catalog
from intently.engine.cache import QueryCache
from intently.engine.layout import (
    BACKBONE,
    CACHE_FILE,
    CATALOG,
    COARSE,
    ENCODER,
    FILES_OF,
    FOR_MODELS,
    FUSION_FILE,
    INT8_LAYERS,
    INTENTIONS,
    KEYWORDS_FILE,
    LEXICAL,
    RELEVANCE_FILE,
    STUDENT,
    TITLES_FILE,
    TOKENS,
    VECTORS,
)
from intently.engine.learned_fusion import LearnedFusion
from intently.engine.relevance import Calibrator
from intently.engine.settings import RetrievalSettings
from intently.errors import ArtifactError, SettingsError
from intently.generation import MANIFEST, Generation, Manifest, digest_of_ids, open_generation
from intently.index.intentions import IntentionIndex
from intently.index.keywords import KeywordIndex
from intently.index.lexical import LexicalIndex
from intently.index.posting_weights import PostingSettings
from intently.index.title_terms import TitleTerms
from intently.index.token_vectors import TokenVectors
from intently.index.vectors import VectorIndex
from intently.live.ad_reader import IndexSettings
from intently.models.encoder.embedder import Embedder
from intently.models.student import Runtime, Student
from intently.rules.presets import rules_of
from intently.settings import from_mapping
from intently.text.chunk import ChunkSettings
from intently.text.ocr_cleaning import OcrSettings
from intently.text.rules import TEXT_RULES_VERSION

if TYPE_CHECKING:
    from intently.engine.engine import Engine


def load_engine(
    kind: "type[Engine]",
    directory: Path,
    *,
    generation: str | None = None,
    runtime: Runtime | None = None,
    num_threads: int | None = None,
) -> "Engine":
    """Return the engine of the current generation in `directory`, or of the one named.

    Raises `ArtifactError` naming the file that cannot be trusted: damaged, a link, of another format or of other ads.
    The generation stays pinned until the engine is garbage collected.
    """
    opened = open_generation(directory, generation)
    try:
        engine = _load(kind, opened, runtime, num_threads)
        opened.check_unchanged()
    except BaseException:
        opened.close()
        raise
    engine.generation, engine._opened = opened.id, opened
    engine.models = _models(opened.manifest)
    engine.number_from(opened.manifest.seq)
    return engine


def _models(manifest: Manifest) -> str:
    """Return the fingerprint of everything that decides what models read in an ad."""
    # Of all ads, not of the models; and what the weights say already.
    words = {f"{INTENTIONS}/{name}" for name in ("postings.npz", "statistics.npz")}
    parts = {
        name: part.sha256
        for name, part in manifest.files.items()
        if name.partition("/")[0] in (STUDENT, ENCODER, INTENTIONS) and name not in words and not name.endswith(".onnx")
    }
    settings = [manifest.settings.get(name) for name in ("postings", "ocr", "bridge")]
    told = json.dumps([sorted(parts.items()), settings, manifest.text_rules], sort_keys=True)
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def _load(kind: "type[Engine]", opened: Generation, runtime: Runtime | None, num_threads: int | None) -> "Engine":
    place, manifest = opened.directory / MANIFEST, opened.manifest
    if manifest.text_rules != TEXT_RULES_VERSION:
        raise ArtifactError(
            f"{place} is of text rules {manifest.text_rules}, and this Intently reads by {TEXT_RULES_VERSION}; "
            "build the engine again"
        )
    try:
        settings, indexing = _settings(manifest.settings)
    except (KeyError, AttributeError, SettingsError) as error:
        raise ArtifactError(f"{place} does not hold retrieval settings ({error}); build the engine again") from error
    given: dict[str, Any] = {"runtime": runtime, "num_threads": num_threads}
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})

    def path_of(part: str) -> Path:
        for name in FILES_OF.get(part, (part,)):
            opened.path(name)  # raises unless the manifest lists it
        return opened.directory / part

    if ENCODER in opened:
        opened.check_unlisted(BACKBONE)
    if has_models := STUDENT in opened:
        for name in FILES_OF[FOR_MODELS]:
            opened.path(name)
    layers = opened.path(INT8_LAYERS) if INT8_LAYERS in opened else None
    catalog = Catalog.load(path_of(CATALOG))
    intentions = IntentionIndex.load(path_of(INTENTIONS), for_models=has_models)
    vectors = VectorIndex.load(path_of(VECTORS), coarse=COARSE in opened) if VECTORS in opened else None
    lexical = LexicalIndex.load(path_of(LEXICAL))
    titles = TitleTerms.load(path_of(TITLES_FILE)) if TITLES_FILE in opened else None
    tokens = TokenVectors.load(path_of(TOKENS)) if TOKENS in opened else None
    keywords = None
    if KEYWORDS_FILE in opened:
        rules = rules_of(settings.match_rules, lexical.settings.stemmer)
        keywords = KeywordIndex.load(path_of(KEYWORDS_FILE), rules)
    ads = digest_of_ids(catalog.strings("ad_id"))
    if (catalog.num_ads, ads) != (manifest.num_ads, manifest.ads):
        raise ArtifactError(f"{opened.directory / CATALOG} holds other ads than {place} says; build the engine again")
    for part, num_ads in (
        (INTENTIONS, intentions.postings.num_ads),
        (VECTORS, len(vectors.embeddings) if vectors else catalog.num_ads),
        (LEXICAL, lexical.postings.num_ads),
        (TITLES_FILE, len(titles.offsets) - 1 if titles else catalog.num_ads),
        (TOKENS, tokens.num_ads if tokens else catalog.num_ads),
        (KEYWORDS_FILE, keywords.num_ads if keywords else catalog.num_ads),
    ):
        if num_ads != catalog.num_ads:
            raise ArtifactError(
                f"{opened.directory / part} is of {num_ads} ads, the catalog of {catalog.num_ads}; "
                "build the engine again"
            )
    return kind(
        catalog=catalog,
        student=Student.load(path_of(STUDENT), layers) if has_models else None,
        intentions=intentions,
        vectors=vectors,
        lexical=lexical,
        settings=settings,
        titles=titles,
        encoder=Embedder.load(path_of(ENCODER)) if ENCODER in opened else None,
        tokens=tokens,
        fusion=LearnedFusion.load(path_of(FUSION_FILE)) if FUSION_FILE in opened else None,
        cache=QueryCache(path_of(CACHE_FILE), intentions.version) if CACHE_FILE in opened else None,
        indexing=indexing,
        keywords=keywords,
        calibrator=Calibrator.load(path_of(RELEVANCE_FILE)) if RELEVANCE_FILE in opened else None,
    )


def _settings(told: Mapping[str, Any]) -> tuple[RetrievalSettings, IndexSettings]:
    bridge = told.get("bridge", {})
    return from_mapping(RetrievalSettings, told["retrieval"], "settings"), IndexSettings(
        from_mapping(PostingSettings, told.get("postings", {}), "settings"),
        from_mapping(OcrSettings, told.get("ocr", {}), "settings"),
        bridge.get("reads_pages", IndexSettings.reads_pages),
        from_mapping(ChunkSettings, bridge.get("chunks", {}), "settings"),
    )
