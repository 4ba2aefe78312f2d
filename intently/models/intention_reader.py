"""What a student says of texts that it has read: decoded intentions, guided by the near ones, and these after them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from intently.index.near import NearIntentions
from intently.intentions.decode import ConstrainedDecoder, Decoded, DecodeSettings, ScoreMode, backed_off
from intently.intentions.prior import Guidance, Near
from intently.intentions.trace import Trace
from intently.models.student import Reading

_NOTHING = Decoded(np.empty(0, dtype=np.int64), np.empty(0))


@dataclass(frozen=True)
class IntentionReader:
    """Leads from one reading of a text to its intentions, for queries and ads alike."""

    decoder: ConstrainedDecoder
    near: NearIntentions
    guidance: Guidance

    def read(
        self, reading: Reading, num_near: int, decode: DecodeSettings | None, trace: Trace | None = None
    ) -> list[Decoded]:
        """Return the intentions of B texts: the decoded ones, then the others among the `num_near` nearest.

        Without `decode`, or where the guidance says that the student was not trained to speak, all are near ones. With
        `prior_weight` 0 or in mode `full`, all are decoded. `trace` records the search for one text.
        """
        temperature = self.guidance.model_temperature
        if (
            decode is not None
            and temperature is not None
            and (decode.mode is ScoreMode.FULL or not decode.prior_weight)
        ):
            return self.decoder.decode(reading.prompt, decode, trace=trace)
        prior = self.guidance.prior_temperature
        near: Sequence[Near] = [self.near.of(embedding, num_near, prior) for embedding in reading.embeddings]
        decoded = [_NOTHING] * len(near)
        if decode is not None and temperature is not None:
            guided = replace(decode, temperature=decode.temperature * temperature)
            decoded = self.decoder.decode(reading.prompt, guided, near, trace=trace)
        found = [backed_off(*each) for each in zip(decoded, near, strict=True)]
        # As exact as the query cache keeps them, so that a cached query is answered as if it were not.
        return [replace(one, log_probs=one.log_probs.astype(np.float32).astype(np.float64)) for one in found]
