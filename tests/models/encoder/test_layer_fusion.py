import pytest
import torch

from intently.models.encoder.layer_fusion import LayerFusion, initial_bias
from intently.models.encoder.settings import EncoderSettings


@pytest.fixture
def fusion() -> LayerFusion:
    torch.manual_seed(0)
    return LayerFusion(8, 4, EncoderSettings())


def test_the_last_layer_begins_ahead():
    weights = torch.softmax(initial_bias(6, EncoderSettings()), dim=0)
    assert weights.argmax() == 5
    assert weights[5] > 0.95


def test_the_middle_layers_begin_ahead_as_in_the_paper():
    paper = EncoderSettings(favoured_depth_low=0.5, favoured_depth_high=0.67, layer_bias=4.0)
    bias = initial_bias(24, paper)
    assert torch.nonzero(bias == bias.max()).flatten().tolist() == [11, 12, 13, 14, 15]  # layers 12 to 16 of 24
    assert (bias[1:12] > bias[:11]).all()
    assert (bias[16:] < bias[15:-1]).all()
    assert bias[0].item() == pytest.approx(-4 * (0.5 - 1 / 24))
    assert bias[-1].item() == pytest.approx(-4 * 0.33)
    assert initial_bias(1, paper).shape == (1,)
    assert (initial_bias(6, EncoderSettings(layer_bias=0)) == 0).all()


def test_weights_follow_the_text(fusion):
    texts = torch.randn(5, 8)
    weights = fusion.weights(texts)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(5))
    assert not torch.equal(weights[0], weights[1])
    # At the start the bias decides, and the text only a little.
    expected = torch.softmax(initial_bias(4, EncoderSettings()), dim=0).expand(5, 4)
    torch.testing.assert_close(weights, expected, atol=0.05, rtol=0)
    assert torch.equal(fusion.last_weights(), weights)
    assert not fusion.last_weights().requires_grad


def test_nothing_was_read_yet(fusion):
    assert fusion.last_weights().shape == (0, 4)


def test_mixing_is_a_weighted_sum(fusion):
    states = [torch.randn(2, 3, 8) for _ in range(4)]
    weights = fusion.weights(torch.randn(2, 8))
    mixed = fusion.mix(states, weights)
    for text in range(2):
        for token in range(3):
            expected = sum(weights[text, layer] * states[layer][text, token] for layer in range(4))
            torch.testing.assert_close(mixed[text, token], expected)
    pooled = fusion.mix([state.mean(dim=1) for state in states], weights)
    torch.testing.assert_close(pooled, mixed.mean(dim=1))
