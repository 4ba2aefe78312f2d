"""One vocabulary for targeting: the same functions read the wishes of ads and the values of users.

| value | understood | kept as |
|---|---|---|
| country | ISO 3166-1 codes of two or three letters, `UK`, names (`Deutschland`, `德国`) | upper-case alpha-2: `DE` |
| language | BCP 47 tags such as `en-US`, `zh-Hans-CN`; names (`English`, `德语`) | the base language: `en`, `zh` |
| device | the trade's names in singular and plural: `phone`, `Mobile devices`, `computers` | one of `DEVICES` |
| audience | any text, compared exactly | the text without blanks around it |

Case and blanks around a value do not matter. A value that is not understood raises InputError; it is never dropped.
"""

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo

import iso3166
import langcodes
from langcodes.tag_parser import LanguageTagError

from intently.catalog.day_parts import DAYS, hour_in
from intently.errors import InputError
from intently.frozen import EMPTY
from intently.types import UserContext

MAX_ATTRIBUTES = 1_000  # of a user beyond the fields of `UserContext`
_OWN = frozenset(("country", "language", "device", "audiences", "hour", "weekday"))
DEVICES = ("mobile", "desktop", "tablet", "tv", "console", "watch", "car", "speaker")

_COUNTRY_CURE = "use a two-letter code of ISO 3166, such as DE"
_LANGUAGE_CURE = "use a language tag of BCP 47, such as zh or en-US"
_DEVICE_CURE = f"use one of {', '.join(DEVICES)}"
_ZONE_CURE = "name a time zone of the IANA database, such as Europe/Berlin"

# Names in use that ISO 3166 writes otherwise. XK is not assigned, but every ad platform uses it for Kosovo.
_COUNTRY_NAMES = {
    "uk": "GB", "united kingdom": "GB", "great britain": "GB", "united states": "US", "u.s.a.": "US", "u.s.": "US",
    "south korea": "KR", "korea": "KR", "north korea": "KP", "russia": "RU", "vietnam": "VN", "turkey": "TR",
    "czech republic": "CZ", "iran": "IR", "syria": "SY", "laos": "LA", "bolivia": "BO", "venezuela": "VE",
    "tanzania": "TZ", "moldova": "MD", "macedonia": "MK", "netherlands": "NL", "the netherlands": "NL",
    "holland": "NL", "ivory coast": "CI", "cape verde": "CV", "swaziland": "SZ", "burma": "MM", "macau": "MO",
    "east timor": "TL", "brunei": "BN", "micronesia": "FM", "falkland islands": "FK", "vatican city": "VA",
    "democratic republic of the congo": "CD", "republic of the congo": "CG", "kosovo": "XK",
    "british virgin islands": "VG", "u.s. virgin islands": "VI", "reunion": "RE", "curacao": "CW",
    "u.k.": "GB", "uae": "AE", "ksa": "SA", "hong kong sar": "HK", "macau sar": "MO", "cote d'ivoire": "CI",
    "bosnia": "BA", "the bahamas": "BS", "republic of ireland": "IE", "香港": "HK", "澳门": "MO", "澳門": "MO",
}  # fmt: skip
# Codes that cover several countries, with the cure for each.
# What stands for no restriction.
EVERYTHING = frozenset(
    ("all", "any", "*", "worldwide", "world", "global", "everywhere", "all countries", "all countries and territories",
     "all locations", "all languages", "all devices", "any device", "alle", "tous", "toutes", "todos", "todas", "tutti",
     "全部", "所有", "不限", "全球", "すべて")
)  # fmt: skip
_REGIONS = {"EU": "the European Union", "EMEA": "a sales region", "APAC": "a sales region", "LATAM": "a sales region"}

