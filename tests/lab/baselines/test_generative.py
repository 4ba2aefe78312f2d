"""Baselines that say identifiers: what they say exists, what they memorise they find, interruptions leave no trace."""

from dataclasses import replace

import numpy as np
import pytest

from intently.lab.baselines import dsi as dsi_module
from intently.lab.baselines.codes import code_tokens
from intently.lab.baselines.dsi import DsiSettings, dsi
from intently.lab.baselines.generative import as_lists
from intently.lab.baselines.ltrgr import LtrgrSettings, ltrgr
from intently.lab.baselines.minder import MinderSettings, minder, views
from intently.lab.baselines.seal import SealSettings, seal, substring_identifiers
from intently.lab.baselines.simbert import simbert, similar_texts
from intently.lab.baselines.tiger import TigerSettings, tiger
from tests.lab.baselines.conftest import Interruption, assert_well_formed, first_ads, quiet, stops_at

SEAL = SealSettings(max_tokens=3)
METHODS = {
    "dsi": lambda *given: dsi(*given, DsiSettings(branching=6)),
    "tiger": lambda *given: tiger(*given, TigerSettings(num_levels=2, num_codes=8)),
    "seal": lambda *given: seal(*given, SEAL),
    "ltrgr": lambda *given: ltrgr(*given, LtrgrSettings(num_steps=6, num_queries=8, learning_rate=1e-3, seal=SEAL)),
    "minder": lambda *given: minder(*given, MinderSettings(substrings=SEAL)),
    "simbert": simbert,
}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")  # shared, as LTRGR takes over what SEAL trained


@pytest.mark.parametrize("name", METHODS)
def test_what_is_memorised_is_found(name, task, budget, work):
    stages = set()
    answers = METHODS[name](task, budget, work, lambda stage, *_: stages.add(stage))
    assert ("Training" in stages) == (name != "ltrgr")
    assert ("Ranking" in stages) == (name == "ltrgr")
    assert_well_formed(answers, task, budget)
    found = np.mean([ad == own for ad, own in zip(first_ads(answers), task.ad_ids, strict=True)])
    assert found >= 0.9
    assert (answers.num_identifiers is None) == (name == "simbert")
    # Again, from what was kept: nothing is trained.
    stages.clear()
    again = METHODS[name](task, budget, work, lambda stage, *_: stages.add(stage))
    assert not stages & {"Training", "Ranking"}
    assert first_ads(again) == first_ads(answers)


@pytest.mark.parametrize("name", ["dsi", "minder", "ltrgr"])
def test_resumed_is_the_run_that_was_not_interrupted(name, task, budget, tmp_path):
    budget = replace(budget, num_steps=9, checkpoint_steps=4)
    whole = METHODS[name](task, budget, tmp_path / "whole", quiet)
    for stage, step in (("Training", 6), ("Ranking", 5), ("Answering", 16)):
        if stage != "Ranking" or name == "ltrgr":
            with pytest.raises(Interruption):
                METHODS[name](task, budget, tmp_path / "resumed", stops_at(stage, step))
    resumed = METHODS[name](task, budget, tmp_path / "resumed", quiet)
    assert resumed.num_identifiers == whole.num_identifiers
    for (ads, scores), (other_ads, other_scores) in zip(resumed.rankings, whole.rankings, strict=True):
        assert ads == other_ads
        np.testing.assert_allclose(scores, other_scores, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["dsi", "tiger"])
def test_every_ad_can_be_reached(name, task, budget, tmp_path):
    few = replace(task, test_queries=task.test_queries[:2])
    wide = replace(budget, num_steps=1, num_beams=len(task.ad_ids), num_ads=1000)
    answers = METHODS[name](few, wide, tmp_path, quiet)
    for ads, _ in answers.rankings:
        assert sorted(ads) == sorted(task.ad_ids)
    assert answers.num_identifiers == [len(task.ad_ids)] * 2


