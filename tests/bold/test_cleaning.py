"""Cleaning: equal to nilearn.signal.clean, exact on planted truth, stable in float32."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.signal import clean, create_cosine_drift

from cinebold.bold.cleaning import clean_responses, cosine_drift, nuisance_basis
from cinebold.errors import InputError, SettingError

N, V, TR = 150, 37, 2.0


def series(seed=0, mean=1e4, sd=1e2, n=N, v=V):
    """AR(1) with a drift, of a scanner's scale."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, v))
    for i in range(1, n):
        noise[i] += 0.4 * noise[i - 1]
    drift = np.linspace(-3, 3, n)[:, None] * rng.normal(size=v)
    return mean + sd * (noise + drift)


def by_nilearn(values, confounds, keep, high_pass_hz):
    """nilearn divides by the sample standard deviation (n - 1); we by n."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cleaned = clean(
            values.astype(np.float64),
            detrend=False,
            standardize="zscore_sample",
            sample_mask=None if keep.all() else np.flatnonzero(keep),
            confounds=confounds,
            filter="cosine" if high_pass_hz else False,
            high_pass=high_pass_hz,
            t_r=TR,
            ensure_finite=True,
        )
    n = keep.sum()
    return cleaned * np.sqrt(n / (n - 1))


@pytest.mark.parametrize("high_pass_hz", [None, 0.008, 0.02])
@pytest.mark.parametrize("n_confounds", [0, 1, 26])
@pytest.mark.parametrize("scrubbed", [False, True])
def test_equals_nilearn(high_pass_hz, n_confounds, scrubbed):
    rng = np.random.default_rng(1)
    values = series()
    confounds = rng.normal(3, [1e-3, 1e5][n_confounds % 2], (N, n_confounds)) if n_confounds else None
    keep = np.ones(N, bool)
    if scrubbed:
        keep[[0, 1, 40, 41, 42, 149]] = False
    expected = by_nilearn(values, confounds, keep, high_pass_hz)
    for dtype in (np.float32, np.float64):
        cleaned = clean_responses(values.astype(dtype), confounds, keep, TR, high_pass_hz)
        assert cleaned.dtype == dtype
        # float32 holds 10,000 to 1e-3, which is 1e-5 of the standard deviation; nilearn does not take
        # the mean out first, which costs it some digits of float64.
        np.testing.assert_allclose(cleaned[keep], expected, atol=4e-5 if dtype == np.float32 else 1e-8)
        assert np.all(cleaned[~keep] == 0)


def test_same_float32_input_equals_nilearn_to_1e5():
    values = series().astype(np.float32)
    confounds = np.random.default_rng(2).normal(size=(N, 12))
    keep = np.ones(N, bool)
    expected = by_nilearn(values, confounds, keep, 0.008)
    np.testing.assert_allclose(clean_responses(values, confounds, keep, TR, 0.008), expected, atol=1e-5)


@settings(max_examples=80, deadline=None)
@given(st.integers(3, 400), st.floats(0.3, 4), st.floats(0.0005, 0.1))
def test_cosines_equal_nilearn(n, tr_s, high_pass_hz):
    expected = create_cosine_drift(high_pass_hz, np.arange(n) * tr_s)[:, :-1]
    ours = cosine_drift(n, tr_s, high_pass_hz)
    if abs(2 * n * tr_s * high_pass_hz - round(2 * n * tr_s * high_pass_hz)) > 1e-9:
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_planted_signal_survives_and_confounds_do_not():
    rng = np.random.default_rng(5)
    confounds = rng.normal(size=(N, 6))
    keep = rng.random(N) < 0.9
    signal = np.sin(np.arange(N) * 0.9)
    basis = nuisance_basis(confounds, keep, TR, 0.008)
    pure = np.where(keep, signal, 0)
    pure[keep] -= basis @ (basis.T @ pure[keep])
    nuisance = (
        confounds @ rng.normal(size=(6, V)) * 1e3 + 1e4 + cosine_drift(N, TR, 0.008).sum(1)[:, None] * 1e3
    )
    cleaned = clean_responses(nuisance + signal[:, None], confounds, keep, TR, 0.008)
    for voxel in range(V):
        assert np.corrcoef(cleaned[keep, voxel], pure[keep])[0, 1] > 1 - 1e-6
    np.testing.assert_allclose(cleaned[keep].mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(cleaned[keep].std(0), 1, atol=1e-9)
    np.testing.assert_allclose(confounds[keep].T @ cleaned[keep] / N, 0, atol=1e-8)


def test_dropped_rows_change_nothing():
    values = series()
    confounds = np.random.default_rng(2).normal(size=(N, 4))
    keep = np.ones(N, bool)
    keep[[0, 50, 51]] = False
    expected = clean_responses(values.copy(), confounds, keep, TR, 0.008)
    poisoned, poisoned_confounds = values.copy(), confounds.copy()
    poisoned[~keep] = np.nan
    poisoned_confounds[~keep] = 1e12
    np.testing.assert_array_equal(clean_responses(poisoned, poisoned_confounds, keep, TR, 0.008), expected)


def test_constant_voxels_are_nan_and_stay_alone():
    values = series().astype(np.float32)
    confounds = np.random.default_rng(2).normal(size=(N, 4))
    keep = np.arange(N) > 2
    expected = clean_responses(values.copy(), confounds, keep, TR, 0.008)
    values[:, 3] = 0
    values[:, 4] = 12345.678
    values[:, 5] = np.float32(1e4 + 10 * confounds[:, 1])  # nothing is left of it
    values[:, 6] = np.nan
    values[:, 8] = np.inf
    values[:, 7] = 1e4 + 1e-3 * (np.arange(N) % 2)  # rounding, not data
    cleaned = clean_responses(values, confounds, keep, TR, 0.008)
    assert np.isnan(cleaned[:, 3:9]).all()
    np.testing.assert_array_equal(np.delete(cleaned, np.s_[3:9], 1), np.delete(expected, np.s_[3:9], 1))


def test_small_signals_are_not_constant():
    values = series(mean=0, sd=1e-12)
    assert np.isfinite(clean_responses(values, None, None, TR, 0.008)).all()


@pytest.mark.parametrize("voxel_tile", [1, 5, 1000])
def test_tile_changes_nothing(voxel_tile):
    values = series()
    confounds = np.random.default_rng(2).normal(size=(N, 10))
    expected = clean_responses(values.copy(), confounds, None, TR, 0.008)
    cleaned = clean_responses(values.copy(), confounds, None, TR, 0.008, voxel_tile=voxel_tile)
    np.testing.assert_allclose(cleaned, expected, atol=1e-9)


def test_redundant_confounds_cost_nothing():
    rng = np.random.default_rng(0)
    confounds = rng.normal(size=(N, 5))
    redundant = np.hstack([confounds, confounds @ rng.normal(size=(5, 7)), np.ones((N, 1)), np.zeros((N, 2))])
    keep = np.ones(N, bool)
    assert nuisance_basis(redundant, keep, TR, None).shape == (N, 6)
    basis = nuisance_basis(confounds, keep, TR, 0.008)
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)


def test_nothing_left_is_an_error():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="use up all 20 volumes"):
        nuisance_basis(rng.normal(size=(20, 30)), np.ones(20, bool), TR, None)
    with pytest.raises(SettingError, match="high-pass"):
        cosine_drift(100, 2.0, 0.25)
    with pytest.raises(SettingError, match="repetition time"):
        cosine_drift(100, 0.0, 0.01)


def test_float32_numerics_at_a_high_mean():
    """Mean 1e4, standard deviation 1e2, stored as float32: as good as the same numbers in float64."""
    values = series().astype(np.float32)
    confounds = np.random.default_rng(2).normal(size=(N, 24))
    exact = clean_responses(values.astype(np.float64), confounds, None, TR, 0.008)
    np.testing.assert_allclose(clean_responses(values, confounds, None, TR, 0.008), exact, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_regressors_and_standardising_nothing_changes(dtype):
    values = series().astype(dtype)
    values[:, 3] = 5
    cleaned = clean_responses(values.copy(), None, None, TR, standardise=False)
    constant = np.arange(V) == 3
    if dtype == np.float32:
        np.testing.assert_array_equal(cleaned[:, ~constant], values[:, ~constant])
    else:
        np.testing.assert_allclose(cleaned[:, ~constant], values[:, ~constant], rtol=1e-14)
    assert np.isnan(cleaned[:, 3]).all()


def test_unstandardised_is_the_standardised_with_mean_and_scale_put_back():
    rng = np.random.default_rng(3)
    values, confounds = series(), rng.normal(size=(N, 4))
    scored = clean_responses(values.copy(), confounds, None, TR, 0.01)
    kept = clean_responses(values.copy(), confounds, None, TR, 0.01, standardise=False)
    np.testing.assert_allclose(kept.mean(axis=0), values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose((kept - kept.mean(axis=0)) / kept.std(axis=0), scored, atol=1e-8)
