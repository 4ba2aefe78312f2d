# ruff: noqa: E501
"""Values as exports write them: words for statuses, dates, amounts, ids; and the ways in which text is written."""

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.catalog import read_ads
from intently.catalog.amounts import Decimals, read_amounts
from intently.catalog.dates import read_date
from intently.catalog.encoding import code_page, utf8_blocks
from intently.catalog.ids import read_ids
from intently.catalog.problems import RowCheck
from intently.catalog.reading import Reading
from intently.errors import InputError
from intently.types import Ad

TODAY = Reading(today=date(2026, 1, 15))


def read(path: Path, text: str | bytes) -> list[Ad]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    catalog = read_ads(path, reading=TODAY).catalog
    return [catalog.ad(row) for row in range(len(catalog))]


WORDS = {
    "availability": {
        "active": "in_stock|IN STOCK|In stock.|pre-order|back order|limited stock|auf Lager (5)|Vorbestellbar|nachbestellbar|现货|現貨|预购|延期交货|库存紧张|庫存充足|お取り寄せ",
        "paused": "OOS|Temporarily out of stock|currently unavailable|coming soon|缺貨|补货中|暂时缺货|无|derzeit nicht verfügbar|vergriffen|품절",
        "ended": "Auslaufartikel|停产|停售|已下架|no longer available",
    },
    "status": {
        "active": "Eligible (Learning)|Eligible (Misconfigured)|active (limited by budget)|läuft|freigeschaltet|啟用|正在投放|生效中|ok",
        "paused": "angehalten|gesperrt|in Prüfung|offline|not active|未投放|审核不通过|已關閉|停用|Paused (by user)|inactive (anything)|account suspended",
        "ended": "Complete|retired|已移除|已刪除|失效|Ended (2025)",
    },
    "approval status": {
        "active": "Approved (limited all)|Approved|通过审核", "paused": "unapproved|ausstehend|驳回|Disapproved (policy)|Approved (not serving)",
    },
    "end_date": {"active": "unbegrenzt|No end date|长期|00/00/0000|2026年12月31日 23:59", "ended": "2025年12月31日 23:59|Wed, 31 Dec 2025 23:59:59 GMT"},
    "pause": {"active": "no|", "paused": "ads|all|yes"},
}  # fmt: skip


@pytest.mark.parametrize(("column", "status", "words"), [
    (column, status, words) for column, by_status in WORDS.items() for status, words in by_status.items()
])  # fmt: skip
def test_words(tmp_path, column, status, words):
    rows = "".join(f"{at}\tT{at}\t{word}\n" for at, word in enumerate(words.split("|")))
    ads = read(tmp_path / "ads.tsv", f"id\ttitle\t{column}\n{rows}")
    assert [ad.status for ad in ads] == [status] * len(words.split("|"))


@pytest.mark.parametrize("word", ["Eligible (paused)", "active (removed)", "mostly", "in stock soon"])
def test_words_that_are_not_understood_are_refused(tmp_path, word):
    with pytest.raises(InputError, match="unknown"):
        read(tmp_path / "ads.tsv", f"id\ttitle\tstatus\na\tA\t{word}\n")


@pytest.mark.parametrize("text", [
    "31. Dezember 2025", "31 déc. 2025", "31-Dec-25", "December 31, 2025 11:59 PM PST", "Dec 31, 2025, 11:59:00 PM",
    "Wed Dec 31 2025 23:59:59 GMT+0100", "31 de diciembre de 2025", "31st December 2025", "1767139200000000",
    "Mittwoch, 31. Dezember 2025", "2025年12月31日", "31 grudnia 2025",
])  # fmt: skip
def test_dates_with_names_of_months(text):
    assert read_date(text, "") == date(2025, 12, 31)


@pytest.mark.parametrize("text", ["31 Foo 2025", "Dezember 2025", "32 Dec 2025", "Dec 31", "the 31st", "12345678901"])
def test_texts_that_are_no_dates(text):
    assert read_date(text, "") is None


@given(st.dates(date(1000, 1, 1)))
def test_dates_with_names_of_months_are_read_as_they_were_written(day):
    for form in ("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%a, %d %b %Y 23:59:59 GMT"):
        assert read_date(day.strftime(form).replace(str(day.year), f"{day.year:04d}"), "") == day


