"""A tiny encoder and the features of a few ads."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from intently.models.backbone import Backbone
from intently.models.encoder.backbone import CompactBackbone
from intently.models.encoder.embedder import Embedder
from intently.models.encoder.features import FeatureStore, augmentation_features
from intently.models.encoder.model import BridgeEncoder
from intently.models.encoder.settings import EncoderSettings
from intently.models.tokenizer import StudentTokenizer
from intently.models.weights import BackboneConfig

TEXTS = ["red robot vacuum", "红色扫地机器人", "drill bit for red lamp", "pan", "电热水壶 electric kettle"]
# Both kinds of items, one kind, the other, none.
GENERATED = [["robot vacuum", "red vacuum for pan"], ["扫地机器人", "机器人", "robot"], [], [], ["电热水壶", "kettle"]]
KEYWORDS = [["robot", "vacuum", "red"], [], ["drill bit", "lamp"], [], ["水壶", "电热"]]


@pytest.fixture(scope="session")
def backbone(tokenizer_json) -> Backbone:
    """Three layers with weights large enough that whatever goes wrong in them shows."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        backbone = Backbone(BackboneConfig(StudentTokenizer(tokenizer_json).vocab_size, 16, 3, 2, 32, 64)).eval()
        with torch.no_grad():
            for name, parameter in backbone.named_parameters():
                if "norm" in name:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
                else:
                    parameter.normal_(std=0.3)
    return backbone


@pytest.fixture(scope="session")
def store() -> FeatureStore:
    """Features of the ads above: each text a random unit vector of its own."""

    def embed(texts):
        drawn = [np.random.default_rng(list(text.encode())).normal(size=16) for text in texts]
        return np.array([vector / np.linalg.norm(vector) for vector in drawn], dtype=np.float32)

    return FeatureStore(augmentation_features(embed, GENERATED, 8), augmentation_features(embed, KEYWORDS, 8))


@pytest.fixture
def make_embedder(backbone, tokenizer_json) -> Callable[..., Embedder]:
    """Return a maker of embedders of all parts, with the given settings, moved away from where they start."""

    def make(moved: bool = True, **settings: object) -> Embedder:
        own = Backbone(backbone.config)
        own.load_state_dict(backbone.state_dict())
        encoder = BridgeEncoder(CompactBackbone(own), replace(EncoderSettings().with_all_parts(), **settings))
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(3)
            for name, parameter in encoder.named_parameters():
                if moved and not name.startswith("backbone."):
                    parameter.add_(torch.randn_like(parameter) * 0.2)
        return Embedder(encoder, StudentTokenizer(tokenizer_json))

    return make
