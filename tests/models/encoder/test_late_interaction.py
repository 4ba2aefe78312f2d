"""Late interaction: MaxSim against its definition, and the embeddings of tokens that it compares."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from intently.errors import ArtifactError
from intently.models.device import autocast
from intently.models.encoder.embedder import Embedder
from intently.models.encoder.late_interaction import max_sim
from intently.models.student import Runtime
from tests.models.encoder.conftest import TEXTS

OFF = {"layer_fusion": False, "gate": "none", "cross_attention": False}
PARTS = [OFF, OFF | {"layer_fusion": True}, OFF | {"cross_attention": True}, {}]
QUERIES = ["red robot", "红色扫地机器人", "", "pan for kettle lamp 电热水壶 blue drill bit"]


def slow_score(query, ad) -> float:
    """Return the definition, of the tokens (S, P) of a query and (T, P) of an ad."""
    return float(np.mean([max(sum(float(a) * float(b) for a, b in zip(one, other, strict=True)) for other in ad)
                          for one in query]))  # fmt: skip


def drawn(lengths: list[int], width: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return unit vectors (B, S, P), where it is padding enormous ones, and which are no padding."""
    vectors = F.normalize(torch.randn(len(lengths), width, size, generator=torch.Generator().manual_seed(seed)), dim=2)
    real = torch.arange(width) < torch.tensor(lengths)[:, None]
    return torch.where(real[:, :, None], vectors, torch.full_like(vectors, 1e3)), real


@pytest.mark.parametrize("size", [1, 5])
def test_max_sim_is_its_definition(size):
    asked, ads = [3, 1, 6, 2], [4, 1, 7]
    queries, query_real = drawn(asked, 6, size, 0)
    others, ad_real = drawn(ads, 9, size, 1)  # two places more than the longest has
    found = max_sim(queries, query_real, others, ad_real)
    expected = [
        [slow_score(query[:own], ad[:length]) for ad, length in zip(others, ads, strict=True)]
        for query, own in zip(queries, asked, strict=True)
    ]
    assert found.shape == (4, 3)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # With one token each it is the cosine.
    assert float(found[1, 1]) == pytest.approx(float(queries[1, 0] @ others[1, 0]), abs=1e-6)


def test_a_text_is_most_like_itself():
    vectors, real = drawn([2, 4, 3], 4, 8, 2)
    scores = max_sim(vectors, real, vectors, real)
    torch.testing.assert_close(scores.diagonal(), torch.ones(3))
    assert scores.argmax(dim=1).tolist() == [0, 1, 2]


def test_gradients_reach_the_tokens_that_match_and_no_padding():
    (queries, query_real), (ads, ad_real) = drawn([2, 1], 3, 4, 3), drawn([1, 3], 4, 4, 4)
    queries.requires_grad_()
    ads.requires_grad_()
    max_sim(queries, query_real, ads, ad_real).sum().backward()
    assert (queries.grad[query_real].abs().sum(dim=1) > 0).all()
    assert not queries.grad[~query_real].any()
    assert not ads.grad[~ad_real].any()
    assert (ads.grad[0, 0].abs() > 0).all()  # its only token is always the best


@pytest.mark.parametrize("parts", PARTS)
def test_texts_interact_through_the_embedder_as_they_do_one_by_one(make_embedder, store, parts):
    """English and Chinese of many lengths: batches, padding, int8 and order change nothing."""
    embedder = make_embedder(token_dimension=6, **parts)
    encoder = embedder.encoder
    queries, ads = embedder.read_queries(QUERIES, 2), embedder.read_ads(TEXTS, store, 2)
    for own, query in zip(queries.tokens, QUERIES, strict=True):
        ids, lengths = (torch.from_numpy(array) for array in embedder.tokenizer.encode([query], 64))
        with torch.inference_mode():
            alone = encoder.encode_queries(ids, lengths).tokens[0]
        assert own.shape == (int(lengths[0]), 6)
        np.testing.assert_allclose(own, alone, atol=1e-5)
        expected = []
        for row, text in enumerate(TEXTS):
            ids, lengths = (torch.from_numpy(array) for array in embedder.tokenizer.encode([text], 64))
            with torch.inference_mode(), autocast(encoder.device):
                ad = encoder.encode_ads(ids, lengths, store.batch(np.array([row]))).tokens[0]
            expected.append(slow_score(alone, ad.float()))
        found = ads.tokens.scores_of(own, np.arange(len(TEXTS)))
        np.testing.assert_allclose(found, expected, atol=3e-2)  # int8, and bfloat16 where fast


