"""The BRIDGE experiment: once from end to end with tiny models, and its parts against slow twins and hand-made data."""

import gzip
import json
import re
import subprocess
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("torch")

from test_cli import write_checkpoint
from test_rare import (
    ASKED,
    CATALOG,
    METRICS,
    QRELS,
    QUERIES,
    Stages,
    content_of,
    rows_of,
    shuffled,
    silent,
    slow,
    tables,
)
from test_rare import result as system

from intently import pipeline
from intently.augment.augment import AugmentSettings
from intently.augment.augmentation import Augmentation
from intently.baselines.registry import BRIDGE, Baseline
from intently.baselines.task import Budget
from intently.building.encoder import EncoderMaterial
from intently.building.interactions import match_interactions
from intently.building.settings import BridgeSettings, BuildSettings
from intently.catalog import Catalog, Judgements, Queries, Run, read_ads, read_judgements, read_queries, read_run
from intently.catalog.texts import ad_texts
from intently.encoder.settings import EncoderSettings, Gate
from intently.errors import InputError, SettingsError
from intently.evaluate.significance import randomization_test
from intently.experiments import bridge, data
from intently.experiments.bridge import (
    VARIANTS,
    BridgeExperimentSettings,
    everything,
    parts_to_leave_out,
    plain,
    run_bridge,
)
from intently.experiments.bridge_report import Measured, sections
from intently.experiments.bridge_world import SETTINGS
from intently.experiments.data import Data, Files, world_files
from intently.experiments.ground import first_ads, seconds_of
from intently.experiments.report import Section
from intently.experiments.runner import Answers, Experiment
from intently.index.posting_weights import PostingSettings
from intently.intentions.decode import DecodeSettings
from intently.models.student import Runtime
from intently.retrieve.settings import RetrievalSettings
from intently.text.normalize import normalize
from intently.train.bridge import BridgeTrainingSettings
from intently.train.fusion import FusionSettings, held_out
from intently.train.negatives import NegativeSettings
from intently.train.sampling import SamplingSettings
from intently.train.schedule import Order, ScheduleSettings
from intently.train.student import TrainingSettings
from intently.types import Ad, Span
from intently.world import simulate_world
from intently.world.simulate import VERSION
from tests.conftest import WORDS, wordpiece

NUM_ADS, NUM_JUDGED = 100, 12
ENGINE = ("engine, lexical", "engine, dense", "engine, intention")
RANKS, LEARNED = "engine, fused by reciprocal ranks", "engine, fused as learned"
TITLES = {
    "table 1": "All systems (BRIDGE, table 1)",
    "parts": "What each part is worth (BRIDGE, table 1, ablations)",
    "schedules": "Training schedules (BRIDGE, table 2)",
    "groups": "Head, torso and tail (BRIDGE, table 2)",
    "engine": "What the encoder, fusing, and learning to fuse add",
    "augmentation": "What augmentation took",
}


# From end to end


@dataclass
class Taught:
    """What was given to everything that learns: the queries, and all that encoders were made from."""

    queries: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    encoders: dict[str, tuple[EncoderMaterial, BridgeSettings]] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """A finished experiment, to be looked at and not changed."""

    files: Files
    out: Path
    settings: BridgeExperimentSettings
    results: Path
    stages: Stages
    taught: Taught

    def again(self, progress=silent, **changed) -> Path:
        given = {"files": self.files, "settings": self.settings} | changed
        return run_bridge(given["files"], self.out, given["settings"], progress=progress, results=self.results)

    @property
    def text(self) -> str:
        return self.results.read_text(encoding="utf-8")

    @property
    def steps(self) -> dict[str, dict]:
        steps = [json.loads(path.read_text(encoding="utf-8")) for path in (self.out / "all" / "steps").glob("*.json")]
        return {step["name"]: step for step in steps}


