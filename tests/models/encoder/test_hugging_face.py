"""Hugging Face encoders as the backbone, with tiny models written to disk."""

import sys

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")
import transformers
from tokenizers import Tokenizer, models
from tokenizers.processors import TemplateProcessing

from intently.errors import ArtifactError, MissingDependencyError, SettingsError
from intently.models.encoder.embedder import Embedder
from intently.models.encoder.hugging_face import HuggingFaceBackbone, HuggingFaceTokenizer
from intently.models.encoder.late_interaction import max_sim
from intently.models.encoder.model import BridgeEncoder
from intently.models.encoder.settings import EncoderSettings
from intently.models.student import Runtime
from tests.models.encoder.conftest import TEXTS

SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
KINDS = {"bert": "BertConfig", "xlm-roberta": "XLMRobertaConfig"}


@pytest.fixture(params=KINDS)
def directory(request, tokenizer_json, tmp_path):
    """A checkpoint of a tiny encoder and its tokenizer."""
    core = Tokenizer.from_str(tokenizer_json)
    core.no_truncation()
    ends = [(token, core.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    core.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, padding_side="left", **named)
    config = getattr(transformers, KINDS[request.param])(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, max_position_embeddings=80, **SIZES
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModel.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(tmp_path / "tiny")
    tokenizer.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def embedder(directory):
    backbone, tokenizer = HuggingFaceBackbone.load(str(directory))
    return Embedder(BridgeEncoder(backbone, EncoderSettings().with_all_parts()), tokenizer)


@torch.no_grad()
def test_states_are_those_of_the_model(directory):
    backbone, tokenizer = HuggingFaceBackbone.load(str(directory))
    assert (backbone.hidden_size, backbone.num_layers, backbone.training) == (16, 3, False)
    ids, lengths = (torch.from_numpy(array) for array in tokenizer.encode(TEXTS, 32))
    states = backbone.layer_states(ids, lengths)
    assert [state.shape for state in states] == [(*ids.shape, 16)] * 3
    for row, length in enumerate(lengths):  # alone, without padding
        output = backbone.model(input_ids=ids[row : row + 1, :length], output_hidden_states=True)
        torch.testing.assert_close(states[-1][row, :length], output.last_hidden_state[0], atol=1e-5, rtol=0)
        for layer in range(3):
            expected = output.hidden_states[layer + 1][0]
            torch.testing.assert_close(states[layer][row, :length], expected, atol=1e-5, rtol=0)


def test_texts_are_cut_and_padded_at_the_end(directory):
    _, tokenizer = HuggingFaceBackbone.load(str(directory))
    ids, lengths = tokenizer.encode(["pan", "red robot vacuum drill"], 4)
    assert (ids.dtype, ids.shape, lengths.tolist()) == (np.int64, (2, 4), [3, 4])
    assert ids[0, 3] == tokenizer.pad_id
    assert ids[0, 2] == ids[1, 3] != tokenizer.pad_id  # [SEP]
    ids, lengths = tokenizer.encode([], 4)
    assert (len(ids), len(lengths)) == (0, 0)


def test_batch_and_order_do_not_matter(embedder, store):
    ads, queries = embedder.embed_ads(TEXTS, store), embedder.embed_queries(TEXTS)
    np.testing.assert_allclose(embedder.embed_ads(TEXTS, store, batch_size=1), ads, atol=2e-2)  # bfloat16 where fast
    np.testing.assert_allclose(embedder.embed_queries(TEXTS, batch_size=1), queries, atol=1e-5)
    assert np.abs(ads - embedder.embed_ads(TEXTS)).max() > 1e-3
    several, alone = (embedder.read_queries(TEXTS, size).tokens for size in (64, 1))
    for one, other, length in zip(several, alone, embedder.tokenizer.encode(TEXTS, 64)[1].tolist(), strict=True):
        assert one.shape == (length, embedder.settings.token_dimension)
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_save_and_load(embedder, store, tmp_path):
    embedder.save(tmp_path / "encoder")
    loaded = Embedder.load(tmp_path / "encoder")
    before, after = (one.read_ads(TEXTS, store) for one in (embedder, loaded))
    np.testing.assert_array_equal(after.embeddings, before.embeddings)
    np.testing.assert_array_equal(after.tokens.values, before.tokens.values)
    (tmp_path / "encoder" / "backbone").rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="backbone is missing"):
        Embedder.load(tmp_path / "encoder")
    (tmp_path / "encoder" / "backbone").mkdir()
    with pytest.raises(ArtifactError, match="backbone"):
        Embedder.load(tmp_path / "encoder")


def test_gradients_reach_the_model(embedder, store):
    encoder = embedder.encoder
    ids, lengths = (torch.from_numpy(array) for array in embedder.tokenizer.encode(TEXTS, 32))
    queries, ads = encoder.encode_queries(ids, lengths), encoder.encode_ads(ids, lengths, store.batch(np.arange(5)))
    similarity = queries.embeddings @ ads.embeddings.T
    similarity = similarity + max_sim(queries.tokens, queries.real, ads.tokens, ads.real)
    torch.nn.functional.cross_entropy(similarity, torch.arange(5)).backward()
    for name, parameter in encoder.named_parameters():
        if "pooler" not in name:  # of the model's own, over [CLS]; this encoder takes means
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_onnx_runtime_is_for_the_compact_backbone(embedder):
    with pytest.raises(SettingsError, match="runtime 'onnx-int8' runs the compact backbone only; use 'torch'"):
        embedder.use(Runtime.ONNX_INT8)
    assert embedder.use(Runtime.TORCH).runtime is Runtime.TORCH


def test_what_is_no_encoder(tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match=r"the encoder '.*nothing' cannot be loaded"):
        HuggingFaceBackbone.load(str(tmp_path / "nothing"))
    small = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 9}
    t5 = transformers.AutoModel.from_config(transformers.T5Config(**small))
    with pytest.raises(SettingsError, match="T5Model is no text encoder"):
        HuggingFaceBackbone(t5)
    words = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    unpadded = transformers.PreTrainedTokenizerFast(tokenizer_object=words)
    with pytest.raises(SettingsError, match="no padding token"):
        HuggingFaceTokenizer(unpadded)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'intently\[llm\]'"):
        HuggingFaceBackbone.load("any")
