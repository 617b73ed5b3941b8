"""Showings against volumes as experiments do it: a film twice in a row, a film that starts before the trigger."""

import numpy as np

from cinebold.design.alignment import Showing, build_run_design
from cinebold.features.series import FeatureSeries


def clock(duration_s, hop_s=0.05):
    """A feature that is the film time itself."""
    times_s = np.arange(0, duration_s, hop_s)
    values = times_s[:, None].astype(np.float32)
    return {"a": FeatureSeries(values, times_s, ("t",), np.zeros(len(times_s), np.float32), duration_s)}


def test_the_same_film_twice_in_a_row_starts_again():
    series = clock(15.0)
    showings = [Showing("film", onset, None, 0.0, series, name="a.mp4") for onset in (3.0, 18.0)]
    design, warnings = build_run_design("run-1", 25, 1.5, 0.0, showings, None, "box")
    times_s = 1.5 * np.arange(25)
    expected = np.where((times_s >= 3) & (times_s < 33), (times_s - 3) % 15, np.nan)
    np.testing.assert_allclose(design.film_time_s, expected, atol=1e-9)
    assert design.film_ids == ("film",) and not warnings
    inside = (expected > 1) & (expected < 14)
    np.testing.assert_allclose(design.features["a"][inside, 0], expected[inside], atol=0.03)
    assert not design.features["a"][~design.has_film].any()


def test_a_film_that_begins_just_before_the_first_volume_is_seen_from_there():
    design, _ = build_run_design("run-1", 10, 2.0, 0.5, [Showing("film", -1.0, None, 0.0, clock(15.0))])
    np.testing.assert_allclose(design.film_time_s[:7], 2.0 * np.arange(7) + 1.5)
    assert not design.has_film[7:].any()
