"""The index of targeting gives every user the conditions that a three-valued evaluation gives."""

import random
from typing import Any

import pytest

from intently.errors import InputError
from intently.filters import Expression
from intently.index.targeting import TargetingIndex
from intently.rules import conjunctions, parse_targeting, truth

LEAVES = (
    'country == "DE"', 'country != "DE"', 'country in ("DE", "AT", "CH")', 'country not in ("US", "CN")',
    "country is missing", "country is not missing", "age >= 18", "age < 30", "age <= 30", "age > 65", "age == 40",
    "age != 40", "age in (18, 40, 66)", 'interests has "跑步"', 'interests has "garden"', "interests is missing",
    "member == true", "member != true", 'city < "M"', 'city >= "上"', 'city == "上海"', 'age == "40"', "country == 1",
)  # fmt: skip
USERS: dict[str, tuple[Any, ...]] = {
    "country": ("DE", "US", "CN", None), "age": (17, 18, 30.0, 40, 66, None), "member": (True, False, None),
    "interests": (frozenset(("跑步",)), frozenset(("garden", "跑步")), frozenset(), None),
    "city": ("上海", "Berlin", "Zürich", None),
}  # fmt: skip


def draw_condition(draw: random.Random, depth: int = 3) -> str:
    kind = draw.randint(0, 4) if depth else 0
    if kind <= 1:
        return draw.choice(LEAVES)
    if kind == 2:
        return f"not ({draw_condition(draw, depth - 1)})"
    word = " and " if kind == 3 else " or "
    return word.join(f"({draw_condition(draw, depth - 1)})" for _ in range(draw.randint(2, 3)))


def draw_user(draw: random.Random) -> dict[str, Any]:
    return {name: draw.choice(values) for name, values in USERS.items()}


def draw_conditions(draw: random.Random, number: int) -> list[Expression]:
    found: list[Expression] = []
    while len(found) < number:
        try:
            found.append(parse_targeting(draw_condition(draw)))
        except InputError as error:
            assert "conjunctions" in str(error)
    return found


def test_equals_three_valued_evaluation() -> None:
    draw = random.Random(3)
    pairs = 0
    for _ in range(10):
        conditions = draw_conditions(draw, 250)
        index = TargetingIndex.build(conditions)
        for _ in range(40):
            user = draw_user(draw)
            expected = [truth(condition, user) is True for condition in conditions]
            assert index.true_of(user).tolist() == expected
            pairs += len(conditions)
    assert pairs == 100_000


def test_conjunctions_say_what_the_condition_says() -> None:
    draw = random.Random(4)
    for condition in draw_conditions(draw, 200):
        user = draw_user(draw)
        says = any(
            all(truth(leaf, user) is True for leaf in each.true)
            and all(truth(leaf, user) is False for leaf in each.false)
            for each in conjunctions(condition)
        )
        assert says == (truth(condition, user) is True)


@pytest.mark.parametrize(
    ("condition", "user", "expected"),
    [
        ('country == "DE"', {}, None),  # what the user did not say is unknown, and refuses
        ('not country == "DE"', {}, None),
        ('country not in ("DE")', {}, False),
        ('not (country in ("DE"))', {}, None),
        ("age >= 18 or age is missing", {}, True),  # whoever wants to admit such users says so
        ('age >= 18 or country == "DE"', {"country": "DE"}, True),
        ('age >= 18 and country == "DE"', {"country": "FR"}, False),
        ('interests has "跑步"', {"interests": frozenset(("跑步",))}, True),
        ('interests has "跑步"', {"interests": frozenset()}, False),
        ('not interests has "跑步"', {}, None),
        ('城市 in ("上海", "北京") and not (年龄 < 18)', {"城市": "上海", "年龄": 20}, True),
        ('城市 in ("上海", "北京") and not (年龄 < 18)', {"城市": "上海"}, None),
        ("member == true", {"member": 1}, False),  # true is not 1
    ],
)
def test_truth(condition: str, user: dict[str, Any], expected: bool | None) -> None:
    assert truth(parse_targeting(condition), user) is expected
    assert TargetingIndex.build([parse_targeting(condition)]).true_of(user).tolist() == [expected is True]


def test_too_many_conjunctions() -> None:
    one = "(a == 1 or b == 1 or c == 1)"
    with pytest.raises(InputError, match="over 64 conjunctions"):
        parse_targeting(" and ".join(one.replace("1", str(number)) for number in range(4)))


def test_kinds_of_values_do_not_mix() -> None:
    """In Python 1, 1.0 and true are equal."""
    conditions = [
        "a == 1",
        "a == true",
        "a >= 1",
        "a < 1.5",
        'a >= "1"',
        "not a == 1",
        "a in (1, 2)",
        "a in (2, 1)",
        "a in (true, 1)",
        "a != 3",
    ]
    index = TargetingIndex.build([parse_targeting(text) for text in conditions])
    for value in (1, 1.0, True, False, "1", "2", 2.5, frozenset((1,))):
        expected = [truth(parse_targeting(text), {"a": value}) is True for text in conditions]
        assert index.true_of({"a": value}).tolist() == expected, value


def test_a_contradiction_admits_nobody() -> None:
    index = TargetingIndex.build([parse_targeting("age == 1 and not age == 1"), parse_targeting("age is missing")])
    assert index.true_of({"age": 1}).tolist() == [False, False]
    assert index.true_of({}).tolist() == [False, True]
