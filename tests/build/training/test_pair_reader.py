"""Reading a batch: in groups or one by one alike, and an ad is not known by the query it carries."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from intently.build.training import pair_reader, reading
from intently.build.training.looks import Look, forgetting, measure
from intently.build.training.pair_reader import PairReader
from intently.build.training.sources import BridgeData, Source
from intently.models.encoder.backbone import CompactBackbone
from intently.models.encoder.features import FeatureStore, augmentation_features, text_keys
from intently.models.encoder.late_interaction import max_sim
from intently.models.encoder.model import BridgeEncoder, Encoded
from intently.models.encoder.settings import EncoderSettings

ADS = ("red robot vacuum", "扫地机器人", "blue drill bit for drill", "电热水壶", "led lamp")
GENERATED = (("robot", "red robot"), ("扫地", "机器人", "红色扫地"), ("drill",), (), ("lamp", "led"))
SHOWN = tuple(own[:2] for own in GENERATED)  # the features hold two generated queries an ad
KEYWORDS = (("vacuum", "robots"), ("扫地",), ("drill", "bit"), ("水壶", "电热"), ())


def embed(texts):
    drawn = [np.random.default_rng(list(text.encode())).normal(size=16) for text in texts]
    return np.array(drawn, dtype=np.float32)


def make_data(generated=GENERATED, keywords=KEYWORDS) -> BridgeData:
    features = FeatureStore(augmentation_features(embed, generated, 2), augmentation_features(embed, keywords, 8))
    sources = (
        Source("clicks", ("robot", "水壶", "robot red", "lamp"), np.array([0, 3, 0, 3])),
        Source.of_ads("generated", GENERATED),
        Source.of_ads("keywords", KEYWORDS),
    )
    return BridgeData(ADS, sources, features)


@pytest.fixture
def encoder(make_student) -> BridgeEncoder:
    settings = EncoderSettings(num_heads=2, initial_scale=1.0, token_dimension=6).with_all_parts()
    return BridgeEncoder(CompactBackbone(make_student(0).backbone), settings).eval()


def assert_read_alike(found: Encoded, at: int, expected: Encoded, place: int) -> None:
    """Assert that one text was read the same way, but for padding."""
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(found.embeddings[at], expected.embeddings[place], **close)
    tokens, others = (one.tokens[row][one.real[row]] for one, row in ((found, at), (expected, place)))
    torch.testing.assert_close(tokens, others, **close)


def without(texts, ad: int, hidden: str):
    def says(text):
        return text_keys([text])[0] == text_keys([hidden])[0]

    return tuple(tuple(t for t in own if row != ad or not says(t)) for row, own in enumerate(texts))


@torch.no_grad()
def test_an_ad_is_read_without_what_says_the_query(encoder, make_student):
    """Whichever source the pair is of, and whichever kind the item is."""
    tokenizer, data = make_student(0).tokenizer, make_data()
    reader = PairReader(encoder, tokenizer, data)
    query_rows, ad_rows = data.pairs.query_rows, data.pairs.ad_rows
    found, alone = reader.ads(query_rows, ad_rows), reader.ads(np.full(len(ad_rows), -1), ad_rows)
    carried = []
    for pair, ad in enumerate(ad_rows.tolist()):
        text = data.queries[query_rows[pair]]
        shown = make_data(without(SHOWN, ad, text), without(KEYWORDS, ad, text))
        expected = PairReader(encoder, tokenizer, shown).ads(np.array([-1]), np.array([ad]))
        assert_read_alike(found, pair, expected, 0)
        carried.append(bool((found.embeddings[pair] - alone.embeddings[pair]).abs().max() > 1e-4))
    # Clicked "robot" is a generated query and, in the plural, a keyword of its ad; "lamp" is of another ad only.
    assert carried[:4] == [True, True, True, False]
    assert carried[4:] == [text in ("扫地",) or text in SHOWN[ad] for text, ad in pairs_of(data, "generated")] + [
        True for _ in pairs_of(data, "keywords")
    ]


def pairs_of(data: BridgeData, name: str) -> list[tuple[str, int]]:
    (source,) = (source for source in data.sources if source.name == name)
    return list(zip(source.queries, source.ad_rows.tolist(), strict=True))


@torch.no_grad()
def test_some_ads_are_read_without_augmentation(encoder, make_student):
    tokenizer, rows = make_student(0).tokenizer, np.arange(5)
    reader = PairReader(encoder, tokenizer, make_data())
    nothing = make_data(((),) * 5, ((),) * 5)
    bare, full = PairReader(encoder, tokenizer, nothing).ads(rows - 5, rows), reader.ads(rows - 5, rows)
    chosen = np.array([True, False, True, True, False])
    found = reader.ads(rows - 5, rows, chosen)
    for row, without_any in enumerate(chosen.tolist()):
        assert_read_alike(found, row, bare if without_any else full, row)
    assert bool(((bare.embeddings - full.embeddings).abs().max(dim=1).values > 1e-4).all())
    assert bool(((bare.tokens - full.tokens).abs().amax(dim=(1, 2)) > 1e-4).all())


@torch.no_grad()
def test_ads_are_taken_apart_in_blocks(encoder, make_student, monkeypatch):
    tokenizer, data, rows, told = make_student(0).tokenizer, make_data(), np.arange(5), []
    whole = PairReader(encoder, tokenizer, data).ads(rows - 5, rows)
    monkeypatch.setattr(pair_reader, "_BLOCK", 2)
    reader = PairReader(encoder, tokenizer, data, lambda *now: told.append(now))
    found = reader.ads(rows - 5, rows)
    for name in ("embeddings", "tokens", "real"):
        torch.testing.assert_close(getattr(found, name), getattr(whole, name))
    assert reader._ad_ids.dtype == np.int32
    assert [now[1:3] for now in told] == [(2, 5), (4, 5), (5, 5)]


@torch.no_grad()
def test_groups_change_nothing(encoder, make_student, monkeypatch):
    monkeypatch.setattr(reading, "_GROUP", 2)
    reader = PairReader(encoder, make_student(0).tokenizer, make_data())
    pairs = np.array([8, 0, 2, 11, 5])
    query_rows, ad_rows = make_data().pairs.query_rows[pairs], make_data().pairs.ad_rows[pairs]
    together = reader.ads(query_rows, ad_rows)
    for place, (query, ad) in enumerate(zip(query_rows, ad_rows, strict=True)):
        assert_read_alike(together, place, reader.ads(np.array([query]), np.array([ad])), 0)
    texts = ["robot", "红色扫地机器人 robot", "led lamp for red robot", "水", "drill"]
    queries = reader.queries(texts)
    for place, text in enumerate(texts):
        assert_read_alike(queries, place, reader.queries([text]), 0)


@torch.no_grad()
def test_tokens_are_padded_to_the_longest_of_all_groups(encoder, make_student, monkeypatch):
    monkeypatch.setattr(reading, "_GROUP", 1)
    tokenizer = make_student(0).tokenizer
    reader = PairReader(encoder, tokenizer, make_data())
    texts = ["led lamp for red robot", "水", "红色扫地机器人 robot", "drill bit"]
    found = reader.queries(texts)
    lengths = tokenizer.encode(texts, 64)[1].tolist()
    assert found.tokens.shape == (4, max(lengths), 6)
    assert found.real.tolist() == [[place < length for place in range(max(lengths))] for length in lengths]
    assert (found.tokens.dtype, found.embeddings.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(found.tokens[found.real].norm(dim=1), torch.ones(sum(lengths)))
    none = BridgeEncoder(encoder.backbone, replace(encoder.settings, token_dimension=0)).eval()
    assert PairReader(none, tokenizer, make_data()).queries(texts).tokens.shape == (4, max(lengths), 0)


def test_gradients_reach_the_projection_of_tokens(encoder, make_student, monkeypatch):
    monkeypatch.setattr(reading, "_GROUP", 2)
    reader = PairReader(encoder, make_student(0).tokenizer, make_data())
    rows = np.arange(5)
    queries, ads = (
        reader.queries(["robot", "红色扫地机器人 robot", "led lamp for red robot"]),
        reader.ads(rows - 5, rows),
    )
    max_sim(queries.tokens, queries.real, ads.tokens, ads.real).diagonal().sum().backward()
    assert encoder.to_tokens.weight.grad.abs().max() > 0


def test_a_source_is_measured_by_the_ranks_of_its_pairs(encoder, make_student):
    data = make_data()
    reader = PairReader(encoder, make_student(0).tokenizer, data)
    held_out = [np.array([0, 1]), np.array([4, 5, 7, 10]), np.array([], dtype=np.int64)]
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
                embedded = reader.queries([data.queries[query]]).embeddings[0]
                best = float(embedded @ reader.ads(np.array([query]), np.array([own])).embeddings[0])
                rank = 1
                for ad in {int(data.pairs.ad_rows[other]) for other in pairs}:
                    first = next(other for other in pairs if data.pairs.ad_rows[other] == ad)
                    other = data.pairs.query_rows[[first]]
                    score = float(embedded @ reader.ads(other, np.array([ad])).embeddings[0])
                    rank += score > best + 1e-6 and not data.is_positive(np.array(query), np.array(ad))
                total += 1 / rank
        assert look.reciprocal_ranks[name] == pytest.approx(total / len(pairs), abs=1e-6)
    assert set(look.reciprocal_ranks) == {"clicks", "generated"}


def test_forgetting_is_what_was_lost_since_the_best():
    looks = [Look(step, {"clicks": a, "意图": b}, ()) for step, a, b in [(0, 0.1, 0.2), (5, 0.9, 0.3), (9, 0.6, 0.4)]]
    assert forgetting(looks) == pytest.approx({"clicks": 0.3, "意图": 0.0})
    assert forgetting([]) == {}
    assert forgetting([replace(looks[0], step=1)]) == {"clicks": 0.0, "意图": 0.0}
