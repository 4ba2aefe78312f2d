"""Reading ads: what is accepted, what is refused, and what is said about it."""

import bz2
import gzip
import json
import lzma
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.catalog import read_ads
from intently.errors import InputError
from intently.types import Ad, Span


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def ads_of(path: Path, **options) -> list[Ad]:
    catalog = read_ads(path, **options).catalog
    return [catalog.ad(row) for row in range(len(catalog))]


FULL = Ad(
    "a1", "Pfanne 锅", "beschichtet", "jetzt kaufen", (Span("Sale", 0.5),), ("pfanne", "锅"), "Koch", "Küche", 0.25,
    "paused", ("DE", "CN"), ("de", "zh"), ("mobile",), ("mon-fri@9-18", "sat,sun@0-24"), ("cooks",),
)  # fmt: skip
FULL_TSV = (
    "ad_id\ttitle\tdescription\tlanding_text\tlanding_spans\tkeywords\tadvertiser\tcategory\tbid\tstatus\tcountries\t"
    "languages\tdevices\tday_parts\taudiences\n"
    'a1\tPfanne 锅\tbeschichtet\tjetzt kaufen\t[{"text": "Sale", "confidence": 0.5}]\tpfanne | 锅|\tKoch\tKüche\t0.25\t'
    "Paused\tde|CN\tDE|zh\tMobile\tMon-Fri@9-18|sat,sun@0-24\tcooks\n"
)


def test_every_field_of_tsv(tmp_path):
    assert ads_of(write(tmp_path / "ads.tsv", FULL_TSV)) == [FULL]


def test_every_field_of_csv(tmp_path):
    rows = [line.split("\t") for line in FULL_TSV.splitlines()]
    quoted = "\n".join(",".join('"' + field.replace('"', '""') + '"' for field in row) for row in rows)
    assert ads_of(write(tmp_path / "ads.csv", quoted)) == [FULL]


RECORD = {
    "ad_id": "a1", "title": "Pfanne 锅", "description": "beschichtet", "landing_text": "jetzt kaufen",
    "landing_spans": [{"text": "Sale", "confidence": 0.5}], "keywords": ["pfanne", "锅"], "advertiser": "Koch",
    "category": "Küche", "bid": 0.25, "status": "paused", "countries": ["DE", "CN"], "languages": ["de", "zh"],
    "devices": ["mobile"], "day_parts": ["mon-fri@9-18", "sat,sun@0-24"], "audiences": ["cooks"],
}  # fmt: skip


def test_every_field_of_json_lines(tmp_path):
    assert ads_of(write(tmp_path / "ads.jsonl", json.dumps(RECORD) + "\n\n")) == [FULL]


def test_every_field_of_parquet(tmp_path):
    pq.write_table(pa.Table.from_pylist([RECORD]), tmp_path / "ads.parquet")
    assert ads_of(tmp_path / "ads.parquet") == [FULL]


