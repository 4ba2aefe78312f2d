"""Whether training helped, measured by students whose embeddings are known."""

import numpy as np
import pytest

pytest.importorskip("torch")

from intently.build.gain import MIN_QUERIES, training_gain
from intently.build.interactions import Interactions

NUM_ADS, NUM_QUERIES = 60, 30
TEXTS = [f"ad {row}" for row in range(NUM_ADS)]


def interactions(num_queries: int = NUM_QUERIES) -> Interactions:
    clicks = np.array([(query, (7 * query) % NUM_ADS) for query in range(num_queries)]).reshape(-1, 2)
    none = np.empty((0, 2), dtype=np.int64)
    queries = tuple(f"query {row}" for row in range(num_queries))
    return Interactions(queries, clicks, none, 0, np.ones(len(clicks), np.int64), np.empty((0, 3), np.int64))


class Student:
    """Knows the clicked ad of the first `num_known` queries; all else is random."""

    def __init__(self, num_known: int) -> None:
        rng = np.random.default_rng(1)
        self.ads = rng.normal(size=(NUM_ADS, 16)).astype(np.float32)
        self.queries = rng.normal(size=(NUM_QUERIES, 16)).astype(np.float32)
        for query in range(num_known):
            self.queries[query] = self.ads[(7 * query) % NUM_ADS]
        for vectors in (self.ads, self.queries):
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed(self, texts, max_tokens, kind=None):
        kinds = {"ad": self.ads, "query": self.queries}
        return np.array([kinds[kind][int(row)] for kind, row in (text.split() for text in texts)])


def gain(start: int, trained: int):
    students = Student(start), Student(trained)
    return training_gain(*students, interactions(), TEXTS, 20, 0, lambda *_: None)


def test_ranks_are_those_among_all_ads():
    found = gain(10, 25)
    for value, num_known in ((found.start, 10), (found.trained, 25)):
        student = Student(num_known)
        cosines = student.queries @ student.ads.T
        own = cosines[np.arange(NUM_QUERIES), 7 * np.arange(NUM_QUERIES) % NUM_ADS]
        assert value == pytest.approx((1 / (cosines >= own[:, None]).sum(axis=1)).mean(), rel=1e-5)
    assert found.trained > found.start and found.p_value < 0.01
    assert set(found.facts) == {"start_precision", "trained_precision", "training_p_value"}


def test_a_loss_is_seen():
    assert gain(25, 10).trained < gain(25, 10).start


def test_too_few_queries_say_nothing():
    students = Student(3), Student(3)
    assert training_gain(*students, interactions(MIN_QUERIES - 1), TEXTS, 20, 0, lambda *_: None) is None
