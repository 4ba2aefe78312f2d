"""Ads that are added, replaced and removed, against an engine whose indexes are built with them from scratch."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.catalog import Catalog
from intently.catalog.texts import ad_texts, searchable_texts
from intently.engine.engine import Engine
from intently.errors import ArtifactError, InputError
from intently.index.lexical import LexicalIndex
from intently.index.posting_weights import PostingSettings
from intently.index.postings import Postings
from intently.index.vectors import VectorIndex
from intently.intentions.decode import Decoded, DecodeSettings
from intently.intentions.prior import Near
from intently.live import merging as live
from intently.live.ad_reader import IndexSettings
from intently.live.landing_pages import clean_landing_pages, domain_lexicon
from intently.snapshot.segment import CONTENT_FIELDS
from intently.snapshot.snapshot import Snapshot
from intently.text.ocr_cleaning import OcrCleaner, OcrSettings
from intently.types import Ad, Channel, Delete, Span, UserContext
from tests.engine.small_engine import ADS, QUERIES, SETTINGS, TEXTS, USERS, ids, make_engine

INDEXING = IndexSettings(PostingSettings(num_near=6, num_beams=4, max_ad_tokens=20), OcrSettings(high=0.4, low=0.4))
CLEANER = OcrCleaner(domain_lexicon(Catalog.from_ads(ADS), TEXTS), INDEXING.ocr)
CHANNELS = (Channel.INTENTION, Channel.DENSE, Channel.LEXICAL)


@pytest.fixture(scope="module")
def built(make_student) -> Engine:
    return make_engine(make_student(3))


def fresh(built: Engine) -> Engine:
    catalog = Catalog.from_ads(ADS)
    return Engine(catalog, built.student, built.intentions, built.vectors, built.lexical, SETTINGS, indexing=INDEXING)


@pytest.fixture
def engine(built) -> Engine:
    return fresh(built)


class Twin:
    """The slow twin: one entry an ad, from which an engine is built anew for every question."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        postings = engine.intentions.postings
        self.postings: dict[str, dict[int, float]] = {ad.ad_id: {} for ad in ADS}
        for key in range(postings.num_keys):
            for row, weight in zip(*postings.of(key), strict=True):
                self.postings[ADS[row].ad_id][key] = float(weight)
        self.ads = {ad.ad_id: ad for ad in ADS}
        self.vectors = {ad.ad_id: engine.vectors.embeddings[row] for row, ad in enumerate(ADS)}

    def add(self, ads: list[Ad]) -> None:
        for ad in ads:
            before = self.ads.get(ad.ad_id)
            if before and all(getattr(before, name) == getattr(ad, name) for name in CONTENT_FIELDS):
                self.ads[ad.ad_id] = ad  # in its place, and found by what it was found by
                continue
            self.ads.pop(ad.ad_id, None)
            self.ads[ad.ad_id] = ad  # at the end: in order of arrival
            student, intentions = self.engine.student, self.engine.intentions
            (text,) = ad_texts(Catalog.from_ads([ad]))
            for _, reading in student.batches([text], INDEXING.postings.max_ad_tokens, batch_size=1):
                found = self.intentions_of(reading)
                self.vectors[ad.ad_id] = reading.embeddings[0]
            chosen, statistics = INDEXING.postings, intentions.statistics
            sums = {
                int(key): chosen.decoded_weight * np.exp(log_prob)
                for key, log_prob in zip(found.intention_ids, found.log_probs, strict=True)
            }
            named = intentions.phrases.within(ad.title).tolist()
            named += [key for key, phrase in enumerate(TEXTS) if phrase in ad.keywords and key not in named]
            for key in named:
                sums[key] = sums.get(key, 0.0) + 1.0
            for key in sums:
                sums[key] *= np.log(1 + len(ADS) / (1 + statistics.reach[key])) ** chosen.idf_power
            norm = max(np.sqrt(sum(weight**2 for weight in sums.values())) / statistics.mean_norm, 0.1)
            self.postings[ad.ad_id] = {key: weight / norm**chosen.length_power for key, weight in sums.items()}

    def intentions_of(self, reading) -> Decoded:
        """Return the four intentions of a guided search, and the other near ones by what these leave over."""
        intentions, (embedding,) = self.engine.intentions, reading.embeddings
        guidance, cosines = intentions.near.of_ads, intentions.near.vectors.embeddings @ embedding
        nearest = np.argsort(-cosines, kind="stable")[: INDEXING.postings.num_near]
        near = Near(nearest, cosines[nearest] / guidance.prior_temperature, cosines.mean() / guidance.prior_temperature)
        chosen = DecodeSettings(num_beams=4, temperature=guidance.model_temperature)
        (found,) = self.engine.student.decoder(intentions.trie).decode(reading.prompt, chosen, [near])
        others = [i for i in nearest.tolist() if i not in found.intention_ids]
        shares = np.exp(cosines[others] / guidance.prior_temperature)
        left = (1 - np.exp(found.log_probs).sum()) * shares / shares.sum()
        return Decoded(np.append(found.intention_ids, others).astype(int), np.append(found.log_probs, np.log(left)))

    def remove(self, ad_ids: list[str]) -> None:
        for ad_id in ad_ids:
            del self.ads[ad_id]

    def build(self) -> Engine:
        engine, catalog = self.engine, Catalog.from_ads(self.ads.values())
        entries = [
            (key, row, weight) for row, ad_id in enumerate(self.ads) for key, weight in self.postings[ad_id].items()
        ]
        keys, rows, weights = zip(*entries, strict=True) if entries else ((), (), ())
        postings = Postings.build(
            np.array(keys, dtype=np.int64), np.array(rows, dtype=np.int64), np.array(weights), len(TEXTS), len(self.ads)
        )
        empty = np.empty((0, engine.student.dimension), dtype=np.float32)
        vectors = np.concatenate([empty, *(self.vectors[ad_id][None] for ad_id in self.ads)])
        texts = searchable_texts(catalog, clean_landing_pages(catalog, CLEANER).texts)
        lexical = LexicalIndex.build(texts, engine.lexical.settings, engine.lexical.statistics)
        intentions = replace(engine.intentions, postings=postings)
        return Engine(catalog, engine.student, intentions, VectorIndex(vectors), lexical, SETTINGS)


