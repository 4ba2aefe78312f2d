"""Measure two runs on the same judgements and test whether the difference is more than chance.

Shows `evaluate_runs` on two made-up systems over 60 queries: "new" puts the relevant ad first a little more often than
"old". Every query is measured under both, and the paired randomization test asks how often a difference this large
would come about if the two systems were exchangeable. Needs no PyTorch and takes a second.

    python examples/compare_two_runs.py
"""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from intently.catalog import Run, read_qrels
from intently.evaluation import evaluate_runs

NUM_QUERIES = 60


def answers(chance_of_first: float, rng: random.Random) -> Run:
    """Return a run in which each query's best ad is first with the given chance, and anywhere below otherwise."""
    made = []
    for query in range(NUM_QUERIES):
        ads = [f"other{number}" for number in range(9)]
        ads.insert(0 if rng.random() < chance_of_first else rng.randint(1, 9), f"best{query}")
        made.append((f"q{query}", ads, [1 / rank for rank in range(1, 11)]))
    return Run.build(made)


def main() -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "qrels.trec"
        path.write_text("".join(f"q{query} 0 best{query} 1\n" for query in range(NUM_QUERIES)))
        qrels = read_qrels(path)

    rng = random.Random(0)
    report = evaluate_runs({"old": answers(0.4, rng), "new": answers(0.6, rng)}, qrels)
    Console(width=100).print(report.table())
    for compared in report.comparisons:
        if compared.metric in ("MRR", "NDCG@10"):
            print(
                f"{compared.metric}: {compared.run} is {compared.difference:+.3f} against {compared.first}, "
                f"95% interval [{compared.low:+.3f}, {compared.high:+.3f}], p = {compared.p_value:.4f}"
            )


if __name__ == "__main__":
    main()
