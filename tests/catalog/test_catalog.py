import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.catalog import Catalog
from intently.catalog.texts import brand_words
from intently.errors import ArtifactError, InputError
from intently.text.fold import fold
from intently.types import Ad, Span

ADS = [
    Ad(
        "a",
        "锅",
        "non-stick",
        "buy",
        (Span("Sale", 0.5), Span("", 1.0)),
        ("pan", "pot"),
        "K",
        "C",
        0.5,
        "ended",
        ("DE",),
    ),
    Ad("b", "lamp", languages=("en",), devices=("mobile",), day_parts=("mon@1-2",), audiences=("x",)),
    Ad("c", "shoe", keywords=("boot",)),
]


@pytest.fixture
def catalog() -> Catalog:
    return Catalog.from_ads(iter(ADS))


def test_ads_come_back(catalog):
    assert len(catalog) == catalog.num_ads == 3
    assert [catalog.ad(row) for row in range(3)] == ADS
    assert [catalog.ad_id(row) for row in range(3)] == ["a", "b", "c"]
    assert catalog.column("title").to_pylist() == catalog.strings("title") == ["锅", "lamp", "shoe"]
    assert catalog.strings("title", 1, 2) == ["lamp"]
    assert catalog.strings("title", 2) == ["shoe"]


@pytest.mark.parametrize("row", [-1, 3])
def test_rows_outside_the_catalogue(catalog, row):
    for call in (catalog.ad, catalog.ad_id):
        with pytest.raises(IndexError, match="not in 0 … 2"):
            call(row)


def test_rows_by_id(catalog):
    rows = catalog.ad_rows(["c", "unknown", "a", "a"])
    assert rows.dtype == np.int64
    assert rows.tolist() == [2, -1, 0, 0]
    assert catalog.ad_rows(pa.chunked_array([["b"], ["x"]])).tolist() == [1, -1]
    assert catalog.ad_rows([]).tolist() == []


@pytest.mark.parametrize("batch_size", [1, 2, 8192])
def test_text_of_all_ads(catalog, batch_size):
    batches = list(catalog.iter_text("title", "keywords", "description", separator=" / ", batch_size=batch_size))
    assert max(map(len, batches)) <= batch_size
    assert [text for batch in batches for text in batch] == ["锅 / pan / pot / non-stick", "lamp", "shoe / boot"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).map(str.strip)))
def test_any_titles_survive(titles):
    ads = [Ad(f"ad{number}", title) for number, title in enumerate(titles) if title]
    catalog = Catalog.from_ads(ads)
    assert [catalog.ad(row) for row in range(len(catalog))] == ads


def test_save_and_load(catalog, tmp_path):
    catalog.save(tmp_path / "catalog.arrow")
    assert [path.name for path in tmp_path.iterdir()] == ["catalog.arrow"]
    loaded = Catalog.load(tmp_path / "catalog.arrow")
    assert loaded.table.equals(catalog.table)
    loaded.save(tmp_path / "catalog.arrow")  # over the file it is mapped to
    assert Catalog.load(tmp_path / "catalog.arrow").table.equals(catalog.table)
    Catalog.from_ads([]).save(tmp_path / "empty.arrow")
    assert len(Catalog.load(tmp_path / "empty.arrow")) == 0


def test_load_refuses_what_it_cannot_trust(catalog, tmp_path):
    path = tmp_path / "catalog.arrow"
    with pytest.raises(ArtifactError, match="no such file"):
        Catalog.load(path)
    catalog.save(path)
    whole = path.read_bytes()
    for torn in (b"", b"x", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(torn)
        with pytest.raises(ArtifactError, match=r"catalog\.arrow: torn"):
            Catalog.load(path)
    for table in (catalog.table, pa.table({"ad_id": ["a"]}).replace_schema_metadata({"intently.catalog": "1"})):
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
        with pytest.raises(ArtifactError, match="not a catalog of version 3"):
            Catalog.load(path)


def test_ads_are_checked():
    with pytest.raises(InputError, match="ads:2 field 'title': empty"):
        Catalog.from_ads([Ad("a", "b"), Ad("c", " ")])
    with pytest.raises(InputError, match="ads:2 field 'ad_id': ad 'a' is on line 1 already"):
        Catalog.from_ads([Ad("a", "b"), Ad("a", "c")])
    with pytest.raises(InputError, match="field 'landing_spans'"):
        Catalog.from_ads([Ad("a", "b", landing_spans=(Span("x", float("nan")),))])
    with pytest.raises(InputError, match=r"ads:2 field 'title': a value that cannot be stored: .*surrogates"):
        Catalog.from_ads([Ad("a", "b"), Ad("c", "\ud83d")])
    with pytest.raises(InputError, match=r"ads:1 field 'title': expected a text, got int 7; write a str"):
        Catalog.from_ads([Ad("a", 7)])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="columns of a catalog"):
        Catalog(pa.table({"ad_id": ["a"]}))


def test_the_last_of_many_chunks_is_found():
    catalog = Catalog.from_ads(Ad(str(number), "t") for number in range(70_000))
    assert catalog.column("ad_id").num_chunks > 1
    assert catalog.ad_rows(["69999", "0"]).tolist() == [69_999, 0]
    with pytest.raises(InputError, match=r"ads:70001 .* on line 8 already"):
        Catalog.from_ads(Ad(str(number if number < 70_000 else 7), "t") for number in range(70_001))


def test_ads_without_any_text_keep_their_places():
    catalog = Catalog.from_ads([Ad("a", "x"), Ad("b", "y", landing_text="买"), Ad("c", "z", keywords=("k",))])
    assert list(catalog.iter_text("landing_text")) == [["", "买", ""]]
    assert list(catalog.iter_text("landing_text", "keywords")) == [["", "买", "k"]]


def test_words_of_brands():
    ads = [Ad("a", "Pump", advertiser="L'Oréal Wacker-Neuson"), Ad("b", "锅", advertiser="苏泊尔"), Ad("c", "Pan")]
    words = brand_words(Catalog.from_ads(ads))
    assert {"wacker", "neuson", "苏泊尔"} <= words
    assert all(word == fold(word) for word in words)
