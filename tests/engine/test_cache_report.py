from collections import Counter

import numpy as np
import pytest

from intently.errors import InputError
from intently.evaluation.cache_report import CacheRow, cache_report, zipf_log


def test_by_hand():
    log = ["red pan"] * 4 + ["ＲＥＤ Pan"] * 2 + ["kettle"] * 3 + ["灯"]
    rows = cache_report(log, [0, 1, 2, 9], cost_of_a_hit=0.25)
    assert rows == [
        CacheRow(0, 0.0, 0.0, 0.0),
        CacheRow(1, 1 / 3, 0.6, pytest.approx(0.45)),
        CacheRow(2, 2 / 3, 0.9, pytest.approx(0.675)),
        CacheRow(3, 1.0, 1.0, 0.75),
    ]
    assert cache_report(Counter(log), [0, 1, 2, 9], cost_of_a_hit=0.25) == rows
    assert cache_report(np.array([1, 6, 3]), [0, 1, 2, 9], cost_of_a_hit=0.25) == rows
    assert cache_report(np.array([1, 6, 3]), [1])[0].compute_saved == 0.6


def test_zipf():
    log = zipf_log(50, 20_000, 1.0, seed=1)
    assert np.array_equal(log, zipf_log(50, 20_000, 1.0, seed=1))
    assert not np.array_equal(log, zipf_log(50, 20_000, 1.0, seed=2))
    assert (log.min(), log.max(), log.dtype) == (0, 49, np.int64)
    counts = np.bincount(log, minlength=50)
    expected = 20_000 / np.arange(1, 51) / sum(1 / rank for rank in range(1, 51))
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected.max())
    even = np.bincount(zipf_log(10, 20_000, 0.0, seed=1))
    assert even.min() > 1_800
    assert zipf_log(1, 5, 2.0, seed=0).tolist() == [0] * 5
    assert zipf_log(3, 0, 2.0, seed=0).tolist() == []


def test_wrong_input():
    for arguments in [(0, 1, 1.0), (1, -1, 1.0), (1, 1, -1.0), (1, 1, float("nan"))]:
        with pytest.raises(InputError, match="give at least 1 query"):
            zipf_log(*arguments, seed=0)
    with pytest.raises(InputError, match="the log has no requests"):
        cache_report([], [1])
    with pytest.raises(InputError, match="negative number"):
        cache_report(np.array([3, -1]), [1])
    with pytest.raises(InputError, match="a cache of -1 queries"):
        cache_report(["red"], [-1])
    with pytest.raises(InputError, match="cost_of_a_hit is 2"):
        cache_report(["red"], [1], cost_of_a_hit=2)
