"""Whose turn it is: changes of an ad that depend on what it is now wait until other changes of it have ended."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager


class Turns:
    """Locks by name, held together by many or by one alone. All on one event loop."""

    def __init__(self) -> None:
        self._shared: Counter[str] = Counter()
        self._alone: set[str] = set()
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, names: Collection[str], *, alone: bool = False) -> AsyncIterator[None]:
        """Hold all names until the block ends: with others, or alone. Waits until none is held otherwise."""
        async with self._freed:
            await self._freed.wait_for(lambda: self._are_free(names, alone))
            if alone:
                self._alone.update(names)
            else:
                self._shared.update(names)
        try:
            yield
        finally:
            async with self._freed:
                if alone:
                    self._alone.difference_update(names)
                else:
                    self._shared.subtract(names)
                    for name in names:
                        if not self._shared[name]:
                            del self._shared[name]
                self._freed.notify_all()

    def _are_free(self, names: Collection[str], alone: bool) -> bool:
        return self._alone.isdisjoint(names) and not (alone and any(name in self._shared for name in names))
