"""Microsoft Advertising bulk files: a row for every campaign, ad group, ad and keyword, told apart by `Type`."""

import json
import re
from collections.abc import Sequence

from intently.catalog.layouts.google_ads import Group
from intently.catalog.layouts.layout import Reshaped, Row, first_of, sentences
from intently.catalog.serving import read_status
from intently.catalog.serving_words import ACTIVE

_TEXTS = {
    "type", "status", "id", "title", "title_part_1", "title_part_2", "title_part_3", "text", "text_part_2", "headline",
    "description", "keyword", "match_type", "bid", "name",
}  # fmt: skip
_USED = {
    "status", "start_date", "end_date", "language", "bid", "search_bid", "cpc_bid", "budget", "budget_type",
    "bid_strategy_type", "campaign_status", "ad_group_status", "editorial_status", "time_zone", "country_code",
}  # fmt: skip


def reshape(lines: Sequence[int], rows: Sequence[Row]) -> Reshaped:
    """Return the ads of a bulk file."""
    done = Reshaped()
    groups: dict[str, Group] = {}
    parents: dict[str, Row] = {}  # campaigns and ad groups by id
    ads: list[tuple[int, Row]] = []
    for line, row in zip(lines, rows, strict=True):
        kind, parent = row.get("type", "").strip().lower(), row.get("parent_id", "").strip()
        group = groups.setdefault(parent, Group())
        if kind.endswith(" ad") or kind == "ad":
            ads.append((line, row))
        elif "negative" in kind and read_status(first_of(row, "status") or "active") != ACTIVE:
            done.others["negative keywords that are not active, passed over"] += 1
        elif kind.endswith("negative keyword list association"):
            group.lists.append(row.get("id", "").strip())
            done.others["shared lists of a campaign"] += 1
        elif "negative" in kind and row.get("keyword", "").strip():
            group.negatives += done.typed(line, row["keyword"], row.get("match_type", ""))
            done.others["negative keywords"] += 1
        elif kind == "keyword":
            is_active = read_status(first_of(row, "status") or "active") == ACTIVE
            if is_active:
                group.keywords += done.typed(line, row.get("keyword", ""), row.get("match_type", ""))
                group.num_bids += bool(first_of(row, "bid"))
            done.others["keywords" if is_active else "keywords that are not active, passed over"] += 1
        else:
            if kind in ("campaign", "ad group"):
                done.pass_over(row, _USED)
                parents[row.get("id", "").strip()] = row
            done.others[f"rows of {row.get('type', '').strip() or 'no type'}"] += 1
    shared = {name: group.negatives for name, group in groups.items()}
    for group in groups.values():
        group.negatives = [*group.negatives, *(text for name in group.lists for text in shared.get(name, ()))]
    for line, row in ads:
        group_row = parents.get(row.get("parent_id", "").strip(), {})
        campaign = parents.get(group_row.get("parent_id", "").strip(), {})
        group = groups[row.get("parent_id", "").strip()] if row.get("parent_id", "").strip() else Group()
        negatives = [*group.negatives, *groups.get(group_row.get("parent_id", "").strip() or "-", Group()).negatives]
        titles = [first_of(row, name) for name in ("title_part_1", "title_part_2", "title_part_3")]
        titles = [text for text in [*titles, *_assets(row.get("headline", "")), first_of(row, "title")] if text]
        texts = [first_of(row, "text"), first_of(row, "text_part_2"), *_assets(row.get("description", ""))]
        record = {name: cell for name, cell in row.items() if name not in _TEXTS and cell.strip()}
        done.add(line, record | {
            "ad_id": first_of(row, "id"),
            "title": titles[0] if titles else "",
            "description": sentences(*titles[1:], *texts),
            "keywords": "|".join(dict.fromkeys(group.keywords)),
            "negative_keywords": "|".join(dict.fromkeys(negatives)),
            "bid": first_of(group_row, "bid", "search_bid", "cpc_bid"),
            "status": first_of(row, "status"),
            "ad_group_status": first_of(group_row, "status"),
            "ad_group_start_date": first_of(group_row, "start_date"),
            "ad_group_end_date": first_of(group_row, "end_date"),
            "languages": first_of(group_row, "language") or first_of(campaign, "language"),
            "campaign_status": first_of(campaign, "status"),
        })  # fmt: skip
    targeting = [kind for kind in done.others if re.search("Criterion|Target", kind)]
    if targeting:
        done.notes.append(f"targeting in rows of their own is not used: {', '.join(targeting)}")
    if num := sum(group.num_bids for group in groups.values()):
        done.notes.append(f"bids of {num:,} keywords are not used: an ad has one bid, that of its ad group")
    return done


def _assets(cell: str) -> list[str]:
    """Return the texts of a responsive ad, which are written in JSON, or the cell itself."""
    if not cell.strip().startswith("["):
        return [cell.strip()] if cell.strip() else []
    try:
        found = json.loads(cell)
    except ValueError:
        return [cell.strip()]
    texts = [each.get("text") or each.get("asset", {}).get("text") for each in found if isinstance(each, dict)]
    return [text for text in texts if isinstance(text, str) and text.strip()]
