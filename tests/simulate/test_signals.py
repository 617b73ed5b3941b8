"""Planted signals against slow references."""

import numpy as np
import pytest

from cinebold.features.series import FeatureSeries
from cinebold.simulate.brain import REGIONS, make_brain, template_grid
from cinebold.simulate.signals import (
    Showing,
    double_gamma,
    draw_directions,
    draw_voxel_mix,
    haemodynamic_signal,
    run_signals,
    scale_directions,
    scale_mix,
)


def make_series(rng, duration_s, n_features):
    times_s = np.arange(0.25, duration_s, 0.5)
    values = rng.standard_normal((len(times_s), n_features)).astype(np.float32)
    pad = np.zeros(len(times_s), np.float32)
    return FeatureSeries(values, times_s, tuple(f"f{i}" for i in range(n_features)), pad, duration_s)


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return {
        film: {
            "low_level": make_series(rng, duration_s, 3),
            "motion_energy": make_series(rng, duration_s, 12),
        }
        for film, duration_s in (("a.mp4", 40.0), ("b.mp4", 30.0))
    }


def test_haemodynamic_response_has_unit_integral_and_the_peak_and_undershoot_of_spm():
    time_s = np.arange(0, 60, 0.01)
    response = double_gamma(time_s)
    assert response.sum() * 0.01 == pytest.approx(1, abs=1e-3)
    assert time_s[response.argmax()] == pytest.approx(5, abs=0.1)
    assert 14 < time_s[response.argmin()] < 17
    assert response[time_s <= 12].sum() * 0.01 > 1.0  # all of it, before the undershoot takes a part back


def test_convolution_equals_a_slow_sum():
    rng = np.random.default_rng(1)
    fine_s = np.arange(400) * 0.1
    neural = rng.standard_normal((400, 2))
    volumes_s = np.array([0.7, 10.0, 33.3])
    for row, time_s in zip(haemodynamic_signal(neural, fine_s, volumes_s), volumes_s, strict=True):
        i = round(time_s / 0.1)
        lags_s = np.arange(min(i + 1, 320)) * 0.1
        expected = sum(double_gamma(lag) * 0.1 * neural[i - k] for k, lag in enumerate(lags_s))
        np.testing.assert_allclose(row, expected, atol=1e-9)


def test_signal_starts_after_the_film_and_a_cut_film_drives_nothing_after_its_end(features):
    directions = draw_directions(features, 2, 2, np.random.default_rng(0))
    volumes_s = np.arange(80) + 0.5
    full = run_signals([Showing("a.mp4", 10.0, 40.0)], features, directions, volumes_s)
    cut = run_signals([Showing("a.mp4", 10.0, 12.0)], features, directions, volumes_s)
    assert full.shape == (80, 2 * sum(len(region.spaces) for region in REGIONS))
    np.testing.assert_allclose(full[volumes_s < 10], 0, atol=1e-9)  # convolution by FFT rounds
    np.testing.assert_allclose(full[volumes_s < 22], cut[volumes_s < 22], atol=1e-12)
    assert np.abs(full[30:40] - cut[30:40]).max() > 0.1
    np.testing.assert_allclose(cut[volumes_s > 22 + 32], 0, atol=1e-9)


def test_showings_add_up(features):
    directions = draw_directions(features, 2, 2, np.random.default_rng(0))
    volumes_s = np.arange(100) + 0.5
    shows = [Showing("a.mp4", 5.0, 40.0), Showing("b.mp4", 50.0, 30.0)]
    both = run_signals(shows, features, directions, volumes_s)
    parts = [run_signals([show], features, directions, volumes_s) for show in shows]
    np.testing.assert_allclose(both, parts[0] + parts[1], atol=1e-9)


def test_weights_lie_in_the_strongest_components_and_constant_features_have_no_drive(features):
    for spaces in features.values():
        spaces["low_level"].values[:, 1] = 7.0
    (direction,) = [
        d for d in draw_directions(features, 3, 2, np.random.default_rng(0)) if d.region == "ventral_temporal"
    ]
    assert np.linalg.matrix_rank(direction.weights) == 2
    changed = features["a.mp4"]["low_level"]
    before = direction.drive(changed)
    changed.values[:, 1] = -3.0
    np.testing.assert_array_equal(direction.drive(changed), before)


def test_scaling_gives_directions_unit_variance_and_voxels_their_deviation(features):
    brain = make_brain(*template_grid(10.0))
    directions = draw_directions(features, 2, 2, np.random.default_rng(0))
    volumes_s = np.arange(80) + 0.5
    runs = [run_signals([Showing(film, 5.0, 40.0)], features, directions, volumes_s) for film in features]
    scaled, signals = scale_directions(directions, runs)
    np.testing.assert_allclose(np.mean([run.var(axis=0) for run in signals], axis=0), 1)
    again = run_signals([Showing("a.mp4", 5.0, 40.0)], features, scaled, volumes_s)
    np.testing.assert_allclose(again, signals[0], atol=1e-9)
    sd = np.random.default_rng(2).uniform(0.5, 2, int(brain.mask.sum()))
    mix = draw_voxel_mix(brain.labels, brain.mask, brain.affine, scaled, np.random.default_rng(3))
    mix = scale_mix(mix, signals, sd)
    variance = np.mean([(run @ mix).var(axis=0) for run in signals], axis=0)
    planted = brain.labels[brain.mask] > 0
    np.testing.assert_allclose(np.sqrt(variance[planted]), sd[planted])
    assert not variance[~planted].any()