def assert_same(engine: Engine, twin: Twin, queries: list[str], users: list[UserContext | None]) -> None:
    expected = twin.build()
    assert engine.catalog.table.equals(expected.catalog.table)
    for user in users:
        for channel in CHANNELS:
            for query in queries:
                ours, theirs = (one.retrieve(query, 99, user=user, channel=channel) for one in (engine, expected))
                place = {ad.ad_id: ad for ad in theirs.ads}
                assert {ad.ad_id for ad in ours.ads} == set(place)
                for ad, other in zip(ours.ads, theirs.ads, strict=True):
                    same = place[ad.ad_id]
                    # Of two whose scores differ by rounding either may come first.
                    assert ad.score == pytest.approx(other.score, abs=1e-4)
                    assert ad.score == pytest.approx(same.score, abs=1e-4)
                    if channel is not Channel.DENSE:
                        told, expected_told = (dict(one.reasons[0].evidence) for one in (ad, same))
                        assert sum(told.values()) == pytest.approx(sum(expected_told.values()), abs=1e-4)
        for query in queries:
            assert set(ids(engine.retrieve(query, 99, user=user))) == set(ids(expected.retrieve(query, 99, user=user)))


words = st.sampled_from(["red", "blue", "robot vacuum", "drill bits", "扫地机器人", "红色", "kettle", "novel", "gizmo"])
new_ads = st.builds(
    Ad,
    ad_id=st.sampled_from(["robot", "zh-lamp", "shoe", "new-1", "new-2", "new-3", "new-4"]),
    title=st.lists(words, min_size=1, max_size=4).map(" ".join),
    description=st.sampled_from(["", "electric lamp", "全新"]),
    keywords=st.lists(st.sampled_from(["shoe", "水壶", "unknown"]), max_size=2, unique=True).map(tuple),
    landing_spans=st.sampled_from([(), (Span("sure words", 0.5), Span("vague", 0.3))]),
    status=st.sampled_from(["active", "active", "paused"]),
    countries=st.sampled_from([(), ("DE",), ("CN", "US")]),
    audiences=st.sampled_from([(), ("cooks",)]),
)
batches = st.lists(new_ads, max_size=4, unique_by=lambda ad: ad.ad_id)
removals = st.lists(st.sampled_from([*(ad.ad_id for ad in ADS), "new-1", "new-2", "new-3"]), max_size=6, unique=True)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.one_of(batches, removals), min_size=1, max_size=5), st.sampled_from([1, 6, 1000]))
def test_any_changes_equal_building_from_scratch(built, changes, min_loose):
    engine = fresh(built)
    twin = Twin(engine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "MIN_LOOSE", min_loose)
        for change in changes:
            if change and isinstance(change[0], str):
                there = [ad_id for ad_id in change if ad_id in twin.ads]
                engine.remove_ads(there)
                twin.remove(there)
            else:
                known = [ad for ad in change if ad.ad_id in twin.ads]
                engine.add_ads([ad for ad in change if ad not in known])
                engine.add_ads(known, replace=True)
                twin.add([ad for ad in change if ad not in known])
                twin.add(known)
    queries = ["red robot vacuum", "红色机器人 novel gizmo", "sure vague words", "shoe"]
    assert_same(engine, twin, queries, [None, UserContext(country="DE", audiences=frozenset())])
    engine._live.wait()  # the same after merging
    assert_same(engine, twin, queries, [None, UserContext(country="DE", audiences=frozenset())])


