"""Draws how ads are found for a query, by keywords and by intentions, from what an engine answers.

python docs/figures/intentions.py ENGINE docs/figures NAME "QUERY" [NAME "QUERY" …]

Writes NAME.svg for each query. Ink and lines are of middle brightness, so that they are readable on light and dark.
"""

import sys
from html import escape
from itertools import pairwise
from pathlib import Path

from intently import Engine, Request
from intently.types import Channel, Ranking

WIDTH, ROW, TOP = 860, 34, 48
INK, FOUND, FAINT = "#7a828c", "#0f9d8a", "#a0a6ad"
COLUMNS = (0, 290, 556)  # where query, keywords or intentions, and ads begin
WIDTHS = (232, 208, 304)
NUM_ADS, NUM_INTENTIONS = 3, 4


def main() -> None:
    """Write the drawings."""
    directory, out, *named = sys.argv[1:]
    engine = Engine.load(directory)
    for name, query in list(pairwise(named))[::2]:
        Path(out, f"{name}.svg").write_text(drawing(engine, query), encoding="utf-8")
        print(f"{name}.svg: {query}")


def drawing(engine: Engine, query: str) -> str:
    """Return the SVG of one query."""
    by_intention = engine.answer(Request(query, k=NUM_ADS, channel=Channel.INTENTION, explain=True))
    by_keyword = engine.answer(Request(query, k=NUM_ADS, channel=Channel.KEYWORD, explain=True))
    ads = [(ad.ad_id, dict(ad.reasons[0].evidence)) for ad in by_intention]
    weights: dict[str, float] = {}
    for _, evidence in ads:
        for text, share in evidence.items():
            weights[text] = weights.get(text, 0.0) + share
    best = sorted(weights, key=lambda text: -weights[text])[:NUM_INTENTIONS]
    most = max(max(evidence.values(), default=0.0) for _, evidence in ads)
    edges = [(at, to, ads[to][1].get(text, 0.0) / most) for at, text in enumerate(best) for to in range(len(ads))]
    upper = keywords(engine, query, by_keyword, TOP)
    second = TOP + ROW * max(sum("<rect" in part for part in upper) // 2, 1) + 46
    height = second + ROW * max(len(best), len(ads)) - 8
    parts = [heading(18, "by keywords: a bid keyword must match the query"), *upper]
    parts += [heading(second - 30, "by intentions: phrases for what is wanted lead to ads")]
    parts += flow(query, best, [title(engine, ad_id) for ad_id, _ in ads], edges, second, is_found=True)
    told = f"How ads are found for {query!r}, by keywords and by intentions"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" font-size="13" '
        f'font-family="system-ui, sans-serif"><title>{escape(told)}</title>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def keywords(engine: Engine, query: str, ranking: Ranking, top: int) -> list[str]:
    """Return the upper half: keywords that match, or those of the ads that intentions find, which do not."""
    if ranking.ads:
        told = [ad.reasons[0].evidence[0][0] for ad in ranking]
        titles = [title(engine, ad.ad_id) for ad in ranking]
        return flow(query, told, titles, [(at, at, 0.5) for at in range(len(told))], top, is_found=True)
    wanted = [engine.ad(ad.ad_id) for ad in engine.answer(Request(query, k=20, channel=Channel.INTENTION))]
    bids = [(ad.keywords[0], ad.title) for ad in wanted if ad and ad.keywords][:NUM_ADS]
    return flow(query, [word for word, _ in bids], [told for _, told in bids], [], top, is_found=False)


def flow(
    query: str, middle: list[str], right: list[str], edges: list[tuple[int, int, float]], top: int, *, is_found: bool
) -> list[str]:
    """Return boxes in three columns, and lines between them; without a match the lines are broken."""
    num = max(len(middle), len(right), 1)
    parts, color = [], FOUND if is_found else FAINT
    at_query = top + ROW * (num - 1) / 2
    for at in range(len(middle)):
        dashes = "" if is_found else ' stroke-dasharray="3 5"'
        parts.append(line(0, at_query, 1, top + ROW * at, 2.0, color, dashes))
        if not is_found:
            x = (COLUMNS[0] + WIDTHS[0] + COLUMNS[1]) / 2
            parts.append(label(x - 4, (at_query + top + ROW * at) / 2 + 4, "×", INK))
            parts.append(line(1, top + ROW * at, 2, top + ROW * at, 1.0, FAINT, dashes))
    for start, end, weight in edges:
        if weight > 0.02:
            parts.append(line(1, top + ROW * start, 2, top + ROW * end, 0.5 + 4.5 * weight, color, ""))
    parts.append(box(0, at_query, query, INK))
    parts += [box(1, top + ROW * at, text, color) for at, text in enumerate(middle)]
    parts += [box(2, top + ROW * at, text, color if is_found else FAINT) for at, text in enumerate(right)]
    return parts


def line(first: int, y: float, then: int, to: float, width: float, color: str, more: str) -> str:
    """Return a curve from one column to the next."""
    start, end = COLUMNS[first] + WIDTHS[first], COLUMNS[then]
    middle = (start + end) / 2
    path = f"M{start} {y:.0f} C{middle:.0f} {y:.0f} {middle:.0f} {to:.0f} {end} {to:.0f}"
    return f'<path d="{path}" fill="none" stroke="{color}" stroke-width="{width:.1f}" opacity="0.75"{more}/>'


def box(column: int, y: float, text: str, color: str) -> str:
    """Return a box with a text that fits into it."""
    x, width = COLUMNS[column], WIDTHS[column]
    return (
        f'<rect x="{x + 1}" y="{y - 13:.0f}" width="{width - 2}" height="26" rx="6" fill="none" stroke="{color}"/>'
        + label(x + 9, y + 4.5, fitting(text, width - 18), INK)
    )


def label(x: float, y: float, text: str, color: str) -> str:
    """Return a text."""
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{color}">{escape(text)}</text>'


def heading(y: float, text: str) -> str:
    """Return a heading."""
    return f'<text x="0" y="{y:.0f}" fill="{INK}" font-weight="600">{escape(text)}</text>'


def fitting(text: str, width: float) -> str:
    """Return the text, cut to about so many pixels."""
    spent = 0.0
    for at, char in enumerate(text):
        spent += 13.0 if ord(char) > 0x2E7F else 7.1
        if spent > width:
            return text[: at - 1].rstrip() + "…"
    return text


def title(engine: Engine, ad_id: str) -> str:
    """Return an ad's title."""
    ad = engine.ad(ad_id)
    return ad.title if ad else ad_id


if __name__ == "__main__":
    main()
