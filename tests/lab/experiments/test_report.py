import re
from html.parser import HTMLParser

import numpy as np
import pytest

from intently.errors import InputError
from intently.evaluation.report import Comparison, Report, RunMeasures
from intently.lab.experiments.figures import Figure
from intently.lab.experiments.publish import replace_block, write_figures
from intently.lab.experiments.report import Case, Cell, Section, Shown, Table, systems_table
from intently.lab.experiments.report_html import write_html
from intently.lab.experiments.report_markdown import markdown

ODD = "<script>alert('x')</script> a|b *水壶* & [x](y) _z_"
VOID = {"meta"}


class Checker(HTMLParser):
    """Fails on tags that are not closed in order; keeps attributes, ids and texts."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.links, self.ids, self.text = [], [], [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for key, value in attributes if key in ("src", "href", "srcset", "action")]
        self.ids += [value for key, value in attributes if key == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def check(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert not checker.open
    return checker


@pytest.fixture
def report() -> Report:
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.02, 60)
    runs = {}
    for name, mean in (("BM25", 0.4), (ODD, 0.5), ("same", 0.4)):
        values = np.append(np.full(60, mean) + (noise if name == ODD else 0), np.nan)
        runs[name] = RunMeasures({"Recall@10": values, "HR@500": values, "MAP": values, "ACR": np.ones(61)}, {})
    comparisons = (Comparison("BM25", ODD, "MAP", 0.1, 0.0, 0.2, 0.03),)
    return Report(tuple(map(str, range(61))), 60, 2.0, runs, comparisons, None)


@pytest.fixture
def sections(report) -> list[Section]:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="bars"><g/></svg>'
    ads = [Shown(ODD, True), Shown("pan", False), Shown("lamp")]
    case = Case(ODD, {"RARE": (["kettle", ODD], ads), "BM25": ((), [])}, note="n")
    table = systems_table(report, {"Words": ["BM25"], "Ours": [ODD, "same"]}, mean_identifiers={ODD: 12.34})
    return [
        Section(ODD, ["`a|b` and a * b", "# 1"], table, [Figure("bars", svg, "bars", ODD)], [case], "intently <x> | y"),
        Section("Plain", table=Table(["x", "what", "n"], [["a", "b", 1234], ["c", "d", None]])),
    ]


def test_html_is_whole_safe_and_alone(sections, tmp_path):
    path = tmp_path / "report.html"
    write_html(path, ODD, sections, {"commit": "<b>", "queries": 1204, "教师": None})
    html = path.read_text(encoding="utf-8")
    checker = check(html)
    assert "script" not in checker.tags and "b" not in checker.tags
    assert checker.links == ["#s1", "#s2"] and {"s1", "s2"} <= set(checker.ids)
    assert len(set(checker.ids)) == len(checker.ids)
    assert "url(" not in html and "@import" not in html
    assert checker.text.count(ODD) >= 8 and "1,204" in checker.text
    assert "prefers-color-scheme: dark" in html and 'name="viewport"' in html and "@media print" in html
    assert not list(tmp_path.glob("*.partial"))


def test_numbers_stand_right_with_marks(sections, tmp_path):
    write_html(tmp_path / "r.html", "t", sections, {})
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert re.search(r'<td class="n"><strong>0\.\d{4}</strong><sup>\*\*</sup></td>', html)
    assert '<td>b</td><td class="n">1,234</td>' in html and '<td class="n">–</td>' in html
    assert '<th scope="rowgroup" colspan="6">Words</th>' in html


def test_systems_table(report):
    table = systems_table(
        report, [ODD, "BM25", "same"], {"ms": {ODD: Cell(1.25, digits=1)}}, mean_identifiers={ODD: 12}
    )
    assert table.columns == ["system", "ACR", "HR@500", "MAP", "R@10", "identifiers", "ms"]
    assert table.is_numeric() == [False] + [True] * 6
    odd, bm25, same = table.cells()
    assert [cell.stars for cell in odd] == ["", "", "**", "*", "**", "", ""]  # MAP as the report has it, others tested
    assert [cell.best for cell in odd[1:5]] == [False, True, True, True]  # all read alike in ACR
    assert [cell.text for cell in odd[5:]] == ["12.0", "1.2"]
    assert [cell.text for cell in bm25[5:]] == ["–", "–"]
    assert not any(cell.stars or cell.best for cell in bm25 + same)
    assert "60 of them" in table.note and "against BM25" in table.note
    other = systems_table(report, [ODD, "BM25"], against=ODD).cells()
    assert [cell.stars for cell in other[1]] == ["", "", "**", "**", "**"]


def test_systems_table_refuses_what_is_not_there(report):
    with pytest.raises(InputError, match="the report has no ACR of 'none'; measure it first"):
        systems_table(report, ["none"])
    with pytest.raises(InputError, match="the report has no HR@10 of 'BM25'"):
        systems_table(report, ["BM25"], metrics=["HR@10"])
    with pytest.raises(InputError, match="a row of 1 cells in a table of 2 columns"):
        Table(["a", "b"], [["x"]])


def test_cells():
    values = [None, float("nan"), np.float32("nan"), 1234, np.int64(1234), 0.5, np.float64(0.5), "x", Cell(2.0).value]
    assert [Cell(value).text for value in values] == ["–"] * 3 + ["1,234"] * 2 + ["0.5000"] * 2 + ["x", "2.0000"]


def test_markdown_keeps_its_columns(sections):
    text = markdown(sections, figures="figures")
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert not re.search(r"(?<!\\)<script", text.replace("`", "")) and r"\*水壶\*" in text and r"\[x\](y)" in text
    assert r"`a\|b` and a \* b" in text and "\n\\# 1\n" in text
    assert "```sh\nintently <x> | y\n```" in text
    assert re.search(r"\| \*\*0\.\d{4}\*\*\\\*\\\* \|", text)
    assert "![bars](figures/bars.svg)" in text and "![" not in markdown(sections)
    assert "| a | b | 1,234 |\n| c | d | – |" in text and "| --- | --- | ---: |" in text
    assert "✓ " in text and "✗ pan" in text and "| lamp |" in text
    assert text.startswith("## ") and markdown(sections, level=3).startswith("### ")


def test_figures_become_files(sections, tmp_path):
    write_figures(tmp_path / "figures", sections)
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["bars.svg"]
    with pytest.raises(InputError, match="two figures have the same name"):
        write_figures(tmp_path, [*sections, *sections])


def test_a_block_is_replaced_and_nothing_else(sections, tmp_path):
    path = tmp_path / "results.md"
    path.write_text("前\n<!-- rare -->\nold\n<!-- /rare -->\n<!-- rare-cases -->\n<!-- /rare-cases -->\nafter", "utf-8")
    replace_block(path, "rare", markdown(sections))
    once = path.read_text(encoding="utf-8")
    modified = path.stat().st_mtime_ns
    replace_block(path, "rare", markdown(sections))
    assert path.read_text(encoding="utf-8") == once and path.stat().st_mtime_ns == modified
    assert once.startswith("前\n<!-- rare -->\n\n## ") and "\nold\n" not in once
    assert once.endswith("\n\n<!-- /rare -->\n<!-- rare-cases -->\n<!-- /rare-cases -->\nafter")
    replace_block(path, "rare", "")
    assert "script" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "content", ["", "<!-- rare -->", "<!-- /rare --><!-- rare -->", "<!-- rare --><!-- /rare -->" * 2, "<!--rare-->"]
)
def test_marks_must_be_there_once(tmp_path, content):
    path = tmp_path / "results.md"
    path.write_text(content)
    with pytest.raises(InputError, match="does not have one block 'rare'; write <!-- rare --> and <!-- /rare -->"):
        replace_block(path, "rare", "new")
    assert path.read_text() == content


def test_a_block_holds_no_marks_of_its_own(tmp_path):
    path = tmp_path / "results.md"
    path.write_text("<!-- rare --><!-- /rare -->")
    with pytest.raises(InputError, match="has its marks inside"):
        replace_block(path, "rare", "<!-- /rare -->")
    with pytest.raises(InputError, match="no such file"):
        replace_block(tmp_path / "none.md", "rare", "new")
