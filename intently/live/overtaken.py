"""What later changes did while models still read ads, so that a reading that ends late overwrites nothing newer."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from intently.live.changes import Effect, Fields, Full, Replaced
from intently.live.numbers import AdNumbers
from intently.snapshot.attributes import ATTRIBUTE_FIELDS


class Overtaken:
    """The ads that models are reading, and the newest change of each ad and field since the oldest reading began.

    Not safe to share by threads: whoever holds the applier's lock uses it.
    """

    def __init__(self) -> None:
        self.being_read: dict[str, int] = {}  # ad_id → number of its unfinished readings
        self._whole: dict[str, int] = {}  # ad_id → number of the newest put or delete
        self._fields: dict[tuple[str, str], tuple[int, Any]] = {}  # (ad_id, field) → number, value of the newest patch

    def begin(self, effects: Iterable[Full]) -> None:
        """Note that models begin to read these ads."""
        for effect in effects:
            self.being_read[effect.ad_id] = self.being_read.get(effect.ad_id, 0) + 1

    def end(self, effects: Iterable[Full]) -> None:
        """Note that a reading of these ads has ended, and forget what no reading can overwrite any more."""
        for effect in effects:
            left = self.being_read.pop(effect.ad_id) - 1
            if left:
                self.being_read[effect.ad_id] = left
        if not self.being_read:
            self.forget()

    def forget(self) -> None:
        """Forget all changes."""
        self._whole, self._fields = {}, {}

    def remember(self, effects: Iterable[Effect]) -> None:
        """Note effects that are shown, for unfinished readings that came before them."""
        if not self.being_read:
            return
        for effect in effects:
            if isinstance(effect, Fields) and not isinstance(effect, Replaced):
                for name, value in effect.values.items():
                    key = effect.ad_id, name
                    if self._fields.get(key, (0, None))[0] < effect.seq:
                        self._fields[key] = effect.seq, value
            else:
                self._whole[effect.ad_id] = max(effect.seq, self._whole.get(effect.ad_id, 0))

    def left(self, effects: Sequence[Effect], numbers: AdNumbers) -> list[tuple[Effect, int]]:
        """Return the effects that still count, as they are now, each with its place among those that were read."""
        left: list[tuple[Effect, int]] = []
        place = -1
        for effect in effects:
            place += isinstance(effect, Full)
            if self._whole.get(effect.ad_id, 0) > effect.seq:
                continue
            if isinstance(effect, Fields):
                values = {
                    name: value
                    for name, value in effect.values.items()
                    if self._fields.get((effect.ad_id, name), (0, None))[0] < effect.seq
                }
                if effect.ad_id not in numbers or not values:
                    continue
                effect = replace(effect, values=values)
            elif isinstance(effect, Full) and (fields := self._newer_fields(effect)):
                effect = Full(replace(effect.ad, **fields), effect.seq)
            left.append((effect, place))
        return left

    def _newer_fields(self, effect: Full) -> dict[str, Any]:
        """Return the values of patches that came after a put and were shown before it."""
        return {
            name: newer[1]
            for name in ATTRIBUTE_FIELDS
            if (newer := self._fields.get((effect.ad_id, name))) and newer[0] > effect.seq
        }
