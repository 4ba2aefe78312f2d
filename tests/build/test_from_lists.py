"""An engine from lists in memory equals the one that is built from files of the same."""

import gc
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from test_cli import write_checkpoint

from intently import Engine
from intently.build.pipeline import build_engine
from intently.build.settings import BuildSettings
from intently.build.training.student import TrainingSettings
from intently.errors import InputError, SettingsError
from intently.index.posting_weights import PostingSettings
from intently.types import Ad, Span

ADS = [
    Ad("drill", "Cordless Drill 18V", keywords=("drill",), bid=0.5, payload={"price": 89.0, "tags": ["red", "新"]}),
    Ad("lamp", "LED 台灯", countries=("CN", "DE"), landing_spans=(Span("保修三年", 0.5),), payload={"price": 19}),
    Ad("shoes", "Running Shoes & Socks", "for \r\n\u2028 women 🦊", status="paused"),
    Ad("kettle", "Electric kettle"),
]
CLICKS = [("drill", "drill"), ("台灯", "lamp"), ("drill", "drill"), ("red kettle", "kettle")]


@pytest.fixture(scope="module")
def settings(tmp_path_factory, tokenizer_json) -> BuildSettings:
    checkpoint = tmp_path_factory.mktemp("model") / "checkpoint"
    write_checkpoint(checkpoint, tokenizer_json)
    training = TrainingSettings(min_steps=2, max_steps=2, batch_size=4)
    return BuildSettings(checkpoint=str(checkpoint), training=training, postings=PostingSettings(num_beams=3))


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_lists_equal_files(settings, temporary):
    engine = Engine.build(ADS, CLICKS, settings=settings)
    assert [engine.ad(ad.ad_id) for ad in ADS] == ADS
    assert engine.generation == "" and len(list(temporary.glob("intently-*"))) == 1
    (folder := temporary / "files").mkdir()
    lines = ["query\tad_id\tclicks", "drill\tdrill\t2", "台灯\tlamp\t1", "red kettle\tkettle\t1"]
    (folder / "clicks.tsv").write_text("\n".join(lines), encoding="utf-8")
    ads = next(temporary.glob("intently-*")) / "ads.jsonl"
    build_engine(ads, folder / "clicks.tsv", folder / "engine", settings)
    other = Engine.load(folder / "engine")
    for query in ("drill", "台灯", "kettle red"):
        ours, theirs = engine.retrieve(query), other.retrieve(query)
        assert ours.ads == theirs.ads and len(ours) == 3
    found = engine.retrieve("drill", filters='price < 100 and not tags has "新"', payload=("price",))
    assert [(ad.ad_id, ad.payload) for ad in found] == [("lamp", {"price": 19})]
    del engine
    gc.collect()
    assert not list(temporary.glob("intently-*"))


def test_mappings_with_the_names_of_columns(settings, temporary):
    rows = [
        {
            "id": np.int64(7),
            "Product Title": "Drill",
            "price": np.float64(9.5),
            "sale_end": date(2024, 1, 2),
            "brand": "B",
        },
        {
            "id": 8,
            "Product Title": "灯",
            "price": float("nan"),
            "brand": None,
            "Bid Price": "0.5",
            "countries": "DE|AT",
        },
    ]
    engine = Engine.build(rows, [{"query": "drill", "ad_id": "7", "clicks": 3}], settings=settings)
    assert engine.ad("7") == Ad("7", "Drill", advertiser="B", payload={"price": 9.5, "sale_end": "2024-01-02"})
    assert engine.ad("8") == Ad("8", "灯", bid=0.5, countries=("DE", "AT"))
    assert Engine.build(rows, settings=settings).retrieve("drill").ads


@pytest.mark.parametrize(
    ("ads", "clicks", "told"),
    [
        ([], None, "field 'ads': the list is empty"),
        (Ad("a", "t"), None, "field 'ads': expected a list, got Ad"),
        ("ads.tsv", None, "field 'ads': expected a list, got str"),
        ([Ad("a", "t"), 5], None, "ads:2: expected an ad, got int"),
        ([{"ad_id": "a", "title": "t"}, {"ad_id": "b", "title": ""}], None, "ads:2 field 'title': empty"),
        ([{"ad_id": "a", "title": "t", "bid": -1}], None, "ads:1 field 'bid': -1.0 is not finite and at least 0"),
        ([{"ad_id": "a", "title": "t", "x": object()}], None, "ads:1: a value that JSON does not have"),
        ([Ad("a", "t"), Ad("a", "u")], None, "ads:2 field 'ad_id': ad 'a' is on line 1 already"),
        ([Ad("a", "t")], ["drill"], "clicks:1: expected a query and an ad_id, got 'drill'"),
        ([Ad("a", "t")], [("q", "a"), {"query": "q", "ad_id": "a"}], "clicks are pairs and mappings"),
        ([Ad("a", "t")], [("q", "nobody")], "no click names an ad"),
    ],
)
def test_what_is_wrong_is_told_by_its_position(ads, clicks, told, settings, temporary):
    with pytest.raises(InputError) as caught:
        Engine.build(ads, clicks, settings=settings)
    assert told in str(caught.value) and str(temporary) not in str(caught.value)
    assert not list(temporary.glob("intently-*"))


def test_an_unknown_preset():
    with pytest.raises(SettingsError, match="the preset is 'fast'"):
        Engine.build(ADS, preset="fast")
