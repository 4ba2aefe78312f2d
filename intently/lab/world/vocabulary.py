"""The words of the simulated world: one TOML file per vertical, read strictly.

A vertical (vacuum cleaners, plumbing, ...) names its brands, offers and sentence templates, its types of product or
service in the advertiser's words and in the words users type, and groups of attributes an ad can have.
"""

import string
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, NoReturn

from intently.errors import InputError

KINDS = ("goods", "services")
SLOTS = frozenset({"brand", "type", "attribute", "offer"})
MAX_GROUPS = 8  # attribute groups of one vertical: the width of the ads' attribute table


@dataclass(frozen=True, slots=True)
class Term:
    """Something with a name: the advertiser's word and the users' words, in English and Chinese."""

    en: str
    zh: str
    en_also: tuple[str, ...]
    zh_also: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OfferType:
    """One type of product or service, and every way to ask for it."""

    term: Term
    pinyin: str
    mixed: tuple[str, ...]
    needs_en: tuple[str, ...]
    needs_zh: tuple[str, ...]
    related: tuple[str, ...]  # `en` names of types of the same vertical


@dataclass(frozen=True, slots=True)
class AttributeGroup:
    """Attribute values that exclude each other: an ad has at most one of them."""

    name: str
    values: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Vertical:
    """One market: its brands, offers and sentences, its types and its attributes. Pairs are (English, Chinese)."""

    id: str
    kind: str
    category_en: str
    category_zh: str
    brands: tuple[tuple[str, str], ...]
    offers: tuple[tuple[str, str], ...]
    advert_en: tuple[str, ...]
    advert_zh: tuple[str, ...]
    page_en: tuple[str, ...]
    page_zh: tuple[str, ...]
    types: tuple[OfferType, ...]
    attributes: tuple[AttributeGroup, ...]


@dataclass(frozen=True)
class Vocabulary:
    """All verticals, sorted by id. A *type number* counts through the types of all verticals in that order."""

    verticals: tuple[Vertical, ...]

    @cached_property
    def types(self) -> tuple[OfferType, ...]:
        """Return the types of all verticals, indexed by type number."""
        return tuple(kind for vertical in self.verticals for kind in vertical.types)

    @cached_property
    def vertical_of(self) -> tuple[int, ...]:
        """Return for each type number the position of its vertical."""
        return tuple(place for place, vertical in enumerate(self.verticals) for _ in vertical.types)

    @cached_property
    def ambiguous(self) -> frozenset[str]:
        """Return the phrases, in lower case, that name more than one type: nobody can judge a query made of one."""
        owners = Counter(phrase for kind in self.types for phrase in {text.lower() for text in _phrases(kind)})
        return frozenset(phrase for phrase, count in owners.items() if count > 1)


def load_vocabulary(folder: Traversable | None = None) -> Vocabulary:
    """Read all verticals of `folder`, by default the ones that ship with Intently.

    Raises `InputError`, naming the file and the field, when a file breaks the format or two verticals share an id.
    """
    folder = files("intently.lab.world") / "verticals" if folder is None else folder
    paths = sorted((path for path in folder.iterdir() if path.name.endswith(".toml")), key=lambda path: path.name)
    if not paths:
        raise InputError("holds no vertical", cure="put at least one <id>.toml there", path=folder)
    return Vocabulary(tuple(read_vertical(path) for path in paths))


def read_vertical(path: Traversable) -> Vertical:
    """Read one vertical and check it; raises `InputError` naming the file and the field."""
    try:
        table = _Table(tomllib.loads(path.read_text(encoding="utf-8")), path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"is not TOML: {error}", path=path) from error
    vertical = Vertical(
        id=table.text("id"),
        kind=table.text("kind"),
        category_en=table.text("category_en"),
        category_zh=table.text("category_zh"),
        brands=table.pairs("brands"),
        offers=table.pairs("offers"),
        advert_en=table.templates("advert_en"),
        advert_zh=table.templates("advert_zh"),
        page_en=table.templates("page_en"),
        page_zh=table.templates("page_zh"),
        types=tuple(map(_read_type, table.tables("types"))),
        attributes=tuple(map(_read_group, table.tables("attributes"))),
    )
    table.close()
    if f"{vertical.id}.toml" != path.name:
        table.fail("id", f"is {vertical.id!r}, which does not match the file name")
    if vertical.kind not in KINDS:
        table.fail("kind", f"is {vertical.kind!r}", "use 'goods' or 'services'")
    if len(vertical.attributes) > MAX_GROUPS:
        table.fail("attributes", f"has {len(vertical.attributes)} groups", f"use at most {MAX_GROUPS}")
    names = [kind.term.en for kind in vertical.types]
    if len(set(names)) < len(names):
        table.fail("types", "names a type twice", "give each type its own 'en'")
    for number, kind in enumerate(vertical.types):
        for name in kind.related:
            if name not in names or name == kind.term.en:
                table.fail(f"types[{number}].related", f"{name!r} is not another type of this vertical")
    return vertical


