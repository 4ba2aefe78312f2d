"""The columns of a catalog: the fields of ads, the names they go by in files, and how long values may be."""

from collections.abc import Sequence

import pyarrow as pa

from intently.catalog.fields import PAYLOAD_TYPE, SPANS_TYPE, Field
from intently.filters import MAX_LENGTH

AD_FIELDS = (
    Field(
        "ad_id",
        aliases=(
            "product_id",
            "doc_id",
            "item_id",
            "id",
            "_id",
            "offer_id",
            "sku",
            "sku_id",
            "item_sku",
            "product_sku",
            "unique_id",
            "aw_product_id",
            "merchant_product_id",
            "product_code",
            "item_number",
        ),
        required=True,
    ),
    Field(
        "title",
        aliases=(
            "product_title",
            "product_name",
            "ad_title",
            "headline",
            "headline_1",
            "title_1",
            "item_title",
            "ad_headline",
            "productname",
            "item_name",
            "name",
        ),
        required=True,
    ),
    Field(
        "description",
        aliases=("product_description", "text", "body_html", "body", "ad_text", "summary", "content", "ad_description"),
    ),
    Field("landing_text", aliases=("product_bullet_point",)),
    Field("landing_spans", kind="spans"),
    Field("keywords", kind="list", aliases=("keyword", "bid_keywords", "search_keywords", "keyword_text")),
    Field(
        "advertiser",
        aliases=("brand", "brands", "brand_name", "product_brand", "vendor", "manufacturer", "advertiser_name"),
    ),
    Field(
        "category",
        aliases=(
            "product_class",
            "product_type",
            "product_types",
            "product_category",
            "google_product_category",
            "fb_product_category",
            "categorytext",
            "category_name",
            "category_path",
            "categories",
            "merchant_category",
        ),
    ),
    Field(
        "bid",
        kind="number",
        aliases=(
            "bid_price",
            "max_cpc",
            "cpc_bid",
            "max_cpc_bid",
            "bid_amount",
            "max_bid",
            "default_max_cpc",
            "cpc_bid_amount",
        ),
    ),
    Field("status", aliases=("state",)),
    Field("countries", kind="list", aliases=("target_countries", "country_codes", "target_country")),
    Field("languages", kind="list", aliases=("content_language", "target_languages")),
    Field("devices", kind="list", aliases=("target_devices",)),
    Field("day_parts", kind="list", aliases=("dayparts", "day_parting")),
    Field("audiences", kind="list", aliases=("target_audiences",)),
    Field(
        "negative_keywords",
        kind="list",
        aliases=("negatives", "negative_keyword", "exclude_keywords", "excluded_keywords"),
    ),
    Field("negative_lists", kind="list", aliases=("negative_keyword_lists",)),
    Field("targeting"),
    Field("labels", kind="list"),
    Field("starts"),
    Field("ends"),
    Field("payload", kind="payload"),
)
TYPES = {
    "text": pa.string(),
    "number": pa.float64(),
    "list": pa.list_(pa.string()),
    "spans": SPANS_TYPE,
    "payload": PAYLOAD_TYPE,
}
SCHEMA = pa.schema([pa.field(field.name, TYPES[field.kind]) for field in AD_FIELDS])

MAX_LENGTHS = {
    "ad_id": 256, "title": 10_000, "description": 100_000, "landing_text": 100_000, "targeting": MAX_LENGTH
}  # fmt: skip
MAX_OTHER_LENGTH = 1_000
MAX_LIST_LENGTH = 1_000
MAX_SPANS_LENGTH = 100_000  # of all spans of an ad together, as long as `landing_text` may be


def concat_ads(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of all `tables` in `SCHEMA`, without empty chunks."""
    return pa.concat_tables([table for table in tables if table.num_rows] or [SCHEMA.empty_table()])
