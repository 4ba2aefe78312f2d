"""Merging an ad's generated queries and keywords into one vector (BRIDGE, section 4.1.1).

The two come from different models and in different styles. The gate chooses between them, dimension by dimension;
concatenation is the baseline. Where an ad has one kind only, it is taken as it is; where none, nothing is added.

Shape letters: B batch, D hidden size.
"""

import torch
from torch import Tensor, nn


class GatedMerge(nn.Module):
    """g ⊙ h_gen + (1 - g) ⊙ h_kw with g = σ(W[h_gen; h_kw] + b)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * hidden_size, hidden_size)
        nn.init.normal_(self.linear.weight, std=0.02)  # the paper's, for a stable start near g = ½
        nn.init.zeros_(self.linear.bias)

    def forward(self, generated: Tensor, keywords: Tensor, has_generated: Tensor, has_keywords: Tensor) -> Tensor:
        """Return the merged vectors (B, D) of two (B, D), zero where the flag (B,) says that there is none."""
        gate = torch.sigmoid(self.linear(torch.cat((generated, keywords), dim=1)))
        both = (has_generated & has_keywords).unsqueeze(1)
        gate = torch.where(both, gate, has_generated.unsqueeze(1).to(gate.dtype))
        return gate * generated + (1 - gate) * keywords


class ConcatenatedMerge(nn.Module):
    """W[h_gen; h_kw]; W begins as the mean of both, which is also where the gate begins."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * hidden_size, hidden_size, bias=False)  # so that nothing stays nothing
        with torch.no_grad():
            self.linear.weight.copy_(torch.cat((torch.eye(hidden_size),) * 2, dim=1) / 2)

    def forward(self, generated: Tensor, keywords: Tensor, has_generated: Tensor, has_keywords: Tensor) -> Tensor:
        """Return the merged vectors (B, D) of two (B, D), which are zero where there is none."""
        merged: Tensor = self.linear(torch.cat((generated, keywords), dim=1))
        return merged
