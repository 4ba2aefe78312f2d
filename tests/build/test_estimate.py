"""How long a build says that it will take, told by a clock that goes on by one second whenever it is looked at."""

import itertools
import logging
from dataclasses import replace

import numpy as np
import pytest

from intently.build.estimate import (
    _GUIDED,
    _NUM_ADS,
    _NUM_READ,
    Amounts,
    Estimate,
    _sample,
    estimate_build,
)
from intently.build.interactions import match_interactions
from intently.build.settings import BackboneKind, BuildSettings
from intently.build.teacher import TeacherSettings
from intently.build.training.student import count_steps
from intently.catalog import Catalog, read_ads, read_judgements
from intently.index.lexical import LexicalSettings
from intently.models.causal_lm import LanguageModelSettings


def ticking():
    """Return a clock by which everything takes a second."""
    return map(float, itertools.count()).__next__


@pytest.fixture(scope="module")
def given(world):
    catalog = read_ads(world.ads).catalog
    return catalog, match_interactions(catalog, read_judgements(world.clicks), None)


def told(given, settings: BuildSettings, amounts: Amounts) -> Estimate:
    return estimate_build(*given, amounts, settings, ticking())


MANY = Amounts(num_ads=48_000, num_distinct=47_000, num_clicks=100_000, num_aside=500)


def test_without_a_model_all_grows_with_the_ads(given):
    estimate = told(given, replace(BuildSettings.preset("lexical"), lexical=LexicalSettings()), MANY)
    num_sampled = min(given[0].num_ads, _NUM_ADS)
    assert dict(estimate.seconds) == {
        "finding intentions, cleaning pages and indexing": pytest.approx(48_000 / num_sampled)
    }
    assert str(estimate) == "about 22 min: finding intentions, cleaning pages and indexing 22 min"


def test_a_student_that_only_reads(given, chosen):
    plain = replace(chosen, bridge=BuildSettings().bridge, postings=replace(chosen.postings, num_beams=0))
    untrained = replace(plain, training=replace(plain.training, min_steps=0, max_steps=0))
    estimate = told(given, untrained, replace(MANY, num_aside=0))
    names = list(estimate.seconds)
    (reading,) = [name for name in names if name.startswith("reading")]
    num_intentions = int(reading.split()[-2].replace(",", ""))
    assert reading == f"reading 47,000 ads and {num_intentions:,} intentions"
    assert 0 < num_intentions <= untrained.vocabulary.max_intentions
    num_read = min(given[0].num_ads, _NUM_READ)
    assert estimate.seconds[reading] == pytest.approx(47_000 / num_read + num_intentions / _NUM_READ, rel=0.5)
    assert names == ["finding intentions, cleaning pages and indexing", reading]


