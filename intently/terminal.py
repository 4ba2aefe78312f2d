"""A ranking on the terminal: what was understood, what came, and why."""

import math

from rich.console import Console
from rich.markup import escape

from intently.catalog import Catalog
from intently.types import Channel, Ranking, Reason

_SHOWN_INTENTIONS = 6


def show_ranking(console: Console, catalog: Catalog, ranking: Ranking, *, explain: bool) -> None:
    """Print a ranking with its intentions; with `explain` also each ad's reasons and the time each stage took."""
    console.print(f"[bold]{escape(ranking.query)}[/bold]", soft_wrap=True)
    if ranking.intentions:
        told = [f"{each.text} {math.exp(each.log_prob):.2f}" for each in ranking.intentions[:_SHOWN_INTENTIONS]]
        console.print(f"  intentions  {escape(' · '.join(told))}", soft_wrap=True)
    if not ranking.ads:
        console.print("  no ads", soft_wrap=True)
    titles = catalog.column("title").take(catalog.ad_rows([ad.ad_id for ad in ranking.ads])).to_pylist()
    for ad, title in zip(ranking.ads, titles, strict=True):
        console.print(f"  {ad.rank:>3}  {escape(title)}  [dim]{escape(ad.ad_id)}[/dim]", soft_wrap=True)
        for reason in ad.reasons:
            console.print(f"       [dim]{escape(reason_in_words(reason))}[/dim]", soft_wrap=True)
    if explain:
        spent = ", ".join(f"{stage} {ms:.1f} ms" for stage, ms in ranking.timings_ms.items())
        console.print(f"  [dim]{spent}[/dim]", soft_wrap=True)


def reason_in_words(reason: Reason) -> str:
    """Return a reason as one readable line."""
    evidence = ", ".join(f"{name} {value:.2f}" for name, value in reason.evidence)
    by = {Channel.INTENTION: "by intention", Channel.DENSE: "by meaning", Channel.LEXICAL: "by words"}[reason.channel]
    return f"{by}, rank {reason.rank}: {evidence}"
