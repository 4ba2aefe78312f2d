import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.catalog import Judgements, Qrels, Queries, read_judgements, read_qrels, read_queries
from intently.errors import InputError


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def pairs_of(judged: Qrels) -> list[tuple[str, str, float]]:
    queries = judged.queries if isinstance(judged, Judgements) else judged.query_ids
    ads, values = judged.ad_ids.to_pylist(), judged.values.tolist()
    return [(queries[row], ad, value) for row, ad, value in zip(judged.query_rows, ads, values, strict=True)]


PLAIN = "query\tad_id\trelevance\n锅\ta\t2\nlamp\tb\t0.5\n锅\tb\t0\n"
EXPECTED = [("锅", "a", 2.0), ("lamp", "b", 0.5), ("锅", "b", 0.0)]


def test_plain_judgements_number_their_queries(tmp_path):
    path = write(tmp_path / "train.tsv.gz", gzip.compress(PLAIN.encode()))
    judged = read_judgements(path)
    assert pairs_of(judged) == EXPECTED
    assert (judged.queries, judged.query_ids, judged.kind) == (("锅", "lamp"), ("1", "2"), "relevance")
    assert read_queries(path) == Queries(("1", "2"), ("锅", "lamp"))
    assert pairs_of(read_qrels(path)) == [("1", "a", 2.0), ("2", "b", 0.5), ("1", "b", 0.0)]


def test_other_formats(tmp_path):
    rows = [dict(zip(("query", "ad_id", "relevance"), pair, strict=True)) for pair in EXPECTED]
    assert pairs_of(read_judgements(write(tmp_path / "j.csv", PLAIN.replace("\t", ",")))) == EXPECTED
    lines = "\n".join(map(json.dumps, rows))
    assert pairs_of(read_judgements(write(tmp_path / "j.jsonl", lines))) == EXPECTED
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "j.parquet")
    assert pairs_of(read_judgements(tmp_path / "j.parquet")) == EXPECTED


def test_clicks_add_up_and_relevance_keeps_the_highest(tmp_path):
    rows = "q\ta\t2\nq\tb\t1\nq\ta\t3\np\ta\t5\nq\ta\t1\n"
    clicks = read_judgements(write(tmp_path / "c.tsv", "query\tad_id\tclicks\n" + rows))
    assert clicks.kind == "clicks"
    assert pairs_of(clicks) == [("q", "a", 6.0), ("q", "b", 1.0), ("p", "a", 5.0)]
    relevance = read_judgements(write(tmp_path / "r.tsv", "query\tad_id\trelevance\n" + rows))
    assert pairs_of(relevance) == [("q", "a", 3.0), ("q", "b", 1.0), ("p", "a", 5.0)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("pqrs"), st.sampled_from("abcd"), st.integers(0, 5)), min_size=1),
    st.sampled_from(["relevance", "clicks"]),
)
def test_merging_is_what_a_dict_does(tmp_path_factory, pairs, kind):
    merged: dict[tuple[str, str], float] = {}
    for query, ad, value in pairs:  # the slow twin
        before = merged.get((query, ad), 0)
        merged[query, ad] = before + value if kind == "clicks" else max(before, value)
    text = f"query\tad_id\t{kind}\n" + "".join(f"{query}\t{ad}\t{value}\n" for query, ad, value in pairs)
    path = write(tmp_path_factory.mktemp("merge") / "j.tsv", text)
    if kind == "clicks":
        num_unclicked = sum(not value for value in merged.values())
        merged = {pair: value for pair, value in merged.items() if value}
        if not merged:
            with pytest.raises(InputError, match="no clicks: every pair has 0"):
                read_judgements(path)
            return
        assert read_judgements(path).num_unclicked == num_unclicked
    judged = read_judgements(path)
    assert pairs_of(judged) == [(*pair, float(value)) for pair, value in merged.items()]


def test_esci(tmp_path):
    rows = [
        {
            "example_id": n,
            "query": query,
            "query_id": query_id,
            "product_id": ad,
            "product_locale": "us",
            "esci_label": label,
        }
        for n, (query, query_id, ad, label) in enumerate(
            [("pan", 7, "A", "E"), ("pan", 7, "B", "S"), ("lamp", 3, "A", "C"), ("pan", 9, "A", "I")]
        )
    ]
    pq.write_table(pa.Table.from_pylist(rows), path := tmp_path / "examples.parquet")
    judged = read_judgements(path)
    assert (judged.query_ids, judged.queries) == (("7", "3", "9"), ("pan", "lamp", "pan"))
    assert judged.values.tolist() == [3, 2, 1, 0]
    assert read_queries(path) == Queries(judged.query_ids, judged.queries)


