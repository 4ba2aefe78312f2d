"""The whole encoder: what its parts do together, and that it is the plain backbone without them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from intently.errors import ArtifactError, SettingsError
from intently.models.encoder.backbone import CompactBackbone
from intently.models.encoder.features import AdFeatures
from intently.models.encoder.late_interaction import max_sim
from intently.models.encoder.model import BridgeEncoder, masked_mean
from intently.models.encoder.settings import EncoderSettings
from tests.models.encoder.conftest import TEXTS

OFF = {"layer_fusion": False, "gate": "none", "cross_attention": False, "token_dimension": 0}
ALONE = [
    {"layer_fusion": True},
    {"gate": "gate"},
    {"gate": "concat"},
    {"cross_attention": True},
    {"token_dimension": 6},
]
EVERY = [OFF, *(OFF | one for one in ALONE), {"gate": "gate"}, {"gate": "concat"}, {"gate": "none"}]
WITHOUT_ITEMS = 3  # the ad that has none


def tokens(embedder, texts=TEXTS):
    return tuple(torch.from_numpy(array) for array in embedder.tokenizer.encode(texts, 32))


@pytest.fixture
def features(store):
    return store.batch(np.arange(len(TEXTS)))


@torch.no_grad()
def test_without_parts_it_is_the_plain_backbone(make_embedder, features):
    embedder = make_embedder(**OFF)
    ids, lengths = tokens(embedder)
    network = embedder.encoder.backbone.network
    states, _ = network.encode(ids, lengths)
    expected = network.pool(states, lengths)
    torch.testing.assert_close(network.layer_states(ids, lengths)[-1], states, atol=1e-6, rtol=0)
    for found in (
        embedder.encoder.encode_queries(ids, lengths).embeddings,
        embedder.encoder.encode_ads(ids, lengths, features).embeddings,
    ):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert embedder.encoder.parts_state() == {}
    assert embedder.encoder.regularisation() == 0
    assert embedder.encoder.head_entropy().shape == (0,)
    assert embedder.encoder.layer_weights().shape == (0, 0)


@torch.no_grad()
def test_layers_are_counted_after_each(make_embedder):
    network = make_embedder(**OFF).encoder.backbone.network
    ids, lengths = tokens(make_embedder(**OFF))
    hidden = network.embed(ids, torch.arange(ids.shape[1]), segment=0)
    visible = (torch.arange(ids.shape[1]) < lengths[:, None])[:, None, None, :]
    states = network.layer_states(ids, lengths)
    assert len(states) == 3
    for depth in (1, 2, 3):
        shallow = type(network)(replace(network.config, num_hidden_layers=depth))
        shallow.load_state_dict({k: v for k, v in network.state_dict().items() if k in shallow.state_dict()})
        expected, _ = shallow.run(hidden, [], visible.expand(-1, 1, ids.shape[1], -1))
        torch.testing.assert_close(states[depth - 1], expected)


@torch.no_grad()
def test_training_begins_near_the_plain_encoder(make_embedder, features):
    plain = make_embedder(**OFF).encoder
    given = tokens(make_embedder())
    for parts in (OFF | one for one in ALONE[1:4]):
        found = make_embedder(moved=False, **parts).encoder.encode_ads(*given, features).embeddings
        cosine = (found * plain.encode_ads(*given).embeddings).sum(dim=1)
        assert cosine.min() > 0.9
        assert not torch.equal(found, plain.encode_ads(*given).embeddings)


@torch.no_grad()
def test_an_ad_by_hand(make_embedder, store):
    """One ad, without padding, from the parts."""
    embedder = make_embedder()
    encoder = embedder.encoder
    ids, lengths = tokens(embedder, TEXTS[:1])
    features = store.batch(np.array([0]))
    states = encoder.backbone.layer_states(ids, lengths)
    weights = encoder.layer_fusion.weights(states[-1].mean(dim=1))
    fused = sum(weight * state for weight, state in zip(weights[0], states, strict=True))
    generated, keywords = encoder.generated(features.generated), encoder.keywords(features.keywords)
    items = torch.cat((generated, keywords), dim=1)
    every = torch.ones(1, fused.shape[1], dtype=torch.bool), torch.ones(1, items.shape[1], dtype=torch.bool)
    told = encoder.transfer.to_text(fused, every[0], items, every[1])
    asked = encoder.transfer.to_items(items, every[1], fused, every[0])
    some = torch.tensor([True])
    merged = encoder.merge(asked[:, :2].mean(dim=1), asked[:, 2:].mean(dim=1), some, some)
    text = F.normalize(told.mean(dim=1), dim=1)
    expected = F.normalize(text + encoder.merge_scale * merged / np.sqrt(16), dim=1)
    torch.testing.assert_close(encoder.encode_ads(ids, lengths, features).embeddings, expected)
    query = F.normalize(fused.mean(dim=1), dim=1)
    torch.testing.assert_close(encoder.encode_queries(ids, lengths).embeddings, query)


@pytest.mark.parametrize("parts", EVERY)
@torch.no_grad()
def test_padding_and_company_do_not_matter(make_embedder, store, features, parts):
    embedder = make_embedder(**parts)
    encoder = embedder.encoder
    ids, lengths = tokens(embedder)
    ads, queries = (
        encoder.encode_ads(ids, lengths, features).embeddings,
        encoder.encode_queries(ids, lengths).embeddings,
    )
    torch.testing.assert_close(ads.norm(dim=1), torch.ones(len(TEXTS)))
    junk = torch.cat((ids, torch.full((len(ids), 3), 7)), dim=1)
    wide = [F.pad(part, (0, 0, 0, 2), value=1e3) for part in (features.generated, features.keywords)]
    masks = [F.pad(mask, (0, 2)) for mask in (features.generated_mask, features.keywords_mask)]
    padded = AdFeatures(wide[0], masks[0], wide[1], masks[1])
    torch.testing.assert_close(encoder.encode_ads(junk, lengths, padded).embeddings, ads, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.encode_queries(junk, lengths).embeddings, queries, atol=1e-5, rtol=0)
    for row, text in enumerate(TEXTS):
        alone = tokens(embedder, [text])
        found = encoder.encode_ads(*alone, store.batch(np.array([row]))).embeddings
        torch.testing.assert_close(found[0], ads[row], atol=1e-5, rtol=0)
        torch.testing.assert_close(encoder.encode_queries(*alone).embeddings[0], queries[row], atol=1e-5, rtol=0)


@pytest.mark.parametrize("parts", EVERY)
@torch.no_grad()
def test_the_order_of_items_does_not_matter(make_embedder, features, parts):
    embedder = make_embedder(**parts)
    every = (features.generated, features.generated_mask, features.keywords, features.keywords_mask)
    turned = AdFeatures(*(part.flip(1) for part in every))
    expected = embedder.encoder.encode_ads(*tokens(embedder), features).embeddings
    torch.testing.assert_close(
        embedder.encoder.encode_ads(*tokens(embedder), turned).embeddings, expected, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("parts", EVERY)
@torch.no_grad()
def test_an_ad_without_items_is_read_as_a_query(make_embedder, features, parts):
    embedder = make_embedder(**parts)
    given = tokens(embedder)
    queries, ads = (
        embedder.encoder.encode_queries(*given).embeddings,
        embedder.encoder.encode_ads(*given, features).embeddings,
    )
    torch.testing.assert_close(ads[WITHOUT_ITEMS], queries[WITHOUT_ITEMS], atol=1e-6, rtol=0)
    torch.testing.assert_close(embedder.encoder.encode_ads(*given).embeddings, queries, atol=1e-6, rtol=0)
    if embedder.settings.reads_augmentation:
        others = [row for row in range(len(TEXTS)) if row != WITHOUT_ITEMS]
        assert (ads[others] - queries[others]).abs().amax(dim=1).min() > 1e-3


@pytest.mark.parametrize("parts", EVERY)
def test_gradients_reach_every_parameter(make_embedder, features, parts):
    encoder = make_embedder(**parts).encoder.train()
    given = tokens(make_embedder())
    queries, ads = encoder.encode_queries(*given), encoder.encode_ads(*given, features)
    similarity = queries.embeddings @ ads.embeddings.T
    if encoder.settings.token_dimension:
        similarity = similarity + max_sim(queries.tokens, queries.real, ads.tokens, ads.real)
    (F.cross_entropy(similarity, torch.arange(len(TEXTS))) + encoder.regularisation()).backward()
    for name, parameter in encoder.named_parameters():
        if ".head_" in name:  # predicts intentions, which is not this encoder's work
            assert parameter.grad is None
        else:
            assert parameter.grad is not None, name
            gradient = parameter.grad.to_dense()
            assert gradient.isfinite().all(), name
            assert gradient.abs().max() > 0, name


def test_the_log_tells_of_heads_and_layers(make_embedder, features):
    embedder = make_embedder(num_heads=4)
    ids, lengths = tokens(embedder)
    embedder.encoder.encode_ads(ids, lengths, features)
    entropy = embedder.encoder.head_entropy()
    most = torch.cat((features.generated_mask, features.keywords_mask), dim=1).sum(dim=1).max().log()
    assert entropy.shape == (4,)
    assert ((entropy > 0) & (entropy <= most)).all()
    weights = embedder.encoder.layer_weights()
    assert weights.shape == (len(TEXTS), 3)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(TEXTS)))


@torch.no_grad()
def test_features_of_another_size(backbone, tokenizer_json, make_embedder):
    torch.manual_seed(0)
    features = {"generated": torch.randn(5, 2, 24), "keywords": torch.randn(5, 3, 24)}
    encoder = BridgeEncoder(CompactBackbone(backbone), EncoderSettings().with_all_parts(), feature_size=24)
    gram = encoder.generated.linear.weight @ encoder.generated.linear.weight.T
    torch.testing.assert_close(gram, torch.eye(16), atol=1e-5, rtol=0)
    masks = {f"{name}_mask": torch.ones(value.shape[:2], dtype=torch.bool) for name, value in features.items()}
    given = tokens(make_embedder())
    assert encoder.encode_ads(*given, AdFeatures(**features, **masks)).embeddings.shape == (5, 16)


def test_the_same_seed_gives_the_same_parts(backbone):
    def parts(seed: int) -> dict[str, torch.Tensor]:
        return BridgeEncoder(CompactBackbone(backbone), EncoderSettings(seed=seed).with_all_parts()).parts_state()

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = parts(0), parts(0), parts(1)
    assert torch.equal(torch.rand(1), expected)  # nobody else's random numbers change
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_parts_that_do_not_fit(make_embedder, backbone, tmp_path):
    encoder = make_embedder().encoder
    weights = encoder.parts_state()
    with pytest.raises(ArtifactError, match=r"x does not hold the weights of this encoder \('layer_fusion\.bias'\)"):
        encoder.load_parts({k: v for k, v in weights.items() if k != "layer_fusion.bias"}, "x")
    with pytest.raises(ArtifactError, match=r"\('more'\)"):
        encoder.load_parts(weights | {"more": torch.zeros(1)}, "x")
    with pytest.raises(ArtifactError, match=r"\('merge_scale'\)"):
        encoder.load_parts(weights | {"merge_scale": torch.zeros(2)}, "x")
    with pytest.raises(SettingsError, match="'num_heads' is 5"):
        BridgeEncoder(CompactBackbone(backbone), EncoderSettings(num_heads=5).with_all_parts())


def test_a_mean_of_nothing_is_zero():
    states = torch.ones(2, 3, 4)
    mask = torch.tensor([[True, True, False], [False] * 3])
    assert torch.equal(masked_mean(states, mask), torch.tensor([[1.0] * 4, [0.0] * 4]))
    assert torch.equal(masked_mean(states[:, :0], mask[:, :0]), torch.zeros(2, 4))