def test_training_counts_its_steps_and_what_is_there_is_not_counted_again(given, chosen):
    estimate = told(given, chosen, MANY)
    # A step takes a second, however many pairs it learns from: none of them adds anything.
    num_steps, every = count_steps(100_000, chosen.training), chosen.training.checkpoint_steps
    unguided = told(given, replace(chosen, training=replace(chosen.training, guided=False)), MANY)
    assert unguided.seconds["training"] == pytest.approx(num_steps)
    # The prior embeds all intentions at the beginning and after each checkpoint.
    (reading,) = [name for name in estimate.seconds if name.startswith("reading")]
    num_intentions = int(reading.split()[-2].replace(",", ""))
    embedding = estimate.seconds["training"] - num_steps
    assert embedding == pytest.approx(-(-num_steps // every) * num_intentions / _NUM_READ, rel=0.5)
    assert estimate.seconds["training the encoder"] == pytest.approx(chosen.bridge.training.num_steps)
    assert estimate.seconds["learning from held-out queries"] > 0
    assert estimate.total == pytest.approx(sum(estimate.seconds.values()))
    resumed = told(given, chosen, replace(MANY, is_trained=True, has_encoder=True))
    assert {"training", "training the encoder"}.isdisjoint(resumed.seconds)
    assert "embedding the ads" in resumed.seconds
    no_clicks = told(given, chosen, replace(MANY, num_clicks=0, num_aside=0, has_encoder=True))
    assert {"training", "learning from held-out queries"}.isdisjoint(no_clicks.seconds)
    fewer = told(given, chosen, replace(MANY, num_aside=_GUIDED))
    assert fewer.seconds["learning from held-out queries"] < estimate.seconds["learning from held-out queries"]


def test_what_cannot_be_known_is_named(given, chosen):
    model = LanguageModelSettings(name="somewhere")
    bridge = replace(chosen.bridge, kind=BackboneKind.HUGGING_FACE)
    settings = replace(chosen, teacher=TeacherSettings(model=model), ocr_model=model, bridge=bridge)
    assert told(given, settings, MANY).unknown == ("the teacher", "the repair of landing pages", "the encoder")


@pytest.mark.parametrize(
    ("seconds", "unknown", "sentence"),
    [
        ({"mining": 0.2}, (), "about 1 s"),
        ({"mining": 0.2, "training": 20.4}, (), "about 21 s"),
        ({"mining": 8.0, "reading 3,000 ads": 20.0}, (), "about 28 s: mining 8 s, reading 3,000 ads 20 s"),
        ({"mining": 2.0, "training": 118.0, "reading": 61.0}, (), "about 3 min: training 2 min, reading 1 min"),
        ({"mining": 1.0, "training": 9_000.0}, (), "about 2 h 30 min: training 2 h 30 min"),
        ({"mining": 3.0}, ("the teacher",), "about 3 s; the teacher comes on top"),
        ({}, ("the teacher", "the encoder"), "about 1 s; the teacher comes on top; the encoder comes on top"),
    ],
)
def test_the_sentence(seconds, unknown, sentence):
    assert str(Estimate(seconds, unknown)) == sentence


def test_a_sample_keeps_the_clicks_of_its_ads(given):
    catalog, interactions = given
    part, learnt = _sample(catalog, interactions, most=7)
    assert isinstance(part, Catalog)
    assert part.num_ads <= 7
    wanted = {
        (interactions.queries[query], catalog.strings("ad_id")[ad])
        for query, ad in interactions.clicks.tolist()
        if catalog.strings("ad_id")[ad] in set(part.strings("ad_id"))
    }
    assert {(learnt.queries[query], part.strings("ad_id")[ad]) for query, ad in learnt.clicks.tolist()} == wanted
    assert wanted
    assert len(learnt.counts) == len(learnt.clicks)
    whole, all_of_it = _sample(catalog, interactions, most=10_000)
    assert whole.num_ads == catalog.num_ads
    np.testing.assert_array_equal(all_of_it.clicks, interactions.clicks)


def test_few_ads_are_not_estimated(chosen):
    few, many = replace(MANY, num_ads=999), replace(MANY, num_ads=1_000)
    instant = BuildSettings.preset("instant")
    assert few.are_few(instant) and not many.are_few(instant)
    assert not few.are_few(BuildSettings.preset("default"))
    assert replace(few, is_trained=True).are_few(BuildSettings.preset("default"))
    assert not few.are_few(replace(instant, bridge=chosen.bridge))
    taught = replace(instant, teacher=TeacherSettings(LanguageModelSettings("a teacher")))
    assert not few.are_few(taught)


def test_a_build_says_it_before_it_starts(build, chosen, tmp_path, caplog, monkeypatch):
    build(tmp_path / "few", BuildSettings.preset("lexical"), lambda stage, *_: stage != "Estimating" or pytest.fail())
    monkeypatch.setattr("intently.build.estimate._FEW", 10)
    calls = []
    with caplog.at_level(logging.INFO, logger="intently.build.pipeline"):
        build(tmp_path / "engine", BuildSettings.preset("lexical"), lambda *call: calls.append(call))
    stages = list(dict.fromkeys(stage for stage, *_ in calls))
    assert stages[stages.index("Estimating") + 1] == "Finding intentions"
    (sentence,) = [note for stage, done, _, note in calls if stage == "Estimating" and done]
    assert sentence.startswith("about ")
    assert f"the build takes {sentence}" in caplog.text
