"""The models of an engine together, as they read queries or ads."""

from dataclasses import dataclass

from intently.index.near import NearIntentions
from intently.intentions.prior import Guidance
from intently.intentions.trie import Trie
from intently.models.encoder.embedder import Embedder
from intently.models.intention_reader import IntentionReader
from intently.models.student import Student


@dataclass(frozen=True)
class Models:
    """The student, what it says, and for the dense channel an encoder beside it. An engine without models has none."""

    student: Student
    encoder: Embedder | None
    intention_reader: IntentionReader

    @classmethod
    def of(
        cls, student: Student, encoder: Embedder | None, trie: Trie, near: NearIntentions, guidance: Guidance
    ) -> "Models":
        """Return the models that find the intentions of `trie` and `near`, guided as `guidance` says."""
        return cls(student, encoder, IntentionReader(student.decoder(trie), near, guidance))
