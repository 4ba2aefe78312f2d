# ruff: noqa: E501
"""Kinds of feeds beyond the files in `feeds`: other shops, reports, encodings, dates, amounts."""

import json
import zipfile
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.catalog import lines, read_ads
from intently.catalog.amounts import Decimals, read_amounts
from intently.catalog.dates import date_order, read_date
from intently.catalog.problems import RowCheck
from intently.catalog.reading import Reading
from intently.catalog.sources import local_files
from intently.cli.shared import parse_map
from intently.errors import InputError
from intently.types import Ad

TODAY = date(2026, 1, 15)


def ads_of(path: Path, text: str | bytes, **options: str) -> list[Ad]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    catalog = read_ads(path, reading=Reading(today=TODAY, **options)).catalog  # type: ignore[arg-type]
    return [catalog.ad(row) for row in range(len(catalog))]


def test_woocommerce(tmp_path):
    ads = ads_of(tmp_path / "products.csv",
        "ID,Type,SKU,Name,Published,Visibility in catalog,Short description,Description,In stock?,Stock,Backorders allowed?,"
        "Regular price,Categories,Parent\n"
        '1,variable,H,Hoodie,1,visible,Warm,"<p>Soft cotton</p>",1,,0,,"Clothing > Hoodies, Sale",\n'
        "2,variation,H-R,Hoodie - Red,1,visible,,,0,0,0,45,,H\n"
        "3,simple,C,Cap,0,visible,,,1,5,0,12,Clothing,\n"
        "4,simple,D,Dress,1,hidden,,,backorder,0,1,80,Clothing,id:9\n")  # fmt: skip
    assert [(ad.ad_id, ad.status, ad.payload.get("group_id")) for ad in ads] == [
        ("1", "active", 1), ("2", "paused", 1), ("3", "paused", None), ("4", "paused", 9),
    ]  # fmt: skip
    assert (ads[0].description.split(), ads[0].category) == (["Warm.", "Soft", "cotton"], "Clothing > Hoodies")


def test_atom_with_google_names(tmp_path):
    (ad,) = ads_of(tmp_path / "feed.atom",
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<feed xmlns="http://www.w3.org/2005/Atom" '
        'xmlns:g="http://base.google.com/ns/1.0"><title>Shop</title><entry><id>tag:x</id><g:id>A1</g:id>'
        '<title>B\xfcgeleisen</title><link href="https://x.example/1"/><g:availability>out of stock</g:availability>'
        "<g:price>1.299,00 EUR</g:price><g:shipping><g:country>DE</g:country><g:price>5 EUR</g:price></g:shipping>"
        "<g:additional_image_link>a</g:additional_image_link><g:additional_image_link>b</g:additional_image_link>"
        "</entry></feed>".encode("latin-1").decode("latin-1").encode("latin-1"))  # fmt: skip
    assert (ad.ad_id, ad.title, ad.status) == ("A1", "Bügeleisen", "paused")
    assert ad.payload["price"] == 1299 and ad.payload["shipping"] == "DE:5 EUR"
    assert ad.payload["link"] == "https://x.example/1" and ad.payload["additional_image_link"] == "a,b"


def test_a_report_of_ads_with_titles_and_totals(tmp_path):
    ads = ads_of(tmp_path / "report.csv",
        "Ad report\n\"1 May 2025 - 31 May 2025\"\nAd state,Ad type,Campaign,Ad group,Headline 1,Headline 2,Description 1,"
        'Final URL,Ad ID,Clicks,Impr.\nEnabled,Responsive search ad,C,G,Kettles,Free shipping, --,u,11,"1,204",9\n'
        "Removed,Responsive search ad,C,G,Old kettles, --, --,u,12,0,0\nTotal: Account,,,,,,,,,1,1\n")  # fmt: skip
    assert [(ad.ad_id, ad.title, ad.status, ad.description) for ad in ads] == [
        ("11", "Kettles", "active", "Free shipping"), ("12", "Old kettles", "ended", ""),
    ]  # fmt: skip
    result = read_ads(tmp_path / "report.csv")
    assert {"2 lines before the header passed over", "1 rows of totals passed over"} <= set(result.feeds[0].notes)


@pytest.mark.parametrize(("text", "problem"), [
    ("Search terms report\nSearch term,Match type,Campaign,Clicks\na,b,c,1\n", r":2: a report of search terms.*--clicks"),
    ("id,title,end_date\na,b,03/04/2026\n", r":2 field 'end_date': unknown end_date '03/04/2026'; write dates as"),
    ("id,title,availability\na,b,maybe\n", "unknown availability 'maybe'; use in_stock or out_of_stock"),
    ("id,title,published\na,b,perhaps\n", "unknown published 'perhaps'; use true or false"),
    ("id,title,bid\na,b,1 or 2\n", "'1 or 2' is not a number"),
])  # fmt: skip
def test_refused_with_the_way_out(tmp_path, text, problem):
    with pytest.raises(InputError, match=problem):
        ads_of(tmp_path / "ads.csv", text)


