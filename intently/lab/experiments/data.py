"""What an experiment is made on: ads, interactions to learn from, and judged queries to measure by."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from intently.build.intentions import choose_vocabulary
from intently.build.interactions import Interactions, match_interactions
from intently.build.settings import BuildSettings
from intently.build.start import decide
from intently.catalog import Catalog, Judgements, Queries, read_ads, read_judgements
from intently.catalog.texts import ad_texts
from intently.lab.baselines.task import Task
from intently.lab.world import simulate_world
from intently.lab.world.simulate import VERSION
from intently.types import Progress


@dataclass(frozen=True)
class Files:
    """The experiment's input: ads, clicks (or judgements) to learn from, judged test queries, and a taxonomy."""

    ads: Path
    clicks: Path
    queries: Path  # test queries: any file that `intently run` takes
    qrels: Path  # their judgements
    taxonomy: Path | None = None


@dataclass(frozen=True, eq=False)
class Data:
    """The catalog, the interactions to learn from, and the queries to answer."""

    catalog: Catalog
    judgements: Judgements
    interactions: Interactions
    queries: Queries

    @classmethod
    def read(cls, files: Files, build: BuildSettings, queries: Queries) -> "Data":
        """Read ads and clicks."""
        catalog, judgements = read_ads(files.ads).catalog, read_judgements(files.clicks)
        return cls(catalog, judgements, match_interactions(catalog, judgements, build.min_relevance), queries)

    def stemmed(self, build: BuildSettings) -> BuildSettings:
        """Return settings with the stemmer of the titles' language, if they leave it open."""
        return replace(build, lexical=decide(build, self.catalog.strings("title"))[0].lexical)

    def task(self, build: BuildSettings) -> Task:
        """Return the baselines' task, with the vocabulary as it is without a teacher."""
        return Task(
            ad_ids=tuple(self.catalog.strings("ad_id")),
            ad_texts=tuple(ad_texts(self.catalog)),
            titles=tuple(self.catalog.strings("title")),
            keywords=tuple(tuple(each) for each in self.catalog.bare_keywords()),
            queries=self.interactions.queries,
            clicks=self.interactions.clicks,
            irrelevant=self.interactions.irrelevant,
            test_queries=self.queries.texts,
            vocabulary=choose_vocabulary(self.catalog, self.interactions, build),
        )


def world_files(directory: Path, num_ads: int, progress: Progress) -> Files:
    """Return the files of a simulated world in `directory`, simulating it if it is not there."""
    manifest = directory / "world.json"
    made = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
    if (made.get("version"), made.get("num_ads"), made.get("seed")) != (VERSION, num_ads, 0):
        simulate_world(directory, num_ads, 0, progress=progress)
    return Files(
        directory / "ads.jsonl.gz", directory / "clicks.tsv.gz", directory / "queries.tsv", directory / "qrels.trec"
    )