_DEVICE_NAMES = {
    "mobile": "mobile", "phone": "mobile", "smartphone": "mobile", "smart phone": "mobile", "mobile phone": "mobile",
    "mobile device": "mobile", "mobile devices with full browsers": "mobile", "cell phone": "mobile",
    "cellphone": "mobile", "handset": "mobile", "feature phone": "mobile", "high end mobile": "mobile",
    "desktop": "desktop", "computer": "desktop", "desktop computer": "desktop", "desktop and laptop": "desktop",
    "pc": "desktop", "personal computer": "desktop", "laptop": "desktop", "notebook": "desktop",
    "tablet": "tablet", "tablets with full browsers": "tablet", "tablet computer": "tablet",
    "tv": "tv", "television": "tv", "tv screen": "tv", "connected tv": "tv", "ctv": "tv", "smart tv": "tv", "ott": "tv",
    "console": "console", "game console": "console", "games console": "console", "gaming console": "console",
    "watch": "watch", "smartwatch": "watch", "smart watch": "watch", "wearable": "watch",
    "手机": "mobile", "移动设备": "mobile", "移动端": "mobile", "电脑": "desktop", "计算机": "desktop",
    "平板": "tablet", "平板电脑": "tablet", "电视": "tv",
    "移动": "mobile", "手机端": "mobile", "无线端": "mobile", "pc端": "desktop",
    "电脑端": "desktop", "電腦": "desktop", "桌面": "desktop", "桌面端": "desktop", "平板端": "tablet",
    "mobile web": "mobile", "mobilgerät": "mobile", "mobilgeräte": "mobile", "handy": "mobile", "rechner": "desktop",
    "fernseher": "tv", "ordinateur": "desktop", "téléphone": "mobile", "tablette": "tablet", "ordenador": "desktop",
    "móvil": "mobile", "teléfono": "mobile", "tableta": "tablet", "スマートフォン": "mobile", "スマホ": "mobile",
    "パソコン": "desktop",
    "タブレット": "tablet",
    "car": "car", "automotive": "car", "speaker": "speaker", "smart speaker": "speaker",
}  # fmt: skip
# Words by which a base language is written in two ways that meet nowhere else: browsers say nb, catalogs say no.
_SAME_LANGUAGE = {"nb": "no"}
# Names in use that name a language with its script or country, or that CLDR does not have.
_LANGUAGE_NAMES = {
    "simplified chinese": "zh", "traditional chinese": "zh", "mandarin": "zh", "简体中文": "zh", "繁体中文": "zh",
    "繁體中文": "zh", "汉语": "zh", "漢語": "zh", "brazilian portuguese": "pt", "castilian": "es", "farsi": "fa",
}  # fmt: skip
_NO_LANGUAGE = frozenset(("und", "mul", "mis", "zxx", "art"))


@dataclass(frozen=True, slots=True)
class CheckedUser:
    """A `UserContext` whose values are all understood, in the words of the catalog. `None` filters nothing."""

    country: str | None = None
    language: str | None = None
    device: str | None = None
    time: datetime | None = None  # naive: the user's local time
    audiences: frozenset[str] | None = None
    attributes: Mapping[str, Any] = EMPTY  # texts, numbers, booleans and frozen sets by name
    instant: float | None = None  # seconds since 1970, if the time had a zone; otherwise the present counts

    @property
    def hour_of_week(self) -> int | None:
        """The hour of the user's week, from Monday 0:00 = 0 to Sunday 23:00 = 167."""
        return None if self.time is None else hour_in(self.time)

    @property
    def stated(self) -> dict[str, Any]:
        """What the user stated, by the names that targeting has for it."""
        found: dict[str, Any] = dict(self.attributes)
        found |= {"country": self.country, "language": self.language, "device": self.device}
        found["audiences"] = self.audiences
        if self.time is not None:
            found |= {"hour": self.time.hour, "weekday": DAYS[self.time.weekday()]}
        return {name: value for name, value in found.items() if value is not None}


_ANYBODY = CheckedUser()


