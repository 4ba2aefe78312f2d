"""BRIDGE's tables on one's own data: its baselines, what each of its parts is worth, schedules, and the fused engine.

    augmentation → encoders → engine (channels, fusion) → baselines → encoders without one part each → tables → report

Everything is a step of a resumable experiment (`intently.lab.experiments.runner`). The queries that the learned fusion
learns from are held out of all that is trained here, so that every system learns from the same clicks.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from intently.build.augmentation.augment import AugmentSettings, augment, report_path
from intently.build.augmentation.augmentation import Augmentation
from intently.build.augmentation.records import AdsAndClicks
from intently.build.encoder import (
    BuiltEncoder,
    EncoderMaterial,
    build_encoder,
    chosen_augmentation,
    read_by_encoder,
)
from intently.build.encoder_teacher import Guide
from intently.build.fusion import held_out_queries
from intently.build.intentions import choose_vocabulary
from intently.build.pipeline import build_engine
from intently.build.settings import BridgeSettings, BuildSettings
from intently.build.training.bridge import BridgeTrainingSettings
from intently.build.training.schedule import Order
from intently.catalog import read_qrels, read_queries
from intently.catalog.texts import ad_texts, searchable_texts
from intently.engine.engine import Engine
from intently.errors import SettingsError
from intently.index.lexical import LexicalIndex
from intently.index.postings import top_rows
from intently.intentions.vocabulary import Vocabulary
from intently.lab.baselines.registry import ALL, BRIDGE
from intently.lab.baselines.task import Budget, Task
from intently.lab.experiments.bridge_report import Measured, sections
from intently.lab.experiments.bridge_variants import (
    VARIANTS,
    everything,
    names,
    ordered,
    parts_to_leave_out,
    plain,
    trained_with,
)
from intently.lab.experiments.data import Data, Files
from intently.lab.experiments.publish import publish
from intently.lab.experiments.rare_systems import answer, as_answers, bm25
from intently.lab.experiments.requirements import require
from intently.lab.experiments.runner import Answers, Experiment, SystemResult, fingerprint_of
from intently.live.landing_pages import clean_landing_pages, domain_lexicon, landing_spans
from intently.models.pretrained import ENGLISH, load_pretrained
from intently.models.student import Student
from intently.text.ocr_cleaning import OcrCleaner, OcrSettings
from intently.types import Channel, Progress

DEPTH = 500  # ads a query


@dataclass(frozen=True)
class BridgeExperimentSettings:
    """What is built and compared."""

    build: BuildSettings = field(
        default_factory=lambda: BuildSettings(
            checkpoint=ENGLISH,
            bridge=BridgeSettings(enabled=True, training=BridgeTrainingSettings(num_steps=300, batch_size=64)),
        )
    )
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    budget: Budget = field(default_factory=lambda: Budget(num_steps=300, batch_size=64))  # of every trained baseline
    baselines: str = ",".join(BRIDGE)  # names of `intently.lab.baselines.registry`, with commas between them
    variants: str = ""  # of `VARIANTS`, with commas between them; empty: all
    min_relevance: float | None = None  # from which an ad counts as relevant in the test

    def __post_init__(self) -> None:
        for setting, known in (("baselines", ALL), ("variants", VARIANTS)):
            unknown = [name for name in names(getattr(self, setting)) if name not in known]
            if unknown:
                raise SettingsError(f"'{setting}' names {unknown[0]!r}; known are {', '.join(known)}")
        if not self.build.bridge.enabled:
            raise SettingsError("'build.bridge.enabled' is false; the experiment measures that encoder")
        if self.build.bridge.augmentation_file:
            raise SettingsError("'build.bridge.augmentation_file' is given; the experiment makes its own")


_PLAIN, _LONGER, _SEQUENTIAL = "plain fine-tuning", "plain fine-tuning, twice as long", "BRIDGE, sequential"


def run_bridge(
    files: Files, out: Path, settings: BridgeExperimentSettings, *, progress: Progress, results: Path | None = None
) -> Path:
    """Run what is missing of the experiment in `out`, and return the path of its HTML report.

    `results` is a Markdown file with `<!-- bridge -->` and `<!-- /bridge -->` marks, between which the tables go.
    """
    queries = read_queries(files.queries)
    inputs = {name: path for name, path in vars(files).items() if path is not None}
    experiment = Experiment(out / "all", fingerprint_of(inputs, settings), queries.ids)
    every = Data.read(files, settings.build, queries)
    settings = replace(settings, build=every.stemmed(settings.build))
    require(names(settings.baselines), [settings.augment.queries.model.name])
    aside = held_out_queries(every.interactions, settings.build.fusion)
    data = replace(every, interactions=every.interactions.of_queries(~aside))

    written = _augmentation(experiment, data, settings, progress)
    path = experiment.work("augmentation") / "augmentation.jsonl"
    lab = _Laboratory(experiment, data, settings, Augmentation.load(path, data.catalog), progress)
    # What matters most is measured first: hours are not always waited for to their end.
    main = lab.main_systems()
    bridge = replace(settings.build.bridge, augmentation_file=str(path))
    engine_path = experiment.work("engine") / "engine"
    build = experiment.facts(
        "build",
        lambda: (
            build_engine(
                files.ads, files.clicks, engine_path, replace(settings.build, bridge=bridge), progress=progress
            ).facts
        ),
    )
    channels = _channels(experiment, Engine.load(engine_path, num_threads=2), data.queries.texts, progress)
    systems = _baselines(experiment, data, settings, progress) | main | lab.ablations() | channels
    measured = Measured(
        qrels=read_qrels(files.qrels),
        clicks=data.judgements,
        catalog=data.catalog,
        queries=queries,
        min_relevance=settings.min_relevance,
        systems=systems,
        build=build,
        augmentation=written,
        budget=f"{settings.budget.num_steps} steps of {settings.budget.batch_size} pairs",
        training=f"{settings.build.bridge.training.num_steps} of {settings.build.bridge.training.batch_size}",
        command="intently experiment bridge",
    )
    title = "BRIDGE: augmented ads, an encoder trained in turns, two stages"
    return publish(out / "bridge.html", title, sections(measured), measured.header(), results, "bridge")


def _augmentation(
    experiment: Experiment, data: Data, settings: BridgeExperimentSettings, progress: Progress
) -> dict[str, Any]:
    path = experiment.work("augmentation") / "augmentation.jsonl"

    def write() -> dict[str, Any]:
        interactions, num_ads = data.interactions, data.catalog.num_ads
        liked, disliked = (
            np.bincount(pairs[:, 1], minlength=num_ads) for pairs in (interactions.clicks, interactions.irrelevant)
        )
        gathered = AdsAndClicks(
            titles=data.catalog.strings("title"),
            texts=ad_texts(data.catalog),
            bids=data.catalog.bare_keywords(),
            queries=interactions.queries,
            clicks=interactions.clicks,
            counts=interactions.counts,
            num_judged=liked + disliked,
            num_positive=liked,
            held_out_share=settings.build.fusion.held_out_share,
            seed=settings.build.fusion.seed,
        )
        augmentation, report = augment(data.catalog, gathered, settings.augment, path, progress)
        augmentation.save(path, data.catalog)
        report.save(report_path(path))
        return {**asdict(report), "path": path.name}

    return experiment.facts("augmentation", write)


def _baselines(
    experiment: Experiment, data: Data, settings: BridgeExperimentSettings, progress: Progress
) -> dict[str, SystemResult]:
    systems = {"BM25": experiment.run("BM25", partial(bm25, data.catalog, data.queries.texts))}
    task, work = data.task(settings.build), experiment.work("baselines")
    for name in names(settings.baselines):
        run = partial(_baseline, name, task, settings.budget, work, progress)
        systems[ALL[name].title] = experiment.run(ALL[name].title, run)
    return systems


def _baseline(name: str, task: Task, budget: Budget, work: Path, progress: Progress) -> Answers:
    found = ALL[name].run(task, budget, work, progress)
    return Answers(as_answers(found.rankings), found.num_identifiers)


def _channels(
    experiment: Experiment, engine: Engine, queries: Sequence[str], progress: Progress
) -> dict[str, SystemResult]:
    """Return the engine's channels, and their fusion by reciprocal ranks and as learned."""
    ask = partial(answer, engine, queries, progress=progress)
    systems = {
        f"engine, {channel}": experiment.run(f"engine, {channel}", partial(ask, channel))
        for channel in (Channel.LEXICAL, Channel.DENSE, Channel.INTENTION)
    }
    learned, engine.fusion = engine.fusion, None
    name = "engine, fused by reciprocal ranks"
    systems[name] = experiment.run(name, partial(ask, Channel.FUSED))
    engine.fusion = learned
    if learned:
        name = "engine, fused as learned"
        systems[name] = experiment.run(name, partial(ask, Channel.FUSED))
    return systems


