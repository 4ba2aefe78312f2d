"""What writes: in batches, resumably, the same whatever was interrupted; and an endpoint in its place."""

import dataclasses
import json
from dataclasses import replace

import pytest

pytest.importorskip("transformers")

from intently.build.augmentation.sample import line_ends, sample
from intently.build.augmentation.writer import (
    EndpointWriter,
    LanguageModelWriter,
    ModelCost,
    Prompt,
    Request,
    SamplingSettings,
    write_all,
)
from intently.build.knowledge.endpoint import EndpointSettings
from tests.build.knowledge.test_endpoint import serving
from tests.conftest import Interruption, Told

SAMPLING = SamplingSettings(max_text_tokens=12, max_new_tokens=5, top_k=30, seed=3)
REQUESTS = [
    Request(4, "a lamp with a long, long title", (1.0, 0.5)),
    Request(0, "pan", (0.7,)),
    Request(7, "红色水壶", (1.0, 0.5)),
    Request(2, "lamp", (1.0, 0.5)),
    Request(9, "drill", (0.7,)),
]


def prompt(text: str) -> Prompt:
    return Prompt(f"Ad: {text}", "Query:")


def writer(lm, **chosen) -> LanguageModelWriter:
    return LanguageModelWriter(lm, "tiny", "none", prompt, replace(SAMPLING, **chosen))


def said(written) -> list[tuple]:
    """Return all but the time."""
    return [dataclasses.astuple(one)[:-1] for one in written]


def test_it_writes_what_is_sampled_for_each_alone(make_lm, tmp_path):
    lm, told = make_lm(), Told()
    written = write_all(writer(lm), REQUESTS, tmp_path, 2, "Writing", told)
    assert told.stages == [("Writing", 2, 5), ("Writing", 4, 5), ("Writing", 5, 5)]
    alone = [writer(lm).write([request])[0] for request in REQUESTS]
    assert said(written) == said(alone)
    assert [len(one.texts) for one in written] == [2, 1, 2, 2, 1]
    (text,) = lm.shortened([REQUESTS[0].text], 12)
    tokens = prompt(text).tokens(lm)
    assert written[0].tokens_in == len(tokens)
    assert lm.tokenizer.decode(tokens).endswith("<assistant>Query:")
    draws = [writer(lm)._draw(4, number, each) for number, each in enumerate((1.0, 0.5))]
    (samples,) = sample(lm, [tokens], [draws], top_k=30, ends=line_ends(lm))
    assert written[0].texts == tuple(one.text for one in samples)
    assert written[0].tokens_out == sum(one.num_tokens for one in samples)
    cost = ModelCost.of("tiny", written)
    assert (cost.num_ads, cost.tokens_in) == (5, sum(one.tokens_in for one in written))
    assert cost.seconds > 0


def test_a_seed_is_another_text(make_lm):
    lm = make_lm()
    one, same, other = (writer(lm, seed=seed).write(REQUESTS[:1])[0].texts for seed in (3, 3, 4))
    assert one == same != other


def test_an_interrupted_run_goes_on(make_lm, tmp_path):
    lm = make_lm()
    whole = write_all(writer(lm), REQUESTS, tmp_path / "whole", 2, "Writing", Told())
    with pytest.raises(Interruption):
        write_all(writer(lm), REQUESTS, tmp_path / "work", 2, "Writing", Told("Writing", 2))
    told = Told()
    assert said(write_all(writer(lm), REQUESTS, tmp_path / "work", 2, "Writing", told)) == said(whole)
    assert told.steps("Writing") == [4, 5]


@pytest.mark.parametrize("cut", [0, 1, 120, 300, -2, -1])
def test_a_torn_file_is_gone_on_with(make_lm, tmp_path, cut):
    lm = make_lm()
    whole = write_all(writer(lm), REQUESTS, tmp_path, 2, "Writing", Told())
    (store,) = tmp_path.iterdir()
    content = store.read_bytes()
    store.write_bytes(content[:cut])
    assert said(write_all(writer(lm), REQUESTS, tmp_path, 2, "Writing", Told())) == said(whole)
    assert store.read_bytes().count(b"\n") == 5
    told = Told()
    assert said(write_all(writer(make_lm(seed=1)), REQUESTS, tmp_path, 2, "Writing", told)) == said(whole)
    assert told.stages == []


def test_other_requests_and_settings_have_files_of_their_own(make_lm, tmp_path):
    lm = make_lm()
    write_all(writer(lm), REQUESTS, tmp_path, 2, "Writing", Told())
    write_all(writer(lm, top_k=5), REQUESTS, tmp_path, 2, "Writing", Told())
    write_all(writer(lm), REQUESTS[:2], tmp_path, 2, "Writing", Told())
    assert sorted(path.read_bytes().count(b"\n") for path in tmp_path.iterdir()) == [2, 5, 5]


def test_an_answer_follows_what_is_begun():
    assert Prompt("", "Query:").led_on("red pan") == " red pan"
    assert Prompt("", "搜索词：").led_on("水壶") == "水壶"


def answered(content: object, usage: object) -> bytes:
    return json.dumps({"choices": [{"message": {"content": content}}], "usage": usage}).encode()


def test_an_endpoint_writes_instead(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    answers = [
        (200, answered("tea maker\n", {"prompt_tokens": 20, "completion_tokens": 3})),
        (200, answered("boil water fast", {"prompt_tokens": 20, "completion_tokens": "?"})),
        (200, answered(None, None)),
    ]
    with serving(*answers) as (url, asked):
        endpoint = EndpointWriter(EndpointSettings(url, "big", timeout_s=5, wait_s=0), prompt, max_text_tokens=3)
        first, second = endpoint.write([Request(4, "electric kettle, red", (1.5, 0.5)), Request(1, "红色水壶", (0.9,))])
    assert first.texts == ("tea maker", "boil water fast")
    assert (first.tokens_in, first.tokens_out, first.is_whole) == (40, 3, (True, True))
    assert (second.ad_row, second.texts, second.tokens_in) == (1, ("",), 0)
    assert [one["body"]["temperature"] for one in asked] == [1.5, 0.5, 0.9]
    said_to = [one["body"]["messages"][0]["content"] for one in asked]
    assert said_to == ["Ad: electric ket\nQuery:"] * 2 + ["Ad: 红色水\nQuery:"]
    assert endpoint.name == "big"
