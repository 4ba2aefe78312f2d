"""What tests of experiments share: a progress that remembers, hand-made queries and results, metrics as defined."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from intently.catalog import Catalog, Qrels, Queries, Run
from intently.lab.experiments.report import Section, Table
from intently.lab.experiments.runner import SystemResult
from intently.types import Ad

METRICS = ("Recall@10", "HR@500", "MAP")


def silent(stage: str, done: int, total: int, note: str) -> None:
    """Show nothing."""


class Stages(list[str]):
    """A progress that remembers which stages were told."""

    def __bool__(self) -> bool:
        return True  # even before the first: `progress or …` must not take it for none

    def __call__(self, stage: str, done: int, total: int, note: str) -> None:
        if stage not in self:
            self.append(stage)


def tables(text: str) -> dict[str, list[list[str]]]:
    """Return the first Markdown table under each heading, its header left out."""
    found = {}
    for chapter in text.split("\n### ")[1:]:
        lines = [line.strip("| ").split(" | ") for line in chapter.splitlines() if line.startswith("|")]
        found[chapter.splitlines()[0]] = [
            [cell.replace("*", "").replace("\\", "") for cell in row] for row in lines[2:]
        ]
    return found


def content_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file with when it was written and what it holds."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.name != "rare.html"
    }


CATALOG = Catalog.from_ads(
    [
        Ad("a0", "Trail running shoe"),
        Ad("a1", "Cordless drill 18V"),
        Ad("a2", "男士跑步鞋 透气"),
        Ad("a3", "扫地机器人 自动集尘"),
        Ad("a4", "Garden hose"),
        Ad("a5", "Shoe rack"),
        Ad("a6", "Kettle"),
    ]
)
# Query id → text, and its judgements; those that share no stem with a relevant title are marked.
ASKED = {
    "runs": ("he runs fast", {"a0": 2, "a1": 0}),
    "sneakers": ("sneakers", {"a0": 2, "a5": 0}),  # *
    "跑": ("跑步鞋", {"a2": 2, "a3": 0}),
    "吸": ("吸尘器 电动", {"a3": 2, "a4": 0}),  # * 自动 is not 电动
    "mixed": ("robot vacuum", {"a3": 2}),  # * other language
    "one": ("hose for the garden", {"a4": 2, "a6": 2}),  # one of two shares
    "zero": ("kettle", {"a6": 1}),  # nothing relevant
    "less": ("boiler", {"a6": 2, "a5": 1}),  # *
    "few": ("racks", {"a6": 2, "a5": 1}),  # * what it shares with is not relevant
}
QUERIES = Queries(tuple(ASKED), tuple(text for text, _ in ASKED.values()))


def qrels_of(judged: dict[str, dict[str, float]]) -> Qrels:
    pairs = [(row, ad, value) for row, ads in enumerate(judged.values()) for ad, value in ads.items()]
    rows, ads, values = zip(*pairs, strict=True)
    return Qrels(tuple(judged), np.array(rows), pa.array(ads, pa.string()), np.array(values, dtype=np.float64))


QRELS = qrels_of({query_id: judged for query_id, (_, judged) in ASKED.items()})


def result(name: str, rankings: dict[str, list[str]], mean: float | None = None, **facts) -> SystemResult:
    answers = [(query_id, ads, list(range(len(ads), 0, -1))) for query_id, ads in rankings.items()]
    return SystemResult(name, Run.build(answers), mean, {"costs": {"seconds": 90.0}, **facts})


def shuffled(seed: int, query_ids=tuple(ASKED)) -> dict[str, list[str]]:
    """Return rankings by chance, of different lengths, one of them empty."""
    random = np.random.default_rng(seed)
    ads = CATALOG.strings("ad_id")
    return {
        query_id: [ads[at] for at in random.permutation(len(ads))[: (row + seed) % len(ads)]]
        for row, query_id in enumerate(query_ids)
    }


def rows_of(chapter: Section) -> dict[str, list]:
    """Return the values of a table's rows by what they are called."""
    rows = [[cell.value for cell in row] for row in chapter.table.cells() if not isinstance(row, str)]
    return {row[0]: row[1:] for row in rows}


def systems_of(table: Table) -> dict[str, list]:
    """Return the systems of a table by the group they stand in."""
    groups: dict[str, list] = {}
    for row in table.cells():
        if isinstance(row, str):
            groups[row] = []
        else:
            groups[list(groups)[-1]].append(row[0].value)
    return groups


def slow(run: Run, metric: str, query_ids=tuple(ASKED), least: float = 2.0) -> np.ndarray:
    """Measure a run query by query from the metrics' definitions; NaN without a relevant ad."""
    values = []
    for query_id in query_ids:
        good = {ad for ad, value in ASKED[query_id][1].items() if value >= least}
        at = run.query_rows == run.query_ids.index(query_id)
        ads = [ad for ad, wanted in zip(run.ad_ids.to_pylist(), at.tolist(), strict=True) if wanted]
        hits = [rank for rank, ad in enumerate(ads, start=1) if ad in good]
        values.append(
            np.nan if not good
            else len([rank for rank in hits if rank <= 10]) / len(good) if metric == "Recall@10"
            else len(hits) / len(good) if metric == "HR@500"
            else sum(found / rank for found, rank in enumerate(hits, start=1)) / len(good)
        )  # fmt: skip
    return np.array(values)
