"""Language models that nobody trained: held to the vocabulary, or heard and looked up."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from intently.intentions.trie import Trie
from intently.lab.baselines.zero_shot import ZeroShotSettings, ask, listed
from intently.models.causal_lm import CausalLM
from tests.lab.baselines.conftest import assert_well_formed, first_ads, quiet


@pytest.fixture(scope="module")
def language_model(task) -> CausalLM:
    """Return a random model of the world's words; the word "；" is its only punctuation."""
    prompts = "What does this user want to buy ? End with “ Intentions : a ; b ” or none . Query"
    words = dict.fromkeys(["[END]", "[UNK]", *prompts.split(), *" ".join(task.titles).split()])
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="[END]", unk_token="[UNK]")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=0,
    )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return CausalLM.of(model, tokenizer)


def test_held_to_the_vocabulary(task, budget, language_model):
    wide = replace(budget, num_beams=len(task.vocabulary), num_ads=1000)
    answers = ask(task, wide, language_model, quiet, ZeroShotSettings(batch_size=7))
    assert_well_formed(answers, task, wide)
    assert answers.num_identifiers == [len(task.vocabulary)] * len(task.test_queries)
    assert all(sorted(ads) == sorted(task.ad_ids) for ads, _ in answers.rankings)
    # The batch does not matter, nor the order of the queries.
    few = replace(task, test_queries=task.test_queries[5:8][::-1])
    alone = ask(few, wide, language_model, quiet, ZeroShotSettings(batch_size=1))
    for (ads, scores), (other, others) in zip(alone.rankings, answers.rankings[5:8][::-1], strict=True):
        np.testing.assert_allclose(scores, others, rtol=1e-3)
        assert ads[0] == other[0]


def test_what_is_written_freely_is_looked_up(task, budget, language_model, monkeypatch):
    written = {"robot red": " red robot; lamps and more; Robots; red robots.\nblue drill", "lamp blue": "none"}
    few = replace(task, test_queries=("lamp blue", "robot red"))
    asked = []

    class Model:
        device = torch.device("cpu")

        def generate(self, input_ids, attention_mask, **_):
            asked.append(attention_mask.sum(dim=1).tolist())
            return torch.cat((input_ids, torch.tensor([[1], [2]])), dim=1)

    class Tokens:
        chat_template = None

        def __call__(self, *given, **named):
            return language_model.tokenizer(*given, **named)

        def decode(self, ids, skip_special_tokens):
            return list(written.values())[ids[0] - 1]

    model = replace(language_model, model=Model(), tokenizer=Tokens())
    answers = ask(few, budget, model, quiet, ZeroShotSettings(constrained=False))
    # Both queries are as long, so they stay in order: the first query gets the first of what is written.
    assert len(asked) == 1
    assert answers.num_identifiers == [2, 0]  # "red robot" and "robot"; equal stems count once
    assert first_ads(answers) == ["ad0", ""]


def test_free_writing_runs(task, budget, language_model):
    few = replace(task, test_queries=task.test_queries[:5])
    answers = ask(few, budget, language_model, quiet, ZeroShotSettings(constrained=False, max_new_tokens=6))
    assert_well_formed(answers, few, budget)


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        (" a; b c ；d\n e", ["a", "b c", "d"]),
        ("\n\nx, y、z.", ["x", "y", "z"]),
        ("", []),
        (" ; ", []),
    ],
)
def test_listed(text, phrases):
    assert listed(text) == phrases


def test_tries_of_the_model_hold_every_intention(task, language_model):
    assert Trie.build(language_model.tokens([f" {text}" for text in task.vocabulary.texts])).num_intentions == 53
