"""Sampling windows against loops and their own definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinebold.errors import SettingError
from cinebold.video.windows import ShownFrames, WindowRule, evenly_spaced_frames, frames_shown_at

durations = st.floats(0.02, 200)
hops = st.floats(0.05, 5)
spans = st.floats(0.01, 5)


@given(durations, hops, spans, st.integers(1, 70), st.sampled_from(["centre", "end", "start", "frame"]))
@settings(max_examples=200, deadline=None)
def test_windows_follow_their_definition(duration_s, hop_s, span_s, n_samples, align):
    rule = WindowRule(span_s, hop_s, n_samples, align)
    times, samples = rule.times(duration_s), rule.sample_times(duration_s)
    np.testing.assert_allclose(times, hop_s / 2 + hop_s * np.arange(len(times)))
    assert len(times) == 1 or times[-1] < duration_s
    assert times[-1] + hop_s >= duration_s - 1e-5
    assert samples.shape == (len(times), n_samples)
    np.testing.assert_allclose(np.diff(samples, axis=1), span_s / n_samples, atol=1e-9)
    anchor = {
        "centre": samples.mean(axis=1),
        "end": samples[:, -1],
        "start": samples[:, 0],
        "frame": samples[:, n_samples // 2],
    }[align]
    np.testing.assert_allclose(anchor, times, atol=1e-9)
    pad = rule.pad_fraction(duration_s)
    assert ((pad >= 0) & (pad <= 1)).all()
    inside = (samples >= 0).all(axis=1) & (samples < duration_s - 2e-6).all(axis=1)
    assert (pad[inside] == 0).all()


@given(st.lists(st.integers(-3000, 90000), min_size=1, max_size=60, unique=True), st.data())
@settings(max_examples=200, deadline=None)
def test_frame_on_display_is_the_last_that_is_not_later(ticks, data):
    pts_s = np.sort(np.array(ticks)) / 1000
    ms = np.array(data.draw(st.lists(st.integers(-4000, 95000), min_size=1, max_size=60)))
    shown = frames_shown_at(pts_s, ms / 1000)
    for time, index in zip(ms, shown, strict=True):
        earlier = [i for i, tick in enumerate(sorted(ticks)) if tick <= time]
        assert index == (earlier[-1] if earlier else 0)


@given(st.lists(st.integers(0, 90000), min_size=1, max_size=60, unique=True), st.data())
@settings(max_examples=200, deadline=None)
def test_streaming_finds_the_same_frames(ticks, data):
    pts_s = np.sort(np.array(ticks)) / 1000
    times_s = np.sort(data.draw(st.lists(st.integers(-500, 95000), max_size=60))) / 1000
    clock = ShownFrames(times_s)
    found = np.full(len(times_s), -1)
    for index, time_s in enumerate(pts_s):
        found[clock.add(time_s)] = index - 1
    found[clock.finish()] = len(pts_s) - 1
    expected = frames_shown_at(pts_s, times_s) if len(times_s) else found
    np.testing.assert_array_equal(found, expected)


def test_a_rounding_error_does_not_show_the_frame_before():
    pts_s = np.arange(100) / 30
    times_s = np.cumsum(np.full(50, 1 / 15)) - 1 / 15  # sums of 1/15 fall below the frames they mean
    np.testing.assert_array_equal(frames_shown_at(pts_s, times_s), 2 * np.arange(50))


def test_a_film_shorter_than_a_window_has_one_window():
    rule = WindowRule(span_s=2.0, hop_s=1.0, n_samples=4)
    assert rule.times(0.1).tolist() == [0.5]
    assert rule.pad_fraction(0.1).tolist() == [1.0]
    assert rule.pad_fraction(2.0).tolist() == [0.25, 0.25]


@pytest.mark.parametrize("bad", [{"span_s": 0}, {"hop_s": -1}, {"n_samples": 0}, {"align": "middle"}])
def test_impossible_rules_are_refused(bad):
    with pytest.raises(SettingError):
        WindowRule(**{"span_s": 1.0, "hop_s": 1.0, "n_samples": 2, **bad})


@given(st.integers(1, 200), st.integers(1, 40))
def test_evenly_spaced_frames_reach_from_the_first_to_the_last(n_frames, n_samples):
    frames = evenly_spaced_frames(n_frames, n_samples)
    assert frames.shape == (n_samples,)
    assert frames[0] == 0
    assert (np.diff(frames) >= 0).all()
    assert frames.max() <= n_frames - 1
    if n_samples == 1:
        return
    assert frames[-1] == n_frames - 1
    if n_frames >= n_samples:
        exact = [k * (n_frames - 1) / (n_samples - 1) for k in range(n_samples)]
        assert all(0 <= e - f < 1 + 1e-9 for e, f in zip(exact, frames, strict=True))
        assert len(set(frames)) == n_samples
    else:
        assert frames.tolist() == [min(k, n_frames - 1) for k in range(n_samples)]
