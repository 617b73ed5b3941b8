"""Film time to volumes: time bases, low-pass weights, showings that fit and that do not."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinebold.design.alignment import Showing, build_run_design, to_volumes, volume_times_s
from cinebold.errors import InputError, SettingError


def a_series(duration_s=20.0, hop_s=0.25, value=lambda t: t, names=("a",)):
    times_s = np.arange(hop_s / 2, duration_s, hop_s)
    values = np.stack([np.broadcast_to(value(times_s), times_s.shape)] * len(names), axis=1)
    return SimpleNamespace(
        values=values.astype(np.float32), times_s=times_s, names=tuple(names), film_duration_s=duration_s
    )


def a_showing(onset_s, duration_s=None, offset_s=0.0, film_id="film", **series):
    return Showing(film_id, onset_s, duration_s, offset_s, {"space": a_series(**series)})


def test_volume_times_follow_start_time_and_else_the_middle_of_the_volume():
    np.testing.assert_allclose(volume_times_s(3, 1.5, None), [0.75, 2.25, 3.75])
    np.testing.assert_allclose(volume_times_s(3, 1.5, 0.0), [0.0, 1.5, 3.0])


@given(
    hop_s=st.floats(0.05, 6.0),
    tr_s=st.floats(0.4, 3.0),
    duration_s=st.floats(1.0, 40.0),
    phase=st.floats(0.0, 1.0),
    low_pass=st.sampled_from(["lanczos", "box"]),
)
def test_a_constant_stays_constant_everywhere_in_the_film(hop_s, tr_s, duration_s, phase, low_pass):
    series = a_series(duration_s, hop_s, value=lambda t: 3.0)
    if len(series.times_s) == 0:
        return
    film_times_s = np.arange(phase * tr_s, duration_s, tr_s)
    read = to_volumes(series.values, series.times_s, film_times_s, tr_s, low_pass)
    np.testing.assert_allclose(read, 3.0, rtol=1e-9)


def test_lanczos_equals_the_formula_written_as_loops():
    rng = np.random.default_rng(1)
    times_s = np.arange(0.1, 12.0, 0.2)
    values = rng.normal(size=(len(times_s), 2))
    film_times_s = np.array([0.4, 3.3, 6.0, 11.7])
    tr_s = 1.1
    expected = np.zeros((4, 2))
    for row, t in enumerate(film_times_s):
        weights = []
        for window_s in times_s:
            x = (window_s - t) / tr_s
            weights.append(np.sinc(x) * np.sinc(x / 3) if abs(x) < 3 else 0.0)
        expected[row] = np.array(weights) @ values / np.sum(weights)
    np.testing.assert_allclose(to_volumes(values, times_s, film_times_s, tr_s), expected, atol=1e-12)


def test_lanczos_removes_what_the_volumes_cannot_carry_and_keeps_what_they_can():
    times_s = np.arange(0.05, 100, 0.1)
    film_times_s = np.arange(10.0, 90.0, 1.0)
    fast = to_volumes(np.cos(2 * np.pi * 1.5 * times_s)[:, None], times_s, film_times_s, 1.0)
    slow = to_volumes(np.cos(2 * np.pi * 0.1 * times_s)[:, None], times_s, film_times_s, 1.0)[:, 0]
    assert np.abs(fast).max() < 0.02
    np.testing.assert_allclose(slow, np.cos(2 * np.pi * 0.1 * film_times_s), atol=0.03)


def test_box_is_the_mean_of_the_windows_of_the_volume():
    # 24 windows a volume of 1 s, volumes in the middle: the block mean of the 2021 project.
    values = np.random.default_rng(2).normal(size=(24 * 10, 3))
    times_s = (np.arange(240) + 0.5) / 24
    read = to_volumes(values, times_s, np.arange(10) + 0.5, 1.0, "box")
    np.testing.assert_allclose(read, values.reshape(10, 24, 3).mean(1), atol=1e-12)


def test_box_takes_the_nearest_window_where_none_falls_in():
    read = to_volumes(
        np.array([[1.0], [2.0], [3.0]]), np.array([0.0, 10.0, 20.0]), np.array([4.0, 6.0, 19.0]), 1.0, "box"
    )
    np.testing.assert_allclose(read[:, 0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("low_pass", ["lanczos", "box"])
def test_a_series_of_one_window_is_its_value(low_pass):
    np.testing.assert_allclose(
        to_volumes(np.array([[7.0]]), np.array([0.2]), np.array([0.0, 1.0]), 1.0, low_pass), 7.0
    )


def test_an_unknown_low_pass_is_refused():
    with pytest.raises(SettingError, match="lanczos, box"):
        to_volumes(np.ones((2, 1)), np.arange(2.0), np.arange(2.0), 1.0, "gauss")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    onset_s=st.floats(0.0, 15.0), offset_s=st.floats(0.0, 5.0), tr_s=st.floats(0.5, 2.5), start=st.booleans()
)
def test_volumes_see_the_film_time_that_events_and_start_time_say(dtype, onset_s, offset_s, tr_s, start):
    n_volumes = int(40 / tr_s)
    start_time_s = 0.1 if start else None
    showing = a_showing(onset_s, None, offset_s, hop_s=0.1)
    showing.series["space"].values = showing.series["space"].values.astype(dtype)
    design, _ = build_run_design("run", n_volumes, tr_s, start_time_s, [showing], None, "box")
    for volume in range(n_volumes):
        t = volume * tr_s + (0.1 if start else tr_s / 2)
        film_time_s = t - onset_s + offset_s
        if abs(t - onset_s) < 1e-6 or abs(film_time_s - 20.0) < 1e-6:
            continue
        shown = t >= onset_s and film_time_s < 20.0
        assert design.has_film[volume] == shown
        if not shown:
            assert design.features["space"][volume, 0] == 0
            assert np.isnan(design.film_time_s[volume])
            continue
        assert design.film_time_s[volume] == pytest.approx(film_time_s)
        # A box over a straight line reads the line, except where the film's ends cut the box.
        if tr_s / 2 < film_time_s < 20.0 - tr_s / 2:
            assert design.features["space"][volume, 0] == pytest.approx(film_time_s, abs=0.0501)


def test_two_films_keep_to_themselves_and_the_gap_is_zero():
    showings = [
        a_showing(20.0, 10.0, film_id="second", value=lambda t: -5.0),
        a_showing(0.0, 10.0, film_id="first", value=lambda t: 5.0),
    ]
    design, warnings = build_run_design("run", 40, 1.0, 0.0, showings)
    expected = np.zeros(40)
    expected[:10], expected[20:30] = 5.0, -5.0
    np.testing.assert_allclose(design.features["space"][:, 0], expected, rtol=1e-6)
    assert design.film_ids == ("second", "first")
    np.testing.assert_array_equal(design.film_of_volume[[0, 9, 10, 19, 20, 29, 30]], [1, 1, -1, -1, 0, 0, -1])
    assert design.keep.all()
    assert len(warnings) == 2 and "only its beginning counts" in warnings[0]


@pytest.mark.parametrize(
    ("showings", "message"),
    [
        ([a_showing(0.0, 10.0), a_showing(9.0, 5.0)], "begins before the one before it ends"),
        ([a_showing(30.0)], "begins outside the run"),
        ([a_showing(-2.0)], "begins outside the run"),
        ([Showing("film", 0.0, None, 0.0, {"space": a_series(40.0)})], "longer than the whole run"),
        ([a_showing(0.0, offset_s=21.0)], "the film lasts 20 s"),
        ([a_showing(0.0, 0.0)], "a duration is positive"),
        ([], "shows no film"),
        ([a_showing(0.0, 5.0), a_showing(6.0, 5.0, names=("a", "b"))], "other features"),
    ],
)
def test_impossible_showings_are_refused(showings, message):
    with pytest.raises(InputError, match=message):
        build_run_design("task-x_run-1", 30, 1.0, None, showings)


def test_misfits_of_more_than_a_volume_are_told():
    outlasts = build_run_design("run", 30, 1.0, None, [a_showing(15.0)])[1]
    assert len(outlasts) == 1 and "after the run" in outlasts[0]
    assert not build_run_design("run", 30, 1.0, None, [a_showing(10.9)])[1]
    longer_event = build_run_design("run", 30, 1.0, None, [a_showing(0.0, 25.0)])[1]
    assert len(longer_event) == 1 and "are left" in longer_event[0]
    coarse = build_run_design("run", 30, 1.0, None, [a_showing(0.0, hop_s=1.0)])[1]
    assert len(coarse) == 1 and "aliased" in coarse[0]
    unseen = build_run_design("run", 30, 1.0, None, [a_showing(0.6, 0.5), a_showing(5.0)])[1]
    assert any("covers no volume" in sentence for sentence in unseen)
