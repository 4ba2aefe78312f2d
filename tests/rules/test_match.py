"""Tables of match rules: (keyword, query, how it matches or None), by preset, in English and Chinese.

`docs/rules.md` cites the pages that the rows follow.
"""

import pytest

from intently.errors import InputError
from intently.rules import PRESETS, Keyword, Match, find, matches, parse_keyword
from intently.rules.keyword import bare, checked_negative, has_match_type, is_negative, with_match_type
from intently.rules.presets import rules_of

Row = tuple[str, str, str | None]
KNOWN = frozenset(("boats", "boots", "horse", "house", "running", "shoes"))

GOOGLE: list[Row] = [
    ("[shoes for men]", "shoes for men", "exact"),
    ("[shoes for men]", "Shoes for Men!", "exact"),
    ("[shoes for men]", "shoes men", "near exact"),  # function words left out
    ("[shoes for men]", "men shoes", "near exact"),  # another order
    ("[shoes for men]", "men shoe", "near exact"),  # singular
    ("[shoes for men]", "shoes for a man", "near exact"),  # function words added
    ("[shoes for men]", "tennis shoes for men", None),
    ("[shoes for men]", "shoes for boys", None),
    ("[floor]", "flooring", "near exact"),  # stems
    ("[kids shoes]", "kids' shoes", "exact"),
    ("[running shoes]", "runing shoes", "near exact"),  # misspelled
    ("[running shoes]", "runing shoos", None),  # twice
    ("[sidewalk cafe]", "sidewalk café", "near exact"),  # accents
    ("[tv stand]", "television stand", "near exact"),  # abbreviation
    ("[hotels in new york]", "hotels new york", "near exact"),
    ("[flights to new york]", "flights from new york", None),  # these words change the meaning
    ("[flights to new york]", "flight to new york", "near exact"),
    ("[sfo to jfk]", "jfk to sfo", None),
    ('"flights to new york"', "cheap flights to new york from boston", "phrase"),
    ('"flights to new york"', "cheap flights from new york", None),
    ("flights to new york", "new york flights", "broad"),
    ("[北京到上海]", "上海到北京", None),
    ("[vitamin a]", "vitamin", None),
    ("[it support]", "support", None),
    ('"tennis shoes"', "red tennis shoes", "phrase"),
    ('"tennis shoes"', "buy tennis shoe online", "near phrase"),
    ('"tennis shoes"', "tennis running shoes", None),
    ('"tennis shoes"', "shoes tennis", None),
    ('"shoes for tennis"', "best shoes tennis players", "near phrase"),
    ("+women's +hats", "women's hats sale", "phrase"),  # a + is a phrase since 2021
    ("low carb diet plan", "plan for a low carb diet", "broad"),
    ("low carb diet plan", "diets with plans, low in carbs", "broad"),
    ("low carb diet plan", "low carb recipes", None),
    ("boots", "boats", None),  # a word of its own is no misspelling
    ("[花园水管]", "花园水管", "exact"),
    ("[花园水管]", "花園 水管", "exact"),  # traditional characters, a blank
    ("[花园水管]", "水管花园", "near exact"),  # another order
    ("[花园水管]", "便宜花园水管", None),
    ("[花园水管]", "花水园管", None),  # the same characters, other words
    ("[红色的裙子]", "红色裙子", "near exact"),  # 的 left out
    ("[电视机支架]", "电视支架", "near exact"),  # abbreviation
    ('"羊毛袜"', "男士羊毛袜子", "phrase"),
    ('"羊毛袜"', "羊毛厚袜", None),
    ("跑步 鞋", "鞋子 适合 跑步", "broad"),
    ("跑步 鞋", "跑步机", None),
    ("[ＬＥＤ 燈]", "led灯", "exact"),  # width
]

