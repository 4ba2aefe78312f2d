"""Training on a dozen pairs: what is learnt, what a loss is, and that an interruption leaves no trace."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.build.training.pairs import TrainingData, build_training_data
from intently.build.training.prior import TrainingPrior
from intently.build.training.student import (
    IntentionLoss,
    TrainingSettings,
    _BatchSampler,
    _centered,
    count_steps,
    train_student,
)
from intently.intentions.prior import LeafOrder, Near
from intently.intentions.trie import Trie
from intently.intentions.vocabulary import Vocabulary
from intently.models.backbone import Backbone
from intently.models.centers import Centers
from intently.models.tokenizer import TextKind
from intently.models.weights import BackboneConfig

INTENTIONS = ("red", "robot vacuum", "drill bit", "drill", "扫地机器人", "水壶", "kettle", "lamp")
AD_TEXTS = (
    "red robot vacuum",
    "blue drill bit",
    "drill",
    "红色扫地机器人",
    "电热水壶",
    "electric kettle",
    "led lamp",
    "shoe",
)
AD_PAIRS = [[0, 0], [1, 0], [2, 1], [3, 1], [3, 2], [4, 3], [5, 4], [6, 5], [7, 6]]
QUERIES = ("robot", "扫地", "drill bits", "水壶", "kettle for red", "light")
CLICKS = [[0, 0], [0, 3], [1, 3], [1, 0], [2, 1], [2, 2], [3, 4], [3, 5], [4, 5], [5, 6]]
NONE = np.empty((0, 2), dtype=np.int64)
TINY = TrainingSettings(
    num_epochs=1, min_steps=12, max_steps=12, batch_size=8, learning_rate=5e-3, checkpoint_steps=5, typo_rate=0.5
)


def make_data(clicks=CLICKS, irrelevant=((0, 7), (3, 7), (3, 6))) -> TrainingData:
    vocabulary = Vocabulary(INTENTIONS, np.array(AD_PAIRS), np.array([[3, 2], [5, 3], [6, 4]]))
    if not len(clicks):
        vocabulary = replace(vocabulary, query_pairs=NONE)
        return build_training_data([], AD_TEXTS, vocabulary, NONE, NONE)
    pairs = np.array(irrelevant, dtype=np.int64).reshape(-1, 2)
    return build_training_data(QUERIES, AD_TEXTS, vocabulary, np.array(clicks), pairs)


def train(student, data, chosen, checkpoint, progress=None, guided=False):
    trie = Trie.build(student.tokenizer.encode_bare(data.intentions))
    prior = (
        TrainingPrior(trie, lambda report: student.embed(data.intentions, 16, progress=report), 0.6, 5)
        if guided
        else None
    )
    return train_student(
        student.backbone, student.tokenizer, data, trie, chosen, checkpoint=checkpoint, prior=prior, progress=progress
    )


def losses_in(note):
    return {name: float(value) for name, value in (part.rsplit(" ", 1) for part in note.split(", "))}


@pytest.mark.parametrize("kind", TextKind)
def test_embeddings_are_centered_in_training_as_afterwards(kind):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 8)).astype(np.float32) + 2
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    centers = Centers.of(rows[:20], rows[20:])
    given = torch.from_numpy(rows).requires_grad_()
    found = _centered(given, centers, kind)
    np.testing.assert_allclose(found.detach(), centers.subtract(rows, kind), atol=1e-6)
    found[:, 0].sum().backward()
    assert given.grad is not None and given.grad.abs().max() > 0


def test_centers_change_what_is_learned_of_embeddings_alone(make_student, tmp_path):
    losses = []
    for centers in (None, Centers.of(*np.random.default_rng(0).normal(size=(2, 9, 16)).astype(np.float32))):
        student, data = make_student(0), make_data()
        trie = Trie.build(student.tokenizer.encode_bare(data.intentions))
        one = replace(TINY, min_steps=1, max_steps=1)
        path = tmp_path / f"{centers is None}.pt"
        trained = train_student(student.backbone, student.tokenizer, data, trie, one, checkpoint=path, centers=centers)
        losses.append(trained.losses)
    assert losses[0]["contrastive"] != losses[1]["contrastive"]
    assert losses[0]["query intention"] == losses[1]["query intention"]


class Interruption(Exception):
    pass


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("stop_after", [5, 8, 11])
def test_resumed_is_the_run_that_was_not_interrupted(make_student, tmp_path, stop_after, guided):
    data = make_data()
    whole = train(make_student(0), data, TINY, tmp_path / "whole.pt", guided=guided)

    def interrupt(stage, step, num_steps, note):
        if step == stop_after:
            raise Interruption

    with pytest.raises(Interruption):
        train(make_student(0), data, TINY, tmp_path / "checkpoint.pt", interrupt, guided)
    steps = []

    def count(stage, step, num_steps, note):
        if not note.startswith("embedding"):
            steps.append(step)

    # Other random weights: everything must come from the checkpoint.
    resumed = train(make_student(1), data, TINY, tmp_path / "checkpoint.pt", count, guided)
    assert steps == list(range(stop_after // 5 * 5 + 1, 13))
    assert resumed.num_steps == whole.num_steps == 12
    assert resumed.losses == pytest.approx(whole.losses, rel=1e-6)
    for (name, one), other in zip(
        whole.backbone.state_dict().items(), resumed.backbone.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6, msg=name)


def test_the_seed_decides(make_student, tmp_path):
    losses = [
        train(make_student(0), make_data(), replace(TINY, seed=seed), tmp_path / f"{n}.pt").losses
        for n, seed in enumerate([0, 0, 1])
    ]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_what_is_clicked_is_learnt(make_student, tmp_path):
    told = []
    chosen = replace(TINY, min_steps=80, max_steps=80, checkpoint_steps=1000, typo_rate=0.0)
    student = make_student(0)
    trained = train(student, make_data(), chosen, tmp_path / "c.pt", lambda *args: told.append(args))
    assert [(step, num_steps) for _, step, num_steps, _ in told] == [(step, 80) for step in range(1, 81)]
    assert not (tmp_path / "c.pt").exists()
    assert losses_in(told[-1][3]) == pytest.approx(trained.losses, abs=0.005)
    for name in ("contrastive", "query intention", "ad intention"):
        assert trained.losses[name] < 0.7 * losses_in(told[0][3])[name], name
    assert not trained.backbone.training
    queries, ads = student.embed(QUERIES, 16), student.embed(AD_TEXTS, 16)
    best = (queries @ ads.T).argmax(axis=1)
    clicked = {tuple(pair) for pair in CLICKS}
    assert sum((query, int(ad)) in clicked for query, ad in enumerate(best)) >= 5


def test_without_clicks_an_ads_intentions_are_learnt(make_student, tmp_path):
    told = []
    chosen = replace(TINY, min_steps=60, max_steps=60)
    trained = train(make_student(0), make_data(clicks=()), chosen, tmp_path / "c.pt", lambda *a: told.append(a[3]))
    assert trained.num_steps == 60
    for name, loss in trained.losses.items():
        assert loss < 0.8 * losses_in(told[0])[name], name


def test_most_ads_may_have_no_intention(make_student, tmp_path):
    vocabulary = Vocabulary(INTENTIONS[:2], np.array([[0, 0], [1, 0]]), NONE)
    data = build_training_data([], AD_TEXTS, vocabulary, NONE, NONE)
    assert train(make_student(0), data, replace(TINY, batch_size=2), tmp_path / "c.pt").num_steps == 12


@pytest.mark.parametrize(
    ("num_clicks", "expected"),
    [(0, 300), (128, 300), (100 * 85, 300), (200 * 85, 600), (10**6, 2000)],
)
def test_number_of_steps(num_clicks, expected):
    chosen = TrainingSettings(num_epochs=3, min_steps=300, max_steps=2000, batch_size=100, phrase_share=0.15)
    assert count_steps(num_clicks, chosen) == expected


def test_clicks_are_drawn_by_their_weights():
    weights = np.arange(1.0, len(CLICKS) + 1)
    chosen = replace(TINY, batch_size=len(CLICKS), phrase_share=0.0, typo_rate=0.0)
    sampler = _BatchSampler(replace(make_data(), click_weights=weights), chosen)
    drawn = np.zeros(len(AD_TEXTS))
    for step in range(300):
        np.add.at(drawn, sampler.batch(step).ad_rows[: len(CLICKS)], 1)
    wanted = np.zeros(len(AD_TEXTS))
    np.add.at(wanted, [ad for _, ad in CLICKS], weights)
    assert drawn / drawn.sum() == pytest.approx(wanted / wanted.sum(), abs=0.03)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 50), st.integers(0, 3), st.integers(1, 12), st.sampled_from([0.0, 0.3, 1.0]))
def test_batches_mask_what_answers_the_query(step, seed, batch_size, phrase_share):
    data = make_data()
    chosen = replace(TINY, batch_size=batch_size, phrase_share=phrase_share, seed=seed, typo_rate=0.0)
    batch = _BatchSampler(data, chosen).batch(step)
    clicks, judged = {tuple(pair) for pair in CLICKS}, {tuple(pair) for pair in data.irrelevant.tolist()}
    num_pairs = len(batch.queries)
    assert batch.masked.shape == (num_pairs, len(batch.ad_rows))
    assert len(batch.query_targets) == num_pairs <= batch_size
    assert len(batch.ad_targets) == len(batch.ad_rows)
    asked = [QUERIES.index(query) if query in QUERIES else -1 for query in batch.queries]
    num_clicks = min(batch_size - round(batch_size * phrase_share), len(CLICKS))
    asked[num_clicks:] = [-1] * (num_pairs - num_clicks)  # a phrase may read like a query
    assert len(set(zip(asked[:num_clicks], batch.ad_rows[:num_clicks], strict=True))) == num_clicks
    for row, query in enumerate(asked):
        if query >= 0:
            assert (query, batch.ad_rows[row]) in clicks
        else:
            spoken = INTENTIONS.index(batch.queries[row])
            assert [spoken, batch.ad_rows[row]] in AD_PAIRS
        for column, ad in enumerate(batch.ad_rows.tolist()):
            answers = (query, ad) in clicks or ad == batch.ad_rows[row]
            assert batch.masked[row, column] == (answers and row != column)
    for ad, target in zip(batch.ad_rows[:num_pairs].tolist(), batch.ad_targets, strict=False):
        assert [target, ad] in AD_PAIRS or (target == -1 and ad == 7)
    assert (batch.ad_targets[num_pairs:] == -1).all()
    expected = [query for query in asked if any(query == other for other, _ in judged)]
    assert len(batch.ad_rows) - num_pairs == len(expected)
    for query, ad in zip(expected, batch.ad_rows[num_pairs:].tolist(), strict=True):
        assert (query, ad) in judged


END, VOCAB = 3, 20


def log_prob(backbone: Backbone, source, length: int, sequence, sequences, weights=None) -> float:
    """The slow twin: one intention, token by token, over a dictionary of what may follow.

    With `weights` of all intentions, what may follow has the logarithm of those that begin so beside its score.
    """
    num = torch.tensor([length])
    states, cache = backbone.encode(torch.tensor([source[:length]]), num)
    decoded = backbone.decode_all(cache, num, torch.tensor([list(sequence)]))[0]
    every = torch.cat((backbone.last_state(states, num), decoded))
    logits = backbone.head(every) @ backbone.word_embeddings.weight.T + backbone.head_bias
    total = 0.0
    for at, token in enumerate([*sequence, END]):
        begun = [other for other in sequences if other[:at] == sequence[:at]]
        allowed = sorted({other[at] if len(other) > at else END for other in begun})
        scores = logits[at, allowed].double()
        if weights is not None:
            next_of = [(*other, END)[at] if other[:at] == sequence[:at] else None for other in sequences]
            masses = [sum(w for w, one in zip(weights, next_of, strict=True) if one == each) for each in allowed]
            scores = scores + torch.tensor(masses).log()
        total += float(torch.log_softmax(scores, dim=0)[allowed.index(token)])
    return total


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(4, 9), min_size=1, max_size=4).map(tuple), min_size=1, max_size=15, unique=True),
    st.integers(0, 5),
    st.booleans(),
    st.data(),
)
def test_intention_loss_equals_brute_force(sequences, seed, guided, data):
    chosen = data.draw(st.lists(st.integers(0, len(sequences) - 1), min_size=1, max_size=4))
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = Backbone(BackboneConfig(VOCAB, 16, 2, 2, 32, 40))
        torch.nn.init.normal_(backbone.head_bias)
    lengths = rng.integers(2, 6, size=len(chosen))
    sources = rng.integers(4, VOCAB, size=(len(chosen), int(lengths.max())))
    trie = Trie.build(sequences)
    loss = IntentionLoss(trie, [list(sequence) for sequence in sequences], END)
    log_weights = rng.normal(scale=2, size=(len(chosen), len(sequences)))
    near = [Near(np.arange(len(sequences))[:-1], own[:-1], own[-1]) for own in log_weights]
    ids, num = torch.from_numpy(sources), torch.from_numpy(lengths)
    states, cache = backbone.encode(ids, num)
    targets = loss.targets(np.array(chosen))
    decoded = backbone.decode_all(cache, num, targets)
    every = torch.cat((backbone.last_state(states, num).unsqueeze(1), decoded), dim=1)
    found = loss(backbone, every, np.array(chosen), LeafOrder(trie).prior(near) if guided else None)
    with torch.no_grad():
        expected = -sum(
            log_prob(
                backbone,
                sources[row].tolist(),
                int(lengths[row]),
                sequences[i],
                sequences,
                np.exp(log_weights[row]) if guided else None,
            )
            for row, i in enumerate(chosen)
        )
    assert found.item() == pytest.approx(expected, abs=1e-3)
    found.backward()
    assert all(p.grad is None or bool(torch.isfinite(p.grad.to_dense()).all()) for p in backbone.parameters())