def test_a_new_ad_is_found_on_every_path_at_once(engine):
    engine.add_ads([Ad("kettle-2", "Electric kettle novelty", keywords=("水壶",), countries=("US",))])
    for channel in Channel:
        ranking = engine.retrieve("电热水壶 novelty", 99, channel=channel)
        assert "kettle-2" in ids(ranking)
        assert "kettle-2" not in ids(engine.retrieve("novelty", 99, channel=channel, user=UserContext(country="DE")))
    assert ids(engine.retrieve("novelty", channel=Channel.LEXICAL)) == ["kettle-2"]
    assert ids(engine.retrieve("noveltie", channel=Channel.LEXICAL)) == ["kettle-2"]  # corrected to a word that is new
    told = engine.retrieve("水壶", 99, channel=Channel.INTENTION).ads
    evidence = {ad.ad_id: dict(ad.reasons[0].evidence) for ad in told}
    assert "水壶" in evidence["kettle-2"]


def test_replacing_changes_what_is_found_and_the_catalogue(engine):
    engine.add_ads([Ad("pan", "Blue novelty")], replace=True)
    assert engine.catalog.num_ads == len(ADS)
    assert engine.catalog.ad(int(engine.catalog.ad_rows(["pan"])[0])).title == "Blue novelty"
    assert ids(engine.retrieve("novelty", channel=Channel.LEXICAL)) == ["pan"]
    assert ids(engine.retrieve("red pan", 99, channel=Channel.DENSE)).count("pan") == 1
    engine.add_ads([Ad("pan", "Red pan"), Ad("other", "Red pan")], replace=True)
    assert "pan" in ids(engine.retrieve("pan", channel=Channel.LEXICAL))
    assert ids(engine.retrieve("novelty", channel=Channel.LEXICAL)) == []


def test_all_ads_may_go_and_come_again(engine, monkeypatch):
    monkeypatch.setattr(live, "MIN_LOOSE", 0)
    for merging in (False, True):
        engine.remove_ads([ad.ad_id for ad in ADS])
        if merging:
            engine._live.wait()
        assert engine.catalog.num_ads == 0
        for channel in Channel:
            assert ids(engine.retrieve("red robot", channel=channel)) == []
        engine.add_ads(ADS)
        assert len(engine.retrieve("red robot", 99).ads) == 10


USER_ERRORS = [
    ([Ad("new", "Lamp"), Ad("pan", "Pan")], r"ad 'pan' already exists; pass replace=True"),
    ([Ad("new", "Lamp"), Ad("new", "Pan")], r"ads:2 field 'ad_id': ad 'new' is on line 1 already"),
    ([Ad("new", "Lamp"), Ad("new-2", " ")], r"ads:2 field 'title': empty"),
    ([Ad("new", "Lamp"), Ad("", "Pan")], r"ads:2 field 'ad_id': empty"),
    ([Ad("new", "Lamp"), Ad("new-2", "Pan", bid=float("nan"))], r"ads:2 field 'bid': nan is not finite"),
    ([Ad("new", "Lamp"), Ad("new-2", "Pan", bid=-1.0)], r"ads:2 field 'bid'"),
    ([Ad("new", "Lamp"), Ad("new-2", "Pan", bid="high")], r"ads:2 field 'bid': expected a number"),
    (
        [Ad("new", "Lamp"), Ad("new-2", "Pan", keywords="pan")],
        r"ads:2 field 'keywords': expected a list of texts, got str 'pan'",
    ),
    (
        [Ad("new", "Lamp"), Ad("new-2", "Pan", landing_spans=("pan",))],
        r"ads:2 field 'landing_spans': expected a list of Span",
    ),
    ([Ad("new", "Lamp"), Ad(5, "Pan")], r"ads:2 field 'ad_id': expected a text, got int 5"),
    ([Ad("new", "Lamp"), {"ad_id": "new-2"}], r"ads:2: expected an Ad, got dict; pass a list of Ad"),
    (Ad("new", "Lamp"), r"expected a list of Ad, got Ad"),
    (5, r"expected a list of Ad, got int"),
    ("new", r"ads:1: expected an Ad, got str"),
]


@pytest.mark.parametrize(("ads", "problem"), USER_ERRORS)
def test_wrong_ads_are_refused_and_nothing_is_half_added(engine, ads, problem):
    before = engine.snapshot
    with pytest.raises(InputError, match=problem):
        engine.add_ads(ads)
    assert engine.snapshot is before
    engine.add_ads([Ad("new", "Lamp")])


