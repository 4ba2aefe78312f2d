import random

from hypothesis import given
from hypothesis import strategies as st

from intently.lab.world.misspell import misread, mistype

_TEXT = st.text(st.sampled_from("abcdefgh ijklm nopqrstuvwxyz 扫地机器人电话 0123,，"), max_size=120)


@given(_TEXT, st.integers(0, 1000))
def test_a_typo_changes_at_most_one_character_in_number(text: str, seed: int):
    assert abs(len(mistype(text, random.Random(seed))) - len(text)) <= 1


def test_typos_spare_first_letters_and_short_words():
    rng = random.Random(0)
    assert all(mistype("vacuum", rng)[0] == "v" for _ in range(200))
    assert mistype("tv box", rng) == "tv box"


def test_chinese_typos_are_homophones_or_lost_characters():
    rng = random.Random(0)
    typos = {mistype("扫地机器人", rng) for _ in range(200)}
    assert "扫地鸡器人" in typos
    assert "扫地机人" in typos


@given(_TEXT, st.integers(0, 1000))
def test_spans_have_text_and_confidence(text: str, seed: int):
    assert all(span.text and 0 <= span.confidence <= 1 for span in misread(text, random.Random(seed)))


def test_confidence_falls_with_damage():
    rng = random.Random(0)
    line = "the morning modern kitchen burner warms 10 litres of milk"
    spans = [span for _ in range(400) for span in misread(line, rng)]
    intact = [span.confidence for span in spans if span.text in line]
    damaged = [span.confidence for span in spans if span.text not in line]
    assert intact and damaged
    assert sum(intact) / len(intact) > sum(damaged) / len(damaged) + 0.1
