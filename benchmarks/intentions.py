"""Show what stands for forty queries of the demonstration's world, without and with guided decoding, and count it.

    make demo && python benchmarks/intentions.py demo > docs/results/intentions.md

"Before" is a student that was trained without the prior and decodes without it, 50 beams wide; this script builds it in
two minutes, into `demo/unguided`. "After" is the engine of the demonstration. The queries are not chosen by hand: of
the world's held-out queries every n-th, in the order of the file, 20 in English, 10 in Chinese, 5 that mix the two; and
five in German, a language that the world does not have.
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from intently.arrays import IntArray
from intently.build.pipeline import build_engine
from intently.engine.engine import Engine
from intently.lab.demo import TRAINED
from intently.progress import StageProgress

NUM_QUERIES = {"en": 20, "zh": 10, "mixed": 5}
# Beside each the thing that is asked for; an intention that has one of these words is sensible.
GERMAN = {
    "gebrauchter staubsauger für tierhaare": "vacuum|hoover|吸尘",
    "laufschuhe damen": "running shoe|trainers|runner|跑鞋",
    "klempner notdienst": "plumb|drain|pipe|leak|管道|水管|漏水",
    "kaffeemaschine mit mahlwerk": "coffee|espresso|grinder|咖啡",
    "nachhilfe mathe": "math|tutor|数学|辅导",
}
NUM_SHOWN = 5
ABOUT = """# Forty queries and their intentions

Made by `python benchmarks/intentions.py demo`, after `make demo`. World and ads are simulated. Queries are not chosen
by hand: of the world's held-out queries every n-th, and five in German, a language that this world does not have.

- **Before**: a student that was trained without the prior (`training.guided = false`) decodes 50 beams without it
  (`retrieval.decode.prior_weight = 0`).
- **After**: as the engine is built: guided by what is near, 8 beams, or by nearness alone if the build found on
  held-out queries that the student has nothing to add yet.

Each shows the five intentions that count most for its answer, those that the query has word by word among them.
**Bold** ones are sensible by one of these rules:

1. The query has it word by word, as typed or corrected.
2. At least half of the ads that name it themselves (title or bid keywords) are relevant to the query, by the world's
   own judgements (grade 1 or more).
3. For the German queries, which have no judgements: it has a word for the thing that is asked for, as the script lists.

A brand or an attribute that the query does not have is therefore not sensible, nor is the right thing of another kind.

"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="the directory of `make demo`")
    options = parser.parse_args()
    engine = Engine.load(options.demo / "engine")
    relevant, queries = _judged(options.demo / "world"), _chosen(options.demo / "world" / "queries.tsv")
    carriers = _carriers(engine)
    texts = [text for _, text, _ in queries]
    unguided = _unguided(options.demo)
    assert unguided.intentions.version == engine.intentions.version  # equal builds have equal vocabularies
    after, before = _intentions(engine, texts), _intentions(unguided, texts)
    counted = {name: dict[str, list[int]]() for name in ("before", "after")}
    lines = ["| query | before | after |", "| --- | --- | --- |"]
    for (query_id, text, language), *columns in zip(queries, before, after, strict=True):
        literal = set(engine.intentions.literal(text).tolist())
        cells = []
        for name, ids in zip(counted, columns, strict=True):
            good = [
                _is_sensible(int(each), engine, literal, carriers, relevant.get(query_id, set()), GERMAN.get(text))
                for each in ids
            ]
            counted[name].setdefault(language, []).append(sum(good))
            told = [engine.intentions.texts[each] for each in ids]
            cells.append(" · ".join(f"**{one}**" if fine else one for one, fine in zip(told, good, strict=True)))
        lines.append(f"| {text} | {' | '.join(cells)} |")
    print(ABOUT + "| sensible of five, mean | queries | before | after |\n| --- | ---: | ---: | ---: |")
    for language in (*NUM_QUERIES, "de"):
        values = [np.array(counted[name][language]) for name in counted]
        print(f"| {language} | {len(values[0])} | {values[0].mean():.2f} | {values[1].mean():.2f} |")
    every = [np.concatenate([np.array(each) for each in counted[name].values()]) for name in counted]
    print(f"| all | {len(every[0])} | {every[0].mean():.2f} | {every[1].mean():.2f} |\n")
    print("\n".join(lines))


def _unguided(demo: Path) -> Engine:
    """Return an engine of the same world without a prior, neither in training nor in decoding."""
    settings = replace(TRAINED, training=replace(TRAINED.training, guided=False))
    world, directory = demo / "world", demo / "unguided"
    with StageProgress(Console(stderr=True)) as progress:
        build_engine(world / "ads.jsonl.gz", world / "clicks.tsv.gz", directory, settings, progress=progress)
    engine = Engine.load(directory)
    decode = replace(engine.settings.decode, prior_weight=0.0, num_beams=50)
    return engine.varied(replace(engine.settings, decode=decode), decoded=True)


def _chosen(path: Path) -> list[tuple[str, str, str]]:
    """Return (id, query, language) of the queries."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    chosen = []
    for language, num in NUM_QUERIES.items():
        of_language = [row for row in rows if row["language"] == language]
        chosen += [of_language[place] for place in np.linspace(0, len(of_language) - 1, num).astype(int)]
    found = [(row["query_id"], row["query"], row["language"]) for row in chosen]
    return found + [("", text, "de") for text in GERMAN]


def _judged(world: Path) -> dict[str, set[str]]:
    """Return the ads of grade 1 or more of each query."""
    relevant: dict[str, set[str]] = {}
    for line in (world / "qrels.trec").read_text(encoding="utf-8").splitlines():
        query, _, ad_id, grade = line.split()
        if float(grade) >= 1:
            relevant.setdefault(query, set()).add(ad_id)
    return relevant


def _carriers(engine: Engine) -> dict[int, list[str]]:
    """Return the ids of the ads that name each intention themselves."""
    carriers: dict[int, list[str]] = {}
    catalog = engine.catalog
    columns = (catalog.strings("ad_id"), catalog.strings("title"), catalog.column("keywords").to_pylist())
    for ad_id, title, keywords in zip(*columns, strict=True):
        for each in engine.intentions.given(title, keywords).tolist():
            carriers.setdefault(each, []).append(ad_id)
    return carriers


def _intentions(engine: Engine, texts: Sequence[str]) -> list[IntArray]:
    """Return the intentions that count most for each query."""
    place = {text: at for at, text in enumerate(engine.intentions.texts)}
    return [
        np.array([place[each.text] for each in ranking.intentions[:NUM_SHOWN]], dtype=np.int64)
        for ranking in engine.retrieve_many(texts, 1)
    ]


def _is_sensible(
    intention: int,
    engine: Engine,
    literal: set[int],
    carriers: Mapping[int, Sequence[str]],
    relevant: set[str],
    words: str | None,
) -> bool:
    if words is not None:
        return any(word in engine.intentions.texts[intention] for word in words.split("|"))
    named = carriers.get(intention, ())
    return intention in literal or (len(named) > 0 and sum(ad in relevant for ad in named) >= len(named) / 2)


if __name__ == "__main__":
    main()