def _read_type(table: "_Table") -> OfferType:
    kind = OfferType(
        term=_read_term(table),
        pinyin=table.text("pinyin"),
        mixed=table.texts("mixed"),
        needs_en=table.texts("needs_en"),
        needs_zh=table.texts("needs_zh"),
        related=table.texts("related", least=0),
    )
    table.close()
    return kind


def _read_group(table: "_Table") -> AttributeGroup:
    values = []
    for row in table.tables("values", least=2):
        values.append(_read_term(row))
        row.close()
    group = AttributeGroup(table.text("name"), tuple(values))
    table.close()
    return group


def _read_term(table: "_Table") -> Term:
    return Term(table.text("en"), table.text("zh"), table.texts("en_also"), table.texts("zh_also"))


def _phrases(kind: OfferType) -> Iterator[str]:
    yield from (kind.term.en, kind.term.zh, kind.pinyin)
    for words in (kind.term.en_also, kind.term.zh_also, kind.mixed, kind.needs_en, kind.needs_zh):
        yield from words


class _Table:
    """One TOML table being read: hands out its fields checked, and remembers which ones nobody asked for."""

    def __init__(self, fields: dict[str, Any], path: Traversable, place: str = ""):
        self._unread, self._path, self._place = dict(fields), path, place

    def fail(self, field: str, problem: str, cure: str = "") -> NoReturn:
        raise InputError(problem, cure=cure, path=self._path, field=self._place + field)

    def close(self) -> None:
        for field in self._unread:
            self.fail(field, "is unknown", "remove it or correct its spelling")

    def text(self, field: str) -> str:
        value = self._take(field)
        if not _is_text(value):
            self.fail(field, "must be text without line breaks or surrounding spaces, not empty")
        return str(value)

    def texts(self, field: str, least: int = 1) -> tuple[str, ...]:
        values = self._list(field, least)
        if not all(map(_is_text, values)):
            self.fail(field, "must be a list of texts without line breaks or surrounding spaces, none empty")
        if len(set(values)) < len(values):
            self.fail(field, "says the same text twice")
        return tuple(values)

    def pairs(self, field: str) -> tuple[tuple[str, str], ...]:
        values = self._list(field, 2)
        if not all(isinstance(pair, list) and len(pair) == 2 and all(map(_is_text, pair)) for pair in values):
            self.fail(field, "must be a list of pairs [English, Chinese]")
        return tuple((pair[0], pair[1]) for pair in values)

    def templates(self, field: str) -> tuple[str, ...]:
        values = self.texts(field)
        for value in values:
            try:
                slots = {slot for _, slot, _, _ in string.Formatter().parse(value) if slot is not None}
            except ValueError as error:
                self.fail(field, f"{value!r}: {error}")
            if slots - SLOTS:
                self.fail(field, f"{value!r} has an unknown slot", "use {brand}, {type}, {attribute} or {offer}")
        return values

    def tables(self, field: str, least: int = 1) -> list["_Table"]:
        values = self._list(field, least)
        if not all(isinstance(value, dict) for value in values):
            self.fail(field, "must be a list of tables")
        return [_Table(value, self._path, f"{self._place}{field}[{n}].") for n, value in enumerate(values)]

    def _list(self, field: str, least: int) -> list[Any]:
        value = self._take(field)
        if not isinstance(value, list) or len(value) < least:
            self.fail(field, f"must be a list of at least {least}")
        return list(value)

    def _take(self, field: str) -> Any:
        if field not in self._unread:
            self.fail(field, "is missing", "add it")
        return self._unread.pop(field)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and value == value.strip() and not set(value) & set("\t\n\r")
