from pathlib import Path

import pytest

from intently.catalog import Queries, read_queries
from intently.errors import InputError


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("name", ["queries.txt", "queries.tsv", "queries"])
def test_one_query_a_line(tmp_path, name):
    path = write(tmp_path / name, '\ufeffred "pan"\r\n 锅 \r\nred "pan"\r\n')
    assert read_queries(path) == Queries(("1", "2", "3"), ('red "pan"', "锅", 'red "pan"'))


def test_a_blank_line_is_no_query(tmp_path):
    queries = read_queries(write(tmp_path / "queries.txt", "pan\n\nlamp\n \n"))
    assert (queries.ids, queries.texts, queries.num_skipped) == (("1", "3"), ("pan", "lamp"), 0)


EXPECTED = Queries(("q7", "q3"), ("pan", "锅"))
LAYOUTS = {
    "bare.tsv": "q7\tpan\nq3\t锅\n",
    "bare.txt": "q7\tpan\nq3\t锅\n",
    "header.tsv": "query\tquery_id\npan\tq7\n锅\tq3\n",
    "query.csv": "query_id\tquery\tquery_class\nq7\tpan\tx\nq3\t锅\ty\n",  # WANDS
    "commas.csv": 'id,query\nq7,"pan"\nq3,锅\n',
    "queries.jsonl": '{"_id": "q7", "text": "pan", "metadata": {}}\n{"_id": "q3", "text": "锅"}\n',  # BEIR
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_ids_and_texts(tmp_path, name):
    assert read_queries(write(tmp_path / name, LAYOUTS[name])) == EXPECTED


def test_an_id_may_be_its_text(tmp_path):
    assert read_queries(write(tmp_path / "q.tsv", "pan\tpan\n")) == Queries(("pan",), ("pan",))


def test_a_header_without_ids_numbers_by_line(tmp_path):
    assert read_queries(write(tmp_path / "q.tsv", "query\npan\n锅\n")) == Queries(("2", "3"), ("pan", "锅"))
    assert read_queries(write(tmp_path / "q.csv", 'query\n"a\nb"\n锅\n')) == Queries(("2", "4"), ("a\nb", "锅"))


@pytest.mark.parametrize("text", ["electric kettle\t100\npan\t7\n", "red pan\t3\nblue pan\t2\n"])
def test_queries_with_counts(tmp_path, text):
    queries = read_queries(write(tmp_path / "q.tsv", text))
    assert queries == Queries(("1", "2"), tuple(line.split("\t")[0] for line in text.splitlines()))


def test_ids_before_queries_that_are_numbers(tmp_path):
    assert read_queries(write(tmp_path / "q.tsv", "q1\t42\nq2\t43\n")) == Queries(("q1", "q2"), ("42", "43"))
    assert read_queries(write(tmp_path / "q.tsv", "kettle pan\t42\nq2\tpan 3\n")).texts == ("42", "pan 3")
    with pytest.raises(InputError, match="either id and query, or query and count; begin the file with a header"):
        read_queries(write(tmp_path / "q.tsv", "kettle\t42\npan\t43\n"))


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("q.txt", "", "the file is empty"),
        ("q.tsv", "query\n", "no queries"),
        ("q.tsv", "a\tb\tc\n", "3 fields and no header"),
        ("q.tsv", "1\tpan\n1\tlamp\n", ":2 field 'query_id': an earlier query has the same id"),
        ("q.tsv", "1\tpan\nlamp\n", ":2: 1 fields where 2 are expected"),
        ("q.csv", "pan\nlamp\n", "field 'query': no such column"),
        ("q.jsonl", '{"_id": "1"}\n', ":1 field 'query': empty"),
        ("q.txt", "x" * 10_001, ":1 field 'query': 10,001 characters, over the limit of 10,000"),
    ],
)
def test_wrong_files(tmp_path, name, text, problem):
    with pytest.raises(InputError, match=problem):
        read_queries(write(tmp_path / name, text))


def test_ids_and_texts_belong_together():
    with pytest.raises(InputError, match="2 ids for 1 queries"):
        Queries(("1", "2"), ("pan",))


REPORTS = {
    "search console": "Top queries,Clicks,Impressions,CTR,Position\nkettle,5,100,5%,1.2\n电热水壶,1,10,10%,4\n",
    "search terms": "Search terms report\n1 May\nSearch term,CTR,Clicks\nkettle,1,5\n电热水壶,1,1\nTotal: All,,6\n",
    "German": "Häufigste Suchanfragen;Klicks\nkettle;5\n电热水壶;1\n",
    "Chinese": "关键词,搜索量\nkettle,900\n电热水壶,10\n",
    "planner": 'Keyword Stats\n"1 Jan"\nKeyword\tCurrency\tAvg. monthly searches\nkettle\tEUR\t9\n电热水壶\tEUR\t1\n',
    "one column": "查询词\nkettle\n电热水壶\n",
}


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_reports_of_queries(tmp_path, name, encoding):
    (tmp_path / "queries.csv").write_bytes(REPORTS[name].encode(encoding))
    assert read_queries(tmp_path / "queries.csv").texts == ("kettle", "电热水壶")


def test_ads_and_lists_of_texts_are_no_queries(tmp_path):
    for text, problem in (
        ("id,title,keywords\n1,A,kettle\n", "no such column"),
        ('["kettle"]', "element 1 of the list is"),
    ):
        path = tmp_path / ("queries.json" if text[0] == "[" else "queries.csv")
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=problem):
            read_queries(path)
