"""What users and ads write about countries, languages, devices, audiences and time."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from intently.catalog import Catalog, CheckedUser, checked_user, read_ads
from intently.catalog.targeting_values import DEVICES
from intently.errors import InputError
from intently.types import Ad, UserContext

COUNTRIES = {
    "DE": "DE", "de ": "DE", "UK": "GB", "gb": "GB", "USA": "US", "Germany": "DE", " germany": "DE",
    "United  Kingdom": "GB", "United States": "US", "Taiwan": "TW", "South Korea": "KR", "DEU": "DE", "XK": "XK",
    "Côte d'Ivoire": "CI", "ivory coast": "CI", "UAE": "AE", "U.K.": "GB", "香港": "HK", "美國": "US",
}  # fmt: skip
LANGUAGES = {
    "en": "en", "en-US": "en", "zh-Hans-CN": "zh", "DE ": "de", "de_DE.UTF-8": "de", "deu": "de", "pt-BR": "pt",
    "iw": "he", "nb-NO": "no", "cmn": "zh", "fil": "fil", "Simplified Chinese": "zh", "繁體中文": "zh",
    "简体中文": "zh", "Brazilian Portuguese": "pt", "Farsi": "fa",
}  # fmt: skip
DEVICE_NAMES = {
    "mobile": "mobile", "phone": "mobile", "Phones": "mobile", "Mobile devices": "mobile", "smart-phones": "mobile",
    "mobile_devices_with_full_browsers": "mobile", "computers": "desktop", "Desktop": "desktop", "PC": "desktop",
    "tablets with full browsers": "tablet", "TV screens": "tv", "Connected TV": "tv", "watches": "watch",
    "手机端": "mobile", "PC端": "desktop", "Mobilgeräte": "mobile", "Ordinateurs": "desktop", "ordenadores": "desktop",
    "スマートフォン": "mobile",
}  # fmt: skip
READ = [
    *(("country", "countries", text, code) for text, code in COUNTRIES.items()),
    *(("language", "languages", text, code) for text, code in LANGUAGES.items()),
    *(("device", "devices", text, code) for text, code in [*DEVICE_NAMES.items(), *zip(DEVICES, DEVICES, strict=True)]),
]
REFUSED = [
    ("country", "countries", "EU", "'EU' is the European Union, not a country; list the codes of its countries"),
    ("country", "countries", "XX", "'XX' is not a country; use a two-letter code of ISO 3166, such as DE"),
    ("country", "countries", "Atlantis", "'Atlantis' is not a country"),
    (
        "language",
        "languages",
        "germanic",
        "'germanic' is not a language; use a language tag of BCP 47, such as zh or en-US",
    ),
    ("language", "languages", "xx", "'xx' is not a language"),
    ("language", "languages", "mul", "'mul' is not a language"),
    ("language", "languages", "e" * 200, "is not a language"),
    ("device", "devices", "toaster", "'toaster' is not a known device; use one of mobile, desktop, tablet, tv"),
]


@pytest.mark.parametrize(("field", "column", "text", "kept"), READ)
def test_users_and_ads_are_read_alike(field, column, text, kept):
    assert getattr(checked_user(UserContext(**{field: text})), field) == kept
    catalog = Catalog.from_ads([Ad("a", "b", **{column: (text, text.upper())})])
    assert getattr(catalog.ad(0), column) == (kept, kept)


@pytest.mark.parametrize(("field", "column", "text", "problem"), REFUSED)
def test_what_is_not_understood_is_refused_for_both(tmp_path, field, column, text, problem):
    with pytest.raises(InputError, match=problem):
        checked_user(UserContext(**{field: text}))
    with pytest.raises(InputError, match=rf"ads:1 field '{column}': .*{problem}"):
        Catalog.from_ads([Ad("a", "b", **{column: (text,)})])
    path = tmp_path / "ads.tsv"
    path.write_text(f"ad_id\ttitle\t{column}\na\tb\t\nb\tc\t{text}\n")
    assert read_ads(path, skip_bad=True).catalog.strings("ad_id") == ["a"]


def test_nothing_known_filters_nothing():
    assert checked_user(None) == checked_user(UserContext()) == CheckedUser()
    assert CheckedUser().hour_of_week is None


@pytest.mark.parametrize("values", [{"vip"}, frozenset({"vip"}), ["vip", " vip "], ("vip", "")])
def test_audiences_are_a_set(values):
    assert checked_user(UserContext(audiences=values)).audiences == frozenset({"vip"})


BERLIN = timezone(timedelta(hours=2))
MONDAY = datetime(2026, 7, 6, 0, 30)


@pytest.mark.parametrize(
    ("time", "zone", "local"),
    [
        (MONDAY, None, MONDAY),  # naive: the user's own clock
        (MONDAY, "Asia/Shanghai", MONDAY),
        (datetime(2026, 7, 5, 22, 30, tzinfo=UTC), "Europe/Berlin", MONDAY),
        (datetime(2026, 7, 5, 22, 30, tzinfo=UTC), "Asia/Shanghai", datetime(2026, 7, 6, 6, 30)),
        (MONDAY.replace(tzinfo=BERLIN), "America/New_York", datetime(2026, 7, 5, 18, 30)),
        (datetime(2026, 1, 5, 22, 30, tzinfo=UTC), "Europe/Berlin", datetime(2026, 1, 5, 23, 30)),  # winter time
    ],
)
def test_time_is_the_users(time, zone, local):
    user = checked_user(UserContext(time=time, time_zone=zone))
    assert user.time == local
    assert user.hour_of_week == 24 * local.weekday() + local.hour


WRONG_USERS = [
    (UserContext(time=datetime(2026, 7, 6, tzinfo=UTC)), "field 'time': the time has a zone, .*add time_zone="),
    (UserContext(time_zone="Mars/Olympus"), "field 'time_zone': 'Mars/Olympus' is not a time zone; name a time zone"),
    (UserContext(time_zone="Europe"), "is not a time zone"),
    (UserContext(time_zone="../../etc/passwd"), "is not a time zone"),
    (UserContext(time="12:00"), "field 'time': expected a datetime, got str '12:00'"),
    (UserContext(time_zone=2), "field 'time_zone': expected a text, got int 2"),
    (UserContext(country=49), "field 'country': expected a text, got int 49"),
    (UserContext(language=("de",)), "field 'language': expected a text, got tuple"),
    (UserContext(audiences="vip"), r"field 'audiences': expected a list of texts, got str 'vip'; write \['vip'\]"),
    (UserContext(audiences=[1]), "field 'audiences': expected a text, got int 1"),
    (UserContext(audiences=3), "expected a list of texts, got int 3"),
    ({"country": "DE"}, r"field 'user': expected a UserContext, got dict .*; write UserContext\(country=\"DE\"\)"),
    ("DE", "expected a UserContext, got str 'DE'"),
    (UserContext(time=datetime.max.replace(tzinfo=UTC), time_zone="Asia/Shanghai"), "out of range"),
]


@pytest.mark.parametrize(("user", "problem"), WRONG_USERS)
def test_wrong_users_are_refused(user, problem):
    with pytest.raises(InputError, match=problem):
        checked_user(user)