def watch(patch: pytest.MonkeyPatch) -> Taught:
    """Note what everything that learns in the experiment is given."""
    taught = Taught()

    def note(owner, name: str, at: int, attribute: str = "queries") -> None:
        function = getattr(owner, name)

        def noting(*args, **kwargs):
            taught.queries.append((name, getattr(args[at], attribute)))
            return function(*args, **kwargs)

        patch.setattr(owner, name, noting)

    note(bridge, "augment", 1)
    note(bridge, "choose_vocabulary", 1)
    note(data, "choose_vocabulary", 1)
    note(pipeline, "build_intentions", 2)
    note(Baseline, "run", 1)
    for owner in (bridge, pipeline):
        build = owner.build_encoder

        def noting(material, settings, work, *args, build=build, **kwargs):
            taught.queries.append(("build_encoder", material.interactions.queries))
            taught.encoders[work.name] = material, settings
            return build(material, settings, work, *args, **kwargs)

        patch.setattr(owner, "build_encoder", noting)
    return taught


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Done:
    pytest.importorskip("bm25s")
    pytest.importorskip("lightgbm")
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("bridge")
    write_checkpoint(folder / "checkpoint", wordpiece(WORDS))
    simulate_world(folder / "world", NUM_ADS, 0, num_judged_queries=NUM_JUDGED)
    world = folder / "world"
    files = Files(world / "ads.jsonl.gz", world / "clicks.tsv.gz", world / "queries.tsv", world / "qrels.trec")
    checkpoint = str(folder / "checkpoint")
    settings = BridgeExperimentSettings(
        build=BuildSettings(
            checkpoint=checkpoint,
            runtime=Runtime.TORCH,
            training=TrainingSettings(min_steps=2, max_steps=2, batch_size=8),
            postings=PostingSettings(num_beams=4),
            bridge=BridgeSettings(
                enabled=True,
                training=BridgeTrainingSettings(
                    num_steps=3,
                    batch_size=8,
                    eval_steps=1,
                    num_held_out=10,
                    negatives=NegativeSettings(refresh_steps=2),
                ),
            ),
            fusion=FusionSettings(held_out_share=0.3, min_queries=10, num_folds=2, max_trees=3, min_leaf=5),
            retrieval=RetrievalSettings(decode=DecodeSettings(num_beams=4), runtime=Runtime.TORCH),
        ),
        budget=Budget(num_steps=2, batch_size=8, checkpoint=checkpoint),
        baselines="dpr",
        variants="interleaving, generated queries, OCR cleaning",
        min_relevance=2.0,
    )
    results = folder / "RESULTS.md"
    results.write_text("# Results\n\n<!-- bridge -->\nold\n<!-- /bridge -->\n\nThe end.\n", encoding="utf-8")
    told = Stages()
    with pytest.MonkeyPatch.context() as patch:
        taught = watch(patch)
        report = run_bridge(files, folder / "out", settings, progress=told, results=results)
    assert report == folder / "out" / "bridge.html"
    return Done(files, folder / "out", settings, results, told, taught)


TRAINED = ("plain fine-tuning", "BRIDGE", "BRIDGE − interleaving", "BRIDGE − OCR cleaning", "BRIDGE, sequential")


def test_the_report_has_all_chapters_and_systems(done):
    told = tables(done.text)
    assert list(told) == list(TITLES.values())
    fused = [RANKS, LEARNED] if LEARNED in done.steps else [RANKS]
    rows = [row for row in told[TITLES["table 1"]] if any(row[1:])]
    assert [row[0] for row in rows] == ["BM25", "DPR-style", "plain fine-tuning", "BRIDGE", *ENGINE, *fused]
    assert all(re.fullmatch(r"\d\.\d{4}", cell) for row in rows for cell in row[1:8])
    names = ["BRIDGE", "BRIDGE − OCR cleaning", "BRIDGE − interleaving"]
    assert [row[0] for row in told[TITLES["parts"]]] == names
    names = ["BRIDGE", "BRIDGE, sequential", "BRIDGE − interleaving"]
    assert [row[0] for row in told[TITLES["schedules"]]] == names
    assert ["ads", str(NUM_ADS)] in told[TITLES["augmentation"]]
    assert ["queries kept", "0"] in told[TITLES["augmentation"]]


def test_the_report_is_whole(done):
    html = (done.out / "bridge.html").read_text(encoding="utf-8")
    for text in (html, done.text):
        assert not re.search(r"\b(nan|inf|None)\b", text)
        assert "2 steps of 8 pairs" in text
        assert "3 of 8" in text
        assert "intently experiment bridge" in text
    for title in TITLES.values():
        assert f"<h2>{title}</h2>" in html
    assert f"<dt>test queries</dt><dd>{NUM_JUDGED}</dd>" in html
    figures = {path.stem for path in (done.results.parent / "figures").iterdir()}
    assert figures == {"bridge-systems", "bridge-parts", "bridge-schedules", "bridge-groups"}
    assert done.text.startswith("# Results\n\n<!-- bridge -->\n\n### All systems")
    assert done.text.endswith("\n\n<!-- /bridge -->\n\nThe end.\n")


def held_out_one_by_one(done: Done, queries) -> set[str]:
    fusion = done.settings.build.fusion
    return {query for query in queries if held_out([query], fusion.held_out_share, fusion.seed)[0]}


def test_held_out_queries_teach_nothing(done):
    clicks = read_judgements(done.files.clicks)
    aside = held_out_one_by_one(done, clicks.queries)
    left = [query for query in clicks.queries if query not in aside]
    assert len(aside) > 10 and len(left) > 10
    learners = {name for name, _ in done.taught.queries}
    assert learners == {"augment", "choose_vocabulary", "build_intentions", "run", "build_encoder"}
    for name, queries in done.taught.queries:
        assert list(queries) == left, name
    normalised = {normalize(query) for query in aside}
    for material, _ in done.taught.encoders.values():
        whole_queries = {normalize(text) for text in material.vocabulary.texts}
        titles = {normalize(text) for text in material.titles}
        bids = {normalize(bid) for bids in bid_keywords(done) for bid in bids}
        assert not {query for query in whole_queries & normalised - bids if not any(query in title for title in titles)}