GOOGLE_NEGATIVE: list[Row] = [
    ("running shoes", "blue tennis shoes", None),
    ("running shoes", "running shoe", None),
    ("running shoes", "blue running shoes", "broad"),
    ("running shoes", "shoes running", "broad"),
    ("running shoes", "running shoes", "broad"),
    ('"running shoes"', "blue tennis shoes", None),
    ('"running shoes"', "running shoe", None),
    ('"running shoes"', "blue running shoes", "phrase"),
    ('"running shoes"', "shoes running", None),
    ('"running shoes"', "running shoes", "phrase"),
    ("[running shoes]", "blue tennis shoes", None),
    ("[running shoes]", "running shoe", None),
    ("[running shoes]", "blue running shoes", None),
    ("[running shoes]", "shoes running", None),
    ("[running shoes]", "running shoes", "exact"),
    ("-free trial", "free one-day trial", "broad"),
    ("-free trial", "one-day trial", None),
    ("flowers", "flower", None),  # plurals are added one by one
    ("flowers", "Flowers", "broad"),
    ("sidewalk cafe", "sidewalk café", None),  # accents count
    ("house", "houses", None),
    ("免费", "免费试用", "broad"),
    ("免费", "免费", "broad"),
    ('"免费试用"', "试用免费", None),
    ('"免费试用"', "手机免费试用装", "phrase"),
    ("youtube", "yuotube videos", "broad"),  # misspellings, since June 2024
    ("running shoes", "blue runing shoes", "broad"),
    ('"running shoes"', "runing shoes sale", "near phrase"),
    ("[running shoes]", "runing shoes", "near exact"),
    ("flowers", "flowres", "broad"),
    ("lipsticks", "lipstick", None),  # another form of the word is no misspelling
    ("woman", "women", None),
    ("château", "chateau", None),  # nor is one without its accent
    ("boots", "boats", None),  # nor is another word
    ("golf shoes", "golfing shoes", None),
    ("[免费]", "免费试用", None),
    ("免費", "免费试用", "broad"),
]

MICROSOFT: list[Row] = [
    ("[winter vacations]", "winter vacations", "exact"),
    ("[winter vacations]", "winter vacation", "near exact"),
    ("[winter vacations]", "vacation winter", "near exact"),
    ("[winter vacations]", "winter vacatons", "near exact"),
    ("[winter vacations]", "ski winter vacations", None),
    ("[winter vacations]", "winter", None),
    ('"winter vacations"', "ski winter vacations", "phrase"),
    ('"winter vacations"', "tropical winter vacations", "phrase"),
    ('"winter vacations"', "tropical vacations", None),
    ('"winter vacations"', "summer vacations", None),
    ('"winter vacations"', "winter beach vacations", None),
    ('"winter vacations"', "a winter-vacations deal", "phrase"),
    ("winter vacations", "vacation winter", "broad"),
    ("winter vacations", "ski winter vacations", "broad"),
    ("winter vacations", "winter", None),
    ("winter vacations", "vacation", None),
    ("+landscape services", "services of landscape gardeners", "broad"),  # a + is broad
    ("[red flowers]", "red-flowers", "exact"),
    ("[red flowers]", "RED FLOWERS", "exact"),
    ("truck rental", "rental of a truck", "broad"),
    ("[contoso tea]", "contoso tea", "exact"),
    ("[contoso tea]", "contoso tea reviews", None),
    ('"contoso tea"', "contoso tea near me", "phrase"),
    ("[teriyaki chicken]", "chicken teriyaki", "near exact"),
    ("[hotel in new york]", "hotel new york", "near exact"),
    ('"冬季旅游"', "北方冬季旅游攻略", "phrase"),
    ('"冬季旅游"', "旅游冬季", None),
    ("[冬季旅游]", "冬季 旅遊", "exact"),
]

MICROSOFT_NEGATIVE: list[Row] = [
    ("free", "free tickets", "phrase"),  # without marks: a phrase
    ("car rental", "rental car", None),
    ("car rental", "cheap car rental", "phrase"),
    ("[car]", "car", "exact"),
    ("[car]", "red car", None),
    ("cars", "car", None),
    ("women's shoes", "women's wide shoes", None),
    ("women's shoes", "wide women's shoes", "phrase"),
    ("[women's shoes]", "wide women's shoes", None),
    ("bike-repair", "bike repair shop", "phrase"),  # punctuation and accents do not count
    ("café", "cafe berlin", "near phrase"),
    ("vacation", "vacatoin", None),
    ("租车", "北京租车公司", "phrase"),
]

