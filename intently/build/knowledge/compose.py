"""Choosing instances: every source fills a task in turn, and what would make it one-sided is left out.

No input comes twice, no first intention has more than its share, short and long inputs and both languages alternate.
The same data and seed give the same instances.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TypeVar

from intently.build.knowledge.endpoint import EndpointSettings
from intently.build.knowledge.instances import LANGUAGES, NOTHING, Instance, Task
from intently.build.knowledge.material import Material
from intently.build.knowledge.rules import Composer
from intently.settings import check_range
from intently.text.normalize import normalize

T = TypeVar("T")
# How often a source's turn comes. What users did says more than what titles and categories are called.
_TURNS = {"bids": 2, "clicks": 2, "titles": 1, "taxonomy": 1}


@dataclass(frozen=True)
class KnowledgeSettings:
    """What instances are made of."""

    instances_per_task: int = 2_000
    seed: int = 0
    handwritten: bool = True  # those that come with the package are taken first
    max_intentions: int = 6  # of a composed or an endpoint's answer
    max_same_answer: float = 0.01  # share of a task's instances with the same first intention
    min_relevance: float | None = None  # from which a judged pair counts as clicked; None: the upper third of the scale
    endpoint: EndpointSettings = field(default_factory=EndpointSettings)

    def __post_init__(self) -> None:
        check_range(self, "instances_per_task", "max_intentions", low=1)
        check_range(self, "seed")
        check_range(self, "max_same_answer", high=1, exclusive=True)
        if self.min_relevance is not None:
            check_range(self, "min_relevance")


class Chosen:
    """The instances of one task so far, and whether one more may join them."""

    def __init__(self, task: Task, settings: KnowledgeSettings, key: Callable[[str], str]) -> None:
        self.task = task
        self.instances: list[Instance] = []
        self._quota = settings.instances_per_task
        self._max_same = math.ceil(settings.max_same_answer * self._quota)
        self._key = key
        self._seen: set[str] = set()
        self._first: Counter[str] = Counter()

    @property
    def missing(self) -> int:
        """How many instances are wanting."""
        return self._quota - len(self.instances)

    def add_handwritten(self, instances: Iterable[Instance]) -> None:
        """Take instances whose variety their authors saw to, English and Chinese in turn."""
        mine = [instance for instance in instances if instance.task is self.task]
        by_language = [[one for one in mine if one.language == language] for language in LANGUAGES]
        for instance in _in_turn(by_language):
            if self.missing > 0 and normalize(instance.input) not in self._seen:
                self._take(instance)

    def add(self, instance: Instance | None) -> bool:
        """Take an instance unless its input is there, or its first intention has its share; return whether it was."""
        if instance is None or self.missing <= 0 or not self.is_new(instance.input):
            return False
        if instance.answer != NOTHING and self._first[self._key(instance.intentions[0])] >= self._max_same:
            return False
        self._take(instance)
        return True

    def is_new(self, text: str) -> bool:
        """Return whether no instance has this input, nor the same words in another order or form."""
        return normalize(text) not in self._seen and self._sorted(text) not in self._seen

    def _take(self, instance: Instance) -> None:
        self.instances.append(instance)
        self._seen |= {normalize(instance.input), self._sorted(instance.input)}
        self._first[self._key((instance.intentions or (NOTHING,))[0])] += 1

    def _sorted(self, text: str) -> str:
        return "\t".join(sorted(self._key(text).split())) + "\t"  # a tab: never equal to a normalized text


def fill(chosen: Chosen, material: Material, settings: KnowledgeSettings) -> None:
    """Compose instances out of `material` until the task has enough, or nothing is left to make one of."""
    rng = random.Random(f"{settings.seed} {chosen.task}")
    composer = Composer(material, chosen.task, settings.max_intentions, rng)
    pools: list[Iterator[Instance | None]] = []
    for (source, _), rows in sorted(composer.rows().items()):
        pools += [map(composer.maker(source), mixed(rows, composer.length(source), rng))] * _TURNS[source]
    while pools:
        for pool in tuple(pools):
            if chosen.missing <= 0:
                return
            if not any(chosen.add(instance) for instance in pool):
                pools = [other for other in pools if other is not pool]


def mixed(rows: Sequence[int], length: Callable[[int], int], rng: random.Random) -> Iterator[int]:
    """Return `rows` in an order drawn by chance, in which short, middling and long ones alternate."""
    drawn = list(rows)
    rng.shuffle(drawn)
    by_length = sorted(drawn, key=length)
    thirds = [set(by_length[len(drawn) * at // 3 : len(drawn) * (at + 1) // 3]) for at in range(3)]
    return _in_turn([[row for row in drawn if row in third] for third in thirds])


def _in_turn(groups: Sequence[Sequence[T]]) -> Iterator[T]:
    return (one for ones in zip_longest(*groups) for one in ones if one is not None)
