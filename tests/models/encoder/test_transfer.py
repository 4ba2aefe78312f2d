"""Cross-attention against a plain loop over receivers, heads and givers."""

import math

import pytest
import torch

from intently.errors import SettingsError
from intently.models.encoder.settings import EncoderSettings
from intently.models.encoder.transfer import CrossAttention, KnowledgeTransfer

HEADS, SIZE = 2, 8
SETTINGS = EncoderSettings(num_heads=HEADS)


@pytest.fixture
def attention() -> CrossAttention:
    torch.manual_seed(0)
    attention = CrossAttention(SIZE, SETTINGS)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return attention


@pytest.fixture
def given():
    torch.manual_seed(1)
    receiver_mask = torch.tensor([[True] * 4, [True, True, False, False], [True] * 4])
    giver_mask = torch.tensor([[True, True, True], [True, False, True], [False] * 3])
    return torch.randn(3, 4, SIZE), receiver_mask, torch.randn(3, 3, SIZE), giver_mask


def slow(attention: CrossAttention, receiver: torch.Tensor, givers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What one receiver (D,) becomes, and its heads' entropies (H,)."""
    size = SIZE // HEADS
    query, known = attention.query(attention.receiver_norm(receiver)), attention.giver_norm(givers)
    gathered, entropies = [], []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        temperature = torch.exp(attention.log_temperature)
        scores = [query[part] @ attention.key(g)[part] / (temperature * math.sqrt(size)) for g in known]
        weights = torch.stack([torch.exp(score) for score in scores])
        weights = weights / weights.sum()
        gathered.append(sum(w * attention.value(g)[part] for w, g in zip(weights, known, strict=True)))
        entropies.append(-(weights * weights.log()).sum())
    return receiver + attention.scale * attention.output(torch.cat(gathered)), torch.stack(entropies)


@torch.no_grad()
def test_attention_is_what_the_formula_says(attention, given):
    receivers, receiver_mask, givers, giver_mask = given
    found = attention(*given)
    entropies = []
    for row in range(3):
        for place in range(4):
            if not giver_mask[row].any():
                assert torch.equal(found[row, place], receivers[row, place])  # nothing to learn from: unchanged
                continue
            expected, entropy = slow(attention, receivers[row, place], givers[row, giver_mask[row]])
            torch.testing.assert_close(found[row, place], expected)
            if receiver_mask[row, place]:
                entropies.append(entropy)
    torch.testing.assert_close(attention.head_entropy(), torch.stack(entropies).mean(dim=0))


@torch.no_grad()
def test_what_is_masked_does_not_matter(attention, given):
    receivers, receiver_mask, givers, giver_mask = given
    changed = torch.where(giver_mask[..., None], givers, torch.full_like(givers, 1e4))
    torch.testing.assert_close(attention(receivers, receiver_mask, changed, giver_mask), attention(*given))


@torch.no_grad()
def test_the_order_of_givers_does_not_matter(attention, given):
    receivers, receiver_mask, givers, giver_mask = given
    order = torch.tensor([2, 0, 1])
    found = attention(receivers, receiver_mask, givers[:, order], giver_mask[:, order])
    torch.testing.assert_close(found, attention(*given))


@torch.no_grad()
def test_no_givers_at_all(attention, given):
    receivers, receiver_mask, givers, giver_mask = given
    assert torch.equal(attention(receivers, receiver_mask, givers[:, :0], giver_mask[:, :0]), receivers)
    assert torch.equal(attention.head_entropy(), torch.zeros(HEADS))


def test_projections_begin_orthogonal_and_are_held_so():
    attention = CrossAttention(SIZE, SETTINGS)
    assert attention.penalty().item() == pytest.approx(0, abs=1e-9)
    assert attention.log_temperature.exp().item() == pytest.approx(2)
    assert torch.equal(attention.head_entropy(), torch.zeros(HEADS))  # nothing was read yet
    with torch.no_grad():
        attention.key.weight.mul_(2)  # WᵀW - I = 3 I
    assert attention.penalty().item() == pytest.approx(9 * SIZE, rel=1e-5)
    optimizer = torch.optim.SGD(attention.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        attention.penalty().backward()
        optimizer.step()
    assert attention.penalty().item() < 1e-3


@torch.no_grad()
def test_a_hotter_attention_is_flatter(attention, given):
    attention(*given)
    before = attention.head_entropy()
    attention.log_temperature.add_(1)
    attention(*given)
    assert (attention.head_entropy() > before).all()


@torch.no_grad()
def test_both_directions_start_from_what_was_before(given):
    torch.manual_seed(0)
    transfer = KnowledgeTransfer(SIZE, SETTINGS, both=True)
    tokens, token_mask, items, item_mask = given
    told, asked = transfer(*given)
    torch.testing.assert_close(told, transfer.to_text(tokens, token_mask, items, item_mask))
    torch.testing.assert_close(asked, transfer.to_items(items, item_mask, tokens, token_mask))
    assert not torch.equal(asked, items)
    one_way = KnowledgeTransfer(SIZE, SETTINGS, both=False)
    assert one_way(*given)[1] is items
    assert one_way.to_items is None


def test_heads_divide_the_states():
    with pytest.raises(SettingsError, match=r"'num_heads' is 3; it takes a divisor of the backbone's hidden size 8"):
        CrossAttention(SIZE, EncoderSettings(num_heads=3))
