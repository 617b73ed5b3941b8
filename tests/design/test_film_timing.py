"""Drift between films, events and runs, by hand."""

import pytest

from cinebold.design.film_timing import ShowingTime, run_timing


def test_a_film_that_is_shorter_than_its_event():
    timing = run_timing(
        "run-1",
        200.0,
        [ShowingTime("a.mp4", 10.0, 99.5, 100.0, 190.0), ShowingTime("b.mp4", 110.0, 95.25, 91.0, 90.0)],
    )
    assert timing["film_minus_event_s"] == pytest.approx(-0.5 + 4.25)
    assert timing["end_minus_run_end_s"] == pytest.approx(
        1.0
    )  # b: 91 s of the event in the 90 s that are left
    assert (timing["films_s"], timing["events_s"]) == (194.75, 191.0)
    assert [one["film"] for one in timing["showings"]] == ["a.mp4", "b.mp4"]
    assert timing["showings"][0]["end_minus_run_end_s"] == pytest.approx(99.5 - 190)


def test_without_durations_only_the_run_is_compared():
    timing = run_timing("run-1", 100.0, [ShowingTime("a.mp4", 8.0, 92.5, None, 92.0)])
    assert (timing["events_s"], timing["film_minus_event_s"]) == (None, None)
    assert timing["end_minus_run_end_s"] == pytest.approx(0.5)
