"""Columns that no field is called are kept with the ad, whatever the format, and numbers stay numbers."""

import json
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.catalog import Catalog, read_ads
from intently.catalog.payload import MAX_VALUE_LENGTH
from intently.errors import InputError
from intently.types import Ad

HEADER = ("ad_id", "title", "price", "Image Link", "gtin", "item_group_id", "价格", "mixed")
QUOTE = '"'
ROWS = [
    ("a", "Lamp", "9.50", 'https://x/"q"?a=1&b=2', "0012", "g1", "7", "1"),
    ("b", "灯", "", " ", "12", "g1", "", "two"),
]
PAYLOADS = [
    {"price": 9.5, "image_link": 'https://x/"q"?a=1&b=2', "gtin": "0012", "group_id": "g1", "价格": 7, "mixed": "1"},
    {"gtin": "12", "group_id": "g1", "mixed": "two"},
]


def payloads(path) -> list[dict]:
    catalog = read_ads(path).catalog
    return [catalog.ad(row).payload for row in range(catalog.num_ads)]


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_text_columns(tmp_path, separator):
    path = tmp_path / ("ads.tsv" if separator == "\t" else "ads.csv")
    quoted = [[value if separator == "\t" else f'"{value.replace(QUOTE, QUOTE * 2)}"' for value in row] for row in ROWS]
    path.write_text("\n".join(separator.join(row) for row in (HEADER, *quoted)) + "\n", encoding="utf-8")
    assert payloads(path) == PAYLOADS
    assert [type(value) for value in payloads(path)[0].values()] == [float, str, str, str, int, str]
    result = read_ads(path)
    assert result.payload_columns == HEADER[2:] and result.ignored_columns == ()


def test_numbers_in_a_column_of_texts(tmp_path):
    """Nine of ten decide, and a code makes all of them texts."""
    columns = {
        "price": ["5.8100000000000005", "0.0", "-3", "1e3", "7", "8", "9", "10", "11", "on request"],
        "few": ["1", "x", "y", "2", "3", "4", "5", "6", "7", "8"],
        "gtin": ["0012", *map(str, range(100, 109))],
        "long": ["1234567890123456", *map(str, range(100, 109))],
        "odd": ["+5", ".5", "5.", "1,5", "0x1", "NaN", "inf", "１", "1_0", "5 "],
    }
    rows = ["\t".join(("ad_id", "title", *columns))]
    rows += ["\t".join((f"a{at}", "t", *values)) for at, values in enumerate(zip(*columns.values(), strict=True))]
    path = tmp_path / "ads.tsv"
    path.write_text("\n".join(rows), encoding="utf-8")
    found = payloads(path)
    assert [each["price"] for each in found] == [5.8100000000000005, 0.0, -3, 1000.0, 7, 8, 9, 10, 11, "on request"]
    for name in ("few", "gtin", "long", "odd"):
        assert [each[name] for each in found] == [value.strip() for value in columns[name]]


def test_json_lines_keep_types_and_later_columns(tmp_path):
    objects = [{"ad_id": 1, "title": "t", "payload": {"price": 1, "x": {"y": [None]}}, "price": 2, "late": None}]
    objects += [{"ad_id": row, "title": "t"} for row in range(2, 200)] + [{"ad_id": 200, "title": "t", "late": [True]}]
    path = tmp_path / "ads.jsonl"
    path.write_text("\n".join(map(json.dumps, objects)))
    found = payloads(path)
    assert found[0] == {"price": 1, "x": {"y": (None,)}}  # the payload's own value stays
    assert found[-1] == {"late": (True,)} and found[1] == {}
    assert read_ads(path).payload_columns == ("price", "late")


def test_parquet_keeps_types(tmp_path):
    table = pa.table(
        {
            "ad_id": ["a", "b"], "title": ["x", "灯"], "price": [Decimal("1.50"), None], "day": [date(2024, 1, 2)] * 2,
            "picture": [b"x", b"y"], "maker": [{"name": "红", "share": float("nan")}, None],
            "left": [float("nan"), 2.0],
            "kind": pa.array(["k", "k"]).dictionary_encode(), "sold": [True, False],
            "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
        }
    )  # fmt: skip
    pq.write_table(table, tmp_path / "ads.parquet")
    assert payloads(tmp_path / "ads.parquet") == [
        {
            "price": 1.5, "day": "2024-01-02", "maker": {"name": "红", "share": None}, "kind": "k", "sold": True,
            "map": {"a": 1},
        },
        {"day": "2024-01-02", "left": 2.0, "kind": "k", "sold": False},
    ]  # fmt: skip
    assert read_ads(tmp_path / "ads.parquet").ignored_columns == ("picture",)


def test_columns_that_are_left_out_are_told(tmp_path):
    path = tmp_path / "ads.tsv"
    page = "x" * (MAX_VALUE_LENGTH + 1)
    path.write_text(f"ad_id\ttitle\tnote\tnote\tpage\t{'n' * 101}\tprice\na\tt\t1\t2\t{page}\t3\t4\n")
    result = read_ads(path)
    assert result.catalog.ad(0).payload == {"price": 4}
    assert result.payload_columns == ("price",) and result.ignored_columns == ("note", "note", "page", "n" * 101)


def test_a_payload_column_that_is_wrong(tmp_path):
    path = tmp_path / "ads.tsv"
    for text, told in (
        ("5", "not an object in JSON"),
        ("{", "not an object in JSON"),
        ('{"title": 1}', "'title' cannot be a name in the payload"),
        (json.dumps({"x": "y" * 100_000}), "over the limit of 100,000"),
        ('{"x": ' + "[" * 30 + "]" * 30 + "}", "nested too deeply"),
    ):
        path.write_text(f'ad_id\ttitle\tpayload\nz\tt\t{{"x": 1}}\na\tt\t{text}\n')
        with pytest.raises(InputError, match=rf"ads\.tsv:3 field 'payload': .*{told}"):
            read_ads(path)
        assert read_ads(path, skip_bad=True).catalog.ad(0).payload == {"x": 1}


def test_a_batch_that_is_partly_wrong_keeps_the_rows_together(tmp_path):
    path = tmp_path / "ads.tsv"
    rows = [f"a{row % 90}\t{'t' if row % 7 else ''}\t{row % 90}" for row in range(100)]
    path.write_text("\n".join(["ad_id\ttitle\tprice", *rows]))
    catalog = read_ads(path, skip_bad=True).catalog
    assert all(catalog.ad(row).payload == {"price": int(catalog.ad_id(row)[1:])} for row in range(catalog.num_ads))
    assert catalog.num_ads > 70


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
JSON = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "价", "x y"]), JSON, max_size=3), max_size=5))
def test_any_payload_survives(tmp_path_factory, given_payloads):
    ads = [Ad(f"a{row}", "t", payload=payload) for row, payload in enumerate(given_payloads)]
    catalog = Catalog.from_ads(ads)
    path = tmp_path_factory.mktemp("payload") / "catalog.arrow"
    catalog.save(path)
    for one in (catalog, Catalog.load(path)):
        assert [one.ad(row) for row in range(one.num_ads)] == ads
