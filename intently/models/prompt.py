"""What beams may see: a prompt is stored once and shared by its beams, as is each beam's token by those it led to.

All beams of a prompt are positions of one sequence: first the prompt's tokens, then every token that any beam was
given, step by step. Keys and values are only ever appended. Which beam continues which is told by a mask, so no beam's
past is copied or put in order. (Attention over a tree of tokens, as in speculative decoding.)
"""

import torch
from torch import Tensor

from intently.arrays import IntArray


class Ancestry:
    """Which of the stored positions each beam of B prompts descends from.

    `positions (B, K)` are the places in the text of the K stored positions; `lengths (B,)` are the prompts' lengths.
    """

    def __init__(self, lengths: Tensor, num_source: int) -> None:
        """The prompts are padded on the right to `num_source` positions S."""
        self.lengths = lengths
        self.positions = torch.arange(num_source, device=lengths.device).expand(len(lengths), -1)
        self._seen = (self.positions < lengths[:, None])[:, None, :]  # (B, 1, S): the one beam before the first step
        self._num_steps = 0

    def advance(self, parents: IntArray) -> tuple[Tensor, Tensor]:
        """Give each prompt W new beams, beam w continuing `parents[b, w]` of the step before.

        Returns the new tokens' places in the text (B, 1), and which positions each beam sees (B, W, K + W): those of
        its parent and its own.
        """
        num_prompts, num_beams = parents.shape
        device = self.lengths.device
        chosen = torch.from_numpy(parents).to(device)
        inherited = self._seen[torch.arange(num_prompts, device=device)[:, None], chosen]
        own = torch.eye(num_beams, dtype=torch.bool, device=device).expand(num_prompts, -1, -1)
        self._seen = torch.cat((inherited, own), dim=2)
        at = (self.lengths + self._num_steps)[:, None]
        self.positions = torch.cat((self.positions, at.expand(-1, num_beams)), dim=1)
        self._num_steps += 1
        return at, self._seen
