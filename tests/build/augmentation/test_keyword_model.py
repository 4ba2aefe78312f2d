"""Keywords by a language model: what it says counts only where the ad has it or somebody bids on it."""

from dataclasses import replace

import pytest

pytest.importorskip("peft")

from intently.build.augmentation import keyword_model
from intently.build.augmentation.keyword_model import (
    KeywordModelSettings,
    LanguageModelKeywords,
    is_extractive,
    keyword_prompt,
)
from intently.build.augmentation.writer import Written
from intently.build.knowledge.instances import Instance, Task, write_instances
from intently.build.training.language_model import FineTuningSettings
from intently.models.causal_lm import LanguageModelSettings
from intently.text.analyze import Analyzer
from tests.conftest import Told

# PEFT 0.21 asks transformers 5.23 a question under its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

TUNING = FineTuningSettings(rank=4, batch_size=2, max_steps=2, held_out_share=0.0, eval_steps=1)


@pytest.fixture
def settings(make_lm, tmp_path) -> KeywordModelSettings:
    make_lm(std=0.05).save(tmp_path / "lm")
    model = LanguageModelSettings(str(tmp_path / "lm"), "fp32")
    return KeywordModelSettings(model, tuning=TUNING, max_new_tokens=6, batch_size=2, num_keywords=3)


def saying(monkeypatch, *answers: tuple[str, bool]) -> None:
    """Let the writer say this of the ads, in their order."""

    def write(writer, requests, *_):
        return [
            Written(request.ad_row, (text,), (is_whole,), 5, 3, 0.5)
            for request, (text, is_whole) in zip(requests, answers, strict=True)
        ]

    monkeypatch.setattr(keyword_model, "write_all", write)


def test_what_it_invents_does_not_count(settings, make_data, tmp_path, monkeypatch):
    saying(
        monkeypatch,
        ("Electric Kettle; toaster; frying pans; kettle; water; fast", True),  # three at most
        ("red, pan, frying pan. ", True),
        ("电热水壶；保温、面包机，烧水快", True),
        ("cordless drill; drill with bits; bit", False),  # the last was cut off
        ("", True),
    )
    asked = LanguageModelKeywords(replace(settings, tune=False), Analyzer(), tmp_path / "work")
    assert asked.extract(make_data(), Told()) == [
        ("electric kettle", "frying pans", "kettle"),  # another ad bids on frying pans
        ("red", "pan", "frying pan"),
        ("电热水壶", "保温", "烧水快"),
        ("cordless drill", "drill with bits"),
        (),
    ]
    assert (asked.cost.num_ads, asked.cost.tokens_in, asked.cost.seconds) == (5, 25, 2.5)
    assert asked.tuning is None


def test_it_is_tuned_on_bids_and_speaks_of_every_ad(settings, make_data, tmp_path):
    told = Told()
    asked = LanguageModelKeywords(settings, Analyzer(), tmp_path / "work")
    found = asked.extract(make_data(), told)
    assert len(found) == 5
    assert told.steps("Tuning the keyword model") == [1, 2]
    assert (asked.tuning.num_examples, asked.tuning.num_steps) == (3, 2)  # three ads bid on anything
    assert asked.cost.num_ads == 5
    assert asked.cost.tokens_out > 0
    told = Told()
    assert LanguageModelKeywords(settings, Analyzer(), tmp_path / "work").extract(make_data(), told) == found
    assert {stage for stage, *_ in told.stages} == {"Loading the keyword model"}


def test_it_is_tuned_on_knowledge(settings, make_data, tmp_path):
    path = tmp_path / "knowledge.jsonl"
    taught = Instance(Task.KEYWORD_PURCHASE, "zh", "红色水壶", "水壶; 烧水壶")
    write_instances(path, [taught, Instance(Task.QUERY_INTENT, "en", "egg pan", "pan")])
    asked = LanguageModelKeywords(replace(settings, knowledge_file=str(path)), Analyzer(), tmp_path / "work")
    (example,) = asked._examples(lm := settings.model.load(), make_data())
    assert example.prompt == lm.instruct(taught.prompt) + lm.tokens(["关键词："])[0]
    assert lm.tokenizer.decode(example.answers[0]) == "水壶; 烧水壶"


def test_prompts_are_those_of_the_knowledge_task():
    assert keyword_prompt("red pan").begun == "Keywords:"
    assert keyword_prompt("红锅").begun == "关键词："
    assert keyword_prompt("red pan").instruction.endswith("Ad: red pan")


@pytest.mark.parametrize(
    ("phrase", "text", "expected"),
    [(["b"], ["a", "b"], True), (["a", "c"], ["a", "b", "c"], False), (["a", "b"], ["a"], False), ([], [], True)],
)
def test_extractive_is_side_by_side(phrase, text, expected):
    assert is_extractive(phrase, text) is expected
