"""Random changes against a dictionary: an engine with everything on, conflicting writers, slow readers, merges.

More operations: INTENTLY_MODEL_OPERATIONS=500000 pytest tests/live/test_changes_model.py
"""

import os
import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from intently.build.training.fusion import FusionExample, FusionSettings, train_fusion
from intently.catalog import Catalog, checked_user
from intently.engine.answerer import FUSED_CHANNELS
from intently.engine.engine import Engine
from intently.engine.fusion_features import feature_names, rising
from intently.engine.learned_fusion import LearnedFusion
from intently.engine.settings import RetrievalSettings
from intently.errors import InputError
from intently.filters import column
from intently.index.coarse import CoarseEngine, CoarseSettings
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.index.vectors import VectorIndex
from intently.intentions.decode import DecodeSettings
from intently.live import merging
from intently.models.encoder.settings import EncoderSettings
from intently.models.student import Runtime
from intently.snapshot.segment import CONTENT_FIELDS
from intently.types import Ad, Channel, Delete, Patch, Put, UserContext
from tests.engine.small_engine import TEXTS, make_engine
from tests.engine.test_engine_bridge import make_encoder
from tests.live.hashed_reader import TOKEN_SIZE, HashedReader

OPERATIONS = int(os.environ.get("INTENTLY_MODEL_OPERATIONS", "20000"))
NUM_BUILT, NUM_COARSE = 200, 1_100  # ads as built; a coarse stage begins at 1,000
IDS = [f"ad{number}" for number in range(300)]
WORDS = [
    "red",
    "blue",
    "robot",
    "vacuum",
    "drill",
    "bit",
    "pan",
    "lamp",
    "led",
    "kettle",
    "扫地机器人",
    "水壶",
    "gizmo",
]
USERS = [None, UserContext(country="DE", audiences=frozenset({"cooks"})), UserContext(language="en", device="mobile")]
QUERIES = ["red robot vacuum", "扫地机器人 kettle", "blue drill gizmo"]


def some_ad(rng: random.Random, ad_id: str, *, slow: bool = False) -> Ad:
    words = rng.choices(WORDS, k=rng.randint(1, 4)) + ["slow"] * slow
    return Ad(
        ad_id, " ".join(words), keywords=tuple(rng.sample(["pan", "lamp"], rng.randint(0, 1))), **some_attributes(rng)
    )


def some_attributes(rng: random.Random) -> dict[str, object]:
    return {
        "bid": rng.choice([None, 0.1, 2.5]),
        "status": rng.choice(["active", "active", "active", "paused"]),
        "countries": rng.choice([(), (), ("DE",), ("CN", "US")]),
        "languages": rng.choice([(), (), ("de", "en")]),
        "devices": rng.choice([(), ("mobile",)]),
        "audiences": rng.choice([(), (), ("cooks",), (f"tag{rng.randint(0, 99)}",)]),
        "payload": rng.choice([{}, {"price": rng.randint(0, 9)}, {"price": 2.5, "颜色": ["红"]}]),
    }


def some_patch(rng: random.Random) -> dict[str, object]:
    fields = some_attributes(rng)
    return {name: fields[name] for name in rng.sample(sorted(fields), rng.randint(1, 3))}


@dataclass
class World:
    """What all examples share: models, a fusion, the ads as built, and engines over them."""

    plain: Engine
    encoder: object
    fusion: LearnedFusion
    reader: HashedReader
    built: dict[str, Ad]  # of which small examples take the first
    settings: RetrievalSettings

    def engine(self, ads: dict[str, Ad], coarse: CoarseSettings | None = None) -> Engine:
        catalog = Catalog.from_ads(ads.values())
        reader = self.reader
        segment = reader.read(catalog)
        vectors = VectorIndex.build(reader.vectors(catalog), coarse) if coarse else segment.vectors
        return Engine(
            catalog, self.plain.student, replace(self.plain.intentions, postings=segment.postings), vectors,
            segment.lexical, self.settings, titles=segment.titles, encoder=self.encoder, tokens=segment.tokens,
            fusion=self.fusion,
        )  # fmt: skip