@pytest.mark.parametrize(
    ("ad_ids", "problem"),
    [
        (["pan", "unknown"], r"there is no ad 'unknown' to remove"),
        (["pan", 5], r"there is no ad 5 to remove"),
        (["pan", ["kettle"]], r"there is no ad \['kettle'\] to remove"),
        (["pan", "kettle", "pan"], r"ad 'pan' is to be removed twice"),
        ("pan", r"expected a list of ids, got the text 'pan'; pass \['pan'\]"),
    ],
)
def test_wrong_ids_are_refused_and_nothing_is_half_removed(engine, ad_ids, problem):
    before = engine.snapshot
    with pytest.raises(InputError, match=problem):
        engine.remove_ads(ad_ids)
    assert engine.snapshot is before
    engine.remove_ads(["pan"])
    with pytest.raises(InputError, match="no ad 'pan'"):
        engine.remove_ads(["pan"])


def test_deleting_many_looks_their_rows_up_at_once(engine, monkeypatch):
    asked, real = [], Snapshot.rows_of

    def counted(self, numbers):
        asked.append(len(numbers))
        return real(self, numbers)

    monkeypatch.setattr(Snapshot, "rows_of", counted)
    engine.apply([Delete(ad.ad_id) for ad in ADS])
    assert asked == [len(ADS)]
    assert not engine.snapshot.alive.any()


def test_nothing_to_do(engine):
    before = engine.snapshot
    engine.add_ads([])
    engine.remove_ads([])
    assert engine.snapshot is before


def test_an_engine_without_statistics_says_so(built):
    lexical = LexicalIndex(built.lexical._terms, built.lexical.postings, built.lexical.settings, None)  # an old one
    engine = Engine(Catalog.from_ads(ADS), built.student, built.intentions, built.vectors, lexical, SETTINGS)
    with pytest.raises(ArtifactError, match="built before ads could be added to one; build the engine again"):
        engine.add_ads([Ad("new", "Lamp")])
    engine.remove_ads(["pan"])  # which needs none


def test_a_query_under_way_keeps_the_ads_it_began_with(engine):
    rankings = engine.retrieve_many(["red pan"] * 3, 99, batch_size=1)
    first = next(rankings)
    engine.remove_ads(["pan"])
    engine.add_ads([Ad("new", "Red pan")])
    assert [ids(ranking) for ranking in rankings] == [ids(first)] * 2
    assert "pan" in ids(first)
    after = ids(engine.retrieve("red pan", 99))
    assert "pan" not in after
    assert "new" in after


def test_readers_while_writing(built, monkeypatch):
    """Pairs of ads come and go together: no reader ever sees one of a pair, on any channel, also while merging."""
    monkeypatch.setattr(live, "MIN_LOOSE", 3)
    engine = fresh(built)
    problems: list[str] = []
    done = threading.Event()

    def read(channel: Channel) -> None:
        while not done.is_set():
            seen = {ad_id for ad_id in ids(engine.retrieve("red gizmo", 999, channel=channel)) if "-pair-" in ad_id}
            numbers = [ad_id.split("-pair-")[1] for ad_id in seen]
            problems.extend(number for number in numbers if numbers.count(number) != 2)

    def write(name: str) -> None:
        try:
            for number in range(12):
                pair = [Ad(f"{side}-pair-{name}{number}", "Red gizmo") for side in ("left", "right")]
                engine.add_ads(pair)
                engine.add_ads(pair, replace=True)
                if number % 2:
                    engine.remove_ads([ad.ad_id for ad in pair])
        except Exception as error:
            problems.append(repr(error))

    readers = [threading.Thread(target=read, args=(channel,)) for channel in Channel]
    writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    engine._live.wait()
    assert problems == []
    expected = {
        f"{side}-pair-{name}{number}" for side in ("left", "right") for name in "ab" for number in range(0, 12, 2)
    }
    assert {ad_id for ad_id in engine.catalog.strings("ad_id") if "-pair-" in ad_id} == expected
    assert set(ids(engine.retrieve("gizmo", 999, channel=Channel.LEXICAL))) == expected


def test_the_ones_asking_are_still_eligible(engine):
    """Targeting after adding is that of a catalog made whole."""
    engine.add_ads([Ad("us", "Red lamp", countries=("US",)), Ad("paused-2", "Red lamp", status="paused")])
    for user, hidden in USERS:
        shown = set(ids(engine.retrieve(QUERIES[0], 99, user=user, channel=Channel.DENSE)))
        also_hidden = {"paused-2"} | ({"us"} if user and user.country else set())
        assert shown == {ad.ad_id for ad in ADS} - hidden | {"us", "paused-2"} - also_hidden
