"""From files to instances: what is composed, how varied it is, and what is said when there is too little."""

from collections import Counter
from pathlib import Path

import pytest

from intently.build.knowledge import Instance, KnowledgeSettings, Task, build_knowledge, handwritten, read_instances
from intently.build.knowledge.taxonomy import read_taxonomy
from intently.errors import InputError, SettingsError
from intently.settings import from_mapping

COLOURS = ("Red", "Blue", "Green", "Black", "White")
ADS = [
    ("ad_id", "title", "category", "keywords", "advertiser"),
    *((f"k{n}", f"Volta {n + 1}L Electric Kettle in {c}", "", "", "Volta") for n, c in enumerate(COLOURS)),
    *((f"d{n}", f"Borax {n + 1}-Speed Cordless Drill with Case", "", "", "") for n in range(5)),
    *((f"z{n}", f"旋澈 扫地机器人 {n}000Pa 包邮", "家用电器 > 吸尘器", "", "旋澈") for n in range(5)),
    ("b1", "Steel Frying Pan", "Home > Cookware", "frying pan|Steel Pan|induction pan", ""),
]
CLICKS = [
    ("query", "ad_id", "clicks"),
    *(("boil water fast", f"k{n}", "2") for n in range(5)),
    *(("volta kettle 2L", f"k{n}", "1") for n in range(3)),
    *(("cordles drill", f"d{n}", "1") for n in range(3)),
    *(("electric cordless drill", f"d{n}", "1") for n in range(2)),
    *(("自动扫地机器人", f"z{n}", "1") for n in range(4)),
    ("boil water fast", "unknown", "1"),
]
TAXONOMY = [
    ("id", "path"),
    ("1", "Home"),
    ("2", "Home > Kitchen Appliances"),
    ("3", "Home > Kitchen Appliances > Electric Kettles"),
    ("4", "家居 > 厨房 > 电饭锅"),
    ("5", "Home > Kitchen Appliances > Ladles & Spoons"),
]


def table(path: Path, rows: list[tuple[str, ...]]) -> Path:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    return {
        "ads": table(tmp_path / "ads.tsv", ADS),
        "clicks": table(tmp_path / "clicks.tsv", CLICKS),
        "taxonomy": table(tmp_path / "taxonomy.tsv", TAXONOMY),
    }


def build(files: dict[str, Path], name: str = "k.jsonl", **chosen):
    settings = KnowledgeSettings(**{"instances_per_task": 50, "handwritten": False, "max_same_answer": 1} | chosen)
    return build_knowledge(
        files["ads"], files["ads"].with_name(name), settings, **{k: v for k, v in files.items() if k != "ads"}
    )


def composed(files, task: Task, **chosen) -> dict[str, Instance]:
    return {one.input: one for one in read_instances(build(files, **chosen).path) if one.task is task}


def test_what_queries_mean(files):
    found = composed(files, Task.QUERY_INTENT)
    assert found["boil water fast"].intentions == ("electric kettle", "kitchen appliances")
    assert "Home > Kitchen Appliances" in found["boil water fast"].reasoning
    assert found["volta kettle 2L"].intentions[:2] == ("volta electric kettle", "electric kettle")
    assert "2L" in found["volta kettle 2L"].reasoning or "Volta" in found["volta kettle 2L"].reasoning
    assert found["cordles drill"].intentions == ("cordless drill",)
    assert "“cordles”" in found["cordles drill"].reasoning
    assert found["electric cordless drill"].intentions[0] == "electric cordless drill"
    robot = found["自动扫地机器人"]
    assert robot.language == "zh" and "扫地机器人" in robot.intentions[0] and "吸尘器" in robot.intentions


def test_categories_and_their_broader_ones(files):
    found = {one for one in composed(files, Task.QUERY_INTENT).values() if one.source == "taxonomy"}
    assert {one.intentions for one in found} == {("electric kettles", "kitchen appliances"), ("电饭锅", "厨房")}
    for one in found:
        assert one.intentions[0] in one.input


def test_what_ads_serve_and_bid_on(files):
    serve = composed(files, Task.AD_INTENT)
    kettle = serve["Volta 1L Electric Kettle in Red"]
    assert kettle.intentions[0] == "electric kettle" and kettle.source == "clicks"
    drill = serve["Borax 1-Speed Cordless Drill with Case"]
    assert "cordles drill" not in drill.intentions  # misspelt, so no intention
    assert any("吸尘器" in one.intentions for one in serve.values())
    bids = composed(files, Task.KEYWORD_PURCHASE)["Steel Frying Pan"]
    assert bids.intentions == ("frying pan", "steel pan", "induction pan") and bids.source == "bids"


