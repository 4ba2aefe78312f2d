"""What beams may see: a prompt is stored once and shared by its beams, as is each beam's token by those it led to.

All beams of a prompt are positions of one sequence: first the prompt's tokens, then every token that any beam was
given, step by step. Keys and values are only ever appended. Which beam continues which is told by a mask, so no beam's
past is copied or put in order. (Attention over a tree of tokens, as in speculative decoding.)
"""

import numpy as np

from intently.arrays import IntArray, Mask


class Ancestry:
    """Which of the stored positions each beam of B prompts descends from.

    `positions (B, K)` are the places in the text of the K stored positions; `lengths (B,)` are the prompts' lengths.
    """

    def __init__(self, lengths: IntArray, num_source: int) -> None:
        """The prompts are padded on the right to `num_source` positions S."""
        self.lengths = lengths
        self.positions = np.broadcast_to(np.arange(num_source), (len(lengths), num_source))
        self._seen = (self.positions < lengths[:, None])[:, None, :]  # (B, 1, S): the one beam before the first step
        self._num_steps = 0

    def advance(self, parents: IntArray) -> tuple[IntArray, Mask]:
        """Give each prompt W new beams, beam w continuing `parents[b, w]` of the step before.

        Returns the new tokens' places in the text (B, 1), and which positions each beam sees (B, W, K + W): those of
        its parent and its own.
        """
        num_prompts, num_beams = parents.shape
        inherited = self._seen[np.arange(num_prompts)[:, None], parents]
        own = np.broadcast_to(np.eye(num_beams, dtype=bool), (num_prompts, num_beams, num_beams))
        self._seen = np.concatenate((inherited, own), axis=2)
        at = (self.lengths + self._num_steps)[:, None]
        self.positions = np.concatenate((self.positions, np.repeat(at, num_beams, axis=1)), axis=1)
        self._num_steps += 1
        return at, self._seen
