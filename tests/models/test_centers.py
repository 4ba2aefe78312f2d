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


def test_each_kind_loses_its_own_mean(plain):
    centered = plain.centered(QUERIES, ADS, 16)
    for texts, kind in ((QUERIES, TextKind.QUERY), (ADS, TextKind.PASSAGE)):
        raw = plain.embed(texts, 16, kind=kind)
        np.testing.assert_allclose(centered.embed(texts, 16, kind=kind), unit(raw - raw.mean(axis=0)), atol=1e-5)
        np.testing.assert_allclose(centered.read(texts, 16, kind).embeddings, unit(raw - raw.mean(axis=0)), atol=1e-5)


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
    centers = Centers(np.array([1, 0], np.float32), np.array([0, 1], np.float32))
    assert centers.subtract(np.array([[1, 0]], np.float32), TextKind.QUERY).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"junk",
        np.zeros((2, 3), np.float32),
        np.zeros((1, 4), np.float32),
        np.full((2, 4), np.nan, np.float32),
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
