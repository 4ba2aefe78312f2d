"""Options that belong to no single stage: what is shown of the log, and what a build begins from."""

import logging

import pytest

pytest.importorskip("torch")

from test_cli import assert_refused, intently

from intently.cli import options


@pytest.fixture
def logger():
    logger = logging.getLogger("intently")
    before = logger.handlers, logger.level
    yield logging.getLogger("intently.anywhere")
    logger.handlers, level = before
    logger.setLevel(level)


@pytest.mark.parametrize(("verbose", "shown"), [(False, ["WARNING"]), (True, ["INFO", "WARNING"])])
def test_what_is_shown_of_the_log(logger, capsys, verbose, shown):
    options(True)
    options(verbose)
    options(verbose)  # as often as it is called, each record is shown once
    logger.debug("never")
    logger.info("[red]a merge[/red]")
    logger.warning("a slow query")
    told = capsys.readouterr()
    assert told.out == "" and [line.split()[0] for line in told.err.splitlines()] == shown
    assert ("[red]a merge[/red]" in told.err) == verbose


def test_help_tells_of_it(logger):
    assert "--verbose" in intently("--help").out


def test_an_unknown_preset(logger, tmp_path):
    outcome = intently("build", "--ads", tmp_path / "ads.tsv", "--out", tmp_path / "e", "--preset", "fast")
    assert_refused(outcome, "the preset is 'fast'; it takes one of lexical, instant, default, best")
