"""Masks out of Arrow's booleans."""

from typing import Any

import pyarrow.compute as pc

from intently.arrays import Mask


def mask_of(values: Any, *, default: bool = False) -> Mask:
    """Return a boolean array as NumPy, with `default` for null."""
    mask: Mask = pc.fill_null(values, default).to_numpy(zero_copy_only=False)
    return mask
