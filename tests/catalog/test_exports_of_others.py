# ruff: noqa: E501
"""Exports of other shops, languages and interfaces: each read as its owner means it, or refused with the way out."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from intently.catalog import read_ads
from intently.catalog.feed import Feed
from intently.catalog.reading import Reading
from intently.errors import InputError
from intently.types import Ad

TODAY = Reading(today=date(2026, 1, 15))


def read(path: Path, text: str | bytes, reading: Reading = TODAY) -> tuple[dict[str, Ad], Feed]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    result = read_ads(path, reading=reading)
    ads = [result.catalog.ad(row) for row in range(len(result.catalog))]
    return {ad.ad_id: ad for ad in ads}, result.feeds[0]


def statuses(ads: dict[str, Ad]) -> dict[str, str]:
    return {ad_id: ad.status for ad_id, ad in ads.items()}


EDITORS = {
    "German": ("Kampagne\tAnzeigengruppe\tMax. CPC\tKeyword\tKriteriumstyp\tAnzeigentitel 1\tAnzeigentitel 2\tTextzeile 1\tKampagnenstatus\tAnzeigengruppenstatus\tStatus\n"
    "K\t\t\t\t\t\t\t\tAktiviert\t\t\nK\tG\t0,50\t\t\t\t\t\tAktiviert\tAktiviert\t\nK\tG\t\tkettle\tGenau passend\t\t\t\tAktiviert\tAktiviert\tAktiviert\n"
    "K\tG\t\tpot\tPassende Wortgruppe\t\t\t\tAktiviert\tAktiviert\tAktiviert\nK\tG\t\tfree\tAuszuschließend – Weitgehend passend\t\t\t\tAktiviert\tAktiviert\tAktiviert\n"
    "K\tG\t\t\t\tKettles\tFast\tBoil\tAktiviert\tAktiviert\tAktiviert\nK\tG\t\t\t\tOld\tFast\tBoil\tAktiviert\tAktiviert\tEntfernt\n").encode("utf-16"),
    "Chinese": ("广告系列,广告组,最高每次点击费用,关键字,匹配类型,标题 1,标题 2,描述 1,广告系列状态,广告组状态,状态\nK,,,,,,,,已启用,,\nK,G,0.50,,,,,,已启用,已启用,\n"
    "K,G,,kettle,完全匹配,,,,已启用,已启用,已启用\nK,G,,pot,词组匹配,,,,已启用,已启用,已启用\nK,G,,free,否定广泛匹配,,,,已启用,已启用,已启用\n"
    "K,G,,,,Kettles,Fast,Boil,已启用,已启用,已启用\nK,G,,,,Old,Fast,Boil,已启用,已启用,已移除\n").encode(),
}  # fmt: skip


@pytest.mark.parametrize("language", EDITORS)
def test_match_types_of_an_editor_in_other_languages(tmp_path, language):
    ads, _ = read(tmp_path / "editor.csv", EDITORS[language])
    kettles, old = ads.values()
    assert (kettles.title, kettles.status, kettles.bid, old.status) == ("Kettles", "active", 0.5, "ended")
    assert (kettles.keywords, kettles.negative_keywords) == (("[kettle]", '"pot"'), ("free",))


def test_a_match_type_that_is_not_understood_is_an_error_of_its_row(tmp_path):
    rows = "C,G,,kettle,Fuzzy,,,Enabled\nC,G,,,,Kettles,Boil,Enabled\n"
    header = "Campaign,Ad Group,Max CPC,Keyword,Criterion Type,Headline 1,Description 1,Status\n"
    with pytest.raises(InputError, match=r":2 field 'match_type': 'Fuzzy' is not a match type; write exact, phrase"):
        read(tmp_path / "editor.csv", header + rows)


def test_what_campaigns_decide_is_used_or_told(tmp_path):
    header = "Campaign,Ad Schedule,Mobile Bid Modifier,Budget,Ad Group,Max CPC,Keyword,Criterion Type,Headline 1,Description 1,Shared set name,Campaign Status,Status\n"
    rows = ("C,(Monday[09:00-17:00]),-100%,20,,,,,,,,Enabled,\nC,,,,G,0.5,,,,,,Enabled,\nC,,,,,,,,,,cheap words,Enabled,\nD,,0%,,,,,,,,other,Enabled,\n"
            ",,,,,,cheap,Negative Broad,,,cheap words,,\n,,,,,,used,Negative Exact,,,other,,\nC,,,,G,,,,Kettles,Boil,,Enabled,Enabled\n")  # fmt: skip
    ads, feed = read(tmp_path / "editor.csv", header + rows)
    (ad,) = ads.values()
    assert ad.negative_keywords == ("cheap",)
    assert "columns of campaigns and ad groups that are not used: ad_schedule, mobile_bid_modifier" in feed.warnings


def test_rows_of_assets_and_targeting_are_no_campaigns(tmp_path):
    header = "Campaign,Start Date,End Date,Ad Group,Max CPC,Link Text,Audience,Keyword,Criterion Type,Headline 1,Description 1,Campaign Status,Ad Group Status,Status\n"
    rows = ("C,2024-01-01,,,,,,,,,,Enabled,,\nC,,,G,0.5,,,,,,,Enabled,Enabled,\nC,2023-01-01,2023-02-01,,,Sale,,,,,,Enabled,,Paused\nC,,,G,9,,In-market,,,,,Enabled,Enabled,\n"
            "C,,,G,,,,free,Negative Broad,,,Enabled,Enabled,Removed\nC,,,G,,,,,,Kettles,Boil,Enabled,Enabled,Enabled\n")  # fmt: skip
    ads, feed = read(tmp_path / "editor.csv", header + rows)
    (ad,) = ads.values()
    assert (ad.status, ad.bid, ad.negative_keywords) == ("active", 0.5, ())
    assert {
        "1 rows of link text, not used",
        "1 rows of audience, not used",
        "1 negative keywords that are removed, passed over",
    } <= set(feed.notes)


def test_shared_and_deleted_negative_keywords_of_microsoft(tmp_path):
    rows = [
        ("Type", "Status", "Id", "Parent Id", "Campaign", "Ad Group", "Keyword", "Match Type", "Title"),
        ("Campaign", "Active", "1", "", "C", "", "", "", ""),
        ("Ad Group", "Active", "2", "1", "C", "G", "", "", ""),
        ("Negative Keyword List", "Active", "9", "", "", "", "", "", ""),
        ("Shared Negative Keyword", "Active", "10", "9", "", "", "cheap", "Phrase", ""),
        ("Campaign Negative Keyword List Association", "Active", "9", "1", "C", "", "", "", ""),
        ("Ad Group Negative Keyword", "Deleted", "11", "2", "C", "G", "old", "Exact", ""),
        ("Text Ad", "Active", "3", "2", "C", "G", "", "", "Kettles"),
    ]
    ads, _ = read(tmp_path / "bulk.csv", "\n".join(map(",".join, rows)))
    assert ads["3"].negative_keywords == ('"cheap"',)


def test_archived_negative_keywords_of_amazon(tmp_path):
    header = "Product,Entity,Operation,Campaign ID,Ad Group ID,Ad ID,State,SKU,Keyword Text,Match Type,Title\n"
    rows = "SP,Negative Keyword,,1,2,,archived,,old,negativeExact,\nSP,Campaign Negative Keyword,,1,,,enabled,,cheap,negativePhrase,\nSP,Product Ad,,1,2,3,enabled,K,,,A\n"
    assert read(tmp_path / "bulk.csv", header + rows)[0]["3"].negative_keywords == ('"cheap"',)


def test_an_export_that_names_a_status_twice_is_refused(tmp_path):
    header = "Campaign,Ad group,Headline 1,Description 1,Ad ID,Status,Status,Labels,Labels\n"
    with pytest.raises(
        InputError, match=r":1 field 'status': the header names a column twice: status; keep one of them"
    ):
        read(tmp_path / "report.csv", header + "C,G,Kettles,Boil,1,Enabled,Paused,,\n")
    ads, _ = read(
        tmp_path / "report.csv", header.replace("Status,Status", "Status,Cost") + "C,G,Kettles,Boil,1,Enabled,3,,\n"
    )
    assert statuses(ads) == {"1": "active"}


def test_columns_for_information_in_a_bulk_file_of_amazon(tmp_path):
    header = "Product,Entity,Operation,Campaign ID,Ad Group ID,Ad ID,State,Campaign State (Informational only),SKU,Eligibility Status (Informational only),Title\n"
    rows = "SP,Product Ad,,1,2,3,enabled,paused,K,Eligible,A\nSP,Product Ad,,1,2,4,enabled,enabled,K,Ineligible,B\nSP,Product Ad,,1,2,5,enabled,enabled,K,Eligible,C\n"
    assert statuses(read(tmp_path / "bulk.csv", header + rows)[0]) == {"3": "paused", "4": "paused", "5": "active"}


def test_a_column_of_match_types_beside_keywords(tmp_path):
    rows = "1,A,kettle,Exact\n2,B,pot,Phrase match\n3,C,cup,\n4,D,free,Negative Exact\n5,E,水壶,精确匹配\n"
    ads, feed = read(tmp_path / "ads.csv", "id,title,keyword,match type\n" + rows)
    assert [ad.keywords for ad in ads.values()] == [("[kettle]",), ('"pot"',), ("cup",), (), ("[水壶]",)]
    assert ads["4"].negative_keywords == ("[free]",)
    assert dict(feed.columns)["match type"] == "keywords"
    with pytest.raises(InputError, match=r":2 field 'match_type': 'Fuzzy' is not a match type"):
        read(tmp_path / "ads.csv", "id,title,keyword,match type\n1,A,kettle,Fuzzy\n")
    ads, feed = read(tmp_path / "ads.csv", "id,title,match type\n1,A,Exact\n")
    assert ads["1"].payload == {"match_type": "Exact"}
    assert feed.loud == ("match type",)


SHOPS: dict[str, tuple[str, dict[str, str]]] = {
    "magento.csv": (
        'sku,name,product_online,visibility,qty,is_in_stock,categories\n1,A,1,"Catalog, Search",5,1,Home/Pots\n2,B,2,Catalog,5,1,Home\n3,C,1,Not Visible Individually,5,1,Home\n',
        {"1": "active", "2": "paused", "3": "paused"},
    ),
    "bigcommerce.csv": (
        "Item Type,Product ID,Product Name,Brand Name,Allow Purchases?,Product Visible?,Category\nProduct,1,A,B,Y,Y,Pots\nProduct,2,B,B,Y,N,Pots\nProduct,3,C,B,N,Y,Pots\n",
        {"1": "active", "2": "paused", "3": "paused"},
    ),
    "merchant.tsv": ("id\ttitle\tlink\tprice\tavailability\tpause\n1\tA\tu\t1 USD\tin_stock\tads\n2\tB\tu\t1 USD\tbackorder\t\n", {"1": "paused", "2": "active"}),
    "tiktok.csv": ("sku_id,title,availability,price,link\n1,A,IN_STOCK,1 USD,u\n2,B,out of stock,1 USD,u\n", {"1": "active", "2": "paused"}),
    "stock.csv": ("id,title,stock\n1,A,>10\n2,B,10+\n3,C,0 pcs\n4,D,over 5\n5,E,12 Stück\n", {"1": "active", "2": "active", "3": "paused", "4": "active", "5": "active"}),
    "meta.csv": (
        "Ad ID,Ad Set Time Start,Ad Set Time Stop,Ad Status,Title\n1,01/01/2024 9:00:00 am,12/31/2024 9:00:00 pm,ACTIVE,A\n2,01/01/2024 9:00:00 am,12/31/2026 9:00:00 pm,ACTIVE,B\n",
        {"1": "ended", "2": "active"},
    ),
    "merchant.jsonl": ('{"offerId":"1","title":"A","excludedDestinations":["Shopping_ads"]}\n{"offerId":"2","title":"B","excludedDestinations":["Free_listings"]}\n', {"1": "paused", "2": "active"}),
    "woo.json": (
        json.dumps([{"id": at, "name": "A", "status": "publish", "catalog_visibility": seen, "stock_status": "instock"} for at, seen in ((1, "visible"), (2, "hidden"))]),
        {"1": "active", "2": "paused"},
    ),
    "schema.json": (
        json.dumps([{"@type": "Product", "sku": str(at), "name": "A", "offers": {"@type": "Offer", "price": "9.99", "priceCurrency": "USD", "availability": f"https://schema.org/{word}"}} for at, word in ((1, "InStock"), (2, "OutOfStock"))]),
        {"1": "active", "2": "paused"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOPS)
def test_whether_shops_sell(tmp_path, name):
    text, wanted = SHOPS[name]
    assert statuses(read(tmp_path / name, text)[0]) == wanted


def test_what_objects_of_json_hold_is_read_or_told(tmp_path):
    offer = {"price": "9.99", "priceCurrency": "USD", "availability": "InStock"}
    objects = [{"id": 1, "title": "A", "categories": [{"id": 4, "name": "Home"}, {"id": 5, "name": "Pots"}], "offers": [offer],
                "campaign": {"status": "PAUSED", "name": "C"}, "variants": [{"sku": "x", "inventory_quantity": 0}]}]  # fmt: skip
    ads, feed = read(tmp_path / "feed.json", json.dumps(objects))
    assert (ads["1"].category, ads["1"].payload["price"], ads["1"].payload["currency"]) == ("Home", 9.99, "USD")
    assert feed.loud == ("campaign.status", "variants.inventory_quantity")


def test_names_that_come_late_in_json_are_what_they_are_read_as(tmp_path):
    lines = [{"id": at, "title": f"T{at}"} for at in range(150)] + [{"id": 999, "title": "X", "deleted": True}]
    ads, feed = read(tmp_path / "feed.jsonl", "\n".join(map(json.dumps, lines)))
    assert ads["999"].status == "ended"
    assert (dict(feed.columns)["deleted"], feed.loud) == ("status", ())


def test_names_in_other_languages_that_smell_are_told(tmp_path):
    _, feed = read(tmp_path / "a.csv", "id,title,Lieferstatus,Aktiv seit,启用时间,Farbe\n1,A,x,y,z,rot\n")
    assert feed.loud == ("Lieferstatus", "Aktiv seit", "启用时间")


def test_products_of_an_interface_of_shopify(tmp_path):
    def product(at: int, variants: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {"id": at, "title": "A", "handle": f"a{at}", "vendor": "B", "variants": variants, **more}

    tracked = {"inventory_management": "shopify", "inventory_policy": "deny", "price": "5.00"}
    products = [
        product(1, [{"price": "5.00", "available": False}, {"price": "6.00", "available": True}]),
        product(2, [{"price": "5.00", "available": False}]),
        product(3, [tracked | {"inventory_quantity": 0}], status="active"),
        product(4, [tracked | {"inventory_quantity": 0, "inventory_policy": "continue"}]),
        product(5, [{"inventory_management": None, "inventory_quantity": 0, "price": "5.00"}]),
        product(6, [{"price": "5.00"}], published_at=None),
        product(7, [{"price": "5.00"}], status="draft"),
    ]
    ads, _ = read(tmp_path / "products.json", json.dumps({"products": products}))
    assert [ad.status for ad in ads.values()] == ["active", "paused", "paused", "active", "active", "paused", "paused"]
    assert [ad.payload.get("price") for ad in ads.values()] == [None, 5, 5, 5, 5, 5, 5]


def test_reports_with_segments_and_answers_without_ads(tmp_path):
    rows = "1,A,2026-01-01,4\n1,A,2026-01-02,5\n"
    with pytest.raises(InputError, match=r":3 .*a report with a row for every day: export it without this segment"):
        read(tmp_path / "report.csv", "Ad ID,Title,Day,Clicks\n" + rows)
    with pytest.raises(InputError, match=r"no ads; give a row for each ad"):
        read(tmp_path / "answer.json", '{"products": []}')


def test_a_feed_without_titles_is_sent_to_where_it_belongs(tmp_path):
    with pytest.raises(
        InputError, match=r"field 'title': no such column; .*changes known ads goes to intently update --delta"
    ):
        read(tmp_path / "supplemental.tsv", "id\tcustom_label_0\n1\tsummer\n")


XML = "<?xml version='1.0'?><shop><offers><offer id='1'><name>Kettle</name>{}</offer></offers></shop>"


@pytest.mark.parametrize(("inside", "name", "value"), [
    ('<price currency="EUR">9,99</price>', "price", 9.99), ('<price currency="EUR">9,99</price>', "currency", "EUR"),
    ('<param name="Color">red</param><param name="Size">L</param>', "color", "red"), ('<link href="https://x"/>', "link", "https://x"),
    ('<pic>a</pic><pic>b</pic>', "pic", "a,b"), ('<stock unit="box">4</stock>', "stock_unit", "box"),
])  # fmt: skip
def test_attributes_in_xml(tmp_path, inside, name, value):
    assert read(tmp_path / "feed.xml", XML.format(inside))[0]["1"].payload[name] == value


def test_what_xml_says_more_than_once_or_in_an_attribute(tmp_path):
    inside = '<availability status="out of stock"/><category>Home &gt; Pots</category><category>Sale</category><keywords>a</keywords><keywords>b</keywords>'
    ad = read(tmp_path / "feed.xml", XML.format(inside))[0]["1"]
    assert (ad.status, ad.category, ad.keywords) == ("paused", "Home > Pots", ("a", "b"))


HEADERS = {
    "traditional Chinese": "商品編號,商品名稱,價格,庫存,商品狀態,品牌\n1,熱水壺,NT$1290,3,上架,美的\n2,跑鞋,NT$990,0,上架,美的\n3,水杯,NT$99,4,已下架,美的\n",
    "Korean": "상품코드,상품명,가격,재고,상태,브랜드\n1,주전자,₩39000,3,판매중,B\n2,운동화,₩99000,0,판매중,B\n3,컵,₩9000,1,판매중지,B\n",
    "flags in German": "SKU;Produktname;Marke;Verkaufspreis;Preis;Aktiv\n1;Kessel;B;9,90 €;9,90 €;ja\n2;Topf;B;9,90 €;9,90 €;nein\n3;Tasse;B;9,90 €;9,90 €;nein\n",
    "a shop in Chinese": "宝贝ID,宝贝标题,一口价,宝贝数量,宝贝状态,品牌\n1,热水壶,99,3,出售中,B\n2,水杯,9,0,出售中,B\n3,锅,9,3,仓库中,B\n",
    "German without umlauts": "Artikelnummer;Titel;Preis;Stueckzahl;Verfuegbarkeit;Marke\n1;Kessel;9,90 €;3;auf Lager;B\n2;Tasse;9,90 €;0;auf Lager;B\n3;Topf;9,90 €;3;derzeit nicht lieferbar;B\n",
}  # fmt: skip


@pytest.mark.parametrize("language", HEADERS)
def test_more_languages_of_headers(tmp_path, language):
    ads, _ = read(tmp_path / "feed.csv", HEADERS[language])
    assert statuses(ads) == {"1": "active", "2": "paused", "3": "paused"}
    assert all(ad.advertiser and isinstance(ad.payload["price"], int | float) for ad in ads.values())


@pytest.mark.parametrize(("text", "problem"), [
    ("store code,itemid,quantity,price\nS1,1,4,9 USD\n", r":1: a feed of stock by shop, which has no ads; pass the feed of products"),
    ("Negative keyword list\nNegative keyword,Keyword or List,Campaign,Level,Match type\nfree,Keyword,C,Ad group,Phrase\n", r":2: a list of negative keywords"),
    ("Asset report\nAsset,Asset type,Level\nKettles,Headline,Ad\n", r":2: a report of assets"),
    ("Some report\nCampaign,Cost\nC,5\n", r"no such column; .*the header has: 'Campaign, Cost'"),
    ('[["id","title"],["a","Kettle"]]', "the element 1 of the list is a JSON list, where an object is expected"),
])  # fmt: skip
def test_files_without_ads_say_what_they_are(tmp_path, text, problem):
    with pytest.raises(InputError, match=problem):
        read(tmp_path / "file.json" if text[0] == "[" else tmp_path / "file.csv", text)


def test_a_feed_of_products_may_name_a_store(tmp_path):
    assert set(read(tmp_path / "a.csv", "store_code,id,title\nS,1,Kettle\n")[0]) == {"1"}


def test_a_column_that_is_mapped_is_nothing_else(tmp_path):
    def mapped(text: str, **columns: str) -> tuple[Ad, Feed]:
        ads, feed = read(tmp_path / "a.csv", text, Reading(columns=columns))
        return ads["1"], feed

    assert mapped("id,title,bid\n1,A,450000\n", bid="bid_micros")[0].bid == 0.45
    ad, feed = mapped("id,name,headline,status\n1,camp,A,odd\n", name="description", status="note")
    assert (ad.title, ad.description, ad.status, ad.payload) == ("A", "camp", "active", {"note": "odd"})
    assert dict(feed.columns) == {"id": "ad_id", "name": "description", "headline": "title", "status": "payload"}
    with pytest.raises(InputError, match="field 'title'"):
        mapped("id,name\n1,A\n", name="ignore")


def test_columns_of_the_payload_that_have_one_name_keep_their_own(tmp_path):
    ads, _ = read(tmp_path / "a.csv", "sku,parent_sku,item_group_id,title\nA-1,A,G,Kettle\n")
    assert ads["A-1"].payload == {"group_id": "G", "parent_sku": "A"}


def test_currencies_in_names_of_columns(tmp_path):
    ads, feed = read(tmp_path / "a.csv", 'id,title,Bid (USD),Price (EUR)\n1,A,0.4,"9,90"\n')
    assert (ads["1"].bid, ads["1"].payload) == (0.4, {"price_eur": 9.9})
    assert "'Bid (USD)' is the bid" in feed.notes
    ads, _ = read(tmp_path / "a.csv", "id,title,Max. CPC in EUR\n1,A,0.4\n")
    assert ads["1"].bid == 0.4
    ads, feed = read(tmp_path / "a.csv", "id,title,bid_usd,bid_eur\n1,A,0.4,0.3\n")
    assert (ads["1"].bid, feed.loud) == (None, ("bid_usd", "bid_eur"))
    ads, feed = read(tmp_path / "a.csv", "id,title,bid,bid_usd\n1,A,0.4,0.3\n")
    assert (ads["1"].bid, feed.loud) == (0.4, ("bid_usd",))


def test_typed_values_of_mongodb(tmp_path):
    line = {
        "_id": {"$oid": "65a1"},
        "title": "A",
        "price": {"$numberDecimal": "9.99"},
        "endDate": {"$date": {"$numberLong": "1735689600000"}},
    }
    ads, _ = read(tmp_path / "a.jsonl", json.dumps(line))
    assert (ads["65a1"].status, ads["65a1"].payload["price"]) == ("ended", 9.99)


@pytest.mark.parametrize("name", ["a.tab", "a.dat", "a.psv", "a.feed", "a.TEXT"])
def test_more_suffixes(tmp_path, name):
    mark = {"a.tab": "\t", "a.psv": "|"}.get(name, ",")
    assert read(tmp_path / name, f"id{mark}title\n1{mark}A\n")[0]["1"].title == "A"


def test_titles_that_nobody_can_see_are_none(tmp_path):
    with pytest.raises(InputError, match=r":2 field 'title': .* stands for no title"):
        read(tmp_path / "a.csv", "id,title\n1,\u200b\u200b\n2,A\n")


def test_a_status_that_is_none_can_be_ignored(tmp_path):
    text = "id,title,Status\n1,A,used\n"
    with pytest.raises(
        InputError, match=r'unknown status \'used\'; use one of .*something else, --map "Status=ignore"'
    ):
        read(tmp_path / "a.csv", text)
    assert statuses(read(tmp_path / "a.csv", text, Reading(columns={"Status": "ignore"}))[0]) == {"1": "active"}


def test_values_that_nobody_can_use_are_told(tmp_path):
    def warnings(text: str, **reading: Any) -> tuple[str, ...]:
        return read(tmp_path / "a.csv", text, Reading(**reading))[1].warnings

    assert warnings("id,title\n1,fÃ¼r Tee\n2,Cup\n") == (
        "1 titles show that UTF-8 was read as another encoding before: 'fÃ¼r Tee'",
    )
    assert "have characters that an earlier export lost" in warnings("id,title\n1,f\ufffdr\n")[0]
    assert "are formulas of a spreadsheet" in warnings('id,title\n1,"=HYPERLINK(""u"",""A"")"\n')[0]
    assert warnings("id,title,bid\n1,A,450000\n2,B,380000\n") == (
        'all bids are of 10,000 and more; if they are in micros, say --map "bid=bid_micros"',
    )
    assert warnings("id,title,bid,currency\n1,A,1,EUR\n2,B,1,USD\n") == (
        "bids are compared as numbers, and 'currency' has EUR, USD",
    )
    assert warnings("id,title,bid,currency\n1,Ärmel à la Âge,1,EUR\n2,B,1,EUR\n") == ()


@pytest.mark.parametrize(
    "second", ["item_sku,item_name,price", "Required,Required,Optional", "必填,必填,选填", "SKU,Product name,5"]
)
def test_templates_with_a_second_header(tmp_path, second):
    ads, feed = read(tmp_path / "template.csv", f"SKU,Product Name,Price\n{second}\n1,Kettle,5\n2,Title,6\n")
    assert [ad.title for ad in ads.values()] == ["Kettle", "Title"]
    assert "1 rows that repeat the header, or are a second one, passed over" in feed.notes
