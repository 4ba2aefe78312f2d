"""No setting is undocumented: docs/settings.md has them all, and the data model explains the dozen for everybody."""

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from settings_page import all_settings, page

from intently.build.settings import EVERYDAY, BuildSettings

DOCS = Path(__file__).parents[1] / "docs"


def test_every_setting_has_a_meaning():
    assert [setting.name for setting in all_settings(BuildSettings()) if not setting.meaning] == []


def test_the_page_is_what_the_code_says():
    told = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert told == page(), "write it again: python tests/settings_page.py > docs/settings.md"


def test_the_data_model_explains_the_dozen_with_their_defaults():
    text = (DOCS / "data-model.md").read_text(encoding="utf-8")
    section = text[text.index("\n## Settings\n") : text.index("\n## Wrong rows\n")]
    rows = re.findall(r"^\| `([\w.]+)` \| `(.*?)` \| .+ \| .+ \|$", section, re.MULTILINE)
    defaults = {setting.name: setting.shown for setting in all_settings(BuildSettings())}
    assert rows == [(name, defaults[name]) for name in EVERYDAY]
    assert len(EVERYDAY) == 12
