"""Keywords that the ad's own negatives forbid."""

import pytest

from intently.rules import PRESETS
from intently.rules.conflicts import conflicts


@pytest.mark.parametrize(
    ("keyword", "negative", "is_conflict"),
    [
        ("[free hose]", "free", True),
        ('"free hose"', '"free hose"', True),
        ("[free hose]", "[free hose]", True),
        ('"free hose"', "[free hose]", False),  # "free hose sale" still comes
        ("free hose", '"free hose"', False),  # "hose free" still comes
        ("free hose", '"free"', True),
        ("hose", "free", False),
        ("[hoses]", "hose", False),  # negatives are literal
        ("[免费水管]", "免费", True),
        ("免费水管", '"免费水管"', False),
        ("水管", "免费", False),
    ],
)
def test_conflicts(keyword: str, negative: str, is_conflict: bool) -> None:
    expected = [(keyword, negative)] if is_conflict else []
    assert conflicts([keyword], [negative], PRESETS["google"]) == expected
