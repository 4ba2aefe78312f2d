"""Measure whether an engine's probabilities of relevance hold, and whether queries from elsewhere get low ones.

    python benchmarks/calibration.py ENGINE --judgements FILE [--min-relevance G] [--foreign FILE …] [-k 10]
        [--num-foreign 200] [--name NAME --figure FILE.svg] [--json FILE]

FILE of `--judgements` has queries that the engine has not learned from, with relevance or clicks. Of each query the
first k ads are looked at; ads that nobody judged count as not relevant, and once more they are left out. For each file
of `--foreign`, queries of another domain, the median of the first ad's and of the highest probability stands beside the
threshold that keeps 95% of the good ads. Files of ads are asked by their titles.

    python benchmarks/calibration.py --draw FILE.json … --figure FILE.svg

draws what `--json` wrote, a panel a file.
"""

import argparse
import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from intently import Engine
from intently.catalog import read_ads, read_judgements, read_queries
from intently.errors import InputError
from intently.evaluation.calibration import Bin, expected_calibration_error, reliability, threshold_keeping
from intently.lab.experiments.figures import reliability_chart

KEPT = 0.95  # of the good ads, by the threshold that foreign queries are compared with
_BATCH = 32


def main() -> None:
    """Measure and print, or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path, nargs="?")
    parser.add_argument("--judgements", type=Path)
    parser.add_argument("--min-relevance", type=float, help="from which a judgement counts; default: the upper third")
    parser.add_argument("--foreign", type=Path, nargs="*", default=[])
    parser.add_argument("--num-foreign", type=int, default=200, help="queries that are drawn of each foreign file")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default="", help="what the figures are of")
    parser.add_argument("--json", type=Path, help="write all figures to this file, too")
    parser.add_argument("--figure", type=Path, help="write a reliability diagram to this file")
    parser.add_argument("--draw", type=Path, nargs="+", help="files that --json wrote, to be drawn")
    options = parser.parse_args()
    if options.draw:
        figures = [json.loads(path.read_text(encoding="utf-8")) for path in options.draw]
    else:
        if options.engine is None or options.judgements is None:
            parser.error("name an ENGINE and --judgements, or --draw")
        figures = [measured(options)]
        told = json.dumps(figures[0], ensure_ascii=False)
        print(told)
        if options.json:
            options.json.write_text(told + "\n", encoding="utf-8")
    if options.figure:
        panels = {each["name"]: tuple(Bin(**one) for one in each["all"]["bins"]) for each in figures}
        options.figure.write_text(reliability_chart(options.figure.stem, panels).svg + "\n", encoding="utf-8")


def measured(options: argparse.Namespace) -> dict[str, object]:
    """Measure an engine, print the tables, and return the figures."""
    engine = Engine.load(options.engine, num_threads=options.threads)
    if engine.calibrator is None:
        raise InputError("this engine does not tell relevance", path=options.engine)
    judged = read_judgements(options.judgements)
    positive = judged.positives(options.min_relevance)
    label = {
        (query, ad_id): good
        for query, ad_id, good in zip(
            judged.query_rows.tolist(), judged.ad_ids.to_pylist(), positive.tolist(), strict=True
        )
    }
    stated, relevant, is_judged = [], [], []
    for row, ads in enumerate(answers(engine, judged.queries, options.k)):
        for ad_id, probability in ads:
            stated.append(probability)
            relevant.append(label.get((row, ad_id), False))
            is_judged.append((row, ad_id) in label)
    probabilities, good, known = np.array(stated), np.array(relevant), np.array(is_judged)
    threshold = threshold_keeping(probabilities[good], KEPT)
    figures: dict[str, object] = {
        "name": options.name or options.judgements.stem,
        "queries": len(judged.queries),
        "learned_from": engine.calibrator.learned_from,
        "all": told(probabilities, good, f"ads of the first {options.k}, unjudged ones as not relevant"),
        "judged": told(probabilities[known], good[known], f"judged ads of the first {options.k}"),
        "threshold": threshold,
        "told_threshold": engine.calibrator.keeping[KEPT],
    }
    table = Table("queries of", "number", "median of the first ad", "median of the highest", "none reaches it")
    foreign = {}
    for path in options.foreign:
        top = [
            [each for _, each in ads] or [0.0] for ads in answers(engine, drawn(path, options.num_foreign), options.k)
        ]
        first, highest = np.array([each[0] for each in top]), np.array([max(each) for each in top])
        foreign[f"{path.parent.name}/{path.name}"] = {
            "queries": len(top),
            "first": float(np.median(first)),
            "highest": float(np.median(highest)),
            "empty": float((highest < threshold).mean()),
        }
    for name, one in foreign.items():
        table.add_row(
            name, str(one["queries"]), *(f"{one[key]:.4f}" for key in ("first", "highest")), f"{one['empty']:.0%}"
        )
    console = Console(width=120)
    console.print(
        f"{KEPT:.0%} of the good ads reach {threshold:.4f}; the build said {engine.calibrator.keeping[KEPT]:.4f}"
    )
    if foreign:
        console.print(table)
    return figures | {"foreign": foreign, "date": date.today().isoformat(), "machine": platform.machine()}


def told(probabilities: np.ndarray, relevant: np.ndarray, what: str) -> dict[str, object]:
    """Print the reliability of some ads, and return it."""
    bins = reliability(probabilities, relevant)
    error = expected_calibration_error(bins)
    table = Table("probability", "ads", "stated", "observed", title=f"{what}: error {error:.4f}")
    for each in bins:
        table.add_row(
            f"{each.low:.1f} to {each.high:.1f}", f"{each.count:,}", f"{each.stated:.3f}", f"{each.observed:.3f}"
        )
    Console(width=120).print(table)
    return {"ads": len(probabilities), "error": error, "bins": [asdict(each) for each in bins]}


def answers(engine: Engine, queries: Sequence[str], k: int) -> Iterator[list[tuple[str, float]]]:
    """Yield the first `k` ads of each query, with their probabilities."""
    for ranking in engine.retrieve_many(queries, k, batch_size=_BATCH):
        yield [(ad.ad_id, ad.relevance) for ad in ranking.ads if ad.relevance is not None]


def drawn(path: Path, number: int) -> list[str]:
    """Return so many distinct queries of a file of queries, of judgements or of ads, always the same."""
    try:
        texts: Sequence[str] = read_queries(path).texts
    except InputError:
        texts = read_ads([path]).catalog.strings("title")
    distinct = list(dict.fromkeys(texts))
    return [distinct[row] for row in np.random.default_rng(0).permutation(len(distinct))[:number].tolist()]


if __name__ == "__main__":
    main()
