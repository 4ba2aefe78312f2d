"""Reading a batch: in groups or one by one alike, and an ad is not known by the query it carries."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from intently.encoder.backbone import CompactBackbone
from intently.encoder.features import FeatureStore, augmentation_features
from intently.encoder.model import BridgeEncoder
from intently.encoder.settings import EncoderSettings
from intently.train import reading
from intently.train.looks import Look, forgetting, measure
from intently.train.pair_reader import PairReader
from intently.train.sources import BridgeData, Item, Source

ADS = ("red robot vacuum", "扫地机器人", "blue drill bit for drill", "电热水壶", "led lamp")
GENERATED = (("robot", "red robot"), ("扫地", "机器人", "红色扫地"), ("drill",), (), ("lamp", "led"))
SHOWN = tuple(own[:2] for own in GENERATED)  # the features hold two generated queries an ad
KEYWORDS = (("vacuum",), ("扫地",), ("drill", "bit"), ("水壶", "电热"), ())


def embed(texts):
    drawn = [np.random.default_rng(list(text.encode())).normal(size=16) for text in texts]
    return np.array(drawn, dtype=np.float32)


def make_data(generated=GENERATED, keywords=KEYWORDS) -> BridgeData:
    features = FeatureStore(augmentation_features(embed, generated, 2), augmentation_features(embed, keywords, 8))
    sources = (
        Source("clicks", ("robot", "水壶"), np.array([0, 3])),
        Source.of_ads("generated", GENERATED, Item.GENERATED),
        Source.of_ads("keywords", KEYWORDS, Item.KEYWORD),
    )
    return BridgeData(ADS, sources, features)


@pytest.fixture
def encoder(make_student) -> BridgeEncoder:
    settings = EncoderSettings(num_heads=2, initial_scale=1.0)
    return BridgeEncoder(CompactBackbone(make_student(0).backbone), settings).eval()


def without(texts, ad: int, hidden: str):
    return tuple(tuple(t for t in own if t != hidden or row != ad) for row, own in enumerate(texts))


@torch.no_grad()
def test_an_ad_is_read_without_the_query_of_its_pair(encoder, make_student):
    tokenizer, data = make_student(0).tokenizer, make_data()
    reader = PairReader(encoder, tokenizer, data)
    rows = data.pairs.ad_rows
    found, alone = reader.ads(np.arange(len(rows)), rows), reader.ads(np.full(len(rows), -1), rows)
    for pair, ad in enumerate(rows.tolist()):
        source = data.sources[data.pairs.sources[pair]]
        text = source.queries[pair - int(np.flatnonzero(data.pairs.sources == data.pairs.sources[pair])[0])]
        generated = without(SHOWN, ad, text) if source.name == "generated" else SHOWN
        keywords = without(KEYWORDS, ad, text) if source.name == "keywords" else KEYWORDS
        expected = PairReader(encoder, tokenizer, make_data(generated, keywords)).ads(np.array([-1]), np.array([ad]))
        torch.testing.assert_close(found[pair], expected[0], rtol=1e-4, atol=1e-5)
        carried = source.name != "clicks" and (source.name == "keywords" or text in SHOWN[ad])
        assert bool((found[pair] - alone[pair]).abs().max() > 1e-4) == carried


@torch.no_grad()
def test_groups_change_nothing(encoder, make_student, monkeypatch):
    monkeypatch.setattr(reading, "_GROUP", 2)
    reader = PairReader(encoder, make_student(0).tokenizer, make_data())
    pairs = np.array([8, 0, 2, 11, 5])
    ad_rows = make_data().pairs.ad_rows[pairs]
    together = reader.ads(pairs, ad_rows)
    for place, (pair, ad) in enumerate(zip(pairs, ad_rows, strict=True)):
        alone = reader.ads(np.array([pair]), np.array([ad]))[0]
        torch.testing.assert_close(together[place], alone, rtol=1e-4, atol=1e-5)
    texts = ["robot", "红色扫地机器人 robot", "led lamp for red robot", "水", "drill"]
    queries = reader.queries(texts)
    for place, text in enumerate(texts):
        torch.testing.assert_close(queries[place], reader.queries([text])[0], rtol=1e-4, atol=1e-5)


def test_a_source_is_measured_by_the_ranks_of_its_pairs(encoder, make_student):
    data = make_data()
    reader = PairReader(encoder, make_student(0).tokenizer, data)
    held_out = [np.array([0, 1]), np.array([2, 3, 5, 8]), np.array([], dtype=np.int64)]
    told = []
    look = measure(encoder, reader, data, held_out, 7, lambda *args: told.append(args))
    assert [args[0] for args in told] == ["Measuring the sources"] * 3
    assert encoder.training
    assert look.step == 7
    assert len(look.head_entropies) == 2
    encoder.eval()
    for name, pairs in zip(("clicks", "generated"), held_out, strict=False):
        total = 0.0
        with torch.no_grad():
            for pair in pairs:
                query, own = int(data.pairs.query_rows[pair]), int(data.pairs.ad_rows[pair])
                embedded = reader.queries([data.queries[query]])[0]
                best = float(embedded @ reader.ads(np.array([pair]), np.array([own]))[0])
                rank = 1
                for ad in {int(data.pairs.ad_rows[other]) for other in pairs}:
                    first = next(other for other in pairs if data.pairs.ad_rows[other] == ad)
                    score = float(embedded @ reader.ads(np.array([first]), np.array([ad]))[0])
                    rank += score > best + 1e-6 and not data.is_positive(np.array(query), np.array(ad))
                total += 1 / rank
        assert look.reciprocal_ranks[name] == pytest.approx(total / len(pairs), abs=1e-6)
    assert set(look.reciprocal_ranks) == {"clicks", "generated"}


def test_forgetting_is_what_was_lost_since_the_best():
    looks = [Look(step, {"clicks": a, "意图": b}, ()) for step, a, b in [(0, 0.1, 0.2), (5, 0.9, 0.3), (9, 0.6, 0.4)]]
    assert forgetting(looks) == pytest.approx({"clicks": 0.3, "意图": 0.0})
    assert forgetting([]) == {}
    assert forgetting([replace(looks[0], step=1)]) == {"clicks": 0.0, "意图": 0.0}
