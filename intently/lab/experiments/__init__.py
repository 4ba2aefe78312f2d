"""Reproducing published tables: resumable experiments, and reports that say what they found."""

from intently.lab.experiments.figures import Figure, groups_chart, line_chart, systems_chart, training_chart
from intently.lab.experiments.publish import replace_block, write_figures
from intently.lab.experiments.report import Case, Cell, Section, Shown, Table, systems_table
from intently.lab.experiments.report_html import write_html
from intently.lab.experiments.report_markdown import markdown
from intently.lab.experiments.runner import Answers, Experiment, SystemResult, fingerprint_of

__all__ = [
    "Answers",
    "Case",
    "Cell",
    "Experiment",
    "Figure",
    "Section",
    "Shown",
    "SystemResult",
    "Table",
    "fingerprint_of",
    "groups_chart",
    "line_chart",
    "markdown",
    "replace_block",
    "systems_chart",
    "systems_table",
    "training_chart",
    "write_figures",
    "write_html",
]
