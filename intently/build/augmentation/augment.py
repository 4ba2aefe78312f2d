"""The augmentation of a catalog: queries for the ads that need them most, keywords for all (BRIDGE, section 4.1.1).

    ads, clicks → complexity × importance → allotted budget → generative model → sifted queries ┐
                └──────────────── keyword extractor ────────────────→ keywords of every ad      ┴→ augmentation, report

What is expensive (tuned models, texts that were written) lies beside the augmentation, in a folder `….work`, so that an
interrupted run goes on where it was and one with other rules for what is a query writes nothing anew. The folder may be
deleted.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from intently.arrays import Float64Array, IntArray
from intently.build.augmentation.augmentation import Augmentation
from intently.build.augmentation.complexity import ComplexitySettings, complexity_features, semantic_complexity
from intently.build.augmentation.importance import ImportanceSettings, allot, importance, quality
from intently.build.augmentation.keyword_model import KeywordModelSettings, LanguageModelKeywords
from intently.build.augmentation.keywords import StatisticalKeywords, StatisticalKeywordSettings
from intently.build.augmentation.queries import QuerySettings, Sifted, shown_prompt, sift, temperatures, tuned_prompt
from intently.build.augmentation.records import AdsAndClicks
from intently.build.augmentation.tuning import TuningCost, query_examples, tune
from intently.build.augmentation.writer import (
    EndpointWriter,
    LanguageModelWriter,
    ModelCost,
    Request,
    SamplingSettings,
    Writer,
    write_all,
)
from intently.catalog import Catalog
from intently.catalog.inputs import read_inputs
from intently.catalog.texts import ad_texts
from intently.errors import InputError
from intently.files import write_text
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.intentions.candidates import CandidateSettings, mine_candidates
from intently.intentions.vocabulary import VocabularySettings, select_vocabulary
from intently.settings import check_range
from intently.text import language
from intently.text.analyze import Analyzer
from intently.types import Progress


@dataclass(frozen=True)
class AugmentSettings:
    """All settings of an augmentation, a table a stage; what a settings file may contain."""

    min_relevance: float | None = None  # from which a judged pair is a positive; None: the upper third of the scale
    held_out_share: float = 0.1  # of the queries, not looked at: those of the learned fusion, as in its settings
    seed: int = 0  # of which ones these are, as there
    stemmer: str = language.AUTO  # language of the stemmer, such as english, german, french; auto: the titles'
    complexity: ComplexitySettings = field(default_factory=ComplexitySettings)
    importance: ImportanceSettings = field(default_factory=ImportanceSettings)
    queries: QuerySettings = field(default_factory=QuerySettings)
    keywords: StatisticalKeywordSettings = field(default_factory=StatisticalKeywordSettings)
    keyword_model: KeywordModelSettings = field(default_factory=KeywordModelSettings)  # if named: instead of `keywords`

    def __post_init__(self) -> None:
        if self.stemmer != language.AUTO:
            Analyzer(self.stemmer)  # which refuses an unknown one
        check_range(self, "held_out_share", high=0.5)
        check_range(self, "seed", high=2**31 - 1)
        if self.min_relevance is not None:
            check_range(self, "min_relevance", low=-np.inf)


@dataclass(frozen=True)
class AugmentReport:
    """What an augmentation made and what it cost."""

    path: Path
    num_ads: int
    num_allotted_ads: int  # that the generative model was to write for
    num_allotted: int  # texts it was to write
    num_written: int
    num_queries: int  # what is left of these
    num_duplicates: int
    refused: dict[str, int]  # rule → texts
    num_ads_with_queries: int
    num_keywords: int
    num_ads_with_keywords: int
    query_model: ModelCost | None  # None where none was named
    query_tuning: TuningCost | None
    keyword_model: ModelCost  # of the statistical model without tokens
    keyword_tuning: TuningCost | None
    held_out_share: float  # of the queries, which it has not seen: `training.fusion.held_out` tells which, by ...
    seed: int
    num_keyword_positives: int  # phrases that the statistical model learned from; 0: given weights, or not used
    notes: tuple[str, ...]

    def save(self, path: Path) -> None:
        """Write the report as JSON."""
        content = asdict(self) | {"path": self.path.name}
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def augment_catalog(
    ads: Path,
    out: Path,
    settings: AugmentSettings | None = None,
    *,
    clicks: Path | None = None,
    queries: Path | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> AugmentReport:
    """Write the augmentation of a file of ads to `out`, JSON lines, and what it cost beside it, `….report.json`.

    Of each ad the language models read title and description; give cleaner or longer texts through `augment`. `queries`
    gives the texts of clicks that name queries by id only. Raises `InputError` for wrong input, an `out` that cannot be
    written, and an endpoint that does not answer.
    """
    settings, show = settings or AugmentSettings(), progress or (lambda *_: None)
    if out.is_dir() or not out.parent.is_dir():
        raise InputError("cannot be written", cure="name a file in a directory that exists", path=out)
    read = read_inputs(ads, clicks, queries, skip_bad=skip_bad, progress=show)
    data = AdsAndClicks.gather(
        read.catalog,
        ad_texts(read.catalog),
        read.judgements,
        settings.min_relevance,
        held_out_share=settings.held_out_share,
        seed=settings.seed,
    )
    augmentation, report = augment(read.catalog, data, settings, out, show, read.notes)
    augmentation.save(out, read.catalog)
    report.save(report_path(out))
    return report


def report_path(out: Path) -> Path:
    """Return where the report of the augmentation `out` is: beside it, "ads.jsonl.gz" → "ads.report.json"."""
    return out.with_name(out.name.partition(".jsonl")[0] + ".report.json")


def augment(
    catalog: Catalog,
    data: AdsAndClicks,
    settings: AugmentSettings,
    out: Path,
    progress: Progress,
    notes: tuple[str, ...] = (),
) -> tuple[Augmentation, AugmentReport]:
    """Return the augmentation of a catalog and what it cost; what is expensive is kept beside `out`.

    The clean texts that the models read are those of `data`, and so are the queries that they have not seen.
    """
    work = out.with_name(out.name + ".work")
    if settings.stemmer == language.AUTO:
        settings = replace(settings, stemmer=language.stemmer_of(data.titles)[0])
    analyzer = Analyzer(settings.stemmer)
    writing = _write_queries(catalog, data, settings, analyzer, work, progress)
    queries = writing.sifted.queries
    keywords = _extract_keywords(data, settings, analyzer, work, progress)
    rows = range(data.num_ads)
    augmentation = Augmentation(tuple(queries.get(row, ()) for row in rows), tuple(keywords.keywords))
    report = AugmentReport(
        path=out,
        num_ads=data.num_ads,
        num_allotted_ads=int(np.count_nonzero(writing.shares)),
        num_allotted=int(writing.shares.sum()),
        num_written=writing.sifted.num_written,
        num_queries=writing.sifted.num_kept,
        num_duplicates=writing.sifted.num_duplicates,
        refused=writing.sifted.refused,
        num_ads_with_queries=len(queries),
        num_keywords=sum(map(len, keywords.keywords)),
        num_ads_with_keywords=sum(map(bool, keywords.keywords)),
        query_model=writing.cost,
        query_tuning=writing.tuning,
        keyword_model=keywords.cost,
        keyword_tuning=keywords.tuning,
        held_out_share=data.held_out_share,
        seed=data.seed,
        num_keyword_positives=keywords.num_positives,
        notes=notes,
    )
    return augmentation, report


def allotment(
    catalog: Catalog, data: AdsAndClicks, settings: AugmentSettings, analyzer: Analyzer
) -> tuple[Float64Array, IntArray]:
    """Return the weight (N,) of each ad, complexity × importance, and how many texts (N,) of the budget it gets."""
    complexity = semantic_complexity(complexity_features(catalog, analyzer, settings.complexity), settings.complexity)
    liked = quality(data.num_judged, data.num_positive, settings.importance)
    weights = complexity * importance(data.num_clicks, liked, settings.importance)
    return weights, allot(weights, settings.queries.budget, settings.queries.max_per_ad)


@dataclass(frozen=True, eq=False)
class _Writing:
    """What came of the generative model."""

    shares: IntArray  # (N,) texts that each ad was allotted
    sifted: Sifted
    cost: ModelCost | None = None
    tuning: TuningCost | None = None


def _write_queries(
    catalog: Catalog, data: AdsAndClicks, settings: AugmentSettings, analyzer: Analyzer, work: Path, progress: Progress
) -> _Writing:
    chosen = settings.queries
    if not (chosen.endpoint.url or chosen.model.name) or not chosen.budget:
        return _Writing(np.zeros(data.num_ads, dtype=np.int64), sift((), data.titles, analyzer, chosen))
    progress("Weighing the ads", 0, 0, "")
    _, shares = allotment(catalog, data, settings, analyzer)
    writer, tuning = _writer(data, chosen, work, progress)
    requests = [
        Request(row, data.texts[row], temperatures(int(shares[row]), chosen)) for row in np.flatnonzero(shares).tolist()
    ]
    written = write_all(writer, requests, work, chosen.batch_size, "Writing queries", progress)
    index = None
    if chosen.round_trip:
        progress("Indexing for the round trip", 0, 0, "")
        index = LexicalIndex.build(data.texts, LexicalSettings(stemmer=settings.stemmer))
    sifted = sift(written, data.titles, analyzer, chosen, index)
    return _Writing(shares, sifted, ModelCost.of(writer.name, written), tuning)


def _writer(
    data: AdsAndClicks, chosen: QuerySettings, work: Path, progress: Progress
) -> tuple[Writer, TuningCost | None]:
    if chosen.endpoint.url:
        return EndpointWriter(chosen.endpoint, shown_prompt, chosen.max_text_tokens), None
    sampling = SamplingSettings(chosen.max_text_tokens, chosen.max_new_tokens, chosen.top_k, chosen.seed)
    progress("Loading the language model", 0, 0, "")
    if not chosen.tune:
        lm = chosen.model.load()
        return LanguageModelWriter(lm, chosen.model.name, asdict(chosen.model), shown_prompt, sampling), None
    tuned = tune(
        chosen.model,
        lambda lm: query_examples(lm, data, tuned_prompt, chosen.tuning, chosen.max_text_tokens),
        chosen.tuning,
        work,
        "Tuning the language model",
        progress,
    )
    return LanguageModelWriter(tuned.lm, chosen.model.name, tuned.origin, tuned_prompt, sampling), tuned.cost


@dataclass(frozen=True)
class _Extraction:
    """What came of the keyword extractor."""

    keywords: Sequence[tuple[str, ...]]
    cost: ModelCost
    tuning: TuningCost | None = None
    num_positives: int = 0


def _extract_keywords(
    data: AdsAndClicks, settings: AugmentSettings, analyzer: Analyzer, work: Path, progress: Progress
) -> _Extraction:
    if settings.keyword_model.model.name:
        asked = LanguageModelKeywords(settings.keyword_model, analyzer, work)
        return _Extraction(asked.extract(data, progress), asked.cost, asked.tuning)
    begun = time.perf_counter()
    progress("Finding intentions", 0, 0, "")
    candidates = mine_candidates(data.titles, data.bids, data.queries, data.clicks, analyzer, CandidateSettings())
    vocabulary = select_vocabulary(candidates, data.num_ads, len(data.queries), VocabularySettings())
    reach = np.bincount(vocabulary.ad_pairs[:, 0], minlength=len(vocabulary)).tolist()
    counted = StatisticalKeywords(settings.keywords, analyzer, vocabulary.texts, reach)
    keywords = counted.extract(data, progress)
    cost = ModelCost("statistical", data.num_ads, 0, 0, time.perf_counter() - begun)
    return _Extraction(keywords, cost, num_positives=counted.num_positives)
