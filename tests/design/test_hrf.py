"""Canonical responses against nilearn's regressors and the formula, convolution against a loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gamma

from cinebold.design.hrf import convolved, hrf_kernel
from cinebold.errors import SettingError


@pytest.mark.parametrize("tr_s", [0.8, 1.0, 1.75, 2.0, 3.1])
def test_kernels_equal_the_difference_of_two_gammas(tr_s):
    lags_s = np.arange(int(32 / tr_s) + 1) * tr_s
    for name, (undershoot, dispersion, ratio) in {"spm": (16, 1.0, 0.167), "glover": (12, 0.9, 0.48)}.items():
        expected = gamma.pdf(lags_s, 6 / dispersion, scale=dispersion) - ratio * gamma.pdf(
            lags_s, undershoot / dispersion, scale=dispersion
        )
        kernel = hrf_kernel(name, tr_s)
        # nilearn shifts its densities by one sample of its fine grid, 0.01 s.
        np.testing.assert_allclose(kernel, expected / expected.sum(), atol=0.01 * kernel.max())
        assert kernel.sum() == pytest.approx(1)
        assert kernel[0] == 0


@pytest.mark.parametrize("name", ["spm", "glover"])
@pytest.mark.parametrize("tr_s", [1.0, 2.0])
def test_an_event_gives_the_regressor_of_nilearn(name, tr_s):
    """An event of one volume's length is what a feature sampled once a volume stands for: nilearn's regressor
    of the events at the volumes, each short, in the same proportions."""
    from nilearn.glm.first_level import compute_regressor

    rng = np.random.default_rng(0)
    n_volumes = 60
    frame_times = np.arange(n_volumes) * tr_s
    amplitudes = np.where(rng.random(n_volumes) < 0.2, rng.normal(size=n_volumes), 0)
    condition = np.stack([frame_times, np.zeros(n_volumes), amplitudes])
    regressor, _ = compute_regressor(condition, name, frame_times, oversampling=200)
    ours = convolved(amplitudes[:, None], hrf_kernel(name, tr_s))[:, 0]
    scale = regressor[:, 0] @ ours / (ours @ ours)
    # nilearn's fine time grid is 1.7 % slower than the volumes at the end of a run: hence the tolerance.
    np.testing.assert_allclose(regressor[:, 0] / scale, ours, atol=0.03 * np.abs(ours).max())


def test_the_peak_is_where_the_literature_has_it():
    assert 4.5 <= hrf_kernel("spm", 0.1).argmax() * 0.1 <= 5.5
    assert 4.0 <= hrf_kernel("glover", 0.1).argmax() * 0.1 <= 5.5
    assert 10 <= hrf_kernel("glover", 0.1).argmin() * 0.1 <= 13
    assert 14 <= hrf_kernel("spm", 0.1).argmin() * 0.1 <= 17


@given(n_volumes=st.integers(1, 20), n_features=st.integers(1, 4), n_lags=st.integers(1, 25))
def test_convolution_equals_a_loop(n_volumes, n_features, n_lags):
    rng = np.random.default_rng(n_volumes)
    features, kernel = rng.normal(size=(n_volumes, n_features)), rng.normal(size=n_lags)
    expected = np.zeros((n_volumes, n_features))
    for volume in range(n_volumes):
        for lag in range(n_lags):
            if volume - lag >= 0:
                expected[volume] += kernel[lag] * features[volume - lag]
    np.testing.assert_allclose(convolved(features, kernel), expected, atol=1e-12)
    single = convolved(features.astype(np.float32), kernel)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-5, atol=1e-4)


def test_what_comes_later_does_not_enter_what_was_before():
    features = np.ones((40, 2))
    features[20:] = np.nan
    result = convolved(features, hrf_kernel("spm", 2.0))
    assert np.isfinite(result[:20]).all()
    assert np.isnan(result[20:]).all()


def test_a_feature_that_does_not_change_keeps_its_value_once_the_response_is_over():
    for tr_s in (1.0, 2.0):
        kernel = hrf_kernel("spm", tr_s)
        np.testing.assert_allclose(convolved(np.full((60, 1), 3.0), kernel)[len(kernel) :], 3.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hrf_kernel("canonical", 2.0), "'canonical': choose one of spm, glover"),
        (lambda: hrf_kernel("spm", 0.0), "repetition time"),
        (lambda: hrf_kernel("spm", 6.0), "miss its peak"),
        (lambda: hrf_kernel("spm", 1.0, duration_s=3.0), "at least 20 s"),
    ],
)
def test_senseless_settings_are_refused(call, message):
    with pytest.raises(SettingError, match=message):
        call()
