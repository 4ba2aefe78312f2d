"""Substrings are exactly those that occur, against a twin that cuts every text at every place."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import InputError
from intently.lab.baselines.generative import as_lists, clicked, trie_of
from intently.lab.baselines.substrings import as_texts, find_substrings, similarity

TEXTS = st.lists(st.lists(st.integers(0, 4), max_size=8), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(1, 5))
def test_substrings_are_exactly_those_that_occur(texts, max_tokens):
    counts: Counter[tuple[int, ...]] = Counter()
    pairs = set()
    for row, text in enumerate(texts):
        for start in range(len(text)):
            for end in range(start + 1, min(start + max_tokens, len(text)) + 1):
                counts[tuple(text[start:end])] += 1
                pairs.add((tuple(text[start:end]), row))
    if not counts:
        with pytest.raises(InputError, match="the texts have no tokens"):
            find_substrings(texts, max_tokens, 10**6)
        return
    found = find_substrings(texts, max_tokens, 10**6)
    names = [tuple(sequence) for sequence in as_lists(found.sequences)]
    assert dict(zip(names, found.counts.tolist(), strict=True)) == counts
    assert len(names) == len(set(names))
    assert {(names[i], row) for i, row in found.pairs.tolist()} == pairs
    assert len(found.pairs) == len(pairs)
    assert found.lengths.tolist() == [len(name) for name in names]
    # What the trie allows is what an FM-index would: the tokens that continue a substring somewhere.
    trie = trie_of(found.sequences)
    nodes = trie.walk(found.sequences)[np.arange(len(names)), found.lengths - 1]
    assert trie.intention_ids[nodes].tolist() == list(range(len(names)))
    for name, node in zip(names, nodes, strict=True):
        children, _ = trie.children(np.array([node]))
        assert {(*name, token) for token in trie.tokens[children].tolist()} == {
            other for other in names if other[:-1] == name
        }


@given(TEXTS, st.integers(1, 30))
def test_longer_substrings_are_left_out_at_the_cap(texts, cap):
    every = {
        tuple(text[start : start + length])
        for text in texts
        for length in range(1, 5)
        for start in range(len(text) - length + 1)
    }
    of_length = Counter(map(len, every))
    if not of_length or of_length[1] > cap:
        with pytest.raises(InputError):
            find_substrings(texts, 4, cap)
        return
    longest = max(n for n in range(1, 5) if sum(of_length[k] for k in range(1, n + 1)) <= cap and of_length[n])
    found = find_substrings(texts, 4, cap)
    assert {tuple(sequence) for sequence in as_lists(found.sequences)} == {s for s in every if len(s) <= longest}


@given(TEXTS, TEXTS, st.data())
def test_similarity_counts_what_both_have(queries, grams, data):
    grams = [gram for gram in grams if gram] or [[1]]
    padded = np.full((len(grams), 8), -1)
    for row, gram in enumerate(grams):
        padded[row, : len(gram)] = gram
    rows = np.array([data.draw(st.integers(0, len(queries) - 1)) for _ in grams])
    alike = similarity(padded, rows, queries)
    for gram, row, value in zip(grams, rows.tolist(), alike.tolist(), strict=True):
        query = set(queries[row])
        assert value == pytest.approx(sum(t in query for t in gram) / max(len(gram), len(query)))


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=12),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=20),
)
def test_clicks_bring_what_their_ads_have(clicks, pairs):
    clicks_, pairs_ = (np.array(each, dtype=np.int64).reshape(-1, 2) for each in (clicks, pairs))
    rows, brought = clicked(clicks_, pairs_, num_ads=6)
    expected = Counter((query, at) for query, ad in clicks for at, (_, other) in enumerate(pairs) if other == ad)
    assert Counter(zip(rows.tolist(), brought.tolist(), strict=True)) == expected


def test_as_texts():
    assert as_texts(np.array([[0, 1, 2], [1, 2, -1]]), ["drill", "bit", "##s"]) == ("drill bits", "bits")
    assert as_texts(np.array([[2, 0]]), ["drill", "bit", "##s"]) == ("s drill",)
