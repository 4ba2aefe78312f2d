"""Simulate a whole world of ads, queries, clicks and judgements, and write it to a folder."""

import json
import random
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from intently.errors import InputError
from intently.lab.world.adverts import ad_id, write_ads
from intently.lab.world.draw import LOG_SHARES, Queries, draw_judged, draw_queries
from intently.lab.world.folder import MANIFEST, gzip_text, replaced_folder
from intently.lab.world.judging import MOST_JUDGED, Judge, Judgements, share_without_overlap
from intently.lab.world.latent import Language, Market, Offers, Rows, sample_offers
from intently.lab.world.queries import QueryWriter, Style
from intently.lab.world.traffic import FEW_CLICKS, HEAD, Clicks, sample_clicks, sample_requests
from intently.lab.world.vocabulary import Vocabulary, load_vocabulary
from intently.types import Ad, Progress

VERSION = 1  # of the simulator: the same version, seed and sizes give the same bytes
FEWEST_ADS = 100
QUERIES_PER_AD = 4  # distinct queries in the log
HAS_PAGE = 0.92
SCANNED = 0.31  # of the landing pages, exactly (rounded to a whole page)
_STEP = 5_000  # ads between two reports of progress


@dataclass(frozen=True, slots=True)
class WorldReport:
    """What was simulated: where it is, what it was made from, and what was measured in it."""

    path: Path
    seed: int
    num_ads: int
    statistics: dict[str, int | float]


@dataclass(frozen=True, slots=True)
class _World:
    """Everything but the ads' texts."""

    vocabulary: Vocabulary
    offers: Offers
    log: Queries
    requests: Rows
    clicks: Clicks
    judged: Queries
    judgements: Judgements