def test_places_and_lengths_of_what_is_read(make_embedder, store):
    embedder = make_embedder(token_dimension=6, max_query_tokens=5, max_ad_tokens=4)
    queries, ads = embedder.read_queries(QUERIES, 3), embedder.read_ads(TEXTS, store, 3)
    assert [tokens.dtype for tokens in queries.tokens] == [np.float32] * len(QUERIES)
    assert [len(own) for own in queries.tokens] == embedder.tokenizer.encode(QUERIES, 5)[1].tolist()
    assert np.diff(ads.tokens.offsets).tolist() == embedder.tokenizer.encode(TEXTS, 4)[1].tolist()
    assert (ads.tokens.values.dtype, ads.tokens.values.shape[1], ads.tokens.num_ads) == (np.int8, 6, len(TEXTS))
    np.testing.assert_array_equal(queries.embeddings, embedder.embed_queries(QUERIES, 3))
    np.testing.assert_array_equal(ads.embeddings, embedder.embed_ads(TEXTS, store, 3))
    back = embedder.read_queries(QUERIES[::-1], 3)
    for one, other in zip(queries.tokens, back.tokens[::-1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_nothing_to_read(make_embedder):
    embedder = make_embedder(token_dimension=6)
    assert embedder.read_queries([]).tokens == []
    ads = embedder.read_ads([])
    assert (ads.embeddings.shape, ads.tokens) == ((0, embedder.dimension), None)


@pytest.mark.parametrize("runtime", [Runtime.TORCH, Runtime.ONNX])
def test_without_a_dimension_nothing_interacts(make_embedder, store, runtime):
    embedder = make_embedder(token_dimension=0)
    assert embedder.encoder.to_tokens is None
    assert embedder.use(runtime).read_queries(QUERIES).tokens is None
    assert embedder.use(runtime).read_ads(TEXTS, store).tokens is None
    ids, lengths = (torch.from_numpy(array) for array in embedder.tokenizer.encode(TEXTS, 32))
    assert embedder.encoder.encode_queries(ids, lengths).tokens.shape == (*ids.shape, 0)
    # The text's own embedding is the same either way.
    plain, late = (make_embedder(moved=False, token_dimension=size) for size in (0, 6))
    np.testing.assert_array_equal(plain.embed_queries(QUERIES), late.embed_queries(QUERIES))
    np.testing.assert_array_equal(plain.embed_ads(TEXTS, store), late.embed_ads(TEXTS, store))


@pytest.mark.parametrize("parts", PARTS)
@torch.no_grad()
def test_tokens_are_of_unit_length_and_padding_does_not_matter(make_embedder, store, parts):
    embedder = make_embedder(token_dimension=6, **parts)
    encoder, features = embedder.encoder, store.batch(np.arange(len(TEXTS)))
    ids, lengths = (torch.from_numpy(array) for array in embedder.tokenizer.encode(TEXTS, 32))
    junk = torch.cat((ids, torch.full((len(ids), 3), 7)), dim=1)
    for read in (encoder.encode_queries, lambda *given: encoder.encode_ads(*given, features)):
        encoded, padded = read(ids, lengths), read(junk, lengths)
        assert encoded.real.sum(dim=1).tolist() == padded.real.sum(dim=1).tolist() == lengths.tolist()
        torch.testing.assert_close(encoded.tokens[encoded.real].norm(dim=1), torch.ones(int(lengths.sum())))
        torch.testing.assert_close(padded.tokens[padded.real], encoded.tokens[encoded.real], atol=1e-5, rtol=0)


@pytest.mark.parametrize("cross_attention", [True, False])
@torch.no_grad()
def test_an_ads_tokens_know_of_its_augmentation_if_attention_tells_them(make_embedder, store, cross_attention):
    embedder = make_embedder(token_dimension=6, cross_attention=cross_attention)
    ids, lengths = (torch.from_numpy(array) for array in embedder.tokenizer.encode(TEXTS, 32))
    bare = embedder.encoder.encode_queries(ids, lengths)
    told = embedder.encoder.encode_ads(ids, lengths, store.batch(np.arange(len(TEXTS))))
    difference = (bare.tokens - told.tokens).abs().amax(dim=2)
    for row, real in enumerate(bare.real):
        if cross_attention and row != 3:  # that one has no items
            assert (difference[row][real] > 1e-3).all()
        else:
            assert difference[row][real].max() < 1e-6


def test_the_projection_nearly_keeps_cosines_at_first(make_embedder):
    """With as many dimensions as states have, it is a rotation."""
    embedder = make_embedder(moved=False, token_dimension=16, **OFF)
    ids, lengths = (torch.from_numpy(array) for array in embedder.tokenizer.encode(TEXTS, 32))
    with torch.no_grad():
        encoded = embedder.encoder.encode_queries(ids, lengths)
        states = F.normalize(embedder.encoder.backbone.layer_states(ids, lengths)[-1][encoded.real], dim=1)
    tokens = encoded.tokens[encoded.real]
    torch.testing.assert_close(tokens @ tokens.T, states @ states.T, atol=1e-5, rtol=0)
    assert (tokens - states).abs().max() > 0.1


def test_gradients_of_the_scores_reach_backbone_and_projection(make_embedder, store):
    encoder = make_embedder(token_dimension=6).encoder.train()
    ids, lengths = (torch.from_numpy(array) for array in make_embedder().tokenizer.encode(TEXTS, 32))
    queries = encoder.encode_queries(ids, lengths)
    ads = encoder.encode_ads(ids, lengths, store.batch(np.arange(len(TEXTS))))
    scores = max_sim(queries.tokens, queries.real, ads.tokens, ads.real)
    F.cross_entropy(scores, torch.arange(len(TEXTS))).backward()
    reached = {name for name, value in encoder.named_parameters() if value.grad is not None}
    assert encoder.to_tokens.weight.grad.abs().max() > 0
    for part in ("backbone.", "layer_fusion.", "transfer.to_text."):
        assert any(name.startswith(part) for name in reached)
    assert not any(name.startswith("merge") for name in reached)  # which is of the whole ad


@pytest.mark.parametrize("size", [0, 6])
def test_the_projection_is_saved_and_loaded(make_embedder, store, tmp_path, size):
    embedder = make_embedder(token_dimension=size)
    embedder.save(tmp_path)
    loaded = Embedder.load(tmp_path)
    assert loaded.settings.token_dimension == size
    before, after = embedder.read_queries(QUERIES), loaded.read_queries(QUERIES)
    if not size:
        assert before.tokens is after.tokens is loaded.encoder.to_tokens is None
        return
    assert torch.equal(loaded.encoder.to_tokens.weight, embedder.encoder.to_tokens.weight)
    for one, other in zip(before.tokens, after.tokens, strict=True):
        np.testing.assert_array_equal(one, other)
    ads = [each.read_ads(TEXTS, store).tokens for each in (embedder, loaded)]
    np.testing.assert_array_equal(ads[0].values, ads[1].values)


def test_weights_of_another_dimension_are_refused(make_embedder, tmp_path):
    embedder = make_embedder(token_dimension=6)
    for size in (0, 7):
        other = make_embedder(token_dimension=size).encoder
        with pytest.raises(ArtifactError, match=r"weights of this encoder \('to_tokens\.weight'\)"):
            other.load_parts(embedder.encoder.parts_state(), tmp_path)