QUERIES = Queries(("1", "2", "3"), ("lamp", "锅", "never judged"))
BY_ID = {
    "label.csv": "id\tquery_id\tproduct_id\tlabel\n0\t2\ta\tExact\n1\t2\tb\tPartial\n2\t1\tb\tIrrelevant\n",
    "test.tsv": "query-id\tcorpus-id\tscore\n2\ta\t2\n2\tb\t1\n1\tb\t0\n",
    "qrels.txt": "2 0 a 2\n2 0 b 1.0\n1\t0\tb\t0\n",
    "qrels.tsv": "2\t2\ta\t2\n2\t0\tb\t1\n1\t0\tb\t0\n",
    "qrels.robust": "2 Q0 a 2\n2 Q0 b 1\n1 Q0 b 0",
}


@pytest.mark.parametrize("name", BY_ID)
def test_layouts_that_name_queries_by_id(tmp_path, name):
    path = write(tmp_path / name, BY_ID[name])
    assert pairs_of(read_qrels(path)) == [("2", "a", 2.0), ("2", "b", 1.0), ("1", "b", 0.0)]
    judged = read_judgements(path, queries=QUERIES)
    assert pairs_of(judged) == [("锅", "a", 2.0), ("锅", "b", 1.0), ("lamp", "b", 0.0)]
    with pytest.raises(InputError, match=r"names queries by id only; give their texts too"):
        read_judgements(path)
    with pytest.raises(InputError, match=f"{name}:[12] field 'query_id': not among the queries given"):
        read_judgements(path, queries=Queries(("1",), ("lamp",)))
    assert len(read_judgements(path, queries=Queries(("1",), ("lamp",)), skip_bad=True)) == 1


def test_queries_give_the_ids_of_texts(tmp_path):
    path = write(tmp_path / "j.tsv", PLAIN)
    judged = read_judgements(path, queries=QUERIES)
    assert (judged.query_ids, judged.queries) == (("2", "1"), ("锅", "lamp"))
    with pytest.raises(InputError, match=r"j\.tsv:3 field 'query': not among the queries given"):
        read_judgements(path, queries=Queries(("1",), ("锅",)))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("q\ta\tnan", "field 'relevance': 'nan' is not a number"),
        ("q\ta\tinf", "'inf' is not a number"),
        ("q\ta\t-1e999", "inf is not finite"),
        ("q\ta\t", "field 'relevance': empty"),
        ("q\ta\tgood", "'good' is not a number"),
        ("\ta\t1", "field 'query': empty"),
        ("q\t\t1", "field 'ad_id': empty"),
        ("q\ta", "2 fields where 3 are expected"),
        ("q" * 10_001 + "\ta\t1", "field 'query': 10,001 characters"),
    ],
)
def test_wrong_rows(tmp_path, row, problem):
    path = write(tmp_path / "j.tsv", f"query\tad_id\trelevance\nfirst\tx\t1\n{row}\nlast\ty\t0\n")
    for read in (read_judgements, read_qrels, read_queries):
        with pytest.raises(InputError, match=rf"j\.tsv:3.*{problem}"):
            read(path)
    judged = read_judgements(path, skip_bad=True)
    assert pairs_of(judged) == [("first", "x", 1.0), ("last", "y", 0.0)]
    assert (judged.num_skipped, len(judged.problems)) == (1, 1)
    queries = read_queries(path, skip_bad=True)
    assert (queries.ids, queries.texts) == (judged.query_ids, judged.queries)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file is empty"),
        ("query\tad_id\trelevance\n", "no judgements"),
        ("query\tad_id\n", "neither relevance nor clicks"),
        ("query\tad_id\trelevance\tclicks\n", "both relevance and clicks"),
        ("query\trelevance\nq\t1\n", "field 'ad_id': no such column"),
        ("ad_id\trelevance\na\t1\n", "field 'query': no such column"),
        ("q\tw\te\tr\n", "neither a header nor TREC qrels"),
        ("1 0 a 1\n1 0 a\n", ":2: 3 fields where 4 are expected"),
    ],
)
def test_wrong_files(tmp_path, text, problem):
    with pytest.raises(InputError, match=rf"j\.tsv.*{problem}"):
        read_qrels(write(tmp_path / "j.tsv", text))