@pytest.fixture(scope="module")
def world(make_student, tokenizer_json) -> World:
    pytest.importorskip("lightgbm")
    pytest.importorskip("faiss")
    chosen = RetrievalSettings(
        decode=DecodeSettings(num_beams=5), runtime=Runtime.TORCH, num_candidates=40, num_feedback_ads=2
    )
    plain = make_engine(make_student(3), chosen)
    encoder = make_encoder(tokenizer_json, EncoderSettings(layer_fusion=True, token_dimension=TOKEN_SIZE))
    names, rng = feature_names(FUSED_CHANNELS), np.random.default_rng(0)
    lexical, dense = names.index("lexical score"), names.index("dense score")
    tables = [rng.normal(size=(40, len(names))).astype(np.float32) for _ in range(40)]
    examples = [FusionExample(one, (one[:, lexical] + one[:, dense] > 1).astype(np.int64)) for one in tables]
    learning = FusionSettings(
        min_queries=10, max_trees=10, num_leaves=4, min_leaf=5, learning_rate=0.3, feature_share=1
    )
    trained = train_fusion(examples, rising(FUSED_CHANNELS), learning)
    fusion = LearnedFusion(FUSED_CHANNELS, trained.model, trained.weights, depth=30)
    draw = random.Random(0)
    built = {f"ad{number}": some_ad(draw, f"ad{number}") for number in range(NUM_COARSE)}
    catalog = Catalog.from_ads(built.values())
    statistics = LexicalIndex.build(catalog.strings("title"), LexicalSettings()).statistics
    dimension = plain.student.dimension + encoder.dimension
    return World(plain, encoder, fusion, HashedReader(len(TEXTS), dimension, statistics, True), built, chosen)


@dataclass
class Pending:
    """A slow put on its way: what the dictionary will be once it is there, unless something later came."""

    future: Future[int]
    ad: Ad
    entered: int


