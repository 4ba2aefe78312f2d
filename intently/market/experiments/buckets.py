"""Who gets which variant: a hash of the experiment's name and the unit, so that nothing has to be remembered."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import accumulate

from intently.errors import InputError
from intently.frozen import FrozenDict

NUM_BUCKETS = 10_000


def bucket_of(salt: str, unit: str, num_buckets: int = NUM_BUCKETS) -> int:
    """Return a unit's bucket, 0 to `num_buckets` - 1: always the same, uniform, independent between two salts.

    BLAKE2b of the salt and the unit, so it is the same on every machine and in every version. Cost: a microsecond.
    """
    digest = blake2b(f"{salt}\0{unit}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) * num_buckets >> 64


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment: its name, which salts the buckets, and the share of units for each variant.

    Shares may sum to less than 1: the other units take no part. Units are whatever stays with one variant: users,
    sessions, queries. Variants lie on the buckets in their order, so raising the last share moves nobody else.
    """

    name: str
    shares: Mapping[str, float]
    _ends: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("the experiment has no name", cure="name it: the name salts its buckets", field="name")
        shares = list(self.shares.values())
        if len(shares) < 2 or min(shares) <= 0 or sum(shares) > 1 + 1e-9:
            told = f"got {dict(self.shares)}"
            raise InputError(told, cure="give at least 2 variants shares above 0 that sum to at most 1", field="shares")
        object.__setattr__(self, "shares", FrozenDict(self.shares))
        object.__setattr__(self, "_ends", tuple(round(each * NUM_BUCKETS) for each in accumulate(shares)))

    def bucket(self, unit: str) -> int:
        """Return a unit's bucket."""
        return bucket_of(self.name, unit)

    def variant(self, unit: str) -> str | None:
        """Return a unit's variant, None if it takes no part."""
        at = bisect_right(self._ends, self.bucket(unit))
        return None if at == len(self._ends) else list(self.shares)[at]
