"""The live trie against a dictionary, while old versions keep reading what they read."""

import threading
from itertools import product

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from intently.errors import InputError
from intently.intentions import live as live_module
from intently.intentions.live import MIN_SPARE, LiveTrie
from intently.intentions.trie import Trie

WAIT = 600  # seconds, after which a test fails rather than hangs, however busy the machine is
START = [(1, 2), (1,), (3, 4, 5), (2, 2, 2, 2)]


def contents(trie: Trie) -> dict:
    """Return what is found by following `children` from the root, checking each node's summary on the way."""
    found = {}

    def descend(node: int, prefix: tuple) -> list[tuple[int, int]]:
        own = int(trie.intention_ids[node])
        below = [(own, 0)] if own >= 0 else []
        if below:
            found[prefix] = own
        children = trie.children(np.array([node]))[0].tolist()
        tokens = [int(trie.tokens[child]) for child in children]
        assert tokens == sorted(set(tokens))
        for token, child in zip(tokens, children, strict=True):
            leaves = descend(child, (*prefix, token))
            assert leaves  # no branch is left without an intention
            below += [(i, height + 1) for i, height in leaves]
        assert trie.num_leaves[node] == len(below)
        if below:
            assert trie.lowest_id[node] == min(i for i, _ in below)
            assert trie.heights[node] == min(height for _, height in below)
        return below

    descend(trie.root, ())
    ids, sequences = trie.items()
    assert found == {tuple(row[row >= 0].tolist()): int(i) for i, row in zip(ids, sequences, strict=True)}
    assert trie.num_intentions == len(found)
    return found


def joined(threads) -> None:
    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive()


sequence = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple)
some = st.lists(sequence, max_size=5, unique=True)


