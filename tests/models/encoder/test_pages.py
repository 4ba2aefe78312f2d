"""What the encoder reads of landing pages, against a slow twin that embeds every text by itself."""

from collections import Counter

import numpy as np
import pytest

from intently.catalog import Catalog
from intently.catalog.texts import ad_texts
from intently.models.encoder import pages as encoder_pages
from intently.models.encoder.pages import encoder_texts
from intently.text.chunk import ChunkSettings, Document, best_text, choose_chunks
from intently.text.sentences import split_sentences
from intently.types import Ad

ADS = [
    Ad("r", "Red robot vacuum", "Maps rooms", keywords=("robot",), landing_text="Red robots clean. Call us. Ship red."),
    Ad("z", "扫地机器人", keywords=("扫地", "机器人")),
    Ad("d", "Drill bit", landing_text=" "),
    Ad("k", "电热水壶", landing_text="保温水壶。"),
    Ad("p", "Pan"),
]
PAGES = ("Imprint. Robot with bag.", "自动集尘。隐私政策。扫地安静。", "", "Electric kettle. 隐私政策。", "")
ASKED = (["robot vacuum", "red"], [], ["drill"], ["水壶"], ["pan"])
SETTINGS = ChunkSettings(num_chunks=2, max_length=6, max_chunk_length=3)


class Embedding:
    """Letters of a text, counted; remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts):
        self.calls.append(list(texts))
        return np.array([self.one(text) for text in texts], dtype=np.float32).reshape(-1, 32)

    @staticmethod
    def one(text: str) -> np.ndarray:
        counts = np.zeros(32)
        for letter, number in Counter(text.lower()).items():
            counts[ord(letter) % 32] += number
        return counts / max(np.linalg.norm(counts), 1e-9)


def slowly(ad: Ad, page: str, asked: list[str]) -> str:
    """Return what is read of one ad, step by step."""
    (text,) = ad_texts(Catalog.from_ads([ad]))
    landing = f"{ad.landing_text} {page}" if ad.landing_text and page else ad.landing_text or page
    sentences = split_sentences(landing) if landing else []
    if not sentences:
        return text
    document = Document.build(sentences, np.array([Embedding.one(one) for one in sentences], dtype=np.float32))
    interests = np.array([Embedding.one(one) for one in (ad.title, *asked, *ad.keywords)], dtype=np.float32)
    chosen = best_text(sentences, choose_chunks(document, interests, SETTINGS))
    return f"{text}. {chosen}" if chosen else text


@pytest.mark.parametrize("block", [1, 2, 2_000])
def test_the_best_chunks_follow_title_and_description(monkeypatch, block):
    monkeypatch.setattr(encoder_pages, "_BLOCK", block)
    told = []
    texts = encoder_texts(Catalog.from_ads(ADS), PAGES, ASKED, Embedding(), SETTINGS, lambda *call: told.append(call))
    assert texts == [slowly(*one) for one in zip(ADS, PAGES, ASKED, strict=True)]
    assert texts[0].startswith("Red robot vacuum")
    assert len(texts[0]) > len(ad_texts(Catalog.from_ads(ADS))[0]) + 3
    assert texts[1] != "扫地机器人"
    assert told[-1][0] == "Choosing what to read of pages"
    assert told[-1][1] == told[-1][2]


def test_without_pages_nothing_is_embedded_and_the_texts_are_those_of_the_ads():
    embed, catalog = Embedding(), Catalog.from_ads([Ad("p", "Pan"), Ad("z", "扫地机器人")])
    assert encoder_texts(catalog, ["", ""], [["pan"], []], embed, SETTINGS) == ad_texts(catalog)
    assert embed.calls == []


def test_every_different_text_of_a_block_is_embedded_once():
    embed = Embedding()
    encoder_texts(Catalog.from_ads(ADS), PAGES, ASKED, embed, SETTINGS)
    (asked,) = embed.calls
    assert len(set(asked)) == len(asked)
    assert {"隐私政策。", "Red robot vacuum", "robot", "水壶"} <= set(asked)
    assert "Pan" not in asked  # which has no page
    assert encoder_texts(Catalog.from_ads([]), [], [], embed, SETTINGS) == []


def test_what_users_ask_for_decides_what_is_read():
    ad = Ad("x", "Lamp", landing_text="Zebra zoo. Quick fox. Mud bath.")
    only = ChunkSettings(num_chunks=1, max_length=2, max_chunk_length=2, smoothing=0.0, coherence_weight=0.0)
    for query, chosen in (("zebra zoo", "Zebra zoo."), ("quick fox", "Quick fox."), ("mud bath", "Mud bath.")):
        (text,) = encoder_texts(Catalog.from_ads([ad]), [""], [[query]], Embedding(), only)
        assert text == f"Lamp. {chosen}"


def test_the_first_sentences_of_a_page_are_looked_at(monkeypatch):
    monkeypatch.setattr(encoder_pages, "MAX_SENTENCES", 2)
    embed = Embedding()
    page = "Robot with bag. Quiet robot. Red robot vacuum."
    (text,) = encoder_texts(Catalog.from_ads(ADS[-1:]), [page], [["red robot vacuum"]], embed, SETTINGS)
    assert "Red robot vacuum." not in embed.calls[0]
    assert text == "Pan. Quiet robot."
