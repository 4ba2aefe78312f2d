"""Files as companies have them: read as they are meant, or refused with what was found and the way out."""

import gzip
import io
import os
import sys
import threading
import zlib
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from intently.catalog import (
    Catalog,
    lines,
    problems,
    quoted,
    read_ads,
    read_judgements,
    read_qrels,
    read_queries,
    read_run,
)
from intently.catalog.problems import RowsError
from intently.errors import InputError
from intently.types import Ad


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def ads_of(path: Path, **options) -> list[Ad]:
    catalog = read_ads(path, **options).catalog
    return [catalog.ad(row) for row in range(len(catalog))]


AB = [Ad("a", "b"), Ad("c", "d")]
READ = {
    "cr.tsv": "ad_id\ttitle\ra\tb\rc\td\r",
    "cr.csv": 'ad_id,title\ra,"b"\rc,d',
    "trailing.csv": "ad_id,title,,\na,b,,\nc,d\n",
    "trailing.tsv": "ad_id\ttitle\t\t\na\tb\t\t\nc\td\n",
    "over.csv": "ad_id,title\na,b,,,\nc,d\n",
    "semicolon.csv": 'ad_id;title\na;b\nc;"d"\n',
    "tabs.txt": "ad_id\ttitle\na\tb\nc\td\n",
    "commas.txt": "ad_id,title\na,b\nc,d\n",
    "lines.json": '{"ad_id": "a", "title": "b"}\n{"ad_id": "c", "title": "d"}\n',
    "names.csv": "Ad ID,Headline\na,b\nc,d\n",
    "hidden.tsv": gzip.compress(b"ad_id\ttitle\na\tb\nc\td\n"),
    "long.csv": f'ad_id,title,ignored\na,b,"{"x" * 200_000}"\nc,d,\n',
    "blank.csv": "ad_id,title,note\na,b,\n,,\n,,\nc,d,\n",
    "blank.tsv": "ad_id\ttitle\tnote\na\tb\t\n\t\t\nc\td\t\n",
    "twice.csv": "ad_id,title,note,note\na,b,,\nc,d,,\n",
    "semicolon.tsv": "ad_id;title\na;b\nc;d\n",
    "bars.csv": "ad_id|title\na|b\nc|d\n",
    "lines.csv": '{"ad_id": "a", "title": "b"}\n{"ad_id": "c", "title": "d"}\n',
    "report.csv": "Ad report\n1 May,3 May\nad_id,title\na,b\nc,d\nTotal: ads,\n",
    "separator.csv": "sep=;\r\nad_id;title\r\na;b\r\nc;d\r\n",
    "old.tsv": "ad_id\ttitle\na\tb\nc\td\n".encode("utf-16"),
    "unmarked.tsv": "ad_id\ttitle\na\tb\nc\td\n".ljust(80, "\n").encode("utf-16-le"),
    "array.json": '[\n {"ad_id": "a", "title": "b"},\n {"ad_id": "c", "title": "d"}]',
    "array.jsonl": '[{"ad_id": "a", "title": "b"}, {"ad_id": "c", "title": "d"}]',
    "answer.json": '{"data": {"products": [{"ad_id": "a", "title": "b"}, {"ad_id": "c", "title": "d"}]}, "page": 1}',
    "feed.tsv": '<?xml version="1.0"?>\n<rss><channel><title>Shop</title><item><id>a</id><title>b</title></item>'
    "<item><id>c</id><title>d</title></item></channel></rss>",
    "shop.xml": "<products><product id='a'><name>b</name></product><product id='c'><name>d</name></product></products>",
    "quoted.tsv": 'ad_id\ttitle\n"a"\t"b"\nc\td\n',
}


@pytest.mark.parametrize("name", READ)
def test_read_as_meant(tmp_path, name):
    assert ads_of(write(tmp_path / name, READ[name])) == AB


