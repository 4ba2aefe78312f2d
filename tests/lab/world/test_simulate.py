import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from intently.errors import InputError
from intently.lab.world import load_vocabulary, simulate_world
from intently.lab.world.judging import words

FILES = {"ads.jsonl.gz", "clicks.tsv.gz", "requests.tsv.gz", "queries.tsv", "qrels.trec", "world.json"}


def test_31_percent_of_landing_pages_are_scans(world: SimpleNamespace):
    scans = sum("landing_spans" in ad for ad in world.ads.values())
    texts = sum("landing_text" in ad for ad in world.ads.values())
    assert scans == round(0.31 * (scans + texts))
    assert not any("landing_spans" in ad and "landing_text" in ad for ad in world.ads.values())


def test_the_head_makes_60_percent_of_the_requests(world: SimpleNamespace):
    counts = sorted((count for _, count in world.requests), reverse=True)
    assert 0.58 <= sum(counts[: round(0.05 * len(counts))]) / sum(counts) <= 0.62
    assert len({query for query, _ in world.requests}) == len(counts)


def test_73_percent_of_ads_have_few_clicks(world: SimpleNamespace):
    clicks: Counter[str] = Counter()
    for _, ad, count in world.clicks:
        clicks[ad] += count
    assert 0.71 <= sum(clicks[ad] < 5 for ad in world.ads) / len(world.ads) <= 0.75
    assert 3.7 <= len(world.clicks) / len(world.ads) <= 4.3
    assert 20_000 <= clicks.total() <= 200_000


def test_clicks_follow_the_query_log(world: SimpleNamespace):
    asked = dict(world.requests)
    assert all(count <= asked[query] and ad in world.ads for query, ad, count in world.clicks)


def test_judged_queries_are_held_out(world: SimpleNamespace):
    seen = {query.lower() for query, _ in world.requests} | {query.lower() for query, _, _ in world.clicks}
    texts = {text.lower() for _, text, _, _ in world.queries}
    assert len(texts) == len(world.queries) == 400
    assert not texts & seen


def test_every_judged_query_has_a_perfect_active_ad(world: SimpleNamespace):
    best: dict[str, int] = defaultdict(int)
    good: Counter[str] = Counter()
    for query, ad, grade in world.qrels:
        assert grade in (1, 2, 3) and world.ads[ad]["status"] == "active"
        best[query] = max(best[query], grade)
        good[query] += grade >= 2
    assert best == {query: 3 for query, _, _, _ in world.queries}
    assert max(good.values()) < 100
    assert len({(query, ad) for query, ad, _ in world.qrels}) == len(world.qrels)


def test_languages_and_styles_are_balanced(world: SimpleNamespace):
    cells = Counter((language, style) for _, _, language, style in world.queries)
    assert sum(count for (language, _), count in cells.items() if language == "en") == 200
    assert sum(count for (language, style), count in cells.items() if language == "zh" and style != "pinyin") == 140
    assert cells["zh", "pinyin"] + cells["mixed", "mixed"] == 60
    styles = {style for _, style in cells}
    assert styles == {"plain", "synonym", "colloquial", "abbreviated", "typo", "pinyin", "mixed"}
    statistics = world.manifest["statistics"]
    assert 0.47 < statistics["en_ad_share"] < 0.53
    assert 0.35 < statistics["zh_ad_share"] < 0.41


def test_a_third_of_the_queries_share_no_word_with_what_they_want(world: SimpleNamespace):
    said: dict[str, set[str]] = defaultdict(set)
    for query, ad, grade in world.qrels:
        if grade >= 2:
            said[query] |= words(world.ads[ad]["title"])
    share = sum(not words(text) & said[query] for query, text, _, _ in world.queries) / len(world.queries)
    assert 0.25 <= share <= 0.45
    assert world.manifest["statistics"]["judged_without_title_word_share"] == share


def test_words():
    assert words("The robot-vacuum 扫地机 X 5k 灯") == {"robot", "vacuum", "扫地", "地机", "x", "5k", "灯"}


def test_the_world_says_that_it_is_simulated(world: SimpleNamespace):
    assert world.manifest["simulated"] is True
    assert (world.manifest["seed"], world.manifest["num_ads"]) == (7, 3000)


def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path: Path):
    report = simulate_world(tmp_path / "one", 150, 3, num_judged_queries=40)
    code = (
        "import pathlib, sys; from intently.lab.world import simulate_world;"
        "simulate_world(pathlib.Path(sys.argv[1]), 150, 3, num_judged_queries=40)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "two")], check=True)
    simulate_world(tmp_path / "other", 150, 4, num_judged_queries=40)
    one, two, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two", "other")
    )
    assert set(one) == FILES
    assert one == two
    assert all(one[name] != other[name] for name in FILES)
    assert report.path == tmp_path / "one" and report.num_ads == 150


def test_progress_reaches_the_end_of_every_stage(tmp_path: Path):
    last: dict[str, tuple[int, int]] = {}
    simulate_world(
        tmp_path / "out",
        100,
        0,
        num_judged_queries=10,
        progress=lambda stage, done, total, _: last.update({stage: (done, total)}),
    )
    assert set(last) == {"queries", "clicks", "ads"}
    assert all(done == total for done, total in last.values())


def test_a_world_is_replaced_and_nothing_else_is(tmp_path: Path):
    out = tmp_path / "deep" / "out"
    simulate_world(out, 100, 0, num_judged_queries=10)
    simulate_world(out, 101, 0, num_judged_queries=10)
    assert '"num_ads": 101' in (out / "world.json").read_text()
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter1.txt").write_text("years of work")
    with pytest.raises(InputError, match="not a world"):
        simulate_world(other, 100, 0)
    with pytest.raises(InputError, match="is a file"):
        simulate_world(other / "chapter1.txt", 100, 0)
    assert (other / "chapter1.txt").read_text() == "years of work"


def test_a_failure_leaves_nothing_behind(tmp_path: Path, sample: str):
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "kettles.toml").write_text(sample)
    vocabulary = load_vocabulary(tmp_path / "words")
    with pytest.raises(InputError, match="distinct queries"):
        simulate_world(tmp_path / "out", 3000, 0, vocabulary=vocabulary)
    assert [path.name for path in tmp_path.iterdir()] == ["words"]


@pytest.mark.parametrize(("ads", "seed", "judged"), [(99, 0, 10), (100, -1, 10), (100, 0, 0)])
def test_numbers_out_of_range_are_refused(tmp_path: Path, ads: int, seed: int, judged: int):
    with pytest.raises(InputError):
        simulate_world(tmp_path / "out", ads, seed, num_judged_queries=judged)
    assert not (tmp_path / "out").exists()
