"""The offline story: from ads and clicks to an artifact that answers queries.

    ads, clicks → vocabulary → trie → student (trained) → ads' intentions ┐
                    └ teacher, if one is named, says intentions ──────────┤
                → terms ──────────────────────────────────────────────────┼→ indexes → fusion (learned) → manifest
                → encoder, if the dense channel has one (trained) → vectors ─┘

Every stage is a function of the one before. What is expensive (what is trained, the ads' intentions) is kept under
`.build` while the build runs, together with a fingerprint of all that decided it, so that an interrupted build resumes,
a build with other inputs starts afresh, and one with other settings trains again only if these touch training. The
manifest is written last.
"""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

from intently.build.augmentation.augment import report_path
from intently.build.augmentation.augmentation import Augmentation
from intently.build.augmentation.ocr_repair import OcrRepairer
from intently.build.encoder import EncoderMaterial, build_encoder, chosen_augmentation, read_by_encoder
from intently.build.encoder_teacher import Guide
from intently.build.fusion import Learned, held_out_queries, learn_fusion
from intently.build.intentions import build_intentions
from intently.build.interactions import Interactions, match_interactions
from intently.build.limits import check_devices, check_models
from intently.build.settings import BuildSettings
from intently.build.teacher import fill_query_cache
from intently.build.training.fusion import FusionSettings
from intently.build.work import ENCODER, STUDENT, Fingerprints, fingerprints_of, prepare
from intently.catalog import Catalog, Judgements, read_ads, read_judgements, read_queries
from intently.catalog.inputs import skipped_notes
from intently.catalog.pages import load_pages
from intently.catalog.texts import ad_texts, searchable_texts
from intently.engine.cache import CACHE_FILE
from intently.engine.engine import Engine
from intently.engine.load import FUSION_FILE, TITLES_FILE, TOKENS
from intently.errors import ArtifactError, InputError
from intently.files import MANIFEST, open_artifact, write_atomically, write_manifest
from intently.index.concatenated import concatenate_embeddings
from intently.index.lexical import LexicalIndex
from intently.index.title_terms import TitleTerms
from intently.index.vectors import VectorIndex
from intently.intentions.vocabulary import coverage
from intently.live.landing_pages import CleanedPages, clean_landing_pages, domain_lexicon, join_pages, landing_spans
from intently.text.analyze import Analyzer
from intently.text.ocr_cleaning import OcrCleaner, OcrReport
from intently.types import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildReport:
    """What a build made: counts by name, and what was left out."""

    directory: Path
    facts: dict[str, float]
    notes: tuple[str, ...]


