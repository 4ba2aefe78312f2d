import numpy as np
import pytest
import torch

from intently.encoder.features import FeatureStore, ItemFeatures, augmentation_features
from intently.errors import ArtifactError, InputError

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
