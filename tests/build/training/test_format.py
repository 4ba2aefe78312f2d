"""Examples of the format: what is asked, what is answered, and how often."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from intently.build.training.format import FormatSettings, ad_prompt, format_examples, query_prompt
from intently.build.training.pairs import TrainingData, build_training_data
from intently.errors import SettingsError
from intently.intentions.vocabulary import Vocabulary

pytest.importorskip("transformers")

NUM_QUERIES, NUM_ADS = 30, 40
INTENTIONS = ("red", "pan", "red pan", "水壶", "红色", "红色水壶", "lamp", "led", "led lamp", "shoe", "灯", "saw")
NONE = np.empty((0, 2), dtype=np.int64)


def make_data(num_queries: int = NUM_QUERIES, seed: int = 0) -> TrainingData:
    """Random ads, of which some have no intentions, and clicks on them, English and Chinese."""
    rng = np.random.default_rng(seed)
    has = rng.random((len(INTENTIONS), NUM_ADS)) < np.linspace(0.05, 0.5, len(INTENTIONS))[:, None]
    has[:, :3] = False
    vocabulary = Vocabulary(INTENTIONS, np.argwhere(has), NONE)
    clicks = np.argwhere(rng.random((num_queries, NUM_ADS)) < 0.1)
    queries = [f"{INTENTIONS[row % len(INTENTIONS)]} 买{row}" for row in range(num_queries)]
    return build_training_data(queries, [f"ad 广告 {row}" for row in range(NUM_ADS)], vocabulary, clicks, NONE)


def may_say(choices, row: int) -> set[str]:
    return {INTENTIONS[i] for i in choices.intention_ids[choices.offsets[row] : choices.offsets[row + 1]]}


def test_prompts():
    assert query_prompt("红色 pan") == "Query: 红色 pan\nIntention:"
    assert ad_prompt("Red pan. 28 cm") == "Ad: Red pan. 28 cm\nIntention:"


@pytest.mark.parametrize(
    "chosen",
    [
        FormatSettings(num_examples=20, max_share=1.0),
        FormatSettings(num_examples=20, max_share=0.1, answers_per_example=3, query_share=0.25),
        FormatSettings(num_examples=500, answers_per_example=1),
        FormatSettings(num_examples=500, max_share=0.01, seed=4),
        FormatSettings(num_examples=10, query_share=0.0, max_share=0.2),
        FormatSettings(num_examples=10, query_share=1.0, max_share=1e-9),
    ],
)
def test_examples_are_rows_with_some_of_their_intentions(make_lm, chosen):
    lm, data = make_lm(system="Be brief."), make_data()
    examples = format_examples(lm, data, chosen)
    asked = {tuple(lm.instruct(query_prompt(text))): ("query", row) for row, text in enumerate(data.queries)}
    asked |= {tuple(lm.instruct(ad_prompt(text))): ("ad", row) for row, text in enumerate(data.ad_texts)}
    prompts = [tuple(example.prompt) for example in examples]
    assert len(set(prompts)) == len(prompts)
    num = Counter(asked[prompt][0] for prompt in prompts)
    num_queries = round(chosen.num_examples * chosen.query_share)
    assert num["query"] <= num_queries
    assert num["ad"] <= chosen.num_examples - num_queries
    limit = max(1, round(chosen.max_share * chosen.num_examples))
    said: dict[str, Counter[str]] = {"query": Counter(), "ad": Counter()}
    for example, prompt in zip(examples, prompts, strict=True):
        kind, row = asked[prompt]
        choices = data.query_intentions if kind == "query" else data.ad_intentions
        texts = lm.tokenizer.batch_decode(list(example.answers))
        assert 1 <= len(texts) == len(set(texts)) <= chosen.answers_per_example
        assert set(texts) <= may_say(choices, row)
        said[kind].update(texts)
    for counted in said.values():
        assert max(counted.values(), default=0) <= limit
    if chosen.max_share == 1.0:  # nothing is held back
        assert num == {"query": num_queries, "ad": chosen.num_examples - num_queries}
        assert all(
            len(example.answers) == min(chosen.answers_per_example, len(may_say(data.ad_intentions, asked[prompt][1])))
            for example, prompt in zip(examples, prompts, strict=True)
            if asked[prompt][0] == "ad"
        )


def test_everything_that_can_speak_does_if_enough_is_asked_for(make_lm):
    lm, data = make_lm(), make_data()
    examples = format_examples(lm, data, FormatSettings(num_examples=1000, max_share=1.0))
    able = sum(np.count_nonzero(np.diff(one.offsets)) for one in (data.query_intentions, data.ad_intentions))
    assert len(examples) == able < NUM_QUERIES + NUM_ADS


def test_the_seed_decides(make_lm):
    lm, data, chosen = make_lm(), make_data(), FormatSettings(num_examples=20, max_share=0.2)
    assert format_examples(lm, data, chosen) == format_examples(lm, data, chosen)
    assert format_examples(lm, data, chosen) != format_examples(lm, data, replace(chosen, seed=1))


def test_rare_intentions_get_their_turn(make_lm):
    """An intention that half of all ads have must not be half of all answers."""
    lm, data = make_lm(), make_data()
    settings = FormatSettings(num_examples=NUM_ADS, query_share=0.0, answers_per_example=1, max_share=0.1)
    first = [example.answers[0] for example in format_examples(lm, data, settings)]
    counts = Counter(lm.tokenizer.batch_decode(first))
    assert max(counts.values()) <= 4
    assert len(counts) >= 8


def test_without_queries_ads_speak(make_lm):
    examples = format_examples(make_lm(), make_data(num_queries=0), FormatSettings(num_examples=10, max_share=1.0))
    assert len(examples) == 4  # the ads' share


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"num_examples": 0}, "'num_examples' is 0"),
        ({"answers_per_example": 1.5}, "'answers_per_example' is 1.5; it takes a whole number"),
        ({"query_share": 1.1}, "'query_share' is 1.1"),
        ({"max_share": 0.0}, "'max_share' is 0.0"),
        ({"seed": -1}, "'seed' is -1"),
    ],
)
def test_wrong_settings(wrong, problem):
    with pytest.raises(SettingsError, match=problem):
        FormatSettings(**wrong)
