# ruff: noqa: E501
"""What the owner of each file in `feeds` means, written down by hand, and the table of it in docs/feeds.md.

`python tests/catalog/feeds_expected.py` prints the table. An ad is written `id | status | title`, and what matters of
the rest; `refused` is what the error has to say.
"""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from intently.catalog import read_ads, read_queries
from intently.catalog.reading import Reading
from intently.errors import InputError
from intently.types import Ad

FEEDS = Path(__file__).parent / "feeds"
TODAY = Reading(today=date(2026, 1, 1))


@dataclass(frozen=True)
class Expected:
    """The outcome for one file: its ads or a refusal, and what is said of it."""

    ads: tuple[str, ...] = ()  # "id | status | title"
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)  # id → some of its fields and of its payload
    layout: str = "plain"
    said: tuple[str, ...] = ()  # in notes or warnings
    refused: str = ""  # regular expression


def read(*ads: str, layout: str = "plain", said: tuple[str, ...] = (), **fields: dict[str, Any]) -> Expected:
    return Expected(ads, {name.replace("_", "-"): values for name, values in fields.items()}, layout, said)


def refused(problem: str) -> Expected:
    return Expected(refused=problem)


def with_fields(expected: Expected, fields: dict[str, dict[str, Any]]) -> Expected:
    return Expected(expected.ads, fields, expected.layout, expected.said)


K = "Kettle"
MERCHANT = with_fields(
    read(
        "SKU-1001 | active | Kettlewell 1.7L Electric Kettle, Stainless Steel",
        "SKU-1002 | paused | Kettlewell 0.8L Travel Kettle",
        "SKU-2001-BLK-M | active | Northpeak Trail Running Shoes – Men's, Black, M 42",
        "SKU-2001-BLK-L | active | Northpeak Trail Running Shoes – Men's, Black, L 44",
        'SKU-3001 | active | Lumina 27" 4K Monitor, IPS, USB-C 90W',
        "SKU-3002 | active | Lumina 34in Ultrawide Monitor",
        "SKU-4001 | active | Dog Food Grain-Free Salmon 12kg 🐶",
        "SKU-5001 | paused | Coffee Beans Single Origin Ethiopia 1kg",
        layout="google-merchant",
        said=("'price' is in USD",),
    ),
    {
        "SKU-1001": {"advertiser": "Kettlewell", "category": "Home > Kitchen > Kettles", "price": 39.99,
                     "currency": "USD", "gtin": "04012345678901"},
        "SKU-2001-BLK-M": {"group_id": "SKU-2001",
                           "description": "Lightweight trail shoe with Vibram® outsole & rock plate."},
        "SKU-3001": {"sale_price": 299, "description": '27" UHD 3840x2160 monitor, 99% sRGB; height adjustable.'},
    },
)  # fmt: skip


def merchant(*said: str) -> Expected:
    return Expected(MERCHANT.ads, MERCHANT.fields, MERCHANT.layout, (*MERCHANT.said, *said))


EDITOR = with_fields(
    read(
        "* | active | Electric Kettles from $24",
        "* | paused | Kettle Sale – Up To 40% Off",
        "* | paused | Trail Running Shoes",
        "* | ended | Trail Shoes 2023 Collection",
        layout="google-ads",
        said=("1 negative keywords", "bids of 2 keywords are not used", "match types of keywords: 2 phrase, 2 exact"),
    ),
    {
        "US | Search | Kettles / Electric Kettles / 2afc13898008": {
            "bid": 0.85,
            "keywords": ('"electric kettle"', "[tea kettle electric]"),
            "description": "Free 2-Day Shipping. Official Kettlewell® Store. Boil 1.7 L in under 4 minutes. "
            "Auto shut-off. 30-day returns.",
            "negative_keywords": ("free",),
            "final_url": "https://shop.example.com/kettles",
        }
    },
)
SHOP = with_fields(
    read(
        "trail-runner | active | Trail Runner",
        "kettle-17 | paused | Electric Kettle 1.7L",
        "old-mug | ended | Enamel Mug",
        layout="shopify",
        said=("2 rows of further variants",),
    ),
    {"trail-runner": {"advertiser": "Northpeak", "category": "Shoes", "price": 119},
     "kettle-17": {"description": "Boils fast & quiet.", "price": 39.99}},
)  # fmt: skip
LOG = refused(r"field 'title': a log of clicks or judgements, which has no titles; pass it as --clicks")

