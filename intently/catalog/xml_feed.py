"""Records out of XML feeds: the items of RSS, the entries of Atom, the products of a shop's own feed.

defusedxml parses, so that entities and document types are refused. A child element is a column by its local name;
where the same name is there in two name spaces, that of Google's (`g:id`) wins. Elements inside a child are joined by
colons, as Google writes them in a line (`US:::5.95 USD`). Children of one name are a list. An attribute of a child is
a column `child_attribute`; but the currency of an amount is read with it, the `name` of a child that has a text names
the column (`<param name="Color">`), and the only attribute of a child without a text is what it holds.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from intently.catalog.fields import BATCH_ROWS
from intently.catalog.lines import Lines
from intently.catalog.records import Records
from intently.errors import InputError

RECORDS = (
    "item", "entry", "product", "offer", "shopitem", "ad", "listing", "row", "record", "article", "artikel", "produkt",
    "produit", "producto", "prodotto", "doc", "o",
)  # fmt: skip
_ADDRESSES = ("href", "url", "src")  # attributes that stand for what a link or a picture holds
_UNSAID = ("isPermaLink", "rel", "type", "lang", "space", "medium", "scheme")  # attributes that say nothing of an ad
_GOOGLE = "{http://base.google.com/ns/1.0}"
_MAX_DEPTH = 20
_CURE = "send a feed in RSS 2.0 or Atom, or export TSV, CSV or JSON lines"


class _Items:
    """Gather the items of a document while it is parsed, each with the line of its first tag."""

    def __init__(self) -> None:
        self.found: list[tuple[int, dict[str, str | list[str]]]] = []
        self.parser: Any = None
        self.names: list[str] = []  # of the elements seen, for a message
        self._depth = 0
        self._item: dict[str, tuple[bool, list[str]]] | None = None  # name → is Google's, values
        self._item_depth = self._line = 0
        self._child: tuple[str, bool] | None = None
        self._attributes: dict[str, str] = {}  # of the child
        self._parts: list[list[str]] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ParseError("elements nested too deeply")
        name = tag.rpartition("}")[2]
        if self._item is None:
            if len(self.names) < 5 and name not in self.names:
                self.names.append(name)
            if name.lower() in RECORDS and self._depth > 1:
                self._item, self._item_depth = {}, self._depth
                self._line = self.parser.parser.CurrentLineNumber
                for key, value in attributes.items():
                    self._add(key.rpartition("}")[2], False, value)
        elif self._depth == self._item_depth + 1:
            self._child, self._parts = (name, tag.startswith(_GOOGLE)), [[]]
            told = {key.rpartition("}")[2]: value for key, value in attributes.items()}
            self._attributes = {key: value for key, value in told.items() if key not in _UNSAID}
        elif self._child:
            self._parts.append([])

    def data(self, text: str) -> None:
        if self._child:
            self._parts[-1].append(text)

    def end(self, tag: str) -> None:
        if self._item is not None and self._depth == self._item_depth:
            item = {name: values[0] if len(values) == 1 else values for name, (_, values) in self._item.items()}
            self.found.append((self._line, item))
            self._item = None
        elif self._item is not None and self._depth == self._item_depth + 1 and self._child:
            texts = ["".join(part).strip() for part in self._parts]
            whole = texts[0] if len(texts) == 1 else ":".join(texts[1:] if not texts[0] else texts)
            self._add_child(*self._child, whole)
            self._child = None
        self._depth -= 1

    def close(self) -> None:
        pass

    def _add_child(self, name: str, is_google: bool, text: str) -> None:
        told = dict(self._attributes)
        if text and "name" in told:
            name = told.pop("name")
        address = next((told.pop(key) for key in _ADDRESSES if key in told), "") if not text else ""
        if not text and not address and len(told) == 1:
            text = told.popitem()[1]
        currency = told.pop("currency", "") if re.fullmatch(r"[\d.,\s]+", text) else ""
        self._add(name, is_google, f"{text} {currency}".strip() or address)
        for key, value in told.items():
            self._add(f"{name}_{key}", False, value)

    def _add(self, name: str, is_google: bool, value: str) -> None:
        assert self._item is not None
        known = self._item.get(name)
        if known is None or (is_google and not known[0]):
            self._item[name] = (is_google, [value])
        elif known[0] == is_google and value:
            known[1][:] = [*filter(None, known[1]), value]


def xml_records(batches: Iterable[Lines], place: object) -> Iterator[Records]:
    """Yield the records of an XML document that comes in lines.

    Raises InputError for XML that is not well-formed, that declares entities, and that has nothing like items.
    """
    items = _Items()
    parser = DefusedXMLParser(target=items, forbid_dtd=True)
    items.parser = parser
    any_found, first = False, True
    try:
        for lines in batches:
            if lines.errors:
                raise next(iter(lines.errors))
            text = "\n".join(lines.text.to_pylist()) + "\n"
            if first:  # what it says of its encoding is not so any more
                text, first = _without_declaration(text), False
            parser.feed(text.encode())
            while len(items.found) >= BATCH_ROWS:
                yield _batch(items.found[:BATCH_ROWS])
                any_found, items.found = True, items.found[BATCH_ROWS:]
        parser.close()
    except DefusedXmlException as error:
        problem = f"XML that declares a document type or entities: {error!r}"
        raise InputError(problem[:200], cure="send it without a DOCTYPE", path=place) from None
    except ParseError as error:
        line = getattr(error, "position", (1, 0))[0]
        raise InputError(f"not well-formed XML: {error}", cure=_CURE, path=place, line=line) from None
    if items.found:
        yield _batch(items.found)
    elif not any_found:
        problem = f"an XML file without items, entries or products; it has {', '.join(items.names)}"
        raise InputError(problem, cure=_CURE, path=place)


def _batch(found: list[tuple[int, dict[str, str | list[str]]]]) -> Records:
    return Records([line for line, _ in found], [item for _, item in found])


def _without_declaration(text: str) -> str:
    start = text.lstrip()
    if not start.startswith("<?xml"):
        return text
    cut = text.find("?>") + 2
    return "\n" * text[:cut].count("\n") + text[cut:]