class Changes(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.live, self.model, self.version = LiveTrie(Trie.build(START)), dict(zip(START, range(4), strict=True)), 0
        self.used = set(range(4))
        self.pinned = []

    def expect(self, add, ids, remove) -> None:
        assert len(ids) == len(add)
        assert not self.used & set(ids.tolist())  # never used again
        self.used |= set(ids.tolist())
        for each in remove:
            del self.model[each]
        self.model |= dict(zip(add, ids.tolist(), strict=True))
        self.version += 1

    @rule(sequences=some)
    def add(self, sequences):
        new = [each for each in sequences if each not in self.model]
        if new:
            self.expect(new, self.live.add(new), [])

    @rule(data=st.data())
    def remove(self, data):
        if self.model:
            gone = data.draw(st.lists(st.sampled_from(sorted(self.model)), min_size=1, unique=True))
            assert self.live.remove(gone) is None
            self.expect([], np.array([], dtype=int), gone)

    @rule(sequences=some, data=st.data())
    def change(self, sequences, data):
        new = [each for each in sequences if each not in self.model]
        gone = data.draw(st.lists(st.sampled_from(sorted(self.model)), unique=True)) if self.model else []
        if new or gone:
            self.expect(new, self.live.change(new, gone), gone)

    @rule(sequences=some, data=st.data())
    def wrong(self, sequences, data):
        """One wrong sequence among right ones, at any place: refused by its place, and nothing changes."""
        new = [each for each in sequences if each not in self.model]
        old = sorted(self.model)
        at = data.draw(st.integers(0, len(new)))
        kind = data.draw(st.sampled_from(["there", "absent", "twice", "both", "empty"]))
        add, remove = list(new), []
        if kind == "there" and old:
            add.insert(at, data.draw(st.sampled_from(old)))
            message = f"^token sequence {at} to add is there already$"
        elif kind == "absent" and new:
            add, remove = [], [*old[:2], new[0]]
            message = f"^token sequence {len(remove) - 1} to remove is not there$"
        elif kind == "twice" and new:
            add.append(new[0])
            message = f"^token sequence {len(new)} to add comes twice in one change$"
        elif kind == "both" and old:
            add, remove = [*new, old[0]], [old[0]]
            message = "^token sequence 0 to remove comes twice in one change$"
        else:
            add.insert(at, ())
            message = f"^intention {at} has no tokens$"
        before = self.live.trie
        with pytest.raises(InputError, match=message):
            self.live.change(add, remove)
        assert self.live.trie is before

    @rule()
    def pin(self):
        self.pinned.append((self.live.trie, dict(self.model)))

    @invariant()
    def reads_as_the_model(self):
        assert contents(self.live.trie) == self.model
        assert self.live.version == self.version
        for trie, model in self.pinned[-3:]:
            assert contents(trie) == model

    def teardown(self):
        for trie, model in self.pinned:
            assert contents(trie) == model


Changes.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestChanges = Changes.TestCase


@pytest.mark.parametrize("wrong", [(), (-1,), (1, 2**31), (1.5,)])
def test_wrong_token_ids_change_nothing(wrong):
    live = LiveTrie(Trie.build(START))
    for change in ({"add": [wrong]}, {"remove": [wrong]}):
        with pytest.raises(InputError):
            live.change(**change)
    assert (live.version, contents(live.trie)) == (0, dict(zip(START, range(4), strict=True)))
    assert live.add([(7,)]).tolist() == [4]  # a refused change costs no id


def test_everything_removed_and_something_added():
    live = LiveTrie(Trie.build(START))
    live.remove(START)
    assert contents(live.trie) == {}
    assert live.trie.walk(np.array([[1, 2]])).tolist() == [[-1, -1]]
    assert live.add([(1,), (9, 9)]).tolist() == [4, 5]
    assert contents(live.trie) == {(1,): 4, (9, 9): 5}
    live.change(remove=[(1,), (9, 9)], add=[(9,)])
    assert contents(live.trie) == {(9,): 6}


def test_ids_go_on_above_the_highest():
    live = LiveTrie(Trie.from_items(np.array([17, 3]), np.array([[1], [2]])))
    assert live.add([(3,), (0,)]).tolist() == [18, 19]  # in the order given
    live.remove([(3,), (0,), (1,)])
    assert live.add([(3,)]).tolist() == [20]


def test_begins_with_a_mapped_trie_and_with_a_later_version(tmp_path):
    Trie.build(START).save(tmp_path / "a.trie")
    before = (tmp_path / "a.trie").read_bytes()
    live = LiveTrie(Trie.load(tmp_path / "a.trie"))
    live.change([(8, 8)], [(1,)])
    assert (tmp_path / "a.trie").read_bytes() == before
    again = LiveTrie(live.trie)
    again.remove([(3, 4, 5)])
    assert contents(again.trie) == {(1, 2): 0, (2, 2, 2, 2): 3, (8, 8): 4}
    assert contents(live.trie) == {(1, 2): 0, (3, 4, 5): 2, (2, 2, 2, 2): 3, (8, 8): 4}


def test_compaction_keeps_content_and_bounds_memory():
    live = LiveTrie(Trie.build(START))
    model = dict(zip(START, range(4), strict=True))
    every = list(product(range(6), repeat=2))
    largest = 0
    pinned = live.trie
    for turn in range(1500):
        each = every[turn * 7 % len(every)]
        if each in model:
            live.remove([each])
            del model[each]
        else:
            model[each] = int(live.add([each])[0])
        live.wait()
        largest = max(largest, live.trie.num_nodes)
        if turn % 100 == 0:
            assert contents(live.trie) == model
    assert live.version == 1500
    assert contents(live.trie) == model
    most = 1 + sum(6**depth for depth in (1, 2)) + 8  # nodes of the largest of these tries, START included
    assert MIN_SPARE < largest <= 3 * most + MIN_SPARE
    assert live.trie.num_nodes < largest  # it did happen
    assert contents(pinned) == dict(zip(START, range(4), strict=True))


class Gate:
    """Holds a compaction at its start, so that a test may change the trie meanwhile."""

    def __init__(self, monkeypatch) -> None:
        self.begun, self.open = threading.Event(), threading.Event()
        monkeypatch.setattr(live_module, "MIN_SPARE", 4)
        compacted = Trie.compacted

        def held(trie: Trie):
            if threading.current_thread() is not threading.main_thread():
                self.begun.set()
                assert self.open.wait(WAIT)
            return compacted(trie)

        monkeypatch.setattr(Trie, "compacted", held)

    def reach(self, live: LiveTrie) -> dict:
        """Change until a compaction has begun; return what the trie holds then."""
        model = dict(zip(START, range(4), strict=True))
        for token in range(10, 60):
            if self.begun.is_set():
                return model
            model[(token,)] = int(live.add([(token,)])[0])
            self.begun.wait(0.01)
        raise AssertionError("no compaction began")


def test_changes_made_during_a_compaction_are_kept(monkeypatch):
    gate, live = Gate(monkeypatch), LiveTrie(Trie.build(START))
    model = gate.reach(live)
    pinned, then = live.trie, dict(model)
    model[(1, 3)] = int(live.change(add=[(1, 3)], remove=[(10,), (1,)])[0])
    del model[(10,)], model[(1,)]
    model[(1,)] = int(live.add([(1,)])[0])
    with pytest.raises(InputError, match="token sequence 0 to add is there already"):
        live.add([(1,)])
    before = live.trie.num_nodes
    gate.open.set()
    live.wait()
    assert live.trie.num_nodes < before
    assert contents(live.trie) == model
    assert contents(pinned) == then
    model[(99,)] = int(live.add([(99,)])[0])
    assert contents(live.trie) == model
    assert len(set(model.values())) == len(model)


def test_no_reader_sees_an_older_version_after_a_newer_one(monkeypatch):
    """While a compaction repeats the changes made meanwhile, `trie` must not show what was there before them."""
    gate, live = Gate(monkeypatch), LiveTrie(Trie.build(START))
    gate.reach(live)
    live.add([(7, 7)])
    live.remove([(1,)])
    newest, seen = contents(live.trie), []
    edited = Trie.edited

    def looked_at(trie: Trie, *change):
        seen.append(live.trie)  # what any reader would get at this moment
        return edited(trie, *change)

    monkeypatch.setattr(Trie, "edited", looked_at)
    gate.open.set()
    live.wait()
    monkeypatch.undo()
    assert seen  # the changes were made again
    assert contents(live.trie) == newest
    assert [contents(trie) for trie in seen] == [newest] * len(seen)


def test_all_removed_during_and_before_a_compaction(monkeypatch):
    gate, live = Gate(monkeypatch), LiveTrie(Trie.build(START))
    live.remove(list(gate.reach(live)))
    gate.open.set()
    live.wait()
    assert contents(live.trie) == {}
    highest = -1
    for _ in range(60):  # empty each time a compaction begins or ends
        highest, last = int(live.add([(5, 5)])[0]), highest
        assert highest > last
        live.remove([(5, 5)])
        live.wait()
    assert contents(live.trie) == {}
    assert live.trie.num_nodes < 100


def test_readers_and_writers_in_threads(monkeypatch):
    monkeypatch.setattr(live_module, "MIN_SPARE", 64)  # many compactions
    live = LiveTrie(Trie.build([(0,)]))
    done, wrong, num_read = threading.Event(), [], [0]

    def read() -> None:
        last = 0
        while not done.is_set():
            trie = live.trie
            first = trie.items()[1].tolist()
            intentions = {tuple(t for t in row if t >= 0) for row in first}
            # Each change moves a pair (writer, n), (writer, n, 0) to n + 1, as a whole.
            counts = [sorted(n[1] for n in intentions if n[0] == writer) for writer in (1, 2)]
            if any(len(each) not in (0, 2) or len(set(each)) > 1 for each in counts):
                wrong.append(("torn", intentions))
            if trie.items()[1].tolist() != first:
                wrong.append(("changed", intentions))
            reached = counts[0][0] if counts[0] else 0
            if reached < last:
                wrong.append(("back", last, reached))
            last = reached
            num_read[0] += 1

    def write(writer: int) -> None:
        for n in range(80):
            before = [(writer, n - 1), (writer, n - 1, 0)] if n else []
            ids = live.change([(writer, n), (writer, n, 0)], before)
            if live.trie.walk(np.array([[writer, n, 0]]))[0, -1] < 0:
                wrong.append(("not seen by its own writer", writer, n, ids))

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(writer,)) for writer in (1, 2)]
    for thread in (*readers, *writers):
        thread.start()
    joined(writers)
    done.set()
    joined(readers)
    live.wait()
    assert not wrong
    assert num_read[0]
    assert set(contents(live.trie)) == {(0,), (1, 79), (1, 79, 0), (2, 79), (2, 79, 0)}
    assert live.version == 160
    ids = sorted(contents(live.trie).values())
    assert ids[-1] == 320  # 2 ids for each change, none twice


def test_ids_may_begin_above_those_of_duplicates():
    trie = Trie.build([(1,), (2,), (1,)])
    assert LiveTrie(trie, next_id=3).add([(3,)]).tolist() == [3]
    with pytest.raises(InputError, match="next_id is 1, but the trie has intention 1"):
        LiveTrie(trie, next_id=1)
