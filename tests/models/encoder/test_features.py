import numpy as np
import pytest
import torch

from intently.errors import ArtifactError, InputError
from intently.models.encoder.features import FeatureStore, ItemFeatures, augmentation_features, text_keys

ITEMS = [["red lamp", "lamp", "red lamp"], [], ["电灯"], ["lamp", "电灯", "pan", "drill"]]


def embed(texts):
    return np.array([[len(text), ord(text[0]) / 100 if text else 0] for text in texts], dtype=np.float32)


@pytest.fixture
def features() -> ItemFeatures:
    return augmentation_features(embed, ITEMS, 3)


def test_every_ad_finds_its_own_items(features):
    found, mask = features.gather(np.array([3, 0, 1]))
    assert found.dtype == torch.float32
    assert mask.tolist() == [[True] * 3, [True, True, False], [False] * 3]
    expected = embed(["lamp", "电灯", "pan"]).astype(np.float16).astype(np.float32)  # at most 3
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(found[1, :2], embed(["red lamp", "lamp"]).astype(np.float16))  # each once
    assert (found[~mask] == 0).all()


def test_texts_of_the_same_stems_have_one_key():
    same = ["Red Lamps", "lamp red", " ＲＥＤ  lamp", "the red lamp"]
    assert len(set(text_keys(same).tolist())) == 1
    other = ["red", "lamp", "red red lamp", "电灯", "灯", "扫地机器人", "the", "of", "", "2x4"]
    assert len(set(text_keys([*same, *other]).tolist())) == 11
    assert text_keys(["机器人 扫地"]).tolist() == text_keys(["扫地 机器人"]).tolist()
    assert text_keys([]).shape == (0,)


def test_what_says_the_hidden_text_is_masked(features):
    ad_rows, hidden = np.array([0, 0, 0, 3, 1]), text_keys(["lamps red", "pan", "lamp", "电灯", "lamp"])
    hidden[1] = 0
    found, mask = features.gather(ad_rows, hidden)
    assert mask.tolist() == [
        [False, True, False],
        [True, True, False],
        [True, False, False],
        [True, False, True],
        [False] * 3,
    ]
    assert torch.equal(found, features.gather(ad_rows)[0])
    nothing = augmentation_features(embed, [[], []], 4)
    assert nothing.gather(np.array([1]), np.array([5]))[1].shape == (1, 0)


def test_ads_can_be_read_without_their_items(features):
    store = FeatureStore(features, augmentation_features(embed, [["pan"], [], ["红"], []], 3))
    bare = store.batch(np.array([2, 0]), np.zeros(2, np.int64)).without(np.array([True, False]))
    assert bare.generated_mask.tolist() == [[False, False], [True, True]]
    assert bare.keywords_mask.tolist() == [[False], [True]]
    hidden = store.batch(np.array([2, 0]), text_keys(["红", "lamp"]))
    assert hidden.generated_mask.tolist() == [[True, False], [True, False]]
    assert hidden.keywords_mask.tolist() == [[False], [True]]


def test_a_batch_is_as_wide_as_its_widest(features):
    for rows, width in (([0, 2], 2), ([2], 1), ([1], 0), ([], 0)):
        found, mask = features.gather(np.array(rows, dtype=np.int64))
        assert found.shape == (len(rows), width, 2)
        assert mask.shape == (len(rows), width)


def test_each_text_is_embedded_once():
    read, told = [], []

    def counting(texts):
        read.extend(texts)
        return embed(texts)

    features = augmentation_features(counting, ITEMS, 4, lambda *now: told.append(now))
    assert sorted(text for text in read if text) == sorted({text for items in ITEMS for text in items})
    assert told == [("augmentation features", 5, 5, "")]
    assert len(features.vectors) == 5
    nothing = augmentation_features(embed, [[], []], 4)
    assert (nothing.vectors.shape, nothing.rows.shape) == ((0, 2), (2, 0))


def test_save_and_load(features, tmp_path):
    store = FeatureStore(features, augmentation_features(embed, [["pan"], [], ["红"], []], 3))
    store.save(tmp_path / "new")
    loaded = FeatureStore.load(tmp_path / "new")
    assert isinstance(loaded.generated.vectors, np.memmap)
    assert (len(loaded), loaded.dimension) == (4, 2)
    before, after = store.batch(np.array([2, 0])), loaded.batch(np.array([2, 0])).to(torch.device("cpu"))
    for name in ("generated", "generated_mask", "keywords", "keywords_mask"):
        assert torch.equal(getattr(before, name), getattr(after, name))
    assert len({path.stat().st_mode for path in tmp_path.rglob("*.npy")}) == 1


def test_both_kinds_are_of_the_same_ads_and_encoder(features, tmp_path):
    with pytest.raises(InputError, match="features of 4 ads for generated queries and of 1 for keywords"):
        FeatureStore(features, augmentation_features(embed, [["pan"]], 3))
    other = augmentation_features(lambda texts: np.zeros((len(texts), 5), np.float32), ITEMS, 3)
    with pytest.raises(InputError, match="features of 2 dimensions for generated queries and of 5"):
        FeatureStore(features, other)
    features.save(tmp_path / "generated")
    other.save(tmp_path / "keywords")
    with pytest.raises(ArtifactError, match="features of 2 dimensions"):
        FeatureStore.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("vectors", None, r"vectors\.npy does not hold vectors"),
        ("rows", None, r"rows\.npy does not hold rows"),
        ("vectors", np.zeros((5, 2)), r"vectors\.npy holds float64 \(5, 2\), not float16"),
        ("rows", np.zeros(3, np.int32), r"rows\.npy holds int32 \(3,\)"),
        ("keys", None, r"keys\.npy does not hold keys"),
        ("keys", np.zeros(3, np.int64), r"keys\.npy and .*vectors\.npy are of different texts"),
        ("vectors", np.zeros((4, 2), np.float16), r"rows\.npy names vectors that .*vectors\.npy does not hold"),
    ],
)
def test_damaged_features(features, tmp_path, name, content, told):
    augmentation_features(embed, ITEMS, 4).save(tmp_path)
    path = tmp_path / f"{name}.npy"
    path.unlink()
    if content is not None:
        np.save(path, content)
    with pytest.raises(ArtifactError, match=told):
        ItemFeatures.load(tmp_path)
