"""Whether the parts of an engine were made for each other."""

from intently.engine.learned_fusion import LearnedFusion
from intently.errors import ArtifactError
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalIndex
from intently.index.token_vectors import TokenVectors
from intently.index.vectors import VectorIndex
from intently.models.encoder.embedder import Embedder
from intently.models.student import Student


def check_parts(
    student: Student,
    encoder: Embedder | None,
    intentions: IntentionIndex,
    vectors: VectorIndex,
    tokens: TokenVectors | None,
    lexical: LexicalIndex,
    fusion: LearnedFusion | None,
) -> None:
    """Raise `ArtifactError` for vectors that these models did not make, and for a fusion without statistics."""
    readers, dimension = "the student", student.dimension
    if encoder:
        readers, dimension = "student and encoder together", dimension + encoder.dimension
    if (held := vectors.embeddings.shape[1]) != dimension:
        raise ArtifactError(
            f"the vectors are of {held} dimensions, those of {readers} of {dimension}; build the engine again"
        )
    if (held := intentions.near.vectors.embeddings.shape[1]) != student.dimension:
        raise ArtifactError(
            f"the intentions' embeddings are of {held} dimensions, those of the student of {student.dimension}; "
            "build the engine again"
        )
    held = tokens.values.shape[1] if tokens else 0
    if held != (wanted := encoder.settings.token_dimension if encoder else 0):
        raise ArtifactError(
            f"the tokens' vectors are of {held} dimensions, the encoder's of {wanted}; build the engine again"
        )
    if fusion and lexical.statistics is None:
        raise ArtifactError("the lexical index lacks the statistics that the fusion needs; build the engine again")
