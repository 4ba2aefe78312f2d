"""The teacher, a byte model of two tiny layers: what it is taught stays, and what it says is kept and gone on with."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("peft")

from intently.build.knowledge.instances import Instance, Task
from intently.build.teacher import (
    TeacherLabels,
    TeacherSettings,
    customize,
    decode_all,
    fill_query_cache,
    knowledge_examples,
    label_with_teacher,
    speak,
)
from intently.build.training.format import FormatSettings
from intently.build.training.language_model import FineTuningSettings
from intently.build.training.pairs import TrainingData, build_training_data
from intently.engine.cache import QueryCache
from intently.engine.layout import CACHE_FILE
from intently.errors import InputError, SettingsError
from intently.index.intentions import IntentionIndex
from intently.index.phrases import PhraseTable
from intently.index.posting_weights import PostingStatistics
from intently.index.postings import Postings
from intently.intentions.trie import Trie
from intently.intentions.vocabulary import Vocabulary
from intently.models.causal_lm import CausalLM, LanguageModelSettings
from intently.models.free_beams import FreeBeamSettings, free_beam_search
from intently.text.analyze import Analyzer
from intently.text.query_text import QueryReader
from tests.conftest import Interruption, Told
from tests.nearness import near_intentions

# PEFT 0.21 asks transformers 5.23 a question under its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

INTENTIONS = ("red pan", "pan", "红色水壶", "水壶", "led lamp")
AD_TEXTS = ("Red pan", "Pan for eggs", "红色水壶", "LED lamp")
QUERIES = ("pan red", "水壶", "light")
AD_PAIRS = np.array([[0, 0], [1, 0], [1, 1], [2, 2], [3, 2], [4, 3]])
CLICKS = np.array([[0, 0], [0, 1], [1, 2], [0, 3]])
NONE = np.empty((0, 2), dtype=np.int64)
INSTANCES = (
    Instance(Task.QUERY_INTENT, "en", "egg pan", "pan; frying pan"),
    Instance(Task.AD_INTENT, "zh", "红色水壶 两升", "水壶; 烧水壶", "烧水用。"),
    Instance(Task.QUERY_INTENT, "en", "weather", "none"),
)
TUNING = FineTuningSettings(rank=4, batch_size=2, num_epochs=2, held_out_share=0.0, eval_steps=2, learning_rate=1e-2)
SETTINGS = TeacherSettings(
    knowledge=TUNING,
    format=TUNING,
    examples=FormatSettings(num_examples=10, max_share=1.0),
    beams=FreeBeamSettings(num_beams=6, max_new_tokens=3),
    cache_beams=5,
    batch_size=2,
)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    vocabulary = Vocabulary(INTENTIONS, AD_PAIRS, np.array([[3, 1]]))
    return build_training_data(QUERIES, AD_TEXTS, vocabulary, CLICKS, NONE)


@pytest.fixture
def teaching(tmp_path) -> TeacherSettings:
    """Settings with a file of knowledge."""
    lines = [
        {"task": str(one.task), "language": one.language, "input": one.input, "answer": one.answer}
        | {"reasoning": one.reasoning}
        for one in INSTANCES
    ]
    path = tmp_path / "knowledge.jsonl"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return replace(SETTINGS, knowledge_file=str(path))


def assert_identical(one: CausalLM, other: CausalLM) -> None:
    for (name, ours), theirs in zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    assert (one.system, one.end_id, one.model.dtype) == (other.system, other.end_id, other.model.dtype)


def test_knowledge_is_put_in_the_chat_template(make_lm):
    lm = make_lm(system="Be brief.")
    examples = knowledge_examples(lm, INSTANCES)
    for example, instance in zip(examples, INSTANCES, strict=True):
        assert example.prompt == lm.instruct(instance.prompt)
        (answer,) = example.answers
        assert lm.tokenizer.decode(answer) == instance.response


@pytest.mark.parametrize("elsewhere", [False, True])
def test_customising_is_done_once(make_lm, data, teaching, tmp_path, elsewhere):
    done = tmp_path / "kept" if elsewhere else tmp_path / "work" / "teacher"
    settings = replace(teaching, directory=str(done) if elsewhere else "")
    told = Told()
    first = customize(make_lm(std=0.05, system="Be brief."), data, settings, tmp_path / "work", told)
    assert told.steps("Injecting knowledge") == [1, 2, 3, 4]  # three instances in batches of two, twice
    assert told.steps("Learning the format") == list(range(1, 7))  # all six queries and ads that have intentions
    assert not list((tmp_path / "work").glob("*.pt"))
    kept = json.loads((done / "training.json").read_text(encoding="utf-8"))
    assert [kept[stage]["num_examples"] for stage in ("knowledge", "format")] == [3, 6]
    assert [step for step, *_ in kept["format"]["losses"]] == [2, 4, 6]
    assert kept["settings"]["beams"]["num_beams"] == 6

    told = Told()
    again = customize(make_lm(seed=1, std=0.05, system="Be brief."), data, settings, tmp_path / "work", told)
    assert told.stages == []
    assert_identical(again, first)


def test_without_knowledge_only_the_format_is_learnt(make_lm, data, tmp_path):
    told = Told()
    customize(make_lm(std=0.05), data, SETTINGS, tmp_path / "work", told)
    assert {stage for stage, *_ in told.stages} == {"Learning the format"}
    kept = json.loads((tmp_path / "work" / "teacher" / "training.json").read_text(encoding="utf-8"))
    assert set(kept) == {"made_of", "settings", "format", "files"}


@pytest.mark.parametrize(
    ("stage", "after", "knowledge_left", "format_left"),
    [
        ("Injecting knowledge", 3, [3, 4], [1, 2, 3, 4, 5, 6]),
        ("Learning the format", 1, [], [1, 2, 3, 4, 5, 6]),
        ("Learning the format", 5, [], [5, 6]),
        ("Learning the format", 6, [], []),
    ],
)
def test_interrupted_customising_goes_on(make_lm, data, teaching, tmp_path, stage, after, knowledge_left, format_left):
    whole = customize(make_lm(std=0.05), data, teaching, tmp_path / "whole", Told())
    with pytest.raises(Interruption):
        customize(make_lm(std=0.05), data, teaching, tmp_path / "work", Told(stage, after))
    told = Told()
    resumed = customize(make_lm(std=0.05), data, teaching, tmp_path / "work", told)
    assert told.steps("Injecting knowledge") == knowledge_left
    assert told.steps("Learning the format") == format_left
    assert_identical(resumed, whole)


ONCE = np.ones(len(CLICKS), dtype=np.int64)  # how often each click was made
INSTRUCTIONS = ["Query: pan", "Query: 水壶", "Ad: LED lamp with a very long title", "Ad: 灯", "Query: a"]


def as_pairs(said) -> list[list[tuple[str, float]]]:
    return [[(one.text, one.log_prob) for one in answers] for answers in said]


def assert_close(said, expected) -> None:
    for one, other in zip(as_pairs(said), as_pairs(expected), strict=True):
        assert [text for text, _ in one] == [text for text, _ in other]
        assert [log_prob for _, log_prob in one] == pytest.approx([log_prob for _, log_prob in other], abs=1e-4)


def test_speaking_is_free_beam_search_for_each(make_lm, tmp_path):
    lm, told = make_lm(), Told()
    said = speak(lm, INSTRUCTIONS, SETTINGS, tmp_path / "said.jsonl", "Speaking", told)
    alone = [free_beam_search(lm, lm.read_tokens([lm.instruct(one)]), SETTINGS.beams)[0] for one in INSTRUCTIONS]
    assert_close(said, alone)
    assert told.stages == [("Speaking", 2, 5), ("Speaking", 4, 5), ("Speaking", 5, 5)]
    assert speak(lm, [], SETTINGS, tmp_path / "none.jsonl", "Speaking", Told()) == []
    assert_close(speak(lm, INSTRUCTIONS, SETTINGS, None, "Speaking", Told()), alone)  # and nothing is kept


def test_long_texts_lose_their_end_and_prompts_stay_whole(make_lm):
    lm = make_lm()
    long, chinese = lm.shortened(["a drill that goes on and on", "红色水壶和很多别的东西"], 7)
    assert "a drill that goes on and on".startswith(long)
    assert len(lm.tokens([long])[0]) <= 7
    assert "红色水壶和很多别的东西".startswith(chinese)
    assert chinese
    assert lm.shortened(["pan"], 64) == ["pan"]
    assert lm.shortened([], 64) == []


def test_a_directory_of_another_teacher_is_refused(make_lm, data, tmp_path):
    lm_settings = replace(SETTINGS, directory=str(tmp_path / "kept"))
    customize(make_lm(), data, lm_settings, tmp_path / "work", Told())
    other = replace(lm_settings, format=replace(lm_settings.format, learning_rate=1e-5))
    with pytest.raises(InputError, match="another model, knowledge, clicks or settings"):
        customize(make_lm(), data, other, tmp_path / "work", Told())


@pytest.mark.parametrize("cut", [0, 1, 70, 150, 260, -2, -1])
def test_a_torn_store_is_gone_on_with(make_lm, tmp_path, cut):
    lm, store = make_lm(), tmp_path / "said.jsonl"
    whole = speak(lm, INSTRUCTIONS, SETTINGS, store, "Speaking", Told())
    content = store.read_bytes()
    store.write_bytes(content[:cut])
    told, num_kept = Told(), content[:cut].count(b"\n")
    again = speak(lm, INSTRUCTIONS, SETTINGS, store, "Speaking", told)
    assert_close(again, whole)
    assert told.stages[-1][1:] == (5, 5)
    assert len(told.stages) == math.ceil((5 - num_kept) / 2)
    # What is whole now is not asked for again, not even of another model.
    assert store.read_bytes().count(b"\n") == 5
    told = Told()
    assert as_pairs(speak(make_lm(seed=1), INSTRUCTIONS, SETTINGS, store, "Speaking", told)) == as_pairs(again)
    assert told.stages == []


def test_an_interrupted_store_is_gone_on_with(make_lm, tmp_path):
    lm, store = make_lm(), tmp_path / "said.jsonl"
    with pytest.raises(Interruption):
        speak(lm, INSTRUCTIONS, SETTINGS, store, "Speaking", Told("Speaking", 2))
    told = Told()
    assert len(speak(lm, INSTRUCTIONS, SETTINGS, store, "Speaking", told)) == 5
    assert told.steps("Speaking") == [4, 5]


def test_a_store_keeps_any_text(make_lm, tmp_path):
    odd = ["a\u2028b", "c\x85d", "e\nf\x0b", "水壶 \ufffd", '"\\']
    store = tmp_path / "said.jsonl"
    line = json.dumps([0, [[text, -1.5] for text in odd]], ensure_ascii=False)
    store.write_text(line + "\n", encoding="utf-8")
    said = speak(make_lm(), INSTRUCTIONS[:1], SETTINGS, store, "Speaking", Told())
    assert as_pairs(said) == [[(text, -1.5) for text in odd]]


def test_lessons_are_brought_to_the_vocabulary():
    labels = TeacherLabels(
        queries=[[("Red PANS", -0.5), ("robot", -0.7), ("红色的水壶", -1.0)], [], [("", -0.1), ("lamp led", -2.0)]]
    )
    taught = labels.of_queries(PhraseTable(INTENTIONS, Analyzer()))
    assert taught.pairs.tolist() == [[0, 0], [2, 0]]
    assert taught.log_probs.tolist() == [-0.5, -1.0]
    nothing = TeacherLabels().of_queries(PhraseTable(INTENTIONS, Analyzer()))
    assert (nothing.pairs.shape, nothing.log_probs.shape) == ((0, 2), (0,))
    assert nothing.pairs.dtype == np.int64


def index_of(texts: tuple[str, ...] = INTENTIONS) -> IntentionIndex:
    ids = np.arange(len(texts))
    postings = Postings.build(ids, ids, 1.0 + ids, len(texts), len(texts))
    statistics, near = PostingStatistics(ids, len(texts), 1.0), near_intentions(np.ones((len(texts), 2)))
    trie = Trie.build([(number,) for number in ids.tolist()])
    return IntentionIndex(texts, trie, postings, Analyzer(), statistics, near)


@torch.inference_mode()
def probabilities(lm: CausalLM, instruction: str, temperature: float) -> list[float]:
    """The slow twin: how likely each intention is among all of them, token by token."""
    prompt, log_probs = lm.instruct(instruction), []
    for answer in lm.tokens(INTENTIONS):
        logits = lm.model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 :].double() / temperature
        every = torch.log_softmax(logits, dim=-1)
        log_probs.append(sum(float(every[at, token]) for at, token in enumerate([*answer, lm.end_id])))
    total = np.logaddexp.reduce(log_probs)
    return [log_prob - total for log_prob in log_probs]


def test_decoding_finds_the_vocabulary_and_its_probabilities(make_lm):
    lm, told = make_lm(), Told()
    trie = Trie.build(lm.tokens(INTENTIONS))
    found = decode_all(lm, INSTRUCTIONS[:3], trie, 5, SETTINGS, "Answering", told)
    assert told.stages == [("Answering", 2, 3), ("Answering", 3, 3)]
    for instruction, decoded in zip(INSTRUCTIONS, found, strict=False):
        expected = probabilities(lm, instruction, SETTINGS.beams.temperature)
        assert sorted(decoded.intention_ids) == list(range(5))
        assert decoded.log_probs == pytest.approx([expected[i] for i in decoded.intention_ids], abs=1e-4)
        assert np.exp(decoded.log_probs).sum() == pytest.approx(1.0)
    narrow = decode_all(lm, INSTRUCTIONS[:3], trie, 2, SETTINGS, "Answering", Told())
    for decoded in narrow:
        assert len(decoded.intention_ids) <= 2
        assert np.exp(decoded.log_probs).sum() == pytest.approx(1.0)
    assert decode_all(lm, [], trie, 2, SETTINGS, "Answering", Told()) == []


READER = QueryReader(Analyzer())


def test_head_queries_are_answered_into_a_cache(make_lm, tmp_path):
    lm, intentions, path = make_lm(), index_of(), tmp_path / CACHE_FILE
    settings = replace(SETTINGS, max_cached_queries=3)
    queries = ["Red  Pan", "red pan", "水壶", "lamp", "the fourth"]  # two are the same
    assert fill_query_cache(TeacherLabels(lm=lm), intentions, map(READER.read, queries), path, settings, Told()) == 3
    cache = QueryCache(path, intentions.version)
    assert len(cache) == 3
    for query in ("ＲＥＤ pan", "水壶", "lamp"):
        found = cache.lookup(READER.read(query).key)
        (expected,) = decode_all(
            lm, [f"Query: {query.replace('ＲＥＤ', 'red')}\nIntention:"], Trie.build(lm.tokens(INTENTIONS)), 5,
            settings, "Answering", Told(),
        )  # fmt: skip
        assert found.intention_ids.tolist() == expected.intention_ids.tolist()
        assert found.log_probs == pytest.approx(expected.log_probs, abs=1e-4)
    assert cache.lookup("the fourth") is None


def test_no_cache_without_a_teacher_or_queries(make_lm, tmp_path):
    path, settings = tmp_path / CACHE_FILE, replace(SETTINGS, max_cached_queries=0)
    assert fill_query_cache(TeacherLabels(), index_of(), [READER.read("pan")], path, SETTINGS, Told()) == 0
    assert fill_query_cache(TeacherLabels(lm=make_lm()), index_of(), [READER.read("pan")], path, settings, Told()) == 0
    assert not path.exists()
    assert fill_query_cache(TeacherLabels(lm=make_lm()), index_of(), [], path, SETTINGS, Told()) == 0


def test_no_lessons_without_a_model(data, tmp_path):
    told = Told()
    labels = label_with_teacher(data, ONCE, TeacherSettings(), tmp_path / "work", told)
    assert (list(labels.ads), list(labels.queries), labels.lm) == ([], [], None)
    assert not told.stages
    assert not (tmp_path / "work").exists()


def test_lessons_are_of_the_ads_nobody_clicks_and_the_queries_everybody_asks(make_lm, data, tmp_path):
    make_lm(std=0.05).save(tmp_path / "lm")
    model = LanguageModelSettings(str(tmp_path / "lm"), "fp32", system="Be brief.")
    few = replace(SETTINGS, model=model, max_ads=3, max_queries=1)
    labels = label_with_teacher(
        replace(data, clicks=CLICKS[[0, 1, 2, 2]]), np.ones(4, dtype=np.int64), few, tmp_path / "work", Told()
    )
    assert labels.lm.system == "Be brief."
    assert [bool(said) for said in labels.ads] == [True, True, False, True]  # ad 2 was clicked most
    assert [bool(said) for said in labels.queries] == [True, False, False]  # the first of two asked equally often
    told = Told()
    again = label_with_teacher(
        replace(data, clicks=CLICKS[[0, 1, 2, 2]]), np.ones(4, dtype=np.int64), few, tmp_path / "work", told
    )
    assert {stage for stage, *_ in told.stages} == {"Loading the language model"}  # all else lies there
    assert (again.ads, again.queries) == (labels.ads, labels.queries)
    assert_identical(again.lm, labels.lm)

    every = label_with_teacher(data, ONCE, replace(SETTINGS, model=model), tmp_path / "all", Told())
    assert all(every.ads)
    assert (len(every.ads), len(every.queries)) == (4, 3)
    none = label_with_teacher(data, ONCE, replace(few, max_ads=0, max_queries=0), tmp_path / "none", Told())
    assert (list(none.ads), list(none.queries)) == ([[]] * 4, [[]] * 3)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"max_ads": -1}, "'max_ads' is -1"),
        ({"max_queries": 1.5}, "'max_queries' is 1.5; it takes a whole number"),
        ({"cache_beams": 0}, "'cache_beams' is 0"),
        ({"batch_size": 0}, "'batch_size' is 0"),
        ({"max_cached_queries": -1}, "'max_cached_queries' is -1"),
    ],
)
def test_wrong_settings(wrong, problem):
    with pytest.raises(SettingsError, match=problem):
        TeacherSettings(**wrong)
