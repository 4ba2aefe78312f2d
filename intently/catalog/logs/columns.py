"""The names that columns of logs go by, and what tells a log from a file of judgements.

A log has a row an event or a row a pair and period. Which it is, its columns say:

| layout | columns beside query and ad | a row |
|---|---|---|
| events | `event` (impression, click, conversion), and `count` | an event, or `count` of them |
| counts | `clicks`, and `impressions`, `conversions`, `session`, `position` or a time | how often clicked |
| report | as counts, the query called search term | a search term and its clicks |
| UBI | `action_name` and `event_attributes`, or `user_query` and `query_response_hit_ids` | see `ubi` |
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from intently.catalog.fields import Field, fold_name

EVENT = Field("event", aliases=("event_type", "event_name", "action", "action_name", "action_type", "事件", "行为"))
SESSION = Field(
    "session",
    aliases=(
        "session_id", "sessionid", "sid", "visit_id", "search_id", "request_id", "user_id", "userid", "uid", "user",
        "visitor_id", "visitorid", "client_id", "anonymous_id", "cookie_id", "device_id", "会话", "会话id", "用户id",
    ),
)  # fmt: skip
POSITION = Field(
    "position",
    kind="number",
    aliases=("pos", "slot", "ad_position", "rank", "ordinal", "event_attributes_position_ordinal", "位置"),
)
IMPRESSIONS = Field(
    "impressions",
    kind="number",
    aliases=(
        "impr",
        "impr.",
        "num_impressions",
        "impression_count",
        "shown",
        "展现",
        "展现量",
        "曝光",
        "曝光量",
        "展示次数",
    ),
)
CONVERSIONS = Field(
    "conversions",
    kind="number",
    aliases=(
        "num_conversions",
        "orders",
        "purchases",
        "7_day_total_orders_(#)",
        "14_day_total_orders_(#)",
        "转化",
        "转化量",
    ),
)
# How many events a row of counted events stands for.
COUNT = Field("count", kind="number", aliases=("event_count", "events", "num_events", "total_events", "次数", "事件数"))
BOT = Field(
    "bot",
    kind="word",
    aliases=(
        "is_bot", "is_robot", "robot", "is_crawler", "crawler", "is_spam", "spam", "is_fraud", "fraud", "is_invalid",
        "invalid_click", "invalid_traffic", "is_internal", "is_test", "is_test_traffic",
    ),
)  # fmt: skip
TIMES = frozenset(
    ("timestamp", "ts", "time", "datetime", "event_time", "event_timestamp", "date", "created_at", "时间")
)
SEARCH_TERMS = ("search_term", "customer_search_term", "search_query", "searchquery", "matched_search_term", "搜索词")

_CLICK = """
click clicks clicked ad_click product_click item_click result_click click_through clickthrough tap open select_item
ad_clicked product_clicked item_clicked result_clicked click_event
search_result_click search_click clickout click_out 点击
"""
_IMPRESSION = """
impression impressions impress ad_impression shown show show_ad display displayed served exposure view viewed
view_item_list product_list_viewed product_impression product_impressions ad_shown ad_served result_impression render
曝光 展示 展现
"""
_CONVERSION = """
conversion conversions converted purchase purchased order ordered buy bought checkout transaction sale add_to_cart
addtocart cart atc product_added added_to_cart product_added_to_cart order_completed order_placed checkout_completed
转化 购买 下单 加购
"""
Happened = Literal["click", "impression", "conversion"]
_WORDS: dict[Happened, str] = {"click": _CLICK, "impression": _IMPRESSION, "conversion": _CONVERSION}
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words.split()}
EXAMPLES = "impression, click, conversion, purchase, add_to_cart"  # of events that are understood


def what_happened(event: str) -> Happened | None:
    """Return what an event is, None for one that says nothing about an ad (a search, a hover, a login)."""
    return _KINDS.get(fold_name(event))


@dataclass(frozen=True, slots=True)
class Layout:
    """How a log is laid out, and which of its columns nobody reads."""

    kind: Literal["events", "counts", "ubi"]
    is_report: bool = False  # of an advertising platform: with totals, counts with separators, and no sessions


# What reports write for queries that they keep back, and dumps of databases for none; "null" may be a user's word.
NO_QUERIES = ("(not set)", "(not provided)", "(other)", "(none)", "NULL", "\\N", "<null>")


def layout_of(header: Sequence[str], clicks: Iterable[str]) -> Layout | None:
    """Return how the file with these column names is a log, None if it is none; `clicks` are the names of clicks."""
    names = {fold_name(name) for name in header if name.strip()}
    if {"action_name", "event_attributes"} <= names or {"user_query", "query_response_hit_ids"} <= names:
        return Layout("ubi")
    if "_source" in names and "_index" in names:  # as dumps of OpenSearch and Elasticsearch wrap them
        return Layout("ubi")
    if not names.isdisjoint(EVENT.columns):
        return Layout("events")
    is_report = not names.isdisjoint(SEARCH_TERMS)
    beside = {*IMPRESSIONS.columns, *CONVERSIONS.columns, *SESSION.columns, *POSITION.columns, *TIMES}
    if not names.isdisjoint(clicks) and (is_report or not names.isdisjoint(beside)):
        return Layout("counts", is_report)
    return None
