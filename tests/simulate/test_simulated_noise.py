"""Noise: its autocorrelation, and that what can be regressed out can be regressed out."""

import numpy as np
import pytest

from cinebold.simulate.noise import autoregressive_noise, draw_noise, head_motion, slow_cosines
from cinebold.simulate.truth import residuals


@pytest.mark.parametrize("ar1", [0.0, 0.3, 0.7])
def test_noise_is_stationary_with_the_autocorrelation_asked_for(ar1):
    noise = autoregressive_noise(200, 3000, ar1, np.random.default_rng(0)).astype(np.float64)
    # 600,000 samples: standard errors below 0.005 for the whole, 0.03 for one volume
    assert noise.var() == pytest.approx(1, abs=0.02)
    assert (noise[1:] * noise[:-1]).mean() == pytest.approx(ar1, abs=0.01)
    assert noise[0].var() == pytest.approx(1, abs=0.15)
    assert noise[-1].var() == pytest.approx(1, abs=0.15)


def test_cosines_are_those_of_nilearn():
    from nilearn.glm.first_level.design_matrix import create_cosine_drift

    frame_times = np.arange(150) * 2.0
    expected = create_cosine_drift(1 / 128, frame_times)[:, :-1]  # its last column is the constant
    np.testing.assert_allclose(slow_cosines(150, 2.0), expected, atol=1e-12)


def test_drift_and_motion_are_removed_by_regression():
    rng = np.random.default_rng(0)
    cosines, motion = slow_cosines(160, 2.0), head_motion(160, 2.0, rng)
    noise = draw_noise(500, rng, cosines=cosines, nuisance=motion, ar1=0.3, drift_sd=1.0, motion_sd=0.6)
    assert np.sqrt((noise.drift**2).mean()) == pytest.approx(1.0, rel=0.1)
    assert np.sqrt((noise.motion**2).mean()) == pytest.approx(0.6, rel=0.1)
    nuisance = np.hstack([cosines, motion])
    left = residuals(noise.drift + noise.motion, nuisance)
    assert np.abs(left).max() < 1e-4  # float32


def test_no_cosines_means_no_drift():
    rng = np.random.default_rng(0)
    noise = draw_noise(
        5, rng, cosines=np.zeros((20, 0)), nuisance=np.ones((20, 2)), ar1=0, drift_sd=1, motion_sd=1
    )
    assert not noise.drift.any()
    assert not noise.motion.any()  # constant columns carry nothing


def test_head_motion_is_of_a_realistic_size():
    for seed in range(5):
        motion = head_motion(200, 2.0, np.random.default_rng(seed))
        step = np.abs(np.diff(motion, axis=0))
        displacement = step[:, :3].sum(axis=1) + 50 * step[:, 3:].sum(axis=1)
        assert 0.02 < np.median(displacement) < 0.4
        assert np.abs(motion[:, :3]).max() < 4
