"""The BRIDGE experiment's settings, and what its encoders without one part each are."""

from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("torch")

from hand_made import silent

from intently.build.augmentation.augment import AugmentSettings
from intently.build.augmentation.augmentation import Augmentation
from intently.build.encoder import BuiltEncoder
from intently.build.interactions import match_interactions
from intently.build.settings import BridgeSettings, BuildSettings
from intently.build.training.bridge import BridgeTrainingSettings
from intently.build.training.distillation import DistillationSettings
from intently.build.training.negatives import NegativeSettings
from intently.build.training.sampling import SamplingSettings
from intently.build.training.schedule import Order, ScheduleSettings
from intently.catalog import Catalog, Judgements, Queries
from intently.errors import SettingsError
from intently.index.token_vectors import TokenVectors
from intently.lab.baselines.registry import BRIDGE
from intently.lab.experiments import bridge
from intently.lab.experiments.bridge import BridgeExperimentSettings
from intently.lab.experiments.bridge_variants import VARIANTS, everything, parts_to_leave_out, plain
from intently.lab.experiments.bridge_world import SETTINGS
from intently.lab.experiments.data import Data
from intently.lab.experiments.runner import Answers, Experiment
from intently.models.encoder.embedder import EmbeddedAds, EmbeddedQueries
from intently.models.encoder.settings import EncoderSettings, Gate
from intently.types import Ad, Span


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
    encoder=EncoderSettings(gate=Gate.CONCAT, num_heads=4, token_dimension=0),
    training=BridgeTrainingSettings(
        num_steps=77,
        schedule=ScheduleSettings(Order.SEQUENTIAL, admission_share=0.3),
        negatives=NegativeSettings(num_per_query=0),
        sampling=SamplingSettings(alpha=0, gamma=0),
        distillation=DistillationSettings(weight=0.0, temperature=3.0, cosine_weight=0.0, alone=False),
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
    "late interaction": {"encoder.token_dimension"},
    "last layers first": {"encoder.favoured_depth_low", "encoder.favoured_depth_high", "encoder.layer_bias"},
    "hierarchical negatives": {"training.negatives.mid_share", "training.negatives.hard_share"},
    "click-aware sampling": {"training.sampling.alpha", "training.sampling.gamma"},
    "distillation": {"training.distillation.weight"},
    "guide": {"training.distillation.cosine_weight"},
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
    assert without["late interaction"].encoder.token_dimension == 0
    assert without["last layers first"].encoder.favoured_depth_high == 0.67
    assert without["distillation"].training.distillation.weight == 0
    assert without["guide"].training.distillation.cosine_weight == 0 < without["guide"].training.distillation.weight


@pytest.mark.parametrize("given", STARTS)
def test_everything_is_on(given):
    full = everything(given)
    assert full.generated_queries and full.keywords and full.intentions and full.reads_pages
    assert full.encoder.layer_fusion and full.encoder.cross_attention and full.encoder.gate is Gate.GATE
    assert full.encoder.token_dimension == (given.encoder.token_dimension or EncoderSettings.token_dimension) > 0
    training = full.training
    assert training.schedule.order is Order.INTERLEAVED
    assert training.negatives.mines and training.sampling.alpha > 0
    assert training.distillation.weight > 0 and training.distillation.cosine_weight > 0
    assert everything(full) == full
    switches = set.union(*LACKING.values()) - LACKING["last layers first"] | {"training.negatives.num_per_query"}
    assert differing(given, full) <= switches  # length, rates, sizes and seeds stay


def test_what_is_on_stays_as_it_was_set():
    training = BridgeTrainingSettings(
        negatives=NegativeSettings(num_per_query=5),
        sampling=SamplingSettings(0.2, 0.1),
        distillation=DistillationSettings(weight=2.0, cosine_weight=3.0, label_bonus=1.0),
    )
    given = BridgeSettings(enabled=True, encoder=EncoderSettings(num_heads=4).with_all_parts(), training=training)
    assert differing(given, everything(given)) == {"reads_pages"}


@pytest.mark.parametrize("given", STARTS)
def test_plain_is_fine_tuning_on_clicks(given):
    bare = plain(everything(given))
    assert not (bare.generated_queries or bare.keywords or bare.intentions or bare.reads_pages)
    assert not (bare.encoder.layer_fusion or bare.encoder.reads_augmentation or bare.encoder.token_dimension)
    assert bare.training == everything(given).training.plain()
    kept = ("num_steps", "batch_size", "learning_rate", "temperature", "typo_rate", "num_held_out", "seed")
    assert all(getattr(bare.training, name) == getattr(given.training, name) for name in kept)
    assert (bare.checkpoint, bare.kind) == (given.checkpoint, given.kind)


PAGES = {"landing pages", "OCR cleaning"}


def test_parts_that_are_not_there_are_not_left_out():
    every = {"queries": True, "pages": True, "spans": True}
    assert parts_to_leave_out("", **every) == list(VARIANTS)
    assert set(VARIANTS) - set(parts_to_leave_out("", **every | {"spans": False})) == {"OCR cleaning"}
    assert set(VARIANTS) - set(parts_to_leave_out("", **every | {"spans": False, "pages": False})) == PAGES
    assert set(VARIANTS) - set(parts_to_leave_out("", **every | {"queries": False})) == {"generated queries"}
    assert parts_to_leave_out("keywords, OCR cleaning,gate", **every | {"spans": False}) == ["keywords", "gate"]


PLAIN = ("plain fine-tuning", "plain fine-tuning, twice as long")
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
    settings = BridgeExperimentSettings()
    lab = bridge._Laboratory(Experiment(tmp_path / "e", "x", ("1",)), found, settings, written, silent)
    built = {}
    monkeypatch.setattr(lab, "_built", lambda name, settings, **options: built.setdefault(name, (settings, options)))
    monkeypatch.setattr(lab, "_answers", lambda _: Answers([([], [])]))
    assert list(lab.main_systems()) == list(built) == [*PLAIN, "BRIDGE"]
    ablations = list(lab.ablations())
    assert ablations == list(built)[3:]
    assert ablations[-1] == "BRIDGE, sequential"
    assert set(VARIANTS) - {name.removeprefix("BRIDGE − ") for name in ablations[:-1]} == missing
    assert {name for name, (_, options) in built.items() if not options["cleaned"]} == (
        set() if "OCR cleaning" in missing else {"BRIDGE − OCR cleaning"}
    )
    assert tuple(name for name, (_, options) in built.items() if not options["guided"]) == PLAIN
    (bare, _), (longer, _), (full, _) = list(built.values())[:3]
    assert differing(bare, longer) == {"training.num_steps"}
    assert longer.training.num_steps == bare.training.num_steps + full.training.num_steps


class FakeEmbedder:
    """Knows the embeddings of queries, and of their tokens if they interact."""

    def __init__(self, read: EmbeddedQueries) -> None:
        self._read = read

    def read_queries(self, texts):
        assert len(texts) == len(self._read.embeddings)
        return self._read


@pytest.mark.parametrize("interacts", [True, False])
def test_twice_as_many_ads_as_answer_are_asked_of_their_tokens(tmp_path, monkeypatch, interacts):
    monkeypatch.setattr(bridge, "DEPTH", 3)
    rng = np.random.default_rng(0)

    def unit(*shape: int) -> np.ndarray:
        drawn = rng.normal(size=shape).astype(np.float32)
        return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)

    catalog = Catalog.from_ads([Ad(f"a{row}", "红色 kettle") for row in range(20)])
    clicks = Judgements(("1",), np.array([0]), pa.array(["a0"]), np.array([2.0]), "clicks", queries=("kettle",))
    asked = Queries(("1", "2", "3"), ("kettle", "水壶", "pan"))
    found = Data(catalog, clicks, match_interactions(catalog, clicks, None), asked)
    settings = BridgeExperimentSettings()
    lab = bridge._Laboratory(Experiment(tmp_path / "e", "x", ("1",)), found, settings, None, silent)
    ads, queries = unit(20, 8), unit(3, 8)
    tokens, of_queries = [unit(1 + row % 4, 6) for row in range(20)], [unit(2, 6), unit(1, 6), unit(5, 6)]
    vectors = TokenVectors.build([TokenVectors.codes_of(own) for own in tokens])
    read = EmbeddedQueries(queries, of_queries if interacts else None)
    answers = lab._answers(
        BuiltEncoder(FakeEmbedder(read), EmbeddedAds(ads, vectors if interacts else None), {"num_steps": 4})
    )
    assert answers.facts == {"num_steps": 4}
    weight, moved = settings.build.retrieval.late_weight, 0
    for query, own, (ad_ids, scores) in zip(queries, of_queries, answers.rankings, strict=True):
        nearest = sorted(range(20), key=lambda row: -float(ads[row] @ query))
        expected = {row: float(ads[row] @ query) for row in nearest[: 6 if interacts else 3]}
        if interacts:
            for row in expected:
                expected[row] += weight * np.mean([max(float(one @ other) for other in tokens[row]) for one in own])
        best = sorted(expected, key=lambda row: -expected[row])[:3]
        assert ad_ids == [f"a{row}" for row in best]
        assert scores == pytest.approx([expected[row] for row in best], abs=0.01)  # tokens are kept in int8
        moved += best != nearest[:3]
    assert bool(moved) == interacts


