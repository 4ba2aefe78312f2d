import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from intently.errors import InputError, MissingDependencyError
from intently.evaluation.calibration import Bin
from intently.evaluation.report import Report, RunMeasures
from intently.lab.experiments.figures import (
    Figure,
    groups_chart,
    line_chart,
    reliability_chart,
    systems_chart,
    training_chart,
)

pytest.importorskip("matplotlib")

BINS = (Bin(0.1, 0.2, 900, 0.14, 0.11), Bin(0.8, 0.9, 100, 0.83, 0.9))
ODD = 'RARE & <script>alert("$x$")</script>, 教师'


@pytest.fixture(scope="module")
def report() -> Report:
    generator = np.random.default_rng(0)
    runs = {}
    for name, mean in (("BM25", 0.4), (ODD, 0.6)):
        values = np.append(generator.normal(mean, 0.1, 99), np.nan)
        runs[name] = RunMeasures({"HR@500": values, "MAP": values / 2}, {"tail coverage@10": 0.5})
    return Report(tuple(map(str, range(100))), 99, 2.0, runs, (), None)


def draw(report: Report) -> list[Figure]:
    losses = {name: [(step, 3 / (step + 1)) for step in range(200)] for name in ("contrastive", ODD)}
    return [
        systems_chart("systems", report, list(report.runs), highlight=[ODD]),
        systems_chart("zoomed", report, list(report.runs), zoom=True),
        line_chart("cache", {"LFU": [(10, 0.1), (1000, 0.9)], ODD: [(10, 0.1)]}, x="size", y="hits", log_x=True),
        line_chart("one", {"LFU": [(0, 0.1), (1, 0.1)]}, x="size", y="hits", percent=True),
        training_chart("losses", losses),
        reliability_chart("reliability", {"shop": BINS, ODD: BINS[:1]}),
        groups_chart("groups", {"BM25": {"head": 0.5, "tail": 0.2}, ODD: {"head": 0.6}}, metric="MAP"),
    ]


@pytest.fixture(scope="module")
def charts(report) -> list[Figure]:
    return draw(report)


def test_charts_stand_alone_and_side_by_side(charts):
    ids = []
    for figure in charts:
        root = ElementTree.fromstring(figure.svg)
        assert root.get("role") == "img" and root.get("aria-label") == figure.alt
        assert "<script" not in figure.svg and "<style" not in figure.svg and "<?xml" not in figure.svg
        assert "#010203" not in figure.svg and "currentColor" in figure.svg
        own = [element.get("id") for element in root.iter() if element.get("id")]
        used = {
            value.split("#")[1].rstrip(")")
            for e in root.iter()
            for value in e.attrib.values()
            if "url(#" in value or value.startswith(f"#{figure.name}-")
        }
        assert used == set(own)
        assert all(e.get("href", "#").startswith("#") and e.get("src") is None for e in root.iter())
        ids += own
    assert len(set(ids)) == len(ids)


def test_the_same_values_give_the_same_bytes(report, charts):
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):  # as a user's matplotlibrc may have it
        assert draw(report) == charts
        assert matplotlib.rcParams["font.size"] == 30


def test_texts_are_texts(report, charts):
    systems = charts[0]
    texts = [
        "".join(element.itertext()) for element in ElementTree.fromstring(systems.svg).iter() if "text" in element.tag
    ]
    values = report.runs[ODD].per_query["MAP"]
    assert {"BM25", ODD, "HR@500", "MAP", f"{np.nanmean(values):.3f}"} <= set(texts)
    assert f"{ODD}: " in systems.alt and "99 queries" in systems.caption


def test_intervals_hold_the_mean(report):
    from intently.lab.experiments.figures import _intervals

    mean, low, high = _intervals(report, list(report.runs), "MAP", 0).T
    assert (low < mean).all() and (mean < high).all() and (high - low < 0.05).all()


def test_a_missing_value_is_a_dash(charts):
    figure = charts[-1]
    assert figure.svg.count("–") == 1 and f"{ODD}: 0.600, nothing" in figure.alt


def test_labels_at_line_ends_keep_apart():
    from intently.lab.experiments.figures import _spread

    at = _spread(np.array([0.9, 0.1, 0.9, 0.91]), gap=0.1)
    assert at[1] == 0.1
    ordered = at[[0, 2, 3]]
    assert (np.diff(ordered) > 0.099).all() and abs(ordered.mean() - 0.9033) < 1e-3


def test_wrong_input(report):
    with pytest.raises(InputError, match="no tail coverage@10 of 'BM25' by query; measure it first"):
        systems_chart("x", report, ["BM25"], metrics=["tail coverage@10"])
    with pytest.raises(InputError, match="no HR@500 of 'none' by query"):
        systems_chart("x", report, ["none"])
    with pytest.raises(InputError, match="no points to draw for 'LFU'"):
        line_chart("x", {"LFU": []}, x="size", y="hits")
    with pytest.raises(InputError, match="no points to draw;"):
        training_chart("x", {})
    with pytest.raises(InputError, match="no values to draw"):
        groups_chart("x", {}, metric="MAP")
    with pytest.raises(InputError, match="is no name for a figure"):
        line_chart("../x", {"LFU": [(1, 1)]}, x="size", y="hits")


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'intently\[experiments\]'"):
        line_chart("x", {"LFU": [(1, 1)]}, x="size", y="hits")


def test_reliability_says_what_was_stated_and_what_was_seen():
    chart = reliability_chart("reliability", {"shop": BINS, "商店": BINS[:1]})
    assert "shop: 0.14 is 0.11, 0.83 is 0.90; 商店: 0.14 is 0.11" in chart.alt
    for text in ("shop, 1,000 ads", "商店, 900 ads", "stated", "observed"):
        assert text in chart.svg
    for wrong in ({}, {"shop": ()}):
        with pytest.raises(InputError, match="no bins to draw"):
            reliability_chart("reliability", wrong)
