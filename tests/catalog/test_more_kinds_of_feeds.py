# ruff: noqa: E501
"""More exports as companies have them: other languages, interfaces that answer in JSON, rows that belong to groups."""

import json
from datetime import date
from pathlib import Path

import pytest

from intently.catalog import read_ads
from intently.catalog.ads import ReadResult
from intently.catalog.dates import read_date
from intently.catalog.feed import FEED_FIELDS
from intently.catalog.fields import fold_name
from intently.catalog.header_words import _ENGLISH, english_names, in_english
from intently.catalog.reading import Reading
from intently.errors import InputError
from intently.types import Ad

TODAY = Reading(today=date(2026, 1, 15))


def read(path: Path, text: str | bytes) -> ReadResult:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_ads(path, reading=TODAY)


def ads_of(path: Path, text: str | bytes) -> list[Ad]:
    catalog = read(path, text).catalog
    return [catalog.ad(row) for row in range(len(catalog))]


LANGUAGES = [
    ("Artikelnummer;Titel;Beschreibung;Marke;Kategorie;Preis;Verfügbarkeit;Gebot\n"
     "1;Wasserkocher;Schnell;Bosch;Küche;39,99 €;auf Lager;0,40\n2;Tasse;Rot;WMF;Küche;1.299,00 €;nicht vorrätig;0,35\n", "EUR"),
    ("identifiant;titre;description;marque;catégorie;prix;disponibilité;statut;enchère\n"
     "1;Wasserkocher;Schnell;Bosch;Küche;39,99 €;en stock;Activé;0,40\n2;Tasse;Rot;WMF;Küche;1 299,00 €;;En pause;0,35\n", "EUR"),
    ("id;título;descripción;marca;categoría;precio;estado;puja\n"
     "1;Wasserkocher;Schnell;Bosch;Küche;39,99 €;Habilitada;0,40\n2;Tasse;Rot;WMF;Küche;1.299,00 €;Pausada;0,35\n", "EUR"),
    ("商品编号,标题,描述,品牌,类目,价格,库存,出价\n1,Wasserkocher,Schnell,Bosch,Küche,CN¥39.99,3,0.40\n"
     "2,Tasse,Rot,WMF,Küche,CN¥1299.00,0,0.35\n", "CNY"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "currency"), LANGUAGES)
def test_columns_in_other_languages(tmp_path, text, currency):
    first, second = ads_of(tmp_path / "ads.csv", text)
    assert (first.ad_id, first.title, first.description, first.advertiser) == ("1", "Wasserkocher", "Schnell", "Bosch")
    assert (first.category, first.bid, first.status, second.bid, second.status) == (
        "Küche",
        0.4,
        "active",
        0.35,
        "paused",
    )
    assert [ad.payload["price"] for ad in (first, second)] == [39.99, 1299]
    assert first.payload["currency"] == currency
    assert any("columns in another language" in note for note in read_ads(tmp_path / "ads.csv").feeds[0].notes)


def test_a_report_in_german(tmp_path):
    ads = ads_of(tmp_path / "report.csv",
        "Anzeigenbericht\n1. Januar 2025 - 31. Januar 2025\nAnzeigenstatus;Kampagne;Anzeigengruppe;Anzeigentitel 1;"
        "Anzeigentitel 2;Beschreibung 1;Anzeigen-ID;Klicks\nAktiviert;C;G;Wasserkocher;Gut;Schnell;11;1.204\n"
        "Pausiert;C;G;Tasse;Gut;Rot;12;3\nGesamt: Konto;;;;;;;1.207\n")  # fmt: skip
    assert [(ad.ad_id, ad.status, ad.title, ad.description) for ad in ads] == [
        ("11", "active", "Wasserkocher", "Gut. Schnell"), ("12", "paused", "Tasse", "Gut. Rot"),
    ]  # fmt: skip


def test_an_english_name_wins_and_a_field_has_one_column():
    assert english_names(["id", "title", "Titel", "Bezeichnung"], FEED_FIELDS) == {}
    assert english_names(["id", "Bezeichnung", "Titel"], FEED_FIELDS) == {"titel": "title"}
    assert english_names(["id", "title", "Marke", "Hersteller"], FEED_FIELDS) == {"marke": "brand"}
    assert (in_english("Verfügbarkeit"), in_english("Max. CPC"), in_english("商品标题")) == (
        "availability",
        "max_cpc",
        "title",
    )
    assert all(fold_name(word) == word for word in _ENGLISH)


