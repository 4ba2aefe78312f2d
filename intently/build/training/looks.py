"""How well each source is known while training goes on: what was learnt of one may be forgotten over another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from intently.arrays import IntArray
from intently.build.training.pair_reader import PairReader
from intently.build.training.sources import BridgeData
from intently.models.encoder.model import BridgeEncoder
from intently.types import Progress


@dataclass(frozen=True)
class Look:
    """How well the held-out pairs of each source were ranked after `step` steps, and the attention's spread then."""

    step: int
    reciprocal_ranks: dict[str, float]  # mean over a source's pairs, among the ads of all of them
    head_entropies: tuple[float, ...]  # nats, a head; empty without cross-attention


def forgetting(history: Sequence[Look]) -> dict[str, float]:
    """Return for each source by how much its last reciprocal rank lies below the best it had; empty without looks."""
    last = history[-1].reciprocal_ranks if history else {}
    return {name: max(look.reciprocal_ranks[name] for look in history) - rank for name, rank in last.items()}


@torch.no_grad()
def measure(
    encoder: BridgeEncoder,
    reader: PairReader,
    data: BridgeData,
    held_out: Sequence[IntArray],
    step: int,
    progress: Progress,
) -> Look:
    """Return how well the `held_out` pairs of each source are ranked; leaves the encoder in training mode."""
    encoder.eval()
    found = {}
    for number, (source, pairs) in enumerate(zip(data.sources, held_out, strict=True)):
        progress("Measuring the sources", number, len(data.sources), source.name)
        if len(pairs):
            found[source.name] = _mean_reciprocal_rank(reader, data, pairs)
    encoder.train()
    return Look(step, found, tuple(encoder.head_entropy().tolist()))


def _mean_reciprocal_rank(reader: PairReader, data: BridgeData, pairs: IntArray) -> float:
    """Return the mean reciprocal rank of each pair's ad among all these pairs' ads that are no answers as well."""
    query_rows, ad_rows = data.pairs.query_rows[pairs], data.pairs.ad_rows[pairs]
    queries, ads = reader.queries([data.queries[row] for row in query_rows]), reader.ads(query_rows, ad_rows)
    cosines = queries.embeddings @ ads.embeddings.T
    others = ~data.is_positive(query_rows[:, None], ad_rows[None, :])
    repeated = np.ones(len(ad_rows), dtype=bool)
    repeated[np.unique(ad_rows, return_index=True)[1]] = False
    others &= ~repeated  # an ad of several pairs competes once
    above = (cosines > cosines.diagonal()[:, None]) & torch.from_numpy(others).to(cosines.device)
    return float((1 / (1 + above.sum(dim=1).float())).mean())
