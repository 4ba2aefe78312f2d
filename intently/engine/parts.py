"""Whether the parts of an engine were made for each other."""

from intently.engine.learned_fusion import LearnedFusion
from intently.engine.relevance import Calibrator
from intently.errors import ArtifactError
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalIndex
from intently.index.near import NearIntentions
from intently.index.token_vectors import TokenVectors
from intently.index.vectors import VectorIndex
from intently.models.encoder.embedder import Embedder
from intently.models.student import Student
from intently.types import Channel


def check_parts(
    student: Student | None,
    encoder: Embedder | None,
    intentions: IntentionIndex,
    vectors: VectorIndex | None,
    tokens: TokenVectors | None,
    lexical: LexicalIndex,
    fusion: LearnedFusion | None,
    calibrator: Calibrator | None = None,
) -> None:
    """Raise `ArtifactError` for parts that were not made for each other.

    A student, vectors, a trie and embeddings of the intentions come together or not at all, and an encoder with them.
    """
    together = {
        "student": student,
        "vectors": vectors,
        "trie of the intentions": intentions.trie,
        "embeddings of the intentions": intentions.near,
    }
    lacking = [name for name, part in together.items() if part is None]
    if lacking and (len(lacking) < len(together) or encoder or tokens):
        raise ArtifactError(f"the engine has no {' and no '.join(lacking)}, which its models need; build it again")
    if student and vectors and intentions.near:
        _check_dimensions(student, encoder, intentions.near, vectors, tokens)
    if fusion and lexical.statistics is None:
        raise ArtifactError("the lexical index lacks the statistics that the fusion needs; build the engine again")
    if calibrator and lexical.statistics is None:
        raise ArtifactError("the lexical index lacks the statistics that relevance needs; build the engine again")
    if calibrator and bool(vectors) != calibrator.has(Channel.DENSE):
        raise ArtifactError("relevance was learned from an engine with other channels; build the engine again")
    if fusion and not vectors and Channel.DENSE in fusion.channels:
        raise ArtifactError("the fusion was learned with a dense channel, which the engine lacks; build it again")


def _check_dimensions(
    student: Student, encoder: Embedder | None, near: NearIntentions, vectors: VectorIndex, tokens: TokenVectors | None
) -> None:
    """Raise `ArtifactError` for embeddings that these models did not make."""
    readers, dimension = "the student", student.dimension
    if encoder:
        readers, dimension = "student and encoder together", dimension + encoder.dimension
    if (held := vectors.embeddings.shape[1]) != dimension:
        raise ArtifactError(
            f"the vectors are of {held} dimensions, those of {readers} of {dimension}; build the engine again"
        )
    if (held := near.vectors.embeddings.shape[1]) != student.dimension:
        raise ArtifactError(
            f"the intentions' embeddings are of {held} dimensions, those of the student of {student.dimension}; "
            "build the engine again"
        )
    held = tokens.values.shape[1] if tokens else 0
    if held != (wanted := encoder.settings.token_dimension if encoder else 0):
        raise ArtifactError(
            f"the tokens' vectors are of {held} dimensions, the encoder's of {wanted}; build the engine again"
        )