def test_what_an_encoder_lacks_is_not_in_its_material(tmp_path):
    catalog = Catalog.from_ads([Ad("a0", "Red kettle"), Ad("a1", "红色水壶", landing_text="电热水壶。")])
    clicks = Judgements(("1",), np.array([0]), pa.array(["a0"]), np.array([2.0]), "clicks", queries=("kettle",))
    found = Data(catalog, clicks, match_interactions(catalog, clicks, None), Queries(("1",), ("kettle",)))
    written = Augmentation((("boil water",), ()), (("red kettle",), ("水壶",)))
    settings = BridgeExperimentSettings()
    settings = replace(settings, build=found.stemmed(settings.build))
    lab = bridge._Laboratory(Experiment(tmp_path / "e", "x"), found, settings, written, silent)
    full = replace(everything(BridgeSettings(enabled=True)), reads_pages=False)
    assert lab._material(full, True).augmentation == written
    assert lab._material(VARIANTS["generated queries"](full), True).augmentation == Augmentation(
        ((), ()), written.keywords
    )
    assert lab._material(VARIANTS["keywords"](full), True).augmentation == Augmentation(written.queries, ((), ()))
    assert lab._material(full, True).ad_texts == ("Red kettle", "红色水壶")


def test_the_world_s_settings_compare_like_with_like():
    training, budget = SETTINGS.build.bridge.training, SETTINGS.budget
    assert (training.num_steps, training.batch_size) == (budget.num_steps, budget.batch_size)
    assert training.learning_rate == budget.learning_rate
    assert SETTINGS.augment != AugmentSettings()
