"""Learning what relevance is: evidence for ads that are known to be relevant to queries, and for ads that are not.

The queries are those that nothing else has learned from. Where there are too few, the catalog asks itself
(`known_items`): then relevance means that an ad is the one that somebody is looking for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from intently.arrays import Float64Array, IntArray, Mask
from intently.build.interactions import Interactions
from intently.build.known_items import known_items
from intently.build.training.calibration import CalibrationSettings, fit_logistic
from intently.catalog import Catalog
from intently.engine.engine import Engine
from intently.engine.relevance import Calibrator, sets_of_evidence
from intently.evaluation.calibration import threshold_keeping
from intently.index.lexical import LexicalIndex
from intently.text.analyze import Analyzer
from intently.types import Progress

_SHARES = (0.99, 0.95, 0.9)  # of relevant ads that a threshold keeps


@dataclass(frozen=True)
class Asked:
    """Queries, each with the rows of the ads that are relevant to it; `told` says where they come from."""

    queries: tuple[str, ...]
    relevant: tuple[IntArray, ...]
    told: str


@dataclass(frozen=True, eq=False)
class LearnedRelevance:
    """What came of calibrating, and what a build's report says of it."""

    calibrator: Calibrator | None  # None: the engine does not tell relevance
    facts: dict[str, float]
    notes: tuple[str, ...] = ()


def questions(catalog: Catalog, lexical: LexicalIndex, clicked: Interactions, settings: CalibrationSettings) -> Asked:
    """Return what to calibrate with: queries of `clicked`, which nothing has learned from, or the catalog's own."""
    relevant: list[list[int]] = [[] for _ in clicked.queries]
    for query, ad in clicked.clicks.tolist():
        relevant[query].append(ad)
    rows = [row for row, ads in enumerate(relevant) if ads]
    if len(rows) >= settings.min_queries:
        rows = np.random.default_rng(settings.seed).permutation(rows)[: settings.max_queries].tolist()
        queries = tuple(clicked.queries[row] for row in rows)
        return Asked(queries, tuple(np.array(relevant[row], dtype=np.int64) for row in rows), "clicked queries")
    analyzer = Analyzer(lexical.settings.stemmer)
    items = known_items(catalog.strings("title"), lexical, analyzer, settings.max_queries, settings.seed)
    rows_of = tuple(np.array([item.ad_row], dtype=np.int64) for item in items)
    return Asked(tuple(item.query for item in items), rows_of, "queries made of titles")


def learn_relevance(engine: Engine, asked: Asked, settings: CalibrationSettings, show: Progress) -> LearnedRelevance:
    """Return a calibrator learned from how an engine that has learned nothing of these queries answers them.

    It is None if too few queries find a relevant ad among the first ones. Cost: one answer a query.
    """
    examples = list(_examples(engine, asked, settings, show))
    relevant = np.concatenate([each.relevant for each in examples]) if examples else np.empty(0, dtype=np.bool_)
    num_useful = sum(bool(each.relevant.any()) for each in examples)
    if num_useful < settings.min_queries or relevant.all():
        few = f"{num_useful} {asked.told} have a relevant ad among the first, 'min_queries' is {settings.min_queries}"
        return LearnedRelevance(None, {}, (f"the engine does not tell relevance: {few}",))
    every = {name: np.concatenate([each.evidence[name] for each in examples]) for name in examples[0].evidence}
    models = {
        names: fit_logistic({name: every[name] for name in names}, relevant)
        for names in sets_of_evidence(engine.channels)
    }
    is_first = np.concatenate([each.is_first for each in examples])
    told = models[sets_of_evidence(engine.channels)[-1]].of(every)
    keeping = {share: threshold_keeping(told[relevant & is_first], share) for share in _SHARES}
    facts = {"relevance_queries": float(num_useful), "relevance_keeping_95_percent": keeping[0.95]}
    return LearnedRelevance(Calibrator(models, asked.told, keeping), facts)


@dataclass(frozen=True, eq=False)
class _Example:
    """One query: evidence, columns (C,), of its first ads and of others, and which of them are relevant (C,)."""

    evidence: dict[str, Float64Array]
    relevant: Mask
    is_first: Mask


def _examples(engine: Engine, asked: Asked, settings: CalibrationSettings, show: Progress) -> Iterable[_Example]:
    strangers = _strangers(asked.relevant, settings)
    for number, (rows, found) in enumerate(engine.evidence(asked.queries, settings.depth, strangers)):
        is_first = np.arange(len(rows)) < len(rows) - len(strangers[number])
        yield _Example(dict(found), np.isin(rows, asked.relevant[number]), is_first)
        show("Calibrating relevance", number + 1, len(asked.queries), "")


def _strangers(relevant: Sequence[IntArray], settings: CalibrationSettings) -> list[IntArray]:
    """Return for each query some ads that are relevant to others, and so are known to be good for something else."""
    rng = np.random.default_rng(settings.seed)
    every = np.unique(np.concatenate(relevant)) if relevant else np.empty(0, dtype=np.int64)
    drawn = [rng.choice(every, settings.num_strangers) for _ in relevant]
    return [np.setdiff1d(some, own) for some, own in zip(drawn, relevant, strict=True)]