REFUSED = {
    "feed.zip": (b"PK\x03\x04", "damaged or truncated: .*; fetch or pack it again"),
    "feed.csv": (b"PK\x03\x04....", "damaged or truncated"),
    "feed.xml": (b"<rss/>", "an XML file without items, entries or products; it has rss"),
    "torn.xml": (b"<rss>\n<item><id>a</id>", "not well-formed XML"),
    "entity.xml": (
        b'<!DOCTYPE x [<!ENTITY a "b">]><rss><item>&a;</item></rss>',
        "declares a document type or entities",
    ),
    "page.csv": (b"<!DOCTYPE html><html>", "an HTML page; download the file itself"),
    "array.json": (b'[\n {"ad_id": "a"}]', "field 'title': empty"),
    "torn.json": (b'[\n {"ad_id": "a"},\n', r"torn\.json:2: not valid JSON"),
    "two.json": (
        b'{\n "ads": [{"id": 1}], "users": [{"id": 1}]}',
        "several lists of objects: ads, users; keep the one",
    ),
    "words.tsv": ("ad_id\ttitle\n".encode("utf-16"), "no ads"),
    "words.txt": (b"hello\n", "unknown format, and the first line has no separator: 'hello'"),
    "quote.csv": (b'"ad_id,title\na,b\n', "the header is not valid CSV"),
    "pq.tsv": (b"PAR1....", "damaged or truncated"),
    "names.tsv": (b"ad_id\tname\tMy headline\na\tb\tc\n", "both 'name' and 'My headline' may be the title; rename"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_what_was_found_and_the_way_out(tmp_path, name):
    content, problem = REFUSED[name]
    with pytest.raises(InputError, match=problem):
        read_ads(write(tmp_path / name, content))


def test_folders_and_addresses(tmp_path):
    write(tmp_path / "part-0.parquet", b"")
    with pytest.raises(InputError, match=r"this is a folder; name one file in it, such as part-0\.parquet"):
        read_ads(tmp_path)
    for address, way in (("s3://bucket/ads.tsv", "aws s3 cp"), ("https://x.example/ads.csv", "curl")):
        with pytest.raises(InputError, match=rf"an address .*; download the file first; .*{way}"):
            read_ads(address)


@pytest.mark.parametrize("path", [None, 5, b"ads.tsv", "\ud800", "a\0.tsv", "a" * 10_000, ""])
def test_what_is_no_path_is_refused(path):
    for read in (read_ads, read_queries, read_judgements, read_qrels, read_run):
        with pytest.raises(InputError, match=r"expected a path|not the name of a file|this is a folder"):
            read(path)


def test_strict_reading_tells_all_problems(tmp_path):
    rows = "".join(f"a{n}\t\n" if n % 2 else f"a{n}\tx\t-1\n" for n in range(100))
    path = write(tmp_path / "ads.tsv", "ad_id\ttitle\tbid\nok\tx\t\nok\ty\t\n" + rows)
    with pytest.raises(RowsError, match=r"ads\.tsv:3 field 'ad_id': .* \(and 100 more wrong rows\)") as refused:
        read_ads(path)
    assert refused.value.num_problems == 101
    assert len(refused.value.problems) == 20
    assert (refused.value.line, refused.value.field) == (3, "ad_id")
    assert "ads.tsv:4 field 'bid'" in refused.value.problems[1]
    assert "ads.tsv:5: 2 fields where 3" in refused.value.problems[2]


def test_parquet_as_companies_write_it(tmp_path):
    def read(**columns):
        pq.write_table(pa.table(columns), tmp_path / "ads.parquet")
        return ads_of(tmp_path / "ads.parquet")

    words = pa.array(["k", "l"]).dictionary_encode()
    lists = pa.ListArray.from_arrays([0, 2, 2], words)
    assert [ad.keywords for ad in read(ad_id=["a", "c"], title=["b", "d"], keywords=lists)] == [("k", "l"), ()]
    fixed = pa.array([["k", "l"], None], pa.list_(pa.string(), 2))
    assert [ad.keywords for ad in read(ad_id=["a", "c"], title=["b", "d"], keywords=fixed)] == [("k", "l"), ()]
    assert read(ad_id=["a", "c"], title=["b", "d"], keywords=pa.array([[], None], pa.list_(pa.null()))) == AB
    assert read(ad_id=pa.array([b"a", b"c"]), title=pa.array([b"b", b"d"], pa.large_binary())) == AB
    for ids in ([1.0, 2.0], [Decimal("1.00"), Decimal("2.00")]):
        assert [ad.ad_id for ad in read(ad_id=ids, title=["b", "d"])] == ["1", "2"]
    bids = [ad.bid for ad in read(ad_id=["a", "c"], title=["b", "d"], bid=[float("nan"), 0.5])]
    assert bids == [None, 0.5]
    for ids, problem in (
        ([1.5, 2.0], "'1.5' is no whole number"),
        ([2.0**60, 1.0], "is no whole number"),
        ([None, 1.0], "empty"),
    ):
        with pytest.raises(InputError, match=rf":1 field 'ad_id': .*{problem}; "):
            read(ad_id=ids, title=["b", "d"])


def test_a_file_that_expands_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "FREE_BYTES", 1 << 20)
    path = write(tmp_path / "ads.tsv.gz", gzip.compress(b"ad_id\ttitle\n" + b"\n" * (64 << 20)))
    with pytest.raises(InputError, match="expands to over 200 times its size"):
        read_ads(path, skip_bad=True)
    table = pa.table({"ad_id": [str(n) for n in range(1000)], "title": ["x" * 100_000] * 1000})
    pq.write_table(table, tmp_path / "ads.parquet")
    with pytest.raises(InputError, match="expands to over 200 times its size"):
        read_ads(tmp_path / "ads.parquet", skip_bad=True)


def test_budgets_of_empty_lines_and_wrong_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 1024)
    monkeypatch.setattr(lines, "MAX_EMPTY_LINES", 5000)
    monkeypatch.setattr(problems, "MAX_WRONG_ROWS", 5000)
    for name, start in (("ads.tsv", "ad_id\ttitle\n"), ("ads.csv", "ad_id,title\n"), ("ads.jsonl", "{}\n")):
        with pytest.raises(InputError, match="over 5,000 empty lines"):
            read_ads(write(tmp_path / name, start + "\n" * 10_000), skip_bad=True)
        with pytest.raises(InputError, match=r"more wrong rows"):
            read_ads(write(tmp_path / name, start + "x\n" * 10_000), skip_bad=True)


