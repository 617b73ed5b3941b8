"""Low-level features against slow references and planted events."""

from itertools import pairwise

import numpy as np
import pytest

from cinebold.errors import SettingError
from cinebold.features.extraction import extract_features
from cinebold.features.low_level import NAMES
from cinebold.features.registry import create_extractor
from cinebold.video.decoding import iterate_frames, probe_film


def low_level(path, **parameters):
    return extract_features(path, {"a": create_extractor("low_level", parameters)})["a"]


def slow_lightness(frame):
    """CIE L* of an sRGB picture by the textbook, pixel by pixel."""
    result = np.zeros(frame.shape[:2])
    for index in np.ndindex(result.shape):
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in frame[index] / 255]
        luminance = 0.212671 * linear[0] + 0.715160 * linear[1] + 0.072169 * linear[2]
        result[index] = 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance
    return result


def test_against_a_slow_reference(film):
    """Frames of the size that is measured, so that no resizing is in between."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 255, (10, 9, 16, 3), dtype=np.uint8)
    path = film("a.mkv", coarse.repeat(10, axis=1).repeat(10, axis=2), fps=5)  # 2 s; a new picture each 0.2 s
    series = low_level(path, hop_s=1.0, rate_hz=5.0, cut_distance=1.0)
    pictures = np.array([frame for _, frame in iterate_frames(probe_film(path))])
    light = np.array([slow_lightness(frame) for frame in pictures])
    hsv = [(f.max(-1) - f.min(-1).astype(float)) / np.maximum(f.max(-1), 1) for f in pictures]
    change = np.array([0.0] + [np.abs(b - a).mean() for a, b in pairwise(light)])
    expected = np.column_stack(
        [light.mean(axis=(1, 2)), light.std(axis=(1, 2)), change, np.mean(hsv, axis=(1, 2))]
    )
    # 0.02: the textbook's two branches of L* and the rounded constants of the program's differ by so much.
    np.testing.assert_allclose(series.values[:, :4], expected.reshape(2, 5, 4).mean(axis=1), atol=0.02)
    assert series.names == NAMES
    assert series.times_s.tolist() == [0.5, 1.5]
    assert series.values.dtype == np.float32


def test_averages_follow_the_time_on_display_not_the_number_of_frames(film):
    frames = np.zeros((6, 48, 64, 3), np.uint8)
    frames[5] = 255
    # Five black frames in the first 50 ms, black until 0.75 s, then white until the end.
    path = film("a.mkv", np.concatenate([frames, frames[5:]]), [0, 10, 20, 30, 40, 750, 999])
    series = low_level(path, hop_s=1.0)
    assert series.values[0, 0] == pytest.approx(25, abs=0.5)


def test_frame_difference_does_not_depend_on_the_frame_rate(film):
    def grating(fps):
        t = np.arange(3 * fps)[:, None, None] / fps
        pattern = 127 + 100 * np.sin(np.mgrid[:45, :80][1] / 5 - 4 * t)
        return film(f"{fps}.mkv", pattern[..., None].repeat(3, axis=-1).astype(np.uint8), fps=fps)

    slow, fast = (low_level(grating(fps)).values[1:-1, 2].mean() for fps in (20, 60))
    assert slow == pytest.approx(fast, rel=0.03)


def test_cuts_are_found_where_they_are(film):
    y, x = np.mgrid[:45, :80]
    shots = []
    for shot, n_frames in enumerate([30, 45, 25]):  # cuts at 1.2 and 3.0 s
        for t in range(n_frames):
            wave = 127 + 120 * np.sin((x * np.cos(shot) + y * np.sin(shot)) / (6 + shot) + 0.15 * t)
            colour = np.roll([1.0, 0.6, 0.2], shot)
            shots.append((wave[..., None] * colour).astype(np.uint8))
    series = low_level(film("a.mkv", np.array(shots)))
    assert series.times_s[series.values[:, 4] > 0].tolist() == [1.25, 3.25]
    assert series.values[:, 4].sum() * 0.5 == pytest.approx(2)


def test_cuts_of_a_real_film(shared_data):
    series = low_level(shared_data / "videos" / "bbb_480p_30s.mp4")
    found_s = series.times_s[series.values[:, 4] > 0]
    for cut_s in (11.75, 15.75, 23.25):  # seen by eye, to the half second
        assert np.abs(found_s - cut_s).min() <= 0.5
    assert len(found_s) <= 5


def test_last_bin_and_very_short_films(film):
    grey = np.full((9, 48, 64, 3), 128, np.uint8)
    series = low_level(film("a.mkv", grey, fps=10), hop_s=0.5)
    np.testing.assert_allclose(series.pad_fraction, [0, 0.2], atol=1e-3)
    short = low_level(film("b.mkv", grey[:1], fps=10))
    assert short.values.shape == (1, 5)
    assert np.isfinite(short.values).all()
    assert short.pad_fraction[0] == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize(
    "bad", [{"hop_s": 0}, {"hop": 1}, {"rate_hz": "ten"}, {"cut_distance": 2}, {"hop_s": True}]
)
def test_parameters_that_make_no_sense(bad):
    with pytest.raises(SettingError, match="low_level"):
        create_extractor("low_level", bad)
