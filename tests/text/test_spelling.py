import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.text.spelling import Speller, WordTable

COUNTS = {
    "robot": 5, "vacuum": 3, "cleaner": 2, "lamp": 9, "lump": 4, "kettle": 2, "electric": 7, "stainless": 1, "pan": 8,
    "headphone": 3, "coffee": 90, "coffe": 1, "bike": 9, "wine": 9, "logo": 9, "espresso": 9, "1000": 4, "红色": 3,
    "水壶": 2, "热水": 1, "电热水壶": 1, "色": 1, "bird": 3, "bath": 4, "wi": 2, "fi": 2, "wife": 9, "deck": 3,
}  # fmt: skip


def speller_of(counts, known=frozenset(), together=None) -> Speller:
    return Speller([WordTable(counts)], known, together)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("robot", ()),
        ("水壶", ()),
        ("robto", ("robot",)),  # neighbours swapped: one edit
        ("vacum", ("vacuum",)),
        ("ketttle", ("kettle",)),
        ("rxbot", ()),  # in a short word only a swap or a doubled letter is a slip
        ("hedphonne", ("headphone",)),  # two edits in a long one
        ("stanles", ()),  # seven letters allow one edit only
        ("stanlessx", ("stainless",)),
        ("limp", ()),  # too short for another letter
        ("lapm", ()),
        ("lampp", ("lamp",)),
        ("robt", ()),
        ("kttle", ("kettle",)),  # a letter left out
        ("nike", ()),
        ("lego", ()),
        ("twinings", ()),
        ("nespreso", ()),  # a wrong first letter and another edit
        ("birdbath", ("bird", "bath")),
        ("zzzzzz", ()),
        ("红色电热水壶", ("红色", "电热水壶")),  # the longest known parts
        ("大红色的热水", ("红色", "热水")),
        ("大小", ()),
        ("1001", ()),
        ("1/2", ()),
        ("coffe", ("coffee",)),  # one ad has it, and its neighbour is in 90 times as many
        ("lump", ()),  # not so much rarer than "lamp"
    ],
)
def test_examples(word, expected):
    speller = speller_of(COUNTS)
    assert speller.suggest(word) == expected
    assert speller.suggest(word) == expected  # from the cache


def test_words_known_elsewhere_are_right():
    assert speller_of(COUNTS).suggest("robots") == ("robot",)
    assert speller_of(COUNTS, {"robots", "coffe"}).suggest("robots") == ()
    assert speller_of(COUNTS, {"robots", "coffe"}).suggest("coffe") == ()


@pytest.mark.parametrize(
    ("word", "num_ads", "expected"),
    [
        ("vaccum", 3, ("vacuum",)),  # 20 times as many ads are enough for a word of three
        ("vaccum", 4, ()),
        ("vaccum", 8, ("vacuum",)),  # and 50 times for any other
        ("vaccum", 9, ()),
        ("vacum", 8, ("vacuum",)),  # of five letters, with one left out
        ("vecuum", 8, ("vacuum",)),
        ("becuum", 1, ()),  # two edits
        ("stainles", 1, ("stainless",)),
        ("stanlesss", 1, ()),  # two edits are too many for a word that ads have
        ("vaccum3", 1, ()),
        ("吸尘", 1, ()),
    ],
)
def test_a_slip_of_advertisers(word, num_ads, expected):
    """The catalog has the slip itself: what is meant is added all the same."""
    often = {3: 60, 4: 199, 8: 400, 9: 449}.get(num_ads, 400)
    counts = {word: num_ads, "vacuum": often, "stainless": often, "吸尘器": often}
    assert speller_of(counts).suggest(word) == expected
    assert speller_of(counts, known={word}).suggest(word) == ()


def test_halves_that_belong_together_come_before_edits():
    counts = {"wi": 2, "fi": 2, "wifee": 9, "tex": 1, "tile": 9, "textil": 9}
    assert speller_of(counts, together=lambda first, second: 2).suggest("wifi") == ("wi", "fi")
    assert speller_of(counts, together=lambda first, second: 0).suggest("wifi") == ()
    assert speller_of(counts, together=lambda first, second: 0).suggest("textile") == ("textil",)


def test_a_compound_is_split_where_both_halves_are_most_frequent():
    assert speller_of({"abc": 1, "defgh": 9, "abcde": 5, "fgh": 4}).suggest("abcdefgh") == ("abcde", "fgh")


def test_numbers_are_never_split():
    assert speller_of({"100": 3, "200": 3}).suggest("100200") == ()


def test_several_tables_are_one():
    tables = [WordTable({"kettle": 2, "coffe": 1}), WordTable({"coffee": 90, "stove": 2})]
    speller = Speller(tables)
    assert [speller.suggest(word) for word in ("ketle", "coffe", "stovee")] == [("kettle",), ("coffee",), ("stove",)]
    assert (speller.count("kettle"), speller.count("kettles")) == (2, 0)


def test_forms_of_one_word_are_known_together():
    speller = Speller([WordTable({"kettle": 5}, lambda word: word.rstrip("s"))], stem=lambda word: word.rstrip("s"))
    assert (speller.count("kettles"), speller.suggest("kettles")) == (5, ())


def edits(a: str, b: str) -> int:
    """The slow twin: insertions, deletions, replacements and swaps of neighbours, none inside another."""
    table = {(-1, -1): 0}
    for i in range(len(a)):
        table[i, -1] = i + 1
    for j in range(len(b)):
        table[-1, j] = j + 1
    for i in range(len(a)):
        for j in range(len(b)):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i] != b[j]))
            if i and j and a[i] == b[j - 1] and a[i - 1] == b[j]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[len(a) - 1, len(b) - 1]


words = st.text("abc", min_size=6, max_size=9)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(words, st.integers(4, 6), max_size=12), words)
def test_equals_looking_at_every_word(counts, word):
    found = speller_of(counts, together=lambda first, second: 0).suggest(word)
    if word in counts:
        assert found == ()
        return
    near = sorted((edits(word, other) + (word[0] != other[0]), -count, other) for other, count in counts.items())
    near = [entry for entry in near if entry[0] <= (1 if len(word) < 9 else 2)]
    assert found == ((near[0][2],) if near else ())


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(words, st.lists(st.integers(0, 120), min_size=3, max_size=3), max_size=12), words)
def test_words_in_several_tables_count_together(counts, word):
    tables = [{each: parts[at] for each, parts in counts.items() if parts[at]} for at in range(3)]
    whole = {each: sum(parts) for each, parts in counts.items() if any(parts)}
    apart, together = Speller([WordTable(table) for table in tables]), Speller([WordTable(whole)])
    for asked in (word, *counts):
        assert apart.suggest(asked) == together.suggest(asked)
