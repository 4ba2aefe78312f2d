"""The exports that are known by their columns, the most special first."""

from intently.catalog.layouts import amazon, google_ads, microsoft, shops
from intently.catalog.layouts.layout import Layout, Reshaped, marks

_CLICKS = "pass it as --clicks beside the file of ads"

LAYOUTS = (
    Layout(
        "amazon-bulk", "Amazon Sponsored Products bulk file",
        marks("entity campaign_id ad_group_id sku", "entity operation campaign_id"), reshape=amazon.reshape,
    ),
    Layout(
        "microsoft-bulk", "Microsoft Advertising bulk file",
        marks("type parent_id id status campaign", "type parent_id id status ad_group"), reshape=microsoft.reshape,
    ),
    Layout(
        "google-ads", "Google Ads export", marks("campaign ad_group headline_1", "campaign headline_1 ad_id"),
        reshape=google_ads.reshape,
    ),
    Layout(
        "search-terms", "search terms report",
        marks("search_term campaign", "search_term match_type", "search_term clicks", "search_query clicks campaign"),
        refusal=("a report of search terms, which has no ads", _CLICKS),
    ),
    Layout(
        "keyword-report", "keyword report of Google Ads",
        marks("keyword campaign ad_group match_type", "keyword campaign ad_group criterion_type",
              "search_keyword campaign"),
        refusal=("a report of keywords, which has no ads", "export the ads: Google Ads Editor, or a report of ads"),
    ),
    Layout(
        "negative-list", "list of negative keywords",
        marks("negative_keyword match_type level", "negative_keyword keyword_or_list"),
        refusal=("a list of negative keywords, which has no ads", "give them to the ads, as negative_keywords"),
    ),
    Layout(
        "assets", "report of assets", marks("asset asset_type", "asset_id asset_type"),
        refusal=("a report of assets, which has no ads", "export the ads: Google Ads Editor, or a report of ads"),
    ),
    Layout(
        "local-inventory", "local inventory feed",
        marks("store_code id", "store_code itemid", "store_code item_id", "store_code offer_id"),
        refusal=("a feed of stock by shop, which has no ads", "pass the feed of products"),
    ),
    Layout(
        "shopify", "Shopify product export",
        marks("handle title variant_sku", "handle title option1_name", "id title variant_sku option1_name",
              "handle title body_html", "url_handle title sku", "url_handle title option1_name"),
        reshape=shops.reshape_shopify,
    ),
    Layout(
        "woocommerce", "WooCommerce product export",
        marks("id type sku name published", "id type sku name regular_price", "id name in_stock regular_price"),
        reshape=shops.reshape_woocommerce,
    ),
    Layout(
        "meta", "Meta product catalog",
        marks("id title availability fb_product_category", "id title quantity_to_sell_on_facebook",
              "id title availability condition price link image_link status"),
    ),
    Layout("criteo", "Criteo product feed",
        marks("id title product_rating adult", "id title link adult product_type price")),
    Layout(
        "google-merchant", "Google Merchant Center feed",
        marks("id title link availability price", "id title link image_link", "id title google_product_category",
              "id title gtin", "offer_id title link", "id title availability mpn"),
    ),
)  # fmt: skip
PLAIN = Layout("plain", "", ())
NAMES = (*(layout.name for layout in LAYOUTS), PLAIN.name)

__all__ = ["LAYOUTS", "NAMES", "PLAIN", "Layout", "Reshaped", "recognized"]


def recognized(names: frozenset[str]) -> Layout:
    """Return the layout of a header with these folded names; one that has ids and titles is of ads."""
    has_ads = "title" in names and not names.isdisjoint(("id", "ad_id", "sku", "product_id", "offer_id"))
    return next((each for each in LAYOUTS if each.fits(names) and not (has_ads and each.refusal)), PLAIN)
