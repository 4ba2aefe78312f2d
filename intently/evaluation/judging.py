"""Looking up, for whole runs at once, what was judged."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog import Qrels, Run
from intently.evaluation.judged import JudgedRanking

Scalar = TypeVar("Scalar", bound=np.generic)


def judge_run(run: Run, qrels: Qrels, *, min_relevance: float) -> list[JudgedRanking]:
    """Return the judged ranking of every query of `qrels` (Q,), in their order."""
    ads = qrels.ad_ids.dictionary_encode()
    num_ads = len(ads.dictionary)
    keys = qrels.query_rows * num_ads + ads.indices.to_numpy()
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    ad_codes = pc.fill_null(pc.index_in(run.ad_ids, ads.dictionary), -1).to_numpy(zero_copy_only=False)
    qrels_rows = lookup(run.query_ids, qrels.query_ids)[run.query_rows]
    # The keys of an unknown query are below 0 and so meet none; those of an unknown ad have to be told apart.
    wanted = qrels_rows * num_ads + ad_codes
    place = np.minimum(np.searchsorted(sorted_keys, wanted), len(keys) - 1)
    is_judged = (sorted_keys[place] == wanted) & (ad_codes >= 0)
    ranked = np.where(is_judged, qrels.values[order][place], np.nan)
    return [
        JudgedRanking(ranked[at], grades, min_relevance, run.scores[at])
        for at, grades in zip(rows_by_query(run, qrels), by_query(qrels.values, qrels), strict=True)
    ]


def by_query(values: npt.NDArray[Scalar], qrels: Qrels) -> list[npt.NDArray[Scalar]]:
    """Return the values of each query of `qrels` (Q,), from one value a judged pair (P,)."""
    ends = np.cumsum(np.bincount(qrels.query_rows, minlength=len(qrels.query_ids)))[:-1]
    return np.split(values[np.argsort(qrels.query_rows, kind="stable")], ends)


def rows_by_query(run: Run, qrels: Qrels) -> list[slice]:
    """Return where in the columns of `run` the answer to each query of `qrels` (Q,) is; an empty slice for none."""
    rows = lookup(qrels.query_ids, run.query_ids)
    starts = np.searchsorted(run.query_rows, rows, side="left")
    ends = np.where(rows < 0, starts, np.searchsorted(run.query_rows, rows, side="right"))
    return [slice(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def lookup(wanted: tuple[str, ...], known: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Return the position in `known` of each of `wanted`, −1 for an unknown one."""
    found = pc.index_in(pa.array(wanted, pa.string()), pa.array(known, pa.string()))
    rows: npt.NDArray[np.int64] = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return rows