@pytest.mark.parametrize(("text", "day"), [
    ("1767139200000", date(2025, 12, 31)), ("1767139200", date(2025, 12, 31)), ("Dec 31, 2027", date(2027, 12, 31)),
    ("31-Dec-2027", date(2027, 12, 31)), ("31 December 2027", date(2027, 12, 31)), ("Sept. 1, 2027", date(2027, 9, 1)),
    ("2027-12-31T23:59-0800", date(2027, 12, 31)), ("2027-12-31 23:59:59", date(2027, 12, 31)), ("31.12.27", date(2027, 12, 31)),
    ("2027-1-5", date(2027, 1, 5)), ("46022", None), ("Dezember", None), ("31-12-2027", None), ("30.02.2027", None),
])  # fmt: skip
def test_dates(text, day):
    assert read_date(text, "") == day


def test_days_and_months_with_hyphens():
    assert read_date("31-12-2027", "dmy") == read_date("12-31-27", "mdy") == date(2027, 12, 31)


@pytest.mark.parametrize(("header", "value", "status"), [
    ("status", "In review", "paused"), ("status", "LIVE", "active"), ("status", "canceled", "ended"), ("status", "En pause", "paused"),
    ("Ad Set Run Status", "PAUSED", "paused"), ("available", "false", "paused"), ("stock_status", "rupture de stock", "paused"),
    ("end_date", "[]", "active"), ("end_date", "0000-00-00", "active"), ("discontinued", "true", "ended"), ("sold out", "x", "paused"),
])  # fmt: skip
def test_serving(tmp_path, header, value, status):
    (ad,) = ads_of(tmp_path / "ads.csv", f"id,title,{header}\na,b,{value}\n")
    assert ad.status == status


def test_several_columns_of_one_kind_all_count(tmp_path):
    rows = "a,A,in stock,true,5\nb,B,in stock,false,5\nc,C,in stock,,0\n"
    ads = ads_of(tmp_path / "ads.csv", "id,title,availability,in_stock,inventory\n" + rows)
    assert [ad.status for ad in ads] == ["active", "paused", "paused"]


def test_all_is_no_restriction(tmp_path):
    rows = "1,A,All,All languages,所有\n2,B,Worldwide,English (US),Computers\n3,C,DE|all,Chinese (Simplified),phone\n"
    ads = ads_of(tmp_path / "ads.csv", "id,title,countries,languages,devices\n" + rows)
    assert [(ad.countries, ad.languages, ad.devices) for ad in ads] == [
        ((), (), ()), ((), ("en",), ("desktop",)), ((), ("zh",), ("mobile",)),
    ]  # fmt: skip


def test_files_that_were_put_together(tmp_path):
    result = read(tmp_path / "ads.csv", "\ufeffid,title,bid\n1,Kettle,0.4\n\ufeffid,title,bid\n2,\ufeffCup,0.3\n")
    assert result.catalog.strings("title") == ["Kettle", "Cup"]
    assert "1 rows that repeat the header, or are a second one, passed over" in result.feeds[0].notes


def test_what_spreadsheets_do_to_ids(tmp_path):
    assert [ad.ad_id for ad in ads_of(tmp_path / "ads.csv", "id,title\n'00123,A\n'00124,B\n")] == ["00123", "00124"]
    assert [ad.ad_id for ad in ads_of(tmp_path / "ads.csv", "id,title\n'tis,A\nb,B\n")] == ["'tis", "b"]
    assert ads_of(tmp_path / "ads.csv", 'id,title\n"=""00123""",A\n')[0].ad_id == "00123"
    with pytest.raises(
        InputError, match=r":2 field 'ad_id': '6.01E\+11' is an id that a spreadsheet has rounded; export ids as text"
    ):
        ads_of(tmp_path / "ads.csv", "id,title\n6.01E+11,A\n")


def test_bids_in_several_currencies_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"'bid' is in several currencies: EUR \(1\), USD \(2\); convert bids to one"):
        ads_of(tmp_path / "ads.csv", "id,title,bid\n1,A,€0.40\n2,B,$0.40\n3,C,US $ 1\n")


def test_prices_that_are_missing_leave_the_others_numbers(tmp_path):
    ads = ads_of(tmp_path / "ads.csv", "id,title,price\n1,A,9.99 USD\n2,B,N/A\n")
    assert [ad.payload.get("price") for ad in ads] == [9.99, None]


