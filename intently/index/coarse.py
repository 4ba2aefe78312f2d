"""The coarse stage of dense retrieval: which ads are worth comparing with the query in full precision.

Shape letters: N ads, D dimensions of an embedding, C candidates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import Any, Protocol

from numpy.typing import NDArray

from intently.arrays import Float32Array, IntArray, Mask
from intently.errors import MissingDependencyError, install_hint
from intently.settings import check_choice, check_range

MAX_PIECE = 8  # dimensions of a piece: 16 centroids tell apart no more


class CoarseEngine(StrEnum):
    """What prunes the ads before rescoring."""

    AUTO = "auto"  # exact for small catalogs, flat for others
    EXACT = "exact"  # nothing: every eligible ad is compared in full precision
    FLAT = "flat"  # a scan over 4-bit codes of all ads, which looks at the eligible ones
    HNSW = "hnsw"  # a walk through a graph of neighbours, for queries that most ads are eligible for


@dataclass(frozen=True)
class CoarseSettings:
    """Which coarse engine a catalog gets, and how much of it is rescored.

    `auto` is exact up to `exact_up_to` ads and flat above. Up to 580,000 ads flat measured faster than a graph of the
    same recall (docs/two-stage.md), so a graph is built only if it is named; `flat` is then built, too.
    """

    engine: CoarseEngine = CoarseEngine.AUTO  # auto, exact, flat or hnsw
    exact_up_to: int = 20_000  # ads, whose vectors auto compares one by one
    rescored_share: float = 0.02  # of all ads, at most this many are compared in full precision …
    oversampling: int = 6  # … which is this many for each one asked for, of 384 dimensions, if the share allows …
    min_candidates: int = 3_000  # … and at least this many
    piece: int | None = None  # dimensions that a 4-bit code stands for, 8 at most; None: 2 up to 150,000 ads, 4 above
    graph_oversampling: int = 4  # candidates of a graph for each ad asked for: its distances are all but exact
    seed: int = 0  # draws the ads that a quantiser is trained on

    def __post_init__(self) -> None:
        check_choice(self, "engine", CoarseEngine)
        check_range(self, "exact_up_to", "seed")
        check_range(self, "rescored_share", high=1, exclusive=True)
        check_range(self, "oversampling", "graph_oversampling", low=2)
        check_range(self, "min_candidates", low=1)
        if self.piece is not None:
            check_range(self, "piece", low=1, high=MAX_PIECE)


@dataclass(frozen=True)
class Plan:
    """How one query is answered: the engine, and how many candidates it hands to rescoring at most."""

    engine: CoarseEngine
    num_candidates: int


class CoarseIndex(Protocol):
    """Finds candidates among N ads quickly and roughly. Any number of threads may ask at once."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of ads and of dimensions (N, D)."""
        ...

    def candidates(self, embedding: Float32Array, num: int, eligible: Mask | None, num_threads: int = 1) -> IntArray:
        """Return at most `num` rows (C,) near a query embedding (D,), distinct and eligible, in any order.

        They are the same for any `num_threads`, which is how many threads may work on the query.
        """
        ...

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return what is saved of it, by name."""
        ...


def import_faiss() -> ModuleType:
    """Return faiss, held to one thread in the calling thread; raise `MissingDependencyError` if it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            f"searching many ads in two stages needs faiss ({error}); {install_hint('engine')}, "
            "or set the coarse engine to 'exact'"
        ) from error
    faiss.omp_set_num_threads(1)  # queries are what is answered in parallel, and a thread has a count of its own
    module: ModuleType = faiss
    return module
