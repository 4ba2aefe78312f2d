"""Two embeddings as one: what each knows counts half, and one index searches both."""

import numpy as np

from intently.arrays import Float32Array


def concatenate_embeddings(first: Float32Array, second: Float32Array) -> Float32Array:
    """Return unit embeddings (B, D + E), whose inner product is the mean of the cosines of `first` and of `second`.

    Both are unit embeddings, (B, D) and (B, E). Raises `ValueError` if they are of different numbers of texts.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} embeddings to be joined with {len(second)}")
    return np.concatenate((first, second), axis=1).astype(np.float32) * np.float32(np.sqrt(0.5))