def test_a_row_a_keyword(tmp_path):
    with pytest.raises(InputError, match=r":3 .*one ad with several keywords: write them in one row, separated by \|"):
        ads_of(tmp_path / "ads.csv", "ad_id,title,keyword\n1,Kettle,electric kettle\n1,Kettle,tea kettle\n")


JSON = [
    {"hits": {"total": {"value": 1}, "hits": [{"_index": "p", "_id": "1", "_source": {"title": "Kettle", "price": 39.99}}]}},
    {"1": {"title": "Kettle", "price": 39.99}},
    {"data": {"products": {"edges": [{"cursor": "x", "node": {"id": 1, "title": "Kettle", "price": 39.99}}]}}},
    {"products": [{"name": "accounts/1/products/en~US~1", "offerId": "1", "productAttributes":
                   {"title": "Kettle", "price": {"amountMicros": "39990000", "currencyCode": "USD"}}}], "nextPageToken": "x"},
]  # fmt: skip


@pytest.mark.parametrize("document", JSON)
def test_json_that_interfaces_answer(tmp_path, document):
    for text in (json.dumps(document), json.dumps(document, indent=2)):
        (ad,) = ads_of(tmp_path / "feed.json", text)
        assert (ad.ad_id, ad.title, ad.payload["price"]) == ("1", "Kettle", 39.99)
        assert ad.payload.keys() <= {"price", "currency"}


def test_lines_of_a_search_engine_and_objects_with_names(tmp_path):
    lines = [{"_index": "p", "_id": "1", "_source": {"title": "Kettle", "brand": {"id": 7, "name": "Bosch"}}},
             {"_index": "p", "_id": "2", "_source": {"title": "Cup", "productTypes": ["Home > Cups", "Gifts"]}}]  # fmt: skip
    first, second = ads_of(tmp_path / "ads.jsonl", "\n".join(map(json.dumps, lines)))
    assert (first.ad_id, first.advertiser, second.title, second.category) == ("1", "Bosch", "Cup", "Home > Cups")


def test_campaigns_of_an_editor_give_their_ads_language_country_and_dates(tmp_path):
    result = read(tmp_path / "editor.csv",
        "Campaign,Languages,Location,Start Date,End Date,Ad Group,Max CPC,Keyword,Criterion Type,Headline 1,Description 1,Campaign Status,Ad Group Status,Status\n"
        "DE,de,,2024-01-01,[],,,,,,,Enabled,,\nDE,,Germany,,,,,,,,,Enabled,,Enabled\nDE,,Austria,,,,,,,,,Enabled,,Enabled\n"
        "DE,,,,,Kettles,0.50,,,,,Enabled,Enabled,\nDE,,,,,Kettles,,,,Wasserkocher,Gut,,,Enabled\n"
        "Old,en,,2024-01-01,2024-02-01,,,,,,,Enabled,,\nOld,,\"Berlin,Germany\",,,,,,,,,,,\nOld,,,,,G,,,,Kettle,x,,,Enabled\n"
        "Off,en,,,,,,,,,,Paused,,\nOff,,,,,G,,,,Pot,x,,,Enabled\n")  # fmt: skip
    ads = [result.catalog.ad(row) for row in range(3)]
    assert [(ad.title, ad.status, ad.languages, ad.countries, ad.bid) for ad in ads] == [
        ("Wasserkocher", "active", ("de",), ("DE", "AT"), 0.5), ("Kettle", "ended", ("en",), (), None),
        ("Pot", "paused", ("en",), (), None),
    ]  # fmt: skip
    assert "1 locations are not used, as not countries to serve in: Berlin,Germany" in result.feeds[0].warnings


def test_responsive_ads_of_microsoft_take_dates_and_language_of_their_group(tmp_path):
    assets = '"[{""type"":""TextAsset"",""text"":""Kettles""},{""text"":""Pots""}]"'
    result = read(tmp_path / "bulk.csv",
        "Type,Status,Id,Parent Id,Campaign,Ad Group,Language,Start Date,End Date,Headline,Description,Cpc Bid,Target\n"
        "Campaign,Active,1,,C,,All,,,,,,\nAd Group,Active,2,1,C,G,German,1/1/2024,12/31/2024,,,0.50,\n"
        "Campaign Location Criterion,Active,,1,C,,,,,,,,190\n"
        f'Responsive Search Ad,Active,3,2,C,G,,,,{assets},"[{{""text"":""Fast""}}]",,\n')  # fmt: skip
    ad = result.catalog.ad(0)
    assert (ad.title, ad.description, ad.status, ad.languages, ad.bid) == (
        "Kettles",
        "Pots. Fast",
        "ended",
        ("de",),
        0.5,
    )
    assert any("targeting in rows of their own is not used" in told for told in result.feeds[0].warnings)


