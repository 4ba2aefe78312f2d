"""How a file is to be read where its content does not say it, or says it wrongly."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from intently.catalog.encoding import check_encoding
from intently.catalog.fields import fold_name
from intently.errors import InputError

IGNORED = "ignore"  # what a column is mapped to that says nothing


@dataclass(frozen=True)
class Reading:
    """What a user says about files. Raises `InputError` for a value that means nothing."""

    format: str = ""  # of `formats.FORMATS` or `layouts.LAYOUTS`; empty: as the content says
    columns: Mapping[str, str] = field(default_factory=dict)  # column → field, name in the payload, or ignore
    decimal: Literal["", "point", "comma"] = ""  # of numbers written as text; empty: as the numbers say
    encoding: str = ""  # empty: as the bytes say
    usual: Mapping[str, str] = field(default_factory=dict)  # as `columns`, for files that have them, as of a build
    today: date | None = None  # that start and end dates are compared with; None: the day of reading

    def __post_init__(self) -> None:
        if self.decimal not in ("", "point", "comma"):
            raise InputError(f"{self.decimal!r} is no decimal mark", cure="use point or comma", field="decimal")
        if self.encoding:
            check_encoding(self.encoding)
        folded = {fold_name(column): target for column, target in self.columns.items()}
        for column, target in folded.items():
            if not isinstance(target, str) or not target.strip() or not column:
                cure = 'write "Max CPC=bid"'
                raise InputError(f"{column!r} is mapped to {target!r}", cure=cure, field="columns")
        said = {column: fold_name(target) for column, target in folded.items()}
        others = {fold_name(column): fold_name(target) for column, target in self.usual.items()}
        taken = set(said.values()) - {IGNORED}
        others = {column: target for column, target in others.items() if column not in said and target not in taken}
        object.__setattr__(self, "usual", others)
        object.__setattr__(self, "columns", others | said)


@dataclass(frozen=True)
class FeedSettings:
    """The table `[feed]` of a settings file: how files of ads are read, where they do not say it themselves."""

    format: str = ""  # of the files of ads, or what they are exported from (`shopify`); empty: as they look
    decimal: str = ""  # `point` or `comma`: what separates decimals; empty: as the numbers show
    encoding: str = ""  # of the files, such as cp1252; empty: as the bytes show

    def reading(self, columns: Mapping[str, str]) -> Reading:
        """Return the settings with the columns that are mapped."""
        return Reading(self.format, columns, self.decimal, self.encoding)  # type: ignore[arg-type]
