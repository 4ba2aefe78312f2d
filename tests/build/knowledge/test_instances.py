"""Instances: what is valid, and the way to a file and to a model's answer and back."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.build.knowledge import (
    Instance,
    Task,
    handwritten,
    language_of,
    parse_response,
    prompt_for,
    read_instances,
    write_instances,
)
from intently.errors import InputError

QUERY = Instance(Task.QUERY_INTENT, "en", "ac unit", "air conditioner; portable ac", "Hot rooms.", "clicks")
AD = Instance(Task.AD_INTENT, "zh", "扫地机器人 包邮", "扫地机器人; 家务清洁", "卖的是扫地机器人。", "titles")
PHRASE = st.text("abcz 机器人9&'-", min_size=1, max_size=20).map(str.strip).filter(lambda t: t and t != "none")
PHRASES = st.lists(PHRASE, min_size=1, max_size=5, unique_by=str.casefold).map(
    lambda found: [" ".join(p.split()) for p in found]
)


def test_prompts_and_responses_in_both_languages():
    assert QUERY.prompt.endswith("\nQuery: ac unit")
    assert QUERY.response == "Hot rooms.\nIntentions: air conditioner; portable ac"
    assert AD.prompt.endswith("\n广告：扫地机器人 包邮")
    assert AD.response == "卖的是扫地机器人。\n意图：扫地机器人; 家务清洁"
    bid = Instance(Task.KEYWORD_PURCHASE, "zh", "扫地机器人", "扫地机器人")
    assert bid.response == "关键词：扫地机器人"
    assert prompt_for(Task.KEYWORD_PURCHASE, "en", "two\nlines").endswith("\nAd: two lines")
    with pytest.raises(InputError, match="language 'de'"):
        prompt_for(Task.AD_INTENT, "de", "Lampe")
    assert language_of("led 灯") == "zh" and language_of("Löwe") == "en"


def test_prompts_are_short():
    for task in Task:
        assert len(prompt_for(task, "en", "x").split()) <= 20
        assert len(prompt_for(task, "zh", "x")) <= 40


@given(st.sampled_from(list(Task)), st.sampled_from(["en", "zh"]), PHRASES, st.sampled_from(["", "Because.", "因为。"]))
def test_a_response_is_read_back(task, language, phrases, why):
    phrases = list({phrase.casefold(): phrase for phrase in phrases}.values())
    instance = Instance(task, language, "x", "; ".join(phrases), why)
    assert parse_response(instance.response) == (instance.answer, why)
    assert instance.intentions == tuple(phrases)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("**Intentions:** a; b; a", "a; b"),
        ("想一想\n意图: 灯；台灯。", "灯; 台灯"),
        ("Keywords: None", "none"),
        ("I do not know", ""),
        ("", ""),
        ("Intentions:", ""),
    ],
)
def test_answers_as_models_write_them(text, answer):
    assert parse_response(text)[0] == answer


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"task": "sell"}, "task"),
        ({"language": "de"}, "language"),
        ({"input": ""}, "input"),
        ({"input": "a\nb"}, "input"),
        ({"answer": "a; "}, "answer"),
        ({"answer": "a; A"}, "answer"),
        ({"answer": "a;; b"}, "answer"),
        ({"answer": "x" * 81}, "answer"),
        ({"answer": "a; none"}, "answer"),
        ({"task": "ad_intent", "answer": "none"}, "answer"),
        ({"reasoning": "two\nlines"}, "reasoning"),
        ({"reasoning": 3}, "reasoning"),
        ({"extra": "x"}, "extra"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, change, field):
    good = {"task": "query_intent", "language": "en", "input": "lamp", "answer": "lamp", "reasoning": ""}
    path = tmp_path / "own.jsonl"
    path.write_text(f"{json.dumps(good)}\n\n{json.dumps(good | change)}\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_instances(path)
    assert (caught.value.path, caught.value.line, caught.value.field) == (path, 3, field)
    assert caught.value.cure


@pytest.mark.parametrize("text", ["{", "[]", '{"task": "query_intent"}', "", "\n"])
def test_what_is_no_instance(tmp_path, text):
    path = tmp_path / "own.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=r"own\.jsonl"):
        read_instances(path)


def test_files_round_trip(tmp_path):
    path = tmp_path / "k.jsonl"
    write_instances(path, [QUERY, AD])
    assert read_instances(path) == (QUERY, AD)
    assert list(tmp_path.iterdir()) == [path]


def test_the_handwritten_ones_are_many_valid_and_balanced():
    shipped = handwritten()
    assert len(shipped) >= 300
    counts = Counter((one.task, one.language) for one in shipped)
    assert len(counts) == 6 and min(counts.values()) >= 0.1 * len(shipped)
    assert len({(one.task, one.input) for one in shipped}) == len(shipped)
    assert all(one.source == "handwritten" and language_of(one.input) == one.language for one in shipped)
    nothing = sum(one.answer == "none" for one in shipped)
    assert 0 < nothing < 0.2 * len(shipped)