class _Laboratory:
    """Trains encoders that differ in one thing each, on the same material."""

    def __init__(
        self,
        experiment: Experiment,
        data: Data,
        settings: BridgeExperimentSettings,
        augmentation: Augmentation,
        progress: Progress,
    ) -> None:
        self._experiment, self._data, self._settings, self._progress = experiment, data, settings, progress
        self._augmentation = augmentation
        self._has_spans = any(landing_spans(data.catalog))
        self._has_pages = self._has_spans or any(data.catalog.strings("landing_text"))

    def main_systems(self) -> dict[str, SystemResult]:
        """Return plain fine-tuning, once and as long as it and BRIDGE take together, and BRIDGE."""
        full = everything(self._settings.build.bridge)
        alone = plain(full)
        longer = trained_with(alone, num_steps=2 * alone.training.num_steps)
        return {
            _PLAIN: self._experiment.run(_PLAIN, lambda: self._answers(self._plain)),
            _LONGER: self._run(_LONGER, longer, guided=False),
            "BRIDGE": self._run("BRIDGE", full),
        }

    def ablations(self) -> dict[str, SystemResult]:
        """Return BRIDGE without each part, and BRIDGE trained source after source."""
        full = everything(self._settings.build.bridge)
        systems = {}
        for part in parts_to_leave_out(
            self._settings.variants,
            queries=any(self._augmentation.queries),
            pages=self._has_pages,
            spans=self._has_spans,
        ):
            name = f"BRIDGE − {part}"
            systems[name] = self._run(name, VARIANTS[part](full), cleaned=part != "OCR cleaning")
        systems[_SEQUENTIAL] = self._run(_SEQUENTIAL, ordered(full, Order.SEQUENTIAL))
        return systems

    def _run(self, name: str, settings: BridgeSettings, *, cleaned: bool = True, guided: bool = True) -> SystemResult:
        result = self._experiment.run(
            name, lambda: self._answers(self._built(name, settings, cleaned=cleaned, guided=guided))
        )
        self._experiment.forget(name)
        return result

    def _built(self, name: str, settings: BridgeSettings, *, cleaned: bool, guided: bool) -> BuiltEncoder:
        material = self._material(settings, cleaned)
        if guided:
            reader = self._plain.embedder.on(self._settings.build.device)
            guide = Guide(reader.embed_queries, self._plain.ads.embeddings)
            material = replace(material, guide=guide)
        read = (
            [kind for kind, items in vars(material.augmentation).items() if any(items)] if material.augmentation else []
        )
        features = self._experiment.work("features") / ("-".join(read) or "none")
        built = build_encoder(
            material,
            settings,
            self._experiment.work(name),
            self._progress,
            features_directory=features,
            device=self._settings.build.device,
        )
        return replace(built, training={**built.training, "settings": asdict(settings)})

    def _answers(self, built: BuiltEncoder) -> Answers:
        """Answer by the nearest ads; where tokens interact, by that in addition, which twice as many ads are asked."""
        ad_ids, late_weight = self._data.catalog.strings("ad_id"), self._settings.build.retrieval.late_weight
        ads, rankings = built.ads, []
        queries = built.embedder.read_queries(self._data.queries.texts)
        for row, query in enumerate(queries.embeddings):
            scores = ads.embeddings @ query
            best = top_rows(scores, 2 * DEPTH if ads.tokens else DEPTH)
            found = scores[best]
            if ads.tokens and queries.tokens:
                found += np.float32(late_weight) * ads.tokens.scores_of(queries.tokens[row], best)
            order = np.argsort(-found, kind="stable")[:DEPTH]
            rankings.append(([ad_ids[ad] for ad in best[order].tolist()], found[order].tolist()))
        return Answers(rankings, facts=built.training)

    @cached_property
    def _plain(self) -> BuiltEncoder:
        """What BRIDGE has to beat, which is also half of its teacher; kept for as long as the experiment is."""
        return self._built(_PLAIN, plain(everything(self._settings.build.bridge)), cleaned=True, guided=False)

    def _material(self, settings: BridgeSettings, cleaned: bool) -> EncoderMaterial:
        """Return what an encoder learns from; pages that are not cleaned are read as OCR read them."""
        data, build = self._data, self._settings.build
        texts = self._texts(cleaned) if settings.reads_pages and self._has_pages else ad_texts(data.catalog)
        return EncoderMaterial(
            tuple(texts),
            tuple(data.catalog.strings("title")),
            data.interactions,
            self._vocabulary,
            chosen_augmentation(self._augmentation, settings),
            self._lexical,
            build.checkpoint,
        )

    # What follows is made when the first encoder needs it: never, if all of them are there.

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return choose_vocabulary(self._data.catalog, self._data.interactions, self._settings.build)

    @cached_property
    def _cleaner(self) -> OcrCleaner:
        return OcrCleaner(domain_lexicon(self._data.catalog, self._vocabulary.texts), self._settings.build.ocr)

    @cached_property
    def _pages(self) -> tuple[str, ...]:
        return clean_landing_pages(self._data.catalog, self._cleaner, self._progress).texts

    @cached_property
    def _lexical(self) -> LexicalIndex:
        return LexicalIndex.build(searchable_texts(self._data.catalog, self._pages), self._settings.build.lexical)

    @cache  # noqa: B019 - one laboratory an experiment
    def _texts(self, cleaned: bool) -> list[str]:
        """Return what encoders that read pages read of each ad."""
        data, build = self._data, self._settings.build
        as_read = OcrCleaner(domain_lexicon(data.catalog), OcrSettings(high=0, low=0))  # which keeps every span
        pages = self._pages if cleaned else clean_landing_pages(data.catalog, as_read, self._progress).texts
        start = Student(*load_pretrained(build.checkpoint)).on(build.device)
        bridge = everything(build.bridge)
        return read_by_encoder(data.catalog, pages, data.interactions, start, bridge, self._progress)
