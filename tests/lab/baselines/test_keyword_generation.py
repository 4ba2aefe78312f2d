"""Keywords written freely: learnt by heart they come back, and what is no keyword leads nowhere."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from intently.intentions.vocabulary import Vocabulary
from intently.lab.baselines.encoder_decoder import build, generate, read
from intently.lab.baselines.keyword_generation import keyword_generation
from intently.lab.baselines.phrases import phrase_postings
from intently.models.pretrained import open_checkpoint
from tests.lab.baselines.conftest import Interruption, assert_well_formed, first_ads, quiet, stops_at


def test_what_is_memorised_is_found(task, budget, tmp_path):
    # Keywords that are one ad's each, so that a written one says which ad is meant.
    own = task.vocabulary
    kept = own.ad_pairs[own.ad_pairs[:, 0] >= 13] - np.array([13, 0])
    narrow = Vocabulary(own.texts[13:], kept, own.query_pairs - np.array([13, 0]))
    answers = keyword_generation(replace(task, vocabulary=narrow), replace(budget, num_beams=4), tmp_path, quiet)
    assert_well_formed(answers, task, budget)
    found = np.mean([ad == mine for ad, mine in zip(first_ads(answers), task.ad_ids, strict=True)])
    assert found >= 0.9
    assert np.mean(answers.num_identifiers) < 4  # nothing holds it to what exists


def test_resumed_is_the_run_that_was_not_interrupted(task, budget, tmp_path):
    budget = replace(budget, num_steps=7, num_beams=3, checkpoint_steps=3)
    few = replace(task, test_queries=task.test_queries[:6])
    whole = keyword_generation(few, budget, tmp_path / "whole", quiet)
    with pytest.raises(Interruption):
        keyword_generation(few, budget, tmp_path / "resumed", stops_at("Training", 5))
    steps = []
    resumed = keyword_generation(
        few, budget, tmp_path / "resumed", lambda stage, done, *_: steps.append(done) if stage == "Training" else None
    )
    assert steps == [4, 5, 6, 7]
    assert resumed.num_identifiers == whole.num_identifiers
    for (ads, scores), (other_ads, other_scores) in zip(resumed.rankings, whole.rankings, strict=True):
        assert ads == other_ads
        np.testing.assert_allclose(scores, other_scores, rtol=1e-4)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_log_probabilities_are_those_of_what_was_written(task, tokenizer, budget, num_beams):
    model = build(budget, open_checkpoint(budget.checkpoint)).eval()
    with torch.no_grad():  # towards the end token, so that something is finished
        model.decoder.cls.predictions.decoder.bias[tokenizer.sep_id] += 15.0
    texts = list(task.queries[:5])
    written = generate(model, tokenizer, texts, num_beams, budget)
    assert sum(map(len, written)) >= 1
    for text, found in zip(texts, written, strict=True):
        assert len(found) <= num_beams
        ids, visible = read(tokenizer, [text], 32, torch.device("cpu"))
        for tokens, log_prob in found:
            said = torch.tensor([[tokenizer.cls_id, *tokens]])
            with torch.inference_mode():
                logits = model(input_ids=ids, attention_mask=visible, decoder_input_ids=said).logits[0].double()
            every = torch.log_softmax(logits, dim=1)
            expected = sum(float(every[at, token]) for at, token in enumerate([*tokens, tokenizer.sep_id]))
            assert math.isclose(log_prob, expected, abs_tol=1e-3)


def test_both_stacks_start_from_the_checkpoint(tokenizer, budget):
    model = build(budget, open_checkpoint(budget.checkpoint))
    for name, weights in model.encoder.state_dict().items():
        if "pooler" not in name and "position_ids" not in name:
            torch.testing.assert_close(model.decoder.bert.state_dict()[name], weights, msg=name)
    assert model.decoder.cls.predictions.decoder.weight is model.decoder.bert.embeddings.word_embeddings.weight
    again = build(budget, open_checkpoint(budget.checkpoint))
    for one, other in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)


def test_rare_phrases_weigh_more():
    vocabulary = Vocabulary(("a", "b"), np.array([[0, 0], [0, 1], [0, 2], [1, 2]]), np.empty((0, 2), dtype=np.int64))
    postings = phrase_postings(vocabulary, 4)
    assert postings.of(1)[1][0] > postings.of(0)[1][0] > 0
    assert postings.of(0)[0].tolist() == [0, 1, 2]
