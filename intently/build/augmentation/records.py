"""What augmentation is made from: ads as columns, and the clicks that led to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from intently.arrays import IntArray
from intently.build.training.fusion import held_out
from intently.catalog import Catalog, Judgements
from intently.errors import InputError


@dataclass(frozen=True, eq=False)
class AdsAndClicks:
    """N ads with clean texts, Q queries and P clicks between them.

    `texts` are what the language model reads: never raw OCR, which makes it invent. `clicks (P, 2)` are (query_row,
    ad_row), made `counts (P,)` times. Of the `num_judged (N,)` pairs of each ad `num_positive (N,)` were clicked or
    judged relevant. Nothing of this is of the queries that were held out, for the learned fusion.
    """

    titles: Sequence[str]
    texts: Sequence[str]
    bids: Sequence[Sequence[str]]  # bid keywords of each ad
    queries: Sequence[str]
    clicks: IntArray
    counts: IntArray
    num_judged: IntArray
    num_positive: IntArray
    held_out_share: float = 0.0  # of all queries; which ones `training.fusion.held_out` tells, by this and ...
    seed: int = 0

    @classmethod
    def gather(
        cls,
        catalog: Catalog,
        texts: Sequence[str],
        judgements: Judgements | None,
        min_relevance: float | None = None,
        *,
        held_out_share: float = 0.1,
        seed: int = 0,
    ) -> "AdsAndClicks":
        """Join a catalog, one clean text an ad, and clicks or judgements, but those of queries that are held out.

        `held_out_share` and `seed` are those of the learned fusion, which must not meet augmentation made from the very
        clicks that it learns from.

        Raises `InputError` when there is not a text an ad, or no click names an ad of the catalog.
        """
        if len(texts) != len(catalog):
            raise InputError(f"{len(texts)} texts for {len(catalog)} ads", cure="give one text an ad")
        queries: tuple[str, ...] = ()
        pairs, counts = np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=np.int64)
        positive = np.empty(0, dtype=bool)
        if judgements is not None:
            ad_rows = catalog.ad_rows(judgements.ad_ids)
            known = ad_rows >= 0
            if not known.any():
                raise InputError("no click names an ad of the catalog", cure="check that both files use the same ids")
            seen = ~held_out(judgements.queries, held_out_share, seed)
            queries = tuple(query for query, own in zip(judgements.queries, seen.tolist(), strict=True) if own)
            known &= seen[judgements.query_rows]
            numbers = np.cumsum(seen) - 1
            pairs = np.stack((numbers[judgements.query_rows], ad_rows), axis=1)[known]
            positive = judgements.positives(min_relevance)[known]
            counts = np.ones(len(pairs), dtype=np.int64)
            if judgements.kind == "clicks":
                counts = np.maximum(judgements.values[known].astype(np.int64), 1)
        return cls(
            titles=catalog.strings("title"),
            texts=texts,
            bids=catalog.column("keywords").to_pylist(),
            queries=queries,
            clicks=pairs[positive],
            counts=counts[positive],
            num_judged=np.bincount(pairs[:, 1], minlength=len(catalog)),
            num_positive=np.bincount(pairs[positive, 1], minlength=len(catalog)),
            held_out_share=held_out_share,
            seed=seed,
        )

    @property
    def num_ads(self) -> int:
        """The number of ads, N."""
        return len(self.texts)

    @cached_property
    def num_clicks(self) -> IntArray:
        """How often each ad (N,) was clicked."""
        return np.bincount(self.clicks[:, 1], weights=self.counts, minlength=self.num_ads).astype(np.int64)

    @cached_property
    def queries_of(self) -> dict[int, list[int]]:
        """Which queries led to an ad, ad_row → query rows, those with the most clicks first."""
        of_ad: dict[int, list[int]] = {}
        for at in np.lexsort((self.clicks[:, 0], -self.counts)).tolist():
            of_ad.setdefault(int(self.clicks[at, 1]), []).append(int(self.clicks[at, 0]))
        return of_ad
