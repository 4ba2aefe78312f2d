"""Runs: the ads that a system returned for each query, in the format of TREC.

A line is `query_id Q0 ad_id rank score tag`, separated by white space; `␣` in an id is a blank. The order of a query's
ads is that of the rank column as written; ranks are distinct, and scores must not grow with the rank. trec_eval ignores
the ranks and orders by score, equal scores by id from Z to A, so that its figures may differ where scores are equal.
A run whose ranks are all 0, as BEIR writes them, has no order of its own: it is ordered by trec_eval's rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.amounts import NUMBER
from intently.catalog.cleaning import clean_text
from intently.catalog.fields import Field
from intently.catalog.formats import Table
from intently.catalog.lines import open_output
from intently.catalog.problems import Problems, RowCheck, quote
from intently.catalog.trec_ids import escape_id, unescape_ids
from intently.errors import InputError

_COLUMNS = ("query_id", "q0", "ad_id", "rank", "score", "tag")
_FIELDS = [Field(name, required=True) for name in ("query_id", "ad_id", "rank", "score", "tag")]
STANDARD_OUTPUT = Path("-")
_INTEGER = r"^[0-9]{1,9}$"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The P returned pairs of Q queries, as columns, ordered by query and within a query by rank.

    `query_rows` (P,) are positions in `query_ids` (Q,) and do not fall; `scores` (P,) do not grow within a query.
    """

    query_ids: tuple[str, ...]
    query_rows: npt.NDArray[np.int64]
    ad_ids: pa.StringArray
    scores: npt.NDArray[np.float64]
    tag: str = "intently"

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def build(cls, answers: Iterable[tuple[str, Sequence[str], Sequence[float]]], *, tag: str = "intently") -> Run:
        """Build a run of answers: a query id, ad ids with the best first, and their scores.

        Raises InputError for a query, or an ad of a query, that is there twice, and for scores that are not finite or
        grow.
        """
        query_ids: list[str] = []
        lengths: list[int] = []
        ad_ids: list[str] = []
        scores: list[float] = []
        for query_id, ads, ad_scores in answers:
            _check_answer(query_id, ads, ad_scores)
            query_ids.append(query_id)
            lengths.append(len(ads))
            ad_ids += ads
            scores += ad_scores
        if len(set(query_ids)) < len(query_ids):
            raise InputError("a query is answered twice", field="query_id")
        query_rows = np.repeat(np.arange(len(query_ids)), lengths)
        return cls(tuple(query_ids), query_rows, pa.array(ad_ids, pa.string()), np.array(scores, dtype=np.float64), tag)


