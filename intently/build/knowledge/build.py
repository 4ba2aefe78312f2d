"""From files of ads, clicks and categories to the instances of three tasks, and a report of what they came from."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from intently.build.knowledge.compose import Chosen, KnowledgeSettings, fill
from intently.build.knowledge.endpoint import Endpoint
from intently.build.knowledge.instances import Instance, Task, handwritten, write_instances
from intently.build.knowledge.material import MAX_QUERY_CHARS, Material
from intently.build.knowledge.taxonomy import Taxonomy, read_taxonomy
from intently.catalog.inputs import read_inputs
from intently.errors import InputError
from intently.types import Progress


@dataclass(frozen=True)
class KnowledgeReport:
    """What was written: `counts` by (task, language, source), how many each task lacks, and what else to know."""

    path: Path
    counts: dict[tuple[str, str, str], int]
    shortfalls: dict[str, int]  # task → instances wanting; only of tasks that want any
    notes: tuple[str, ...]

    @property
    def num_instances(self) -> int:
        """How many instances there are."""
        return sum(self.counts.values())

    def by_task(self) -> dict[str, int]:
        """Return task → how many instances it has."""
        totals = dict.fromkeys((str(task) for task in Task), 0)
        for (task, _, _), count in self.counts.items():
            totals[task] += count
        return totals


def build_knowledge(
    ads: Path,
    out: Path,
    settings: KnowledgeSettings | None = None,
    *,
    clicks: Path | None = None,
    queries: Path | None = None,
    taxonomy: Path | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> KnowledgeReport:
    """Write instances of the three tasks to `out` as JSON lines, whole or not at all.

    `queries` gives the texts of clicks that name queries by id only; without clicks it is queries that users typed,
    which say what in a title they ask for. Raises InputError for wrong input, for nothing to write, and for an endpoint
    that does not answer. What the data cannot give is not padded: see the report's `shortfalls`.
    """
    settings = settings or KnowledgeSettings()
    show = progress or (lambda *_: None)
    if out.is_dir() or not out.parent.is_dir():
        raise InputError("cannot be written", cure="name a file in a directory that exists", path=out)
    read = read_inputs(ads, clicks, queries, skip_bad=skip_bad, progress=show)
    categories, problems = read_taxonomy(taxonomy, skip_bad=skip_bad) if taxonomy else (Taxonomy(), ())
    show("Finding what titles name", 0, 0, "")
    texts = read.queries.texts if read.queries else ()
    material = Material.gather(read.catalog, read.judgements, texts, categories, settings.min_relevance)

    ours = handwritten() if settings.handwritten or settings.endpoint.url else ()
    tasks = [Chosen(task, settings, material.phrases.key) for task in Task]
    if settings.handwritten:
        for chosen in tasks:
            chosen.add_handwritten(ours)
    notes = list(read.notes)
    if material.num_unknown_ads:
        notes.append(f"{material.num_unknown_ads} clicks left out: their ads are not in the catalog")
    notes += (f"row of the taxonomy skipped: {text}" for text in problems)
    if settings.endpoint.url and settings.endpoint.max_instances:
        notes += _ask_endpoint(tasks, material, settings, ours, show)
    wanted = settings.instances_per_task * len(tasks)
    for chosen in tasks:
        fill(chosen, material, settings)
        show("Composing", sum(len(one.instances) for one in tasks), wanted, chosen.task)
    instances = [instance for chosen in tasks for instance in chosen.instances]
    if not instances:
        raise InputError("not one instance can be made of this", cure="give clicks or a taxonomy too", path=ads)
    show("Writing", 0, 0, "")
    write_instances(out, instances)
    return KnowledgeReport(
        out,
        dict(sorted(Counter((str(one.task), one.language, one.source) for one in instances).items())),
        {str(chosen.task): chosen.missing for chosen in tasks if chosen.missing > 0},
        tuple(notes),
    )


def _ask_endpoint(
    tasks: list[Chosen], material: Material, settings: KnowledgeSettings, examples: tuple[Instance, ...], show: Progress
) -> list[str]:
    """Let the endpoint write its share of each task; return what to note."""
    endpoint = Endpoint(settings.endpoint, examples, settings.max_intentions)
    budget, asked, written = settings.endpoint.max_instances, 0, 0

    def step() -> None:
        nonlocal asked
        asked += 1
        show("Asking the endpoint", asked, budget, "")

    for at, chosen in enumerate(tasks):
        share = min((budget - asked) // (len(tasks) - at), chosen.missing)
        inputs = islice((text for text in _inputs(chosen.task, material, settings.seed) if chosen.is_new(text)), share)
        written += sum(chosen.add(instance) for instance in endpoint.write(chosen.task, inputs, step))
    return [f"the endpoint was asked {asked} times: {written} instances taken, {endpoint.num_invalid} answers invalid"]


def _inputs(task: Task, material: Material, seed: int) -> Iterator[str]:
    """Yield queries or ads in an order drawn by chance."""
    is_query = task is Task.QUERY_INTENT
    rows = list(range(len(material.queries if is_query else material.titles)))
    random.Random(f"{seed} {task} endpoint").shuffle(rows)
    texts = (material.queries[row] if is_query else material.ad_text(row) for row in rows)
    return (text for text in texts if not is_query or len(text) <= MAX_QUERY_CHARS)
