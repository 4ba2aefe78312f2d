"""An engine over a dozen ads, English and Chinese, with a student of random weights."""

from dataclasses import asdict, dataclass
from hashlib import sha256

import numpy as np

from intently.catalog import Catalog
from intently.catalog.texts import ad_texts, searchable_texts
from intently.engine.engine import Engine
from intently.engine.layout import CACHE_FILE, write_engine
from intently.engine.relevance import Calibrator, Logistic, sets_of_evidence
from intently.engine.settings import RetrievalSettings
from intently.generation import MANIFEST, About, Draft, build_lock, digest_of_ids
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.index.posting_weights import AdIntentions, PostingSettings, build_postings
from intently.index.vectors import VectorIndex
from intently.intentions.decode import DecodeSettings
from intently.intentions.trie import Trie
from intently.text.analyze import Analyzer
from intently.text.rules import TEXT_RULES_VERSION
from intently.types import Ad, Channel, UserContext
from tests.nearness import near_intentions

ADS = [
    Ad("robot", "Red robot vacuum", keywords=("robot vacuum",)),
    Ad("paused", "Red robot vacuum", status="paused"),
    Ad("ended", "扫地机器人", status="ended"),
    Ad("zh-robot", "红色扫地机器人", countries=("CN",), languages=("zh",)),
    Ad("bits", "Drill bit for drill"),
    Ad("de-bits", "Blue drill bit", countries=("DE",), languages=("de", "en")),
    Ad("pan", "Red pan"),
    Ad("kettle", "Electric kettle", description="red or blue", devices=("mobile",)),
    Ad("zh-kettle", "红色电热水壶", audiences=("cooks",)),
    Ad("lamp", "LED lamp"),
    Ad("zh-lamp", "红色 LED 灯"),
    Ad("shoe", "Blue shoe", day_parts=("mon-fri@9-18",)),
]
TEXTS = ("red", "robot vacuum", "drill bit", "drill", "pan", "kettle", "扫地机器人", "红色", "水壶", "led lamp", "shoe")
GIVEN = [(0, 0), (0, 1), (0, 6), (1, 0), (1, 1), (2, 4), (2, 5), (3, 4), (3, 5), (4, 6), (5, 7), (6, 2), (6, 3)]
GIVEN += [(7, 3), (7, 8), (7, 10), (8, 8), (9, 9), (10, 11)]
QUERIES = [
    "red robot vacuum",
    "扫地机器人",
    "drill bits led",
    "红色水壶 kettle",
    "robto",
    "unknown",
    "２ ｐａｎ",
]
SAY_NOTHING = ["?!", "，。", "\u200b", "\0", "🦊🎉", "\u00ad", "™ ®"]
CHANNELS = (Channel.INTENTION, Channel.DENSE, Channel.LEXICAL)
WEIGHTS = {"coverage": 2.0, "cosine": 1.0, "intentions": 0.8}
CALIBRATOR = Calibrator(
    {names: Logistic({name: WEIGHTS[name] for name in names}, 1.0) for names in sets_of_evidence(CHANNELS)},
    "judgements of people",
    {0.95: 0.2, 0.9: 0.3},
)
SETTINGS = RetrievalSettings(decode=DecodeSettings(num_beams=5), feedback_weight=0.0)


@dataclass(frozen=True)
class Parts:
    """What an engine is made of beside the student: nothing changes it, so that engines of one student share it."""

    catalog: Catalog
    intentions: IntentionIndex
    embeddings: np.ndarray
    lexical: LexicalIndex


_PARTS: dict[tuple[bytes, str], Parts] = {}  # by the student's weights and tokenizer


def make_engine(student, settings: RetrievalSettings = SETTINGS) -> Engine:
    weights = b"".join(weights.numpy().tobytes() for weights in student.backbone.state_dict().values())
    key = sha256(weights).digest(), student.tokenizer.definition
    if key not in _PARTS:
        _PARTS[key] = _parts(student)
    parts = _PARTS[key]
    vectors = VectorIndex(parts.embeddings.copy())
    return Engine(parts.catalog, student, parts.intentions, vectors, parts.lexical, settings)


def _parts(student) -> Parts:
    catalog = Catalog.from_ads(ADS)
    trie = Trie.build(student.tokenizer.encode_bare(TEXTS))
    pairs, log_probs, embeddings = [], [], np.empty((len(ADS), student.dimension), dtype=np.float32)
    for rows, reading in student.batches(ad_texts(catalog), 24, batch_size=5):
        embeddings[rows] = reading.embeddings
        for row, found in zip(
            rows, student.decoder(trie).decode(reading.prompt, DecodeSettings(num_beams=3)), strict=True
        ):
            pairs += [(intention_id, row) for intention_id in found.intention_ids]
            log_probs += found.log_probs.tolist()
    clicked = np.empty((0, 2), dtype=np.int64)
    ad_intentions = AdIntentions(np.array(GIVEN), clicked, np.array(pairs), np.array(log_probs))
    vectors = student.embed(TEXTS, 24)
    postings, statistics = build_postings(ad_intentions, len(ADS), len(TEXTS), PostingSettings())
    lexical = LexicalIndex.build(searchable_texts(catalog), LexicalSettings())
    intentions = IntentionIndex(TEXTS, trie, postings, Analyzer(), statistics, near_intentions(vectors))
    return Parts(catalog, intentions, embeddings, lexical)


def ids(ranking) -> list[str]:
    return [ad.ad_id for ad in ranking.ads]


USERS = [
    (None, {"paused", "ended"}),
    (UserContext(country="cn"), {"paused", "ended", "de-bits"}),
    (UserContext(country="DE", language="EN", device="Desktop"), {"paused", "ended", "zh-robot", "kettle"}),
    (UserContext(audiences=frozenset()), {"paused", "ended", "zh-kettle"}),
]


def save(engine: Engine, root, *, parts: dict | None = None, cache=None, seq: int = 0, **settings) -> list:
    """Publish an engine with settings beside those of retrieval; `parts` are what it has beside what it must."""
    told = {"retrieval": asdict(engine.settings), **settings}
    ads = digest_of_ids(engine.catalog.strings("ad_id"))
    about = About(engine.catalog.num_ads, ads, TEXT_RULES_VERSION, {}, told, {}, seq=seq)
    with build_lock(root), Draft(root, about) as draft:
        given = (engine.catalog, engine.student, engine.intentions, engine.vectors, engine.lexical)
        write_engine(draft, *given, runtime=engine.settings.runtime, **(parts or {}))
        if cache:
            draft.copy(CACHE_FILE, cache)
        draft.publish()
    return [path for path in draft.directory.rglob("*") if path.is_file() and path.name != MANIFEST]
