"""How the RARE experiment's systems answer, against slow twins."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hand_made import ASKED, CATALOG, Stages, result, shuffled, silent

from intently.build.interactions import Interactions
from intently.build.teacher import TeacherSettings
from intently.build.training.format import query_prompt
from intently.catalog import Catalog
from intently.engine.settings import RetrievalSettings
from intently.errors import InputError
from intently.index.intentions import IntentionIndex
from intently.index.posting_weights import PostingStatistics
from intently.index.postings import Postings
from intently.intentions.decode import ScoreMode
from intently.intentions.trie import Trie
from intently.lab.experiments import rare_systems
from intently.lab.experiments.rare_systems import answer, bm25, cache_facts, fuse, say
from intently.models.causal_lm import CausalLM
from intently.models.free_beams import FreeBeamSettings, GeneratedText
from intently.text.analyze import Analyzer
from intently.types import Ad, Channel, Intention, Ranking, ScoredAd
from tests.nearness import near_intentions


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 0.5, 2.0), (1.0,)])
def test_fusing_is_reciprocal_ranks(seed, weights):
    runs = [shuffled(10 * seed + number, list(ASKED)[number:]) for number in range(len(weights))]
    weighted = [(result("x", rankings).run, weight) for rankings, weight in zip(runs, weights, strict=True)]
    fused = fuse(weighted, (*ASKED, "unanswered"), 7.0)
    assert fused.num_identifiers is None
    for query_id, (ads, scores) in zip((*ASKED, "unanswered"), fused.rankings, strict=True):
        expected: dict[str, float] = {}  # in order of first appearance, which decides ties
        for rankings, weight in zip(runs, weights, strict=True):
            for rank, ad in enumerate(rankings.get(query_id, []), start=1):
                expected[ad] = expected.get(ad, 0.0) + weight / (7.0 + rank)
        assert ads == sorted(expected, key=lambda ad: -round(expected[ad], 12))
        assert scores == pytest.approx([expected[ad] for ad in ads])


class FakeEngine:
    """An engine that answers every query alike, and remembers as what it was asked."""

    def __init__(self, fails_at: int = -1) -> None:
        self.settings, self.cache, self.fails_at = RetrievalSettings(literal_weight=0.75), object(), fails_at
        self.asked: list[tuple] = []

    def retrieve_many(self, queries, k, *, channel):
        for number, query in enumerate(queries):
            self.asked.append((query, k, channel, self.settings.decode.mode, self.cache))
            if number == self.fails_at:
                raise InputError("no answer")
            intentions = tuple(Intention(f"i{i}", -1.0 - i) for i in range(12 if channel is Channel.INTENTION else 0))
            yield Ranking(query, (ScoredAd("a1", 1, 2.0, ()), ScoredAd("a2", 2, 1.0, ())), intentions, {})


@pytest.mark.parametrize("mode", ScoreMode)
def test_answering_is_without_the_cache(mode):
    engine, told = FakeEngine(), []
    settings, cache = engine.settings, engine.cache
    answers = answer(engine, ["a", "b"], Channel.INTENTION, mode=mode, progress=lambda *what: told.append(what))
    assert engine.asked == [(query, 500, Channel.INTENTION, mode, None) for query in "ab"]
    assert (engine.settings, engine.cache) == (settings, cache)
    assert answers.rankings == [(["a1", "a2"], [2.0, 1.0])] * 2
    assert answers.num_identifiers == [12, 12]
    assert answers.facts == {"intentions": [[f"i{i}" for i in range(10)]] * 2}
    assert told == [("Answering", 1, 2, "intention"), ("Answering", 2, 2, "intention")]


@pytest.mark.parametrize("channel", [Channel.LEXICAL, Channel.DENSE])
def test_channels_without_intentions_have_no_identifiers(channel):
    answers = answer(FakeEngine(), ["a"], channel, progress=silent)
    assert answers.num_identifiers is None
    assert answers.facts == {}


def test_an_engine_that_fails_is_left_as_it_was():
    engine = FakeEngine(fails_at=1)
    settings, cache = engine.settings, engine.cache
    with pytest.raises(InputError, match="no answer"):
        answer(engine, ["a", "b"], Channel.INTENTION, mode=ScoreMode.FULL, progress=silent)
    assert engine.settings is settings
    assert engine.cache is cache


TEXTS = ("red pan", "pan", "红色水壶", "led lamp")
POSTINGS = {0: {0: 3.0}, 1: {0: 1.0, 1: 2.0}, 2: {2: 1.5}, 3: {3: 0.5, 1: 0.25}}  # intention → ad → weight


@pytest.fixture(scope="module")
def small() -> SimpleNamespace:
    """What `say` needs of an engine: four intentions that lead to four ads."""
    ids, rows, weights = zip(
        *((key, row, weight) for key, ads in POSTINGS.items() for row, weight in ads.items()), strict=True
    )
    postings = Postings.build(np.array(ids), np.array(rows), np.array(weights), len(TEXTS), 4)
    statistics = PostingStatistics(np.arange(4), 4, 1.0)
    trie = Trie.build([(number,) for number in range(len(TEXTS))])
    return SimpleNamespace(
        intentions=IntentionIndex(TEXTS, trie, postings, Analyzer(), statistics, near_intentions(np.ones((4, 2)))),
        catalog=Catalog.from_ads([Ad(f"a{row}", "ad") for row in range(4)]),
        settings=RetrievalSettings(intention_power=0.5),
    )


def ranking_of(small: SimpleNamespace, log_probs: dict[int, float]) -> dict[str, float]:
    """Return the score of every ad: Σ (p / the best p)^power · posting weight."""
    scores: dict[str, float] = {}
    for intention_id, log_prob in log_probs.items():
        share = np.exp(0.5 * (log_prob - max(log_probs.values())))
        for row, weight in (
            (int(row), float(weight)) for row, weight in zip(*small.intentions.postings.of(intention_id), strict=True)
        ):
            scores[f"a{row}"] = scores.get(f"a{row}", 0.0) + share * weight
    return scores


def assert_ranking(ranking, expected: dict[str, float]) -> None:
    ads, scores = ranking
    assert ads == sorted(expected, key=lambda ad: -expected[ad])
    assert scores == pytest.approx([expected[ad] for ad in ads], rel=1e-4)


@torch.inference_mode()
def log_probs_of(lm: CausalLM, query: str, temperature: float) -> dict[int, float]:
    """The slow twin: how likely each intention is, token by token."""
    prompt, found = lm.instruct(query_prompt(query)), {}
    for intention_id, answered in enumerate(lm.tokens(TEXTS)):
        logits = lm.model(torch.tensor([[*prompt, *answered]])).logits[0, len(prompt) - 1 :].double() / temperature
        every = torch.log_softmax(logits, dim=-1)
        found[intention_id] = sum(float(every[at, token]) for at, token in enumerate([*answered, lm.end_id]))
    return found


def test_constrained_answers_are_those_of_the_language_model(make_lm, small):
    lm, settings = make_lm(), TeacherSettings(batch_size=2)
    queries = ["pan", "水壶", "lamp"]
    told = Stages()
    answers = say(lm, queries, small, settings, 4, True, told)
    assert told == ["Constrained decoding"]
    assert answers.num_identifiers == [4, 4, 4]
    for query, ranking, texts in zip(queries, answers.rankings, answers.facts["intentions"], strict=True):
        log_probs = log_probs_of(lm, query, settings.beams.temperature)
        assert texts == [TEXTS[i] for i in sorted(log_probs, key=lambda i: -log_probs[i])]
        assert_ranking(ranking, ranking_of(small, log_probs))
    narrow = say(lm, queries, small, settings, 1, True, silent)
    assert narrow.num_identifiers == [1, 1, 1]


def test_free_answers_count_if_the_vocabulary_has_them(make_lm, small, monkeypatch):
    said = [
        [
            GeneratedText("Red PANS", -1.0),
            GeneratedText("robot", -1.2),
            GeneratedText("led lamps", -2.0),
            GeneratedText("red pan", -3.0),
        ],
        [GeneratedText("robot", -0.1), GeneratedText("of the", -0.2)],
        [
            GeneratedText("lamp led", -400.0),
            GeneratedText("红色的水壶", -402.0),
            GeneratedText("pan", -403.0),
        ],  # as good as impossible
    ]
    asked = {}

    def speak(lm, instructions, settings, store, stage, progress):
        asked.update(instructions=instructions, beams=settings.beams, store=store, stage=stage)
        return said

    monkeypatch.setattr(rare_systems, "speak", speak)
    answers = say(make_lm(), ["pan", "x", "灯"], small, TeacherSettings(), 33, False, silent)
    assert asked["instructions"] == [query_prompt(query) for query in ("pan", "x", "灯")]
    assert (asked["beams"].num_beams, asked["store"], asked["stage"]) == (33, None, "Free decoding")
    assert answers.num_identifiers == [2, 0, 2]
    assert answers.facts == {"intentions": [["red pan", "led lamp"], [], ["红色水壶", "pan"]]}
    assert_ranking(answers.rankings[0], ranking_of(small, {0: float(np.logaddexp(-1.0, -3.0)), 3: -2.0}))
    assert answers.rankings[1] == ([], [])
    assert_ranking(answers.rankings[2], ranking_of(small, {2: -402.0, 1: -403.0}))


def test_free_answers_of_a_language_model(make_lm, small):
    told = Stages()
    settings = TeacherSettings(beams=FreeBeamSettings(num_beams=2, max_new_tokens=2))
    answers = say(make_lm(), ["pan", "灯"], small, settings, 3, False, told)
    assert told == ["Free decoding"]
    assert len(answers.rankings) == 2
    assert answers.num_identifiers == [len(texts) for texts in answers.facts["intentions"]]


def test_bm25_answers_with_stemmed_words():
    pytest.importorskip("bm25s")
    queries = ["runs shoes", "hoses", "unknown", "the", "？！", "扫地机器人"]
    answers = bm25(CATALOG, queries)
    found = [ads for ads, _ in answers.rankings]
    assert found[:5] == [["a0", "a5"], ["a4"], [], [], []]
    assert found[5] == ["a3"]  # a Chinese text between two spaces is one word to it
    assert all(scores == sorted(scores, reverse=True) and min(scores, default=1) > 0 for _, scores in answers.rankings)
    assert answers.num_identifiers is None


def test_cache_figures_are_counted_from_the_clicks():
    pairs = np.array([[0, 0], [0, 1], [1, 0], [2, 0]])
    interactions = Interactions(
        ("a", "b", "c", "not clicked"), pairs, pairs[:0], 0, np.array([5, 1, 3, 1]), np.empty((0, 3), int)
    )
    facts = cache_facts(interactions, SimpleNamespace(cache=[1, 2]), silent)
    assert facts["cached_queries"] == 2
    sizes = [row["size"] for row in facts["log"]]
    assert sizes == [1, 1, 1, 1, 1, 1, 2]  # of three queries; none is less than one
    assert facts["log"][0]["hit_rate"] <= 6 / 10 <= facts["log"][-1]["hit_rate"] + 0.2
    rates = [row["hit_rate"] for row in facts["zipf"]]
    assert rates == sorted(rates)
    assert 0 < rates[0] < rates[-1] < 1
    assert cache_facts(interactions, SimpleNamespace(cache=None), silent)["cached_queries"] == 0