AMAZON: list[Row] = [
    ("[coffee beans]", "coffee beans", "exact"),
    ("[coffee beans]", "coffee bean", "near exact"),  # plurals
    ("[coffee beans]", "the coffee beans", "near exact"),  # words that Amazon leaves out
    ("[coffee beans]", "beans coffee", None),  # order counts
    ("[coffee beans]", "organic coffee beans", None),
    ("[coffee beans]", "cofee beans", "near exact"),  # misspellings
    ('"curtain rod"', "extra long curtain rods", "near phrase"),
    ('"curtain rod"', "curtain rods for bedroom", "near phrase"),
    ("+kids shoes", "running shoes for kids", "broad"),
    ("+kids shoes", "running shoes", None),
    ('"coffee beans"', "organic coffee beans", "phrase"),
    ('"coffee beans"', "coffee beans dark roast", "phrase"),
    ('"coffee beans"', "organic coffee bean", "near phrase"),
    ('"coffee beans"', "coffee roasted beans", None),
    ('"coffee beans"', "beans for coffee", None),
    ("coffee beans", "beans for coffee", "broad"),
    ("coffee beans", "coffee roasted beans", "broad"),
    ("coffee beans", "coffee", None),
    ("coffee beans", "coffee bean", "broad"),
    ("[phone case]", "phone cases", "near exact"),
    ('"climbing shoes"', "red climbing shoes", "phrase"),
    ('"climbing shoes"', "shoes climbing", None),
    ("climbing shoes", "climb shoe", None),  # stems are not plurals
    ("[kids shoes]", "shoes kids", None),
    ("[咖啡豆]", "咖啡豆", "exact"),
    ("[咖啡豆]", "意式咖啡豆", None),
    ('"咖啡豆"', "意式咖啡豆 500g", "phrase"),
    ("咖啡 豆", "豆 咖啡", "broad"),
]

AMAZON_NEGATIVE: list[Row] = [
    ("coffee bean", "organic coffee beans", "near phrase"),  # variants count for negatives too
    ("[coffee beans]", "coffee bean", "near exact"),
    ("[coffee beans]", "green coffee beans", None),
    ("coffee beans", "beans coffee", None),
    ("[coffee beans]", "cofee beans", "near exact"),
]

STRICT: list[Row] = [
    ("[running shoes]", "Running  Shoes", "exact"),
    ("[running shoes]", "running shoe", None),
    ("[running shoes]", "shoes running", None),
    ('"running shoes"', "best running shoes", "phrase"),
    ("running shoes", "shoes for running", "broad"),
    ("running shoes", "shoe for running", None),
    ("[shoes for men]", "shoes men", None),
    ("[C++ book]", "c book", "exact"),  # punctuation never counts
    ("[跑步鞋]", "跑步 鞋", "exact"),
    ("跑步鞋", "鞋跑步", "broad"),
]

TABLES = {
    ("google", False): GOOGLE, ("google", True): GOOGLE_NEGATIVE,
    ("microsoft", False): MICROSOFT, ("microsoft", True): MICROSOFT_NEGATIVE,
    ("amazon", False): AMAZON, ("amazon", True): AMAZON_NEGATIVE,
    ("strict", False): STRICT,
}  # fmt: skip
ROWS = [(preset, negative, *row) for (preset, negative), table in TABLES.items() for row in table]


@pytest.mark.parametrize(("preset", "is_negative", "written", "query", "expected"), ROWS)
def test_published_rules(preset: str, is_negative: bool, written: str, query: str, expected: str | None) -> None:
    rules = PRESETS[preset]
    keyword = rules.negative_keyword(written) if is_negative else rules.keyword(written)
    found = find(keyword, query, rules.negative if is_negative else rules.positive, KNOWN)
    assert (found.match_type if found else None) == expected


