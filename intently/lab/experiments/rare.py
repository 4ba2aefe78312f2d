"""RARE's tables on one's own data: small versions of the paper's baselines, trained and measured on the same queries.

    knowledge → teacher (with and without it) → engine → systems → tables, cases, cache → report

Everything is a step of a resumable experiment (`intently.lab.experiments.runner`). Language models of this size take
most of the hours, so those that answer queries themselves (table 3) may be given fewer of them, the same for all.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from intently.build.intentions import choose_vocabulary, training_data
from intently.build.knowledge import KnowledgeSettings, build_knowledge
from intently.build.pipeline import build_engine
from intently.build.settings import BuildSettings
from intently.build.teacher import TeacherSettings, customize
from intently.build.training.fusion import FusionSettings
from intently.catalog import read_judgements, read_qrels, read_queries
from intently.catalog.texts import ad_texts
from intently.engine.engine import Engine
from intently.errors import SettingsError
from intently.intentions.decode import ScoreMode
from intently.lab.baselines.registry import ALL, RARE
from intently.lab.baselines.task import Budget, Task
from intently.lab.experiments.data import Data, Files
from intently.lab.experiments.publish import publish
from intently.lab.experiments.rare_report import Measured, sections
from intently.lab.experiments.rare_systems import answer, as_answers, bm25, cache_facts, equal_budget, fuse, say
from intently.lab.experiments.requirements import require
from intently.lab.experiments.runner import Answers, Experiment, SystemResult, fingerprint_of
from intently.models.causal_lm import CausalLM, LanguageModelSettings
from intently.models.pretrained import ENGLISH
from intently.settings import check_range
from intently.types import Channel, Progress


@dataclass(frozen=True)
class RareSettings:
    """What is built and compared."""

    build: BuildSettings = field(
        # Nothing is held out for a learned fusion: all systems learn from the same clicks.
        default_factory=lambda: BuildSettings(
            checkpoint=ENGLISH,
            teacher=TeacherSettings(LanguageModelSettings("smollm2")),
            fusion=FusionSettings(held_out_share=0),
        )
    )
    knowledge: KnowledgeSettings = field(default_factory=KnowledgeSettings)
    budget: Budget = field(default_factory=lambda: Budget(num_steps=200, batch_size=64))  # of every trained baseline
    baselines: str = ",".join(RARE)  # names of `intently.lab.baselines.registry`, with commas between them
    num_lm_queries: int = 300  # test queries that the language models of table 3 answer
    lm_beams: int = 50
    min_relevance: float | None = None  # from which an ad counts as relevant in the test

    def __post_init__(self) -> None:
        check_range(self, "num_lm_queries", "lm_beams", low=1)
        unknown = [name for name in self.baseline_names if name not in ALL]
        if unknown:
            raise SettingsError(f"'baselines' names {unknown[0]!r}; known are {', '.join(ALL)}")
        if self.budget.checkpoint != self.build.checkpoint:  # the baselines' student reads the engine's trie, too
            raise SettingsError(
                f"'budget.checkpoint' is {self.budget.checkpoint!r}, 'build.checkpoint' {self.build.checkpoint!r}; "
                "all that is compared starts from the same"
            )

    @property
    def baseline_names(self) -> list[str]:
        """The baselines that are run, in order."""
        return [name.strip() for name in self.baselines.split(",") if name.strip()]


def run_rare(
    files: Files, out: Path, settings: RareSettings, *, progress: Progress, results: Path | None = None
) -> Path:
    """Run what is missing of the experiment in `out`, and return the path of its HTML report.

    `results` is a Markdown file with `<!-- rare -->` and `<!-- /rare -->` marks, between which the tables go.
    """
    if not settings.build.teacher.model.name:
        raise SettingsError("'build.teacher.model.name' is empty; name the language model that teaches")
    queries = read_queries(files.queries)
    inputs = {name: path for name, path in vars(files).items() if path is not None}
    experiment = Experiment(out / "all", fingerprint_of(inputs, settings), queries.ids)
    few = slice(settings.num_lm_queries)
    ablation = Experiment(out / "language-models", fingerprint_of(inputs, settings), queries.ids[few])

    data = Data.read(files, settings.build, queries)
    settings = replace(settings, build=data.stemmed(settings.build))
    require(settings.baseline_names, [settings.build.teacher.model.name])
    knowledge = _knowledge(experiment, files, settings, progress)
    teacher = replace(settings.build.teacher, knowledge_file=str(knowledge))
    build = replace(settings.build, teacher=replace(teacher, directory=str(_teacher_directory(experiment, "teacher"))))
    engine_path = experiment.work("engine") / "engine"
    facts = {
        "build": experiment.facts(
            "build", lambda: build_engine(files.ads, files.clicks, engine_path, build, progress=progress).facts
        )
    }
    engine = Engine.load(engine_path, num_threads=2)
    systems = _systems(experiment, data, engine, settings, progress)
    lms = _language_models(ablation, experiment, data, engine, build, progress, settings)
    facts["cache"] = experiment.facts("cache", lambda: cache_facts(data.interactions, engine, progress))
    measured = Measured(
        systems=systems,
        language_models=lms,
        qrels=read_qrels(files.qrels),
        clicks=read_judgements(files.clicks),
        catalog=data.catalog,
        queries=queries,
        facts=facts,
        training={name: _history(experiment, name) for name in ("teacher", "teacher without knowledge")},
        budget=f"{settings.budget.num_steps} steps of {settings.budget.batch_size} pairs",
        command="intently experiment rare",
        min_relevance=settings.min_relevance,
    )
    title = "RARE: retrieval through commercial intentions"
    return publish(out / "rare.html", title, sections(measured), measured.header(), results, "rare")


def _knowledge(experiment: Experiment, files: Files, settings: RareSettings, progress: Progress) -> Path:
    path = experiment.work("knowledge") / "knowledge.jsonl"

    def build() -> dict[str, Any]:
        report = build_knowledge(
            files.ads, path, settings.knowledge, clicks=files.clicks, taxonomy=files.taxonomy, progress=progress
        )
        return {**report.by_task(), "shortfalls": report.shortfalls}

    experiment.facts("knowledge", build)
    return path


def _teacher_directory(experiment: Experiment, name: str) -> Path:
    return experiment.work(name) / "model"


def _teacher(
    experiment: Experiment, name: str, teacher: TeacherSettings, data: Data, build: BuildSettings, progress: Progress
) -> CausalLM:
    """Return the customized language model, training it if it is not there yet."""
    texts = ad_texts(data.catalog)
    draft = choose_vocabulary(data.catalog, data.interactions, build)
    directory = _teacher_directory(experiment, name)
    return customize(
        teacher.model.load(),
        training_data(data.interactions, texts, draft),
        replace(teacher, directory=str(directory)),
        experiment.work(name),
        progress,
    )


def _systems(
    experiment: Experiment, data: Data, engine: Engine, settings: RareSettings, progress: Progress
) -> dict[str, SystemResult]:
    """Return all systems of table 1 by name."""
    run, texts = experiment.run, data.queries.texts
    systems = {"BM25": run("BM25", partial(bm25, data.catalog, texts))}
    task, work = data.task(settings.build), experiment.work("baselines")
    for name in settings.baseline_names:
        title = ALL[name].title
        systems[title] = run(title, partial(_baseline, name, task, settings.budget, work, progress))
    systems["RARE, the baselines' budget"] = run(
        "RARE, the baselines' budget", partial(equal_budget, task, settings.budget, work, engine, progress)
    )
    ask = partial(answer, engine, texts, progress=progress)
    systems["RARE"] = run("RARE", partial(ask, Channel.INTENTION))
    systems["RARE, full scores"] = run("RARE, full scores", partial(ask, Channel.INTENTION, mode=ScoreMode.FULL))
    systems["lexical channel"] = run("lexical channel", partial(ask, Channel.LEXICAL))
    systems["dense channel"] = run("dense channel", partial(ask, Channel.DENSE))
    weights = engine.settings
    for name, parts in {
        "BM25 + dense": ("BM25", "dense channel"),
        "BM25 + dense + RARE": ("BM25", "dense channel", "RARE"),
        "lexical + dense": ("lexical channel", "dense channel"),
        "lexical + dense + RARE": ("lexical channel", "dense channel", "RARE"),
    }.items():
        runs = [(systems[part].run, weights.intention_weight if part == "RARE" else 1.0) for part in parts]
        systems[name] = run(name, partial(fuse, runs, data.queries.ids, weights.fusion_constant))
    return systems


def _language_models(
    ablation: Experiment,
    experiment: Experiment,
    data: Data,
    engine: Engine,
    build: BuildSettings,
    progress: Progress,
    settings: RareSettings,
) -> dict[str, SystemResult]:
    """Return table 3: the customized language model itself, without knowledge, without constraint, without both."""
    texts = data.queries.texts[: settings.num_lm_queries]
    without = replace(build.teacher, knowledge_file="")
    kinds = {"": ("teacher", build.teacher), " − knowledge injection": ("teacher without knowledge", without)}
    results = {}
    for suffix, (name, teacher) in kinds.items():
        loaded: list[CausalLM] = []  # once, and only if one of its steps is missing

        def lm(name: str = name, teacher: TeacherSettings = teacher, loaded: list[CausalLM] = loaded) -> CausalLM:
            if not loaded:
                loaded.append(_teacher(experiment, name, teacher, data, build, progress))
            return loaded[0]

        def customized(name: str = name, lm: Callable[[], CausalLM] = lm) -> dict[str, Any]:
            lm()
            return _history(experiment, name)

        experiment.facts(name, customized)  # a step of its own: its hours are not those of the answers
        for constrained in (True, False):
            system = f"RARE{suffix}{'' if constrained else ' − constrained decoding'}"

            def speak(constrained: bool = constrained, lm: Callable[[], CausalLM] = lm) -> Answers:
                return say(lm(), texts, engine, build.teacher, settings.lm_beams, constrained, progress)

            results[system] = ablation.run(system, speak)
    results["RARE's student"] = ablation.run(
        "RARE's student", partial(answer, engine, texts, Channel.INTENTION, progress=progress)
    )
    return results


def _baseline(name: str, task: Task, budget: Budget, work: Path, progress: Progress) -> Answers:
    found = ALL[name].run(task, budget, work, progress)
    return Answers(as_answers(found.rankings), found.num_identifiers)


def _history(experiment: Experiment, name: str) -> dict[str, Any]:
    """Return how the losses of a language model's stages went, nothing if it was not trained."""
    path = _teacher_directory(experiment, name) / "training.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
