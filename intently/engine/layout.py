"""The files that make up a generation of an engine."""

from intently.catalog import Catalog
from intently.engine.learned_fusion import LearnedFusion
from intently.engine.relevance import Calibrator
from intently.generation import Draft, Generation
from intently.index.intentions import IntentionIndex
from intently.index.keywords import KeywordIndex
from intently.index.lexical import LexicalIndex
from intently.index.title_terms import TitleTerms
from intently.index.token_vectors import TokenVectors
from intently.index.vectors import VectorIndex
from intently.models.encoder.embedder import Embedder
from intently.models.processor import int8_levels
from intently.models.student import Runtime, Student
from intently.snapshot.segment import Segment

CATALOG, VECTORS, COARSE = "catalog.arrow", "vectors.npy", "vectors.coarse.npz"
STUDENT, INTENTIONS, LEXICAL = "student", "intentions", "lexical"
FOR_MODELS = f"{INTENTIONS} for models"  # the files of intentions that only models need
# Parts that an engine may have beside those that it must have. Student and vectors come together, or not at all.
ENCODER, TOKENS, FUSION_FILE, TITLES_FILE, CACHE_FILE = "encoder", "tokens", "fusion.json", "titles.npz", "cache.bin"
KEYWORDS_FILE = "keywords.npz"  # of ads with match types
RELEVANCE_FILE = "relevance.json"

# The student's layers with int8 weights, on CPUs with so many levels. A generation of other CPUs does without.
INT8_LAYERS = f"{STUDENT}/layers-int8-{int8_levels()}.onnx"

# The files that are opened of each part; those of the encoder's backbone depend on its kind.
FILES_OF = {
    CATALOG: (CATALOG,),
    STUDENT: tuple(f"{STUDENT}/{name}" for name in ("config.json", "tokenizer.json", "model.safetensors")),
    INTENTIONS: tuple(f"{INTENTIONS}/{name}" for name in ("intentions.json", "postings.npz", "statistics.npz")),
    FOR_MODELS: tuple(
        f"{INTENTIONS}/{name}"
        for name in ("intentions.trie", "embeddings.npy", "embeddings.coarse.npz", "guidance.json")
    ),
    VECTORS: (VECTORS,),
    LEXICAL: tuple(f"{LEXICAL}/{name}" for name in ("terms.json", "postings.npz")),
    ENCODER: tuple(f"{ENCODER}/{name}" for name in ("encoder.json", "encoder.safetensors")),
    TOKENS: tuple(f"{TOKENS}/{name}" for name in ("codes.npy", "offsets.npy")),
}
BACKBONE = f"{ENCODER}/backbone"


def write_engine(
    draft: Draft,
    catalog: Catalog,
    student: Student | None,
    intentions: IntentionIndex,
    vectors: VectorIndex | None,
    lexical: LexicalIndex,
    *,
    titles: TitleTerms | None = None,
    encoder: Embedder | None = None,
    tokens: TokenVectors | None = None,
    fusion: LearnedFusion | None = None,
    keywords: KeywordIndex | None = None,
    calibrator: Calibrator | None = None,
    runtime: Runtime = Runtime.TORCH,
) -> None:
    """Write all parts of an engine but the query cache, which lies in a file already (`Draft.copy`).

    `runtime` is what will run the student's layers; those with int8 weights are stored.
    """
    if student:
        draft.write(STUDENT, student.save)
        if runtime == Runtime.ONNX_INT8:
            draft.write(INT8_LAYERS, student.save_int8_layers)
    if encoder:
        draft.write(ENCODER, encoder.save)
    if fusion:
        draft.write(FUSION_FILE, fusion.save)
    if calibrator:
        draft.write(RELEVANCE_FILE, calibrator.save)
    _write_ads(draft, catalog, intentions, vectors, lexical, titles, tokens, keywords)


def write_with_other_ads(
    draft: Draft, before: Generation, catalog: Catalog, segment: Segment, intentions: IntentionIndex
) -> None:
    """Write all parts of an engine that has other ads than in the generation `before`; the other parts are copied.

    `segment` and `intentions` are what models made of the ads of `catalog`.
    """
    for name, part in before.manifest.files.items():
        if name.split("/")[0] in (STUDENT, ENCODER, FUSION_FILE, CACHE_FILE, RELEVANCE_FILE):
            draft.copy(name, before.path(name), rows=part.rows)
    _write_ads(
        draft,
        catalog,
        intentions,
        segment.vectors,
        segment.lexical,
        segment.titles,
        segment.tokens,
        segment.known_keywords if segment.has_match_types else None,
    )
    before.check_unchanged()


def _write_ads(
    draft: Draft,
    catalog: Catalog,
    intentions: IntentionIndex,
    vectors: VectorIndex | None,
    lexical: LexicalIndex,
    titles: TitleTerms | None,
    tokens: TokenVectors | None,
    keywords: KeywordIndex | None,
) -> None:
    num_ads = catalog.num_ads
    draft.write(CATALOG, catalog.save, rows=num_ads, of_ads=True)
    draft.write(INTENTIONS, intentions.save, rows=num_ads, of_ads=True)
    if vectors:
        draft.write(VECTORS, vectors.save, rows=num_ads, of_ads=True)
    draft.write(LEXICAL, lexical.save, rows=num_ads, of_ads=True)
    if titles:
        draft.write(TITLES_FILE, titles.save, rows=num_ads, of_ads=True)
    if tokens:
        draft.write(TOKENS, tokens.save, rows=num_ads, of_ads=True)
    if keywords:
        draft.write(KEYWORDS_FILE, keywords.save, rows=num_ads, of_ads=True)
