"""Who is held out, what the fusion is shown, and when reciprocal ranks stay."""

from dataclasses import replace

import numpy as np
import pytest

from intently.build import fusion
from intently.build.fusion import held_out_queries, learn_fusion
from intently.build.interactions import Interactions
from intently.build.training.fusion import FusionSettings, held_out
from intently.engine.answerer import FUSED_CHANNELS
from intently.engine.fusion_features import feature_names

pytest.importorskip("lightgbm")

NAMES = feature_names(FUSED_CHANNELS)
LEXICAL = NAMES.index("lexical score")
SETTINGS = FusionSettings(
    held_out_share=0.5, min_queries=5, max_trees=10, num_leaves=4, min_leaf=5, depth=20, num_folds=3, learning_rate=0.3
)
NUM_ADS = 60


def asked(num_queries: int, gains: list[tuple[int, int, int]]) -> Interactions:
    queries = tuple(f"query {number} 查询" for number in range(num_queries))
    table = np.array(gains, dtype=np.int64).reshape(-1, 3)
    pairs = table[:, :2]
    return Interactions(queries, pairs, pairs[:0], 0, np.ones(len(pairs), dtype=np.int64), table)


class FakeEngine:
    """Finds some ads for every query, in an order and with features drawn from its text."""

    channels = FUSED_CHANNELS

    def candidates(self, queries, depth=SETTINGS.depth):
        for query in queries:
            rng = np.random.default_rng(list(query.encode()))
            yield rng.permutation(NUM_ADS)[:depth], rng.normal(size=(30, len(NAMES))).astype(np.float32)[:depth]


def told(*call: object) -> None:
    pass


def best_by(column: int, engine: FakeEngine, num_queries: int) -> Interactions:
    """Return judgements after which the three with the highest feature are relevant, 3 to 1."""
    gains = []
    for query, (rows, table) in enumerate(engine.candidates(asked(num_queries, []).queries)):
        best = np.argsort(-table[:, column])[:3]
        gains += [(query, int(rows[at]), 3 - place) for place, at in enumerate(best)]
    return asked(num_queries, gains[::-1])  # in whatever order


def test_queries_are_held_out_by_their_own_text_if_enough_are_clicked():
    clicked = asked(40, [(query, query, 1) for query in range(0, 40, 2)])
    chosen = held_out(clicked.queries, 0.5, SETTINGS.seed)
    number = int(chosen[::2].sum())
    assert 5 < number < 20
    at_most, too_many = (replace(SETTINGS, min_queries=least) for least in (number, number + 1))
    assert held_out_queries(clicked, at_most).tolist() == chosen.tolist()
    assert not held_out_queries(clicked, too_many).any()  # unclicked ones do not count
    assert not held_out_queries(clicked, replace(SETTINGS, held_out_share=0.0)).any()
    assert len(held_out_queries(asked(0, []), SETTINGS)) == 0


def test_examples_are_the_first_candidates_with_the_gains_of_their_ads():
    engine = FakeEngine()
    gains = {(0, 3): 3, (0, 17): 1, (2, 40): 2, (2, 5): 1}
    aside = asked(3, [(query, ad, gain) for (query, ad), gain in gains.items()][::-1])
    calls = []
    examples = list(fusion._examples(engine, aside, SETTINGS, lambda *call: calls.append(call)))
    assert calls[-1] == ("Answering held-out queries", 3, 3, "")
    for query, (example, (rows, table)) in enumerate(zip(examples, engine.candidates(aside.queries), strict=True)):
        assert np.array_equal(example.features, table)
        assert example.gains.tolist() == [gains.get((query, ad), 0) for ad in rows.tolist()]


def test_what_is_learned_ranks_by_what_tells_the_relevant_ones():
    engine = FakeEngine()
    learned = learn_fusion(engine, best_by(LEXICAL, engine, 40), SETTINGS, told)
    assert learned.notes == ()
    assert learned.facts["fusion_queries"] == 40
    assert learned.facts["fusion_precision"] > learned.facts["reciprocal_rank_precision"] + 0.3
    assert learned.fusion.depth == SETTINGS.depth
    assert learned.fusion.channels == FUSED_CHANNELS
    table = np.zeros((2, len(NAMES)), dtype=np.float32)
    table[1, LEXICAL] = 1.0
    low, high = learned.fusion.scores(table)
    assert high > low


def test_too_few_queries_with_a_relevant_candidate_are_told():
    engine = FakeEngine()
    aside = best_by(LEXICAL, engine, 4)
    learned = learn_fusion(engine, replace(aside, queries=(*aside.queries, "nobody", "没有")), SETTINGS, told)
    assert (learned.fusion, learned.facts) == (None, {})
    (note,) = learned.notes
    assert note == (
        "channels are fused by reciprocal ranks: 4 held-out queries have a relevant candidate, 'min_queries' is 5"
    )


def test_a_fusion_that_ranks_no_better_is_not_taken_and_told():
    """The first candidates are the relevant ones: reciprocal ranks cannot be beaten."""
    engine = FakeEngine()
    queries = asked(12, []).queries
    gains = [(query, int(rows[0]), 1) for query, (rows, _) in enumerate(engine.candidates(queries))]
    learned = learn_fusion(engine, asked(12, gains), SETTINGS, told)
    assert learned.fusion is None
    assert learned.facts["reciprocal_rank_precision"] == 1.0
    assert learned.facts["fusion_p_value"] < 0.05  # clearly worse, that is
    assert learned.notes[0].startswith(
        "channels are fused by reciprocal ranks: with what was learned, held-out queries"
    )


def test_a_gain_that_chance_explains_is_not_taken():
    engine, few = FakeEngine(), asked(12, [(query, query % 5, 1) for query in range(12)])
    taken = learn_fusion(engine, few, replace(SETTINGS, max_p_value=1.0), told)
    p_value = taken.facts["fusion_p_value"]
    assert taken.facts["fusion_precision"] > taken.facts["reciprocal_rank_precision"]
    assert taken.fusion is not None
    refused = learn_fusion(engine, few, replace(SETTINGS, max_p_value=p_value / 2), told)
    assert refused.fusion is None
    assert refused.facts == taken.facts
    assert f"(p {p_value:.2g})" in refused.notes[0]
