"""The whole augmentation: with a model, a tuned one, an endpoint, and none; interrupted and gone on with."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("peft")

from intently.build.augmentation.augment import AugmentSettings, allotment, augment, augment_catalog
from intently.build.augmentation.augmentation import Augmentation
from intently.build.augmentation.keyword_model import KeywordModelSettings
from intently.build.augmentation.queries import QuerySettings, tuned_prompt
from intently.build.augmentation.tuning import query_examples
from intently.build.knowledge.endpoint import EndpointSettings
from intently.build.training.fusion import held_out
from intently.build.training.language_model import FineTuningSettings
from intently.catalog import Catalog, read_ads
from intently.errors import InputError, SettingsError
from intently.models.causal_lm import LanguageModelSettings
from intently.settings import from_mapping
from intently.text.analyze import Analyzer
from tests.build.augmentation.conftest import ADS, CLICKS, QUERIES
from tests.build.knowledge.test_endpoint import said, serving
from tests.conftest import Interruption, Told

# PEFT 0.21 asks transformers 5.23 a question under its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

TUNING = FineTuningSettings(rank=4, batch_size=2, max_steps=3, held_out_share=0.0, eval_steps=1)


@pytest.fixture
def files(tmp_path):
    """Return files of ads and clicks."""
    ads, clicks = tmp_path / "ads.jsonl", tmp_path / "clicks.tsv"
    rows = [
        {"ad_id": ad.ad_id, "title": ad.title, "description": ad.description, "keywords": list(ad.keywords)}
        for ad in ADS
    ]
    ads.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    lines = [f"{QUERIES[query]}\t{ADS[ad].ad_id}\t{count}\n" for count, (query, ad) in enumerate(CLICKS.tolist(), 1)]
    clicks.write_text("query\tad_id\tclicks\n" + "".join(lines), encoding="utf-8")
    return ads, clicks


@pytest.fixture
def settings(make_lm, tmp_path) -> AugmentSettings:
    make_lm(std=0.3).save(tmp_path / "lm")
    model = LanguageModelSettings(str(tmp_path / "lm"), "fp32")
    chosen = QuerySettings(model, budget=9, max_per_ad=3, max_new_tokens=8, top_k=0, batch_size=2, tuning=TUNING)
    return AugmentSettings(queries=chosen)


def without_time(report) -> dict:
    return {
        name: replace(value, seconds=0.0) if hasattr(value, "seconds") else value
        for name, value in vars(report).items()
        if name != "path"
    }


def test_from_files_to_a_file_and_a_report(files, settings, tmp_path):
    out, told = tmp_path / "augmentation.jsonl", Told()
    report = augment_catalog(files[0], out, settings, clicks=files[1], progress=told)
    assert (report.num_ads, report.num_allotted, report.num_written) == (5, 9, 9)
    assert report.num_written == report.num_queries + report.num_duplicates + sum(report.refused.values())
    assert report.query_model.num_ads == report.num_allotted_ads
    assert report.query_model.tokens_out >= 9
    assert report.query_tuning is None
    assert report.keyword_model.model == "statistical"
    assert report.num_keyword_positives > 0
    assert (report.held_out_share, report.seed) == (0.1, 0)
    assert told.steps("Writing queries")[-1] == report.num_allotted_ads
    found = Augmentation.load(out, read_ads(files[0]).catalog)
    assert sum(map(len, found.queries)) == report.num_queries
    assert sum(map(len, found.keywords)) == report.num_keywords
    assert found.keywords[0][0] == "electric kettle"
    assert found.keywords[2][0] == "电热水壶"
    kept = json.loads((tmp_path / "augmentation.report.json").read_text(encoding="utf-8"))
    assert (kept["path"], kept["refused"], kept["num_allotted"]) == ("augmentation.jsonl", report.refused, 9)
    assert kept["query_model"]["tokens_in"] == report.query_model.tokens_in


def test_queries_held_out_are_not_looked_at(files, tmp_path):
    """Of four queries half are held out: as if the click log did not have them."""
    seed = next(seed for seed in range(100) if held_out(QUERIES, 0.5, seed).tolist() == [False, True, False, True])
    chosen = AugmentSettings(held_out_share=0.5, seed=seed)
    rest = tmp_path / "rest.tsv"
    lines = files[1].read_text(encoding="utf-8").splitlines(keepends=True)
    rest.write_text("".join(line for line in lines if not line.startswith(QUERIES[1::2])), encoding="utf-8")
    out = [tmp_path / "one.jsonl", tmp_path / "other.jsonl"]
    report = augment_catalog(files[0], out[0], chosen, clicks=files[1])
    other = augment_catalog(files[0], out[1], replace(chosen, held_out_share=0.0), clicks=rest)
    assert out[0].read_bytes() == out[1].read_bytes()
    assert (report.held_out_share, report.seed, other.held_out_share) == (0.5, seed, 0.0)
    kept = json.loads((tmp_path / "one.report.json").read_text(encoding="utf-8"))
    assert (kept["held_out_share"], kept["seed"]) == (0.5, seed)


def test_the_same_seed_is_the_same_augmentation(files, settings, tmp_path):
    outs = [tmp_path / "one.jsonl", tmp_path / "other.jsonl"]
    reports = [augment_catalog(files[0], out, settings, clicks=files[1]) for out in outs]
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert without_time(reports[0]) == without_time(reports[1])


def test_other_rules_write_nothing_anew(files, settings, tmp_path):
    out = tmp_path / "a.jsonl"
    first = augment_catalog(files[0], out, settings)
    told = Told()
    strict = replace(settings, queries=replace(settings.queries, max_words=1, round_trip=1))
    second = augment_catalog(files[0], out, strict, progress=told)
    assert told.steps("Writing queries") == []
    assert second.query_model == first.query_model
    assert second.num_queries <= first.num_queries


def test_an_interrupted_augmentation_goes_on(files, settings, tmp_path):
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    augment_catalog(files[0], whole, settings, clicks=files[1])
    with pytest.raises(Interruption):
        augment_catalog(files[0], out, settings, clicks=files[1], progress=Told("Writing queries", 2))
    assert not out.exists()
    told = Told()
    augment_catalog(files[0], out, settings, clicks=files[1], progress=told)
    assert told.steps("Writing queries")[0] > 2
    assert out.read_bytes() == whole.read_bytes()


def test_a_model_is_tuned_once(files, settings, tmp_path):
    out, tuned = tmp_path / "a.jsonl", replace(settings, queries=replace(settings.queries, tune=True))
    with pytest.raises(Interruption):
        augment_catalog(files[0], out, tuned, clicks=files[1], progress=Told("Tuning the language model", 2))
    told = Told()
    report = augment_catalog(files[0], out, tuned, clicks=files[1], progress=told)
    assert told.steps("Tuning the language model") == [3]
    assert (report.query_tuning.num_examples, report.query_tuning.num_steps) == (5, 3)
    assert not list((tmp_path / "a.jsonl.work").glob("*.pt"))
    told = Told()
    assert augment_catalog(files[0], out, tuned, clicks=files[1], progress=told).query_tuning == report.query_tuning
    assert told.steps("Tuning the language model") == []
    with pytest.raises(InputError, match="nothing to tune the language model on"):
        augment_catalog(files[0], tmp_path / "b.jsonl", tuned)


def test_it_is_tuned_on_the_queries_that_led_to_ads(make_lm, make_data):
    lm, data = make_lm(), make_data()
    found = query_examples(lm, data, tuned_prompt, TUNING, max_text_tokens=40)
    assert len(found) == 5
    answers = {lm.tokenizer.decode(example.prompt): example.answers for example in found}
    for row, text in enumerate(lm.shortened(data.texts, 40)):
        (answer,) = answers[lm.tokenizer.decode(tuned_prompt(text).tokens(lm))]
        assert lm.tokenizer.decode(answer).strip() == data.queries[CLICKS[CLICKS[:, 1] == row][0, 0]]
    assert len(query_examples(lm, data, tuned_prompt, replace(TUNING, max_steps=1), 40)) == 2


def test_an_endpoint_stands_in(files, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving((200, said("Query: tea for me")), (200, said("泡茶"))) as (url, asked):
        endpoint = EndpointSettings(url, "big", timeout_s=5, wait_s=0)
        chosen = replace(settings, queries=replace(settings.queries, endpoint=endpoint, budget=2, max_per_ad=1))
        report = augment_catalog(files[0], tmp_path / "a.jsonl", chosen)
    assert (report.query_model.model, report.num_queries, len(asked)) == ("big", 2, 2)
    found = Augmentation.load(tmp_path / "a.jsonl", read_ads(files[0]).catalog)
    assert sorted(filter(None, found.queries)) == [("tea for me",), ("泡茶",)]


def test_without_a_model_there_are_keywords_alone(files, tmp_path):
    report = augment_catalog(files[0], tmp_path / "a.jsonl.gz", AugmentSettings(), clicks=files[1])
    assert (report.num_allotted, report.num_queries, report.query_model) == (0, 0, None)
    assert report.num_ads_with_keywords == 5
    assert (tmp_path / "a.report.json").is_file()
    assert not (tmp_path / "a.jsonl.gz.work").exists()


def test_a_language_model_can_extract_the_keywords(files, settings, tmp_path):
    keyword_model = KeywordModelSettings(settings.queries.model, tune=False, max_new_tokens=4)
    chosen = replace(settings, queries=QuerySettings(), keyword_model=keyword_model)
    report = augment_catalog(files[0], tmp_path / "a.jsonl", chosen)
    assert report.keyword_model.num_ads == 5
    assert report.keyword_model.tokens_in > 5
    assert report.num_keyword_positives == 0


def test_clean_texts_are_what_the_models_read(catalog, make_data, settings, tmp_path):
    data = make_data()
    kept = {}
    for name, texts in (("raw", data.texts), ("clean", ["zebra crossing", *data.texts[1:]])):
        augmentation, _ = augment(
            catalog, replace(data, texts=texts), settings, tmp_path / f"{name}.jsonl", lambda *_: None
        )
        kept[name] = augmentation
    assert set(" ".join(kept["clean"].keywords[0]).split()) == {"zebra", "crossing"}
    assert set(" ".join(kept["raw"].keywords[0]).split()).isdisjoint({"zebra", "crossing"})
    stores = {name: {path.name for path in (tmp_path / f"{name}.jsonl.work").iterdir()} for name in kept}
    assert stores["raw"].isdisjoint(stores["clean"])  # what was said of other texts is not taken for theirs


def test_the_budget_goes_to_complex_ads_that_few_click(catalog, make_data):
    data, settings = make_data(), AugmentSettings(queries=QuerySettings(budget=7, max_per_ad=4))
    weights, shares = allotment(catalog, data, settings, Analyzer())
    assert shares.sum() == 7
    assert shares.max() <= 4
    clicked = replace(data, counts=np.array([1, 1, 1, 1, 10_000]))
    fewer, _ = allotment(catalog, clicked, settings, Analyzer())
    assert fewer[4] / fewer[0] < weights[4] / weights[0]
    plain = Catalog.from_ads([replace(ad, title="pan", description="") if ad.ad_id == "a" else ad for ad in ADS])
    simpler, _ = allotment(plain, data, settings, Analyzer())
    assert simpler[0] / simpler[1] < weights[0] / weights[1]


def test_where_it_cannot_be_written_is_said_first(files, tmp_path):
    for out in (tmp_path, tmp_path / "none" / "a.jsonl"):
        with pytest.raises(InputError, match="cannot be written"):
            augment_catalog(files[0], out)


def test_settings_are_read_as_tables():
    content = {"queries": {"budget": 5, "model": {"name": "smollm2"}}, "complexity": {"offset": -1}}
    settings = from_mapping(AugmentSettings, content, "here")
    assert (settings.queries.budget, settings.queries.model.name, settings.complexity.offset) == (5, "smollm2", -1.0)
    with pytest.raises(SettingsError, match="stemmer 'klingon' is unknown"):
        AugmentSettings(stemmer="klingon")
    for wrong in ({"held_out_share": 0.6}, {"seed": -1}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            AugmentSettings(**wrong)
    with pytest.raises(SettingsError, match="'min_relevance'"):
        AugmentSettings(min_relevance=np.nan)
