"""Build a tiny engine from a simulated world and ask it, end to end.

Shows the two halves of Intently: `build_engine` (offline) and `Engine.retrieve` (online), with the reasons an ad came.
The ads are simulated, and the student is trained for three steps only, so that this takes well under a minute: expect
the words to find more than the intentions. A real build trains longer; leave the settings out to get the defaults.

    python examples/build_and_ask.py
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from intently import BuildSettings, Engine, build_engine
from intently.build.training.student import TrainingSettings
from intently.catalog import read_queries
from intently.index.posting_weights import PostingSettings
from intently.lab.world import simulate_world
from intently.terminal import reason_in_words

SETTINGS = BuildSettings(
    training=TrainingSettings(min_steps=3, max_steps=3, batch_size=16),
    postings=PostingSettings(num_beams=4, max_ad_tokens=24),
)


def main() -> None:
    with TemporaryDirectory() as directory:
        world, out = Path(directory) / "world", Path(directory) / "engine"
        simulate_world(world, num_ads=150, seed=0, num_judged_queries=20)
        report = build_engine(world / "ads.jsonl.gz", world / "clicks.tsv.gz", out, SETTINGS)
        print("Built from simulated ads and clicks:")
        for name, value in report.facts.items():
            print(f"  {name}: {value:g}")

        engine = Engine.load(out)
        for query in read_queries(world / "queries.tsv").texts[:3]:
            ranking = engine.retrieve(query, k=3)
            print(f"\n{query}")
            print(f"  intentions: {', '.join(each.text for each in ranking.intentions[:4])}")
            for ad in ranking.ads:
                title = engine.catalog.ad(int(engine.catalog.ad_rows([ad.ad_id])[0])).title
                print(f"  {ad.rank}. {title}")
                for reason in ad.reasons:
                    print(f"       {reason_in_words(reason)}")


if __name__ == "__main__":
    main()
