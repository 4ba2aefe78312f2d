"""The index of keywords finds what comparing every keyword with the query finds."""

import random
from pathlib import Path

import numpy as np
import pytest

from intently.errors import ArtifactError
from intently.index.keywords import KeywordIndex
from intently.rules import PRESETS, matches

TEXT = """
garden hose hoses shoes shoe running runing runnng men man mens women for the a of in tv television boots cafe café it
support vitamin red blue socks wool winter vacations vacaton to from 到 从
花园 水管 跑步 鞋 鞋子 的 羊毛 袜子 電視 电视机 免费
"""
WORDS = TEXT.split()
MARKS = ("{}", "{}", "[{}]", '"{}"', "+{}")
KNOWN = frozenset(("boots", "shoes", "vacations"))


def draw_text(draw: random.Random, longest: int) -> str:
    words = [draw.choice(WORDS) for _ in range(draw.randint(1, longest))]
    return draw.choice((" ", " ", "")).join(words) if words[0] > "一" else " ".join(words)


def draw_lists(draw: random.Random, num_rows: int) -> list[list[str]]:
    return [[draw.choice(MARKS).format(draw_text(draw, 3)) for _ in range(draw.randint(0, 6))] for _ in range(num_rows)]


def brute(lists: list[list[str]], query: str, preset: str, is_negative: bool) -> set[tuple[int, str]]:
    rules = PRESETS[preset]
    variants = rules.negative if is_negative else rules.positive
    read = rules.negative_keyword if is_negative else rules.keyword
    return {
        (row, text) for row, texts in enumerate(lists) for text in texts if matches(read(text), query, variants, KNOWN)
    }


def indexed(index: KeywordIndex, query: str) -> set[tuple[int, str]]:
    return {
        (row, index.texts[number]) for number in index.matching(query, KNOWN) for row in index.rows(number).tolist()
    }


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("is_negative", [False, True])
def test_equals_brute_force(preset: str, is_negative: bool, tmp_path: Path) -> None:
    draw = random.Random(f"{preset} {is_negative}")
    rules = PRESETS[preset]
    num_found = 0
    for round_ in range(6):
        lists = draw_lists(draw, 40)
        index = KeywordIndex.build(lists, rules, is_negative=is_negative)
        more = draw_lists(draw, 15)
        joined = index.concatenated(KeywordIndex.build(more, rules, is_negative=is_negative))
        mask = np.array([draw.random() < 0.7 for _ in range(55)])
        kept = joined.kept(mask)
        kept.save(tmp_path / "keywords.npz")
        loaded = KeywordIndex.load(tmp_path / "keywords.npz", rules)
        left = [texts for texts, stays in zip(lists + more, mask.tolist(), strict=True) if stays]
        for _ in range(40):
            query = draw_text(draw, 5)
            expected = brute(lists, query, preset, is_negative)
            assert indexed(index, query) == expected
            num_found += len(expected)
            expected = brute(left, query, preset, is_negative)
            for one in (kept, loaded.warmed()):
                assert indexed(one, query) == expected, query
        assert round_ < 6 and joined.num_ads == 55
    assert num_found > 100


def test_other_rules_read_the_keywords_again(tmp_path: Path) -> None:
    draw = random.Random(5)
    lists = draw_lists(draw, 60)
    KeywordIndex.build(lists, PRESETS["google"]).save(tmp_path / "k.npz")
    index = KeywordIndex.load(tmp_path / "k.npz", PRESETS["amazon"])
    for _ in range(60):
        query = draw_text(draw, 4)
        assert indexed(index, query) == brute(lists, query, "amazon", False)


def test_few_candidates_that_do_not_match() -> None:
    lists = [[f"{kind} {thing}" for kind in ("red", "blue", "green", "wool")] for thing in map(str, range(2_000))]
    index = KeywordIndex.build(lists, PRESETS["google"])
    assert len(index.texts) == 8_000
    assert len(index.candidates("buy red 17 today")) == 1  # not the 2,000 of "red"


def test_nothing_to_find() -> None:
    index = KeywordIndex.build([[], ["!!!"]], PRESETS["google"])
    assert index.matching("hose") == index.matching("!!!") == []
    assert KeywordIndex.build([], PRESETS["strict"]).matching("hose") == []


def test_a_file_of_something_else(tmp_path: Path) -> None:
    with (tmp_path / "k.npz").open("wb") as file:
        np.savez(file, told=np.zeros(3, dtype=np.uint8))
    with pytest.raises(ArtifactError, match="does not hold keywords"):
        KeywordIndex.load(tmp_path / "k.npz", PRESETS["google"])
