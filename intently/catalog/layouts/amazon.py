"""Amazon Sponsored Products bulk files: a row for every campaign, ad group, product ad and keyword, told by `Entity`.

They name products by SKU and have no titles. A column with them has to be added, or one that is there named:
`--map "Ad Group Name=title"`.
"""

from collections.abc import Sequence

from intently.catalog.layouts.google_ads import Group
from intently.catalog.layouts.layout import Reshaped, Row, first_of
from intently.catalog.serving import read_status
from intently.catalog.serving_words import ACTIVE

_INFORMATIONAL = "_informational_only"
_USED = {
    "state", "status", "start_date", "end_date", "ad_group_default_bid", "daily_budget", "budget", "campaign_state",
    "ad_group_state", "bidding_strategy", "bid",
}  # fmt: skip


def _plain(row: Row) -> Row:
    """Return a row whose columns "for information only" have the names of the others, where those are empty."""
    told = {name.removesuffix(_INFORMATIONAL): cell for name, cell in row.items() if name.endswith(_INFORMATIONAL)}
    others = {name: cell for name, cell in row.items() if not name.endswith(_INFORMATIONAL)}
    return told | {name: cell for name, cell in others.items() if cell.strip() or name not in told}


def reshape(lines: Sequence[int], rows: Sequence[Row]) -> Reshaped:
    """Return the product ads of a bulk file."""
    done = Reshaped()
    groups: dict[str, Group] = {}
    campaigns: dict[str, Row] = {}
    group_rows: dict[str, Row] = {}
    ads: list[tuple[int, Row]] = []
    for line, row in zip(lines, map(_plain, rows), strict=True):
        kind, group_id = row.get("entity", "").strip().lower(), row.get("ad_group_id", "").strip()
        campaign_id = row.get("campaign_id", "").strip()
        group = groups.setdefault(group_id or f"campaign {campaign_id}", Group())
        if kind == "product ad":
            ads.append((line, row))
            continue
        if kind in ("campaign", "ad group"):
            done.pass_over(row, _USED)
        if kind == "campaign":
            campaigns[campaign_id] = row
        elif kind == "ad group":
            group_rows[group_id] = row
        is_served = read_status(first_of(row, "state", "status") or "enabled") == ACTIVE
        if "negative" in kind and not is_served:
            done.others["negative keywords that are not enabled, passed over"] += 1
            continue
        if "negative" in kind and row.get("keyword_text", "").strip():
            group.negatives += done.typed(line, row["keyword_text"], row.get("match_type", ""))
        elif kind == "keyword" and is_served:
            group.keywords += done.typed(line, row.get("keyword_text", ""), row.get("match_type", ""))
            group.num_bids += bool(first_of(row, "bid"))
        done.others[f"rows of {row.get('entity', '').strip() or 'no entity'}"] += 1
    for line, row in ads:
        campaign_id, group_id = row.get("campaign_id", "").strip(), row.get("ad_group_id", "").strip()
        campaign, group_row = campaigns.get(campaign_id, {}), group_rows.get(group_id, {})
        group = groups[group_id or f"campaign {campaign_id}"]
        negatives = [*group.negatives, *groups.get(f"campaign {campaign_id}", Group()).negatives]
        record = {name: cell for name, cell in row.items() if cell.strip()}
        for name, cell in (*group_row.items(), *campaign.items()):
            if name in ("ad_group_name", "campaign_name", "portfolio_id") and cell.strip():
                record.setdefault(name, cell)
        bid = first_of(row, "bid") or first_of(group_row, "ad_group_default_bid")
        record.pop("state", None)
        done.add(line, record | {
            "ad_id": first_of(row, "ad_id", "sku", "asin"),
            "keywords": "|".join(dict.fromkeys(group.keywords)),
            "negative_keywords": "|".join(dict.fromkeys(negatives)),
            "bid": bid,
            "status": first_of(row, "state", "status"),
            "ad_group_status": first_of(group_row, "state", "status"),
            "campaign_status": first_of(campaign, "state", "status"),
            "campaign_start_date": first_of(campaign, "start_date"),
            "campaign_end_date": first_of(campaign, "end_date"),
        })  # fmt: skip
    if num := sum(group.num_bids for group in groups.values()):
        done.notes.append(f"bids of {num:,} keywords are not used: an ad has one bid, that of its ad group")
    return done
