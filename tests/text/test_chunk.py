import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import InputError, SettingsError
from intently.text.chunk import (
    Chunk,
    ChunkSettings,
    Document,
    best_text,
    choose_chunks,
    fixed_windows,
    score_chunks,
)

COOLING, BEDDING, SHOP = np.eye(3)


def document(*topics, lengths=None):
    sentences = [f"sentence {number}" for number in range(len(topics))]
    return Document.build(sentences, np.array(topics).reshape(len(topics), -1), lengths or [1] * len(topics))


def places(chunks):
    return [(chunk.start, chunk.end) for chunk in chunks]


def cosine(a, b):
    norms = math.sqrt(a @ a) * math.sqrt(b @ b)
    return a @ b / norms if norms else 0.0


def unit(vector):
    return vector / math.sqrt(vector @ vector) if vector.any() else vector


def slow_score(rows, lengths, interests, start, end, options):
    """The score of one run, from the definition."""
    units, smoothed = [unit(row) for row in rows], []
    for row in units:
        beta = options.smoothing
        smoothed.append(beta * smoothed[-1] + (1 - beta) * row if smoothed else row)
    at = range(start, end)
    total = sum(lengths[t] for t in at)
    mean = sum(lengths[t] * smoothed[t] for t in at) / total
    coherence = sum(lengths[t] * cosine(units[t], mean) for t in at) / total
    informativeness = 0.0
    if len(interests):
        informativeness = sum(lengths[t] * max(cosine(smoothed[t], one) for one in interests) for t in at) / total
    return options.coherence_weight * coherence + (1 - options.coherence_weight) * informativeness, mean


def slow_choice(rows, lengths, interests, options):
    """The choice as it is described, looking at every run again for every chunk."""
    budget, left, chosen, means = min(options.max_length, options.max_chunk_length), options.max_length, [], []
    whole, _ = slow_score(rows, lengths, interests, 0, len(rows), options)
    while len(chosen) < options.num_chunks:
        best = None
        for start in range(len(rows)):
            for end in range(start + 1, len(rows) + 1):
                length = sum(lengths[start:end])
                if (length > budget and end > start + 1) or min(length, budget) > left:
                    continue
                if any(start < other_end and other_start < end for other_start, other_end, _ in chosen):
                    continue
                score, mean = slow_score(rows, lengths, interests, start, end, options)
                alike = max((cosine(mean, other) for other in means), default=0.0)
                worth = score - options.threshold * whole - options.diversity * max(alike, 0.0)
                gain = min(length, budget) * worth
                if best is None or gain > best[0] + 1e-9:
                    best = gain, min(length, budget), (start, end, score), mean
        if best is None or (chosen and best[0] <= 0):
            break
        left -= best[1]
        chosen.append(best[2])
        means.append(best[3])
    return chosen


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(0, 3))
def test_equals_the_slow_choice(seed, num_sentences, num_interests):
    rng = np.random.default_rng(seed)
    rows, interests = rng.normal(size=(num_sentences, 5)), rng.normal(size=(num_interests, 5))
    lengths = rng.integers(1, 9, num_sentences).tolist()
    options = ChunkSettings(
        num_chunks=int(rng.integers(1, 5)),
        max_length=int(rng.integers(1, 25)),
        max_chunk_length=int(rng.integers(1, 15)),
        smoothing=float(rng.choice([0, 0.3, 0.9])),
        coherence_weight=float(rng.choice([0, 0.4, 1])),
        threshold=float(rng.choice([0, 1])),
        diversity=float(rng.choice([0, 0.2, 2])),
    )
    page = Document.build([str(number) for number in range(num_sentences)], rows, lengths)
    chunks = choose_chunks(page, interests, options)
    expected = slow_choice(rows, lengths, interests, options)
    assert places(chunks) == [(start, end) for start, end, _ in expected]
    np.testing.assert_allclose([chunk.score for chunk in chunks], [score for *_, score in expected], atol=1e-9)
    rescored = score_chunks(page, chunks, interests, options)
    np.testing.assert_allclose([chunk.score for chunk in rescored], [chunk.score for chunk in chunks], atol=1e-12)


