"""Prompts, temperatures, and which answers are queries."""

import numpy as np
import pytest

from intently.build.augmentation.queries import (
    QuerySettings,
    Refusal,
    clean_query,
    lexical_rank,
    refuse,
    shown_prompt,
    sift,
    temperatures,
    tuned_prompt,
)
from intently.build.augmentation.writer import Written
from intently.errors import SettingsError
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.text.analyze import Analyzer

ANALYZER = Analyzer()
SHORT = QuerySettings(max_words=6)
SETTINGS = QuerySettings(start_temperature=1.5, end_temperature=0.5)


def test_temperatures_fall_to_the_last():
    assert temperatures(1, SETTINGS) == (0.5,)
    assert temperatures(3, SETTINGS) == (1.5, 1.0, 0.5)
    assert all(isinstance(one, float) for one in temperatures(4, SETTINGS))


def test_prompts_are_in_the_ads_language_and_end_with_the_ad():
    for text, ad, begun in (("red\n pan", "Ad: red pan", "Query:"), ("红色 水壶", "广告：红色 水壶", "搜索词：")):
        shown, tuned = shown_prompt(text), tuned_prompt(text)
        assert tuned.instruction == ad
        assert (shown.begun, tuned.begun) == (begun, begun)
        assert shown.instruction.endswith(f"\n\n{ad}")
        assert shown.instruction.count(begun) == 3


@pytest.mark.parametrize(
    ("said", "query"),
    [
        ("red pan", "red pan"),
        (' "Red  pan." \nAnother line', "Red pan"),
        ("\n\n1. red pan", "red pan"),
        ("- Query: red pan", "red pan"),
        ("搜索词：红色水壶。", "红色水壶"),
        ("“红色水壶”", "红色水壶"),
        ("1.7 l kettle", "1.7 l kettle"),
        ("**red pan**", "red pan"),
        ("search query: pan", "pan"),
        (" \n ", ""),
    ],
)
def test_answers_are_cleaned(said, query):
    assert clean_query(said) == query
    assert clean_query(clean_query(said)) == query


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ("", Refusal.EMPTY),
        ("...", Refusal.EMPTY),
        ("用", Refusal.EMPTY),
        ("camping battery", Refusal.PROMPT),  # an example it was shown
        ("水管爆了找谁修", Refusal.PROMPT),
        ("Ad: pan", Refusal.PROMPT),
        ("what a shopper who wants this types", Refusal.PROMPT),
        ("pan <b>red</b>", Refusal.ODD),
        ("see https://pan.example", Refusal.ODD),
        ("pan \ufffd", Refusal.ODD),
        ("pan pan pan", Refusal.LOOP),
        ("red pan red pan", Refusal.LOOP),
        ("水壶水壶水壶", Refusal.LOOP),
        ("one two three four five six seven", Refusal.LONG),
        ("a" * 81, Refusal.LONG),
        ("where can i find a pan", None),
        ("水壶 什么 牌子好", None),
        ("2 x 4 lumber 8 ft", None),
        ("café au lait 1/2 price, $5", None),
        ("bon bon", None),
    ],
)
def test_junk_is_refused_by_rule(query, refusal):
    assert refuse(query, True, ANALYZER, SHORT) is refusal


def test_what_did_not_end_is_refused():
    assert refuse("red pa", False, ANALYZER, SHORT) is Refusal.LONG


def test_a_tuned_model_was_shown_nothing():
    for copied in ("camping battery", "women's trail running shoe", "户外电源 500瓦时 停电"):
        assert refuse(copied, True, ANALYZER, SHORT) is Refusal.PROMPT
        assert refuse(copied, True, ANALYZER, QuerySettings(tune=True)) is None
    assert refuse("trail running shoe", True, ANALYZER, SHORT) is None  # three words may be anybody's


TITLES = ("Electric kettle", "红色水壶", "Red pan")


def written(ad_row: int, *texts: str) -> Written:
    return Written(ad_row, texts, (True,) * len(texts), 1, 1, 1.0)


def test_sifting_counts_what_it_leaves_out():
    told = [
        written(0, "boil water", "Electric Kettles", "BOILING water", "", "tea maker", "boil water"),
        written(1, "红色的水壶", "烧水壶", "烧水壶。"),
        written(2, "<>", "camping battery"),
    ]
    sifted = sift(told, TITLES, ANALYZER, SETTINGS)
    assert sifted.queries == {0: ("boil water", "tea maker"), 1: ("烧水壶",)}
    assert (sifted.num_written, sifted.num_duplicates, sifted.num_kept) == (11, 5, 3)
    assert {rule: count for rule, count in sifted.refused.items() if count} == {"empty": 2, "prompt": 1}
    assert sifted.num_written == sifted.num_kept + sifted.num_duplicates + sum(sifted.refused.values())


def test_the_round_trip_keeps_what_leads_back():
    index = LexicalIndex.build(["electric kettle tea", "红色水壶", "red pan tea tea tea"], LexicalSettings())
    told = [written(0, "electric tea", "tea", "boil water", "pan"), written(1, "红色", "电灯")]
    for limit, expected in (
        (0, {0: ("electric tea", "tea", "boil water", "pan"), 1: ("红色", "电灯")}),
        (1, {0: ("electric tea",), 1: ("红色",)}),
        (2, {0: ("electric tea", "tea"), 1: ("红色",)}),
    ):
        sifted = sift(told, TITLES, ANALYZER, QuerySettings(round_trip=limit), index)
        assert sifted.queries == expected
        assert sifted.refused[Refusal.ROUND_TRIP] == (6 - sifted.num_kept)


def test_rank_is_that_of_a_sorted_list():
    texts = ["pan pan", "red pan", "red lamp", "pan", "kettle", "red pan"]
    index = LexicalIndex.build(texts, LexicalSettings())
    scores = index.scores(index.analyze("red pan"))
    for row in range(len(texts)):
        better = sum(score > scores[row] for score in scores)
        assert lexical_rank(index, "red pan", row) == (1 + better if scores[row] else np.inf)
    assert lexical_rank(index, "red pan", 1) == lexical_rank(index, "red pan", 5) == 1


@pytest.mark.parametrize(
    "wrong", [{"budget": -1}, {"max_per_ad": 0}, {"round_trip": 1.5}, {"start_temperature": -0.1}, {"max_words": 0}]
)
def test_wrong_settings(wrong):
    with pytest.raises(SettingsError):
        QuerySettings(**wrong)
