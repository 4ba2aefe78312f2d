import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from intently.lab.world import simulate_world

SAMPLE = """
id = "kettles"
kind = "goods"
category_en = "Kitchen > Kettles"
category_zh = "厨房 > 水壶"
brands = [["Boilan", "沸澜"], ["Steamo", "汽朵"]]
offers = [["free shipping", "包邮"], ["10% off", "九折"]]
advert_en = ["{brand} {type} with {attribute}, {offer}"]
advert_zh = ["{brand}{type}，{attribute}，{offer}"]
page_en = ["The {type} boils quietly.", "Two years of guarantee."]
page_zh = ["{type}安静烧水。", "质保两年。"]

[[types]]
en = "electric kettle"
zh = "电热水壶"
en_also = ["water boiler", "ekettle"]
zh_also = ["烧水壶", "电水壶"]
pinyin = "dian re shui hu"
mixed = ["电 kettle"]
needs_en = ["hot water in a minute"]
needs_zh = ["一分钟喝上热水"]
related = ["teapot"]

[[types]]
en = "teapot"
zh = "茶壶"
en_also = ["pot for tea"]
zh_also = ["泡茶壶"]
pinyin = "cha hu"
mixed = ["tea 壶"]
needs_en = ["brew leaves for six guests"]
needs_zh = ["请客泡茶"]
related = []

[[attributes]]
name = "size"
values = [
  {en = "2 litres", zh = "两升", en_also = ["big"], zh_also = ["大号"]},
  {en = "half a litre", zh = "半升", en_also = ["small"], zh_also = ["小号"]},
]
"""


@pytest.fixture
def sample() -> str:
    return SAMPLE


def read_world(folder: Path) -> SimpleNamespace:
    """Read back everything a world's folder holds."""

    def table(name: str) -> list[list[str]]:
        data = (folder / name).read_bytes()
        text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
        return [line.split("\t") for line in text.splitlines()[1:]]  # without the header

    with gzip.open(folder / "ads.jsonl.gz", "rt", encoding="utf-8") as file:
        ads = [json.loads(line) for line in file]
    qrels = [line.split() for line in (folder / "qrels.trec").read_text().splitlines()]
    return SimpleNamespace(
        ads={ad["ad_id"]: ad for ad in ads},
        clicks=[(query, ad, int(count)) for query, ad, count in table("clicks.tsv.gz")],
        requests=[(query, int(count)) for query, count in table("requests.tsv.gz")],
        queries=[tuple(row) for row in table("queries.tsv")],
        qrels=[(query, ad, int(grade)) for query, _, ad, grade in qrels],
        manifest=json.loads((folder / "world.json").read_text()),
    )


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("world") / "out"
    simulate_world(folder, 3000, 7)
    return read_world(folder)