EXPECTED: dict[str, Expected] = {
    "amazon_sponsored_products_bulk.csv": refused(r":1 field 'title': the export has no titles of ads; add a column title"),
    "array.json": read("1 | active | Kettle", said=("one JSON document",)),
    "array_in_jsonl.jsonl": read("1 | active | Kettle", said=("one JSON document",)),
    "bid_as_text.jsonl": with_fields(read("1 | active | Kettle"), {"1": {"bid": 0.4}}),
    "bid_column_called_max_cpc.csv": refused(r":1 field 'bid': 'Max CPC' and 'Cpc bid' may both be the bid; say which"),
    "catalogue_for_click_logs.tsv": read(
        "k1 | active | Electric kettle 1.7 L", "k2 | active | Glass kettle 1.5 L", "t1 | active | Trail running shoes"
    ),
    "click_log_bool.jsonl": LOG,
    "click_log_clicked_flag.jsonl": LOG,
    "click_log_clicks_flag.jsonl": LOG,
    "click_log_event_query_ids.jsonl": LOG,
    "click_log_events_impression_click.jsonl": LOG,
    "click_log_ranker_score_only.jsonl": LOG,
    "columns_twice.csv": read("k1 | active | Kettle"),
    "countries_as_names.csv": with_fields(
        read("k1 | active | Kettle", "k2 | active | Teapot"),
        {"k1": {"countries": ("US",), "languages": ("en",), "devices": ("desktop",)},
         "k2": {"countries": ("DE",), "languages": ("de",), "devices": ("mobile",)}},
    ),
    "countries_comma_codes.csv": with_fields(
        read("k1 | active | Kettle", "k2 | active | Teapot"), {"k1": {"countries": ("US", "CA")}}
    ),
    "criteo_feed.csv": with_fields(
        read("CR-1 | active | Electric kettle", "CR-2 | paused | Trail shoes", layout="criteo"),
        {"CR-1": {"category": "Kitchen > Kettles", "price": 39.99, "product_rating": 4.6}, "CR-2": {"sale_price": 99}},
    ),
    "csv_saved_as_tsv.tsv": with_fields(read("k1 | active | Kettle", said=("separated by commas",)), {"k1": {"bid": 0.4}}),
    "csv_unescaped_inch_quote.csv": refused(r":3: not valid CSV: .*write a quote inside them twice"),
    "devices_google_words.csv": with_fields(
        read("k1 | active | Kettle", "k2 | active | Teapot", "k3 | active | Cup"),
        {"k1": {"devices": ("desktop",)}, "k2": {"devices": ("mobile",)}, "k3": {"devices": ("mobile", "desktop")}},
    ),
    "duplicate_ids_variants.csv": refused(r":3 field 'ad_id': ad 'P1' is on line 2 already; .*variants \(color\).*item_group_id"),
    "excel_comma_decimal_comma_quoted.csv": with_fields(
        read("k1 | active | Wasserkocher 1,7 l", "k2 | active | Glaskocher", said=("a comma before decimals",)),
        {"k1": {"bid": 0.4}, "k2": {"bid": 1234.5}},
    ),
    "excel_german_thousands_point.csv": refused(r":2 field 'bid': '1\.234' may be a thousand and more, or one with decimals; say"),
    "excel_sep_line.csv": read("k1 | active | Kettle"),
    "excel_trailing_empty_rows.csv": with_fields(
        read("k1 | active | Kettle", "k2 | active | Teapot"), {"k1": {"bid": 0.4}, "k2": {"bid": 0.3}}
    ),
    "gmc_content_api_list.json": Expected(tuple(ad.replace("paused", "active") for ad in MERCHANT.ads)),
    "gmc_product_feed.csv.zip": merchant("the file feed.csv inside a zip archive"),
    "gmc_product_feed.tsv": merchant(),
    "gmc_product_feed.txt": merchant(),
    "gmc_product_feed_excel_quoted.tsv": merchant("fields in quotes, as Excel writes them"),
    "gmc_product_feed_rows_reversed.tsv": merchant(),
    "gmc_product_feed_rss.xml": merchant(),
    "gmc_product_feed_with_spaces_in_header.tsv": merchant(),
    "gmc_trailing_tabs_trimmed.tsv": merchant("7 rows without their last fields"),
    "google_ads_editor_export_utf16_tab.csv": Expected(EDITOR.ads, EDITOR.fields, EDITOR.layout, (*EDITOR.said, "UTF-16")),
    "google_ads_editor_export_utf8.csv": EDITOR,
    "google_ads_flattened_by_hand.csv": with_fields(
        read("601234567890 | active | Electric Kettles from $24", "601234567891 | paused | Kettle Sale – Up To 40% Off",
             "601234567892 | ended | Trail Running Shoes", said=("'Max CPC' is in USD", "match types of keywords: 1 phrase, 1 exact", "negative keywords of 1 ads")),
        {"601234567890": {"bid": 1.1, "keywords": ("electric kettle", '"water boiler"', "[tea kettle electric]"),
                          "negative_keywords": ("free", "used"), "countries": ("US",)},
         "601234567892": {"countries": ("US", "CA")}},
    ),
    "google_ads_flattened_statuses.csv": with_fields(
        read("601234567890 | active | Electric Kettles from $24", "601234567891 | paused | Kettle Sale – Up To 40% Off",
             "601234567892 | ended | Trail Running Shoes", "601234567893 | active | Glass Kettle With Infuser"),
        {"601234567890": {"bid": 1.1, "keywords": ("electric kettle", "water boiler")}},
    ),
    "google_ads_flattened_wrong_status_column_name.csv": read(
        "1 | active | Electric Kettles from $24", "2 | paused | Kettle Sale – Up To 40% Off",
        "3 | paused | Kettle, gun-shaped", "4 | ended | Trail Running Shoes",
    ),
    "google_ads_keyword_report.csv": refused(r":3: a report of keywords, which has no ads; export the ads"),
    "html_entities_tags_emoji.csv": with_fields(
        read("P1 | active | Salt & Pepper Mill", "P2 | active | Kettle 🔥🔥 -50% 🫖", "P3 | active | Men's Shoes",
             "P4 | active | Ｆｕｌｌｗｉｄｔｈ ｋｅｔｔｌｅ", "P5 | active | Cafe\u0301 cups (decomposed)"),
        {"P2": {"description": "Café style"}, "P3": {"description": "It’s light"}},
    ),
    "ids_as_floats.jsonl": read("1 | active | Kettle", "2 | active | Teapot"),
    "keywords_comma_separated.csv": with_fields(
        read("k1 | active | Kettle store", "k2 | active | Teapots"),
        {"k1": {"keywords": ("electric kettle", "water boiler", "tea kettle"), "devices": ("mobile", "desktop"),
                "audiences": ("gold", "silver")}},
    ),
    "languages_bcp47.csv": with_fields(
        read("k1 | active | Kettle", "k2 | active | Teapot"), {"k1": {"languages": ("en",)}, "k2": {"languages": ("zh",)}}
    ),
    "long_title_and_keyword_stuffing.csv": refused(r":2 field 'keywords': over 1,000 elements; give fewer"),
    "meta_product_catalogue.csv": with_fields(
        read("FB-1 | active | Electric kettle 1.7 L", "FB-2 | ended | Trail shoes", "FB-3 | active | Dog food 12 kg",
             layout="meta"),
        {"FB-1": {"price": 39.99, "category": "Home & Garden > Kitchen & Dining"}, "FB-2": {"group_id": "G2"}},
    ),
    "microsoft_advertising_bulk.csv": with_fields(
        read("78240001 | active | Electric Kettles", "78240002 | ended | Glass Kettles",
             "78240003 | active | Kettles on sale", layout="microsoft-bulk",
             said=("1 negative keywords", "bids of 1 keywords are not used")),
        {"78240001": {"keywords": ('"electric kettle"',), "negative_keywords": ('"free"',), "bid": None,
                      "description": "Free Shipping. Boil 1.7 L in under 4 minutes."},
         "78240003": {"keywords": (), "description": "Up to 40% off."}},
    ),
    "missing_titles.csv": refused(r":2 field 'title': empty.*4 more wrong rows"),
    "name_is_campaign_name.csv": read("1 | active | Electric Kettle 1.7 L", "2 | active | Glass Kettle"),
    "negative_keywords_and_match_types.tsv": with_fields(
        read("n1 | active | Kettle store", "n2 | active | Used kettles bargain", "n3 | active | Teapots",
             said=("match types of keywords: 1 exact, 1 phrase, 1 broad with marks", "negative keywords of 1 ads")),
        {"n1": {"keywords": ("electric kettle", "[tea kettle]", '"water boiler"', "+gooseneck +kettle"),
                "negative_keywords": ("used", "cheap", "free")}},
    ),
    "null_values.jsonl": refused(r":2 field 'title': empty; give every row one"),
    "parquet_decimal_bid.parquet": with_fields(read("a | active | Kettle"), {"a": {"bid": 0.4}}),
    "parquet_float_ids_pandas_nan.parquet": read("12345 | active | Kettle"),
    "parquet_int_ids.parquet": read("12345678901234 | active | Kettle"),
    "parquet_keywords_empty_null.parquet": with_fields(read("a | active | Kettle"), {"a": {"keywords": ()}}),
    "parquet_pandas_category.parquet": with_fields(read("a | active | Kettle"), {"a": {"advertiser": "B"}}),
    "parquet_plain.parquet": with_fields(
        read("a | active | Kettle", "b | active | Teapot"), {"a": {"bid": 0.4}, "b": {"bid": None}}
    ),
    "parquet_polars_large_string.parquet": with_fields(read("a | active | Kettle"), {"a": {"keywords": ("x",)}}),
    "parquet_status_bool.parquet": read("a | active | Kettle"),
    "parquet_string_view.parquet": read("a | active | Kettle"),
    "pretty_printed.jsonl": read("1 | active | Kettle", said=("one JSON document",)),
    "prices_and_availability.tsv": with_fields(
        read("P1 | ended | Kettle", "P2 | active | Teapot", layout="google-merchant"), {"P2": {"price": 9.99}}
    ),
    "queries_blank_last_line.txt": read("1 | electric kettle"),
    "queries_frequency_list_query_tab_count.tsv": read("1 | electric kettle"),
    "queries_json_lines.jsonl": read("1 | electric kettle", "2 | shoes"),
    "queries_plain.txt": read("1 | electric kettle", "3 | trail shoes", "4 | electric kettle"),
    "shopify_products_export.csv": SHOP,
    "shopify_products_export_handle_renamed_id.csv": SHOP,
    "tsv_saved_as_csv_with_commas.csv": read("k1 | active | Kettle, red"),
    "two_title_columns.csv": with_fields(
        read("1 | active | Kettle", "2 | active | Teapot"), {"1": {"name": "campaign A"}}
    ),
    "very_long_description.csv": refused(r":2 field 'description': 131,999 characters, over the limit of 100,000; shorten"),
    "windows_1252.csv": with_fields(
        read("k1 | active | Wasserkocher für Tee – 1 l", "k2 | active | Glass kettle", "k3 | active | Kessel „Größe“ 2 l",
             said=("Windows-1252",)),
        {"k1": {"bid": 0.4}},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What a reader made of a file."""

    ads: tuple[str, ...] = ()
    by_id: dict[str, Ad] = field(default_factory=dict)
    layout: str = "plain"
    said: tuple[str, ...] = ()
    error: str = ""


def found_in(path: Path) -> Found:
    """Read a file: of queries if its name says so, else of ads."""
    try:
        if path.name.startswith("queries"):
            queries = read_queries(path)
            return Found(tuple(f"{i} | {text}" for i, text in zip(queries.ids, queries.texts, strict=True)))
        result = read_ads(path, reading=TODAY)
    except InputError as error:
        return Found(error=str(error).replace(f"{path.parent}/", ""))
    ads = [result.catalog.ad(row) for row in range(len(result.catalog))]
    (feed,) = result.feeds
    told = tuple(f"{ad.ad_id} | {ad.status} | {ad.title}" for ad in ads)
    return Found(told, {ad.ad_id: ad for ad in ads}, feed.layout, (*feed.notes, *feed.warnings))


def table() -> list[str]:
    """Return the rows of the table in docs/feeds.md."""
    rows = ["| file | read as | what is said |", "|---|---|---|"]
    for path in sorted(FEEDS.iterdir()):
        found = found_in(path)
        if found.error:
            rows.append(f"| `{path.name}` | refused | {_cell(found.error)} |")
            continue
        statuses = [ad.status for ad in found.by_id.values()]
        kinds = [f"{statuses.count(each)} {each}" for each in ("active", "paused", "ended") if each in statuses]
        told = f"{len(found.ads)} ads: {', '.join(kinds)}" if statuses else f"{len(found.ads)} queries"
        rows.append(f"| `{path.name}` | {told} | {_cell('; '.join(found.said))} |")
    return rows


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


if __name__ == "__main__":
    print("\n".join(table()))
