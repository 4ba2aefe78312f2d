"""Clicks and judgements as rows of a catalog, and what is left of them for some of the queries."""

import numpy as np
import pytest

from intently.build.interactions import Interactions, match_interactions
from intently.catalog import Catalog, read_judgements
from intently.catalog.logs.settings import LogSettings
from intently.errors import InputError
from intently.types import Ad

CATALOG = Catalog.from_ads([Ad(f"a{row}", f"Lamp {row}") for row in range(5)])


def matched(tmp_path, header: str, *rows: str, min_relevance: float | None = None) -> Interactions:
    path = tmp_path / "judged.tsv"
    path.write_text("\n".join((f"query\tad_id\t{header}", *rows)) + "\n", encoding="utf-8")
    return match_interactions(CATALOG, read_judgements(path), min_relevance)


def gains(interactions: Interactions) -> dict[tuple[str, int], int]:
    return {(interactions.queries[query], ad): gain for query, ad, gain in interactions.gains.tolist()}


def test_clicks_count_as_often_as_they_were_made_and_gain_one(tmp_path):
    found = matched(tmp_path, "clicks", "lamp\ta1\t5", "台灯\ta3\t2", "lamp\tgone\t9", "台灯\ta0\t7")
    assert found.queries == ("lamp", "台灯")
    assert found.clicks.tolist() == [[0, 1], [1, 3], [1, 0]]
    assert found.counts.tolist() == [5, 2, 7]
    assert (found.num_unknown_ads, len(found.irrelevant)) == (1, 0)
    assert gains(found) == {("lamp", 1): 1, ("台灯", 3): 1, ("台灯", 0): 1}
    assert found.by_frequency() == ["台灯", "lamp"]


def test_what_was_shown_and_never_clicked_gains_nothing_and_is_not_irrelevant(tmp_path):
    found = matched(tmp_path, "clicks", "lamp\ta1\t5", "lamp\ta2\t0")
    assert found.clicks.tolist() == [[0, 1]]
    assert found.irrelevant.tolist() == []
    assert gains(found) == {("lamp", 1): 1}


def test_judged_pairs_gain_by_the_third_of_the_scale_that_they_are_in(tmp_path):
    rows = [f"lamp\ta{ad}\t{value}" for ad, value in enumerate((0, 1, 2, 3))]
    found = matched(tmp_path, "relevance", *rows)
    assert gains(found) == {("lamp", 1): 1, ("lamp", 2): 2, ("lamp", 3): 3}
    assert found.clicks[:, 1].tolist() == [2, 3]  # 2 is just within the upper third
    assert found.irrelevant[:, 1].tolist() == [0, 1]
    assert found.counts.tolist() == [1, 1]


def test_judgements_from_one_to_three_and_yes_or_no(tmp_path):
    assert gains(matched(tmp_path, "relevance", "灯\ta0\t1", "灯\ta1\t2", "灯\ta2\t3")) == {("灯", 1): 1, ("灯", 2): 3}
    assert gains(matched(tmp_path, "relevance", "灯\ta0\t0", "灯\ta1\t1")) == {("灯", 1): 3}


def test_a_positive_gains_something_also_on_a_constant_scale_and_below_a_third(tmp_path):
    constant = matched(tmp_path, "relevance", "lamp\ta0\t1", "lamp\ta1\t1")
    assert len(constant.clicks) == 2
    assert gains(constant) == {("lamp", 0): 1, ("lamp", 1): 1}
    rows = ("lamp\ta0\t0", "lamp\ta1\t2", "lamp\ta2\t10")
    assert gains(matched(tmp_path, "relevance", *rows, min_relevance=1.0)) == {("lamp", 1): 1, ("lamp", 2): 3}


def test_no_clicks_and_none_on_known_ads(tmp_path):
    none = match_interactions(CATALOG, None, None)
    assert (none.queries, len(none.clicks), len(none.gains), none.by_frequency()) == ((), 0, 0, [])
    assert none.of_queries(np.empty(0, dtype=np.bool_)).queries == ()
    with pytest.raises(InputError, match="no click names an ad of the catalog"):
        matched(tmp_path, "clicks", "lamp\tgone\t1")


def test_those_of_some_queries_are_as_if_there_were_no_others(tmp_path):
    rows = ["a\ta0\t3", "b\ta1\t0", "灯\ta2\t2", "a\ta3\t0", "灯\ta4\t3", "c\ta0\t0", "b\ta0\t1", "灯\ta0\t1"]
    every = matched(tmp_path, "relevance", *rows)
    for mask in np.ndindex((2,) * len(every.queries)):
        kept = {query for query, chosen in zip(every.queries, mask, strict=True) if chosen}
        ours = every.of_queries(np.array(mask, dtype=np.bool_))
        assert set(ours.queries) == kept
        for name in ("clicks", "irrelevant", "gains"):
            of_ours, of_all = getattr(ours, name), getattr(every, name)
            expected = [[every.queries[q], *rest] for q, *rest in of_all.tolist() if every.queries[q] in kept]
            assert [[ours.queries[q], *rest] for q, *rest in of_ours.tolist()] == expected
            assert of_ours.shape[1] == of_all.shape[1]
        assert len(ours.counts) == len(ours.clicks)
        assert ours.num_unknown_ads == every.num_unknown_ads


def test_counts_stay_with_their_clicks(tmp_path):
    every = matched(tmp_path, "clicks", "a\ta0\t3", "灯\ta2\t8", "a\ta3\t5", "b\ta1\t1")
    ours = every.of_queries(np.array([True, False, True]))
    found = [(ours.queries[query], ad) for query, ad in ours.clicks.tolist()]
    assert dict(zip(found, ours.counts.tolist(), strict=True)) == {("a", 0): 3, ("a", 3): 5, ("b", 1): 1}


def test_what_was_shown_often_and_never_clicked_is_irrelevant_if_asked_for(tmp_path):
    path = tmp_path / "log.tsv"
    rows = ("lamp\ta1\t1\t9", "lamp\ta2\t0\t10", "lamp\ta3\t0\t9", "lamp\tgone\t0\t99", "台灯\ta4\t0\t99")
    path.write_text("\n".join(("query\tad_id\tclicks\timpressions", *rows)) + "\n", encoding="utf-8")
    judgements = read_judgements(path)
    assert match_interactions(CATALOG, judgements, None).irrelevant.tolist() == []
    found = match_interactions(CATALOG, judgements, None, negative_after=10)
    assert (found.queries, found.irrelevant.tolist()) == (("lamp",), [[0, 2]])


def test_clicks_weigh_by_position_if_asked_for(tmp_path):
    path = tmp_path / "log.tsv"
    rows = ("lamp\ta1\t1\t1", "lamp\tgone\t1\t2", "台灯\ta2\t1\t4")
    path.write_text("\n".join(("query\tad_id\tclicked\tposition", *rows)) + "\n", encoding="utf-8")
    assert match_interactions(CATALOG, read_judgements(path), None).weights is None
    found = match_interactions(CATALOG, read_judgements(path, logs=LogSettings(position_bias=1.0)), None)
    assert found.weights is not None
    assert found.weights.tolist() == [1, 4]
    assert found.of_queries(np.array([False, True])).weights.tolist() == [4]