def test_the_same_seed_gives_the_same_bytes(files):
    first, again, other = (build(files, name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first.path.read_bytes() == again.path.read_bytes() != other.path.read_bytes()


def test_nothing_comes_twice_and_the_handwritten_come_first(files):
    report = build(files, handwritten=True, instances_per_task=400, max_intentions=3)
    instances = read_instances(report.path)
    keys = [(one.task, one.input.casefold()) for one in instances]
    assert len(set(keys)) == len(keys) == report.num_instances
    assert sum(one.source == "handwritten" for one in instances) == len(handwritten())
    assert all(len(one.intentions) <= 3 for one in instances if one.source != "handwritten")
    assert report.by_task() == Counter(str(one.task) for one in instances)


def test_no_answer_has_more_than_its_share(files):
    report = build(files, instances_per_task=10, max_same_answer=0.2)
    for task in Task:
        firsts = Counter(one.intentions[0] for one in read_instances(report.path) if one.task is task)
        assert max(firsts.values()) <= 2


def test_a_shortfall_is_told_and_not_padded(files):
    report = build(files)
    assert set(report.shortfalls) == set(Task)
    assert all(report.shortfalls[task] == 50 - count for task, count in report.by_task().items())
    assert any("1 clicks left out" in note for note in report.notes)
    assert build(files, handwritten=True, instances_per_task=20).shortfalls == {}


def test_progress_is_told(files):
    told = []
    build_knowledge(files["ads"], files["ads"].with_name("k"), progress=lambda *what: told.append(what))
    assert told[0] == ("Reading", 0, 0, "") and told[-1] == ("Writing", 0, 0, "")
    assert any(stage == "Composing" and total == 6_000 for stage, _, total, _ in told)


def test_queries_without_clicks_say_what_is_asked_for(files, tmp_path):
    asked = {"ads": files["ads"], "queries": table(tmp_path / "q.tsv", [("query",), ("frying pan",), ("pan",)])}
    assert composed(asked, Task.KEYWORD_PURCHASE)["Steel Frying Pan"]
    assert not any(one.source == "clicks" for one in read_instances(build(asked).path))


def test_bad_rows_are_errors_or_counted(files):
    for name, row in (("ads", "x\t\n"), ("taxonomy", "9\t\n"), ("clicks", "q\tk0\tmany\n")):
        with files[name].open("a") as file:
            file.write(row)
        with pytest.raises(InputError, match=files[name].name):
            build(files)
        skipping = {key: value for key, value in files.items() if key != "ads"}
        report = build_knowledge(files["ads"], files["ads"].with_name("k"), skip_bad=True, **skipping)
        assert any("skipped" in note for note in report.notes)
        files[name].write_text("".join(files[name].read_text().splitlines(keepends=True)[:-1]))


def test_nothing_to_write_and_nowhere_to_write_it(tmp_path):
    ads = table(tmp_path / "ads.tsv", [("ad_id", "title"), ("1", "Zyx")])
    with pytest.raises(InputError, match="not one instance"):
        build({"ads": ads})
    with pytest.raises(InputError, match="cannot be written"):
        build_knowledge(ads, tmp_path / "none" / "k.jsonl")
    assert not (tmp_path / "k.jsonl").exists()
    clicks = table(tmp_path / "c.tsv", [("query", "ad_id", "clicks"), ("q", "2", "1")])
    with pytest.raises(InputError, match="no click names an ad"):
        build({"ads": ads, "clicks": clicks})


@pytest.mark.parametrize("text", ["", "id\tname\n1\tx\n", "id\tpath\n", "id\tpath\n1\n"])
def test_files_that_are_no_taxonomy(tmp_path, text):
    path = tmp_path / "t.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"t\.tsv"):
        read_taxonomy(path)


@pytest.mark.parametrize(
    "wrong", [{"instances_per_task": 0}, {"max_same_answer": 0}, {"seed": -1}, {"endpoint": {"url": "x"}}]
)
def test_settings_that_are_refused(wrong):
    with pytest.raises(SettingsError):
        from_mapping(KnowledgeSettings, wrong, "settings")