def test_shopify_with_the_names_of_2025(tmp_path):
    kettle, cup = ads_of(tmp_path / "products.csv",
        "Title,URL handle,Description,Vendor,Type,Published on online store,Status,SKU,Option1 name,Option1 value,Price,"
        "Inventory tracker,Inventory quantity,Continue selling when out of stock\n"
        "Kettle,kettle,<p>Good</p>,B,Kitchen,TRUE,Active,K1,Color,Red,10,shopify,0,DENY\n,kettle,,,,,,K2,,Blue,10,shopify,0,DENY\n"
        "Cup,cup,Nice,B,Kitchen,TRUE,Active,C1,Title,Default Title,5,shopify,0,CONTINUE\n")  # fmt: skip
    assert (kettle.ad_id, kettle.description, kettle.status, kettle.payload["price"]) == (
        "kettle",
        "Good",
        "paused",
        10,
    )
    assert [each["sku"] for each in kettle.payload["variants"]] == ["K1", "K2"]
    assert (cup.ad_id, cup.status) == ("cup", "active")


def test_xml_of_other_shops(tmp_path):
    yml = ("<?xml version='1.0'?><yml_catalog><shop><offers><offer id='1' available='false'><name>Kettle</name><vendor>B</vendor>"
           "<price>10</price></offer></offers></shop></yml_catalog>")  # fmt: skip
    (ad,) = ads_of(tmp_path / "feed.xml", yml)
    assert (ad.ad_id, ad.title, ad.advertiser, ad.status) == ("1", "Kettle", "B", "paused")
    heureka = ("<?xml version='1.0'?><SHOP><SHOPITEM><ITEM_ID>1</ITEM_ID><PRODUCTNAME>Konvice</PRODUCTNAME><MANUFACTURER>B</MANUFACTURER>"
               "<CATEGORYTEXT>Dom</CATEGORYTEXT><ITEMGROUP_ID>g</ITEMGROUP_ID></SHOPITEM></SHOP>")  # fmt: skip
    (ad,) = ads_of(tmp_path / "feed.xml", heureka)
    assert (ad.ad_id, ad.title, ad.category, ad.payload["group_id"]) == ("1", "Konvice", "Dom", "g")


def test_ads_of_meta(tmp_path):
    (ad,) = ads_of(tmp_path / "ads.csv",
        "Campaign ID,Campaign Status,Ad Set Run Status,Ad ID,Ad Status,Title,Body\n"
        "cg:1,ACTIVE,PAUSED,a:3,ACTIVE,Kettles on sale,Boil fast\n")  # fmt: skip
    assert (ad.ad_id, ad.status, ad.title, ad.description) == ("a:3", "paused", "Kettles on sale", "Boil fast")


def test_what_is_mapped_for_a_build_need_not_be_in_the_next_feed(tmp_path):
    reading = Reading(usual={"Was": "title", "Notiz": "ignore"})
    for header in ("id,Was,Notiz", "id,title,Other"):
        (tmp_path / "ads.csv").write_text(f"{header}\n1,Kettle,x\n", encoding="utf-8")
        assert read_ads(tmp_path / "ads.csv", reading=reading).catalog.ad(0).title == "Kettle"
    said = Reading(columns={"Other": "title"}, usual={"Was": "title"})
    assert said.columns == {"other": "title"}


def test_a_column_that_is_mapped_may_be_in_one_of_several_files(tmp_path):
    for name, text in (("a.csv", "id,Was,Max CPC\n1,Kettle,0.4\n"), ("b.csv", "id,title\n2,Cup\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    catalog = read_ads(paths, reading=Reading(columns={"was": "title"})).catalog
    assert [(ad.title, ad.bid) for ad in (catalog.ad(0), catalog.ad(1))] == [("Kettle", 0.4), ("Cup", None)]
    with pytest.raises(InputError, match="no file has a column 'waz' to read as title"):
        read_ads([paths[1], paths[1]], skip_bad=True, reading=Reading(columns={"Waz": "title"}))