def simulate_world(
    out: Path,
    num_ads: int,
    seed: int,
    *,
    num_judged_queries: int = 400,
    progress: Progress | None = None,
    vocabulary: Vocabulary | None = None,
) -> WorldReport:
    """Write a simulated world to the folder `out` and return what was measured in it.

    The folder then holds `ads.jsonl.gz`, `clicks.tsv.gz`, `requests.tsv.gz`, `queries.tsv`, `qrels.trec` and
    `world.json`. It appears only when complete; a world already there is replaced. The same seed and sizes give the
    same bytes. `vocabulary` replaces the verticals that ship with Intently.

    Raises `InputError` when `num_ads` is below 100, `num_judged_queries` below 1, `seed` negative, `out` holds
    something else than a world, or the vocabulary is too small for so many distinct queries.
    """
    if num_ads < FEWEST_ADS:
        raise InputError(f"is {num_ads}", cure=f"simulate at least {FEWEST_ADS} ads", field="num_ads")
    if num_judged_queries < 1:
        raise InputError(f"is {num_judged_queries}", cure="judge at least 1 query", field="num_judged_queries")
    if seed < 0:
        raise InputError(f"is {seed}", cure="use 0 or more", field="seed")
    report = progress or (lambda *_: None)
    with replaced_folder(out) as folder:
        world = _simulate(vocabulary or load_vocabulary(), num_ads, seed, num_judged_queries, report)
        _write_traffic(folder, world)
        statistics = _measure(world) | _write_ads(folder / "ads.jsonl.gz", world, seed, report)
        manifest = {
            "simulated": True,
            "note": "Simulated data: no ad, brand, query or click in this folder is real.",
            "version": VERSION,
            "seed": seed,
            "num_ads": num_ads,
            "judgements": f"Active ads only, at most {MOST_JUDGED} a query: every grade 2 and 3, then some 1.",
            "statistics": statistics,
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8")
    return WorldReport(out, seed, num_ads, statistics)


def _simulate(vocabulary: Vocabulary, num_ads: int, seed: int, num_judged: int, report: Progress) -> _World:
    # One stream of random numbers for each part, so that a change in one leaves the others as they were.
    streams = [np.random.default_rng([seed, part]) for part in range(6)]
    market = Market.of(vocabulary)
    offers = sample_offers(market, num_ads, streams[0])
    judge = Judge(market, offers)
    writer = QueryWriter(vocabulary, random.Random(f"queries {seed}"))
    taken: set[str] = set()  # the judged queries go first: the log avoids them
    report("queries", 0, num_ads * QUERIES_PER_AD, "")
    judged = draw_judged(
        offers, writer, num_judged, streams[1], taken=taken, accept=judge.is_judgeable, avoid=vocabulary.ambiguous
    )
    log = draw_queries(offers, writer, LOG_SHARES, num_ads * QUERIES_PER_AD, streams[2], taken=taken)
    taken.clear()  # a quarter of the memory of a large world
    report("queries", len(log), len(log), "")
    report("clicks", 0, 1, "")
    requests = sample_requests(log, streams[3])
    clicks = sample_clicks(market, offers, log, requests, streams[4])
    report("clicks", 1, 1, "")
    return _World(vocabulary, offers, log, requests, clicks, judged, judge.judge(judged.intents, streams[5]))


def _write_traffic(folder: Path, world: _World) -> None:
    texts, judged, judgements = world.log.texts, world.judged, world.judgements
    with gzip_text(folder / "requests.tsv.gz") as file:
        file.write("query\trequests\n")
        for query in np.argsort(-world.requests, kind="stable").tolist():
            file.write(f"{texts[query]}\t{world.requests[query]}\n")
    with gzip_text(folder / "clicks.tsv.gz") as file:
        file.write("query\tad_id\tclicks\n")
        clicks = world.clicks
        for query, ad, count in zip(clicks.query.tolist(), clicks.ad.tolist(), clicks.count.tolist(), strict=True):
            file.write(f"{texts[query]}\t{ad_id(ad)}\t{count}\n")
    with (folder / "queries.tsv").open("w", encoding="utf-8", newline="\n") as file:
        file.write("query_id\tquery\tlanguage\tstyle\n")
        rows = zip(judged.texts, judged.intents.language.tolist(), judged.styles.tolist(), strict=True)
        for query, (text, language, style) in enumerate(rows):
            file.write(f"{_query_id(query)}\t{text}\t{Language(language).name.lower()}\t{Style(style).name.lower()}\n")
    with (folder / "qrels.trec").open("w", encoding="utf-8", newline="\n") as file:
        columns = (judgements.query, judgements.ad, judgements.grade)
        for query, ad, grade in zip(*(column.tolist() for column in columns), strict=True):
            file.write(f"{_query_id(query)} 0 {ad_id(ad)} {grade}\n")


def _write_ads(path: Path, world: _World, seed: int, report: Progress) -> dict[str, int | float]:
    """Write the ads one by one; return what only their texts show."""
    total = len(world.offers)
    rng = np.random.default_rng([seed, 6])
    has_page = rng.random(total) < HAS_PAGE
    pages = np.flatnonzero(has_page)
    is_scan = np.zeros(total, np.bool_)
    is_scan[rng.permutation(pages)[: round(SCANNED * len(pages))]] = True
    relevant = set(world.judgements.ad[world.judgements.grade >= 2].tolist())
    titles: dict[int, str] = {}
    with_keywords = 0
    ads = write_ads(world.vocabulary, world.offers, has_page.tolist(), is_scan.tolist(), random.Random(f"ads {seed}"))
    with gzip_text(path) as file:
        for row, ad in enumerate(ads):
            file.write(json.dumps(_record(ad), ensure_ascii=False, separators=(",", ":")) + "\n")
            with_keywords += bool(ad.keywords)
            if row in relevant:
                titles[row] = ad.title
            if row % _STEP == 0:
                report("ads", row, total, "")
    report("ads", total, total, "")
    return {
        "landing_pages": len(pages),
        "scanned_page_share": float(is_scan.sum() / len(pages)),
        "keyword_ad_share": with_keywords / total,
        "judged_without_title_word_share": share_without_overlap(world.judged.texts, world.judgements, titles),
    }


def _measure(world: _World) -> dict[str, int | float]:
    clicks, offers, judgements = world.clicks, world.offers, world.judgements
    per_ad = np.bincount(clicks.ad, weights=clicks.count, minlength=len(offers))
    asked = np.sort(world.requests)[::-1]
    verticals = world.vocabulary.verticals
    languages = np.bincount(offers.language, minlength=len(Language)) / len(offers)
    return {
        "goods_verticals": sum(vertical.kind == "goods" for vertical in verticals),
        "services_verticals": sum(vertical.kind == "services" for vertical in verticals),
        "types": len(world.vocabulary.types),
        **{f"{language.name.lower()}_ad_share": float(languages[language]) for language in Language},
        "paused_ad_share": float(1 - offers.active.mean()),
        "queries": len(world.log),
        "requests": int(asked.sum()),
        "head_request_share": float(asked[: round(HEAD * len(asked))].sum() / asked.sum()),
        "clicked_pairs": len(clicks.count),
        "clicks": int(clicks.count.sum()),
        "ads_with_few_clicks_share": float((per_ad < FEW_CLICKS).mean()),
        "ads_without_clicks_share": float((per_ad == 0).mean()),
        "judged_queries": len(world.judged),
        "judgements": len(judgements.grade),
        **{f"judgements_of_grade_{grade}": int((judgements.grade == grade).sum()) for grade in (1, 2, 3)},
    }


def _record(ad: Ad) -> dict[str, Any]:
    """Return the ad as it is written: fields that say nothing are left out."""
    record = {field.name: getattr(ad, field.name) for field in fields(ad)}
    record["landing_spans"] = [asdict(span) for span in ad.landing_spans]
    return {name: value for name, value in record.items() if value}


def _query_id(row: int) -> str:
    return f"q{row:05d}"