def checked_user(user: UserContext | None) -> CheckedUser:
    """Return the user in the words of the catalog; of None nothing is known.

    Raises InputError naming the field for a value that is not understood. Cost: a few microseconds.
    """
    if user is None:
        return _ANYBODY
    if not isinstance(user, UserContext):
        raise InputError(
            f"expected a UserContext, got {_kind(user)}", cure='write UserContext(country="DE")', field="user"
        )
    return CheckedUser(
        None if user.country is None else country(_text(user.country, "country")),
        None if user.language is None else language(_text(user.language, "language")),
        None if user.device is None else device(_text(user.device, "device")),
        _local_time(user.time, user.time_zone),
        None if user.audiences is None else audiences(user.audiences),
        _attributes(user.attributes),
        _instant(user.time, user.time_zone),
    )


def _attributes(values: object) -> Mapping[str, Any]:
    """Return the further attributes of a user, lists as frozen sets; None states nothing."""
    if not values:
        return EMPTY
    if not isinstance(values, Mapping) or len(values) > MAX_ATTRIBUTES:
        cure = f"write a mapping of at most {MAX_ATTRIBUTES} attributes"
        raise InputError(f"expected attributes, got {_kind(values)}", cure=cure, field="attributes")
    found: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(name, str) or not name or name in _OWN:
            cure = "give it as a field of UserContext" if name in _OWN else "write a text"
            raise InputError(f"{name!r} is not the name of an attribute", cure=cure, field="attributes")
        if isinstance(value, Set | list | tuple):
            if not all(isinstance(item, str | bool | int | float) for item in value):
                cure = "list texts and numbers"
                raise InputError(f"{name}: a list of other values", cure=cure, field="attributes")
            found[name] = frozenset(value)
        elif value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and isfinite(value)):
            found[name] = value
        else:
            cure = "give a text, a finite number, True, False or a list"
            raise InputError(f"{name} is {value!r}"[:200], cure=cure, field="attributes")
    return found


def _instant(time: datetime | None, time_zone: str | None) -> float | None:
    """Return the instant of a time that has a zone, or whose user's zone is known."""
    if time is None:
        return None
    if time.utcoffset() is None:
        return None if time_zone is None else time.replace(tzinfo=_zone(time_zone)).timestamp()
    return time.timestamp()


@lru_cache(maxsize=4096)
def country(text: str) -> str:
    """Return the ISO 3166-1 alpha-2 code of a country. Raises InputError for any other text."""
    folded = " ".join(text.split())
    upper = folded.upper()
    if found := _COUNTRY_NAMES.get(folded.lower()):
        return found
    if len(upper) == 2 and upper.isascii() and upper in iso3166.countries_by_alpha2:
        return upper
    if upper in iso3166.countries_by_alpha3:
        return str(iso3166.countries_by_alpha3[upper].alpha2)
    by_name = iso3166.countries_by_name.get(upper) or iso3166.countries_by_apolitical_name.get(upper)
    if by_name:
        return str(by_name.alpha2)
    if named := _country_names().get(folded.casefold()):
        return named
    if upper in _REGIONS:
        problem = f"{_quoted(text)} is {_REGIONS[upper]}, not a country"
        raise InputError(problem, cure="list the codes of its countries, such as DE and FR", field="country")
    raise InputError(f"{_quoted(text)} is not a country", cure=_COUNTRY_CURE, field="country")


@lru_cache(maxsize=4096)
def language(text: str) -> str:
    """Return the base language of a BCP 47 tag, as ISO 639 writes it. Raises InputError for an unknown tag."""
    tag = text.strip().partition(".")[0].partition("@")[0]  # a POSIX locale such as de_DE.UTF-8@euro is one, too
    problem = f"{_quoted(text)} is not a language"
    if len(tag) > 100:
        raise InputError(problem, cure=_LANGUAGE_CURE, field="language")
    if named := _LANGUAGE_NAMES.get(" ".join(text.split()).casefold()):
        return named
    try:
        base = langcodes.Language.get(langcodes.standardize_tag(tag, macro=True)).language
    except LanguageTagError:
        base = None
    if base is None or not langcodes.Language.make(language=base).is_valid():
        base = _language_names().get(" ".join(text.split()).casefold(), base)
    if base is None and (match := re.fullmatch(r"\s*([^()（）]+?)\s*[(（][^()（）]*[)）]\s*", text)):
        return language(match[1])  # English (US)
    if base is None or base in _NO_LANGUAGE or not langcodes.Language.make(language=base).is_valid():
        raise InputError(problem, cure=_LANGUAGE_CURE, field="language")
    return _SAME_LANGUAGE.get(base, base)


