import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.text.spelling import Speller

COUNTS = {
    "robot": 5, "vacuum": 3, "cleaner": 2, "lamp": 9, "lump": 4, "kettle": 2, "electric": 7, "stainless": 1, "pan": 8,
    "headphone": 3, "1000": 4, "红色": 3, "水壶": 2, "热水": 1, "电热水壶": 1, "色": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("robot", ("robot",)),
        ("水壶", ("水壶",)),
        ("robto", ("robot",)),  # neighbours swapped: one edit
        ("vacum", ("vacuum",)),
        ("ketttle", ("kettle",)),
        ("rxbxt", ()),  # two edits in a short term
        ("headfone", ("headphone",)),  # two edits in a long one
        ("stanles", ()),  # seven letters allow one edit only
        ("stanlessx", ("stainless",)),
        ("limp", ("lamp",)),  # lamp and lump are one edit away, lamp is in more ads
        ("lumpp", ("lump",)),  # the fewest edits win over frequency
        ("pam", ()),  # too short to be corrected
        ("robotvacuum", ("robot", "vacuum")),
        ("panlamp", ("pan", "lamp")),
        ("zzzzzz", ()),
        ("红色电热水壶", ("红色", "电热水壶")),  # the longest known parts
        ("大红色的热水", ("红色", "热水")),
        ("大小", ()),
        ("1001", ()),
        ("100", ()),
        ("1/2", ()),
        ("1000", ("1000",)),
    ],
)
def test_examples(term, expected):
    speller = Speller(COUNTS)
    assert speller.correct(term) == expected
    assert speller.correct(term) == expected  # from the cache


def test_a_compound_is_split_where_both_halves_are_most_frequent():
    assert Speller({"abc": 1, "defgh": 9, "abcde": 5, "fgh": 4}).correct("abcdefgh") == ("abcde", "fgh")


def test_numbers_are_never_split():
    assert Speller({"100": 3, "200": 3}).correct("100200") == ()


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


words = st.text("abc", min_size=1, max_size=9)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(words, st.integers(1, 3), max_size=12), words)
def test_equals_looking_at_every_term(counts, term):
    found = Speller(counts).correct(term)
    if term in counts:
        assert found == (term,)
        return
    allowed = 0 if len(term) < 4 else 1 if len(term) < 8 else 2
    near = sorted((edits(term, other), -count, other) for other, count in counts.items())
    near = [entry for entry in near if entry[0] <= allowed]
    if near:
        assert found == (near[0][2],)
        return
    halves = [(term[:at], term[at:]) for at in range(3, len(term) - 2)]
    worth = [min(counts[a], counts[b]) for a, b in halves if a in counts and b in counts]
    if worth:
        assert "".join(found) == term
        assert min(counts[part] for part in found) == max(worth)
    else:
        assert found == ()
