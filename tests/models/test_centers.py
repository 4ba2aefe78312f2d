"""Embeddings without what all texts of a kind share."""

import json

import numpy as np
import pytest

from intently.errors import ArtifactError
from intently.models.centers import Centers
from intently.models.student import CENTERS, Runtime, Student
from intently.models.tokenizer import TextKind

QUERIES, ADS = ["drill bit", "red shoes", "水壶"], ["drill bit set of five", "red running shoes", "不锈钢 水壶", "saw"]


@pytest.fixture(scope="module")
def plain(make_student) -> Student:
    return make_student(2).use(Runtime.ONNX)  # in float32, where PyTorch may read in bfloat16


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_each_kind_loses_its_own_mean_and_both_lose_the_direction_in_which_they_differ_most(plain):
    centered = plain.centered(QUERIES, ADS, 16)
    raw = [plain.embed(QUERIES, 16), plain.embed(ADS, 16, kind=TextKind.PASSAGE)]
    left = [each - each.mean(axis=0) for each in raw]
    together = np.concatenate(left)
    values, vectors = np.linalg.eigh(together.T @ together)
    direction = vectors[:, values.argmax()]
    for texts, kind, each in zip((QUERIES, ADS), (TextKind.QUERY, TextKind.PASSAGE), left, strict=True):
        expected = unit(each - np.outer(each @ direction, direction))
        np.testing.assert_allclose(centered.embed(texts, 16, kind=kind), expected, atol=1e-4)
        np.testing.assert_allclose(centered.read(texts, 16, kind).embeddings, expected, atol=1e-4)


def test_two_languages_are_told_apart_by_meaning_alone():
    """Texts of two languages lie apart; without that, each is nearest to its translation."""
    rng = np.random.default_rng(0)
    meanings, language = rng.normal(size=(200, 16)), np.eye(16)[0] * 8
    queries, ads = (unit(meanings + sign * language + 3).astype(np.float32) for sign in (1, -1))
    mixed = [np.concatenate((queries[:100], ads[100:])), np.concatenate((ads[:100], queries[100:]))]
    centers = Centers.of(*mixed)
    near, before = (
        (each[0] @ each[1].T).argmax(axis=1) == np.arange(200)
        for each in ([centers.subtract(mixed[0], TextKind.QUERY), centers.subtract(mixed[1], TextKind.PASSAGE)], mixed)
    )
    assert near.mean() > 0.9 > 0.3 > before.mean()


def test_centering_anew_starts_from_the_plain_embeddings(plain):
    once = plain.centered(QUERIES, ADS, 16)
    again = once.centered(QUERIES, ADS, 16)
    np.testing.assert_allclose(once.embed(ADS, 16), again.embed(ADS, 16), atol=1e-6)


def test_other_runtimes_and_what_was_saved_are_centered_too(plain, tmp_path):
    centered = plain.centered(QUERIES, ADS, 16)
    centered.save(tmp_path)
    expected = centered.embed(QUERIES, 16)
    for student in (Student.load(tmp_path).use(Runtime.ONNX), centered.use(Runtime.ONNX)):
        np.testing.assert_allclose(student.embed(QUERIES, 16), expected, atol=1e-5)


def test_a_text_that_is_the_mean_has_no_direction():
    centers = Centers(*np.eye(3, dtype=np.float32))
    assert centers.subtract(np.array([[1, 0, 5]], np.float32), TextKind.QUERY).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"junk",
        np.zeros((3, 3), np.float32),
        np.zeros((2, 4), np.float32),
        np.full((3, 4), np.nan, np.float32),
    ],
)
def test_broken_centers_are_refused_by_name(tmp_path, content):
    path = tmp_path / CENTERS
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(ArtifactError, match=CENTERS):
        Centers.load(path, 4)


def test_a_centered_student_needs_its_centers(plain, tmp_path):
    plain.centered(QUERIES, ADS, 16).save(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["centered"] is True
    (tmp_path / CENTERS).unlink()
    with pytest.raises(ArtifactError, match=CENTERS):
        Student.load(tmp_path)