def test_wrong_rows_take_no_memory(tmp_path):
    path = write(tmp_path / "ads.tsv", "ad_id\ttitle\na\tb\n" + "x\n" * 300_000)
    result = read_ads(path, skip_bad=True)
    assert (result.num_rows, result.num_skipped, len(result.problems)) == (300_001, 300_000, 20)


def test_quotes_that_are_never_closed_take_bounded_time(tmp_path, monkeypatch):
    monkeypatch.setattr(quoted, "MAX_READ_AGAIN", 1 << 20)
    line = 'a""","\n'  # opens a quote where a row begins, and closes and opens one inside a row
    path = write(tmp_path / "ads.csv", "ad_id,title\n" + line * 5000)
    with pytest.raises(InputError, match="too many quotes that are never closed"):
        read_ads(path, skip_bad=True)


@pytest.fixture
def pipe(tmp_path):
    """Return a function that makes a named pipe, which can be read once."""
    writers = []

    def make(text: str) -> Path:
        path = tmp_path / f"pipe{len(writers)}"
        os.mkfifo(path)
        writers.append(threading.Thread(target=path.write_bytes, args=(text.encode(),)))
        writers[-1].start()
        return path

    yield make
    for writer in writers:
        writer.join(timeout=10)
        assert not writer.is_alive()


def test_pipes_are_read_once_and_whole(pipe):
    rows = "".join(f"q{n} 0 a{n} 1\n" for n in range(700_000))
    assert len(read_qrels(pipe(rows))) == 700_000
    assert ads_of(pipe("ad_id\ttitle\na\tb\nc\td\n")) == AB
    assert read_queries(pipe("pan\nlamp\n")).texts == ("pan", "lamp")
    assert len(read_judgements(pipe("query\tad_id\tclicks\nq\ta\t1\n"))) == 1


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_standard_input(monkeypatch, compress):
    def give(text: str) -> str:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(compress(text.encode()))))
        return "-"

    assert ads_of(give("ad_id\ttitle\na\tb\nc\td\n")) == AB
    assert ads_of(give('{"ad_id": "a", "title": "b"}\n{"ad_id": "c", "title": "d"}')) == AB
    assert read_queries(give("pan\nlamp\n")).texts == ("pan", "lamp")
    with pytest.raises(InputError, match="standard input:2 field 'title': empty"):
        read_ads(give("ad_id\ttitle\na\t\n"))


def test_damage_in_the_middle_of_a_compressed_file(tmp_path):
    data = bytearray(gzip.compress(os.urandom(1 << 20)))
    data[len(data) // 2] ^= 1
    with pytest.raises(InputError, match=r"damaged|not UTF-8|no such column"):
        read_ads(write(tmp_path / "ads.tsv.gz", bytes(data)))
    assert zlib.error


@pytest.mark.parametrize("ad_id", ["a\tb", "a\u00a0b", "a\u200bb", "a\nb", "a␣b", "a\x1bb"])
def test_ids_that_nobody_can_see_are_refused(ad_id):
    with pytest.raises(InputError, match=r"ads:1 field 'ad_id': .* cannot be an id; write ids without tabs"):
        Catalog.from_ads([Ad(ad_id, "b")])


WRONG_ADS = [
    (5, "ads:2: expected an Ad, got int 5"),
    ({"ad_id": "a"}, "ads:2: expected an Ad, got dict"),
    (Ad(5, "b"), "ads:2 field 'ad_id': expected a text, got int 5; write a str"),
    (Ad("a", None), "ads:2 field 'title': expected a text, got NoneType None"),
    (
        Ad("a", "b", keywords="shoe"),
        r"ads:2 field 'keywords': expected a list of texts, got str 'shoe'; write \('shoe',\)",
    ),
    (Ad("a", "b", keywords=(1,)), "ads:2 field 'keywords': expected a list of texts"),
    (Ad("a", "b", bid="1"), "ads:2 field 'bid': expected a number or None, got str '1'"),
    (Ad("a", "b", bid=True), "ads:2 field 'bid': expected a number or None, got bool True"),
    (Ad("a", "b", landing_spans=("x",)), "ads:2 field 'landing_spans': expected a list of Span"),
    (Ad("a", "b", bid=10**400), "ads:2 field 'bid': a value that cannot be stored"),
]


@pytest.mark.parametrize(("ad", "problem"), WRONG_ADS)
def test_ads_of_wrong_types_are_refused(ad, problem):
    with pytest.raises(InputError, match=problem):
        Catalog.from_ads([Ad("first", "x"), ad])


@pytest.mark.parametrize("ads", [Ad("a", "b"), "ads", 5, None])
def test_what_is_no_list_of_ads_is_refused(ads):
    with pytest.raises(InputError, match="expected a list of Ad, got"):
        Catalog.from_ads(ads)
