"""Google Ads: exports of its Editor, and reports of ads. Keywords and bids come from the rows of the ad groups.

The first headline is the title; the others begin the description. An ad takes the keywords of its ad group that are
enabled, and that group's bid. The Editor gives ads no ids, so they are named by campaign, ad group and a digest of what
is written on them.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from intently.catalog.layouts.layout import Reshaped, Row, first_of, sentences
from intently.catalog.serving import read_status
from intently.catalog.serving_words import ACTIVE, ENDED
from intently.catalog.targeting_values import country
from intently.errors import InputError
from intently.rules.keyword import is_negative

_MAX_ID = 200
# Columns of campaigns and ad groups that ads inherit, and those that decide nothing for them.
_USED = {
    "campaign_status", "ad_group_status", "status", "start_date", "campaign_start_date", "end_date",
    "campaign_end_date", "languages", "language", "max_cpc", "default_max_cpc", "location", "budget", "budget_type",
    "bid_strategy_type", "bid_strategy_name", "maximum_cpc_bid_limit", "approval_status", "max_cpm", "target_cpc",
}  # fmt: skip
# What tells a row of an asset or of targeting from that of a campaign or ad group, which has statuses and dates, too.
_OTHERS = (
    "link_text", "sitelink_text", "callout_text", "callout", "promotion_target", "structured_snippet", "snippet_values",
    "phone_number", "price_type", "lead_form", "app_id", "asset_name", "image_name", "business_name", "audience",
    "audience_segment", "user_list", "placement", "topic", "age", "gender", "household_income", "parental_status",
    "user_interest", "product_group", "dynamic_ad_target", "youtube_channel", "video_id", "ip_address",
)  # fmt: skip


@dataclass
class Group:
    """What an ad group gives its ads."""

    bid: str = ""
    keywords: list[str] = field(default_factory=list)
    negatives: list[str] = field(default_factory=list)
    num_bids: int = 0  # of keywords
    places: list[str] = field(default_factory=list)
    not_places: list[str] = field(default_factory=list)
    own: dict[str, str] = field(default_factory=dict)  # column → cell of rows of the campaign or group itself
    lists: list[str] = field(default_factory=list)  # shared lists of negative keywords


def reshape(lines: Sequence[int], rows: Sequence[Row]) -> Reshaped:
    """Return the ads of an export."""
    done = Reshaped()
    groups: dict[tuple[str, str], Group] = {}
    shared: dict[str, list[str]] = {}  # list → its negative keywords
    ads: list[tuple[int, Row]] = []
    for line, row in zip(lines, rows, strict=True):
        group = groups.setdefault(_key(row), Group())
        criterion = first_of(row, "criterion_type", "match_type", "type")
        if first_of(row, "headline_1", "headline", "long_headline"):
            ads.append((line, row))
        elif keyword := first_of(row, "keyword", "search_keyword", "keywords"):
            shared_name = first_of(row, "shared_set_name")
            status = read_status(first_of(row, "status", "keyword_status") or "enabled")
            if is_negative(criterion) and status == ENDED:
                done.others["negative keywords that are removed, passed over"] += 1
            elif is_negative(criterion):
                negatives = shared.setdefault(shared_name, []) if shared_name else group.negatives
                negatives += done.typed(line, keyword, criterion)
                done.others["negative keywords"] += 1
            elif status == ACTIVE:
                group.keywords += done.typed(line, keyword, criterion)
                group.num_bids += bool(first_of(row, "max_cpc"))
                done.others["keywords"] += 1
            else:
                done.others["keywords that are not enabled, passed over"] += 1
        elif place := first_of(row, "location"):
            (group.not_places if is_negative(criterion) else group.places).append(place)
            done.others["locations"] += 1
        elif name := first_of(row, "shared_set_name"):
            group.lists.append(name)
            done.others["shared lists of a campaign"] += 1
        elif kind := next((name for name in _OTHERS if first_of(row, name)), ""):
            done.others[f"rows of {kind.replace('_', ' ')}, not used"] += 1
        else:
            done.pass_over(row, _USED)
            group.bid = first_of(row, "max_cpc", "default_max_cpc") or group.bid
            group.own |= {name: cell for name, cell in row.items() if cell.strip() not in ("", "--", "[]")}
            done.others["ad groups" if row.get("ad_group", "").strip() else "campaigns and other rows"] += 1
    for group in groups.values():
        group.negatives += [text for name in dict.fromkeys(group.lists) for text in shared.get(name, ())]
    for line, row in ads:
        campaign, group = groups.get((_key(row)[0], ""), Group()), groups[_key(row)]
        done.add(line, _ad(row, group, campaign))
    if num := sum(group.num_bids for group in groups.values()):
        done.notes.append(f"bids of {num:,} keywords are not used: an ad has one bid, that of its ad group")
    unused = [place for group in groups.values() for place in (*group.not_places, *group.places)
              if place in group.not_places or not _are_countries(group.places)]  # fmt: skip
    if unused:
        told = ", ".join(unused[:3])
        done.notes.append(f"{len(unused):,} locations are not used, as not countries to serve in: {told}")
    return done


def _are_countries(places: Sequence[str]) -> bool:
    """Return whether there are places, and all of them are countries."""
    try:
        return bool([country(place) for place in places])
    except InputError:
        return False


def _inherited(campaign: Group, group: Group) -> dict[str, str]:
    """Return what the ads of a group take from its campaign and from itself."""
    places = group.places or campaign.places
    found = {
        "campaign_status": first_of(campaign.own, "campaign_status", "status"),
        "campaign_start_date": first_of(campaign.own, "start_date", "campaign_start_date"),
        "campaign_end_date": first_of(campaign.own, "end_date", "campaign_end_date"),
        "ad_group_status": first_of(group.own, "ad_group_status", "status"),
        "languages": first_of(group.own, "languages", "language") or first_of(campaign.own, "languages", "language"),
        "countries": "|".join(dict.fromkeys(places)) if _are_countries(places) else "",
    }
    return {name: cell for name, cell in found.items() if cell}


def _key(row: Row) -> tuple[str, str]:
    return row.get("campaign", "").strip(), row.get("ad_group", "").strip()


def _ad(row: Row, group: Group, campaign: Group) -> dict[str, object]:
    headlines = _numbered(row, "headline") or [first_of(row, "headline", "long_headline")]
    texts = _numbered(row, "description") + _numbered(row, "description_line") or [first_of(row, "description")]
    used = {name for name in row if re.fullmatch(r"(headline|description|description_line)(_\d+)?", name)}
    others = {name: cell for name, cell in row.items() if name not in used and cell.strip() not in ("", "--")}
    for name in ("keyword", "keywords", "criterion_type", "match_type"):
        others.pop(name, None)
    own_id = first_of(row, "ad_id", "id")
    negatives = campaign.negatives if campaign is not group else []
    ad: dict[str, object] = {
        **_inherited(campaign, group),
        **others,
        "ad_id": own_id or _made_id(row, headlines + texts),
        "title": headlines[0],
        "description": sentences(*headlines[1:], *texts),
        "keywords": "|".join(dict.fromkeys(group.keywords)),
        "bid": first_of(row, "max_cpc") or group.bid,
    }
    ad.pop("max_cpc", None)
    if group.negatives or negatives:
        return ad | {"negative_keywords": "|".join(dict.fromkeys((*group.negatives, *negatives)))}
    return ad


def _numbered(row: Row, name: str) -> list[str]:
    """Return the cells `name_1`, `name_2`, … that are not empty."""
    return [text for number in range(1, 31) if (text := first_of(row, f"{name}_{number}"))]


def _made_id(row: Row, texts: list[str]) -> str:
    written = "\n".join([*_key(row), first_of(row, "ad_type"), first_of(row, "final_url"), *texts])
    digest = hashlib.sha256(written.encode()).hexdigest()[:12]
    place = re.sub(r"\s+", " ", " / ".join(_key(row)))
    return f"{place} / {digest}" if len(place) <= _MAX_ID else digest
