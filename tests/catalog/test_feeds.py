"""Files as companies have them are read as their owners mean them, or refused with the way out."""

import re
from pathlib import Path

import pytest
from feeds_expected import EXPECTED, FEEDS, found_in, table

DOCS = Path(__file__).parents[2] / "docs" / "feeds.md"


def test_every_file_has_an_expected_outcome():
    assert sorted(EXPECTED) == sorted(path.name for path in FEEDS.iterdir())


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_is_read_as_its_owner_means_it(name):
    expected, found = EXPECTED[name], found_in(FEEDS / name)
    if expected.refused:
        assert re.search(expected.refused, found.error), found.error
        return
    assert not found.error
    wanted = {tuple(ad.split(" | ", 1)) if ad.startswith("* | ") else ad for ad in expected.ads}
    told = set(found.ads) if "*" not in {each[0] for each in wanted if isinstance(each, tuple)} else {
        ("*", " | ".join(ad.rsplit(" | ", 2)[1:])) for ad in found.ads
    }  # fmt: skip
    assert told == wanted
    assert len(found.ads) == len(expected.ads)
    assert found.layout == expected.layout
    for ad_id, fields in expected.fields.items():
        ad = found.by_id[ad_id]
        assert {name: getattr(ad, name, ad.payload.get(name)) for name in fields} == fields
    for said in expected.said:
        assert any(said in note for note in found.said), found.said


def test_the_table_in_the_docs_is_what_the_readers_do():
    text = DOCS.read_text(encoding="utf-8")
    for row in table():
        assert row in text, "python tests/catalog/feeds_expected.py prints the table"
