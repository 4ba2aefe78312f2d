"""Replays a log of queries: both sides answer every query, and what differs is counted, tested and explained.

queries, counted → answers of both sides → overlap, reach, groups → judged metrics, if there are judgements → cases
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa

from intently.arrays import Mask
from intently.catalog import Judgements, Qrels, Run
from intently.catalog.check import script_of
from intently.errors import InputError
from intently.evaluation.evaluation import evaluate_runs
from intently.evaluation.report import Report
from intently.market.experiments import rank_biased_overlap
from intently.replay.differences import Answered, Case, Group, Reach, Replay, ShownAd, Side
from intently.terminal import reason_in_words
from intently.types import Progress, Request, UserContext

NUM_CASES = 10  # worst, and as many best
NUM_REACHED = 10  # advertisers and categories that are told, of those that changed most
_SHOWN = 5  # ads of a case, a side
_BATCH = 64  # queries that both sides answer in turns
_LONGEST = 5  # words; longer queries are one group


def replay(
    queries: Iterable[str],
    before: Side,
    after: Side,
    *,
    k: int = 10,
    user: UserContext | None = None,
    judgements: Judgements | None = None,
    min_relevance: float | None = None,
    progress: Progress = lambda *_: None,
) -> Replay:
    """Return what changes for these queries, each as often as it was made, if `after` answers in place of `before`.

    With `judgements` (or clicks), queries are joined with them by their text, and the ten worst and ten best are those
    whose NDCG@k fell and rose most; without, those are told whose answers differ most. Both sides answer without the
    query log's users, or all for one `user`. Raises `InputError` if there is no query, a query that an engine refuses,
    or judgements that share no query with the log. Cost: two answers a query, and two explained ones a case.
    """
    requests = Counter(text.strip() for text in queries if text.strip())
    if not requests:
        raise InputError("there are no queries", cure="give at least one", field="queries")
    asked = [text for text, _ in requests.most_common()]
    sides = (before, after)
    answered = _answers(asked, requests, sides, k, user, progress)
    report, num_unknown = None, 0
    metric = f"NDCG@{k}"
    if judgements is not None:
        report, num_unknown = _judged(answered, judgements, k, min_relevance)
        answered = _valued(answered, judgements, report, metric)
    worst, best = _chosen(answered, is_judged=report is not None)
    grades = _grades_of(judgements)
    worst_cases, best_cases = (
        tuple(_case(each, sides, k, user, grades.get(each.query, {})) for each in chosen) for chosen in (worst, best)
    )
    return Replay(
        before=before.name,
        after=after.name,
        changed=_changed(before, after),
        k=k,
        total=_group("all", answered),
        groups=_groups(answered, sides),
        advertisers=_reach(answered, sides, _advertiser),
        categories=_reach(answered, sides, _category),
        worst=worst_cases,
        best=best_cases,
        metric=metric if report else "rank-biased overlap",
        judged=report,
        num_unknown=num_unknown,
    )


def _answers(
    asked: Sequence[str],
    requests: Mapping[str, int],
    sides: tuple[Side, Side],
    k: int,
    user: UserContext | None,
    progress: Progress,
) -> list[Answered]:
    answered: list[Answered] = []
    for start in range(0, len(asked), _BATCH):
        batch = asked[start : start + _BATCH]
        found = [
            [tuple(ad.ad_id for ad in ranking) for ranking in side.engine.answer_many(_asked(batch, side, k, user))]
            for side in sides
        ]
        for text, first, then in zip(batch, *found, strict=True):
            longest = max(len(first), len(then))
            overlap = len({*first} & {*then}) / longest if longest else 1.0
            biased = rank_biased_overlap(first, then)
            answered.append(Answered(text, requests[text], first, then, overlap, biased))
        progress("Replaying", len(answered), len(asked), "queries")
    return answered


def _asked(texts: Sequence[str], side: Side, k: int, user: UserContext | None) -> list[Request]:
    return [Request(text, k, user, side.channel) for text in texts]


def _judged(
    answered: Sequence[Answered], judgements: Judgements, k: int, min_relevance: float | None
) -> tuple[Report, int]:
    """Return all metrics of both sides on the judged queries of the log, and how many the log does not have."""
    at = {each.query: each for each in answered}
    texts = [text.strip() for text in judgements.queries]
    known = np.array([text in at for text in texts])
    if not known.any():
        told = f"the log and the judgements share no query: {answered[0].query!r}, {texts[0]!r}"
        raise InputError(told, cure="give judgements of queries of the log, written in the same way")
    qrels = _of_queries(judgements, known)
    pairs = [
        (query_id, at[text])
        for query_id, text, is_known in zip(judgements.query_ids, texts, known, strict=True)
        if is_known
    ]
    answers = {
        "before": [(query_id, each.before) for query_id, each in pairs],
        "after": [(query_id, each.after) for query_id, each in pairs],
    }
    runs = {
        name: Run.build((query_id, ads, [-rank for rank in range(len(ads))]) for query_id, ads in each)
        for name, each in answers.items()
    }
    report = evaluate_runs(runs, qrels, min_relevance=min_relevance, k=k, hit_rate_k=k, must_share=False)
    return report, int((~known).sum())


def _of_queries(judgements: Judgements, known: Mask) -> Qrels:
    """Return the judgements of the queries (Q,) where `known` holds, as if there were no others."""
    mask, number = known[judgements.query_rows], np.cumsum(known) - 1
    ids = tuple(np.array(judgements.query_ids, object)[known].tolist())
    ad_ids = judgements.ad_ids.filter(pa.array(mask))
    return Qrels(ids, number[judgements.query_rows[mask]], ad_ids, judgements.values[mask], judgements.kind)


def _valued(answered: Sequence[Answered], judgements: Judgements, report: Report, metric: str) -> list[Answered]:
    text_of = dict(zip(judgements.query_ids, (text.strip() for text in judgements.queries), strict=True))
    columns = [report.runs[name].per_query[metric].tolist() for name in ("before", "after")]
    values = {
        text_of[query_id]: pair
        for query_id, *pair in zip(report.query_ids, *columns, strict=True)
        if not np.isnan(pair).any()
    }
    return [
        replace(each, value_before=values[each.query][0], value_after=values[each.query][1])
        if each.query in values
        else each
        for each in answered
    ]


def _chosen(answered: Sequence[Answered], *, is_judged: bool) -> tuple[list[Answered], list[Answered]]:
    """Return the queries to be shown side by side: worst, best."""
    if not is_judged:
        differing = [each for each in answered if each.before != each.after]
        return sorted(differing, key=lambda each: (each.rank_biased_overlap, -each.requests))[:NUM_CASES], []
    gained = sorted((each for each in answered if each.gain), key=lambda each: (each.gain or 0.0, -each.requests))
    worst = [each for each in gained if (each.gain or 0.0) < 0][:NUM_CASES]
    best = [each for each in reversed(gained) if (each.gain or 0.0) > 0][:NUM_CASES]
    return worst, best


def _grades_of(judgements: Judgements | None) -> dict[str, dict[str, float]]:
    grades: dict[str, dict[str, float]] = {}
    if judgements is not None:
        columns = (judgements.query_rows.tolist(), judgements.ad_ids.to_pylist(), judgements.values.tolist())
        for row, ad_id, value in zip(*columns, strict=True):
            grades.setdefault(judgements.queries[row].strip(), {})[ad_id] = value
    return grades


def _case(
    answered: Answered, sides: tuple[Side, Side], k: int, user: UserContext | None, grades: Mapping[str, float]
) -> Case:
    """Return a query side by side; of each ad that the other side lacks, why it does."""
    columns = []
    for at, shown in enumerate((answered.before, answered.after)):
        own, other = sides[at], sides[1 - at]
        others = (answered.after, answered.before)[at]
        (request,) = _asked([answered.query], own, k, user)
        ranking = own.engine.answer(replace(request, explain=True))
        gone = [ad_id for ad_id in shown[:_SHOWN] if ad_id not in others]
        (request,) = _asked([answered.query], other, k, user)
        verdicts = other.engine.explain(request, gone) if gone else ()
        missing = {verdict.ad_id: verdict.told for verdict in verdicts}
        columns.append(
            tuple(
                ShownAd(
                    ad.ad_id,
                    _title(own, ad.ad_id),
                    tuple(filter(None, map(reason_in_words, ad.reasons))),
                    missing.get(ad.ad_id, ""),
                    grades.get(ad.ad_id),
                )
                for ad in ranking.ads[:_SHOWN]
            )
        )
    return Case(answered, *columns)


def _title(side: Side, ad_id: str) -> str:
    ad = side.engine.ad(ad_id)
    return ad.title if ad else ""


def _group(name: str, answered: Sequence[Answered]) -> Group:
    weights = np.array([each.requests for each in answered], np.float64)

    def mean(of: Callable[[Answered], float]) -> float:
        return float(np.average([of(each) for each in answered], weights=weights))

    gains = [each.gain for each in answered if each.gain is not None]
    return Group(
        name,
        len(answered),
        int(weights.sum()),
        mean(lambda each: each.before == each.after),
        mean(lambda each: each.overlap),
        mean(lambda each: each.rank_biased_overlap),
        mean(lambda each: not each.before),
        mean(lambda each: not each.after),
        len(gains),
        float(np.mean(gains)) if gains else None,
    )


def _groups(answered: Sequence[Answered], sides: tuple[Side, Side]) -> dict[str, tuple[Group, ...]]:
    reader = sides[0].engine.read

    def length(each: Answered) -> str:
        num = len(reader(each.query).words)
        return f"{num}" if num < _LONGEST else f"{_LONGEST} and more"

    def vertical(each: Answered) -> str:
        shown = [(sides[0], ad_id) for ad_id in each.before[:1]] or [(sides[1], ad_id) for ad_id in each.after[:1]]
        return next((_category(*ad) for ad in shown), "") or "none"

    kinds: dict[str, Callable[[Answered], str]] = {
        "language": lambda each: script_of(each.query),
        "words": length,
        "vertical": vertical,
    }
    found = {}
    for kind, of in kinds.items():
        members: dict[str, list[Answered]] = {}
        for each in answered:
            members.setdefault(of(each), []).append(each)
        groups = [_group(name, some) for name, some in members.items()]
        by = (lambda group: group.name) if kind == "words" else (lambda group: -group.num_requests)
        found[kind] = tuple(sorted(groups, key=by))
    return found


def _advertiser(side: Side, ad_id: str) -> str:
    ad = side.engine.ad(ad_id)
    return ad.advertiser if ad else ""


def _category(side: Side, ad_id: str) -> str:
    ad = side.engine.ad(ad_id)
    return ad.category.split(" > ")[0] if ad else ""


def _reach(answered: Sequence[Answered], sides: tuple[Side, Side], of: Callable[[Side, str], str]) -> tuple[Reach, ...]:
    """Return what gained or lost most among the first k, the largest change first."""
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for each in answered:
        for side, shown, count in zip(sides, (each.before, each.after), counts, strict=True):
            for ad_id in shown:
                count[of(side, ad_id)] += each.requests
    names = {*counts[0], *counts[1]} - {""}
    reached = [Reach(name, counts[0][name], counts[1][name]) for name in names]
    changed = [each for each in reached if each.before != each.after]
    return tuple(sorted(changed, key=lambda each: (-abs(each.after - each.before), each.name))[:NUM_REACHED])


def _changed(before: Side, after: Side) -> tuple[str, ...]:
    told = [f"channel: {before.channel}, then {after.channel}"] if before.channel != after.channel else []
    first, then = (_flat(asdict(side.engine.settings)) for side in (before, after))
    return (*told, *(f"{name}: {first[name]}, then {then[name]}" for name in first if first[name] != then[name]))


def _flat(settings: Mapping[str, object], path: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{path}{name}.") if isinstance(value, Mapping) else {path + name: value}
    return flat
