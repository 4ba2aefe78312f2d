"""Settings files: TOML tables onto the frozen dataclasses that stand next to each stage.

A settings file has one table a stage and names only what differs from the default; unknown tables and keys, and values
of a wrong type or out of range, are errors. The resolved settings are stored in the artifact.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from intently.errors import SettingsError

T = TypeVar("T")


def read_settings(cls: type[T], path: Path, base: T | None = None) -> T:
    """Read a TOML file into the settings dataclass `cls`; raise `SettingsError` naming file and key.

    What the file does not name is as in `base`, or as `cls` has it.
    """
    return from_mapping(cls, read_toml(path), str(path), base)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; raise `SettingsError` if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML ({error})") from error


def from_mapping(cls: type[T], content: Mapping[str, Any], place: str, base: T | None = None) -> T:
    """Return the dataclass `cls` (or `base`, changed) with the values of `content`; `place` is what errors name."""
    hints = get_type_hints(cls)
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key not in known:
            raise SettingsError(f"{place}: unknown setting '{key}'; known are {', '.join(known)}")
        values[key] = _converted(hints[key], value, f"{place}: '{key}'", getattr(base, key, None))
    try:
        return cls(**values) if base is None else replace(base, **values)  # type: ignore[type-var]
    except SettingsError as error:
        raise SettingsError(f"{place}: {error}") from error


def check_range(settings: object, *names: str, low: float = 0, high: float = math.inf, exclusive: bool = False) -> None:
    """Raise `SettingsError` unless each named setting is finite, at least `low` (above it if `exclusive`), ≤ `high`.

    A setting declared as `int` takes whole numbers only.
    """
    kinds = get_type_hints(type(settings))
    for name in names:
        value, whole = getattr(settings, name), float not in (get_args(kinds[name]) or (kinds[name],))
        wanted = f"a{' whole' * whole} number {'>' if exclusive else '≥'} {low}"
        wanted += f" and ≤ {high}" if high < math.inf else ""
        number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not low <= value <= high or (exclusive and value == low):
            raise SettingsError(f"'{name}' is {value!r}; it takes {wanted}")


def check_choice(settings: object, name: str, kind: type[StrEnum]) -> None:
    """Make the named setting of a frozen dataclass, given as member or text, a member of `kind`, or raise."""
    value = getattr(settings, name)
    if value not in tuple(kind):
        raise SettingsError(f"'{name}' is {value!r}; it takes one of {', '.join(kind)}")
    object.__setattr__(settings, name, kind(value))


def _converted(kind: Any, value: Any, place: str, base: Any = None) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise SettingsError(f"{place} is a table of settings, not {value!r}")
        return from_mapping(kind, value, place, base)
    if get_origin(kind) is dict:
        if not isinstance(value, Mapping) or not all(type(each) is str for each in value.values()):
            raise SettingsError(f"{place} is a table of texts, not {value!r}")
        return dict(value)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        kind, value = str, str(value) if isinstance(value, kind) else value  # what it names, the dataclass checks
    accepted = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if float in accepted and type(value) is int:
        return float(value)
    if type(value) not in accepted:
        wanted = " or ".join("nothing" if one is type(None) else one.__name__ for one in accepted)
        raise SettingsError(f"{place} is {value!r}; it takes {wanted}")
    return value
