"""The offline story: from ads and clicks to an artifact that answers queries.

    ads, clicks → vocabulary → trie → student (trained) → ads' intentions ┐
                    └ teacher, if one is named, says intentions ──────────┤
                → terms ──────────────────────────────────────────────────┼→ indexes → fusion (learned) → generation
                → encoder, if the dense channel has one (trained) → vectors ─┘

Every stage is a function of the one before. What is expensive (what is trained, the ads' intentions) is kept under
`.build` while the build runs, named by a fingerprint of all that decided it, so that an interrupted build resumes, a
build with other inputs starts afresh, and one with other settings trains again only if these touch training. The result
is published as a generation, which does not disturb processes that have an earlier one loaded.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

from intently.build.augmentation.augment import report_path
from intently.build.augmentation.augmentation import Augmentation
from intently.build.augmentation.ocr_repair import OcrRepairer
from intently.build.calibration import LearnedRelevance, learn_relevance, questions
from intently.build.encoder import EncoderMaterial, build_encoder, chosen_augmentation, read_by_encoder
from intently.build.encoder_teacher import Guide
from intently.build.estimate import Amounts, estimate_build
from intently.build.fusion import Learned, held_out_queries, learn_fusion
from intently.build.guidance import learn_guidance
from intently.build.intentions import build_intentions
from intently.build.interactions import Interactions, match_interactions
from intently.build.limits import check_devices, check_models
from intently.build.settings import BuildSettings
from intently.build.start import choose_start
from intently.build.teacher import fill_query_cache
from intently.build.training.fusion import FusionSettings
from intently.build.work import ENCODER, STUDENT, Fingerprints, clear, fingerprints_of, is_finished, prepare
from intently.catalog import Catalog, Judgements, ReadResult, read_ads, read_judgements, read_queries
from intently.catalog.check import Check, check_ads
from intently.catalog.inputs import reading_notes, skipped_notes
from intently.catalog.pages import load_pages
from intently.catalog.texts import ad_texts, brand_words, searchable_texts
from intently.engine.engine import Engine
from intently.engine.layout import CACHE_FILE, FUSION_FILE, RELEVANCE_FILE, write_engine
from intently.errors import ArtifactError, InputError
from intently.generation import (
    KEEP,
    About,
    Draft,
    Generation,
    build_lock,
    current_id,
    digest_of_ids,
    open_generation,
    prune,
    roll_back,
)
from intently.generation.layout import CURRENT, WORK, ids_of, remove_leftovers
from intently.index.concatenated import concatenate_embeddings
from intently.index.keywords import KeywordIndex
from intently.index.lexical import LexicalIndex, query_reader
from intently.index.title_terms import TitleTerms
from intently.index.vectors import VectorIndex
from intently.intentions.vocabulary import coverage
from intently.live.landing_pages import CleanedPages, clean_landing_pages, domain_lexicon, join_pages, landing_spans
from intently.models.pretrained import AUTO
from intently.rules.presets import rules_of
from intently.text.analyze import Analyzer
from intently.text.ocr_cleaning import OcrCleaner, OcrReport
from intently.text.rules import TEXT_RULES_VERSION
from intently.types import Progress

logger = logging.getLogger(__name__)

_NO_MODEL = "there is no model, as 'checkpoint' is empty: no dense channel, and intentions are found word by word"


@dataclass(frozen=True)
class BuildReport:
    """What a build made: counts by name, and what was left out."""

    directory: Path
    facts: dict[str, float]
    notes: tuple[str, ...]
    generation: str = ""  # the id under which it is current now


def build_engine(
    ads: str | Path | Sequence[str | Path],
    clicks: str | Path | None,
    out: str | Path,
    settings: BuildSettings | None = None,
    *,
    queries: str | Path | None = None,
    pages: str | Path | None = None,
    click_columns: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    keep: int = KEEP,
    progress: Progress | None = None,
    tell: Callable[[Check], None] | None = None,
) -> BuildReport:
    """Build an engine from files of ads and clicks (or judgements) into the directory `out`, as its next generation.

    `queries` gives the texts of clicks that name queries by id only, `pages` what OCR read on landing pages.
    `click_columns` says of columns of clicks what they are, as `columns` of `read_judgements`. Without
    clicks the student learns from the ads alone. Earlier generations in `out` may be in use meanwhile; the `keep`
    newest of all stay. `tell` is called with what was understood of the ads, before anything long starts. Raises
    `InputError` for wrong input, for an `out` that holds something else or into which another build writes;
    `SettingsError` for a device that this machine lacks and for settings that do not fit the models.
    """
    ads_files = [Path(path) for path in (ads if isinstance(ads, list | tuple) else [ads])]  # type: ignore[arg-type]
    out = Path(out)
    clicks, queries, pages = (None if path is None else Path(path) for path in (clicks, queries, pages))
    settings = settings or BuildSettings()
    show = progress or (lambda *_: None)
    if out.exists() and not out.is_dir():
        raise InputError("is a file", cure="name a directory for the engine", path=out)
    show("Reading", 0, 0, "")
    read: ReadResult | None = None
    chosen: tuple[str, ...] = ()
    if settings.checkpoint == AUTO:
        read = _read(ads_files, settings, skip_bad, show)
        start = choose_start(read.catalog.strings("title"))
        settings, chosen = replace(settings, checkpoint=start.checkpoint), (start.why,)
    check_models(settings)
    fingerprints = fingerprints_of([*ads_files, clicks, queries, pages], settings, skip_bad, click_columns)
    done = _finished(out, fingerprints, settings, keep)
    if done:
        return done
    check_devices(settings)
    read = read or _read(ads_files, settings, skip_bad, show)
    if tell is not None:
        tell(check_ads(read, skip_bad=skip_bad))
    catalog, num_strange = _with_pages(read.catalog, pages, skip_bad) if pages else (read.catalog, 0)
    texts = ad_texts(catalog)
    asked = read_queries(queries, skip_bad=skip_bad) if queries else None
    judgements = None
    if clicks:
        judgements = read_judgements(
            clicks, queries=asked, columns=click_columns, logs=settings.logs, skip_bad=skip_bad
        )
    interactions = match_interactions(catalog, judgements, settings.min_relevance, settings.logs.negative_after)
    aside = held_out_queries(interactions, settings.fusion)
    learnt = interactions.of_queries(~aside)
    if aside.any() and settings.bridge.enabled and settings.bridge.augmentation_file:
        _check_held_out(Path(settings.bridge.augmentation_file), settings.fusion)
    with build_lock(out):
        work = prepare(out, fingerprints)
        amounts = Amounts(
            catalog.num_ads,
            len(set(texts)),
            len(learnt.clicks),
            int(aside.sum()),
            is_finished(work.student / STUDENT),
            is_finished(work.encoder / ENCODER),
        )
        if not amounts.are_few(settings):
            show("Estimating", 0, 1, "")
            estimate = estimate_build(catalog, learnt, amounts, settings)
            show("Estimating", 1, 1, str(estimate))
            logger.info("%s: the build takes %s", out, estimate, extra={"seconds": dict(estimate.seconds)})
        content = build_intentions(catalog, texts, learnt, interactions.of_queries(aside), settings, work.student, show)
        analyzer = Analyzer(settings.lexical.stemmer)
        landing = _cleaned(catalog, content.vocabulary.texts, settings, show)
        show("Indexing", 0, 0, "")
        lexical = LexicalIndex.build(searchable_texts(catalog, landing.texts), settings.lexical)
        titles = TitleTerms.build(catalog.strings("title"), analyzer)
        said = content.by_student
        student, known_words = (said.student, said.student.tokenizer.whole_words) if said else (None, frozenset())
        query_texts = query_reader([lexical], known_words | brand_words(catalog)).read
        encoder, embeddings, tokens = None, said.embeddings if said else None, None
        if said and settings.bridge.enabled:
            file, reader = settings.bridge.augmentation_file, said.student.on(settings.device)
            material = EncoderMaterial(
                tuple(read_by_encoder(catalog, landing.texts, learnt, reader, settings.bridge, show)),
                tuple(catalog.strings("title")),
                learnt,
                content.vocabulary,
                chosen_augmentation(Augmentation.load(Path(file), catalog), settings.bridge) if file else None,
                lexical,
                settings.checkpoint,
                Guide(partial(reader.embed, max_tokens=settings.training.max_query_tokens), said.embeddings),
            )
            built = build_encoder(material, settings.bridge, work.encoder, show, device=settings.device)
            encoder, tokens = built.embedder, built.ads.tokens
            embeddings = concatenate_embeddings(said.embeddings, built.ads.embeddings)
        vectors = None if embeddings is None else VectorIndex.build(embeddings, settings.coarse, show)
        told = dict(said.facts) if said else {}
        held_out = interactions.of_queries(aside)
        if said and aside.any():
            draft_intentions = content.index(learnt, settings.postings)
            guided = learn_guidance(said.models, draft_intentions, query_texts, held_out, settings.retrieval, show)
            said = replace(said, near=replace(said.near, guidance=guided.guidance))
            content = replace(content, by_student=said)
            told |= guided.facts
        intentions = content.index(interactions, settings.postings)
        learned, relevance = Learned(None, {}), LearnedRelevance(None, {})
        if (aside.any() and settings.fusion.learned) or settings.calibration.enabled:
            draft = Engine(
                catalog,
                student,
                content.index_without_clicks(catalog, settings.postings) if interactions.queries else intentions,
                vectors,
                lexical,
                replace(settings.retrieval, num_threads=torch.get_num_threads()),
                titles=titles,
                encoder=encoder,
                tokens=tokens,
            )
            if aside.any() and settings.fusion.learned:
                learned = learn_fusion(draft, held_out, settings.fusion, show)
                draft.fusion = learned.fusion
            if settings.calibration.enabled:
                is_taught = settings.bridge.enabled or (said is not None and settings.training.max_steps > 0)
                clicked = held_out if is_taught else interactions
                known = questions(catalog, lexical, clicked, settings.calibration)
                relevance = learn_relevance(draft, known, settings.calibration, show)
        head, cache = map(query_texts, interactions.by_frequency()), work.student / CACHE_FILE
        num_cached = fill_query_cache(content.labels, intentions, head, cache, settings.teacher, show)

        show("Writing", 0, 0, "")
        facts = {
            "num_ads": catalog.num_ads,
            "num_queries": len(interactions.queries),
            "num_clicks": len(interactions.clicks),
            **coverage(content.vocabulary, catalog.num_ads, len(learnt.queries)),
            "postings": len(intentions.postings.ad_rows),
            "cached_queries": num_cached,
            **told,
            **learned.facts,
            **relevance.facts,
            **{f"ocr_spans_{fate}": number for fate, number in asdict(landing.report).items() if number},
        }
        notes = (
            *_notes(read, judgements, interactions, num_strange),
            *chosen,
            *(said.notes if said else (_NO_MODEL,)),
            *learned.notes,
            *relevance.notes,
        )
        for note in notes:
            logger.info("%s: %s", out, note)
        about = About(
            catalog.num_ads,
            digest_of_ids(catalog.strings("ad_id")),
            TEXT_RULES_VERSION,
            asdict(fingerprints),
            asdict(settings),
            facts,
            notes,
        )
        with Draft(out, about) as unpublished:
            write_engine(
                unpublished,
                catalog,
                student,
                intentions,
                vectors,
                lexical,
                titles=titles,
                encoder=encoder,
                tokens=tokens,
                fusion=learned.fusion,
                runtime=settings.retrieval.runtime,
                keywords=KeywordIndex.of_match_types(
                    catalog.column("keywords").to_pylist(),
                    rules_of(settings.retrieval.match_rules, settings.lexical.stemmer),
                ),
                calibrator=relevance.calibrator,
            )
            if num_cached:
                unpublished.copy(CACHE_FILE, cache)
            unpublished.publish()
        _tidy(out, keep)
    logger.info("%s: built generation %s", out, unpublished.id, extra={"facts": facts})
    return BuildReport(out, facts, notes, unpublished.id)


def _read(ads: Sequence[Path], settings: BuildSettings, skip_bad: bool, show: Progress) -> ReadResult:
    return read_ads(
        ads,
        skip_bad=skip_bad,
        reading=settings.feed.reading(settings.columns),
        progress=lambda rows: show("Reading", rows, 0, "ads"),
    )


def _tidy(out: Path, keep: int) -> None:
    """Remove the work of finished builds, and generations beyond the `keep` newest; `out` must be locked."""
    clear(out)
    remove_leftovers(out)
    prune(out, keep)


def _check_held_out(augmentation: Path, fusion: FusionSettings) -> None:
    """Raise `InputError` if an augmentation was made with queries that the fusion is to learn from.

    An augmentation without a report beside it comes from elsewhere, and its author has to check that.
    """
    path = report_path(augmentation)
    if not path.is_file():
        return
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        made_with = (float(told["held_out_share"]), int(told["seed"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"is no report of an augmentation ({error})", cure="make it again", path=path) from error
    if made_with != (fusion.held_out_share, fusion.seed):
        raise InputError(
            f"was made with held_out_share {made_with[0]:g} and seed {made_with[1]}, 'fusion' has "
            f"{fusion.held_out_share:g} and {fusion.seed}: the fusion would learn from queries that it knows",
            cure="give `intently augment` the same two",
            path=augmentation,
        )


def _cleaned(catalog: Catalog, intentions: Sequence[str], settings: BuildSettings, show: Progress) -> CleanedPages:
    """Return what is left of all OCR spans; without any, no lexicon is made."""
    if not any(spans for spans in landing_spans(catalog)):
        return CleanedPages(("",) * catalog.num_ads, OcrReport())
    repair = OcrRepairer(settings.ocr_model.load()) if settings.ocr_model.name else None
    return clean_landing_pages(catalog, OcrCleaner(domain_lexicon(catalog, intentions), settings.ocr, repair), show)


def _finished(out: Path, fingerprints: Fingerprints, settings: BuildSettings, keep: int) -> BuildReport | None:
    """Return the report of a generation that is already what was asked for, current and with these settings.

    That of retrieval settings alone is published with others. One that is not whole is passed over.
    """
    for generation_id in _newest_first(out):
        try:
            with open_generation(out, generation_id, verify=False) as found:
                if not _is_same(found, fingerprints):
                    continue
            with open_generation(out, generation_id) as found:
                return _renewed(out, found, settings, keep)
        except ArtifactError:
            continue
    return None


def _newest_first(out: Path) -> list[str]:
    """Return the ids of all generations, the current one before all others."""
    try:
        current = current_id(out)
    except ArtifactError:
        current = None
    return sorted(ids_of(out), key=lambda each: (each == current, each), reverse=True)


def _is_same(found: Generation, fingerprints: Fingerprints) -> bool:
    made_of = found.manifest.fingerprints
    if made_of.get("artifact") != fingerprints.artifact:
        return False
    has_learned = FUSION_FILE in found or RELEVANCE_FILE in found  # from answers, which retrieval settings decide
    return not has_learned or made_of.get("fusion") == fingerprints.fusion


def _renewed(out: Path, found: Generation, settings: BuildSettings, keep: int) -> BuildReport:
    """Make a generation current with these settings, which is nothing to do if it is."""
    told, now = found.manifest, found.id
    note = "already built from the same input and settings"
    wanted = json.loads(json.dumps(asdict(settings)))
    is_current = _newest_first(out)[0] == now and (out / CURRENT).is_file()
    if told.settings != wanted or not is_current or (out / WORK).exists():
        with build_lock(out):
            if told.settings != wanted:
                about = About(
                    told.num_ads, told.ads, told.text_rules, told.fingerprints, wanted, told.facts, told.notes, told.seq
                )
                with Draft(out, about) as draft:
                    for name, part in told.files.items():
                        draft.copy(name, found.path(name), rows=part.rows, of_ads=part.ads is not None)
                    found.check_unchanged()
                    now = draft.publish()
            elif not is_current:
                roll_back(out, now)
                note += f"; generation {now} is the current one again"
            _tidy(out, keep)
    return BuildReport(out, dict(told.facts), (*told.notes, note), now)


def _with_pages(catalog: Catalog, path: Path, skip_bad: bool) -> tuple[Catalog, int]:
    """Return the catalogue with its ads' pages, and how many were left out as their ads are not there."""
    pages = load_pages(path)
    rows = catalog.ad_rows([page.ad_id for page in pages]).tolist()
    known = [page for page, row in zip(pages, rows, strict=True) if row >= 0] if skip_bad else pages
    return join_pages(catalog, known, path=path), len(pages) - len(known)


def _notes(
    read: ReadResult,
    judgements: Judgements | None,
    interactions: Interactions,
    num_strange: int,
) -> tuple[str, ...]:
    notes = [*reading_notes(read), *skipped_notes(read.num_skipped, read.problems, judgements)]
    if interactions.num_unknown_ads:
        notes.append(f"{interactions.num_unknown_ads} clicks left out: their ads are not in the catalogue")
    if num_strange:
        notes.append(f"{num_strange} pages left out: their ads are not in the catalogue")
    return tuple(notes)
