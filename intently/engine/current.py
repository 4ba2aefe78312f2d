"""An engine that follows the current generation of a directory and its log, for a process that outlives builds."""

import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from intently.engine.cache_store import CacheStore
from intently.engine.engine import Engine
from intently.engine.fill_cache import fill_runtime_cache
from intently.engine.head_queries import HeadQueries
from intently.engine.runtime_cache import RuntimeCache
from intently.errors import LogError, LogRewoundError, ReplacedError
from intently.generation import current_id, seq_of_all
from intently.live.log import ChangeLog, Receipt, open_log
from intently.process import give_back_memory
from intently.types import Ad, Change, PutList, Ranking, Request

logger = logging.getLogger(__name__)

_NUM_HEAD = 256  # queries that are decoded for a generation before it answers
_NEARLY = 100  # changes that may be left when changes begin to wait for a new generation
_ENDED_S = 1.0  # after which no query holds the engine before any more


class CurrentEngine:
    """Answers from a directory's current generation, with the changes of its log. Safe to share by threads.

    Changes are on disk when `apply` returns, and a restart shows them again without a model. `refresh` goes over to a
    generation that was published, or rolled back to, since; changes that it does not contain are applied to it. One
    generation alone answers a request.

    One process at a time writes: the one that applied a change first. The others follow what it writes.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        log: ChangeLog | str | Path | None = None,
        follow_s: float | None = 0.25,
        cache: CacheStore | None = None,
        **load: Any,
    ) -> None:
        """Load the current generation in the directory `path`, and apply its log.

        `log` is the log, or where it lies (`open_log`): by default `changes.db` in the directory; `memory` for changes
        that do not outlive the process. Every `follow_s` seconds the engine looks for changes of other processes, None:
        only when `catch_up` or a request's `min_seq` asks. `cache` keeps what queries are decoded to, behind
        the engine's own cache of head queries; it is closed with the engine. `load` holds further arguments of
        `Engine.load`.
        """
        self._path, self._load, self.cache, self._head = Path(path), load, cache, HeadQueries()
        self._log = open_log(self._path if log is None else log) if isinstance(log, str | Path | None) else log
        self._lock = threading.Lock()  # held while the engine is replaced
        self._refreshing = threading.RLock()
        self._engine = self._loaded()
        self._stop = threading.Event()
        if follow_s is not None and log != "memory":
            follower = threading.Thread(
                target=_follow, args=(weakref.ref(self), self._stop, follow_s), name="intently-follow", daemon=True
            )
            follower.start()
            weakref.finalize(self, self._stop.set)

    @property
    def engine(self) -> Engine:
        """The engine as it is now. Take it once for work that has to come from one generation."""
        return self._engine

    @property
    def log(self) -> ChangeLog:
        """The log of changes."""
        return self._log

    @property
    def seq(self) -> int:
        """The number of the newest change that answers show."""
        return self._engine.snapshot.seq

    def answer(self, request: Request) -> Ranking:
        """Return the best eligible ads for a request; the ranking names the generation that answered."""
        return self._engine.answer(request)

    def ad(self, ad_id: str) -> Ad | None:
        """Return the ad with this id as queries see it, None if it is not there."""
        return self._engine.ad(ad_id)

    def own(self) -> None:
        """Become the one process that writes, instead of at the first change.

        Raises `LogBusyError` if another process is. Repairs a damaged log; `log.recovered` tells what was lost.
        """
        self._log.own(self.seq)
        self.catch_up()

    def apply(self, changes: Iterable[Change | PutList], *, receipt: Callable[[int], Receipt] | None = None) -> int:
        """Apply a batch of changes as `Engine.apply` does, and return its number once it is on disk and shown.

        A request with this number as `min_seq` sees the batch, whichever process answers it. Raises `LogBusyError` if
        another process writes; `LogFullError` if the disk is full (deletes and pauses are taken all the same); another
        `LogError` if the log cannot be written. After an error nothing has happened, or, if the disk itself failed,
        nothing that the next start would not show.
        """
        wanted = list(changes)
        return self._on_current(lambda engine: engine.apply(wanted, receipt=receipt))

    def add_ads(self, ads: Iterable[Ad], *, replace: bool = False) -> int:
        """Add ads as `Engine.add_ads` does, on disk and in whichever generation is current."""
        wanted = list(ads)
        return self._on_current(lambda engine: engine.add_ads(wanted, replace=replace))

    def remove_ads(self, ad_ids: Iterable[str]) -> int:
        """Remove ads as `Engine.remove_ads` does, on disk and in whichever generation is current."""
        wanted = ad_ids if isinstance(ad_ids, str) else list(ad_ids)
        return self._on_current(lambda engine: engine.remove_ads(wanted))

    def catch_up(self) -> int:
        """Apply what other processes have written since; return the number of the newest change shown."""
        try:
            return self._engine.catch_up()
        except LogRewoundError:
            with self._refreshing:
                self._replace(self._loaded())
            return self.seq

    def refresh(self) -> bool:
        """Go over to the current generation if it is another one; return whether it was.

        Queries and changes go on meanwhile; changes wait only while the last of them are applied again. Models read
        those ads of the log again that other models had read, if the new generation does not contain them. Raises
        `ArtifactError`, and keeps the engine that it has, if the generation cannot be trusted.
        """
        with self._refreshing:
            if current_id(self._path) == self._engine.generation:
                return False
            newer = self._loaded()
            if num := fill_runtime_cache(newer, self._head.most(_NUM_HEAD)):
                logger.info("decoded %d frequent queries for generation %s", num, newer.generation)
            before = self._engine
            self._replace(newer)
            logger.info("went over from generation %s to %s", before.generation, newer.generation)
            if self._log.is_owned:
                self.compact()
            giving_back = threading.Timer(_ENDED_S, give_back_memory)
            giving_back.daemon = True
            giving_back.start()
            return True

    def compact(self) -> None:
        """Remove entries of the log that later ones supersede, or that all generations on disk contain."""
        self._log.compact(seq_of_all(self._path))

    def close(self) -> None:
        """Write what was applied, and let another process write. Queries are still answered."""
        self._stop.set()
        self._log.close()
        if self.cache is not None:
            self.cache.close()

    def __enter__(self) -> "CurrentEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _loaded(self) -> Engine:
        """Return the current generation with all changes of the log."""
        engine = Engine.load(self._path, **self._load)
        if self.cache is not None and engine.student is not None:
            engine.runtime_cache = RuntimeCache(
                self.cache,
                self._head,
                engine.generation,
                engine.models,
                engine.settings,
                len(engine.intentions.texts),
            )
        try:
            engine.join(self._log)
        except LogRewoundError:
            raise
        except LogError as error:
            # A damaged log is repaired by whoever may write. If nobody may, the reason is the error.
            logger.warning("%s", error)
            self._log.own(engine.snapshot.seq)
            engine.join(self._log)
        return engine

    def _replace(self, newer: Engine) -> None:
        """Let `newer` answer, with everything that has changed meanwhile."""
        while self._log.appended - newer.catch_up() > _NEARLY:
            pass
        before = self._engine
        with self._lock:
            before.retire(f"generation {newer.generation} has taken the place of {before.generation}")
            try:
                newer.catch_up()
            except BaseException:
                before.resume()
                raise
            self._engine = newer

    def _on_current(self, change: Any) -> int:
        while True:
            engine = self._engine
            try:
                seq: int = change(engine)
            except LogRewoundError:
                self.catch_up()
            except ReplacedError:
                with self._lock:  # wait until the other generation has everything
                    if self._engine is engine:
                        raise
            else:
                return seq


def _follow(reference: "weakref.ref[CurrentEngine]", stop: threading.Event, every_s: float) -> None:
    """Look for changes of other processes until the engine is gone."""
    problem = ""
    while not stop.wait(every_s):
        current = reference()
        if current is None:
            return
        if current.log.is_owned:
            continue
        try:
            current.catch_up()
            problem = ""
        except Exception as error:  # of any kind: answers go on
            if str(error) != problem:
                problem = str(error)
                logger.error("changes of other processes cannot be followed: %s", error)
        del current
