"""What other systems would have earned on a user's own traffic: counterfactual estimates from a log of answers.

    log (answers, events) → what every system finds for each of its queries → estimates of each reward → report

A line of the log is an answer, as `AnswerRecord.to_dict` writes it, or an event with the `request_id` of an answer:
{"event": "click", "request_id": "r1", "ad_id": "hose", "value": 0.42}. See docs/online.md.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from intently.arrays import Float64Array, IntArray
from intently.catalog.jsonl import read_values
from intently.engine.engine import Engine
from intently.errors import InputError
from intently.lab.experiments.online import systems_of
from intently.lab.experiments.online_log_report import Estimated, LogFacts, sections
from intently.lab.experiments.publish import publish
from intently.lab.experiments.rare_systems import bm25
from intently.lab.experiments.report import Section
from intently.lab.experiments.runner import Answers, Experiment, fingerprint_of
from intently.market.clicks import Sessions, fit_position_based
from intently.market.estimates import (
    AnswerRecord,
    Estimate,
    cascade_ips,
    clipped_ips,
    doubly_robust,
    ips,
    position_based_ips,
    snips,
)
from intently.types import Progress

EVENTS = {"click": "clicks", "conversion": "conversions", "purchase": "purchases"}
# What is estimated: events of each kind, what clicks cost (their `value`), and what orders are worth.
REWARDS = (*EVENTS.values(), "consumption", "GMV")
_VALUES = {"click": "consumption", "purchase": "GMV"}
_MOST_POSITIONS = 20
_SHRINKAGE = 20.0  # answers' worth of the mean reward that every ad's own reward is shrunk by, in the reward model
_FEW = 0.05  # of impressions whose ad was shown at several positions; fewer cannot tell looks from liking


@dataclass(frozen=True)
class Log:
    """N answers of at most K ads, the first position first; shorter ones are filled up with "" (`ads`).

    `propensities` (N, K) are 1 where there is no ad, `rewards[name]` (N, K) are 0.
    """

    queries: tuple[str, ...]
    request_ids: tuple[str, ...]
    ads: tuple[tuple[str, ...], ...]
    propensities: Float64Array
    rewards: Mapping[str, Float64Array]
    num_events: int
    num_repeated: int  # events whose id, or kind, request and ad, came before: not counted
    num_orphans: int  # events of no answer, or of an ad that its answer did not show: not counted


def read_log(path: Path) -> Log:
    """Read answers and events, in any order, from JSON lines.

    Raises `InputError` naming the first line that is neither, and for a request that is logged twice.
    """
    cure = "write what AnswerRecord.to_dict gives, or an event with event, request_id and ad_id"
    answers: dict[str, AnswerRecord] = {}
    events: list[dict[str, Any]] = []
    for line, value in read_values(path, cure):
        try:
            if isinstance(value, dict) and "event" in value:
                events.append(_event(value))
                continue
            record = AnswerRecord.from_dict(value)
            if not isinstance(record.request_id, str) or not isinstance(record.query, str):
                raise TypeError
        except (InputError, TypeError, AttributeError) as error:
            told = error.problem if isinstance(error, InputError) else "neither an answer nor an event"
            raise InputError(told, cure=cure, path=path, line=line) from None
        if record.request_id in answers:
            told = f"the request {record.request_id!r} is logged a second time"
            raise InputError(told, cure="give every answer an id of its own", path=path, line=line)
        answers[record.request_id] = record
    if len(answers) < 2:
        raise InputError(f"{len(answers)} answers", cure="give a log of at least two", path=path)
    return _log(answers, events)


def _event(value: Mapping[str, Any]) -> dict[str, Any]:
    kind, worth = value["event"], value.get("value", 0.0)
    if kind not in EVENTS:
        raise InputError(f"{kind!r} is no event", cure=f"use one of {', '.join(EVENTS)}", field="event")
    names = [value.get(name) for name in ("request_id", "ad_id")]
    if not all(isinstance(name, str) and name for name in names) or not isinstance(value.get("event_id", ""), str):
        raise InputError("an event without request_id or ad_id", cure="name both, as texts", field="request_id")
    if not isinstance(worth, int | float) or isinstance(worth, bool) or not np.isfinite(worth):
        raise InputError(f"the value {worth!r} is no number", cure="pass a number, or none", field="value")
    return {**value, "value": float(worth)}


def _log(answers: Mapping[str, AnswerRecord], events: Sequence[Mapping[str, Any]]) -> Log:
    lengths = Counter(min(len(record.ads), _MOST_POSITIONS) for record in answers.values() if record.ads)
    num = max(lengths, default=1)
    propensities = np.ones((len(answers), num))
    rewards = {name: np.zeros((len(answers), num)) for name in REWARDS}
    shown, places = [], {}
    for row, record in enumerate(answers.values()):
        ads = sorted(record.ads, key=lambda ad: ad.position)[:num]
        for at, ad in enumerate(ads):
            propensities[row, at] = ad.propensity
            places[record.request_id, ad.ad_id] = row, at
        shown.append((*(ad.ad_id for ad in ads), *[""] * (num - len(ads))))
    seen, repeated, orphans = set(), 0, 0
    for event in events:
        kind, pair = event["event"], (event["request_id"], event["ad_id"])
        key = event.get("event_id") or (kind, *pair)
        if key in seen:
            repeated += 1
        elif pair not in places:
            orphans += 1
        else:
            seen.add(key)
            rewards[EVENTS[kind]][places[pair]] += 1
            if kind in _VALUES:
                rewards[_VALUES[kind]][places[pair]] += event["value"]
    records = answers.values()
    return Log(
        tuple(record.query for record in records),
        tuple(answers),
        tuple(shown),
        propensities,
        rewards,
        len(events) - repeated - orphans,
        repeated,
        orphans,
    )


def examination_of(log: Log) -> tuple[Float64Array, tuple[str, ...]]:
    """Return how probably each position (K,) is looked at, as the clicks tell, and what to warn of."""
    full = [row for row, ads in enumerate(log.ads) if all(ads)]
    pairs = [[(log.queries[row], ad_id) for ad_id in log.ads[row]] for row in full]
    number: dict[tuple[str, str], int] = {}
    items = np.array([[number.setdefault(pair, len(number)) for pair in page] for page in pairs], np.int64)
    clicks = log.rewards["clicks"][full] > 0
    if not clicks.any():
        return np.ones(log.propensities.shape[1]), ("there are no clicks: every position counts as looked at",)
    fitted = fit_position_based(Sessions(items, clicks)).examination
    positions: list[set[int]] = [set() for _ in number]
    for page in items.tolist():
        for at, item in enumerate(page):
            positions[item].add(at)
    varied = np.array([len(each) > 1 for each in positions])[items].mean()
    told: tuple[str, ...] = ()
    if varied < _FEW:
        told = (
            f"{varied:.1%} of the impressions are of ads that were shown at several positions for their query: how "
            "much a position is looked at is hardly known",
        )
    return np.maximum(fitted, 1e-3), told


def estimates(
    log: Log, rankings: Mapping[str, Sequence[str]], examination: Float64Array, reward: str
) -> tuple[Estimate, ...]:
    """Return what a system would have earned an answer, by every estimator.

    `rankings[query]` are the ads that it would have shown, best first. Of the first position: IPS, SNIPS, clipped IPS,
    doubly robust. Of the whole page: position-based and cascade IPS. An estimator that the log tells nothing about is
    left out.
    """
    num = log.propensities.shape[1]
    targets = [list(rankings[query][:num]) for query in log.queries]
    is_same = np.array(
        [
            [ad == wished for ad, wished in zip(ads, (*target, *[""] * num), strict=False)]
            for target, ads in zip(targets, log.ads, strict=True)
        ]
    )
    is_filled = np.array([[bool(ad) for ad in ads] for ads in log.ads])
    rewards = log.rewards[reward]
    first = is_filled[:, 0]
    target, logged, gained = is_same[first, 0].astype(np.float64), log.propensities[first, 0], rewards[first, 0]
    found: list[Estimate] = []
    if first.sum() >= 2 and target.any():
        predicted, predicted_target = _predictions(log, targets, gained, first)
        found += [
            ips(gained, target, logged),
            snips(gained, target, logged),
            clipped_ips(gained, target, logged),
            doubly_robust(gained, target, logged, predicted=predicted, predicted_target=predicted_target),
        ]
    looks = np.ones_like(rewards)
    wanted = np.zeros_like(rewards)
    for row, (ranked, ads) in enumerate(zip(targets, log.ads, strict=True)):
        place = {ad_id: at for at, ad_id in enumerate(ranked)}
        for at, ad_id in enumerate(ads):
            if ad_id:
                looks[row, at] = examination[at]
                wanted[row, at] = examination[place[ad_id]] if ad_id in place else 0.0
    if wanted.any():
        found.append(position_based_ips(rewards, wanted, looks))
    ratios = np.where(is_filled, is_same.astype(np.float64), 1.0)
    if target.any():
        found.append(cascade_ips(rewards, ratios, log.propensities))
    return tuple(found)


def _predictions(
    log: Log, targets: Sequence[Sequence[str]], gained: Float64Array, first: Any
) -> tuple[Float64Array, Float64Array]:
    """Return the reward that a model expects of the first ad shown, and of the one that the target would show.

    The model is the mean reward of an ad at the first position, shrunk to that of all. Each half of the answers is
    predicted by a model of the other half, because a model must not have learned from what it is used on.
    """
    rows = np.flatnonzero(first).tolist()
    shown = [log.ads[row][0] for row in rows]
    wished = [targets[row][0] if targets[row] else "" for row in rows]
    number = {ad_id: at for at, ad_id in enumerate(dict.fromkeys((*shown, *wished)))}
    ads, wishes = (np.array([number[ad_id] for ad_id in column]) for column in (shown, wished))
    predicted, predicted_target = np.zeros(len(rows)), np.zeros(len(rows))
    half: IntArray = np.arange(len(rows)) % 2
    for side in (0, 1):
        learned, used = half != side, half == side
        mean = float(gained[learned].mean()) if learned.any() else 0.0
        sums = np.bincount(ads[learned], weights=gained[learned], minlength=len(number))
        counts = np.bincount(ads[learned], minlength=len(number))
        model = (sums + _SHRINKAGE * mean) / (counts + _SHRINKAGE)
        if "" in number:
            model[number[""]] = 0.0  # where the target would show nothing
        predicted[used], predicted_target[used] = model[ads[used]], model[wishes[used]]
    return predicted, predicted_target


def run_online_log(
    log_file: Path,
    engine_directory: Path,
    out: Path,
    *,
    examination: Sequence[float] = (),
    progress: Progress,
    results: Path | None = None,
    tell: Callable[[Sequence[Section]], None] = lambda _: None,
) -> Path:
    """Estimate what each system of an engine would have earned on a log, and return the path of the HTML report.

    `examination` says how probably each position is looked at; without, the clicks tell. Answers of systems are steps
    of a resumable experiment in `out`. `tell` gets the chapters of the report. Raises `InputError` for a log that
    cannot be read, and for too few positions.
    """
    log = read_log(log_file)
    num = log.propensities.shape[1]
    looks, told = examination_of(log) if not examination else (np.array(examination, np.float64), ())
    if len(looks) < num or not ((looks > 0) & (looks <= 1)).all():
        cure = f"give {num} numbers above 0 and at most 1, as many as ads are shown"
        raise InputError(f"got {list(looks)}", cure=cure, field="examination")
    engine = Engine.load(engine_directory, num_threads=2)
    asked = list(dict.fromkeys(log.queries))
    made_of = {**fingerprint_of({"log": log_file}, {}), "engine": engine.generation}
    steps = Experiment(out / "log", made_of, [str(at) for at in range(len(asked))])
    systems = {"BM25": partial(bm25, engine.catalog, asked), **systems_of(engine, asked, progress)}
    rankings = {name: _by_query(steps, name, system, asked) for name, system in systems.items()}
    found = {
        name: {reward: estimates(log, ranking, looks, reward) for reward in REWARDS}
        for name, ranking in rankings.items()
    }
    facts = LogFacts(
        len(log.queries),
        len(asked),
        num,
        {name: int(log.rewards[name].sum()) for name in EVENTS.values()},
        log.num_repeated,
        log.num_orphans,
        bool((log.propensities < 1).any()),
        tuple(looks[:num].tolist()),
        told,
    )
    logged = {reward: log.rewards[reward] for reward in REWARDS if log.rewards[reward].any()}
    chapters = sections(facts, Estimated(found, logged))
    tell(chapters)
    header = {"answers": facts.num_answers, "queries": facts.num_queries, "engine": engine.generation}
    title = "What other systems would have earned"
    return publish(out / "online-log.html", title, chapters, header, results, "online-log")


def _by_query(steps: Experiment, name: str, system: Any, asked: Sequence[str]) -> dict[str, list[str]]:
    """Return the ads that a system finds for each query, best first."""

    def answered() -> Answers:
        answers: Answers = system()
        return answers

    run = steps.run(name, answered).run
    found: dict[str, list[str]] = {query: [] for query in asked}
    for row, ad_id in zip(run.query_rows.tolist(), run.ad_ids.to_pylist(), strict=True):
        found[asked[int(run.query_ids[row])]].append(ad_id)
    return found