def test_what_the_ad_is_wanted_for_is_chosen():
    page = document(SHOP, SHOP, BEDDING, BEDDING, COOLING, COOLING, SHOP)
    options = ChunkSettings(num_chunks=1, max_chunk_length=2, smoothing=0, coherence_weight=0.3)
    assert places(choose_chunks(page, [COOLING], options)) == [(4, 6)]
    assert places(choose_chunks(page, [BEDDING], options)) == [(2, 4)]
    both = ChunkSettings(num_chunks=2, max_chunk_length=2, max_length=4, smoothing=0)
    assert sorted(places(choose_chunks(page, [BEDDING, COOLING], both))) == [(2, 4), (4, 6)]


def test_the_score_counts_sentences_by_their_length():
    page = document(COOLING, BEDDING, lengths=[3, 1])
    options = ChunkSettings(smoothing=0, coherence_weight=0)
    (chunk,) = score_chunks(page, [Chunk("", 0, 2)], [COOLING], options)
    assert chunk.score == pytest.approx(3 / 4)
    (chunk,) = score_chunks(page, [Chunk("", 0, 2)], [], ChunkSettings(smoothing=0, coherence_weight=1))
    assert chunk.score == pytest.approx((3 * 3 + 1 * 1) / 4 / math.sqrt(10))  # cosines with (3, 1, 0)


def test_smoothing_lends_a_garbled_sentence_the_sense_of_what_it_stands_in():
    noise = -SHOP
    page = document(COOLING, COOLING, noise, COOLING, BEDDING, BEDDING, BEDDING, noise)
    plain = ChunkSettings(smoothing=0, coherence_weight=0)
    alone = [Chunk("", 2, 3), Chunk("", 7, 8)]
    assert [chunk.score for chunk in score_chunks(page, alone, [COOLING], plain)] == [0, 0]
    inside, outside = score_chunks(page, alone, [COOLING], ChunkSettings(smoothing=0.5, coherence_weight=0))
    assert inside.score > 0.5 > outside.score


def test_a_second_chunk_says_something_else():
    nearly = 0.99 * COOLING + 0.14 * BEDDING
    page = document(COOLING, SHOP, COOLING, SHOP, nearly)
    for diversity, second in ((0, (2, 3)), (0.99, (4, 5))):
        options = ChunkSettings(
            2, max_length=2, max_chunk_length=1, smoothing=0, coherence_weight=0, threshold=0, diversity=diversity
        )
        assert places(choose_chunks(page, [COOLING, nearly], options)) == [(0, 1), second]


def test_what_is_worth_less_than_the_page_is_left_out():
    page = document(COOLING, SHOP, SHOP, COOLING)
    options = ChunkSettings(smoothing=0, coherence_weight=0, max_chunk_length=2)
    assert places(choose_chunks(page, [COOLING], options)) == [(0, 1), (3, 4)]
    towards = COOLING + SHOP / 4
    assert places(choose_chunks(page, [towards], options)) == [(0, 1), (3, 4)]
    everything = replace(options, threshold=0)
    assert sorted(places(choose_chunks(page, [towards], everything))) == [(0, 2), (2, 4)]


def test_without_interests_coherence_alone_decides():
    page = document(COOLING, BEDDING, SHOP, SHOP, SHOP, BEDDING)
    options = ChunkSettings(num_chunks=1, max_chunk_length=2, smoothing=0.3)
    assert places(choose_chunks(page, [], options)) == [(3, 5)]
    assert choose_chunks(page, np.empty((0, 3)), options) == choose_chunks(page, [], options)


def test_a_page_without_sentences_has_no_chunks():
    empty = Document.build([], [])
    assert choose_chunks(empty, [COOLING]) == fixed_windows(empty, 4, 2) == score_chunks(empty, [], []) == []
    assert best_text([], []) == ""


@pytest.mark.parametrize(
    ("sentence", "length", "expected"),
    [
        ("cool " * 100 + "room", 101, "cool cool cool cool"),  # 4 of 101 words are 19.9 characters
        ("静音空调" * 25, 100, "静音空调"),
        ("x" * 400, 100, "x" * 16),  # no space to cut at
    ],
)
def test_an_enormous_sentence_is_cut_at_the_budget(sentence, length, expected):
    page = Document.build([sentence], [COOLING], [length])
    for options in (ChunkSettings(max_length=4), ChunkSettings(max_chunk_length=4)):
        (chunk,) = choose_chunks(page, [COOLING], options)
        assert (chunk.text, chunk.start, chunk.end) == (expected, 0, 1)
        assert best_text(page.sentences, [chunk]) == expected
    assert [window.text for window in fixed_windows(page, 4, 4)] == [expected]


