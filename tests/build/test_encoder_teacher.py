"""Who teaches the encoder: BM25, and a multiple of what an encoder says that was trained before."""

import numpy as np
import pytest

from intently.build.encoder_teacher import Guide, HybridTeacher
from intently.index.lexical import LexicalIndex, LexicalSettings

TEXTS = ("Red robot vacuum", "扫地机器人", "Drill bit", "电热水壶. electric kettle")
QUERIES = ("red robot", "扫地机器人", "unknown")
VECTORS = {
    "red robot": [1.0, 0.0, 0.0],
    "扫地机器人": [0.6, 0.8, 0.0],
    "unknown": [0.0, 0.0, -1.0],
}
ADS = np.array([[0.8, 0.6, 0.0], [0.0, 1.0, 0.0], [0.6, 0.0, 0.8], [0.0, 0.0, 1.0]], dtype=np.float32)


@pytest.fixture(scope="module")
def lexical() -> LexicalIndex:
    return LexicalIndex.build(TEXTS, LexicalSettings())


def embed(texts) -> np.ndarray:
    return np.array([VECTORS[text] for text in texts], dtype=np.float32)


def forbidden(texts) -> np.ndarray:
    raise AssertionError("nobody needs it")


def by_words(lexical: LexicalIndex, query: str, row: int) -> float:
    return sum(share for _, share in lexical.explain(lexical.analyze(query), row))


def test_alone_bm25_teaches(lexical):
    scores = HybridTeacher(lexical)(QUERIES)
    assert scores.shape == (3, 4)
    assert scores.dtype == np.float32
    for of_query, query in zip(scores.tolist(), QUERIES, strict=True):
        assert of_query == pytest.approx([by_words(lexical, query, row) for row in range(4)], rel=1e-5)
    assert scores[0, 0] > scores[0, 3] == 0
    assert scores[1].argmax() == 1
    assert not scores[2].any()


@pytest.mark.parametrize("weight", [0.5, 15.0])
def test_with_a_guide_its_cosine_counts_as_often_as_said(lexical, weight):
    scores = HybridTeacher(lexical, Guide(embed, ADS), weight)(QUERIES)
    assert scores.dtype == np.float32
    for of_query, query in zip(scores.tolist(), QUERIES, strict=True):
        cosines = [sum(q * a for q, a in zip(VECTORS[query], ad, strict=True)) for ad in ADS.tolist()]
        expected = [by_words(lexical, query, row) + weight * cosine for row, cosine in enumerate(cosines)]
        assert of_query == pytest.approx(expected, abs=1e-4)
    assert scores[0, 2] > 0  # no word says it
    assert scores[2].argmin() == 3


def test_a_guide_that_counts_nothing_is_not_asked(lexical):
    alone = HybridTeacher(lexical)(QUERIES)
    assert np.array_equal(HybridTeacher(lexical, Guide(forbidden, ADS), 0.0)(QUERIES), alone)
    assert np.array_equal(HybridTeacher(lexical, None, 15.0)(QUERIES), alone)


def test_teaching_leaves_the_index_as_it_is(lexical):
    before = lexical.scores(lexical.analyze("red robot")).copy()
    HybridTeacher(lexical, Guide(embed, ADS), 3.0)(QUERIES)
    assert np.array_equal(lexical.scores(lexical.analyze("red robot")), before)