class Machine(RuleBasedStateMachine):
    """An engine and a dictionary. Changes count in the order in which they were begun, whoever was through first."""

    world: World
    num_operations = 0

    @initialize(min_loose=st.sampled_from([20, 400, 4096]), coarse=st.sampled_from([False, False, False, True]))
    def begin(self, min_loose: int, coarse: bool) -> None:
        merging.MIN_LOOSE = min_loose
        self.coarse = coarse
        built = dict(list(self.world.built.items())[: NUM_COARSE if coarse else NUM_BUILT])
        flat = CoarseSettings(CoarseEngine.FLAT, min_candidates=200, rescored_share=0.3)
        self.engine = self.world.engine(built, flat if coarse else None)
        self.reader = replace_reader(self.engine, self.world.reader)
        self.ads = built
        self.last_seq = 0
        self.pool = ThreadPoolExecutor(8)
        self.pending: list[Pending] = []
        self.whole: dict[str, int] = {}  # ad_id → when it was last put or deleted
        self.fields: dict[str, list[tuple[int, dict[str, object]]]] = {}  # patches since a slow put began
        self.clock = 0

    @rule(seed=st.integers(0, 2**32 - 1))
    def change(self, seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(rng.randint(20, 60)):
            batch = [self._some_change(rng) for _ in range(rng.choice([1, 1, 2, 5, 20, 60]))]
            self._apply(batch)

    @rule(seed=st.integers(0, 2**32 - 1))
    def short_forms(self, seed: int) -> None:
        rng = random.Random(seed)
        ads = {ad_id: some_ad(rng, ad_id) for ad_id in rng.sample(IDS, 4)}
        try:
            self.engine.add_ads(ads.values())
        except InputError:
            assert self._known() & set(ads)
            self.engine.add_ads(ads.values(), replace=True)
        for ad in ads.values():
            self._put(ad)
        there = [ad_id for ad_id in rng.sample(IDS, 4) if ad_id in self.ads]
        self.engine.remove_ads(there)
        for ad_id in there:
            self._delete(ad_id)
        type(self).num_operations += 4 + len(there)

    @rule(seed=st.integers(0, 2**32 - 1))
    def put_slowly(self, seed: int) -> None:
        """Begin to put ads in a thread of their own; nobody waits for the models that read them."""
        rng = random.Random(seed)
        if len(self.pending) >= 6:
            return
        self.reader.gate.clear()
        ad = some_ad(rng, rng.choice([*self.ads][:50] or IDS), slow=True)
        self.clock += 1
        entered = threading.Event()
        future = self.pool.submit(self._enter, [Put(ad)], entered)
        assert entered.wait(300)
        while not future.done() and self.engine._live._overtaken.being_read.get(ad.ad_id, 0) <= sum(
            one.ad.ad_id == ad.ad_id for one in self.pending
        ):
            pass
        if future.done():  # its text was there already
            self._put(ad)
        else:
            self.pending.append(Pending(future, ad, self.clock))
        type(self).num_operations += 1

    @precondition(lambda self: self.pending)
    @rule()
    def let_them_through(self) -> None:
        self.reader.gate.set()
        for one in self.pending:
            one.future.result(300)
        for one in sorted(self.pending, key=lambda one: one.entered):
            if self.whole.get(one.ad.ad_id, 0) < one.entered:
                ad = one.ad
                for when, values in self.fields.get(ad.ad_id, []):
                    if when > one.entered:
                        ad = replace(ad, **values)
                self.ads.pop(ad.ad_id, None)
                self.ads[ad.ad_id] = ad
                self.whole[ad.ad_id] = one.entered
        self.pending, self.whole, self.fields = [], {}, {}

    @precondition(lambda self: not self.pending)
    @rule()
    def merge_all(self) -> None:
        self.engine._live.wait()

    @precondition(lambda self: not self.pending)
    @rule(query=st.sampled_from(QUERIES), user=st.sampled_from(USERS))
    def compare(self, query: str, user: UserContext | None) -> None:
        """Compare with an engine that is built from the dictionary."""
        snapshot = self.engine.snapshot
        told = {ad.ad_id: ad for ad in map(snapshot.ad, np.flatnonzero(snapshot.alive).tolist())}
        assert told == self.ads
        eligible = {ad.ad_id for ad in self.ads.values() if may_see(ad, user)}
        rows = np.flatnonzero(snapshot.eligible(checked_user(user)))
        assert {snapshot.ad_id(row) for row in rows.tolist()} == eligible
        cheap = {ad.ad_id for ad in self.ads.values() if ad.payload.get("price", 9) < 5}
        if cheap:  # else it may be that no ad has a price
            rows = np.flatnonzero(snapshot.matching(column("price") < 5) & snapshot.alive)
            assert {snapshot.ad_id(row) for row in rows.tolist()} == cheap
        expected = self.world.engine({ad_id: self.ads[ad_id] for ad_id in told})
        for channel in Channel:
            ours, theirs = (one.retrieve(query, 20, user=user, channel=channel) for one in (self.engine, expected))
            scores = {ad.ad_id: ad.score for ad in theirs.ads}
            assert {ad.ad_id for ad in ours.ads} <= eligible
            if self.coarse and channel in (Channel.DENSE, Channel.FUSED):
                continue  # what a coarse stage leaves out may differ
            assert [ad.score for ad in ours.ads] == pytest.approx([ad.score for ad in theirs.ads], abs=1e-4)
            for ad in ours.ads:
                assert ad.score == pytest.approx(scores.get(ad.ad_id, theirs.ads[-1].score), abs=1e-4)

    @invariant()
    def numbers_rise(self) -> None:
        if hasattr(self, "engine"):
            assert self.engine.snapshot.seq >= self.last_seq
            self.last_seq = self.engine.snapshot.seq
            assert self.engine._live.merge_failure == ""

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.let_them_through()
            self.engine._live.wait()
            self.compare(QUERIES[0], None)
            self.pool.shutdown()

    def _enter(self, batch: list[object], entered: threading.Event) -> int:
        entered.set()
        return self.engine.apply(batch)

    def _known(self) -> set[str]:
        return set(self.ads) | {one.ad.ad_id for one in self.pending}

    def _some_change(self, rng: random.Random) -> object:
        slow = [one.ad.ad_id for one in self.pending]
        ad_id, kind = rng.choice(slow if slow and rng.random() < 0.2 else IDS), rng.random()
        if kind < 0.25:
            return Put(some_ad(rng, ad_id))
        if kind < 0.4 and ad_id in self.ads:  # the same text: a patch in disguise
            return Put(replace(self.ads[ad_id], **some_attributes(rng)))
        if kind < 0.8 and ad_id in self.ads:
            return Patch(ad_id, some_patch(rng))
        return Delete(ad_id)

    def _apply(self, batch: list[object]) -> None:
        after = dict(self.ads)
        for change in batch:  # a patch of what an earlier change of the batch deleted is refused
            if isinstance(change, Put):
                after[change.ad.ad_id] = change.ad
            elif isinstance(change, Delete):
                after.pop(change.ad_id, None)
            elif change.ad_id not in after:
                before = self.engine.snapshot.seq
                with pytest.raises(InputError, match="deleted by an earlier change"):
                    self.engine.apply(batch)
                assert self.engine.snapshot.seq == before
                return
        self.engine.apply(batch)
        type(self).num_operations += len(batch)
        final: dict[str, object] = {}
        for change in batch:
            ad_id = change.ad.ad_id if isinstance(change, Put) else change.ad_id
            final.pop(ad_id, None)
            final[ad_id] = change
        patched = {change.ad_id for change in batch if isinstance(change, Patch)}
        for ad_id in final:
            whole = any(not isinstance(each, Patch) and _id(each) == ad_id for each in batch)
            if ad_id not in after:
                self._delete(ad_id)
            elif whole:
                self._put(after[ad_id] if ad_id not in patched else _with_patches(ad_id, batch))
            else:
                self.clock += 1
                for change in batch:
                    if isinstance(change, Patch) and change.ad_id == ad_id:
                        self.ads[ad_id] = replace(self.ads[ad_id], **change.fields)
                        self.fields.setdefault(ad_id, []).append((self.clock, dict(change.fields)))

    def _put(self, ad: Ad) -> None:
        self.clock += 1
        before = self.ads.get(ad.ad_id)
        if before is None or any(getattr(before, name) != getattr(ad, name) for name in CONTENT_FIELDS):
            self.ads.pop(ad.ad_id, None)  # at the end: in order of arrival
        self.ads[ad.ad_id] = ad
        self.whole[ad.ad_id] = self.clock

    def _delete(self, ad_id: str) -> None:
        self.clock += 1
        self.ads.pop(ad_id, None)
        self.whole[ad_id] = self.clock


def _id(change: object) -> str:
    return change.ad.ad_id if isinstance(change, Put) else change.ad_id


def _with_patches(ad_id: str, batch: list[object]) -> Ad:
    ad: Ad | None = None
    for change in batch:
        if isinstance(change, Put) and change.ad.ad_id == ad_id:
            ad = change.ad
        elif isinstance(change, Patch) and change.ad_id == ad_id and ad is not None:
            ad = replace(ad, **change.fields)
    assert ad is not None
    return ad


def may_see(ad: Ad, user: UserContext | None) -> bool:
    if ad.status != "active":
        return False
    if user is None:
        return True
    for wanted, has in ((ad.countries, user.country), (ad.languages, user.language), (ad.devices, user.device)):
        if has is not None and wanted and has not in wanted:
            return False
    return user.audiences is None or not ad.audiences or bool(user.audiences & set(ad.audiences))


def replace_reader(engine: Engine, reader: HashedReader) -> HashedReader:
    engine._live._reader = reader
    reader.gate.set()
    return reader


def test_any_changes_equal_a_dictionary(world, monkeypatch):
    monkeypatch.setattr(merging, "MIN_LOOSE", merging.MIN_LOOSE)  # which examples change
    machine = type("Machine", (Machine,), {"world": world})
    # Where the variable CI is set, Hypothesis draws the same examples every time: a loop over them would never get on.
    chosen = settings(
        max_examples=2,
        stateful_step_count=30,
        deadline=None,
        derandomize=False,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    while machine.num_operations < OPERATIONS:
        run_state_machine_as_test(machine, settings=chosen)