def test_codes_are_tokens_that_no_text_contains(task, tokenizer):
    tokens = set(code_tokens(tokenizer).tolist())
    assert len(tokens) == 120
    texts = [*task.ad_texts, *task.queries, "[unused1] [unused2]"]
    assert not tokens & {token for ids in tokenizer.encode_bare(texts) for token in ids}


def test_another_budget_trains_anew(task, budget, tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(dsi_module, "answer", lambda *_: None)
    for num_steps, num_beams in ((2, 5), (3, 5), (3, 6), (2, 5)):
        chosen = replace(budget, num_steps=num_steps, num_beams=num_beams)
        steps: list[int] = []
        METHODS["dsi"](
            task,
            chosen,
            tmp_path,
            lambda stage, done, *_, steps=steps: steps.append(done) if stage == "Training" else None,
        )
        trained.append(steps)
    assert trained == [[1, 2], [1, 2, 3], [], []]


def test_learning_to_rank_wins_contests(task, budget, tmp_path):
    lost = {}
    for weight in (0.0, 1.0):
        notes = []
        chosen = LtrgrSettings(
            num_steps=50, num_queries=24, learning_rate=3e-4, margin=0.5, ranking_weight=weight, seal=SEAL
        )

        def progress(stage, done, total, note, notes=notes):
            if stage == "Ranking":
                notes.append(int(note.split()[0]))

        ltrgr(task, replace(budget, num_steps=60), tmp_path, progress, chosen)
        lost[weight] = np.mean(notes[-10:])
    assert lost[1.0] < 0.75 * lost[0.0]


def test_queries_say_what_their_clicked_ads_contain(task, tokenizer):
    identifiers, found = substring_identifiers(task, tokenizer, SEAL)
    titles = tokenizer.encode_bare(task.titles)
    names = as_lists(found.sequences)
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(len(task.queries)), 30)
    said = [names[i] for i in identifiers.query_choices.sample(rows, rng)]
    for row, name in zip(rows.tolist(), said, strict=True):
        text = titles[row]
        assert any(text[start : start + len(name)] == name for start in range(len(text)))
    asked = tokenizer.encode_bare(task.queries)
    # Drawn by likeness: colour and thing together are a fifteenth of a title's substrings, and said most of the time.
    assert np.mean([set(name) == set(asked[row]) for row, name in zip(rows.tolist(), said, strict=True)]) > 0.5


def test_minders_views(task, tokenizer):
    some = replace(task, clicks=task.clicks[:10])
    titles, queries, _ = views(some, tokenizer, MinderSettings(title_tokens=2, num_phrases=1, substrings=SEAL))
    assert titles.sequences.shape[1] == 2
    assert titles.counts.sum() == len(titles.pairs) == len(task.titles)
    names = [tuple(name) for name in as_lists(queries.sequences)]
    by_ad: dict[int, list[tuple[int, ...]]] = {}
    for i, ad in queries.pairs.tolist():
        by_ad.setdefault(ad, []).append(names[i])
    asked = tokenizer.encode_bare(task.queries)
    phrases = [tuple(tokens) for tokens in tokenizer.encode_bare(task.vocabulary.texts)]
    for ad in range(len(task.ad_ids)):
        if ad < 10:
            assert by_ad[ad] == [tuple(asked[ad])]
        else:  # the rarest phrase that other ads have too: of five colours' ads and eight things', the colour
            assert by_ad[ad] == [
                tokens for tokens in phrases[:8] if tokens[0] in tokenizer.encode_bare(task.titles)[ad]
            ]


def test_simbert_does_not_learn_to_copy(task, tokenizer):
    clicks = np.array([[0, 0], [1, 0], [1, 1]])
    two = replace(task, queries=("red robot", "robot"), clicks=clicks, irrelevant=clicks[:0])
    identifiers = similar_texts(two, tokenizer)
    rng = np.random.default_rng(0)
    for row, expected in enumerate([{"robot", task.titles[0]}, {"red robot", task.titles[0], task.titles[1]}]):
        said = identifiers.query_choices.sample(np.full(100, row), rng)
        assert {identifiers.texts[i] for i in said} == expected