@pytest.mark.parametrize(("header", "value", "status"), [
    ("availability", "https://schema.org/OutOfStock", "paused"), ("stock", "0", "paused"), ("stock", "12", "active"),
    ("is_active", "FALSE", "paused"), ("deleted", "1", "ended"), ("end_date", "14.01.2026", "ended"),
    ("end_date", "2026年1月15日", "active"), ("start_date", "20260116", "paused"), ("expires", "1/14/2026", "ended"),
    ("Approval status", "Approved (limited)", "active"), ("editorial status", "Disapproved", "paused"),
    ("状态", "已暂停", "paused"), ("status", "已暂停", "paused"), ("included_destination", "Free_listings", "paused"),
])  # fmt: skip
def test_serving(tmp_path, header, value, status):
    (ad,) = ads_of(tmp_path / "ads.csv", f"id,title,{header}\na,b,{value}\n")
    assert ad.status == status


def test_names_that_smell_are_told(tmp_path):
    ads_of(tmp_path / "ads.csv", "id,title,Ad schedule,国家,color,Daily budget\na,b,x,y,red,5\n")
    (feed,) = read_ads(tmp_path / "ads.csv").feeds
    assert feed.loud == ("Ad schedule", "国家", "Daily budget")
    (feed,) = read_ads(tmp_path / "ads.csv", reading=Reading(columns={"Ad schedule": "ignore", "国家": "note"})).feeds
    assert feed.loud == ("Daily budget",)


def test_columns_are_mapped(tmp_path):
    path = tmp_path / "ads.csv"
    path.write_text("SKU No,Max CPC,Cpc bid,What\na,0.40,1,Kettle\n", encoding="utf-8")
    columns = parse_map(["SKU No=ad_id", "max cpc=bid", "What=title"], "map")
    assert read_ads(path, reading=Reading(columns=columns)).catalog.ad(0).bid == 0.4
    with pytest.raises(InputError, match="no column 'stock_level' to read as quantity"):
        read_ads(path, reading=Reading(columns=columns | {"Stock level": "quantity"}))
    for wrong in (["bid"], ["a=b", "a=c"]):
        with pytest.raises(InputError, match=r"does not say what a column is.*--map \"Max CPC=bid\", each"):
            parse_map(wrong, "map")


@pytest.mark.parametrize("encoding", ["gb18030", "cp1252", "utf-16", "utf-16-le", "utf-8-sig"])
def test_encodings(tmp_path, encoding):
    titles = (
        ["Wasserkocher für Tee", "Kaffeemühle – groß"]
        if encoding == "cp1252"
        else ["不锈钢电热水壶", "红色运动鞋 女款"]
    )
    text = "id\ttitle\tnote\n" + "".join(f"a{at}\t{title}\tx\n" for at, title in enumerate(titles))
    assert [ad.title for ad in ads_of(tmp_path / "ads.tsv", text.encode(encoding))] == titles
    assert [ad.title for ad in ads_of(tmp_path / "ads.tsv", text.encode(encoding), encoding=encoding)] == titles


def test_content_api(tmp_path):
    product = {"offerId": "a", "title": "b", "imageLink": "i", "price": {"value": "9.90", "currency": "USD"},
               "itemGroupId": "g", "availability": "out of stock"}  # fmt: skip
    entries = {"entries": [{"batchId": 1, "product": product}]}
    (ad,) = ads_of(tmp_path / "feed.json", json.dumps(entries))
    assert (ad.ad_id, ad.status, ad.payload["price"], ad.payload["group_id"]) == ("a", "paused", 9.9, "g")


def test_micros_and_negatives(tmp_path):
    (ad,) = ads_of(tmp_path / "ads.tsv", "id\ttitle\tcpc_bid_micros\tnegatives\na\tb\t450000\tfree, used\n")
    assert (ad.bid, ad.negative_keywords) == (0.45, ("free", "used"))


@pytest.mark.parametrize(("values", "numbers", "mark"), [
    (["0,40", "1.234,50"], [0.4, 1234.5], ","), (["$1.10", "US$ 2", "3.5 USD"], [1.1, 2, 3.5], "."),
    (["1,234.5", "1,234"], [1234.5, 1234], "."), (["1 234,5", "7"], [1234.5, 7], ","), (["€ 12,00"], [12], ","),
    (["1.234.567"], [1234567], ","), (["0.125", "1.5"], [0.125, 1.5], "."), (["12", ""], [12, None], ""),
    (["1'234.50"], [1234.5], "."), (["1,234", "1.5"], [1234, 1.5], "."),
])  # fmt: skip
def test_amounts(values, numbers, mark):
    state, check = Decimals(), RowCheck("x", np.arange(len(values)))
    assert read_amounts(pa.array(values), "bid", check, state).to_pylist() == numbers
    assert state.mark == mark and not check.errors


