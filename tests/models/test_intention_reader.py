"""What a student says of texts, and what near intentions add to it."""

import numpy as np
import pytest

pytest.importorskip("torch")

from intently.intentions.decode import DecodeSettings, ScoreMode
from intently.intentions.prior import Guidance, Near
from intently.intentions.trie import Trie
from intently.models.intention_reader import IntentionReader
from tests.nearness import near_intentions

INTENTIONS = ("red robot", "blue robot", "robot vacuum", "drill bit", "led lamp", "扫地机器人", "水壶", "kettle")
TEXTS = ("red robot vacuum", "电热水壶", "drill")


@pytest.fixture(scope="module")
def student(make_student):
    return make_student(0)


def reader_of(student, guidance: Guidance) -> IntentionReader:
    trie = Trie.build(student.tokenizer.encode_bare(INTENTIONS))
    near = near_intentions(student.embed(INTENTIONS, 20), guidance)
    return IntentionReader(student.decoder(trie), near, guidance)


def test_without_decoding_the_nearest_share_everything(student):
    for decode, says in ((None, 2.0), (DecodeSettings(num_beams=3), None)):
        reader = reader_of(student, Guidance(0.05, says))
        reading = student.read(TEXTS, 20)
        for embedding, found in zip(reading.embeddings, reader.read(reading, 5, decode), strict=True):
            cosines = reader.near.vectors.embeddings @ embedding
            expected = np.argsort(-cosines)[:5]
            assert found.intention_ids.tolist() == expected.tolist()
            shares = np.exp(cosines[expected] / 0.05)
            np.testing.assert_allclose(np.exp(found.log_probs), shares / shares.sum(), rtol=1e-3)


def test_beams_come_first_and_the_others_share_what_is_left(student):
    reader, decode = reader_of(student, Guidance(0.1, 3.0)), DecodeSettings(num_beams=2, temperature=0.5)
    reading = student.read(TEXTS, 20)
    near = [reader.near.of(embedding, len(INTENTIONS), 0.1) for embedding in reading.embeddings]
    guided = DecodeSettings(num_beams=2, temperature=1.5)
    for beams, found in zip(
        reader.decoder.decode(reading.prompt, guided, near),
        reader.read(reading, len(INTENTIONS), decode),
        strict=True,
    ):
        assert found.intention_ids[:2].tolist() == beams.intention_ids.tolist()
        assert sorted(found.intention_ids.tolist()) == list(range(len(INTENTIONS)))
        assert np.exp(found.log_probs).sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("chosen", [{"prior_weight": 0.0}, {"mode": ScoreMode.FULL}])
def test_without_a_prior_all_are_decoded(student, chosen):
    reader, decode = reader_of(student, Guidance(0.1, 3.0)), DecodeSettings(num_beams=3, **chosen)
    reading = student.read(TEXTS, 20)
    plain = reader.decoder.decode(reading.prompt, decode)
    for found, expected in zip(reader.read(reading, 8, decode), plain, strict=True):
        assert found.intention_ids.tolist() == expected.intention_ids.tolist()
        np.testing.assert_array_equal(found.log_probs, expected.log_probs)


def test_nothing_near_and_nothing_decoded(student):
    reader = reader_of(student, Guidance(0.1, None))
    assert [len(one.intention_ids) for one in reader.read(student.read(TEXTS, 20), 0, None)] == [0, 0, 0]


def test_a_student_speaks_once_its_head_was_trained(student, make_student):
    assert not student.speaks
    other = make_student(1)
    other.backbone.head_bias.data[3] = 0.5
    assert other.speaks
    assert isinstance(reader_of(other, Guidance(0.1, 1.0)).near.of(other.embed(["pan"], 9)[0], 2, 0.1), Near)
