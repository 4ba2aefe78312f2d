"""Late interaction: the fast scores are those of the definition, in training and in the search."""

import numpy as np
import pytest
import torch

from intently.errors import SettingsError
from intently.lab.baselines import colbert as module
from intently.lab.baselines.colbert import Colbert, ColbertSettings, TokenIndex, max_sim
from intently.lab.baselines.tower import load_tower
from tests.lab.baselines.conftest import quiet

pytestmark = pytest.mark.usefixtures("full_precision")


def slow_score(query, ad):
    """Return the definition, of token embeddings (S, P) and (T, P)."""
    return np.mean([max(float(token @ other) for other in ad) for token in query])


@pytest.fixture
def model(bilingual, budget):
    return Colbert(load_tower(bilingual, budget), 8, seed=0).eval()


def tokens_of(model, text, max_tokens):
    with torch.inference_mode():
        return model(*model.tower.tokenizer.encode([text], max_tokens))[0][0]


def test_max_sim_is_the_definition(bilingual, model):
    texts, others = ("red", "drill blue for home", "红色水壶"), bilingual.ad_texts[::7]
    with torch.inference_mode():
        queries, ads = (model(*model.tower.tokenizer.encode(each, 48)) for each in (texts, others))
        scores = max_sim(*queries, *ads)
    expected = [[slow_score(tokens_of(model, a, 48), tokens_of(model, b, 48)) for b in others] for a in texts]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize("block", [1, 25, 2**16])
def test_the_index_compares_all_tokens_of_all_ads(bilingual, model, block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    # Ads of many lengths, the longest cut.
    texts = (*bilingual.ad_texts, "lamp", "large " * 60)
    index = TokenIndex(model, texts, 20, quiet)
    queries = ("kettle grey", "want a small red robot vacuum", "黑色电钻")
    ids, lengths = model.tower.tokenizer.encode(queries, 32)
    with torch.inference_mode():
        tokens, visible = model(ids, lengths)
    scores = index.scores(tokens[visible], lengths)
    assert scores.shape == (3, len(texts))
    for row, query in enumerate(queries):
        expected = [slow_score(tokens_of(model, query, 32), tokens_of(model, ad, 20)) for ad in texts]
        np.testing.assert_allclose(scores[row], expected, atol=1e-5)


def test_the_projection_nearly_keeps_cosines_at_first(bilingual, budget):
    whole = Colbert(load_tower(bilingual, budget), 32, seed=1)  # as many dimensions as before: a rotation
    with torch.inference_mode():
        states, visible = whole.tower.read(*whole.tower.tokenizer.encode(bilingual.ad_texts[:4], 48))
        plain = torch.nn.functional.normalize(states[visible], dim=1)
        turned = whole(*whole.tower.tokenizer.encode(bilingual.ad_texts[:4], 48))[0][visible]
    torch.testing.assert_close(turned @ turned.T, plain @ plain.T, atol=1e-5, rtol=0)


def test_a_dimension_is_a_whole_number():
    with pytest.raises(SettingsError, match="'dimension' is 0"):
        ColbertSettings(0)
