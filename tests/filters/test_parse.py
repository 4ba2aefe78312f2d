"""Conditions as text and as objects: one is written as the other, and what cannot be read is told with its cure."""

import contextlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.errors import InputError
from intently.filters import AllOf, AnyOf, Compare, Has, IsMissing, Not, OneOf, as_expression, column, parse

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="`"), min_size=1, max_size=6).filter(
    str.strip
)
NAMES |= st.sampled_from(["price", "价格", "and", "In", "Image Link", "missing"])
VALUES = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
)
LEAVES = (
    st.builds(Compare, NAMES, st.sampled_from(["==", "!="]), VALUES)
    | st.builds(Compare, NAMES, st.sampled_from(["<", "<=", ">", ">="]), VALUES.filter(lambda v: type(v) is not bool))
    | st.builds(OneOf, NAMES, st.lists(VALUES, min_size=1, max_size=3).map(tuple))
    | st.builds(Has, NAMES, VALUES)
    | st.builds(IsMissing, NAMES)
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(AllOf, st.lists(inner, min_size=2, max_size=3).map(tuple))
        | st.builds(AnyOf, st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=6,
)


@given(EXPRESSIONS)
def test_what_is_written_is_read_again(expression):
    again = parse(str(expression))
    assert str(again) == str(expression)
    assert again == expression and hash(again) == hash(expression)
    assert pickle.loads(pickle.dumps(expression)) == expression


def test_text_and_objects_are_the_same():
    text = 'price < 50 and category in ("shoes", "靴子") and not brand == "Acme" or `Image Link` is missing'
    objects = (column("price") < 50) & column("category").one_of(["shoes", "靴子"]) & ~(column("brand") == "Acme")
    objects = objects | column("Image Link").is_missing()
    assert parse(str(objects)) == objects == as_expression(objects)
    assert str(parse(text)) == (
        '(price < 50 and category in ("shoes", "靴子") and not brand == "Acme") or `Image Link` is missing'
    )
    assert parse("a is not missing") == ~column("a").is_missing()
    assert parse("a not in (1, 2,)") == ~column("a").is_missing() & ~column("a").one_of([1, 2])
    assert parse("AGE >= 3 AND NOT tags HAS 'x\\'y'") == (column("AGE") >= 3) & ~column("tags").has("x'y")


def test_true_is_not_one():
    assert column("a").one_of([True]) != column("a").one_of([1])
    assert (column("a") == True) != (column("a") == 1)  # noqa: E712


WRONG = {
    "": "character 1: the condition is empty; write a condition such as price < 50",
    "price": "character 6: expected a comparison after 'price', found the end",
    "price = 5": "character 7: cannot read '='; write ==",
    "10 < price": "character 1: expected the name of a column, found '10'; begin with the column",
    "10 <": "begin with the column",
    "1 < price < 5": "begin with the column",
    "price < 5 < 6": "character 11: two comparisons in one; write two conditions",
    "brand == Acme": "character 10: expected a value, found 'Acme'; put texts in quotes: \"Acme\"",
    "brand <> 'a'": "character 7: cannot read '<>'; write !=",
    "brand == “Acme”": "character 10: cannot read '“'; use straight quotes",
    "价格＜5": "character 3: cannot read '＜'; write <",
    "price == ": "character 10: expected a value, found the end",
    "price == null": "for no value write: price is missing",
    "price is null": "write price is missing",
    "price in 5": "character 10: expected (, found '5'",
    "price in ()": "expected a value, found ')'",
    "a == 1 && b == 2": "character 8: cannot read '&&'; write and",
    "(a == 1": "character 8: expected ), found the end; close the parenthesis",
    "a == 1) or b == 2": "character 7: expected and, or, or the end, found ')'",
    "a == 'x": 'cannot read "\'"; close the quote',
    "`a == 1": "close the backtick",
    "in == 5": "a column of this name is written in backticks: `in`",
    "a == 1e999": "1e999 is too large a number",
    "a < true": "true and false have no order",
    "(" * 1000: "nested too deeply",
    "not " * 1000: "nested too deeply",
    "a == 1 or " * 3000: "the condition has 30,000 characters",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:20])
def test_wrong_text_is_told_with_its_place_and_cure(text):
    with pytest.raises(InputError) as caught:
        parse(text)
    assert str(caught.value).startswith("field 'filters': ")
    assert WRONG[text] in str(caught.value)


@given(st.text(alphabet="ab1\"'`()<=!, \\né价andornotishas", max_size=30))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(InputError):
        assert parse(str(parse(text))) == parse(text)


def test_wrong_objects():
    deep = column("a") == 1
    for _ in range(60):
        deep = ~deep
    wrong = [
        (lambda: as_expression(5), "expected a condition, got int"),
        (lambda: as_expression(deep), "over 50 conditions inside each other"),
        (lambda: column("a") == None, "is_missing"),  # noqa: E711
        (lambda: column("a") < float("nan"), "cannot compare with nan"),
        (lambda: column("a").one_of("abc"), "expected a list of values, got 'abc'"),
        (lambda: column("a").one_of([]), "give from one to"),
        (lambda: column(""), "is not the name of a column"),
        (lambda: (column("a") == 1) and (column("b") == 2), "combine conditions by &"),
        (lambda: (column("a") == 1) & True, "put each condition in parentheses"),
        (lambda: 1 < column("a") < 5, "combine conditions by &"),
    ]
    for make, told in wrong:
        with pytest.raises(InputError, match=told):
            make()
