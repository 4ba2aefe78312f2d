from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.catalog import Run, read_run, write_run
from intently.errors import InputError

Answers = list[tuple[str, list[str], list[float]]]


def answers_of(run: Run) -> Answers:
    answers: Answers = [(query_id, [], []) for query_id in run.query_ids]
    for row, ad_id, score in zip(run.query_rows, run.ad_ids.to_pylist(), run.scores.tolist(), strict=True):
        answers[row][1].append(ad_id)
        answers[row][2].append(score)
    return answers


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_format(tmp_path):
    with write_run(tmp_path / "a.run", tag="bm25") as run:
        run.write("q1", ["锅", "b"], [1.5, -2])
        run.write("empty", [], [])
    assert (tmp_path / "a.run").read_text() == "q1 Q0 锅 1 1.5 bm25\nq1 Q0 b 2 -2.0 bm25\n"
    assert read_run(tmp_path / "a.run").tag == "bm25"


SCORES = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(["q", "问", "1"]), SCORES, min_size=1), st.sampled_from(["", ".gz", ".zst"]))
def test_what_is_written_is_read(tmp_path_factory, scores_of, suffix):
    answers = [(q, [f"ad{n}" for n in range(len(s))], sorted(s, reverse=True)) for q, s in scores_of.items()]
    path = tmp_path_factory.mktemp("runs") / f"a.run{suffix}"
    with write_run(path) as run:
        for answer in answers:
            run.write(*answer)
    assert answers_of(read_run(path)) == answers == answers_of(Run.build(answers))


def test_order_is_that_of_the_ranks(tmp_path):
    lines = ["1 Q0 b 2 5 t", "2 Q0 x 0 1 t", "1 Q0 a 1 5 t", "1 Q0 c 3 4e-1 t"]
    run = read_run(write(tmp_path / "a.run", "\r\n".join(lines)))
    assert answers_of(run) == [("1", ["a", "b", "c"], [5, 5, 0.4]), ("2", ["x"], [1])]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("1 Q0 a 1 1.0\n", ":1: 5 fields where 6 are expected"),
        ("1 Q0 a one 1.0 t\n", ":1 field 'rank': 'one' is not a number"),
        ("1 Q0 a 1 high t\n", ":1 field 'score': 'high' is not a number"),
        ("1 Q0 a 1 nan t\n", ":1 field 'score': 'nan' is not a number"),
        ("1 Q0 a 1 1e999 t\n", ":1 field 'score': not finite"),
        ("1 Q0 a 1 1 t\n1 Q0 b 2 2 t\n", ":2 field 'score': a higher score than the rank before"),
        ("1 Q0 a 1 1 t\n1 Q0 b 1 1 t\n", ":2 field 'rank': a rank this query has already"),
        ("1 Q0 a 1 1 t\n2 Q0 a 1 1 t\n1 Q0 a 2 1 t\n", ":3 field 'ad_id': an ad this query has already"),
    ],
)
def test_wrong_runs(tmp_path, text, problem):
    with pytest.raises(InputError, match=problem):
        read_run(write(tmp_path / "a.run", text))


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (("q", ["a", "b"], [1, 2]), "scores grow"),
        (("q", ["a"], [float("nan")]), "not finite"),
        (("q", ["a"], []), "0 scores for 1 ads"),
        (("q", ["a", "a"], [1, 1]), "an ad is there twice"),
        (("first", ["a"], [1]), "answered twice"),
    ],
)
def test_wrong_answers_are_refused_and_leave_no_file(tmp_path, answer, problem):
    with pytest.raises(InputError, match=problem), write_run(tmp_path / "a.run") as run:
        run.write("first", ["a"], [1])
        run.write(*answer)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=problem):
        Run.build([("first", ["a"], [1]), answer])


@pytest.mark.parametrize(
    ("query_id", "ad_id"), [("q\t1", "a"), ("", "a"), ("q", "a\u3000b"), ("q", "a\n"), ("q", "a␣b")]
)
def test_ids_with_white_space_other_than_blanks_do_not_fit_a_run_file(tmp_path, query_id, ad_id):
    with pytest.raises(InputError, match=r"single words|stands for a blank"), write_run(tmp_path / "a.run") as run:
        run.write(query_id, [ad_id], [1])


def test_an_earlier_run_stays_until_the_new_one_is_whole(tmp_path):
    path = write(tmp_path / "a.run", "earlier")
    with pytest.raises(KeyboardInterrupt), write_run(path) as run:
        run.write("q", ["a"], [1])
        raise KeyboardInterrupt
    assert path.read_text() == "earlier"
    with pytest.raises(InputError, match="not open"):
        write_run(path).write("q", ["a"], [1])


def test_ranks_that_are_all_0_are_ordered_as_trec_eval_does(tmp_path):
    """BEIR writes such runs; by score, equal scores by id from Z to A in UTF-8."""
    lines = ["2 Q0 x 0 1 beir", "1 Q0 a 0 1 beir", "1 Q0 é 0 1 beir", "1 Q0 b 0 1 beir", "1 Q0 top 0 2 beir"]
    run = read_run(write(tmp_path / "a.run", "\n".join(lines)))
    assert answers_of(run) == [("2", ["x"], [1]), ("1", ["top", "é", "b", "a"], [2, 1, 1, 1])]


def test_what_is_no_regular_file_is_written_into(tmp_path):
    real = write(tmp_path / "real.run", "earlier")
    (tmp_path / "link.run").symlink_to(real)
    with write_run(tmp_path / "link.run") as run:
        run.write("q", ["a"], [1])
    assert (tmp_path / "link.run").is_symlink()
    assert real.read_text() == "q Q0 a 1 1.0 intently\n"
    with write_run("/dev/null") as run:
        run.write("q", ["a"], [1])
    assert Path("/dev/null").is_char_device()