@pytest.mark.parametrize("value", ["1.234", "1,234", "12.500"])
def test_amounts_that_may_be_two_are_asked_about(value):
    check = RowCheck("x", np.arange(1))
    read_amounts(pa.array([value]), "bid", check, Decimals())
    assert "--decimal point, or --decimal comma" in str(next(iter(check.errors)))
    for mark, factor in ((".", 1 if "." in value else 1000), (",", 1000 if "." in value else 1)):
        number = read_amounts(pa.array([value]), "bid", RowCheck("x", np.arange(1)), Decimals(mark)).to_pylist()[0]
        assert number == pytest.approx(float(value.replace(",", ".")) * factor)


@given(st.lists(st.floats(0.01, 999_999).map(lambda number: round(number, 2)), min_size=1), st.sampled_from(",."))
def test_amounts_are_read_as_they_were_written(numbers, mark):
    other = "." if mark == "," else ","
    texts = [f"{number:,.2f}".replace(",", "x").replace(".", mark).replace("x", other) for number in numbers]
    check = RowCheck("x", np.arange(len(texts)))
    assert read_amounts(pa.array(texts), "bid", check, Decimals()).to_pylist() == numbers
    assert not check.errors


@given(st.dates(date(1000, 1, 1)))
def test_dates_are_read_as_they_were_written(day):
    for written in (
        day.isoformat(),
        f"{day:%Y%m%d}",
        f"{day.day}.{day.month}.{day.year:04d}",
        f"{day.isoformat()}T08:00Z",
    ):
        assert read_date(written, "") == day
    assert read_date(f"{day.month}/{day.day}/{day.year:04d}", "mdy") == day
    assert read_date(f"{day.day}/{day.month}/{day.year:04d}", "") is None


def test_the_order_of_days_and_months_shows_in_a_column():
    assert [date_order(values) for values in (["13/1/2026", "1/2/2026"], ["1/13/2026"], ["1/2/2026"])] == [
        "dmy",
        "mdy",
        "",
    ]


def test_several_files_are_one_catalog(tmp_path):
    (tmp_path / "a.csv").write_text("id,title\na,Kettle\nb,Pot\n", encoding="utf-8")
    (tmp_path / "b.tsv").write_text("ad_id\ttitle\nc\tCup\na\tKettle\n", encoding="utf-8")
    paths = [tmp_path / "a.csv", tmp_path / "b.tsv"]
    with pytest.raises(InputError, match=r"b\.tsv:3 field 'ad_id': ad 'a' is on line 2 of .*a\.csv already"):
        read_ads(paths)
    result = read_ads(paths, skip_bad=True)
    assert result.catalog.strings("ad_id") == ["a", "b", "c"] and [len(feed.lines) for feed in result.feeds] == [2, 2]


def test_sources(tmp_path, monkeypatch):
    for name in ("b.tsv", "a.tsv"):
        (tmp_path / name).write_text("ad_id\ttitle\n", encoding="utf-8")
    with local_files([str(tmp_path / "*.tsv"), (tmp_path / "a.tsv").as_uri()]) as paths:
        assert [path.name for path in paths] == ["a.tsv", "b.tsv", "a.tsv"]
        assert paths[2].read_text(encoding="utf-8") == "ad_id\ttitle\n" and paths[2].parent != tmp_path
        with pytest.raises(InputError, match=r"^file:///.*/a\.tsv: no ads"):
            read_ads(paths[2])
    assert not paths[2].exists()
    with pytest.raises(InputError, match="no file matches"), local_files([str(tmp_path / "*.csv")]):
        pass
    with pytest.raises(InputError, match="cannot be fetched"), local_files([(tmp_path / "none.tsv").as_uri()]):
        pass


def test_zip_archives(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "FREE_BYTES", 1 << 20)
    for names, problem in ((("a.csv", "b.csv"), "a zip archive with 2 files; unpack it"), ((), "with no file"),
                           (("[Content_Types].xml", "x"), "an Excel workbook")):  # fmt: skip
        with zipfile.ZipFile(tmp_path / "ads.zip", "w") as archive:
            for name in names:
                archive.writestr(name, "id,title\na,b\n")
        with pytest.raises(InputError, match=problem):
            read_ads(tmp_path / "ads.zip")
    with zipfile.ZipFile(tmp_path / "ads.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._ads.csv", "x")
        archive.writestr("ads.csv", "id,title\n" + "\n" * (4 << 20))
    with pytest.raises(InputError, match="expands to over 200 times its size"):
        read_ads(tmp_path / "ads.zip")
