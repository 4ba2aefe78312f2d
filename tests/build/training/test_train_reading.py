"""Typing mistakes: what they change, and what they never touch."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.build.training import reading
from intently.build.training.reading import length_groups, with_typo

WORDS = (
    "red",
    "kettle",
    "2x4x8",
    "5gal",
    "dcd771c2",
    "扫地机器人",
    "5升电热水壶",
    "1/2",
    "-",
    "drill-bits",
    "ＬＥＤ",
    "x",
)


def mistakes(text: str, number: int = 300) -> set[str]:
    return {with_typo(text, np.random.default_rng(seed)) for seed in range(number)}


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), st.integers(0, 1000))
def test_numbers_stay_and_little_changes(text, seed):
    read = with_typo(text, np.random.default_rng(seed))
    assert read == with_typo(text, np.random.default_rng(seed))
    assert [sign for sign in read if sign.isdigit()] == [sign for sign in text if sign.isdigit()]
    for word in ("2x4x8", "5gal", "dcd771c2", "1/2"):
        assert read.count(word) == text.count(word)
    gone, come = Counter(text) - Counter(read), Counter(read) - Counter(text)
    assert gone.total() + come.total() <= 1
    assert gone.keys() <= set(text) - set("0123456789/-")
    assert come.keys() <= {" "}


@pytest.mark.parametrize("text", ["2x4x8", "5gal 1/2", "dcd771c2", "12345", "led tv", "水壶", "x1y2z3 5升", ""])
def test_what_is_short_or_holds_a_digit_is_read_as_it_is(text):
    assert mistakes(text, 50) == {text}


def test_two_neighbours_swap_or_one_drops():
    swapped = {"rdill", "dirll", "drlil", "drill"}
    dropped = {"rill", "dill", "drll", "dril"}
    split = {"d rill", "dr ill", "dri ll", "dril l"}
    assert mistakes("drill", 1000) == swapped | dropped | split
    assert {"地扫机器人", "地机器人", "扫 地机器人"} <= mistakes("扫地机器人") <= mistakes("扫地机器人", 1000)
    assert not any("4x2" in read or "2x4 " not in f"{read} " for read in mistakes("board 2x4"))


def test_words_are_joined_or_split_now_and_then():
    joined = {"redkettle 5 gal", "red kettle 5gal", "red kettle5 gal"}
    assert mistakes("red kettle 5 gal") & joined == {"redkettle 5 gal"}
    number = sum(with_typo("red kettle", np.random.default_rng(seed)).count(" ") != 1 for seed in range(3000))
    assert number / 3000 == pytest.approx(0.1, abs=0.02)


def test_groups_are_of_similar_length_and_hold_every_row(monkeypatch):
    monkeypatch.setattr(reading, "_GROUP", 3)
    lengths = np.array([5, 1, 4, 2, 3, 9, 8])
    groups = length_groups(lengths)
    assert [lengths[group].tolist() for group in groups] == [[1, 2, 3, 4], [5, 8, 9]]
