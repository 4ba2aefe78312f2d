"""The BRIDGE experiment, once from end to end with tiny models."""

import gzip
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from hand_made import Stages, content_of, silent, tables
from test_cli import write_checkpoint

from intently.build import parts
from intently.build.encoder import EncoderMaterial
from intently.build.settings import BridgeSettings, BuildSettings
from intently.build.training.bridge import BridgeTrainingSettings
from intently.build.training.fusion import FusionSettings, held_out
from intently.build.training.negatives import NegativeSettings
from intently.build.training.student import TrainingSettings
from intently.catalog import read_ads, read_judgements, read_queries, read_run
from intently.catalog.texts import ad_texts
from intently.engine.settings import RetrievalSettings
from intently.errors import InputError
from intently.index.posting_weights import PostingSettings
from intently.intentions.decode import DecodeSettings
from intently.lab.baselines.registry import Baseline
from intently.lab.baselines.task import Budget
from intently.lab.experiments import bridge, data
from intently.lab.experiments.bridge import BridgeExperimentSettings, run_bridge
from intently.lab.experiments.data import Files
from intently.lab.world import simulate_world
from intently.models.student import Runtime
from intently.text.normalize import normalize
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
    note(parts, "build_intentions", 2)
    note(Baseline, "run", 1)
    for owner in (bridge, parts):
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
            fusion=FusionSettings(
                held_out_share=0.3, min_queries=10, num_folds=2, max_trees=3, min_leaf=5, max_p_value=1.0
            ),
            retrieval=RetrievalSettings(decode=DecodeSettings(num_beams=4), runtime=Runtime.TORCH),
        ),
        budget=Budget(num_steps=2, batch_size=8, checkpoint=checkpoint),
        baselines="dpr",
        variants="interleaving, generated queries, late interaction, OCR cleaning",
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


PLAIN = ("plain fine-tuning", "plain fine-tuning, twice as long")
LATELESS = "BRIDGE − late interaction"
TRAINED = (*PLAIN, "BRIDGE", "BRIDGE − interleaving", LATELESS, "BRIDGE − OCR cleaning", "BRIDGE, sequential")


def test_the_report_has_all_chapters_and_systems(done):
    told = tables(done.text)
    assert list(told) == list(TITLES.values())
    fused = [RANKS, LEARNED] if LEARNED in done.steps else [RANKS]
    rows = [row for row in told[TITLES["table 1"]] if any(row[1:])]
    assert [row[0] for row in rows] == ["BM25", "DPR-style", *PLAIN, "BRIDGE", *ENGINE, *fused]
    assert all(re.fullmatch(r"\d\.\d{4}", cell) for row in rows for cell in row[1:8])
    names = ["BRIDGE", LATELESS, "BRIDGE − OCR cleaning", "BRIDGE − interleaving"]
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
    normalized = {normalize(query) for query in aside}
    for material, _ in done.taught.encoders.values():
        whole_queries = {normalize(text) for text in material.vocabulary.texts}
        titles = {normalize(text) for text in material.titles}
        bids = {normalize(bid) for bids in bid_keywords(done) for bid in bids}
        assert not {query for query in whole_queries & normalized - bids if not any(query in title for title in titles)}


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
        num_steps = 6 if name == PLAIN[1] else 3
        assert facts["num_steps"] == num_steps
        assert [look["step"] for look in facts["history"]] == list(range(num_steps + 1))
        assert sum(facts["num_drawn"].values()) == 8 * num_steps
        assert facts["settings"] == asdict(of_system(done, name)[1])
        if name in PLAIN:
            assert set(facts["num_drawn"]) == {"clicks"}
            assert set(facts["losses"]) == {"contrastive", "accuracy"}
        else:  # no language model wrote queries
            assert set(facts["num_drawn"]) == {"clicks", "keywords", "intentions"}
            assert facts["settings"]["training"]["schedule"]["order"] == orders.get(name, "interleaved")
            assert "distillation" in facts["losses"]
            late = {loss for loss in facts["losses"] if loss.startswith("late ")}
            assert ("late distillation" in late) == bool(late) == (name != LATELESS)
            assert (facts["settings"]["encoder"]["token_dimension"] == 0) == (name == LATELESS)
    assert "BRIDGE − generated queries" not in done.steps


def test_plain_fine_tuning_guides_all_others(done):
    assert [name for name in TRAINED if of_system(done, name)[0].guide is None] == list(PLAIN)
    queries = read_queries(done.files.queries)
    (file,) = (path for path in (done.out / "all" / "steps").glob("plain-fine-tuning-????????.trec.gz"))
    run = read_run(file)
    ids = read_ads(done.files.ads).catalog.strings("ad_id")
    for name in TRAINED[2:]:
        guide = of_system(done, name)[0].guide
        cosines = guide.embed(queries.texts[:3]) @ guide.embeddings.T
        for query_id, own in zip(queries.ids[:3], cosines, strict=True):
            at = run.query_rows == run.query_ids.index(query_id)
            told = dict(zip(run.ad_ids.filter(at).to_pylist(), run.scores[at].tolist(), strict=True))
            assert told == pytest.approx(dict(zip(ids, own.tolist(), strict=True)), abs=1e-4)


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
    left = {re.sub("-[0-9a-f]{8}$", "", path.name) for path in (done.out / "all" / "work").iterdir()}
    # Plain fine-tuning stays, as it guides whatever is still to be trained.
    assert left == {"augmentation", "baselines", "engine", "features", "plain-fine-tuning"}


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
