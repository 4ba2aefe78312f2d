"""Sources in turns: who is admitted when, who is drawn more, and that a schedule is resumed exactly."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.build.training.schedule import Order, ScheduleSettings, SourceSchedule
from intently.errors import SettingsError


def test_other_sources_are_admitted_by_and_by():
    schedule = SourceSchedule(3, 100, ScheduleSettings(admission_share=0.2, first_share=0), seed=0)
    for step, admission in [(0, 0.0), (5, 0.25), (10, 0.5), (20, 1.0), (99, 1.0)]:
        assert schedule.probabilities(step) == pytest.approx([1 - admission * 2 / 3, admission / 3, admission / 3])
    at_once = SourceSchedule(2, 100, ScheduleSettings(admission_share=0), seed=0)
    assert at_once.probabilities(1) == pytest.approx([0.5, 0.5])


@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1)), max_size=60),
    st.sampled_from([0.0, 0.5, 0.99]),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_a_source_that_grew_worse_weighs_more(reports, decay, first_share):
    settings = ScheduleSettings(admission_share=0, decay=decay, min_error=0.05, first_share=first_share)
    schedule = SourceSchedule(3, 100, settings, seed=0)
    for source, accuracy in reports:
        schedule.report(source, accuracy)
    errors = []
    for source in range(3):
        own = [accuracy for other, accuracy in reports if other == source]
        weights = [decay**age for age in range(len(own))][::-1]
        mean = float(np.average(own, weights=weights)) if own else 0.0
        assert schedule.accuracies[source] == pytest.approx(mean, abs=1e-9)
        errors.append(max(1 - mean, 0.05) / max(1 - np.mean(own[:10]), 0.05) if own else 1.0)
    shares = np.array(errors) / sum(errors)
    if shares[0] < first_share:
        shares = np.array([first_share, *(shares[1:] / shares[1:].sum() * (1 - first_share))])
    assert schedule.probabilities(50) == pytest.approx(shares)


def test_what_cannot_be_learnt_does_not_take_everything():
    schedule = SourceSchedule(3, 100, ScheduleSettings(admission_share=0), seed=0)
    for step in range(200):
        schedule.report(0, 0.5 + step / 500)
        schedule.report(1, 0.02)  # never known
        schedule.report(2, 0.4 if step < 10 else 0.2)  # forgotten
    clicks, noise, forgotten = schedule.probabilities(50)
    assert clicks == 0.5
    assert noise < forgotten
    assert noise == pytest.approx(0.5 / (1 + 0.8 / 0.6), abs=0.02)


def test_even_shares():
    settings = ScheduleSettings(first_share=0.4)
    assert settings.shares(np.ones(4)) == pytest.approx([0.4, 0.2, 0.2, 0.2])
    assert settings.shares(np.ones(2)) == pytest.approx([0.5, 0.5])
    assert settings.shares(np.ones(1)).tolist() == [1.0]


def test_sources_are_drawn_by_their_probabilities_and_as_before_after_a_stop():
    settings = ScheduleSettings(admission_share=0, first_share=0.1, decay=0.0)
    schedule = SourceSchedule(2, 4000, settings, seed=3)
    for number in range(50):
        schedule.report(0, 0.6 if number < 10 else 0.9)
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
    assert drawn == sorted(drawn, key=lambda source: source or 3)  # the first last
    assert max(Counter(drawn).values()) - min(Counter(drawn).values()) <= 1
    assert len(set(drawn)) == 3


@pytest.mark.parametrize(
    "wrong",
    [{"order": "random"}, {"admission_share": 1.5}, {"decay": 1.0}, {"min_error": 0.0}, {"first_share": 2}],
    ids=str,
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        ScheduleSettings(**wrong)
