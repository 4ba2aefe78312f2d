"""Sources in turns: who is admitted when, who is drawn more, and that a schedule is resumed exactly."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.errors import SettingsError
from intently.train.schedule import Order, ScheduleSettings, SourceSchedule


def test_other_sources_are_admitted_by_and_by():
    schedule = SourceSchedule(3, 100, ScheduleSettings(admission_share=0.2), seed=0)
    for step, admission in [(0, 0.0), (5, 0.25), (10, 0.5), (20, 1.0), (99, 1.0)]:
        assert schedule.probabilities(step) == pytest.approx([1 - admission * 2 / 3, admission / 3, admission / 3])
    at_once = SourceSchedule(2, 100, ScheduleSettings(admission_share=0), seed=0)
    assert at_once.probabilities(1) == pytest.approx([0.5, 0.5])


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1)), max_size=40), st.sampled_from([0.0, 0.5, 0.99]))
def test_a_worse_source_weighs_more(reports, decay):
    settings = ScheduleSettings(admission_share=0, decay=decay, min_error=0.05)
    schedule = SourceSchedule(3, 100, settings, seed=0)
    for source, accuracy in reports:
        schedule.report(source, accuracy)
    errors = []
    for source in range(3):
        own = [accuracy for other, accuracy in reports if other == source][::-1]
        weights = [decay**age for age in range(len(own))]
        mean = float(np.average(own, weights=weights)) if own else 0.0
        assert schedule.accuracies[source] == pytest.approx(mean, abs=1e-9)
        errors.append(max(1 - mean, 0.05))
    assert schedule.probabilities(50) == pytest.approx(np.array(errors) / sum(errors))


def test_sources_are_drawn_by_their_probabilities_and_as_before_after_a_stop():
    settings = ScheduleSettings(admission_share=0)
    schedule = SourceSchedule(2, 4000, settings, seed=3)
    for _ in range(50):
        schedule.report(0, 0.9)
        schedule.report(1, 0.6)
    drawn = [schedule.draw(step) for step in range(4000)]
    assert Counter(drawn)[1] / 4000 == pytest.approx(0.8, abs=0.03)
    resumed = SourceSchedule(2, 4000, settings, seed=3)
    resumed.restore(schedule.state())
    assert [resumed.draw(step) for step in range(200)] == drawn[:200]
    assert resumed.num_drawn.tolist() == [50, 50]
    other = SourceSchedule(2, 4000, settings, seed=4)
    other.restore(schedule.state())
    assert [other.draw(step) for step in range(200)] != drawn[:200]


@pytest.mark.parametrize("num_steps", [3, 10, 11])
def test_in_sequence_each_source_has_an_equal_part(num_steps):
    schedule = SourceSchedule(3, num_steps, ScheduleSettings(order=Order.SEQUENTIAL), seed=0)
    drawn = [schedule.draw(step) for step in range(num_steps)]
    assert drawn == sorted(drawn)
    assert max(Counter(drawn).values()) - min(Counter(drawn).values()) <= 1
    assert len(set(drawn)) == 3


@pytest.mark.parametrize(
    "wrong", [{"order": "random"}, {"admission_share": 1.5}, {"decay": 1.0}, {"min_error": 0.0}], ids=str
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        ScheduleSettings(**wrong)