def test_each_platform_has_twenty_rows() -> None:
    for preset in ("google", "microsoft", "amazon"):
        assert sum(len(table) for (name, _), table in TABLES.items() if name == preset) >= 20


def test_words_are_looked_for_in_the_whole_query() -> None:
    """Google looks for negative keywords in the first 16 words only."""
    query = " ".join(f"word{number}" for number in range(40)) + " free trial"
    for preset in PRESETS.values():
        assert find(preset.negative_keyword('"free trial"'), query, preset.negative)
    assert find(PRESETS["google"].negative_keyword("免费"), "水管" * 30 + "免费", PRESETS["google"].negative)


def test_a_match_is_in_words() -> None:
    rules = PRESETS["google"]
    assert str(find(rules.keyword("[garden hose]"), "garden hoses", rules.positive)) == (
        "keyword [garden hose], near exact match"
    )
    assert str(find(rules.keyword("garden hose"), "hose for the garden", rules.positive)) == (
        "keyword garden hose, broad match"
    )


@pytest.mark.parametrize(
    ("written", "text", "match"),
    [
        ("[garden hose]", "garden hose", Match.EXACT),
        ("【花园水管】", "花园水管", Match.EXACT),
        ('"garden hose"', "garden hose", Match.PHRASE),
        ("“花园水管”", "花园水管", Match.PHRASE),
        ("garden hose", "garden hose", Match.BROAD),
        ("+garden +hose", "garden hose", Match.BROAD),
        ("c++", "c++", Match.BROAD),
        ('12" pipe', '12" pipe', Match.BROAD),
        ("  [ hose ] ", "hose", Match.EXACT),
    ],
)
def test_marks(written: str, text: str, match: Match) -> None:
    assert parse_keyword(written) == Keyword(text, match)
    assert bare(written) == text
    assert has_match_type(written) == (match is not Match.BROAD or "+g" in written)
    assert parse_keyword(str(Keyword(text, match))) == Keyword(text, match)


@pytest.mark.parametrize(("match_type", "written", "negative"), [
    ("Genau passend", "[hose]", False), ("Passende Wortgruppe", '"hose"', False), ("Weitgehend passend", "hose", False),
    ("Auszuschließend – Genau passend", "[hose]", True), ("Campaign Negative Phrase", '"hose"', True),
    ("negativePhrase", '"hose"', True), ("NEGATIVE_EXACT", "[hose]", True), ("Broad match modifier", "hose", False),
    ("完全匹配", "[hose]", False), ("词组匹配", '"hose"', False), ("否定广泛匹配", "hose", True),
    ("BROAD", "hose", False), ("concordancia exacta", "[hose]", False), ("フレーズ一致", '"hose"', False),
])  # fmt: skip
def test_match_types_in_the_words_of_exports(match_type: str, written: str, negative: bool) -> None:
    assert with_match_type("hose", match_type) == written
    assert is_negative(match_type) == negative


def test_a_column_names_the_match_type() -> None:
    assert with_match_type("garden hose", "Exact") == "[garden hose]"
    assert with_match_type("[garden hose]", "Phrase match") == '"garden hose"'
    assert with_match_type("水管", "Negative Broad") == "水管"
    assert with_match_type("水管", "Campaign Negative Exact") == with_match_type("水管", "negativeExact") == "[水管]"
    with pytest.raises(InputError, match="not a match type"):
        with_match_type("hose", "irgendwie")


@pytest.mark.parametrize("written", ["[]", '""', "[ ]", "!!!", ""])
def test_a_keyword_without_words(written: str) -> None:
    assert not matches(parse_keyword(written), "anything", PRESETS["google"].positive)
    with pytest.raises(InputError, match="has no word"):
        checked_negative(written)


def test_unknown_preset() -> None:
    with pytest.raises(InputError, match="use one of google, microsoft, amazon, strict"):
        rules_of("gogle")
