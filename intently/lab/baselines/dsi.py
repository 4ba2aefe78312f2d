"""DSI: a network that has learnt the number of every ad, in numbers that mean something.

An ad's number is its path through a hierarchical k-means of the untrained encoder's embeddings. The network learns it
from the ad's text and title (indexing) and from clicked queries (retrieval). Since an identifier is one ad, a query
retrieves as many ads as it has beams. Source: Tay et al., "Transformer Memory as a Differentiable Search Index"
(2022), semantic structured identifiers. Theirs index 32 times as often as they retrieve; here half of each batch does.
"""

from dataclasses import dataclass
from pathlib import Path

from intently.lab.baselines.clusters import hierarchical_codes
from intently.lab.baselines.codes import code_tokens, identifiers_of, positional, untrained_embeddings
from intently.lab.baselines.generative import answer, start, train
from intently.lab.baselines.task import Answers, Budget, Task, directory_of
from intently.settings import check_range
from intently.types import Progress


@dataclass(frozen=True)
class DsiSettings:
    """How ads are numbered, and how often they are learnt."""

    branching: int = 32  # clusters of a cluster, and the most ads that are not clustered further
    phrase_share: float = 0.5  # of a batch: titles instead of clicked queries

    def __post_init__(self) -> None:
        check_range(self, "branching", low=2)
        check_range(self, "phrase_share", high=1)


def dsi(task: Task, budget: Budget, work: Path, progress: Progress, settings: DsiSettings | None = None) -> Answers:
    """Train and answer."""
    settings = settings or DsiSettings()
    place = directory_of(work, "dsi", budget, settings)
    begun = start(task, budget)
    vectors = untrained_embeddings(task, budget, begun, place, progress)
    progress("Clustering", 0, 0, "")
    codes = hierarchical_codes(vectors, settings.branching, budget.seed)
    identifiers = identifiers_of(task, positional(codes, settings.branching, code_tokens(begun[1])))
    student = train(task, budget, begun, identifiers, place, progress, phrase_share=settings.phrase_share)
    return answer(task, budget, student, identifiers, progress)