@pytest.mark.parametrize(("values", "numbers"), [
    (["12,- €", "1.299,- €"], [12, 1299]), (["\\3980", "\\1,290.00"], [3980, 1290]), (["12.–", "5.50"], [12, 5.5]),
    (["9-"], [None]), (["1-2"], [None]),
])  # fmt: skip
def test_amounts(values, numbers):
    check = RowCheck("x", np.arange(len(values)))
    assert read_amounts(pa.array(values), "price", check, Decimals()).to_pylist() == numbers
    assert bool(check.errors) == (None in numbers)


@pytest.mark.parametrize(("ids", "plain", "wrong"), [
    (["12345.0", "12346.0"], ["12345", "12346"], 0), (["12345.0", "a"], ["12345.0", "a"], 0), (["1.0", ""], ["1", ""], 0),
    (["'007", "'008"], ["007", "008"], 0), (['="007"', "b"], ["007", "b"], 0), (["1,23E+12", "1.5E+3"], ["1,23E+12", "1.5E+3"], 2),
    (["NULL", "b"], ["NULL", "b"], 1), (["0.0", "1.0"], ["0.0", "1.0"], 0),
])  # fmt: skip
def test_ids(ids, plain, wrong):
    check = RowCheck("x", np.arange(len(ids)))
    found, num_changed = read_ids(pa.array(ids), "ad_id", check)
    assert (found.to_pylist(), len(check.errors)) == (plain, wrong)
    assert num_changed == sum(a != b for a, b in zip(ids, plain, strict=True))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text",
    ["id\ttitle\nk1\tKettle\n", "id,title\nk1,不锈钢电热水壶\nk2,红色运动鞋\n", '[{"id": "1", "title": "电热水壶"}]'],
)
def test_utf_16_without_a_mark(tmp_path, encoding, text):
    path = tmp_path / ("feed.json" if text[0] == "[" else "feed.tsv")
    assert [ad.title for ad in read(path, text.encode(encoding))] == [ad.title for ad in read(path, text)]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200))
def test_text_without_zero_bytes_is_never_taken_for_utf_16(text):
    blocks, notes = [text.encode()], []
    given_once = iter([*blocks, b""])
    assert b"".join(utf8_blocks(lambda _: next(given_once), 1 << 20, "x", notes)) == text.encode()
    assert notes == []


def test_blanks_between_separators_and_quotes(tmp_path):
    rows = 'id, title, bid\n1, "Kettle, red", 0.4\n2, Cup, 0.3\n'
    assert [(ad.title, ad.bid) for ad in read(tmp_path / "a.csv", rows)] == [("Kettle, red", 0.4), ("Cup", 0.3)]
    plain = 'id,title\n1, 27" monitor\n2,Cup\n'
    assert [ad.title for ad in read(tmp_path / "a.csv", plain)] == ['27" monitor', "Cup"]


def test_archives_in_compressed_files_are_named(tmp_path):
    (tmp_path / "feed.tar.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"feed\.tar: a tar archive; unpack it"):
        read_ads(tmp_path / "feed.tar.gz")


TITLES = {
    "gb18030": "不锈钢电热水壶 红色运动鞋女款 无线蓝牙耳机 儿童书包 纯棉四件套 充电宝大容量",
    "big5": "不鏽鋼電熱水壺 紅色運動鞋女款 無線藍牙耳機 兒童書包 純棉四件套 行動電源大容量",
    "shift_jis": "電気ケトル ランニングシューズ ワイヤレスイヤホン 子供用リュック 掃除ロボット お茶ギフトセット",
    "euc_kr": "전기주전자 운동화여성용 무선이어폰 어린이가방 로봇청소기 휴대폰케이스",
    "cp1251": "чайник кроссовки кружка сковорода наушники рюкзак",
    "cp1252": "Wasserkocher|für|Tee Kaffeemühle|groß Müller|Tasse Kühlschrank Bügeleisen Crème|brûlée",
}


@pytest.mark.parametrize("encoding", TITLES)
def test_code_pages_of_short_files(encoding):
    titles = [title.replace("|", " ") for title in TITLES[encoding].split()]
    for at in range(len(titles) - 2):
        lines = "".join(f"{number},{title}\n" for number, title in enumerate(titles[at : at + 3])).encode(encoding)
        assert code_page(lines) == encoding
