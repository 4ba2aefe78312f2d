"""What the terminal shows: a ranking with what was understood, what came, and why; and text that is safe to show."""

import math
import os
import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.text import Text

from intently.catalog import Catalog
from intently.types import Channel, Ranking, Reason

CLOSED_PIPE = 141  # the exit code of a program that writes to a closed pipe: 128 + SIGPIPE

_SHOWN_INTENTIONS = 6
_SHOWN_SHARE = 0.1  # of the first one's probability that an intention needs to be shown
# Control characters, which a terminal obeys, and marks that turn the direction of what follows.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


def visible(text: str) -> str:
    """Return `text` with characters that a terminal would obey written as escapes, but for tabs and line feeds."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class SafeConsole(Console):
    """A console that shows text as it is: no markup, no emoji codes, and nothing that the terminal would obey."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: Any = None) -> Iterable[Segment]:
        """Yield the segments of what is printed, without control characters in its text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))

    def on_broken_pipe(self) -> None:
        """End the program as others end that write to a closed pipe."""
        silence_output()
        raise SystemExit(CLOSED_PIPE)


def silence_output() -> None:
    """Send standard output nowhere, so that flushing it at the end of the program does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_ranking(console: Console, catalog: Catalog, ranking: Ranking, *, explain: bool) -> None:
    """Print a ranking with its intentions; with `explain` also each ad's reasons and the time each stage took."""

    def show(*parts: str | tuple[str, str]) -> None:
        console.print(Text.assemble(*(_line(part) for part in parts)), soft_wrap=True)

    show((ranking.query, "bold"))
    if ranking.intentions:
        least = ranking.intentions[0].log_prob + math.log(_SHOWN_SHARE)
        shown = [each for each in ranking.intentions[:_SHOWN_INTENTIONS] if each.log_prob >= least]
        show(f"  intentions  {' · '.join(f'{each.text} {math.exp(each.log_prob):.2f}' for each in shown)}")
    if not ranking.ads:
        show("  no ads")
    titles = catalog.column("title").take(catalog.ad_rows([ad.ad_id for ad in ranking.ads])).to_pylist()
    for ad, title in zip(ranking.ads, titles, strict=True):
        told = ad.ad_id if ad.relevance is None else f"{ad.ad_id}  relevance {ad.relevance:.2f}"
        show(f"  {ad.rank:>3}  {title}  ", (told, "dim"))
        for name, value in ad.payload.items():
            show((f"       {name}: {'' if value is None else value}", "dim"))
        for reason in ad.reasons:
            if told_reason := reason_in_words(reason):
                show((f"       {told_reason}", "dim"))
    if explain:
        spent = ", ".join(f"{stage} {ms:.1f} ms" for stage, ms in ranking.timings_ms.items())
        show((f"  {spent}", "dim"))


def reason_in_words(reason: Reason) -> str:
    """Return a reason as one readable line, "" for one whose contributions all round to 0.00."""
    shown = [(name, value) for name, value in reason.evidence if f"{abs(value):.2f}" != "0.00"]
    if reason.evidence and not shown:
        return ""
    evidence = ", ".join(f"{name} {value:.2f}" for name, value in shown)
    if reason.channel is Channel.KEYWORD:
        return f"by keyword, rank {reason.rank}: {', '.join(name for name, _ in shown)}"
    by = {Channel.INTENTION: "by intention", Channel.DENSE: "by meaning", Channel.LEXICAL: "by words"}[reason.channel]
    return f"{by}, rank {reason.rank}: {evidence}"


def _line(part: str | tuple[str, str]) -> tuple[str, str]:
    """Return a part of a line, which may hold no line breaks, with its style."""
    text, style = part if isinstance(part, tuple) else (part, "")
    return visible(text.replace("\n", " ").replace("\t", " ")), style
