"""Random changes, restarts, publishes, rollbacks, compactions and restores against a dictionary.

A generation's ads are those that it was built with, and what the log did after the change that it was built at. After
each step the engine has exactly those ads, and a follower too; after a restart it answers as before, and no model read
an ad again.

More operations: INTENTLY_MODEL_OPERATIONS=500000 INTENTLY_MODEL_SEED=7 pytest tests/live/log/test_durable_model.py
"""

import os
import random
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from intently.catalog import Catalog
from intently.engine.current import CurrentEngine
from intently.engine.engine import Engine
from intently.generation import roll_back
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.live import merging
from intently.live.ad_reader import AdReader
from intently.live.log import compaction, open_log, sql
from intently.types import Ad, Channel, Delete, Patch, Put, Request
from tests.engine.small_engine import TEXTS, make_engine, save
from tests.live.hashed_reader import HashedReader
from tests.live.test_changes_model import IDS, QUERIES, some_ad, some_attributes, some_patch

OPERATIONS = int(os.environ.get("INTENTLY_MODEL_OPERATIONS", "2000"))
SEED = int(os.environ.get("INTENTLY_MODEL_SEED", "0"))
NUM_BUILT = 60
STEPS = ("change",) * 60 + ("restart",) * 3 + ("publish", "publish contained", "roll back", "compact", "merge") + (
    "back up", "restore", "follow",
)  # fmt: skip


@dataclass
class Reference:
    """The plain meaning of changes, generations and backups."""

    done: list[tuple[int, str, Ad | dict[str, object] | None]] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    generations: dict[str, tuple[int, dict[str, Ad]]] = field(default_factory=dict)
    current: str = ""
    ads: dict[str, Ad] = field(default_factory=dict)  # as they are now

    def go_to(self, generation: str) -> None:
        self.current = generation
        seq, built = self.generations[generation]
        self.ads = dict(built)
        for when, change in zip(self.seqs, self.done, strict=True):
            if when > seq:
                self._change(*change)

    def change(self, seq: int, changes: list[object]) -> None:
        for change in changes:
            if isinstance(change, Put):
                told = (change.ad.ad_id, "put", change.ad)
            elif isinstance(change, Delete):
                told = (change.ad_id, "delete", None)
            elif "title" in change.fields:
                told = (change.ad_id, "put", replace(self.ads[change.ad_id], **change.fields))
            else:
                told = (change.ad_id, "patch", dict(change.fields))
            self.done.append(told)
            self.seqs.append(seq)
            self._change(*told)

    def _change(self, ad_id: str, kind: str, value: object) -> None:
        if kind == "put":
            self.ads[ad_id] = value
        elif kind == "delete":
            self.ads.pop(ad_id, None)
        elif ad_id in self.ads:
            self.ads[ad_id] = replace(self.ads[ad_id], **value)


def ads_of(engine: Engine) -> dict[str, Ad]:
    snapshot = engine.snapshot
    return {ad.ad_id: ad for ad in map(snapshot.ad, np.flatnonzero(snapshot.alive).tolist())}


def answers(current: CurrentEngine) -> list[tuple[str, float]]:
    found = [current.answer(Request(query, 15, channel=channel)) for query in QUERIES for channel in Channel]
    return [(ad.ad_id, round(ad.score, 6)) for one in found for ad in one.ads]


def batch_of(rng: random.Random, ads: dict[str, Ad]) -> list[object]:
    batch: list[object] = []
    for ad_id in rng.sample(IDS, rng.choice([1, 1, 2, 5, 20])):
        kind = rng.random()
        if kind < 0.25:
            batch.append(Put(some_ad(rng, ad_id)))
        elif kind < 0.35 and ad_id in ads:
            batch.append(Put(replace(ads[ad_id], **some_attributes(rng))))
        elif kind < 0.75 and ad_id in ads:
            batch.append(Patch(ad_id, some_patch(rng)))
        elif kind < 0.8 and ad_id in ads:
            batch.append(Patch(ad_id, {"title": some_ad(rng, ad_id).title, "bid": 3.0}))
        else:
            batch.append(Delete(ad_id))
    return batch


