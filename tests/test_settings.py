import math
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.build.settings import BuildSettings, Preset
from intently.errors import SettingsError
from intently.intentions.decode import DecodeSettings, ScoreMode
from intently.settings import check_range, from_mapping, read_settings


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    words: int = 3


@dataclass(frozen=True)
class Outer:
    name: str = "x"
    limit: float | None = None
    fast: bool = False
    inner: Inner = field(default_factory=Inner)


def read(tmp_path, text: str | bytes, cls=Outer):
    path = tmp_path / "settings.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_settings(cls, path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Outer()),
        ('name = "灯"\nlimit = 1.5\nfast = true\n', Outer("灯", 1.5, True)),
        ("limit = 2", Outer(limit=2.0)),
        ("[inner]\nrate = 1", Outer(inner=Inner(rate=1.0))),
        ("[inner]\nwords = 7", Outer(inner=Inner(words=7))),
        ("[inner]", Outer()),
    ],
)
def test_what_differs_from_the_default(tmp_path, text, expected):
    found = read(tmp_path, text)
    assert found == expected
    assert type(found.inner.rate) is float
    assert found.limit is None or type(found.limit) is float


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nam = 1", r"unknown setting 'nam'; known are name, limit, fast, inner"),
        ("[inner]\nrat = 1", r"'inner': unknown setting 'rat'; known are rate, words"),
        ("[other]\nrate = 1", r"unknown setting 'other'"),
        ("name = 1", r"'name' is 1; it takes str"),
        ('limit = "2"', r"'limit' is '2'; it takes float or nothing"),
        ("limit = true", r"'limit' is True; it takes float or nothing"),
        ("fast = 1", r"'fast' is 1; it takes bool"),
        ("inner = 3", r"'inner' is a table of settings, not 3"),
        ("[inner]\nwords = 3.0", r"'inner': 'words' is 3\.0; it takes int"),
        ("[inner]\nwords = true", r"'inner': 'words' is True; it takes int"),
        ('[inner]\nrate = "1"', r"'inner': 'rate' is '1'; it takes float"),
        ("name = [1]", r"'name' is \[1\]; it takes str"),
        ("name = ", r"not valid TOML"),
        ("name = 'a'\nname = 'b'", r"not valid TOML"),
        (b"name = '\xff'", r"not valid TOML"),
    ],
)
def test_wrong_settings_are_named(tmp_path, text, problem):
    with pytest.raises(SettingsError, match=r"settings\.toml: " + problem):
        read(tmp_path, text)


@dataclass(frozen=True)
class Checked:
    count: int = 1
    share: float = 0.5
    heat: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "count", low=1)
        check_range(self, "share", high=1)
        check_range(self, "heat", exclusive=True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("count = 0", "'count' is 0; it takes a whole number ≥ 1"),
        ("share = -0.1", r"'share' is -0\.1; it takes a number ≥ 0 and ≤ 1"),
        ("share = 1.01", r"'share' is 1\.01; it takes a number ≥ 0 and ≤ 1"),
        ("share = nan", "'share' is nan"),
        ("heat = 0", r"'heat' is 0\.0; it takes a number > 0"),
        ("heat = inf", "'heat' is inf"),
    ],
)
def test_values_out_of_range_are_named(tmp_path, text, problem):
    with pytest.raises(SettingsError, match=r"settings\.toml: " + problem):
        read(tmp_path, text, Checked)


def test_values_at_the_edge_of_the_range(tmp_path):
    assert read(tmp_path, "count = 1\nshare = 0\nheat = 1e-300", Checked) == Checked(1, 0.0, 1e-300)
    assert read(tmp_path, "share = 1", Checked) == Checked(share=1.0)


@pytest.mark.parametrize(
    ("table", "setting"),
    [
        ("candidates", "max_words = 0"),
        ("candidates", "max_ad_share = 2"),
        ("vocabulary", "max_intentions = -1"),
        ("vocabulary", "saturation = 1.5"),
        ("training", "learning_rate = 0"),
        ("training", "seed = -1"),
        ("postings", "max_ad_tokens = 2"),
        ("lexical", "b = 1.5"),
        ("lexical", "k1 = -1"),
        ("lexical", "stemmer = 'klingon'"),
        ("retrieval", "num_candidates = 0"),
        ("retrieval", "dense_weight = -1"),
    ],
)
def test_every_stage_checks_its_settings(tmp_path, table, setting):
    with pytest.raises(SettingsError, match=rf"settings\.toml: '{table}': .*{setting.split()[0]}"):
        read(tmp_path, f"[{table}]\n{setting}", BuildSettings)


