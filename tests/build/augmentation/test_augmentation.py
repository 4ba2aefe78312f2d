"""The augmentation's file: what is saved comes back, in the order of whatever catalog asks."""

import gzip
import json

import pytest

from intently.build.augmentation.augmentation import Augmentation
from intently.catalog import Catalog
from intently.errors import InputError
from intently.types import Ad


def catalog(*ad_ids: str) -> Catalog:
    return Catalog.from_ads([Ad(ad_id, f"title of {ad_id}") for ad_id in ad_ids])


AUGMENTATION = Augmentation((("red pan", "煎蛋锅"), (), ("a\u2028b",)), (("pan",), (), ()))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_it_comes_back(tmp_path, name):
    path = tmp_path / name
    AUGMENTATION.save(path, catalog("x", "y", "z"))
    assert Augmentation.load(path, catalog("x", "y", "z")) == AUGMENTATION
    assert [one.name for one in tmp_path.iterdir()] == [name]
    content = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    assert [json.loads(line)["ad_id"] for line in content.decode().split("\n")[:-1]] == ["x", "z"]
    assert "煎蛋锅" in content.decode()


def test_a_changed_catalogue_finds_its_own(tmp_path):
    path = tmp_path / "a.jsonl"
    AUGMENTATION.save(path, catalog("x", "y", "z"))
    found = Augmentation.load(path, catalog("new", "z", "x"))
    assert found.queries == ((), ("a\u2028b",), ("red pan", "煎蛋锅"))
    assert found.keywords == ((), (), ("pan",))
    with pytest.raises(InputError, match="no line names an ad of the catalog"):
        Augmentation.load(path, catalog("other"))


def test_an_empty_one(tmp_path):
    path = tmp_path / "a.jsonl"
    Augmentation(((),), ((),)).save(path, catalog("x"))
    assert path.read_text() == ""
    assert Augmentation.load(path, catalog("x", "y")) == Augmentation(((), ()), ((), ()))


GOOD = '{"ad_id": "x", "queries": ["a"], "keywords": []}'


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not valid JSON"),
        ("[]", "no JSON object"),
        ('{"ad_id": "y", "queries": []}', "'keywords': missing"),
        ('{"ad_id": "y", "queries": [], "keywords": [], "more": 1}', "'more': no such field"),
        ('{"ad_id": 1, "queries": [], "keywords": []}', "'ad_id': not a text"),
        ('{"ad_id": "y", "queries": "a", "keywords": []}', "'queries': no list of texts"),
        ('{"ad_id": "y", "queries": [], "keywords": [1]}', "'keywords': no list of texts"),
        (GOOD, "ad 'x' is on line 1 already"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, problem):
    path = tmp_path / "a.jsonl"
    path.write_text(f"{GOOD}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=problem) as raised:
        Augmentation.load(path, catalog("x", "y"))
    assert raised.value.line == 3


def test_rows_must_agree(tmp_path):
    with pytest.raises(InputError, match="queries of 1 ads, keywords of 2"):
        Augmentation(((),), ((), ()))
    with pytest.raises(InputError, match="the augmentation is of 3 ads, the catalog has 1"):
        AUGMENTATION.save(tmp_path / "a.jsonl", catalog("x"))