@pytest.fixture
def world(make_student, tmp_path, monkeypatch):
    plain = make_engine(make_student(3))
    statistics = LexicalIndex.build(plain.catalog.strings("title"), LexicalSettings()).statistics
    reader = HashedReader(len(TEXTS), plain.student.dimension, statistics, has_tokens=False)
    monkeypatch.setattr(AdReader, "parts", lambda self, catalog: reader.parts(catalog))
    monkeypatch.setattr(AdReader, "segment", lambda self, catalog, parts: reader.segment(catalog, parts))
    monkeypatch.setattr(merging, "MIN_LOOSE", 60)
    monkeypatch.setattr(compaction, "KEEP_RECENT", 100)
    monkeypatch.setattr(compaction, "_FOLDED_AT_ONCE", 20)
    monkeypatch.setattr(sql, "PAGE", 70)

    def publish(ads: dict[str, Ad], seq: int) -> str:
        catalog = Catalog.from_ads(ads.values())
        segment = reader.read(catalog)
        intentions = replace(plain.intentions, postings=segment.postings)
        built = Engine(catalog, plain.student, intentions, segment.vectors, segment.lexical, plain.settings)
        save(built, tmp_path, seq=seq)
        return (tmp_path / "CURRENT").read_text().strip()

    return reader, publish


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_changes_restarts_and_generations_equal_a_dictionary(world, tmp_path, kind, request):
    reader, publish = world
    rng = random.Random(SEED)
    place = request.getfixturevalue("postgres") if kind == "postgres" else str(tmp_path / "changes.db")
    built = {f"ad{number}": some_ad(rng, f"ad{number}") for number in range(NUM_BUILT)}
    model = Reference()
    first = publish(built, 0)
    model.generations[first] = (0, built)
    model.go_to(first)

    def opened() -> CurrentEngine:
        return CurrentEngine(tmp_path, log=open_log(place, reserve_bytes=0), follow_s=None)

    current, follower = opened(), opened()
    backup: tuple[int, str] | None = None  # number of changes in it
    num_operations, num_steps = 0, dict.fromkeys(STEPS, 0)
    while num_operations < OPERATIONS // (4 if kind == "postgres" else 1):
        step = rng.choice(STEPS)
        num_steps[step] += 1
        if step == "change":
            batch = batch_of(rng, model.ads)
            seq = current.apply(batch)
            assert seq == current.seq
            model.change(seq, batch)
            num_operations += len(batch)
        elif step == "restart":
            before, num_read = answers(current), reader.num_read
            current.close()
            current = opened()
            assert reader.num_read == num_read, "a model read an ad again"
            assert answers(current) == before
        elif step.startswith("publish"):
            contained = step != "publish"
            base = dict(model.ads) if contained and model.ads else built
            generation = publish(base, current.seq if base is not built else 0)
            model.generations[generation] = (current.seq if base is not built else 0, base)
            assert current.refresh()
            model.go_to(generation)
        elif step == "roll back":
            generation = rng.choice(list(model.generations))
            roll_back(tmp_path, generation)
            assert current.refresh() == (generation != model.current)
            model.go_to(generation)
        elif step == "compact":
            current.own()
            current.compact()
        elif step == "merge":
            current.engine._live.wait()
        elif step == "back up" and current.seq and model.done:
            current.log.backup(tmp_path / "backup.db")
            backup = len(model.done), model.current
        elif step == "restore" and backup:
            current.log.restore(tmp_path / "backup.db")
            model.done, model.seqs = model.done[: backup[0]], model.seqs[: backup[0]]
            # A generation that was built later contains changes that the log does not know any more.
            model.generations = {
                name: each for name, each in model.generations.items() if each[0] <= (model.seqs or [0])[-1]
            }
            if model.current not in model.generations:
                roll_back(tmp_path, next(iter(model.generations)))
            current.refresh()
            current.catch_up()
            model.go_to(current.engine.generation)
        elif step == "follow":
            follower.refresh()
            assert follower.catch_up() == current.seq
            assert ads_of(follower.engine) == model.ads
            assert answers(follower) == answers(current)
        assert ads_of(current.engine) == model.ads, step
    assert current.log.verify().problems == ()
    assert current.log.facts().num_entries < 2 * len(IDS) + 400
    if sum(num_steps.values()) > 1_000:  # fewer may leave the rarest step out
        assert min(num_steps.values()) > 0
    for each in (current, follower):
        each.engine._live.wait()
        each.close()