@lru_cache(maxsize=4096)
def device(text: str) -> str:
    """Return the kind of device, one of `DEVICES`. Raises InputError for a name that is not known."""
    name = " ".join(text.lower().replace("_", " ").replace("-", " ").split())
    found = (
        _DEVICE_NAMES.get(name)
        or _DEVICE_NAMES.get(name.removesuffix("s"))
        or _DEVICE_NAMES.get(name.removesuffix("es"))
    )
    if found is None:
        raise InputError(f"{_quoted(text)} is not a known device", cure=_DEVICE_CURE, field="device")
    return found


# Whose names of countries and languages are understood.
_LOCALES = (
    "en", "zh", "zh_Hant", "de", "fr", "es", "it", "pt", "nl", "pl", "sv", "da", "nb", "fi", "cs", "tr", "ru", "uk",
    "ja", "ko", "ar", "el", "hu", "ro",
)  # fmt: skip


@cache
def _country_names() -> dict[str, str]:
    """Return country by name, in the languages of `_LOCALES`. Made once, in half a second, when a name needs it."""
    codes = frozenset(iso3166.countries_by_alpha2)
    return _names(lambda locale: {code: name for code, name in locale.territories.items() if code in codes})


@cache
def _language_names() -> dict[str, str]:
    return _names(lambda locale: {code: name for code, name in locale.languages.items() if len(code) <= 3})


def _names(names_in: Callable[[Any], dict[str, str]]) -> dict[str, str]:
    """Return code by name; a name that means different things in different languages is that of the first."""
    from babel import Locale  # here, because most catalogs hold codes

    found: dict[str, str] = {}
    for locale in _LOCALES:
        for code, name in names_in(Locale.parse(locale)).items():
            found.setdefault(" ".join(name.split()).casefold(), code)
    return found


def audiences(values: object) -> frozenset[str]:
    """Return audience tags as a set. Raises InputError for one text, which is not a list of texts."""
    if not isinstance(values, Set | list | tuple):
        cure = f"write [{values!r}]" if isinstance(values, str) else 'write a list of tags, such as ["new customers"]'
        raise InputError(f"expected a list of texts, got {_kind(values)}", cure=cure, field="audiences")
    for value in values:
        _text(value, "audiences")
    return frozenset(folded for value in values if (folded := value.strip()))


def _local_time(time: object, time_zone: object) -> datetime | None:
    """Return the user's local time: a naive datetime is that already, an aware one is converted to the user's zone."""
    zone = None if time_zone is None else _zone(_text(time_zone, "time_zone"))
    if time is None:
        return None
    if not isinstance(time, datetime):
        raise InputError(f"expected a datetime, got {_kind(time)}", cure="give the user's local time", field="time")
    if time.utcoffset() is None:
        return time.replace(tzinfo=None)
    if zone is None:
        cure = 'add time_zone="Europe/Berlin", or give the user\'s local time without a zone'
        raise InputError("the time has a zone, but the user's zone is not known", cure=cure, field="time")
    try:
        return time.astimezone(zone).replace(tzinfo=None)
    except OverflowError:
        raise InputError("the time is out of range", cure="give the current time", field="time") from None


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name.strip())
    except (
        KeyError,
        OSError,
        ValueError,
    ):  # an unknown name, one that is a folder of the database, one with NUL characters
        raise InputError(f"{_quoted(name)} is not a time zone", cure=_ZONE_CURE, field="time_zone") from None


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"expected a text, got {_kind(value)}", cure="give a str", field=field)
    return value


def _kind(value: object) -> str:
    return f"{type(value).__name__} {_quoted(value) if isinstance(value, str) else repr(value)[:60]}"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")
