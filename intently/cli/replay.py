"""The command that replays a log of queries against two engines or settings of one."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intently.cli.parts import Part, markdown, page, show
from intently.cli.shared import SettingsFile, err, need_engine, out, print_json
from intently.errors import InputError
from intently.files import write_text
from intently.progress import StageProgress
from intently.types import Channel

if TYPE_CHECKING:
    from intently.catalog import Judgements, Queries
    from intently.replay import Case, Group, Reach, Replay, ShownAd, Side

_KINDS = {"language": "By script of the query", "words": "By length of the query, in words", "vertical": "By vertical"}
_MOST_GROUPS = 12


def replay(
    before: Annotated[Path, typer.Argument(help="The engine as it is: a directory.", show_default=False)],
    after: Annotated[
        Path | None, typer.Argument(help="The engine that may take its place. Default: the same.", show_default=False)
    ] = None,
    queries: Annotated[
        str,
        typer.Option(help="The log: one query a line, TSV, or a file of judgements; - for standard input."),
    ] = "-",
    judgements: Annotated[
        Path | None, typer.Option(help="Judgements or clicks of some of the queries.", show_default=False)
    ] = None,
    min_relevance: Annotated[
        float | None, typer.Option(help="Relevance from which an ad counts. Default: the upper third of the scale.")
    ] = None,
    before_generation: Annotated[str | None, typer.Option(help="A generation of BEFORE; default: the current.")] = None,
    after_generation: Annotated[str | None, typer.Option(help="A generation of AFTER; default: the current.")] = None,
    settings: SettingsFile = None,
    channel: Annotated[Channel, typer.Option(help="Which channel answers.")] = Channel.FUSED,
    after_channel: Annotated[
        Channel | None, typer.Option(help="Which channel of AFTER answers, if another.", show_default=False)
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Ads a query.")] = 10,
    most: Annotated[int, typer.Option(min=1, help="How many of the queries, the most frequent first.")] = 5_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write an HTML page.", show_default=False)] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Write a Markdown file.", show_default=False)
    ] = None,
) -> None:
    """Replay a log of queries against two engines, or two settings of one: what changes, for whom, and why.

    --settings names a TOML file whose table [retrieval] AFTER answers by.
    """
    need_engine()
    from intently.catalog import read_queries
    from intently.replay import replay as replayed

    asked = read_queries(queries)
    judged = _judgements(judgements, asked) if judgements else None
    sides = _sides(before, after or before, before_generation, after_generation, settings, channel, after_channel)
    chosen, left_out = _most_frequent(asked.texts, most)
    with StageProgress(err) as progress:
        found = replayed(chosen, *sides, k=k, judgements=judged, min_relevance=min_relevance, progress=progress)
    if left_out:
        err.print(f"{left_out:,} rarer queries were left out; --most {most + left_out} takes all", soft_wrap=True)
    told = report(found)
    if as_json:
        print_json(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
    else:
        show(out, told)
    for path, text in ((html, page), (markdown_file, markdown)):
        if path:
            write_text(path, text(told))
            err.print(f"{path}: written", soft_wrap=True)


def _judgements(path: Path, asked: "Queries") -> "Judgements":
    from intently.catalog import read_judgements

    try:
        return read_judgements(path)
    except InputError:  # it may name queries by the ids of the log
        return read_judgements(path, queries=asked)


def _sides(
    before: Path,
    after: Path,
    before_generation: str | None,
    after_generation: str | None,
    settings: Path | None,
    channel: Channel,
    after_channel: Channel | None,
) -> "tuple[Side, Side]":
    """Return both sides. An engine that both share is loaded once."""
    from intently.engine.engine import Engine
    from intently.engine.settings import RetrievalSettings
    from intently.replay import Side
    from intently.settings import from_mapping, read_toml

    def load(directory: Path, generation: str | None) -> Engine:
        return Engine.load(directory, generation=generation, num_threads=os.cpu_count())

    first = load(before, before_generation)
    is_same = before.resolve() == after.resolve() and after_generation in (None, before_generation, first.generation)
    then = first if is_same else load(after, after_generation)
    if settings:
        content = read_toml(settings)
        if unknown := sorted(content.keys() - {"retrieval"}):
            told = f"the table {unknown[0]!r} is about how an engine is built"
            raise InputError(told, cure="give [retrieval] alone, or build another engine", path=settings)
        changed = from_mapping(RetrievalSettings, content.get("retrieval", {}), str(settings), then.settings)
        then = then.varied(changed)
    other = after_channel or channel
    if is_same and first.settings == then.settings and other == channel:
        cure = "name another engine, generation or channel, or settings that differ"
        raise InputError("both sides are the same engine", cure=cure, field="AFTER")
    names = [f"{before} {first.generation}", f"{after} {then.generation}" + (f" with {settings}" if settings else "")]
    return Side(names[0].strip(), first, channel), Side(names[1].strip(), then, other)


def _most_frequent(texts: Sequence[str], most: int) -> tuple[list[str], int]:
    """Return the most frequent queries, each as often as it was made, and how many distinct ones are left out."""
    from collections import Counter

    counts = Counter(text.strip() for text in texts)
    kept = {text for text, _ in counts.most_common(most)}
    return [text for text in texts if text.strip() in kept], len(counts) - len(kept)


def report(found: "Replay") -> list[Part]:
    """Return the parts of the report."""
    total = found.total
    lines = [
        f"before: {found.before}",
        f"after: {found.after}",
        *(f"setting {each}" for each in found.changed),
        f"the same {found.k} ads in the same order: {total.identical_share:.1%} of requests",
        f"shared ads: {total.mean_overlap:.1%}; rank-biased overlap {total.mean_rank_biased_overlap:.3f}",
        f"without any ad: {total.unanswered_before:.1%} of requests, then {total.unanswered_after:.1%}",
    ]
    parts = [Part(f"{total.num_queries:,} queries, {total.num_requests:,} requests replayed", lines)]
    if found.judged:
        parts.append(_metrics(found))
    for kind, groups in found.groups.items():
        parts.append(_group_part(_KINDS[kind], kind, groups, is_judged=found.judged is not None))
    for title, reached in (("Advertisers", found.advertisers), ("Verticals", found.categories)):
        if reached:
            parts.append(_reach_part(f"{title} whose ads are shown more, or less", title.lower()[:-1], reached))
    worst = f"that lost most by {found.metric}" if found.judged else "whose answers differ most"
    for which, cases in ((worst, found.worst), (f"that gained most by {found.metric}", found.best)):
        if cases:
            parts.append(Part(f"Queries {which}"))
            parts += [_case_part(case, found.metric) for case in cases]
    return parts


def _metrics(found: "Replay") -> Part:
    assert found.judged
    means = {name: run.means() for name, run in found.judged.runs.items()}
    tests = {each.metric: each for each in found.comparisons}
    rows = []
    for metric in found.judged.metrics:
        test = tests.get(metric)
        told = (
            (f"{test.difference:+.4f} ({test.low:+.4f} to {test.high:+.4f})", f"{test.p_value:.4f}")
            if test
            else ("", "")
        )
        rows.append((metric, f"{means['before'][metric]:.4f}", f"{means['after'][metric]:.4f}", *told))
    lines = [found.judged.note()]
    if found.num_unknown:
        lines.append(f"{found.num_unknown:,} judged queries are not in the log")
    columns = ("metric", "before", "after", "difference (95%)", "p")
    return Part("Judged queries", lines, columns=columns, rows=rows)


def _group_part(title: str, kind: str, groups: "Sequence[Group]", *, is_judged: bool) -> Part:
    columns = [
        kind,
        "queries",
        "requests",
        "same",
        "shared",
        "none",
        "then",
        *(["judged", "gain"] if is_judged else []),
    ]
    rows = [
        [
            each.name,
            f"{each.num_queries:,}",
            f"{each.num_requests:,}",
            f"{each.identical_share:.1%}",
            f"{each.mean_overlap:.1%}",
            f"{each.unanswered_before:.1%}",
            f"{each.unanswered_after:.1%}",
            *(
                [f"{each.num_judged:,}", "" if each.mean_gain is None else f"{each.mean_gain:+.4f}"]
                if is_judged
                else []
            ),
        ]
        for each in groups[:_MOST_GROUPS]
    ]
    lines = ["same: requests with the same answer; shared: of the ads; none: requests without any ad, before and after"]
    if (left_out := len(groups) - _MOST_GROUPS) > 0:
        lines.append(f"the {_MOST_GROUPS} largest; {left_out:,} more")
    return Part(title, lines, columns=columns, rows=rows)


def _reach_part(title: str, kind: str, reached: "Sequence[Reach]") -> Part:
    rows = [(each.name, f"{each.before:,}", f"{each.after:,}", f"{each.after - each.before:+,}") for each in reached]
    return Part(title, columns=(kind, "before", "after", "change"), rows=rows)


def _case_part(case: "Case", metric: str) -> Part:
    answered = case.answered
    told = f"{answered.requests:,} requests; " if answered.requests > 1 else ""
    told += f"rank-biased overlap {answered.rank_biased_overlap:.3f}"
    if answered.value_before is not None and answered.value_after is not None:
        told += f"; {metric} {answered.value_before:.3f}, then {answered.value_after:.3f}"
    num = max(len(case.before), len(case.after))
    rows = [
        (
            str(at + 1),
            *(_told(side[at]) if at < len(side) else "" for side in (case.before, case.after)),
        )
        for at in range(num)
    ]
    return Part(f"“{answered.query}”", [told], columns=("", "before", "after"), rows=rows)


def _told(ad: "ShownAd") -> str:
    grade = "" if ad.grade is None else f" (judged {ad.grade:g})"
    lines = [f"{ad.title} [{ad.ad_id}]{grade}", *ad.reasons]
    if ad.missing:
        lines.append(f"the other does not show it: {ad.missing}")
    return "\n".join(lines)