class RunWriter:
    """Writes a run, one query at a time. The file appears, whole, when the `with` block ends without an error.

    `-` is standard output. Pipes, devices such as /dev/null and other special files are written into; a link stays one.
    """

    def __init__(self, path: str | Path, *, tag: str = "intently"):
        _check_word(tag, "tag")
        self.path, self.tag = Path(path), tag
        self._written: set[str] = set()
        self._stream: IO[bytes] | None = None
        self._opened = ExitStack()

    def __enter__(self) -> RunWriter:
        self._stream = self._opened.enter_context(open_output(self.path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def write(self, query_id: str, ad_ids: Sequence[str], scores: Sequence[float]) -> None:
        """Write the answer to one query, best ad first; a query without ads leaves no line.

        Raises InputError for an id that is empty or holds white space other than blanks, a query or ad that is there
        twice, and scores that are not finite or grow.
        """
        if self._stream is None:
            raise InputError("the run is not open", cure="write inside `with write_run(...) as run`", path=self.path)
        _check_answer(query_id, ad_ids, scores)
        query, *ads = (_word(text, "ad_id" if at else "query_id") for at, text in enumerate((query_id, *ad_ids)))
        if query_id in self._written:
            raise InputError(f"query {query_id!r} is answered twice", path=self.path, field="query_id")
        self._written.add(query_id)
        lines = [
            f"{query} Q0 {ad} {rank} {float(score)!r} {self.tag}\n"
            for rank, (ad, score) in enumerate(zip(ads, scores, strict=True), start=1)
        ]
        self._stream.write("".join(lines).encode())


def write_run(path: str | Path, *, tag: str = "intently") -> RunWriter:
    """Return a writer of the run file `path`, compressed as its suffix says; `tag` is one word that names the system.

    Use it as `with write_run(path) as run: run.write(query_id, ad_ids, scores)`.
    """
    return RunWriter(path, tag=tag)


def read_run(path: str | Path) -> Run:
    """Read a run from `path`, plain or compressed.

    Raises InputError for a line without six fields, a rank or score that is not a number, a rank or an ad that a query
    repeats, and scores that grow with the rank. `-` is standard input.
    """
    table = Table(path, format="trec")
    place, problems = table.place, Problems(skip_bad=False)
    columns: dict[str, list[Any]] = {field.name: [] for field in _FIELDS}
    all_lines = []
    for rows in table.rows(_FIELDS, _COLUMNS):
        check = RowCheck(place, rows.lines)
        given = unescape_ids(rows.columns)
        for field in _FIELDS:
            columns[field.name].append(_clean(given[field.name], field, check))
        all_lines.append(rows.lines)
        problems.settle(rows.errors + check.errors)
    problems.finish()
    whole = {name: pa.chunked_array(chunks).combine_chunks() for name, chunks in columns.items() if chunks}
    if not whole or not len(whole["ad_id"]):
        raise InputError("the run is empty", cure="write lines of 'query_id Q0 ad_id rank score tag'", path=place)
    queries = whole["query_id"].dictionary_encode()
    query_rows = queries.indices.to_numpy().astype(np.int64)
    ranks, scores = whole["rank"].to_numpy(), whole["score"].to_numpy()
    if len(ranks) > 1 and not ranks.any():
        ranks = _ranks_of_trec_eval(query_rows, whole["ad_id"], scores)
    order = np.lexsort((ranks, query_rows))
    run = Run(
        tuple(queries.dictionary.to_pylist()),
        query_rows[order],
        whole["ad_id"].take(pa.array(order)),
        scores[order],
        str(whole["tag"][0].as_py()),
    )
    _check_order(run, ranks[order], np.concatenate(all_lines)[order], place)
    return run


def _ranks_of_trec_eval(
    query_rows: npt.NDArray[np.int64], ad_ids: Any, scores: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Return distinct ranks (P,) by score, the highest first, equal ones by ad id from Z to A (in UTF-8, as strcmp)."""
    distinct = ad_ids.dictionary_encode()
    place_of = np.empty(len(distinct.dictionary), dtype=np.int64)
    place_of[pc.sort_indices(distinct.dictionary.cast(pa.binary())).to_numpy()] = np.arange(len(place_of))
    order = np.lexsort((-place_of[distinct.indices.to_numpy()], -scores, query_rows))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def _check_order(run: Run, ranks: npt.NDArray[np.int64], lines: npt.NDArray[np.int64], path: object) -> None:
    same_query = run.query_rows[1:] == run.query_rows[:-1]
    ads = run.ad_ids.dictionary_encode()
    keys = run.query_rows * len(ads.dictionary) + ads.indices.to_numpy()
    _, first = np.unique(keys, return_index=True)
    again = np.ones(len(run), dtype=np.bool_)
    again[first] = False
    for wrong, field, problem, cure in (
        (
            np.flatnonzero(same_query & (ranks[1:] == ranks[:-1])) + 1,
            "rank",
            "a rank this query has already",
            "renumber",
        ),
        (np.flatnonzero(again), "ad_id", "an ad this query has already", "return every ad once"),
        (
            np.flatnonzero(same_query & (run.scores[1:] > run.scores[:-1])) + 1,
            "score",
            "a higher score than the rank before",
            "write ranks in the order of the scores",
        ),
    ):
        if len(wrong):
            raise InputError(problem, cure=cure, path=path, line=int(lines[wrong].min()), field=field)


def _clean(values: Any, field: Field, check: RowCheck) -> Any:
    pattern, kind = {"rank": (_INTEGER, pa.int64()), "score": (NUMBER, pa.float64())}.get(field.name, ("", None))
    if kind is None:
        return clean_text(values, field, check)
    wrong = ~pc.match_substring_regex(values, pattern).to_numpy(zero_copy_only=False)
    check.reject(wrong, field.name, lambda row: f"{quote(values[row].as_py())} is not a number", "write a plain number")
    numbers = pc.if_else(pa.array(wrong), "0", values).cast(kind)
    infinite = ~pc.is_finite(numbers).to_numpy(zero_copy_only=False)
    check.reject(infinite, field.name, "not finite", "write a plain number")
    return numbers


def _check_answer(query_id: str, ad_ids: Sequence[str], scores: Sequence[float]) -> None:
    if len(ad_ids) != len(scores):
        raise InputError(f"query {query_id!r}: {len(scores)} scores for {len(ad_ids)} ads", field="score")
    if len(set(ad_ids)) < len(ad_ids):
        raise InputError(f"query {query_id!r}: an ad is there twice", cure="return every ad once", field="ad_id")
    values = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(values).all() or (values[1:] > values[:-1]).any():
        cure = "give finite scores, best ad first"
        raise InputError(f"query {query_id!r}: scores grow or are not finite", cure=cure, field="score")


def _word(text: str, field: str) -> str:
    """Return an id as one word of a TREC file."""
    if "␣" in text:
        raise InputError(f"{text!r} holds ␣, which stands for a blank", cure="use another sign", field=field)
    word = escape_id(text)
    _check_word(word, field)
    return word


def _check_word(word: str, field: str) -> None:
    if not word or word.split() != [word]:
        raise InputError(f"{word!r} is empty or holds white space", cure="a TREC run takes single words", field=field)
