r"""Reads conditions that are written as text.

    either    := all ("or" all)*
    all       := one ("and" one)*
    one       := "not" one | "(" either ")" | condition
    condition := name ("==" | "!=" | "<" | "<=" | ">" | ">=") value
               | name ["not"] "in" "(" value ("," value)* ")"
               | name ["not"] "has" value
               | name "is" ["not"] "missing"
    name      := a word, or anything between backticks
    value     := "text" | 'text' | number | "true" | "false"

In a text a backslash goes before a quote or another backslash; `\n` and `\t` are a line break and a tab.
"""

import re
from dataclasses import dataclass
from typing import Literal as OneWord

from intently.errors import InputError
from intently.filters.expressions import (
    KEYWORDS,
    MAX_DEPTH,
    OPERATORS,
    AllOf,
    AnyOf,
    Compare,
    Expression,
    Has,
    IsMissing,
    Literal,
    Not,
    OneOf,
)

MAX_LENGTH = 20_000  # characters of a condition

Kind = OneWord["name", "quoted name", "text", "number", "sign", "end"]
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?!\w))
    | `(?P<quoted>[^`]+)`
    | (?P<name>[^\W\d]\w*)
    | (?P<sign>==|!=|<=|>=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t"}
# What people write by habit of other languages, and what it is called here.
_CURES = {
    "=": "write ==", "&": "write and", "&&": "write and", "|": "write or", "||": "write or", "!": "write not",
    "<>": "write !=", "“": 'use straight quotes: "text"', "”": 'use straight quotes: "text"',
    "‘": 'use straight quotes: "text"', "’": 'use straight quotes: "text"', "「": 'use straight quotes: "text"',
    "（": "write (", "）": "write )", "，": "write a comma: ,", "＜": "write <", "＞": "write >", "＝": "write ==",
    "[": "write the list in parentheses: (…)", "~": "write not", '"': "close the quote", "'": "close the quote",
    "`": "close the backtick",
}  # fmt: skip
_EXAMPLE = 'write a condition such as price < 50 or category in ("shoes", "boots")'


def as_expression(value: object) -> Expression:
    """Return a condition that was given as text or as an object, checked; raise `InputError` for what is neither."""
    if isinstance(value, str):
        return parse(value)
    if not isinstance(value, Expression):
        told = type(value).__name__
        raise InputError(f"expected a condition, got {told}", cure='write "price < 50"', field="filters")
    for _ in value.leaves():  # raises for conditions nested too deeply
        pass
    return value


def parse(text: str) -> Expression:
    """Return the condition that `text` is. Raises `InputError` naming the character, what is wrong, and the cure."""
    if len(text) > MAX_LENGTH:
        cure = f"use at most {MAX_LENGTH:,}"
        raise InputError(f"the condition has {len(text):,} characters", cure=cure, field="filters")
    return _Parser(text).whole()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: Kind
    text: str
    at: int  # of the first character, from 0

    def says(self, *words: str) -> bool:
        return self.kind in ("name", "sign") and self.text.lower() in words