def test_lengths_are_words_unless_given():
    page = Document.build(["静音空调", "quiet cooling", "..."], np.eye(3))
    assert page.lengths.tolist() == [4, 2, 1]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_raise(bad):
    rows = np.ones((2, 3))
    rows[1, 2] = bad
    with pytest.raises(InputError, match="sentences have values that are not finite"):
        Document.build(["a", "b"], rows)
    with pytest.raises(InputError, match="interests have values that are not finite"):
        choose_chunks(document(COOLING), rows)
    with pytest.raises(InputError, match="finite length > 0"):
        Document.build(["a"], [COOLING], [bad])


def test_what_does_not_fit_together_raises():
    with pytest.raises(InputError, match=r"shape \(2, 3\) for 1 sentences"):
        Document.build(["a"], np.ones((2, 3)))
    with pytest.raises(InputError, match="finite length > 0"):
        Document.build(["a"], [COOLING], [0])
    with pytest.raises(InputError, match="interests have 2 dimensions, sentences 3"):
        choose_chunks(document(COOLING), np.ones((1, 2)))
    with pytest.raises(InputError, match=r"shape \(3,\) for 3 interests"):
        choose_chunks(document(COOLING), COOLING)


@pytest.mark.parametrize(
    "wrong", [{"num_chunks": 0}, {"max_length": 0}, {"max_chunk_length": 1.5}, {"smoothing": 1}, {"smoothing": -0.1},
              {"coherence_weight": 1.1}, {"threshold": -1}, {"diversity": -1}]
)  # fmt: skip
def test_settings_are_checked(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        ChunkSettings(**wrong)


def test_an_embedding_of_zeros_is_like_nothing():
    chunks = choose_chunks(document(np.zeros(3), COOLING), [COOLING], ChunkSettings(num_chunks=1, max_chunk_length=1))
    assert places(chunks) == [(1, 2)]
    assert math.isfinite(chunks[0].score)


def test_fixed_windows_cover_the_page_in_whole_sentences():
    page = document(*[COOLING] * 5, lengths=[2, 2, 3, 9, 1])
    assert places(fixed_windows(page, 5, 5)) == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert places(fixed_windows(page, 5, 2)) == [(0, 2), (1, 3), (2, 3), (3, 4), (4, 5)]
    assert places(fixed_windows(page, 100, 3)) == [(0, 5)]
    assert fixed_windows(page, 5, 5)[0] == Chunk("sentence 0 sentence 1", 0, 2, 0.0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 20), st.data())
def test_no_sentence_falls_between_windows(lengths, size, data):
    page = document(*[COOLING] * len(lengths), lengths=lengths)
    windows = fixed_windows(page, size, data.draw(st.integers(1, size)))
    assert {row for window in windows for row in range(window.start, window.end)} == set(range(len(lengths)))
    for window in windows:
        assert window.end == window.start + 1 or sum(lengths[window.start : window.end]) <= size
    assert [window.start for window in windows] == sorted({window.start for window in windows})


@pytest.mark.parametrize(("size", "stride"), [(0, 0), (3, 4), (3, 0)])
def test_windows_need_a_size_and_a_stride(size, stride):
    with pytest.raises(SettingsError, match="stride"):
        fixed_windows(document(COOLING), size, stride)


def test_best_text_reads_in_document_order_and_nothing_twice():
    sentences = ["静音。", "省电。", "Quiet.", "Cool.", "Cheap."]
    chunks = [Chunk("Cool. Cheap.", 3, 5), Chunk("静音。省电。", 0, 2)]
    assert best_text(sentences, chunks) == "静音。省电。 Cool. Cheap."
    overlapping = [Chunk("静音。省电。 Quiet.", 0, 3), Chunk("Quiet. Cool.", 2, 4), Chunk("省电。", 1, 2)]
    assert best_text(sentences, overlapping) == "静音。省电。 Quiet. Cool."
