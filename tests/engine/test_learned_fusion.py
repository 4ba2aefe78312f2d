import json

import numpy as np
import pytest

from intently.build.training.fusion import FusionExample, FusionSettings, train_fusion
from intently.engine.fusion_features import QueryFacts, feature_names, rising
from intently.engine.learned_fusion import LearnedFusion
from intently.errors import ArtifactError
from intently.index.title_terms import TitleTerms
from intently.text.analyze import Analyzer
from intently.types import Channel

pytest.importorskip("lightgbm")

CHANNELS = (Channel.DENSE, Channel.LEXICAL)
NAMES = feature_names(CHANNELS)
LEXICAL = NAMES.index("lexical score")
TITLES = TitleTerms.build(["red lamp", "blue lamp", "扫地机器人", "lamp", "red", "chair"], Analyzer())
QUERY = QueryFacts(("red", "lamp"), np.array([2.0, 1.0]), 0, 1)
SETTINGS = FusionSettings(min_queries=10, max_trees=20, num_leaves=4, min_leaf=5, learning_rate=0.3, feature_share=1.0)


@pytest.fixture(scope="module")
def fusion() -> LearnedFusion:
    """Return a fusion that learned to go by the lexical score."""
    rng = np.random.default_rng(0)
    tables = [rng.normal(size=(40, len(NAMES))).astype(np.float32) for _ in range(40)]
    examples = [FusionExample(table, (table[:, LEXICAL] > 1).astype(np.int64)) for table in tables]
    trained = train_fusion(examples, rising(CHANNELS), SETTINGS)
    return LearnedFusion(CHANNELS, trained.model, trained.weights, depth=4)


def rank(fusion: LearnedFusion, rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
    scores = {Channel.DENSE: np.zeros(6, np.float32), Channel.LEXICAL: np.array([0, 0, 3, 0, 5, 0], np.float32)}
    best = {channel: np.array(rows, dtype=np.int64) for channel in CHANNELS}
    fused = np.linspace(0.2, 0.1, len(rows))
    return fusion.rank(
        np.array(rows, dtype=np.int64), fused, best, lambda channel, at: scores[channel][at], QUERY, TITLES.of
    )


def test_the_best_are_ranked_anew_and_the_others_follow(fusion):
    rows, scores = rank(fusion, [3, 1, 2, 0, 5, 4])
    assert rows.tolist()[0] == 2  # the only one among the first four with a lexical score
    assert sorted(rows.tolist()[:4]) == [0, 1, 2, 3]
    assert rows.tolist()[4:] == [5, 4]  # as they were, whatever the model would say of them
    assert (np.diff(scores) <= 0).all()
    assert scores[3] > scores[4] > scores[5]


def test_equal_ones_stay_in_order(fusion):
    table = np.zeros((3, len(NAMES)), np.float32)
    assert len(set(fusion.scores(table).tolist())) == 1
    scores = {channel: np.zeros(6, np.float32) for channel in CHANNELS}
    twins = TitleTerms.build(["lamp"] * 6, Analyzer())
    best = {channel: np.empty(0, np.int64) for channel in CHANNELS}
    rows, scores_of_all = fusion.rank(
        np.array([4, 1, 3]), np.full(3, 0.1), best, lambda channel, at: scores[channel][at], QUERY, twins.of
    )
    assert len(set(scores_of_all.tolist())) == 1
    assert rows.tolist() == [4, 1, 3]


def test_fewer_than_the_depth_and_none(fusion):
    rows, scores = rank(fusion, [4, 2])
    assert sorted(rows.tolist()) == [2, 4]
    assert len(scores) == 2
    rows, scores = rank(fusion, [])
    assert len(rows) == len(scores) == 0
    assert rows.dtype == np.int64


def test_scores_equal_walking_down_every_tree(fusion):
    table = np.random.default_rng(1).normal(size=(25, len(NAMES))).astype(np.float32)
    trees = [tree["tree_structure"] for tree in fusion._booster.dump_model()["tree_info"]]
    with_sum = [[*row.tolist(), np.float32(row @ np.array(fusion.weights))] for row in table]
    expected = [sum(_walk(tree, row) for tree in trees) for row in with_sum]
    assert fusion.scores(table).tolist() == pytest.approx(expected)


def _walk(node: dict, row: list[float]) -> float:
    while "leaf_value" not in node:
        assert node["decision_type"] == "<="
        node = node["left_child" if row[node["split_feature"]] <= node["threshold"] else "right_child"]
    return node["leaf_value"]


def test_contributions_add_up_and_name_what_counts(fusion):
    table = np.random.default_rng(2).normal(size=(5, len(NAMES))).astype(np.float32)
    every = fusion.contributions(table, number=len(NAMES) + 1)
    rest = [score - sum(one.share for one in told) for score, told in zip(fusion.scores(table), every, strict=True)]
    assert rest == pytest.approx([rest[0]] * 5)  # the mean score, the same for all
    for told, row in zip(fusion.contributions(table, number=2), table, strict=True):
        assert len(told) == 2
        assert abs(told[0].share) >= abs(told[1].share)
        told_of = {"lexical score": row[LEXICAL], "weighted sum": row @ np.array(fusion.weights)}
        assert told[0].value == pytest.approx(told_of[told[0].feature], rel=1e-5)
    assert fusion.contributions(table[:0]) == []


def test_comes_back_from_disk(fusion, tmp_path):
    fusion.save(tmp_path / "fusion.json")
    loaded = LearnedFusion.load(tmp_path / "fusion.json")
    table = np.random.default_rng(3).normal(size=(9, len(NAMES))).astype(np.float32)
    assert loaded.scores(table).tolist() == fusion.scores(table).tolist()
    assert (loaded.channels, loaded.depth, loaded.weights) == (fusion.channels, fusion.depth, fusion.weights)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"channels": ["dense"]}, "features"),
        ({"channels": ["dense", "nowhere"]}, "nowhere"),
        ({"model": "no trees"}, "cannot be read"),
        ({"model": None}, "no text"),
        ({"depth": None}, "int"),
        ({"weights": [1.0]}, "1 weights"),
        ({"weights": ["heavy"]}, "heavy"),
        ({"features": [*NAMES[::-1], "weighted sum"]}, "other features"),
    ],
)
def test_what_cannot_be_trusted_is_refused(fusion, tmp_path, change, problem):
    path = tmp_path / "fusion.json"
    fusion.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ArtifactError, match=rf"fusion\.json.*{problem}"):
        LearnedFusion.load(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"fusion\.json"):
        LearnedFusion.load(tmp_path / "fusion.json")