def build_engine(
    ads: str | Path,
    clicks: str | Path | None,
    out: str | Path,
    settings: BuildSettings | None = None,
    *,
    queries: str | Path | None = None,
    pages: str | Path | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Build an engine from files of ads and clicks (or judgements) into the directory `out`.

    `queries` gives the texts of clicks that name queries by id only, `pages` what OCR read on landing pages. Without
    clicks the student learns from the ads alone. An engine that is in `out` answers until the new one is there. Raises
    `InputError` for wrong input, and for an `out` that holds something else; `SettingsError` for a device that this
    machine lacks and for settings that do not fit the models, before anything long starts.
    """
    ads, out = Path(ads), Path(out)
    clicks, queries, pages = (None if path is None else Path(path) for path in (clicks, queries, pages))
    settings = settings or BuildSettings()
    show = progress or (lambda *_: None)
    check_models(settings)
    show("Reading", 0, 0, "")
    fingerprints = fingerprints_of([ads, clicks, queries, pages], settings, skip_bad)
    done = _finished(out, fingerprints, settings)
    if done:
        return done
    check_devices(settings)
    read = read_ads(ads, skip_bad=skip_bad, progress=lambda rows: show("Reading", rows, 0, "ads"))
    catalog, num_strange = _with_pages(read.catalog, pages, skip_bad) if pages else (read.catalog, 0)
    texts = ad_texts(catalog)
    asked = read_queries(queries, skip_bad=skip_bad) if queries else None
    judgements = read_judgements(clicks, queries=asked, skip_bad=skip_bad) if clicks else None
    interactions = match_interactions(catalog, judgements, settings.min_relevance)
    aside = held_out_queries(interactions, settings.fusion)
    learnt = interactions.of_queries(~aside)
    if aside.any() and settings.bridge.enabled and settings.bridge.augmentation_file:
        _check_held_out(Path(settings.bridge.augmentation_file), settings.fusion)
    work = prepare(out, fingerprints)

    said = build_intentions(catalog, texts, learnt, settings, work, show)
    analyzer = Analyzer(settings.lexical.stemmer)
    landing = _cleaned(catalog, said.vocabulary.texts, settings, show)
    show("Indexing", 0, 0, "")
    lexical = LexicalIndex.build(searchable_texts(catalog, landing.texts), settings.lexical)
    titles = TitleTerms.build(catalog.strings("title"), analyzer)
    encoder, embeddings, tokens = None, said.embeddings, None
    if settings.bridge.enabled:
        file, reader = settings.bridge.augmentation_file, said.student.on(settings.device)
        material = EncoderMaterial(
            tuple(read_by_encoder(catalog, landing.texts, learnt, reader, settings.bridge, show)),
            tuple(catalog.strings("title")),
            learnt,
            said.vocabulary,
            chosen_augmentation(Augmentation.load(Path(file), catalog), settings.bridge) if file else None,
            lexical,
            settings.checkpoint,
            Guide(partial(reader.embed, max_tokens=settings.training.max_query_tokens), said.embeddings),
        )
        built = build_encoder(material, settings.bridge, work / ENCODER, show, device=settings.device)
        encoder, tokens = built.embedder, built.ads.tokens
        embeddings = concatenate_embeddings(said.embeddings, built.ads.embeddings)
    vectors = VectorIndex.build(embeddings, settings.coarse, show)
    learned = Learned(None, {})
    if aside.any():
        draft = Engine(
            catalog,
            said.student,
            said.index(learnt, settings.postings),
            vectors,
            lexical,
            replace(settings.retrieval, num_threads=torch.get_num_threads()),
            titles=titles,
            encoder=encoder,
            tokens=tokens,
        )
        learned = learn_fusion(draft, interactions.of_queries(aside), settings.fusion, show)
    intentions = said.index(interactions, settings.postings)
    head, cache = interactions.by_frequency(), work / CACHE_FILE
    num_cached = fill_query_cache(said.lessons, intentions, head, cache, settings.teacher, show)

    show("Writing", 0, 0, "")
    (out / MANIFEST).unlink(missing_ok=True)  # until here an engine that was there before still answers
    for optional in (CACHE_FILE, FUSION_FILE):
        (out / optional).unlink(missing_ok=True)
    for optional in (ENCODER, TOKENS):
        shutil.rmtree(out / optional, ignore_errors=True)
    if num_cached:
        cache.replace(out / CACHE_FILE)
    catalog.save(out / "catalog.arrow")
    said.student.save(out / STUDENT)
    intentions.save(out / "intentions")
    vectors.save(out / "vectors.npy")
    lexical.save(out / "lexical")
    titles.save(out / TITLES_FILE)
    if encoder:
        encoder.save(out / ENCODER)
    if tokens:
        tokens.save(out / TOKENS)
    if learned.fusion:
        learned.fusion.save(out / FUSION_FILE)
    facts = {
        "num_ads": catalog.num_ads,
        "num_queries": len(interactions.queries),
        "num_clicks": len(interactions.clicks),
        **coverage(said.vocabulary, catalog.num_ads, len(learnt.queries)),
        "postings": len(intentions.postings.ad_rows),
        "cached_queries": num_cached,
        **learned.facts,
        **{f"ocr_spans_{fate}": number for fate, number in asdict(landing.report).items() if number},
    }
    notes = (*_notes(read.num_skipped, read.problems, judgements, interactions, num_strange), *learned.notes)
    for note in notes:
        logger.info("%s: %s", out, note)
    kept = [path for path in out.rglob("*") if path.is_file() and work not in path.parents and path.name != MANIFEST]
    write_manifest(
        out,
        kept,
        {"fingerprints": asdict(fingerprints), "settings": asdict(settings), "facts": facts, "notes": list(notes)},
    )
    shutil.rmtree(work)
    logger.info("%s: built", out, extra={"facts": facts})
    return BuildReport(out, facts, notes)


def _check_held_out(augmentation: Path, fusion: FusionSettings) -> None:
    """Raise `InputError` if an augmentation was made with queries that the fusion is to learn from.

    An augmentation without a report beside it comes from elsewhere; whoever made it has to see to that.
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


def _finished(out: Path, fingerprints: Fingerprints, settings: BuildSettings) -> BuildReport | None:
    """Return the report of an artifact that is already what was asked for, with the retrieval settings renewed."""
    try:
        manifest = open_artifact(out)
    except ArtifactError:
        return None  # of another version, incomplete or damaged: built anew
    made_of = manifest["fingerprints"]
    if made_of.get("artifact") != fingerprints.artifact:
        return None
    if (out / FUSION_FILE).exists() and made_of.get("fusion") != fingerprints.fusion:
        return None
    manifest["settings"] = asdict(settings)
    write_atomically(out / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
    return BuildReport(out, manifest["facts"], (*manifest["notes"], "already built from the same input and settings"))


def _with_pages(catalog: Catalog, path: Path, skip_bad: bool) -> tuple[Catalog, int]:
    """Return the catalogue with its ads' pages, and how many were left out as their ads are not there."""
    pages = load_pages(path)
    rows = catalog.ad_rows([page.ad_id for page in pages]).tolist()
    known = [page for page, row in zip(pages, rows, strict=True) if row >= 0] if skip_bad else pages
    return join_pages(catalog, known, path=path), len(pages) - len(known)


def _notes(
    num_skipped: int,
    problems: tuple[str, ...],
    judgements: Judgements | None,
    interactions: Interactions,
    num_strange: int,
) -> tuple[str, ...]:
    notes = [*skipped_notes(num_skipped, problems, judgements)]
    if interactions.num_unknown_ads:
        notes.append(f"{interactions.num_unknown_ads} clicks left out: their ads are not in the catalogue")
    if num_strange:
        notes.append(f"{num_strange} pages left out: their ads are not in the catalogue")
    return tuple(notes)
