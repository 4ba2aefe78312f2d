"""The offline story: from ads and clicks to an artifact that answers queries.

    ads, clicks → vocabulary → trie → student (trained) → ads' intentions ┐
                    └ teacher, if one is named, says intentions ──────────┤
                → terms ──────────────────────────────────────────────────┼→ indexes → fusion (learned) → generation
                → encoder, if the dense channel has one (trained) → vectors ─┘

Every stage is a function of the one before: `inputs.py` reads, `parts.py` makes an engine's parts and learns from its
answers, and this file leads from one to the next. What is expensive (what is trained, the ads' intentions) is kept
under `.build` while the build runs, named by a fingerprint of all that decided it. So an interrupted build resumes, a
build with other inputs starts afresh, and one with other settings trains again only if these touch training. The
result is published as a generation, which does not disturb processes that have an earlier one loaded.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from intently.build.calibration import LearnedRelevance
from intently.build.earlier import finished_before, tidy
from intently.build.estimate import Amounts, estimate_build
from intently.build.fusion import Learned
from intently.build.inputs import BuildInputs, Material
from intently.build.limits import check_devices, check_models
from intently.build.parts import Parts, guided, learn_from_answers, make_parts
from intently.build.report import BuildReport
from intently.build.settings import BuildSettings
from intently.build.start import decide, is_open
from intently.build.teacher import fill_query_cache
from intently.build.work import ENCODER, STUDENT, Work, is_finished, prepare
from intently.catalog import ReadResult
from intently.catalog.check import Check, check_ads
from intently.engine.layout import CACHE_FILE, write_engine
from intently.errors import InputError
from intently.generation import KEEP, About, Draft, build_lock, digest_of_ids
from intently.index.intentions import IntentionIndex
from intently.index.keywords import KeywordIndex
from intently.intentions.vocabulary import coverage
from intently.models.pretrained import AUTO
from intently.rules.presets import rules_of
from intently.text.rules import TEXT_RULES_VERSION
from intently.types import Progress

logger = logging.getLogger(__name__)

_NO_MODEL = "there is no model, as 'checkpoint' is empty: no dense channel, and intentions are found word by word"


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
    ads_files = tuple(Path(path) for path in (ads if isinstance(ads, list | tuple) else [ads]))  # type: ignore[arg-type]
    out = Path(out)
    clicks, queries, pages = (None if path is None else Path(path) for path in (clicks, queries, pages))
    inputs = BuildInputs(ads_files, clicks, queries, pages, click_columns, skip_bad)
    settings = settings or BuildSettings()
    show = progress or (lambda *_: None)
    if out.exists() and not out.is_dir():
        raise InputError("is a file", cure="name a directory for the engine", path=out)
    show("Reading", 0, 0, "")
    read: ReadResult | None = None
    chosen: tuple[str, ...] = ()
    if settings.checkpoint != AUTO:
        check_models(settings)  # before anything is read
    if is_open(settings):
        read = inputs.read_ads(settings, show)
        named, (settings, chosen) = settings, decide(settings, read.catalog.strings("title"))
        if settings.checkpoint != named.checkpoint:
            check_models(settings)
    fingerprints = inputs.fingerprints(settings)
    done = finished_before(out, fingerprints, settings, keep)
    if done:
        return done
    check_devices(settings)
    read = read or inputs.read_ads(settings, show)
    if tell is not None:
        tell(check_ads(read, skip_bad=skip_bad))
    material = inputs.material(read, settings)
    catalog = material.catalog
    with build_lock(out):
        work = prepare(out, fingerprints)
        _estimate(out, material, settings, work, show)
        parts = make_parts(material, settings, work, show)
        parts, told = guided(parts, material, settings, show)
        intentions = parts.content.index(material.interactions, settings.postings)
        learned, relevance = learn_from_answers(parts, intentions, material, settings, show)
        head, cache = map(parts.read_query, material.interactions.by_frequency()), work.student / CACHE_FILE
        num_cached = fill_query_cache(parts.content.labels, intentions, head, cache, settings.teacher, show)

        show("Writing", 0, 0, "")
        facts = _facts(material, parts, intentions) | {"cached_queries": num_cached}
        facts |= told | learned.facts | relevance.facts
        said = parts.content.by_student
        notes = (
            *material.notes,
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
        with Draft(out, about) as draft:
            _write(draft, material, parts, intentions, learned, relevance, settings)
            if num_cached:
                draft.copy(CACHE_FILE, cache)
            draft.publish()
        tidy(out, keep)
    logger.info("%s: built generation %s", out, draft.id, extra={"facts": facts})
    return BuildReport(out, facts, notes, draft.id)


def _estimate(out: Path, material: Material, settings: BuildSettings, work: Work, show: Progress) -> None:
    """Tell how long the build will take, unless it is so short that finding out would be half of it."""
    amounts = Amounts(
        material.catalog.num_ads,
        len(set(material.texts)),
        len(material.learnt.clicks),
        len(material.held_out.queries),
        is_finished(work.student / STUDENT),
        is_finished(work.encoder / ENCODER),
    )
    if amounts.are_few(settings):
        return
    show("Estimating", 0, 1, "")
    estimate = estimate_build(material.catalog, material.learnt, amounts, settings)
    show("Estimating", 1, 1, str(estimate))
    logger.info("%s: the build takes %s", out, estimate, extra={"seconds": dict(estimate.seconds)})


def _facts(material: Material, parts: Parts, intentions: IntentionIndex) -> dict[str, float]:
    """Return counts by name, of what went in and what was made of it."""
    num_ads, said = material.catalog.num_ads, parts.content.by_student
    return {
        "num_ads": num_ads,
        "num_queries": len(material.interactions.queries),
        "num_clicks": len(material.interactions.clicks),
        **coverage(parts.content.vocabulary, num_ads, len(material.learnt.queries)),
        "postings": len(intentions.postings.ad_rows),
        **(said.facts if said else {}),
        **{f"ocr_spans_{fate}": number for fate, number in asdict(parts.pages.report).items() if number},
    }


def _write(
    draft: Draft,
    material: Material,
    parts: Parts,
    intentions: IntentionIndex,
    learned: Learned,
    relevance: LearnedRelevance,
    settings: BuildSettings,
) -> None:
    keywords = material.catalog.column("keywords").to_pylist()
    rules = rules_of(settings.retrieval.match_rules, settings.lexical.stemmer)
    write_engine(
        draft,
        material.catalog,
        parts.student,
        intentions,
        parts.vectors,
        parts.lexical,
        titles=parts.titles,
        encoder=parts.encoder,
        tokens=parts.tokens,
        fusion=learned.fusion,
        runtime=settings.retrieval.runtime,
        keywords=KeywordIndex.of_match_types(keywords, rules),
        calibrator=relevance.calibrator,
    )
