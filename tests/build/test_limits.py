"""Settings that a model cannot follow are refused before anything long starts."""

import json
import time
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from intently.build.limits import check_models, check_student_tokens
from intently.build.pipeline import build_engine
from intently.build.settings import BridgeSettings, BuildSettings
from intently.errors import ArtifactError, SettingsError
from intently.models.encoder.settings import EncoderSettings
from intently.settings import from_mapping

SIZES = {"vocab_size": 102, "hidden_size": 16, "num_attention_heads": 2, "max_position_embeddings": 64}


@pytest.fixture
def checkpoint(tmp_path, tokenizer_json) -> str:
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    (tmp_path / "tokenizer.json").write_text(tokenizer_json)
    (tmp_path / "model.safetensors").touch()  # weights are not looked at
    return str(tmp_path)


@pytest.mark.parametrize(
    ("table", "name", "most"),
    [
        ("training", "max_query_tokens", 64),
        ("training", "max_ad_tokens", 64),
        ("postings", "max_ad_tokens", 64),
        ("retrieval", "max_query_tokens", 64),
        ("bridge.encoder", "max_query_tokens", 64),
        ("bridge.encoder", "max_ad_tokens", 64),
    ],
)
def test_texts_longer_than_the_model_reads(checkpoint, table, name, most):
    def chosen(value: int) -> BuildSettings:
        content: dict[str, object] = {name: value}
        for each in reversed(table.split(".")):
            content = {each: content}
        base = BuildSettings(checkpoint=checkpoint, bridge=BridgeSettings(enabled=True))
        return from_mapping(BuildSettings, content, "here", base)

    check_models(chosen(most))
    with pytest.raises(SettingsError, match=rf"'{table}\.{name}' is 5000; .* ≥ 3 and ≤ {most}, .* {most} positions"):
        check_models(chosen(5_000))
    with pytest.raises(SettingsError, match=rf"'{table}\.{name}' is 65;"):
        check_models(chosen(65))


def test_the_longest_intention_needs_positions_too():
    settings = BuildSettings()
    check_student_tokens(settings, 58, longest=10)
    with pytest.raises(SettingsError, match=r"'training.max_ad_tokens' is 48; .* ≤ 47, .* 11 of them for the longest"):
        check_student_tokens(settings, 58, longest=11)


def test_what_does_not_concern_a_build_is_not_checked(checkpoint):
    long = replace(BridgeSettings().encoder, max_ad_tokens=5_000)
    check_models(BuildSettings(checkpoint=checkpoint, bridge=BridgeSettings(encoder=long)))


def test_heads_that_do_not_divide_the_encoder(checkpoint):
    encoder = EncoderSettings(cross_attention=True, num_heads=3)
    with pytest.raises(SettingsError, match=r"'bridge.encoder.num_heads' is 3; it takes a divisor of .* 16"):
        check_models(BuildSettings(checkpoint=checkpoint, bridge=BridgeSettings(enabled=True, encoder=encoder)))


def test_a_build_refuses_before_it_reads(checkpoint, tmp_path):
    settings = from_mapping(BuildSettings, {"retrieval": {"max_query_tokens": 5_000}}, "here")
    settings = replace(settings, checkpoint=checkpoint)
    started = time.monotonic()
    with pytest.raises(SettingsError, match=r"'retrieval\.max_query_tokens' is 5000"):
        build_engine(tmp_path / "absent.tsv", None, tmp_path / "engine", settings)
    assert time.monotonic() - started < 5 and not (tmp_path / "engine").exists()


def test_a_checkpoint_without_sizes(tmp_path):
    with pytest.raises(ArtifactError, match=r"config\.json"):
        check_models(BuildSettings(checkpoint=str(tmp_path)))


def test_a_hugging_face_encoder(tmp_path):
    transformers = pytest.importorskip("transformers")
    from intently.models.encoder.hugging_face import positions_of

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 66}
    transformers.XLMRobertaConfig(**sizes, pad_token_id=1).save_pretrained(tmp_path / "roberta")
    transformers.BertConfig(**sizes).save_pretrained(tmp_path / "bert")
    assert positions_of(str(tmp_path / "roberta")) == (64, 16)
    assert positions_of(str(tmp_path / "bert")) == (66, 16)
    with pytest.raises(SettingsError, match="cannot be loaded"):
        positions_of(str(tmp_path))
