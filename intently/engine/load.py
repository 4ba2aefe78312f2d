"""Loading an engine from disk."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from intently.catalog import Catalog
from intently.engine.cache import CACHE_FILE, QueryCache
from intently.engine.engine import Engine
from intently.engine.learned_fusion import LearnedFusion
from intently.engine.settings import RetrievalSettings
from intently.errors import ArtifactError, SettingsError
from intently.files import MANIFEST, open_artifact
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalIndex
from intently.index.posting_weights import PostingSettings
from intently.index.title_terms import TitleTerms
from intently.index.token_vectors import TokenVectors
from intently.index.vectors import VectorIndex
from intently.live.ad_reader import IndexSettings
from intently.models.encoder.embedder import Embedder
from intently.models.student import Runtime, Student
from intently.settings import from_mapping
from intently.text.chunk import ChunkSettings
from intently.text.ocr_cleaning import OcrSettings

# What an artifact may hold beside what it must: an encoder of the dense channel, a learned fusion, what that looks at.
ENCODER, TOKENS, FUSION_FILE, TITLES_FILE = "encoder", "tokens", "fusion.json", "titles.npz"


def load_engine(path: str | Path, *, runtime: Runtime | None = None, num_threads: int | None = None) -> Engine:
    """Return the engine at `path`; see `Engine.load`."""
    directory = Path(path)
    manifest = open_artifact(directory)
    try:
        told = manifest["settings"]
        settings = from_mapping(RetrievalSettings, told["retrieval"], "settings")
        postings = from_mapping(PostingSettings, told.get("postings", {}), "settings")
        bridge = told.get("bridge", {})
        indexing = IndexSettings(
            postings,
            from_mapping(OcrSettings, told.get("ocr", {}), "settings"),
            bridge.get("reads_pages", IndexSettings.reads_pages),
            from_mapping(ChunkSettings, bridge.get("chunks", {}), "settings"),
        )
    except (KeyError, AttributeError, SettingsError) as error:
        place = directory / MANIFEST
        raise ArtifactError(f"{place} does not hold retrieval settings ({error}); build again") from error
    given: dict[str, Any] = {"runtime": runtime, "num_threads": num_threads}
    intentions = IntentionIndex.load(directory / "intentions")
    optional = (TITLES_FILE, ENCODER, TOKENS, FUSION_FILE, CACHE_FILE)
    titles, encoder, tokens, fusion, cache = (directory / name for name in optional)
    return Engine(
        catalog=Catalog.load(directory / "catalog.arrow"),
        student=Student.load(directory / "student"),
        intentions=intentions,
        vectors=VectorIndex.load(directory / "vectors.npy"),
        lexical=LexicalIndex.load(directory / "lexical"),
        settings=replace(settings, **{name: value for name, value in given.items() if value is not None}),
        titles=TitleTerms.load(titles) if titles.exists() else None,
        encoder=Embedder.load(encoder) if encoder.exists() else None,
        tokens=TokenVectors.load(tokens) if tokens.exists() else None,
        fusion=LearnedFusion.load(fusion) if fusion.exists() else None,
        cache=QueryCache(cache, intentions.version) if cache.exists() else None,
        indexing=indexing,
    )
