"""An engine that follows the current generation of a directory, for a process that outlives builds."""

import logging
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from intently.engine.engine import Engine
from intently.generation import current_id
from intently.types import Change, Delete, Patch, Put, Ranking, Request

logger = logging.getLogger(__name__)


class CurrentEngine:
    """Answers from a directory's current generation. Safe to share by threads.

    `refresh` goes over to a generation that was published, or rolled back to, since. It applies the changes that were
    made here since the first load to that generation too, so none is lost. One generation alone answers a request.
    """

    def __init__(self, path: str | Path, **load: Any) -> None:
        """Load the current generation in the directory `path`. `load` holds further arguments of `Engine.load`."""
        self._path, self._load = Path(path), load
        self._engine = Engine.load(self._path, **load)
        self._changed: dict[str, None] = {}  # ids of ads that were changed here, in order
        self._lock = threading.Lock()  # held while changes are noted, and while the engine is replaced
        self._refreshing = threading.Lock()

    @property
    def engine(self) -> Engine:
        """The engine as it is now. Take it once for work that has to come from one generation."""
        return self._engine

    def answer(self, request: Request) -> Ranking:
        """Return the best eligible ads for a request; the ranking names the generation that answered."""
        return self._engine.answer(request)

    def apply(self, changes: Iterable[Change]) -> int:
        """Apply a batch of changes as `Engine.apply` does. They outlive a refresh, but not the process."""
        wanted = list(changes)
        while True:
            engine = self._engine
            seq = engine.apply(wanted)
            with self._lock:
                if engine is self._engine:
                    for change in wanted:
                        self._changed[_ad_id(change)] = None
                    return seq
            # The engine was replaced meanwhile, without these changes: make them again on the new one.

    def refresh(self) -> bool:
        """Go over to the current generation if it is another one; return whether it was.

        Queries and changes go on meanwhile; changes wait only while the last of them are applied again. Raises
        `ArtifactError`, and keeps the engine that it has, if the generation cannot be trusted.
        """
        with self._refreshing:
            if current_id(self._path) == self._engine.generation:
                return False
            newer = Engine.load(self._path, **self._load)
            with self._lock:
                changed = list(self._changed)
            newer.apply(self._as_they_are(changed))
            with self._lock:
                # Apply again everything that changed since the list was taken, ads of the list included.
                newer.apply(self._as_they_are(list(self._changed)))
                newer.number_from(self._engine.snapshot.seq)
                before, self._engine = self._engine, newer
            logger.info("went over from generation %s to %s", before.generation, newer.generation)
            return True

    def _as_they_are(self, ad_ids: Iterable[str]) -> list[Change]:
        """Return the changes that make ads what they are now. Those whose text is the same there cost no model call."""
        return [Delete(ad_id) if (ad := self._engine.ad(ad_id)) is None else Put(ad) for ad_id in ad_ids]


def _ad_id(change: Put | Patch | Delete) -> str:
    return change.ad.ad_id if isinstance(change, Put) else change.ad_id
