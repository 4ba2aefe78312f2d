"""Rankings as sequences, plain values, data frames and HTML."""

import html.parser
import json
import sys
import types
from dataclasses import asdict

import pytest

from intently.errors import InputError, MissingDependencyError
from intently.frozen import FrozenDict, frozen
from intently.types import Ad, Channel, Ranking, Reason, ScoredAd

HOSTILE = '<script>alert("1")</script>&amp;<img src=x onerror=y>'
RANKING = Ranking(
    "red <b>",
    (
        ScoredAd("a", 1, 0.5, (Reason(Channel.DENSE, 1, 0.5),), FrozenDict(title=HOSTILE, price=19.9, rank=7)),
        ScoredAd("乙", 2, 0.25, (), FrozenDict(title="灯", tags=("红", FrozenDict(x=None)))),
    ),
)


def test_a_ranking_is_a_sequence():
    assert len(RANKING) == 2
    assert [ad.ad_id for ad in RANKING] == ["a", "乙"]
    assert RANKING[0] is RANKING.ads[0] and RANKING[-1].ad_id == "乙" and RANKING[:1] == RANKING.ads[:1]
    with pytest.raises(IndexError):
        RANKING[2]


def test_plain_values_are_json():
    told = json.loads(json.dumps(RANKING.to_dict(), ensure_ascii=False))
    assert told["ads"][1]["payload"] == {"title": "灯", "tags": ["红", {"x": None}]}
    assert told["ads"][0]["reasons"][0]["channel"] == "dense"


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_data_frames(monkeypatch, name):
    for each in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, each, None)  # as if it were not installed
    with pytest.raises(MissingDependencyError, match="a data frame needs pandas or polars; run: pip install pandas"):
        RANKING.to_frame()
    with pytest.raises(MissingDependencyError, match=f"pip install {name}"):
        RANKING.to_frame(name)
    monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(DataFrame=dict))
    assert (
        RANKING.to_frame()
        == RANKING.to_frame(name)
        == {
            "rank": [1, 2],
            "ad_id": ["a", "乙"],
            "score": [0.5, 0.25],
            "title": [HOSTILE, "灯"],
            "price": [19.9, None],
            "payload.rank": [7, None],
            "tags": [None, ("红", {"x": None})],
        }
    )
    with pytest.raises(InputError, match="use one of pandas, polars"):
        RANKING.to_frame("excel")


def test_html_shows_hostile_titles_as_text():
    tags: list[str] = []
    texts: list[str] = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            assert not attrs
            tags.append(tag)

        def handle_data(self, data):
            texts.append(data)

    Parser().feed(RANKING._repr_html_())
    assert set(tags) == {"table", "caption", "tr", "th", "td"}
    assert HOSTILE in texts and "灯" in texts and "red <b>: 2 ads" in texts
    assert "<td></td>" in RANKING._repr_html_()  # a missing price


def test_frozen_values():
    given = {"a": [1, {"b": None}], "c": None, "d": 2.5}
    values = frozen(given, "payload")
    assert values == {"a": (1, {"b": None}), "d": 2.5} and hash(values) == hash(frozen(given, "payload"))
    for change in (
        lambda: values.update(x=1),
        lambda: values.pop("a"),
        values.clear,
        lambda: values.__setitem__("a", 1),
    ):
        with pytest.raises(TypeError, match="cannot be changed"):
            change()
    assert values | {"e": 1} == {**values, "e": 1}
    ad = Ad("a", "t", payload=given)
    assert ad == Ad("a", "t", payload=values) and len({ad, Ad("a", "t", payload=given)}) == 1
    assert Ad(**asdict(ad)) == ad


def test_values_that_json_does_not_have():
    deep: object = 1
    for _ in range(30):
        deep = [deep]
    for value in (float("nan"), {1}, b"x", 2**2000, deep, {1: 2}, "\ud800"):
        with pytest.raises(InputError, match="field 'payload'"):
            Ad("a", "t", payload={"x": value})
    for wrong in ({"": 1}, {1: 2}, {"x" * 101: 1}, {"title": "t"}, ["x"]):
        with pytest.raises(InputError, match="field 'payload'"):
            Ad("a", "t", payload=wrong)
