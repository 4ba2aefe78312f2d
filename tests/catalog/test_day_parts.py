import numpy as np
import pytest

from intently.catalog import parse_day_parts
from intently.errors import InputError


def hours(*spans: tuple[int, int, int]) -> np.ndarray:
    """The hours of (weekday, start, end) spans, hour after hour."""
    covered = np.zeros(168, dtype=bool)
    for day, start, end in spans:
        for hour in range(start, end):
            covered[24 * day + hour] = True
    return covered


@pytest.mark.parametrize(
    ("day_parts", "spans"),
    [
        (["mon@0-1"], [(0, 0, 1)]),
        (["mon-fri@9-18"], [(day, 9, 18) for day in range(5)]),
        (["sat,sun@0-24"], [(5, 0, 24), (6, 0, 24)]),
        (["sat-mon@20-24"], [(5, 20, 24), (6, 20, 24), (0, 20, 24)]),
        (["tue-tue@1-2"], [(1, 1, 2)]),
        (["Mon, Wed-Thu @ 8-9", "sun@23-24"], [(0, 8, 9), (2, 8, 9), (3, 8, 9), (6, 23, 24)]),
    ],
)
def test_hours_covered(day_parts, spans):
    assert parse_day_parts(day_parts).tolist() == hours(*spans).tolist()


def test_no_day_parts_are_all_hours():
    assert parse_day_parts([]).all()


WRONG = ["", "mon", "@9-18", "mon@", "mon@9", "mon@9-9", "mon@18-9", "mon@0-25", "mon@-1-4", "mon@9-18@", "monday@9-18"]
WRONG += ["mon-@9-18", "-fri@9-18", "mon-wed-fri@9-18", "mon,@9-18", "mon@９-18", "mon@9-18|tue@9-18"]


@pytest.mark.parametrize("day_part", WRONG)
def test_wrong_day_parts_are_named(day_part):
    with pytest.raises(InputError, match=r"day part .* no valid (days|hours); write days@start-end"):
        parse_day_parts(["mon@9-18", day_part])
