"""Queries written for ads: what the writing learns makes ads reachable that share no word with a query."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("transformers")

from intently.errors import InputError, SettingsError
from intently.lab.baselines.doc2query import Doc2QuerySettings, Speller, doc2query
from intently.lab.baselines.lexical import bm25
from intently.models.tokenizer import StudentTokenizer
from intently.text.analyze import Analyzer
from tests.conftest import wordpiece
from tests.lab.baselines.conftest import Interruption, assert_well_formed, quiet, stops_at

SYNONYMS = {"red": "crimson", "blue": "azure", "green": "olive", "black": "jet"}
SETTINGS = Doc2QuerySettings(num_queries=3, top_k=3, batch_size=8)


@pytest.fixture
def synonyms(bilingual):
    """Queries have other words than ads: of colours in English, of all things in Chinese."""
    num = 20  # red, blue, green and black are the first colours
    queries = [f"{SYNONYMS[title.split()[1]]} {title.split()[2]}" for title in bilingual.titles[:num]]
    asked = {"扫地机器人": "robot", "水壶": "kettle", "电钻": "drill", "台灯": "lamp", "鞋": "shoe"}
    queries += [next(word for thing, word in asked.items() if thing in title) for title in bilingual.titles[40:]]
    rows = np.concatenate((np.arange(num), np.arange(40, 60)))
    clicks = np.stack((np.arange(len(queries)), rows), axis=1)
    return replace(bilingual, queries=tuple(queries), test_queries=tuple(queries), clicks=clicks, irrelevant=clicks[:0])


def reached(answers, task, clicks):
    return np.array([task.ad_ids[ad] in answers.rankings[query][0] for query, ad in clicks.tolist()])


def test_written_queries_reach_ads_that_share_no_word(synonyms, budget, tmp_path):
    wide = replace(budget, num_ads=60, num_steps=150)
    chinese = synonyms.clicks[20:]
    before = bm25(synonyms, wide, tmp_path, quiet)
    assert not reached(before, synonyms, chinese).any()
    stages = set()
    after = doc2query(synonyms, wide, tmp_path, lambda stage, *_: stages.add(stage), SETTINGS)
    assert stages == {"Training", "Writing queries", "Answering"}
    assert_well_formed(after, synonyms, wide)
    assert reached(after, synonyms, chinese).mean() >= 0.8

    # A red ad is now nearer to "crimson" than those of other colours, which BM25 could not tell apart.
    def first(answers):
        return np.mean([answers.rankings[query][0][0] == synonyms.ad_ids[ad] for query, ad in synonyms.clicks[:20]])

    assert first(after) >= first(before) + 0.3
    again = doc2query(synonyms, wide, tmp_path, stops_at("Writing queries", 8), SETTINGS)  # they are kept
    assert [ads for ads, _ in again.rankings] == [ads for ads, _ in after.rankings]


def test_interrupted_writing_goes_on(synonyms, budget, tmp_path):
    budget = replace(budget, num_steps=3)
    whole = doc2query(synonyms, budget, tmp_path / "whole", quiet, SETTINGS)
    with pytest.raises(Interruption):
        doc2query(synonyms, budget, tmp_path / "resumed", stops_at("Writing queries", 24), SETTINGS)
    (path,) = tmp_path.glob("resumed/*/queries.jsonl")
    (complete,) = tmp_path.glob("whole/*/queries.jsonl")
    assert path.read_bytes().count(b"\n") == 3
    path.write_bytes(path.read_bytes()[:-2])  # torn in its last line
    resumed = doc2query(synonyms, budget, tmp_path / "resumed", quiet, SETTINGS)
    assert path.read_text() == complete.read_text()
    assert [ads for ads, _ in resumed.rankings] == [ads for ads, _ in whole.rankings]
    assert complete.read_bytes().count(b"\n") == 8


def test_tokens_become_text_again():
    tokenizer = StudentTokenizer(wordpiece(("red", "robot", "led", ".", "/")))
    for text in ("red robot xyz 12 ab", "红色水壶", "led 灯 12v", "2.5 gal 1/2 in"):
        known = tokenizer.extended_by((text, text))
        spelt = Speller(known).text(known.encode_bare([text])[0])
        assert Analyzer().terms(spelt) == Analyzer().terms(text)
        assert known.encode_bare([spelt]) == known.encode_bare([text])
    speller = Speller(tokenizer)
    ids = tokenizer.encode_bare(["红色 水壶 led 2.5 1/2 robot"])[0]
    assert "红色水壶" in speller.text(ids)
    special = [tokenizer.cls_id, *tokenizer.encode_bare(["red"])[0], tokenizer.unknown_id, tokenizer.pad_id]
    assert speller.text([*special, tokenizer.sep_id, *special]) == "red"
    assert speller.text([]) == ""


def test_it_needs_clicks_and_whole_numbers(synonyms, budget, tmp_path):
    with pytest.raises(InputError, match="there are no clicks"):
        doc2query(replace(synonyms, clicks=synonyms.clicks[:0]), budget, tmp_path, quiet)
    with pytest.raises(SettingsError, match="'num_queries' is 0"):
        Doc2QuerySettings(num_queries=0)