def test_missing_file(tmp_path):
    with pytest.raises(SettingsError, match=r"absent\.toml: cannot be read \(No such file"):
        read_settings(Outer, tmp_path / "absent.toml")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(Outer, tmp_path)


def test_nothing_where_it_is_allowed():
    assert from_mapping(Outer, {"limit": None}, "here") == Outer()
    with pytest.raises(SettingsError, match="here: 'name' is None; it takes str"):
        from_mapping(Outer, {"name": None}, "here")


@given(st.builds(Outer, st.text(), st.none() | st.floats(allow_nan=False), st.booleans(), st.builds(Inner)))
def test_what_is_stored_comes_back(outer):
    assert from_mapping(Outer, asdict(outer), "here") == outer


def test_settings_of_a_build(tmp_path):
    text = '[lexical]\nk1 = 1\n[retrieval.decode]\nnum_beams = 7\nmode = "full"\n[training]\nseed = 3\n'
    chosen = read(tmp_path, text, BuildSettings)
    assert (chosen.lexical.k1, chosen.training.seed) == (1.0, 3)
    assert chosen.retrieval.decode == DecodeSettings(num_beams=7, mode=ScoreMode.FULL)
    assert from_mapping(BuildSettings, asdict(chosen), "here") == chosen
    assert read(tmp_path, "", BuildSettings) == BuildSettings()
    with pytest.raises(SettingsError, match="'lexical': unknown setting 'k2'"):
        read(tmp_path, "[lexical]\nk2 = 1", BuildSettings)


def test_what_a_file_does_not_name_is_as_in_the_base(tmp_path):
    path, base = tmp_path / "settings.toml", Outer("灯", 2.0, True, Inner(0.1, 9))
    path.write_text("limit = 3\n[inner]\nwords = 4\n")
    assert read_settings(Outer, path, base) == Outer("灯", 3.0, True, Inner(0.1, 4))
    path.write_text("")
    assert read_settings(Outer, path, base) == base


def whole_numbers(settings: object) -> list[tuple[type, str]]:
    """Return every setting below `settings` that takes whole numbers: its class and name."""
    found = []
    for each, kind in get_type_hints(type(settings)).items():
        value = getattr(settings, each)
        if is_dataclass(value):
            found += whole_numbers(value)
        elif int in (get_args(kind) or (kind,)) and float not in get_args(kind):
            found.append((type(settings), each))
    return found


@pytest.mark.parametrize(("cls", "name"), sorted(set(whole_numbers(BuildSettings())), key=str))
def test_every_whole_number_is_checked(cls, name):
    for value in (10.5, 64.0, "64", True, math.nan, -1):
        with pytest.raises(SettingsError, match=f"'{name}' is .*; it takes a whole number"):
            cls(**{name: value})


def test_presets():
    assert BuildSettings.preset("default") == BuildSettings()
    instant, best = BuildSettings.preset("instant"), BuildSettings.preset(Preset.BEST)
    assert not (instant.training.max_steps or instant.fusion.held_out_share or instant.bridge.enabled)
    lexical = BuildSettings.preset("lexical")
    assert (lexical.checkpoint, lexical.fusion.held_out_share, lexical.bridge.enabled) == ("", 0, False)
    assert best == replace(BuildSettings(), bridge=replace(best.bridge, enabled=True)) and best.bridge.enabled
    with pytest.raises(SettingsError, match="the preset is 'fast'; it takes one of lexical, instant, default, best"):
        BuildSettings.preset("fast")


def test_an_encoder_needs_a_model():
    with pytest.raises(SettingsError, match=r"'bridge\.enabled' is true, but 'checkpoint' is empty"):
        replace(BuildSettings.preset("best"), checkpoint="")


def test_a_file_overrides_the_preset(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("[training]\nseed = 3\n[bridge]\nenabled = false\n")
    chosen = read_settings(BuildSettings, path, BuildSettings.preset("instant"))
    assert chosen.training == replace(BuildSettings.preset("instant").training, seed=3)
    assert not read_settings(BuildSettings, path, BuildSettings.preset("best")).bridge.enabled
