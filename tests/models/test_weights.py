"""Sizes and weights as they lie on disk, against those that PyTorch has."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from intently.errors import ArtifactError
from intently.models.backbone import Backbone
from intently.models.files import map_weights
from intently.models.weights import BackboneConfig, BackboneWeights


@pytest.mark.parametrize("config", [BackboneConfig(50, 48, 3, 4, 96, 40), BackboneConfig(7, 8, 1, 2, 12, 5, 3)])
def test_shapes_are_those_of_the_backbone(config):
    own = {name: tuple(value.shape) for name, value in Backbone(config).state_dict().items()}
    assert dict(config.shapes()) == own


def test_weights_go_to_disk_and_come_back(tmp_path):
    backbone = Backbone(BackboneConfig(50, 48, 3, 4, 96, 40))
    path = tmp_path / "model.safetensors"
    backbone.weights().save(path)
    loaded = BackboneWeights.load(backbone.config, path)
    for name, value in Backbone.of(loaded).state_dict().items():
        torch.testing.assert_close(value, backbone.state_dict()[name], rtol=0, atol=0)
        np.testing.assert_array_equal(loaded.arrays[name], value.numpy())
    assert not loaded.arrays["head_bias"].flags.writeable  # it is mapped
    with torch.no_grad():
        backbone.head_bias[3] = 0.5
    assert backbone.weights().arrays["head_bias"][3] == 0.5  # one memory


def test_scalars_and_empty_arrays_are_mapped(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"scale": torch.tensor(0.5), "none": torch.empty(0, 4), "two": torch.ones(2)}, path)
    arrays = map_weights(path)
    assert {name: array.shape for name, array in arrays.items()} == {"scale": (), "none": (0, 4), "two": (2,)}
    assert (float(arrays["scale"]), arrays["two"].tolist()) == (0.5, [1.0, 1.0])


def test_other_precisions_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"one": torch.ones(2, dtype=torch.bfloat16)}, path)
    with pytest.raises(ArtifactError, match=r"model\.safetensors does not hold weights \('one' is BF16, and F32"):
        map_weights(path)


@pytest.mark.parametrize("length", [0, 7, 8, 60, -1])
def test_a_torn_file_is_refused(tmp_path, length):
    path = tmp_path / "model.safetensors"
    save_file({"one": torch.ones(20)}, path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ArtifactError, match=r"model\.safetensors does not hold weights"):
        map_weights(path)