MINIMAL = "ad_id\ttitle\na\tb\n"


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zst", lambda data: pa.compress(data, "zstd", asbytes=True)),
    ],
)
def test_compressed_whole_and_truncated(tmp_path, suffix, compress):
    data = compress((MINIMAL + "".join(f"x{number}\ttitle {number**3}\n" for number in range(2000))).encode())
    assert read_ads(write(tmp_path / f"ads.tsv{suffix}", data)).num_rows == 2001
    torn = write(tmp_path / f"torn.tsv{suffix}", data[: len(data) // 2])
    for skip_bad in (False, True):
        with pytest.raises(InputError, match=r"torn\.tsv.*(damaged|cannot be read)"):
            read_ads(torn, skip_bad=skip_bad)
    with pytest.raises(InputError, match=r"no\.tsv.*(damaged|cannot be read)"):
        read_ads(write(tmp_path / f"no.tsv{suffix}", MINIMAL))


@pytest.mark.parametrize(
    "text",
    ["\ufeff" + MINIMAL, "ad_id\ttitle\r\na\tb\r\n", "ad_id\ttitle\na\tb", "\nAD_ID\t Title \n\na\t b \n\n"],
    ids=["byte-order mark", "CRLF", "no last line feed", "empty lines, case and spaces"],
)
def test_small_differences_do_not_matter(tmp_path, text):
    assert ads_of(write(tmp_path / "ads.tsv", text)) == [Ad("a", "b")]


def test_byte_order_mark_and_crlf_in_csv_and_json_lines(tmp_path):
    assert ads_of(write(tmp_path / "ads.csv", '\ufeff"ad_id",title\r\na,"b\r\nc"\r\n')) == [Ad("a", "b\nc")]
    assert ads_of(write(tmp_path / "ads.jsonl", '\ufeff{"ad_id": 7, "title": "b"}\r\n')) == [Ad("7", "b")]


@pytest.mark.parametrize("word", ["NA", "nil", '"half', 'a "b" c', "''", "AT&T", "a < b", "007", "1e5"])
def test_text_is_text(tmp_path, word):
    assert ads_of(write(tmp_path / "ads.tsv", f"ad_id\ttitle\tdescription\n{word}\t{word}\t{word}\n"))[0].title == word
    quoted = '"' + word.replace('"', '""') + '"'
    assert ads_of(write(tmp_path / "ads.csv", f"ad_id,title\n{quoted},{quoted}\n")) == [Ad(word, word)]
    assert ads_of(write(tmp_path / "ads.jsonl", json.dumps({"ad_id": word, "title": word}))) == [Ad(word, word)]


@pytest.mark.parametrize("word", ["null", "NaN", "None", "\\N", "#N/A", "n/a", "(null)", "--"])
def test_what_tables_write_for_nothing(tmp_path, word):
    path = write(tmp_path / "ads.tsv", f"ad_id\ttitle\tbrand\tbid\nk\tKettle\t{word}\t {word} \n")
    (ad,) = ads_of(path)
    assert (ad.advertiser, ad.bid) == ("", None)
    told = "1 cells of 'brand' that stand for no value (NULL, N/A, …) read as empty"
    assert told in read_ads(path).feeds[0].notes
    for row, field in ((f"{word}\tKettle", "'ad_id'"), (f"k\t{word}", "'title'")):
        with pytest.raises(InputError, match=rf":2 field {field}: .* stands for no"):
            ads_of(write(path, f"ad_id\ttitle\n{row}\n"))


def test_other_names_and_columns_that_are_payload(tmp_path):
    text = "id\tproduct_id\tname\tbrand\tprice\tbid_price\nx\ta\tb\tc\t9\t0.5\n"
    result = read_ads(write(tmp_path / "ads.tsv", text))
    assert result.catalog.ad(0) == Ad("a", "b", advertiser="c", bid=0.5, payload={"id": "x", "price": 9})
    assert result.payload_columns == ("id", "price")
    assert result.ignored_columns == ()


# One wrong row, on line 3, after a good one: header, row, what is said.
WRONG_ROWS = [
    ("ad_id\ttitle", b"b", "1 fields where 2 are expected"),
    ("ad_id\ttitle", b"b\tc\td", "3 fields where 2 are expected"),
    ("ad_id\ttitle", b"\tc", "field 'ad_id': empty"),
    ("ad_id\ttitle", b"b\t \xe3\x80\x80", "field 'title': empty"),
    ("ad_id\ttitle", b"b\t\xff", "not UTF-8"),
    ("ad_id\ttitle", b"b\tc\0", "NUL character"),
    ("ad_id\ttitle", b"b\t" + b"c" * 10_001, "field 'title': 10,001 characters, over the limit of 10,000"),
    ("ad_id\ttitle", b"b" * 257 + b"\tc", "field 'ad_id': 257 characters, over the limit of 256"),
    ("ad_id\ttitle\tbid", b"b\tc\t-1", "field 'bid': -1.0 is not finite and at least 0"),
    ("ad_id\ttitle\tbid", b"b\tc\tx1", "field 'bid': 'x1' is not a number"),
    ("ad_id\ttitle\tbid", b"b\tc\tinf", "field 'bid': 'inf' is not a number"),
    ("ad_id\ttitle\tbid", b"b\tc\t1e999", "field 'bid': inf is not finite"),
    ("ad_id\ttitle\tbid", b"b\tc\t1,250", "field 'bid': '1,250' may be a thousand and more, or one with decimals"),
    (
        "ad_id\ttitle\tstatus",
        b"b\tc\tgone",
        "field 'status': unknown status 'gone'; use one of active, paused, ended",
    ),
    ("ad_id\ttitle\tcountries", b"b\tc\tDE|GER", "field 'countries': 'GER' is not a country; use a two-letter code"),
    (
        "ad_id\ttitle\tlanguages",
        b"b\tc\tgermanic",
        "field 'languages': 'germanic' is not a language; use a language tag",
    ),
    (
        "ad_id\ttitle\tday_parts",
        b"b\tc\tmon-fri",
        "field 'day_parts': day part 'mon-fri' has no valid hours; write days@start-end",
    ),
    ("ad_id\ttitle\tkeywords", b"b\tc\t" + b"k|" * 1001, "field 'keywords': over 1,000 elements"),
    ("ad_id\ttitle\tkeywords", b"b\tc\tk|" + b"l" * 1001, "is too long"),
    ("ad_id\ttitle\tlanding_spans", b"b\tc\tfree text", "field 'landing_spans': not a list of spans"),
    ("ad_id\ttitle\tlanding_spans", b'b\tc\t[{"text": "x"}]', "field 'landing_spans': not a list of spans"),
    ("ad_id\ttitle\tlanding_spans", b'b\tc\t[{"text": "x", "confidence": 1.5}]', r"a confidence outside \[0, 1\]"),
    ("ad_id\ttitle\tlanding_spans", b'b\tc\t[{"text": "\\ud83d", "confidence": 1}]', "not a list of spans"),
    (
        "ad_id\ttitle\tlanding_spans",
        b'b\tc\t[{"text": "' + b"x" * 1001 + b'", "confidence": 1}]',
        "the text of a span is over 1,000 characters",
    ),
    (
        "ad_id\ttitle\tlanding_spans",
        b"b\tc\t[" + b",".join([b'{"text": "' + b"x" * 1000 + b'", "confidence": 1}'] * 101) + b"]",
        "spans of over 100,000 characters in all",
    ),
    ("ad_id\ttitle\tlanding_spans", b'b\tc\t[{"text": "x", "confidence": NaN}]', r"not a list|outside \[0, 1\]"),
]


@pytest.mark.parametrize(("header", "row", "problem"), WRONG_ROWS)
def test_a_wrong_row_is_raised_or_skipped_alone(tmp_path, header, row, problem):
    num_more = header.count("\t") - 1
    good = [f"{ad_id}\tgood" + "\t" * num_more for ad_id in ("a", "z")]
    path = write(tmp_path / "ads.tsv", f"{header}\n{good[0]}\n".encode() + row + f"\n{good[1]}\n".encode())
    with pytest.raises(InputError, match=rf"ads\.tsv:3.*{problem}"):
        read_ads(path)
    result = read_ads(path, skip_bad=True)
    assert result.catalog.strings("ad_id") == ["a", "z"]
    assert (result.num_rows, result.num_skipped, len(result.problems)) == (3, 1, 1)


WRONG_JSON = [
    ('{"ad_id": "b", "title": "c"', "not valid JSON"),
    ('["b", "c"]', "a JSON list where an object is expected"),
    ('{"ad_id": "b", "title": ["c"]}', "field 'title': a JSON list where a string is expected"),
    ('{"ad_id": true, "title": "c"}', "field 'ad_id': a JSON boolean where a string is expected"),
    ('{"ad_id": "b"}', "field 'title': empty"),
    ('{"ad_id": "b", "title": null}', "field 'title': empty"),
    ('{"ad_id": "b", "title": "c", "bid": "half"}', "field 'bid': 'half' is not a number"),
    ('{"ad_id": "b", "title": "c", "bid": [1]}', "field 'bid': a JSON list where a number is expected"),
    ('{"ad_id": "b", "title": "c", "bid": NaN}', "NaN is not a JSON number"),
    ('{"ad_id": "b", "title": "c", "bid": 1e999}', "field 'bid'"),
    ('{"ad_id": "b", "title": "c", "bid": -2}', "field 'bid': -2.0 is not finite and at least 0"),
    ('{"ad_id": "b", "title": "c", "keywords": {"k": 1}}', "field 'keywords': a JSON object where a list of strings"),
    ('{"ad_id": "b", "title": "c", "keywords": ["k", 1]}', "where a list of strings is expected"),
    ('{"ad_id": "b", "title": "c", "landing_spans": [{"text": "x", "confidence": "high"}]}', "landing_spans"),
    ('{"ad_id": "b", "title": "c\\u0000"}', "field 'title': holds a NUL character"),
    ('{"ad_id": "b", "title": "\\ud83d"}', "surrogates not allowed"),
    ("[" * 100_000, "not valid JSON"),
]


@pytest.mark.parametrize(("line", "problem"), WRONG_JSON, ids=[line[:60] for line, _ in WRONG_JSON])
def test_a_wrong_json_line_is_raised_or_skipped_alone(tmp_path, line, problem):
    path = write(tmp_path / "ads.jsonl", f'{{"ad_id": "a", "title": "x"}}\n{line}\n{{"ad_id": "z", "title": "😀"}}\n')
    with pytest.raises(InputError, match=rf"ads\.jsonl:2.*{problem}"):
        read_ads(path)
    result = read_ads(path, skip_bad=True)
    assert result.catalog.strings("title") == ["x", "😀"]
    assert (result.num_rows, result.num_skipped) == (3, 1)


def test_an_unclosed_quote_costs_one_row_of_csv(tmp_path):
    path = write(
        tmp_path / "ads.csv", 'ad_id,title\na,"two\nlines"\nb,"never closed\nc,fine\nd,"also ""fine"""\ne,"x"y\n'
    )
    with pytest.raises(InputError, match=r"ads\.csv:4: not valid CSV"):
        read_ads(path)
    result = read_ads(path, skip_bad=True)
    assert result.catalog.strings("title") == ["two\nlines", "fine", 'also "fine"']
    assert (result.num_rows, result.num_skipped) == (5, 2)
    assert [problem.split(":")[1] for problem in result.problems] == ["4", "7"]


def test_batches_do_not_show_in_csv(tmp_path, monkeypatch):
    monkeypatch.setattr("intently.catalog.quoted.BATCH_ROWS", 2)
    text = "ad_id,title\n" + "".join(f'a{number},"t\n{number}"\n' for number in range(5)) + "bad\nz,t\n"
    result = read_ads(write(tmp_path / "ads.csv", text), skip_bad=True)
    assert result.catalog.strings("ad_id") == ["a0", "a1", "a2", "a3", "a4", "z"]
    assert (result.num_rows, result.num_skipped) == (7, 1)
    assert "ads.csv:12" in result.problems[0]


def test_a_damaged_line_inside_a_row_of_csv(tmp_path):
    path = write(tmp_path / "ads.csv", b'ad_id,title\na,"one\n\xff\nthree"\nb,fine\n')
    result = read_ads(path, skip_bad=True)
    assert result.catalog.strings("ad_id") == ["b"]
    assert "later line of this row is damaged" in "".join(result.problems)


def test_duplicates_name_both_lines_and_the_first_is_kept(tmp_path):
    path = write(tmp_path / "ads.tsv", "ad_id\ttitle\na\tfirst\nb\tx\na\tsecond\na\tthird\n")
    with pytest.raises(InputError, match=r"ads\.tsv:4 field 'ad_id': ad 'a' is on line 2 already"):
        read_ads(path)
    result = read_ads(path, skip_bad=True)
    assert result.catalog.strings("title") == ["first", "x"]
    assert (result.num_rows, result.num_skipped) == (4, 2)


def test_the_first_wrong_row_of_the_file_is_raised_whatever_is_wrong(tmp_path):
    path = write(tmp_path / "ads.tsv", "ad_id\ttitle\tbid\na\tb\t-1\n\tb\t1\nc\n")
    with pytest.raises(InputError, match=r"ads\.tsv:2 field 'bid'"):
        read_ads(path)


def test_many_problems_are_counted_and_the_first_are_kept(tmp_path):
    path = write(tmp_path / "ads.tsv", "ad_id\ttitle\n" + "\tx\n" * 100 + "a\tb\n")
    result = read_ads(path, skip_bad=True)
    assert (result.num_rows, result.num_skipped, len(result.problems)) == (101, 100, 20)
    assert "ads.tsv:2 " in result.problems[0]


WRONG_FILES = {
    "empty.tsv": (b"", "the file is empty"),
    "blank.tsv": (b"\n\n", "the file is empty"),
    "empty.csv": (b"", "the file is empty"),
    "empty.jsonl": (b"", "the file is empty"),
    "header.tsv": (b"ad_id\ttitle\n", "no ads"),
    "header.csv": (b"ad_id,title", "no ads"),
    "untitled.tsv": (b"ad_id\ttext\na\tb\n", "field 'title': no such column"),
    "twice.tsv": (b"ad_id\ttitle\tTitle\na\tb\tc\n", "names a column twice"),
    "ads.xlsx": (b"", "an Excel workbook; export the sheet as CSV"),
    "ads.pages": (b"", "unknown format '.pages'; use one of .tsv"),
    "ads": (b"", "the file is empty"),
    "ads.gz": (b"", "the file is empty"),
    "ads.parquet": (b"no parquet", "damaged or truncated"),
    "ads.parquet.gz": (b"", "decompress it"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_files_that_cannot_be_used_are_raised_always(tmp_path, name):
    content, problem = WRONG_FILES[name]
    path = write(tmp_path / name, content)
    for skip_bad in (False, True):
        with pytest.raises(InputError, match=problem):
            read_ads(path, skip_bad=skip_bad)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_ads(tmp_path / "ads.tsv")
    with pytest.raises(InputError, match="no such file"):
        read_ads(tmp_path / "ads.parquet")
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(InputError, match="this is a folder"):
        read_ads(tmp_path / "folder.tsv")


def test_all_rows_wrong_is_an_error_that_shows_the_first(tmp_path):
    path = write(tmp_path / "ads.tsv", "ad_id\ttitle\n\tb\n\tc\n")
    with pytest.raises(InputError, match=r"no ads; first problem: .*:2 field 'ad_id'"):
        read_ads(path, skip_bad=True)


def test_parquet_types(tmp_path):
    def read(**columns):
        pq.write_table(pa.table(columns), tmp_path / "ads.parquet")
        return ads_of(tmp_path / "ads.parquet")

    assert read(ad_id=[7], title=["x"], bid=[2], description=pa.nulls(1)) == [Ad("7", "x", bid=2.0)]
    assert read(ad_id=["a"], title=pa.array(["x"]).dictionary_encode(), keywords=["k|l"]) == [
        Ad("a", "x", keywords=("k", "l"))
    ]
    with pytest.raises(InputError, match="field 'title': a Parquet column of type double"):
        read(ad_id=["a"], title=[0.5])
    with pytest.raises(InputError, match=r"ads\.parquet:2 field 'title': empty"):
        read(ad_id=["a", "b"], title=["x", None])
    assert read(ad_id=["a"], title=["x"], bid=[float("nan")]) == [Ad("a", "x")]
    with pytest.raises(InputError, match=r"ads\.parquet:1 field 'title': not UTF-8"):
        read(ad_id=["a"], title=pa.array([b"\xff"]).view(pa.string()))


def test_esci_wands_and_beir(tmp_path):
    esci = {
        "product_id": "B0", "product_title": "Pan", "product_description": None, "product_bullet_point": "non-stick",
        "product_brand": "Koch", "product_color": "red", "product_locale": "us",
    }  # fmt: skip
    more = {"product_color": "red", "product_locale": "us"}
    pq.write_table(pa.Table.from_pylist([esci]), tmp_path / "products.parquet")
    assert ads_of(tmp_path / "products.parquet") == [
        Ad("B0", "Pan", landing_text="non-stick", advertiser="Koch", payload=more)
    ]
    wands = 'product_id\tproduct_name\tproduct_class\tproduct_description\n0\tbed, "solid"\tBeds\t"12"" mattress"\n'
    assert ads_of(write(tmp_path / "product.csv", wands)) == [Ad("0", 'bed, "solid"', '12" mattress', category="Beds")]
    words = " ".join(f"word{number}" for number in range(30))
    beir = [{"_id": "1", "title": "T", "text": "x"}, {"_id": "2", "title": "", "text": words, "metadata": {}}]
    beir += [{"_id": "3", "text": "short"}, {"_id": "4", "title": "", "text": "锅" * 120}]
    titles = [ad.title for ad in ads_of(write(tmp_path / "corpus.jsonl", "\n".join(map(json.dumps, beir))))]
    assert titles[0] == "T" and titles[2] == "short" and titles[3] == "锅" * 100
    assert words.startswith(titles[1] + " ") and 90 <= len(titles[1]) <= 100


def test_progress_is_told_the_rows_read(tmp_path):
    calls: list[int] = []
    read_ads(write(tmp_path / "ads.tsv", MINIMAL), progress=calls.append)
    assert calls[-1] == 1


NOTHING = ("null", "(null)", "n/a", "#n/a", "nan", "nat", "none", "\\n")
FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\0\ufeff-–—.?"), max_size=8)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(FIELD, min_size=2, max_size=4)), st.sampled_from(["\n", "\r\n"]))
def test_tsv_is_split_as_the_obvious_way_does(tmp_path_factory, rows, line_end):
    """The slow twin: line after line, field after field."""
    path = tmp_path_factory.mktemp("twin") / "ads.tsv"
    lines = ["ad_id\ttitle\tdescription", *("\t".join(row) for row in rows), "last one\tof all\t"]
    write(path, line_end.join(lines))
    expected: dict[str, tuple[str, ...]] = {}
    for fields in (line.split("\t") for line in lines[1:]):
        ad_id, title = fields[0].strip(), "".join(fields[1:2]).strip()
        odd = [unicodedata.category(each) in ("Cc", "Cf", "Zs", "Zl", "Zp") for each in ad_id.replace(" ", "")]
        if len(fields) >= 3 and not any(each.strip(" ") for each in fields[3:]) and ad_id and title and not any(odd):
            fields = [field.strip() for field in fields]
            if fields[0].lower() in NOTHING or fields[1].lower() in NOTHING:
                continue
            fields[2] = "" if fields[2].lower() in NOTHING else fields[2]
            expected.setdefault(fields[0], (fields[1], fields[2]))
    catalog = read_ads(path, skip_bad=True).catalog
    read = zip(*(catalog.strings(name) for name in ("ad_id", "title", "description")), strict=True)
    assert {ad_id: rest for ad_id, *rest in read} == {ad_id: list(rest) for ad_id, rest in expected.items()}


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["tsv", "csv", "jsonl", "parquet", "tsv.gz", "jsonl.zst"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data, suffix):
    path = tmp_path_factory.mktemp("bytes") / f"ads.{suffix}"
    header = b"" if suffix in ("parquet", "tsv.gz", "jsonl.zst", "jsonl") else b"ad_id\ttitle\n"
    write(path, header + data)
    for skip_bad in (False, True):
        try:
            assert len(read_ads(path, skip_bad=skip_bad).catalog) > 0
        except InputError as error:
            assert "\n" not in str(error)
