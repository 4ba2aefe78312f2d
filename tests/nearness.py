"""Near intentions for engines that tests make by hand."""

import numpy as np

from intently.index.near import NearIntentions
from intently.intentions.prior import Guidance

GUIDANCE = Guidance(prior_temperature=0.2, model_temperature=1.5)


def near_intentions(embeddings, guidance: Guidance = GUIDANCE) -> NearIntentions:
    """Return what finds intentions by these embeddings (I, D)."""
    return NearIntentions.build(np.asarray(embeddings, dtype=np.float32), guidance)
