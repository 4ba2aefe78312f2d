"""What the columns of a file of judgements or clicks are: by their names, or as the user says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from intently.catalog.columns import AD_FIELDS
from intently.catalog.fields import Field, fold_name
from intently.catalog.header_words import english_names
from intently.catalog.logs.columns import BOT, CONVERSIONS, COUNT, EVENT, IMPRESSIONS, POSITION, SESSION, TIMES
from intently.catalog.queries import QUERY, QUERY_ID
from intently.errors import InputError

AD_ID = Field(
    "ad_id",
    aliases=(
        "corpus_id", *AD_FIELDS[0].aliases[:3], "adid", "docid", "document_id", "objectid", "object_id",
        "merchantproductid", "merchant_product_id", "advertised_asin", "advertised_sku", "asin", "sku", "product_sku",
        "item_sku", "event_attributes_object_object_id", "创意id", "广告id",
    ),
    required=True,
)  # fmt: skip
_RATING = "rating"  # of products by their buyers, where there are clicks too
RELEVANCE = Field(
    "relevance",
    kind="number",
    aliases=("grade", "score", "esci_label", "label", "judgment", "judgement", "gain", "rel", _RATING),
)
CLICKS = Field(
    "clicks",
    kind="number",
    aliases=("num_clicks", "clicked", "click", "is_click", "is_clicked", "点击", "点击量", "点击次数"),
)
_VALUES = (RELEVANCE, CLICKS, EVENT)  # which say in three ways how good a pair is: a file has one of them
_FIELDS = {
    field.name: field
    for field in (QUERY, QUERY_ID, AD_ID, *_VALUES, SESSION, POSITION, IMPRESSIONS, CONVERSIONS, BOT, COUNT)
}


@dataclass(frozen=True)
class Names:
    """The column names of a file, and what the user says of some: `chosen` leads from folded names to fields."""

    header: tuple[str, ...]
    chosen: Mapping[str, str]
    place: object
    english: Mapping[str, str]  # folded names in other languages → those that stand for them

    @classmethod
    def of(cls, header: Sequence[str], columns: Mapping[str, str] | None, place: object) -> "Names":
        """Raise InputError for a column that the file does not have, and for a field that there is not."""
        names = tuple(name for name in header if name.strip())
        there = {fold_name(name) for name in names}
        chosen: dict[str, str] = {}
        for column, target in (columns or {}).items():
            if fold_name(column) not in there:
                cure = f"name one of {', '.join(names[:20])}"
                raise InputError(f"there is no column '{column}'", cure=cure, path=place, field="columns")
            if fold_name(target) not in _FIELDS:
                cure = f"use one of {', '.join(_FIELDS)}"
                raise InputError(f"{target!r} is nothing that clicks have", cure=cure, path=place, field="columns")
            if fold_name(target) in chosen.values():
                raise InputError(f"two columns are to be the {target}", cure="name one", path=place, field="columns")
            chosen[fold_name(column)] = fold_name(target)
        english = english_names((name for name in names if fold_name(name) not in chosen), _FIELDS.values())
        return cls(names, chosen, place, english)

    @property
    def seen(self) -> list[str]:
        """The folded names by which the file is understood: fields for columns that the user named as such."""
        given = set(self.chosen.values())
        overruled: set[str] = set()
        if given & {value.name for value in _VALUES}:
            overruled = {name for value in _VALUES if value.name not in given for name in value.columns}
        found = [(self._folded(name), self.chosen.get(fold_name(name))) for name in self.header]
        taken = {name for target in given for name in _FIELDS[target].columns}
        return [target or name for name, target in found if target or name not in overruled | taken]

    def field(self, field: Field) -> Field:
        """Return a field with the names of the columns that it may be in."""
        column = next((column for column, target in self.chosen.items() if target == field.name), None)
        if column:
            return replace(field, names=(column,))
        others = [name for name, english in self.english.items() if english in field.columns]
        return replace(field, names=(*(name for name in field.columns if name not in self.chosen), *others))

    def unread(self) -> list[str]:
        """Return the columns that no field of logs is called."""
        known = {name for field in _FIELDS.values() for name in self.field(field).columns} | TIMES
        return [name for name in self.header if fold_name(name) not in known and self._folded(name) not in known]

    def value(self) -> Field | None:
        """Return how the file says how good a pair is, None if it does not.

        Raises InputError where columns contradict each other, with the choices.
        """
        seen = set(self.seen)
        there = {value.name: [name for name in self.header if self._is(name, value, seen)] for value in _VALUES}
        if there["clicks"] or there["event"]:
            there["relevance"] = [name for name in there["relevance"] if self._folded(name) != _RATING]
        kinds = [(value, there[value.name]) for value in _VALUES if there[value.name]]
        if not kinds:
            return None
        choices = [f'"{names[0]}={value.name}"' for value, names in kinds]
        if len(kinds) > 1:
            told = " and ".join(value.name for value, _ in kinds)
            columns = " and ".join(f"'{names[0]}'" for _, names in kinds)
            problem, cure = f"the header has both {told}: {columns}", _choice(choices)
            raise InputError(problem, cure=cure, path=self.place, line=1)
        value, names = kinds[0]
        if len(names) > 1 and value.name not in map(self._folded, names):
            problem = f"'{names[0]}' and '{names[1]}' may both be the {value.name}"
            cure = _choice([f'"{name}={value.name}"' for name in names[:2]])
            raise InputError(problem, cure=cure, path=self.place, line=1)
        return value

    def _is(self, name: str, value: Field, seen: set[str]) -> bool:
        folded = self._folded(name)
        return self.chosen.get(fold_name(name), folded if folded in seen else "") in value.columns

    def _folded(self, name: str) -> str:
        folded = fold_name(name)
        return self.english.get(folded, folded)


def _choice(choices: Sequence[str]) -> str:
    return f"say which to learn from: --map-clicks {' or '.join(choices)} (in Python columns={{...}})"