class _Parser:
    """Reads one text by recursive descent, looking one token ahead."""

    def __init__(self, text: str) -> None:
        self._text, self._end = text, 0
        self._next = self._token(0)

    def whole(self) -> Expression:
        if not self._text.strip():
            raise self._error("the condition is empty", _EXAMPLE)
        found = self._either(1)
        if self._next.kind != "end":
            cure = "join conditions by and, or; close every parenthesis once"
            raise self._error(f"expected and, or, or the end, found {self._told()}", cure)
        return found

    def _either(self, depth: int) -> Expression:
        parts = [self._all(depth)]
        while self._next.says("or"):
            self._take()
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _all(self, depth: int) -> Expression:
        parts = [self._one(depth)]
        while self._next.says("and"):
            self._take()
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _one(self, depth: int) -> Expression:
        if depth >= MAX_DEPTH // 2:  # a pair of parentheses may nest two conditions
            raise self._error("conditions are nested too deeply", "use fewer parentheses")
        if self._next.says("not"):
            self._take()
            return Not(self._one(depth + 1))
        if self._next.says("("):
            self._take()
            found = self._either(depth + 1)
            self._expect(")", "close the parenthesis")
            return found
        return self._condition()

    def _condition(self) -> Expression:
        token = self._next
        if token.kind not in ("name", "quoted name") or (token.kind == "name" and token.text.lower() in KEYWORDS):
            cure = "begin with the column: price > 10" if token.kind in ("number", "text") else _EXAMPLE
            if token.kind == "name":
                cure = f"a column of this name is written in backticks: `{token.text}`"
            raise self._error(f"expected the name of a column, found {self._told()}", cure)
        name = self._take().text
        if self._next.says("is"):
            self._take()
            negated = self._takes("not")
            self._expect("missing", f"write {name} is missing; for a value write {name} == …")
            return Not(IsMissing(name)) if negated else IsMissing(name)
        if self._next.says(*OPERATORS):
            operator = self._take().text
            found: Expression = Compare(name, operator, self._value())
            if self._next.says(*OPERATORS):
                cure = f"write two conditions: {name} > 10 and {name} < 50"
                raise self._error("two comparisons in one", cure)
            return found
        negated = self._takes("not")
        if self._next.says("in"):
            self._take()
            found = OneOf(name, self._values())
        elif self._next.says("has"):
            self._take()
            found = Has(name, self._value())
        else:
            cure = f"write {name} < 50, {name} in (…), {name} has … or {name} is missing"
            raise self._error(f"expected a comparison after {name!r}, found {self._told()}", cure)
        # As a comparison is, `not in` is false where the value is missing.
        return AllOf((Not(IsMissing(name)), Not(found))) if negated else found

    def _values(self) -> tuple[Literal, ...]:
        self._expect("(", 'write a list in parentheses: in ("a", "b")')
        values = [self._value()]
        while self._takes(","):
            if self._next.says(")"):
                break
            values.append(self._value())
        self._expect(")", "separate values by commas, and close the parenthesis")
        return tuple(values)

    def _value(self) -> Literal:
        token = self._next
        if token.kind == "text":
            self._take()
            return re.sub(r"\\(.)", lambda each: _ESCAPES.get(each[1], each[1]), token.text[1:-1], flags=re.DOTALL)
        if token.kind == "number":
            try:
                number = float(token.text) if re.search("[.eE]", token.text) else int(token.text)
                Compare("x", "==", number)  # raises for one that is too large
            except (InputError, ValueError):
                raise self._error(f"{token.text[:40]} is too large a number", "write a smaller one") from None
            self._take()
            return number
        if token.says("true", "false"):
            return self._take().text.lower() == "true"
        cure = (
            f'put texts in quotes: "{token.text}"' if token.kind == "name" else 'write "text", a number, true or false'
        )
        if token.says("null", "none", "nan"):
            cure = "for no value write: price is missing"
        raise self._error(f"expected a value, found {self._told()}", cure)

    def _takes(self, word: str) -> bool:
        if self._next.says(word):
            self._take()
            return True
        return False

    def _expect(self, word: str, cure: str) -> None:
        if not self._takes(word):
            raise self._error(f"expected {word}, found {self._told()}", cure)

    def _take(self) -> _Token:
        token = self._next
        self._next = self._token(self._end)
        return token

    def _token(self, start: int) -> _Token:
        """Return the token from `start` on, and note where it ends."""
        found = _TOKEN.match(self._text, start)
        if found is None:
            rest = self._text[start:]
            at = start + len(rest) - len(rest.lstrip())
            self._end = len(self._text)
            if at == len(self._text):
                return _Token("end", "", at)
            sign = next((each for each in sorted(_CURES, key=len, reverse=True) if self._text.startswith(each, at)), "")
            cure = _CURES.get(sign, _EXAMPLE)
            raise self._error(f"cannot read {(sign or self._text[at])!r}", cure, at)
        self._end = found.end()
        kind = str(found.lastgroup)
        text = found[kind]
        if kind == "sign" and self._text[found.start(kind) : found.start(kind) + 2] == "<>":
            raise self._error("cannot read '<>'", _CURES["<>"], found.start(kind))
        return _Token("quoted name" if kind == "quoted" else kind, text, found.start(kind))  # type: ignore[arg-type]

    def _told(self) -> str:
        return "the end" if self._next.kind == "end" else repr(self._next.text[:40])

    def _error(self, problem: str, cure: str, at: int | None = None) -> InputError:
        place = self._next.at if at is None else at
        return InputError(f"character {place + 1}: {problem}", cure=cure, field="filters")
