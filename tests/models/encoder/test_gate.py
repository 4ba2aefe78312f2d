import pytest
import torch

from intently.models.encoder.gate import ConcatenatedMerge, GatedMerge

BOTH, ONE, OTHER, NONE = range(4)


@pytest.fixture
def given():
    torch.manual_seed(0)
    has_generated, has_keywords = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    generated = torch.randn(4, 6) * has_generated[:, None]
    keywords = torch.randn(4, 6) * has_keywords[:, None]
    return generated, keywords, has_generated, has_keywords


def test_the_gate_is_between_the_two(given):
    merge = GatedMerge(6)
    with torch.no_grad():
        merge.linear.weight.mul_(50)
        merge.linear.bias.normal_()
    generated, keywords, *_ = given
    merged = merge(*given)
    for dimension in range(6):
        both = torch.cat((generated[BOTH], keywords[BOTH]))
        gate = torch.sigmoid(merge.linear.weight[dimension] @ both + merge.linear.bias[dimension])
        expected = gate * generated[BOTH, dimension] + (1 - gate) * keywords[BOTH, dimension]
        torch.testing.assert_close(merged[BOTH, dimension], expected)


def test_an_absent_kind_leaves_the_other_whole(given):
    merge = GatedMerge(6)
    generated, keywords, *_ = given
    merged = merge(*given)
    assert torch.equal(merged[ONE], generated[ONE])
    assert torch.equal(merged[OTHER], keywords[OTHER])
    assert torch.equal(merged[NONE], torch.zeros(6))


def test_the_gate_begins_half_open():
    torch.manual_seed(0)
    merge = GatedMerge(64)
    assert merge.linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert torch.equal(merge.linear.bias, torch.zeros(64))


def test_concatenation_begins_as_the_mean_and_keeps_nothing_nothing(given):
    merge = ConcatenatedMerge(6)
    generated, keywords, *_ = given
    torch.testing.assert_close(merge(*given), (generated + keywords) / 2)
    with torch.no_grad():
        merge.linear.weight.normal_()
    assert torch.equal(merge(*given)[NONE], torch.zeros(6))
