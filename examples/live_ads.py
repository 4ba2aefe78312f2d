"""Add, replace and remove ads while an engine answers.

Shows `Engine.add_ads` and `Engine.remove_ads`: a new ad is read once by the student, gets its intentions from the
present vocabulary, and is found on every channel as soon as the call returns; nothing is trained. A query under way
keeps the ads it began with. The engine here is put together by hand from five ads and the pretrained sentence encoder
as it comes, so that this takes seconds; one that `build_engine` made is loaded by `Engine.load` and used in the same
way.

    python examples/live_ads.py
"""

import numpy as np

from intently import Ad, Channel, Engine
from intently.catalog import Catalog
from intently.catalog.texts import ad_texts, searchable_texts
from intently.engine.settings import RetrievalSettings
from intently.errors import InputError
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.index.near import NearIntentions
from intently.index.phrases import PhraseTable
from intently.index.posting_weights import AdIntentions, PostingSettings, build_postings
from intently.index.vectors import VectorIndex
from intently.intentions.prior import Guidance
from intently.intentions.trie import Trie
from intently.models.pretrained import load_pretrained
from intently.models.student import Student
from intently.text.analyze import Analyzer

ADS = [
    Ad("shoes-1", "Trail running shoes", keywords=("running shoes",)),
    Ad("shoes-2", "Running shoes with carbon plate"),
    Ad("socks", "Running socks, pack of 3"),
    Ad("robot", "Robot vacuum that mops"),
    Ad("hose", "Garden hose 50 ft"),
]
INTENTIONS = ("running shoes", "running socks", "robot vacuum", "garden hose", "marathon")


def main() -> None:
    engine = small_engine()
    show(engine, "marathon", "Before")

    engine.add_ads([Ad("race", "Racing flats for your first marathon", keywords=("running shoes",))])
    show(engine, "marathon", "One ad added")
    show(engine, "running shoes", "It bids on 'running shoes', so it comes for these, too")

    engine.add_ads([Ad("race", "Marathon entry, Berlin")], replace=True)
    show(engine, "marathon", "The same id, another ad")

    under_way = engine.retrieve_many(["marathon", "marathon"], channel=Channel.LEXICAL, batch_size=1)
    first = [ad.ad_id for ad in next(under_way).ads]
    engine.remove_ads(["race"])
    second = [ad.ad_id for ad in next(under_way).ads]
    print(f"Removed between the queries of one call, which both see the same ads: {first}, {second}")
    show(engine, "marathon", "After it")

    try:
        engine.add_ads([Ad("new", "Water bottle"), Ad("hose", "Another hose")])
    except InputError as error:
        print(f"All or nothing: {error}.")
    print(f"{engine.catalog.num_ads} ads, as in the beginning.")


def show(engine: Engine, query: str, when: str) -> None:
    print(f"{when}: {query!r}")
    for channel in (Channel.INTENTION, Channel.LEXICAL):
        found = engine.retrieve(query, k=3, channel=channel).ads
        print(f"  {channel:<10} {', '.join(f'{ad.ad_id} {ad.score:.2f}' for ad in found) or 'nothing'}")


def small_engine() -> Engine:
    student, catalog, settings = Student(*load_pretrained()), Catalog.from_ads(ADS), PostingSettings()
    trie, phrases = Trie.build(student.tokenizer.encode_bare(INTENTIONS)), PhraseTable(INTENTIONS, Analyzer())
    texts = [" ".join((ad.title, *ad.keywords)) for ad in ADS]
    given = np.array([(key, row) for row, text in enumerate(texts) for key in phrases.within(text).tolist()])
    nothing = np.empty((0, 2), dtype=np.int64)  # clicks; and the students of real engines decode some
    vectors = student.embed(ad_texts(catalog), settings.max_ad_tokens)
    near = NearIntentions.build(student.embed(INTENTIONS, settings.max_ad_tokens), Guidance(0.05, None))
    postings, statistics = build_postings(
        AdIntentions(given, nothing, nothing, np.empty(0)), catalog.num_ads, len(INTENTIONS), settings
    )
    return Engine(
        catalog,
        student,
        IntentionIndex(INTENTIONS, trie, postings, Analyzer(), statistics, near),
        VectorIndex(vectors),
        LexicalIndex.build(searchable_texts(catalog), LexicalSettings()),
        RetrievalSettings(),
    )


if __name__ == "__main__":
    main()
