from pathlib import Path

import pytest

from intently.errors import InputError
from intently.lab.world import load_vocabulary
from intently.lab.world.vocabulary import read_vertical


def test_shipped_verticals_are_many_and_of_both_kinds():
    verticals = load_vocabulary().verticals
    kinds = [vertical.kind for vertical in verticals]
    assert len(verticals) >= 60
    assert min(kinds.count("goods"), kinds.count("services")) >= 25


def test_a_vertical_is_read_whole(tmp_path: Path, sample: str):
    (tmp_path / "kettles.toml").write_text(sample)
    vocabulary = load_vocabulary(tmp_path)
    (vertical,) = vocabulary.verticals
    assert vertical.brands == (("Boilan", "沸澜"), ("Steamo", "汽朵"))
    assert [kind.term.en for kind in vocabulary.types] == ["electric kettle", "teapot"]
    assert vocabulary.types[0].related == ("teapot",)
    assert vertical.attributes[0].values[1].zh_also == ("小号",)
    assert vocabulary.vertical_of == (0, 0)
    assert not vocabulary.ambiguous


def test_phrases_of_two_types_are_ambiguous(tmp_path: Path, sample: str):
    (tmp_path / "kettles.toml").write_text(sample.replace('"pot for tea"', '"Water boiler"'))
    assert load_vocabulary(tmp_path).ambiguous == {"water boiler"}


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('kind = "goods"', 'kind = "good"', "kind"),
        ('id = "kettles"', 'id = "kettle"', "id"),
        ('category_en = "Kitchen > Kettles"', "", "category_en"),
        ('["Steamo", "汽朵"]', '["Steamo"]', "brands"),
        ("{brand} {type} with", "{brand} {kind} with", "advert_en"),
        ("The {type} boils", "The {type boils", "page_en"),
        ('needs_zh = ["请客泡茶"]', 'need_zh = ["请客泡茶"]', "types[1].needs_zh"),
        ('pinyin = "cha hu"', 'pinyin = "cha hu"\ncolour = "red"', "types[1].colour"),
        ('related = ["teapot"]', 'related = ["tea pot"]', "types[0].related"),
        ('en = "teapot"', 'en = "electric kettle"', "types"),
        ('["烧水壶", "电水壶"]', '["烧水壶", "烧水壶"]', "types[0].zh_also"),
        ('en_also = ["pot for tea"]', "en_also = []", "types[1].en_also"),
        ('en = "2 litres"', 'en = " 2 litres"', "attributes[0].values[0].en"),
        ('en_also = ["big"]', 'en_also = "big"', "attributes[0].values[0].en_also"),
    ],
)
def test_a_broken_vertical_is_refused_by_file_and_field(tmp_path: Path, sample: str, old: str, new: str, field: str):
    path = tmp_path / "kettles.toml"
    path.write_text(sample.replace(old, new))
    with pytest.raises(InputError) as caught:
        read_vertical(path)
    assert caught.value.path == path
    assert caught.value.field == field


def test_text_that_is_not_toml_is_refused(tmp_path: Path):
    (tmp_path / "kettles.toml").write_text("id = kettles")
    with pytest.raises(InputError, match=r"kettles\.toml: is not TOML"):
        load_vocabulary(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="holds no vertical"):
        load_vocabulary(tmp_path)
