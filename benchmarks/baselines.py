"""Write the runs that an engine has to beat: plain BM25, the untrained encoder, and the fusion of the two.

    pip install -e '.[models,benchmarks]'
    python benchmarks/baselines.py --ads ADS --queries FILE --out DIRECTORY [-k 500]

BM25 is bm25s with English stop words and the Snowball stemmer, k1 1.5 and b 0.75, over titles and descriptions: what
a user would try first, and none of this project's text handling. The encoder is all-MiniLM-L6-v2 as it comes, searched
exactly. They are fused by reciprocal ranks with the customary constant of 60.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import bm25s
import numpy as np
import Stemmer
from rich.console import Console

from intently.catalog import read_ads, read_queries, write_run
from intently.catalog.texts import ad_texts
from intently.index.postings import top_rows
from intently.models.pretrained import load_pretrained
from intently.models.student import Student
from intently.progress import StageProgress
from intently.retrieve.fuse import reciprocal_rank_fusion

Answers = list[tuple[np.ndarray, np.ndarray]]  # rows and scores a query


def main() -> None:
    """Write the three runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ads", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("-k", type=int, default=500)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    catalog = read_ads(options.ads).catalog
    queries = read_queries(options.queries)
    texts, ad_ids = ad_texts(catalog), catalog.strings("ad_id")
    with StageProgress(Console(stderr=True)) as progress:
        bm25 = lexical(texts, queries.texts, options.k)
        student = Student(*load_pretrained())
        ads = student.embed(texts, 48, progress=lambda done, total: progress("Encoding", done, total))
        asked = student.embed(queries.texts, 32)
        untrained = [(rows := top_rows(ads @ query, options.k), (ads @ query)[rows]) for query in asked]
        fused = [
            reciprocal_rank_fusion([one, other], [1.0, 1.0], 60.0)
            for (one, _), (other, _) in zip(bm25, untrained, strict=True)
        ]
    for name, answers in (("bm25", bm25), ("untrained", untrained), ("bm25-untrained", fused)):
        with write_run(options.out / f"{name}.trec", tag=name) as run:
            for query_id, (rows, scores) in zip(queries.ids, answers, strict=True):
                best = rows[: options.k].tolist()
                run.write(query_id, [ad_ids[row] for row in best], scores[: options.k].tolist())


def lexical(texts: list[str], queries: Iterable[str], k: int) -> Answers:
    """Return bm25s's answers; ads without a matching term are left out."""
    stemmer = Stemmer.Stemmer("english")
    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False)
    answers = []
    for query in queries:
        tokens = bm25s.tokenize([query], stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False)[0]
        scores = retriever.get_scores(tokens) if tokens else np.zeros(len(texts), dtype=np.float32)
        rows = top_rows(scores, k, above=0.0)
        answers.append((rows, scores[rows]))
    return answers


if __name__ == "__main__":
    main()