def bid_keywords(done: Done) -> list[list[str]]:
    return read_ads(done.files.ads).catalog.column("keywords").to_pylist()


def test_clicks_of_other_queries_teach_all_encoders(done):
    clicks, catalog = read_judgements(done.files.clicks), read_ads(done.files.ads).catalog
    aside, ids = held_out_one_by_one(done, clicks.queries), catalog.strings("ad_id")
    expected = {
        (clicks.queries[row], ad_id)
        for row, ad_id, number in zip(clicks.query_rows, clicks.ad_ids.to_pylist(), clicks.values, strict=True)
        if number > 0 and clicks.queries[row] not in aside
    }
    assert len(done.taught.encoders) == len(TRAINED) + 1  # and the engine's
    for material, _ in done.taught.encoders.values():
        own = material.interactions
        assert {(own.queries[query], ids[ad]) for query, ad in own.clicks.tolist()} == expected


def of_system(done: Done, name: str) -> tuple[EncoderMaterial, BridgeSettings]:
    """Return what an encoder was made from."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    (found,) = [taught for work, taught in done.taught.encoders.items() if re.fullmatch(rf"{slug}-[0-9a-f]{{8}}", work)]
    return found


def test_encoders_read_what_their_names_say(done):
    catalog = read_ads(done.files.ads).catalog
    short, scanned = ad_texts(catalog), [bool(spans) for spans in catalog.column("landing_spans").to_pylist()]
    assert of_system(done, "plain fine-tuning")[0].ad_texts == tuple(short)
    material, settings = of_system(done, "BRIDGE")
    as_read, as_read_settings = of_system(done, "BRIDGE − OCR cleaning")
    assert as_read_settings == settings
    differ = [a != b for a, b in zip(material.ad_texts, as_read.ad_texts, strict=True)]
    assert any(differ)
    assert all(is_scan for is_scan, differs in zip(scanned, differ, strict=True) if differs)
    longer = [read.startswith(own) and len(read) > len(own) for read, own in zip(material.ad_texts, short, strict=True)]
    assert any(longer)
    assert all(longer[row] or material.ad_texts[row] == short[row] for row in range(NUM_ADS))


def test_trainings_are_as_their_settings_say(done):
    orders = {"BRIDGE − interleaving": "concatenated", "BRIDGE, sequential": "sequential"}
    for name in TRAINED:
        facts = done.steps[name]["facts"]
        assert facts["num_steps"] == 3
        assert [look["step"] for look in facts["history"]] == [0, 1, 2, 3]
        assert sum(facts["num_drawn"].values()) == 24
        if name == "plain fine-tuning":
            assert set(facts["num_drawn"]) == {"clicks"}
        else:  # no language model wrote queries
            assert set(facts["num_drawn"]) == {"clicks", "keywords", "intentions"}
            assert facts["settings"]["training"]["schedule"]["order"] == orders.get(name, "interleaved")
            assert facts["settings"] == asdict(of_system(done, name)[1])
    assert "BRIDGE − generated queries" not in done.steps


def test_every_system_answers_its_queries(done):
    runs = {name for name, step in done.steps.items() if step["kind"] == "run"}
    fused = {RANKS, LEARNED} if LEARNED in done.steps else {RANKS}
    assert runs == {"BM25", "DPR-style", *TRAINED, *ENGINE, *fused}
    assert set(done.steps) - runs == {"augmentation", "build"}
    asked = set(read_queries(done.files.queries).ids)
    for path in (done.out / "all" / "steps").glob("*.trec.gz"):
        found = read_run(path)
        assert set(found.query_ids) <= asked
        assert np.bincount(found.query_rows).max() <= NUM_ADS
    dense = read_run(next((done.out / "all" / "steps").glob("bridge-ef304fbe.trec.gz")))
    assert set(dense.query_ids) == asked
    assert np.bincount(dense.query_rows).tolist() == [NUM_ADS] * NUM_JUDGED  # every ad has a cosine


def test_checkpoints_of_finished_trainings_are_gone(done):
    left = {path.name for path in (done.out / "all" / "work").iterdir()}
    assert left == {"augmentation", "baselines", "engine", "features"}


def without_html(done: Done) -> dict[str, tuple[int, bytes]]:
    return {name: file for name, file in content_of(done.out).items() if not name.endswith(".html")}


def test_a_rerun_does_no_step_twice(done):
    before, text, html = without_html(done), done.text, (done.out / "bridge.html").read_bytes()
    assert {"Training the encoder", "Training the student", "Extracting keywords", "Answering"} <= set(done.stages)
    told = Stages()
    done.again(told)
    assert told == []
    assert without_html(done) == before
    assert done.text == text
    assert (done.out / "bridge.html").read_bytes() == html


def test_only_what_is_missing_is_done_again(done):
    before, facts = without_html(done), done.steps["BRIDGE − interleaving"]["facts"]
    (file,) = (name for name in before if re.fullmatch(r"all/steps/bridge-interleaving-\w+\.json", name))
    run = file.replace(".json", ".trec.gz")
    (done.out / file).unlink()
    told = Stages()
    done.again(told)
    after, again = without_html(done), done.steps["BRIDGE − interleaving"]["facts"]
    assert "Training the encoder" in told and "Training the student" not in told
    assert after.keys() == before.keys()
    assert {name for name in before if after[name] != before[name]} == {file, run}
    assert gzip.decompress(after[run][1]) == gzip.decompress(before[run][1])  # whose header has the time
    assert facts.pop("costs") != again.pop("costs")
    assert again == facts


def test_other_settings_and_other_data_are_refused(done, tmp_path):
    before = content_of(done.out)
    with pytest.raises(InputError, match=r"out/all: was made with other baselines \(\"dpr\", now \"\"\)"):
        done.again(settings=replace(done.settings, baselines=""))
    (tmp_path / "clicks.tsv").write_text("query\tad_id\tclicks\nlamp\tad0000001\t3\n", encoding="utf-8")
    with pytest.raises(InputError, match="was made with other clicks"):
        done.again(files=replace(done.files, clicks=tmp_path / "clicks.tsv"))
    assert content_of(done.out) == before


# Settings


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"baselines": "dpr,bm26,x"}, "'baselines' names 'bm26'; known are simbert, "),
        ({"variants": "gate, OCR"}, "'variants' names 'OCR'; known are interleaving, generated queries, "),
        ({"build": BuildSettings()}, r"'build\.bridge\.enabled' is false"),
        (
            {"build": BuildSettings(bridge=BridgeSettings(enabled=True, augmentation_file="a.jsonl"))},
            r"'build\.bridge\.augmentation_file' is given; the experiment makes its own",
        ),
    ],
)
def test_wrong_settings(wrong, problem):
    with pytest.raises(SettingsError, match=problem):
        BridgeExperimentSettings(**wrong)


def test_names_are_listed_with_commas():
    assert BridgeExperimentSettings().baselines.split(",") == list(BRIDGE)
    BridgeExperimentSettings(baselines=" dpr,colbert , ", variants="gate,, keywords")
    BridgeExperimentSettings(baselines="", variants="")


def flat(settings: dict, before: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in settings.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return found


def differing(one: BridgeSettings, other: BridgeSettings) -> set[str]:
    first, second = flat(asdict(one)), flat(asdict(other))
    return {key for key in first if first[key] != second[key]}


NOT_DEFAULT = BridgeSettings(
    enabled=True,
    generated_queries=False,
    keywords=False,
    intentions=False,
    max_keywords=3,
    checkpoint="mine",
    encoder=EncoderSettings(layer_fusion=False, gate=Gate.CONCAT, cross_attention=False, num_heads=4),
    training=BridgeTrainingSettings(
        num_steps=77,
        schedule=ScheduleSettings(Order.SEQUENTIAL, admission_share=0.3),
        negatives=NegativeSettings(num_per_query=0),
        sampling=SamplingSettings(alpha=0, gamma=0),
        distillation_weight=0.0,
        learning_rate=1e-3,
    ),
)
STARTS = [BridgeSettings(enabled=True), NOT_DEFAULT, SETTINGS.build.bridge]
LACKING = {
    "interleaving": {"training.schedule.order"},
    "generated queries": {"generated_queries"},
    "keywords": {"keywords"},
    "intentions": {"intentions"},
    "gate": {"encoder.gate"},
    "cross-attention": {"encoder.cross_attention"},
    "layer fusion": {"encoder.layer_fusion"},
    "last layers first": {"encoder.favoured_depth_low", "encoder.favoured_depth_high", "encoder.layer_bias"},
    "hierarchical negatives": {"training.negatives.mid_share", "training.negatives.hard_share"},
    "click-aware sampling": {"training.sampling.alpha", "training.sampling.gamma"},
    "distillation": {"training.distillation_weight"},
    "landing pages": {"reads_pages"},
    "OCR cleaning": set(),
}


@pytest.mark.parametrize("given", STARTS)
@pytest.mark.parametrize("part", VARIANTS)
def test_what_is_left_out_is_all_that_differs(given, part):
    full = everything(given)
    assert differing(full, VARIANTS[part](full)) == LACKING[part]


def test_what_is_left_out_is_off():
    full = everything(NOT_DEFAULT)
    without = {part: VARIANTS[part](full) for part in VARIANTS}
    assert without["interleaving"].training.schedule.order is Order.CONCATENATED
    assert without["gate"].encoder.gate is Gate.CONCAT  # which the gate must beat
    assert not without["hierarchical negatives"].training.negatives.mines
    assert without["hierarchical negatives"].training.negatives.num_per_query > 0
    assert without["click-aware sampling"].training.sampling == SamplingSettings(alpha=0, gamma=0)
    assert without["last layers first"].encoder.favoured_depth_high == 0.67


@pytest.mark.parametrize("given", STARTS)
def test_everything_is_on(given):
    full = everything(given)
    assert full.generated_queries and full.keywords and full.intentions and full.reads_pages
    assert full.encoder.layer_fusion and full.encoder.cross_attention and full.encoder.gate is Gate.GATE
    training = full.training
    assert training.schedule.order is Order.INTERLEAVED
    assert training.negatives.mines and training.sampling.alpha > 0 and training.distillation_weight > 0
    assert everything(full) == full
    switches = set.union(*LACKING.values()) - LACKING["last layers first"] | {"training.negatives.num_per_query"}
    assert differing(given, full) <= switches  # length, rates, sizes and seeds stay


def test_what_is_on_stays_as_it_was_set():
    training = BridgeTrainingSettings(
        negatives=NegativeSettings(num_per_query=5), sampling=SamplingSettings(0.2, 0.1), distillation_weight=2.0
    )
    given = BridgeSettings(enabled=True, training=training)
    assert differing(given, everything(given)) == {"reads_pages"}


@pytest.mark.parametrize("given", STARTS)
def test_plain_is_fine_tuning_on_clicks(given):
    bare = plain(everything(given))
    assert not (bare.generated_queries or bare.keywords or bare.intentions or bare.reads_pages)
    assert not (bare.encoder.layer_fusion or bare.encoder.reads_augmentation)
    assert bare.training == everything(given).training.plain()
    kept = ("num_steps", "batch_size", "learning_rate", "temperature", "typo_rate", "num_held_out", "seed")
    assert all(getattr(bare.training, name) == getattr(given.training, name) for name in kept)
    assert (bare.checkpoint, bare.kind) == (given.checkpoint, given.kind)


# What cannot be left out

PAGES = {"landing pages", "OCR cleaning"}


def test_parts_that_are_not_there_are_not_left_out():
    every = {"queries": True, "pages": True, "spans": True}
    assert parts_to_leave_out("", **every) == list(VARIANTS)
    assert set(VARIANTS) - set(parts_to_leave_out("", **every | {"spans": False})) == {"OCR cleaning"}
    assert set(VARIANTS) - set(parts_to_leave_out("", **every | {"spans": False, "pages": False})) == PAGES
    assert set(VARIANTS) - set(parts_to_leave_out("", **every | {"queries": False})) == {"generated queries"}
    assert parts_to_leave_out("keywords, OCR cleaning,gate", **every | {"spans": False}) == ["keywords", "gate"]


SPANS = (Span("红色水壶", 0.9),)


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({}, PAGES),
        ({"landing_text": "Boils in a minute."}, {"OCR cleaning"}),
        ({"landing_spans": SPANS}, set()),
    ],
)
def test_pages_are_looked_for_in_the_catalogue(tmp_path, monkeypatch, changed, missing):
    catalog = Catalog.from_ads([Ad("a0", "Kettle"), Ad("a1", "水壶", **changed)])
    clicks = Judgements(("1",), np.array([0]), pa.array(["a0"]), np.array([2.0]), "clicks", queries=("kettle",))
    found = Data(catalog, clicks, match_interactions(catalog, clicks, None), Queries(("1",), ("kettle",)))
    written = Augmentation((("boil water",), ()), ((), ()))
    lab = bridge._Laboratory(Experiment(tmp_path / "e", "x"), found, BridgeExperimentSettings(), written, silent)
    ran = {}
    monkeypatch.setattr(lab, "_run", lambda name, settings, **options: ran.setdefault(name, (settings, options)))
    lab.systems()
    assert list(ran)[:2] == ["plain fine-tuning", "BRIDGE"]
    assert list(ran)[-1] == "BRIDGE, sequential"
    parts = {name.removeprefix("BRIDGE − ") for name in list(ran)[2:-1]}
    assert set(VARIANTS) - parts == missing
    assert {name for name, (_, options) in ran.items() if options.get("cleaned") is False} == (
        set() if "OCR cleaning" in missing else {"BRIDGE − OCR cleaning"}
    )


def test_what_an_encoder_lacks_is_not_in_its_material(tmp_path):
    catalog = Catalog.from_ads([Ad("a0", "Red kettle"), Ad("a1", "红色水壶", landing_text="电热水壶。")])
    clicks = Judgements(("1",), np.array([0]), pa.array(["a0"]), np.array([2.0]), "clicks", queries=("kettle",))
    found = Data(catalog, clicks, match_interactions(catalog, clicks, None), Queries(("1",), ("kettle",)))
    written = Augmentation((("boil water",), ()), (("red kettle",), ("水壶",)))
    lab = bridge._Laboratory(Experiment(tmp_path / "e", "x"), found, BridgeExperimentSettings(), written, silent)
    full = replace(everything(BridgeSettings(enabled=True)), reads_pages=False)
    assert lab._material(full, True).augmentation == written
    assert lab._material(VARIANTS["generated queries"](full), True).augmentation == Augmentation(
        ((), ()), written.keywords
    )
    assert lab._material(VARIANTS["keywords"](full), True).augmentation == Augmentation(written.queries, ((), ()))
    assert lab._material(full, True).ad_texts == ("Red kettle", "红色水壶")


def test_forgetting_takes_checkpoints_and_leaves_results(tmp_path):
    experiment = Experiment(tmp_path / "e", "x", ("q",))
    for name in ("BRIDGE", "BRIDGE − gate"):
        (experiment.work(name) / "checkpoint.pt").write_bytes(b"weights")
    before = experiment.run("BRIDGE", lambda: Answers([(["a"], [1.0])]))
    kept = experiment.work("BRIDGE − gate") / "checkpoint.pt"
    experiment.forget("BRIDGE")
    experiment.forget("BRIDGE")  # nothing is there any more
    experiment.forget("never begun")
    assert [path.parent for path in (tmp_path / "e" / "work").rglob("*.pt")] == [kept.parent]
    again = experiment.run("BRIDGE", lambda: pytest.fail("done already"))
    assert again.facts == before.facts
    assert again.run.ad_ids.to_pylist() == ["a"]
    assert list(experiment.work("BRIDGE").iterdir()) == []


# Data and ground


def test_a_world_is_simulated_once(tmp_path, monkeypatch):
    made = []

    def simulate(directory, num_ads, seed, *, progress):
        made.append((num_ads, seed))
        progress("simulating", 1, 2)
        directory.mkdir(exist_ok=True)
        (directory / "world.json").write_text(json.dumps({"version": VERSION, "num_ads": num_ads, "seed": seed}))

    monkeypatch.setattr(data, "simulate_world", simulate)
    told = Stages()
    files = [world_files(tmp_path / "w", number, told) for number in (5, 5, 6)]
    assert made == [(5, 0), (6, 0)]
    assert told == ["simulating"]
    assert files[0].ads == tmp_path / "w" / "ads.jsonl.gz"
    assert files[0].taxonomy is None
    (tmp_path / "w" / "world.json").write_text(json.dumps({"version": -1, "num_ads": 6, "seed": 0}))
    world_files(tmp_path / "w", 6, told)
    assert made == [(5, 0), (6, 0), (6, 0)]


def test_what_came_first():
    found = system("x", {"runs": ["a3", "a0", "a1"], "zero": []})
    assert first_ads(found.run, "runs", 2) == ["a3", "a0"]
    assert first_ads(found.run, "zero", 2) == []
    assert first_ads(found.run, "nobody", 2) == []
    assert seconds_of(found) == 90.0


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git")])
def test_without_a_checkout_the_header_names_the_version(monkeypatch, error, measured):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert measured.header()["commit"] == f"version {version('intently')}"


# The report, on hand-made results

SYSTEMS = (
    "BM25", "DPR-style", "plain fine-tuning", "BRIDGE", "BRIDGE − interleaving", "BRIDGE − keywords",
    "BRIDGE, sequential", *ENGINE, RANKS, LEARNED,
)  # fmt: skip
# a0 is head, a3 torso, all others are tail, also those that nobody clicked.
CLICKED = [("shoe", "a0", 30), ("sneaker", "a0", 20), ("robot", "a3", 5), ("鞋", "a2", 4), ("rack", "a5", 1)]
CLICKS = Judgements(
    tuple(str(row) for row in range(len(CLICKED))),
    np.arange(len(CLICKED)),
    pa.array([ad for _, ad, _ in CLICKED]),
    np.array([float(number) for _, _, number in CLICKED]),
    "clicks",
    queries=tuple(query for query, _, _ in CLICKED),
)
GROUPS = {"a0": "head", "a3": "torso"}
FORGOTTEN = {
    "BRIDGE": {"clicks": 0.01, "keywords": 0.02},
    "BRIDGE, sequential": {"clicks": 0.25, "keywords": 0.0},
    "BRIDGE − interleaving": {"clicks": 0.03},
}
WRITTEN = {
    "num_ads": 7, "num_allotted_ads": 5, "num_written": 20, "num_queries": 12, "num_duplicates": 3,
    "num_ads_with_queries": 4, "num_keywords": 30, "num_ads_with_keywords": 6, "refused": {"odd": 4, "round_trip": 1},
    "query_model": {"model": "tiny", "tokens_in": 100, "seconds": 2.0}, "query_tuning": None,
    "keyword_model": {"model": "statistical", "tokens_in": 0}, "keyword_tuning": None,
}  # fmt: skip


def rankings(seed: int) -> dict[str, list[str]]:
    """Return rankings by chance; of odd seeds the ads come after so many unknown ones that ten are not enough."""
    before = [f"x{number}" for number in range(7 * (seed % 2))]
    return {query_id: [*before, *ads] for query_id, ads in shuffled(seed).items()}


def history(*ranks: float) -> list[dict]:
    return [{"step": 10 * at, "reciprocal_ranks": {"clicks": rank}} for at, rank in enumerate(ranks)]


@pytest.fixture(scope="module")
def measured() -> Measured:
    pytest.importorskip("matplotlib")
    looks = {"history": history(0.1, 0.4, 0.3)}
    facts = {name: {"forgetting": forgotten, **looks} for name, forgotten in FORGOTTEN.items()}
    return Measured(
        qrels=QRELS,
        clicks=CLICKS,
        catalog=CATALOG,
        queries=QUERIES,
        min_relevance=2.0,
        systems={name: system(name, rankings(seed), **facts.get(name, {})) for seed, name in enumerate(SYSTEMS)},
        build={"costs": {"seconds": 600.0}},
        augmentation=WRITTEN,
        budget="3 steps of 8 pairs",
        training="4 of 16",
        command="intently experiment bridge",
    )


@pytest.fixture(scope="module")
def chapters(measured) -> dict[str, Section]:
    """The report of `measured` by the names of its chapters."""
    told = sections(measured)
    assert [each.title for each in told] == list(TITLES.values())
    return dict(zip(TITLES, told, strict=True))


def test_table_1_measures_every_system(measured, chapters):
    table, groups = chapters["table 1"].table, {}
    for row in table.cells():
        if isinstance(row, str):
            groups[row] = []
        else:
            groups[list(groups)[-1]].append(row[0].value)
    assert groups == {"baselines": list(SYSTEMS[:3]), "this project": ["BRIDGE", *ENGINE, RANKS, LEARNED]}
    assert table.columns == [
        "system", "R@10", "MRR", "NDCG@10", "HR@500", "MAP", "CWP@10", "tail coverage@10", "minutes"
    ]  # fmt: skip
    for name, row in rows_of(chapters["table 1"]).items():
        values = dict(zip(table.columns[1:], row, strict=True))
        for column, metric in (("R@10", "Recall@10"), ("HR@500", "HR@500"), ("MAP", "MAP")):
            assert values[column] == pytest.approx(np.nanmean(slow(measured.systems[name].run, metric)))
        assert values["minutes"] == pytest.approx(1.5 + 10.0 * name.startswith("engine"))
        assert values["tail coverage@10"] == pytest.approx(slow_tail_coverage(measured.systems[name].run))
    assert "3 steps of 8 pairs" in chapters["table 1"].paragraphs[0]
    assert "4 of 16" in chapters["table 1"].paragraphs[0]


def first_ten(run: Run, query_id: str) -> list[str]:
    pairs = zip(run.ad_ids.to_pylist(), run.query_rows.tolist(), strict=True)
    return [ad for ad, row in pairs if run.query_ids[row] == query_id][:10]


def relevant_pairs() -> list[tuple[str, str]]:
    return [(query_id, ad) for query_id, (_, judged) in ASKED.items() for ad, value in judged.items() if value >= 2]


def slow_tail_coverage(run: Run) -> float:
    tail = {ad for _, ad in relevant_pairs() if ad not in GROUPS}
    return len({ad for query_id in ASKED for ad in first_ten(run, query_id)} & tail) / len(tail)


def test_recall_by_click_group(measured, chapters):
    chapter, shown = chapters["groups"], rows_of(chapters["groups"])
    assert chapter.table.columns == ["system", "head", "torso", "tail"]
    order = ["BRIDGE", "BRIDGE, sequential", "BRIDGE − interleaving"]
    assert list(shown) == [*SYSTEMS[:3], *order, *ENGINE, RANKS, LEARNED]
    for name, row in shown.items():
        run = measured.systems[name].run
        expected = []
        for group in ("head", "torso", "tail"):
            pairs = [(query_id, ad) for query_id, ad in relevant_pairs() if GROUPS.get(ad, "tail") == group]
            expected.append(sum(ad in first_ten(run, query_id) for query_id, ad in pairs) / len(pairs))
        assert row == pytest.approx(expected), name
    assert "1 head, 1 torso, 5 tail ads" in chapter.paragraphs[0]
    assert len({tuple(row) for row in shown.values()}) > 3


def test_a_group_without_relevant_ads_has_no_recall(measured):
    clicks = replace(CLICKS, values=np.ones(len(CLICKED)))
    shown = rows_of(sections(replace(measured, clicks=clicks))[3])
    assert all(row[:2] == [None, None] and row[2] is not None for row in shown.values())


def test_what_is_better_without_is_said(measured, chapters):
    chapter = chapters["parts"]
    assert list(rows_of(chapter)) == ["BRIDGE", "BRIDGE − keywords", "BRIDGE − interleaving"]
    precision = {name: np.nanmean(slow(measured.systems[name].run, "MAP")) for name in rows_of(chapter)}
    for name, row in rows_of(chapter).items():
        assert row[4] == pytest.approx(precision[name])
        assert row[-1] == pytest.approx(1.5)
    told = {1: [], -1: []}
    for name in list(precision)[1:]:
        differences = slow(measured.systems[name].run, "MAP") - slow(measured.systems["BRIDGE"].run, "MAP")
        differences = differences[~np.isnan(differences)]
        if randomization_test(differences[:, None])[0] < 0.05:
            told[np.sign(differences.mean())].append(name.removeprefix("BRIDGE − "))
    better, worse = (", ".join(told[sign]) or "nothing" for sign in (1, -1))
    assert f"(p < 0.05): {better}. Significantly worse without: {worse}." in chapter.paragraphs[1]


def test_nothing_is_better_without_if_bridge_is_best(measured):
    best = {query_id: [ad for ad, value in judged.items() if value >= 2] for query_id, (_, judged) in ASKED.items()}
    systems = dict(measured.systems) | {"BRIDGE": system("BRIDGE", best)}
    assert (
        "better without, by MAP (p < 0.05): nothing." in sections(replace(measured, systems=systems))[1].paragraphs[1]
    )
    systems = dict(measured.systems) | {"BRIDGE": system("BRIDGE", {query_id: ["x"] for query_id in ASKED})}
    told = sections(replace(measured, systems=systems))[1].paragraphs[1]
    assert "(p < 0.05): interleaving. Significantly worse without: nothing." in told


def test_schedules_tell_what_was_forgotten(chapters):
    chapter = chapters["schedules"]
    assert chapter.table.columns == ["system", "R@10", "HR@500", "MAP", "forgot clicks", "forgot keywords"]
    shown = {name: row[3:] for name, row in rows_of(chapter).items()}
    assert shown == {
        name: [FORGOTTEN[name]["clicks"], FORGOTTEN[name].get("keywords")]
        for name in ("BRIDGE", "BRIDGE, sequential", "BRIDGE − interleaving")
    }
    (figure,) = chapter.figures
    assert figure.alt.startswith("Line chart of MRR of held-out clicks against step.")
    for schedule in ("interleaved", "sequential", "concatenated"):
        assert f"{schedule}: from 0.1 at 0 to 0.3 at 20" in figure.alt


def test_without_looks_there_is_no_curve(measured):
    systems = {name: replace(found, facts={"costs": {"seconds": 1.0}}) for name, found in measured.systems.items()}
    chapter = sections(replace(measured, systems=systems))[2]
    assert chapter.figures == ()
    assert chapter.table.columns == ["system", "R@10", "HR@500", "MAP"]


def test_what_encoder_and_fusion_add_is_the_mean_of_differences(measured, chapters):
    pairs = [("plain fine-tuning", "BRIDGE"), ("BM25", RANKS), ("engine, lexical", RANKS), (RANKS, LEARNED)]
    rows = [[cell.value for cell in row] for row in chapters["engine"].table.cells()]
    assert [(row[1], row[0], row[2]) for row in rows] == [(*pair, metric) for pair in pairs for metric in METRICS]
    for after_name, before_name, metric, *means, interval, p_value in rows:
        before, after = (slow(measured.systems[name].run, metric) for name in (before_name, after_name))
        assert means == pytest.approx([np.nanmean(before), np.nanmean(after), np.nanmean(after - before)])
        low, high = (float(end) for end in interval.split(" … "))
        assert low - 1e-4 <= means[2] <= high + 1e-4
        assert 0 < p_value <= 1


def test_an_engine_without_a_learned_fusion_has_no_such_row(measured):
    systems = {name: found for name, found in measured.systems.items() if name != LEARNED}
    told = sections(replace(measured, systems=systems))
    assert LEARNED not in rows_of(told[0])
    assert LEARNED not in [row[0].value for row in told[4].table.cells()]
    assert len(list(told[4].table.cells())) == 9


def test_costs_of_augmentation_are_told(chapters):
    rows = rows_of(chapters["augmentation"])
    assert rows["ads sent to the generative model"] == [5]
    assert rows["queries kept"] == [12]
    assert rows["refused: round trip"] == [1]
    assert rows["query model: tokens in"] == [100]
    assert rows["keyword model: tokens in"] == [0]
    assert not [name for name in rows if "tuning" in name or name.endswith("model: model")]


def test_the_world_s_settings_compare_like_with_like():
    training, budget = SETTINGS.build.bridge.training, SETTINGS.budget
    assert (training.num_steps, training.batch_size) == (budget.num_steps, budget.batch_size)
    assert training.learning_rate == budget.learning_rate
    assert SETTINGS.augment != AugmentSettings()
