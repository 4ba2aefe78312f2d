import pytest

from intently.build.known_items import known_items
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.text.analyze import Analyzer

TITLES = [f"{color} {thing} with {part}" for color in ("red", "blue", "green") for thing in ("lamp", "kettle", "shoe")
          for part in ("handle", "battery")] + ["红色 扫地机器人", "静音电热水壶", "", "the of with"]  # fmt: skip
ANALYZER = Analyzer()
LEXICAL = LexicalIndex.build(TITLES, LexicalSettings())
CHINESE = TITLES[-4:-2] * 30


def test_queries_are_words_of_their_ad_with_a_little_noise():
    drawn = [known_items(TITLES, LEXICAL, ANALYZER, 100, seed) for seed in range(20)]
    assert all(len({item.query for item in items}) == len(items) > 8 for items in drawn)
    own = noise = 0
    for item in (item for items in drawn for item in items):
        words = {word for word, _ in ANALYZER.content(TITLES[item.ad_row])}
        assert words, "a title without words asks nothing"
        asked = [word for word, _ in ANALYZER.content(item.query)]
        assert asked
        own += sum(word in words for word in asked)
        noise += sum(word not in words for word in asked)
    assert own / 10 < noise < own


def test_chinese_words_are_written_together():
    items = [
        item
        for item in known_items(CHINESE, LexicalIndex.build(CHINESE, LexicalSettings()), ANALYZER, 40, seed=2)
        if len(item.query) > 3
    ]
    assert items and all(" " not in item.query for item in items)


@pytest.mark.parametrize("number", [0, 3])
def test_the_same_titles_give_the_same_queries(number):
    assert known_items(TITLES, LEXICAL, ANALYZER, number) == known_items(TITLES, LEXICAL, ANALYZER, number)
    assert len(known_items(TITLES, LEXICAL, ANALYZER, number)) == number
    assert known_items([], LexicalIndex.build([], LexicalSettings()), ANALYZER, 3) == []
