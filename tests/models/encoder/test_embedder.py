import json

import numpy as np
import pytest
import torch

from intently.errors import ArtifactError, InputError, SettingsError
from intently.models.device import autocast
from intently.models.encoder.embedder import Embedder
from intently.models.encoder.features import FeatureStore
from intently.models.student import Runtime, Student
from intently.models.tokenizer import StudentTokenizer
from tests.conftest import assert_damage_is_refused

TEXTS = ["red robot vacuum", "红色扫地机器人", "drill bit for red lamp " * 5, "pan", "电热水壶 electric kettle"]


def test_texts_keep_their_places(make_embedder, store):
    embedder, told = make_embedder(max_ad_tokens=12, max_query_tokens=12), []
    encoder = embedder.encoder
    ads = embedder.embed_ads(TEXTS, store, 2, lambda *now: told.append(now))
    queries = embedder.embed_queries(TEXTS, 2, lambda *now: told.append(now))
    assert told == [(f"Embedding {kind}", done, 5, "") for kind in ("ads", "queries") for done in (2, 4, 5)]
    assert (ads.dtype, ads.shape, queries.dtype) == (np.float32, (5, embedder.dimension), np.float32)
    for row, text in enumerate(TEXTS):
        ids, lengths = (torch.from_numpy(array) for array in embedder.tokenizer.encode([text], 12))
        with torch.inference_mode():
            query = encoder.encode_queries(ids, lengths).embeddings[0]
            with autocast(encoder.device):
                ad = encoder.encode_ads(ids, lengths, store.batch(np.array([row]))).embeddings[0]
        np.testing.assert_allclose(queries[row], query, atol=1e-5)
        np.testing.assert_allclose(ads[row], ad.float(), atol=2e-2)  # bfloat16 where fast
    assert embedder.embed_ads([]).shape == embedder.embed_queries([]).shape == (0, embedder.dimension)


def test_long_texts_are_cut(make_embedder):
    embedder = make_embedder(max_query_tokens=4, max_ad_tokens=5)
    long = ["red robot vacuum drill lamp pan"]
    np.testing.assert_allclose(embedder.embed_queries(long), embedder.embed_queries(["red robot"]), atol=1e-5)
    np.testing.assert_allclose(embedder.embed_ads(long), embedder.embed_ads(["red robot vacuum"]), atol=1e-2)


@pytest.mark.parametrize("parts", [{}, {"layer_fusion": False, "gate": "none", "cross_attention": False}])
def test_save_and_load(make_embedder, store, tmp_path, parts):
    embedder = make_embedder(temperature=3.0, **parts)
    embedder.save(tmp_path / "new")
    loaded = Embedder.load(tmp_path / "new")
    assert loaded.settings == embedder.settings
    assert not loaded.encoder.training
    np.testing.assert_array_equal(loaded.embed_ads(TEXTS, store), embedder.embed_ads(TEXTS, store))
    np.testing.assert_array_equal(loaded.embed_queries(TEXTS), embedder.embed_queries(TEXTS))
    onnx = embedder.use(Runtime.ONNX)
    np.testing.assert_array_equal(loaded.use(Runtime.ONNX).embed_queries(TEXTS), onnx.embed_queries(TEXTS))
    assert len({path.stat().st_mode for path in (tmp_path / "new").rglob("*.*") if path.is_file()}) == 1
    # The backbone is stored as a student is.
    assert Student.load(tmp_path / "new" / "backbone").dimension == embedder.dimension


def test_features_of_others(make_embedder, store):
    embedder = make_embedder()
    with pytest.raises(InputError, match="features of 5 ads for 2 texts"):
        embedder.embed_ads(TEXTS[:2], store)
    smaller = FeatureStore(
        *(type(one)(one.vectors[:, :8], one.keys, one.rows) for one in (store.generated, store.keywords))
    )
    with pytest.raises(InputError, match="features of 8 dimensions for an encoder that takes 16"):
        embedder.embed_ads(TEXTS, smaller)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("encoder.json", None),
        ("encoder.json", b"{"),
        ("encoder.json", b"[]"),
        ("encoder.json", b'{"backbone": "compact", "feature_size": 16, "settings": {"colour": 1}}'),
        ("encoder.json", b'{"backbone": "huge", "feature_size": 16, "settings": {}}'),
        ("encoder.json", b'{"backbone": "compact", "feature_size": 0, "settings": {}}'),
        (
            "encoder.json",
            b'{"backbone": "compact", "feature_size": 16, "settings": {"num_heads": 5, "cross_attention": true}}',
        ),
        ("encoder.safetensors", None),
        ("encoder.safetensors", b"torn"),
        ("backbone/config.json", None),
        ("backbone/model.safetensors", b"torn"),
        ("backbone/tokenizer.json", b"{}"),
    ],
)
def test_damaged_encoder(make_embedder, tmp_path, name, content):
    make_embedder().save(tmp_path)
    assert_damage_is_refused(Embedder.load, tmp_path, name, content)


def test_settings_that_do_not_fit_the_weights(make_embedder, tmp_path):
    make_embedder().save(tmp_path)
    config = json.loads((tmp_path / "encoder.json").read_text())
    config["settings"]["layer_fusion"] = False
    (tmp_path / "encoder.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match=r"encoder\.safetensors does not hold the weights of this encoder"):
        Embedder.load(tmp_path)


def test_a_tokenizer_of_a_foreign_kind(make_embedder, tmp_path):
    class Foreign:
        encode = StudentTokenizer.encode

    with pytest.raises(SettingsError, match="a CompactBackbone with a Foreign cannot be saved"):
        Embedder(make_embedder().encoder, Foreign()).save(tmp_path)