@pytest.mark.parametrize(
    ("values", "relevant"),
    [
        ([1, 2, 2.33, 2.67, 3], [0, 0, 1, 1, 1]),
        ([0, 1, 2], [0, 0, 1]),
        ([0, 1, 2, 3], [0, 0, 1, 1]),
        ([0, 1], [0, 1]),
        ([1, 1], [1, 1]),
        ([0], [0]),
        ([0, 0, 0], [0, 0, 0]),
    ],
)
def test_default_threshold_is_the_upper_third(values, relevant):
    ads = pa.array([str(number) for number in range(len(values))])
    qrels = Qrels(("q",), np.zeros(len(values), dtype=np.int64), ads, np.array(values, dtype=np.float64))
    assert qrels.positives().tolist() == [bool(value) for value in relevant]


def test_threshold_of_clicks_and_a_given_one():
    clicks = Qrels(("q",), np.zeros(3, dtype=np.int64), pa.array(["a", "b", "c"]), np.array([0.0, 0.01, 5]), "clicks")
    assert clicks.positives().tolist() == [False, True, True]
    assert clicks.positives(5).tolist() == [False, False, True]
    assert clicks.positives(0).tolist() == [True, True, True]


def test_grades_below_0_are_not_relevant(tmp_path):
    qrels = read_qrels(write(tmp_path / "web.qrels", "1 0 spam -2\n1 0 a 1\n1 0 b 0\n"))
    assert pairs_of(qrels) == [("1", "spam", 0.0), ("1", "a", 1.0), ("1", "b", 0.0)]
    assert qrels.positives().tolist() == [False, True, False]


CLICKED = "query\tad_id\t{}\nq\ta\t{}\nq\tb\t{}\n"


@pytest.mark.parametrize("name", ["clicks", "num_clicks", "clicked", "Clicked", "is click"])
def test_clicked_is_clicks_and_what_nobody_clicked_is_left_out(tmp_path, name):
    path = write(tmp_path / "j.tsv", CLICKED.format(name, 1, 0))
    judged = read_judgements(path)
    assert (judged.kind, pairs_of(judged), judged.num_unclicked) == ("clicks", [("q", "a", 1.0)], 1)
    assert read_queries(path).texts == ("q",)


def test_truth_values_are_clicks(tmp_path):
    text = '{"query": "q", "ad_id": "a", "clicked": true}\n{"query": "p", "ad_id": "b", "clicked": false}\n'
    path = write(tmp_path / "j.jsonl", text)
    assert pairs_of(read_judgements(path)) == [("q", "a", 1.0)]
    assert read_queries(path) == Queries(("1", "2"), ("q", "p"))
    table = pa.table({"query": ["q", "p"], "ad_id": ["a", "b"], "clicked": [True, False]})
    pq.write_table(table, tmp_path / "j.parquet")
    assert pairs_of(read_judgements(tmp_path / "j.parquet")) == [("q", "a", 1.0)]


@pytest.mark.parametrize(
    ("name", "first", "second", "problem"),
    [
        (
            "clicks",
            "0.3",
            "1",
            r":2 field 'clicks': 0.3 clicks; give whole numbers; if these are weights, name the col",
        ),
        ("clicks", "1", "-1", ":3 field 'clicks': -1.0 is not finite and at least 0"),
        ("clicks", "0", "0", "no clicks: every pair has 0"),
        (
            "score\tclicked",
            "0.9\t0",
            "0.1\t1",
            "both relevance and clicks: 'score' and 'clicked'; say which .*--map-clicks",
        ),
        ("score\tlabel", "0.9\t0", "0.1\t1", "'score' and 'label' may both be the relevance; say which"),
    ],
)
def test_clicks_that_contradict(tmp_path, name, first, second, problem):
    with pytest.raises(InputError, match=problem):
        read_judgements(write(tmp_path / "j.tsv", CLICKED.format(name, first, second)))


def test_the_column_with_the_fields_own_name_is_right(tmp_path):
    path = write(tmp_path / "j.tsv", CLICKED.format("score\trelevance", "0.9\t0", "0.1\t1"))
    assert read_judgements(path).values.tolist() == [0, 1]
