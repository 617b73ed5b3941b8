"""Noise ceilings against simulations whose ceiling is known: bias and spread; and against published formulas."""

import numpy as np
import pytest
from scipy.stats import zscore

from cinebold.encoding.noise_ceilings import (
    Ceiling,
    across_participants_ceiling,
    explainable_variance,
    ncsnr_ceiling,
    noise_ceiling_snr,
    normalised_score,
    split_half_ceiling,
)
from cinebold.errors import InputError, SettingError

N_TARGETS = 400


def repeated(n_repeats, share, n_samples=200, n_targets=N_TARGETS, seed=0):
    """Repeats with this share of signal variance, and the signal; offsets and scales of repeats differ."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n_samples, n_targets))
    noise = rng.normal(size=(n_repeats, n_samples, n_targets))
    responses = np.sqrt(share) * signal + np.sqrt(1 - share) * noise
    return 3 + responses * np.linspace(1, 2, n_repeats)[:, np.newaxis, np.newaxis], signal


def known(share, n_averaged):
    """The share of the variance of a mean of n repeats that the signal drives."""
    return share / (share + (1 - share) / n_averaged)


@pytest.mark.parametrize("estimate", [split_half_ceiling, explainable_variance])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 0.8])
@pytest.mark.parametrize(("n_repeats", "n_averaged"), [(2, 1), (4, 1), (5, 5), (10, 3)])
def test_ceilings_of_repeats_have_no_bias_and_little_spread(estimate, share, n_repeats, n_averaged):
    responses, _ = repeated(n_repeats, share)
    ceiling = estimate(responses, n_averaged)
    assert ceiling.n_averaged == n_averaged
    truth = known(share, n_averaged)
    if ceiling.units == "r":
        # The root bends the mean of what scatters, and a negative share is 0: compare where the share is not small.
        if share >= 0.4:
            assert ceiling.values.mean() == pytest.approx(np.sqrt(truth), abs=0.015)
            assert ceiling.values.std() < 0.06
        else:
            assert np.median(ceiling.values) == pytest.approx(np.sqrt(truth), abs=0.05 if share else 0.15)
    else:
        assert ceiling.values.mean() == pytest.approx(truth, abs=0.015)
        assert ceiling.values.std() < 0.16


@pytest.mark.parametrize("n_averaged", [1, 4])
def test_the_ceiling_is_the_score_of_the_signal_itself(n_averaged):
    """The best of all models predicts the noiseless response: its r and R2 against a mean of n repeats."""
    responses, signal = repeated(8, 0.3, n_samples=400)
    tested = zscore(responses[:n_averaged], axis=1).mean(axis=0)
    best = np.array([np.corrcoef(signal[:, v], tested[:, v])[0, 1] for v in range(N_TARGETS)])
    ceilings = [split_half_ceiling(responses, n_averaged), explainable_variance(responses, n_averaged)]
    for ceiling in ceilings:
        assert ceiling.to("r").values.mean() == pytest.approx(best.mean(), abs=0.01)
        assert ceiling.to("R2").values.mean() == pytest.approx((best**2).mean(), abs=0.01)


@pytest.mark.parametrize("bias_correction", [True, False])
def test_explainable_variance_is_the_published_formula(bias_correction):
    """As in voxelwise_tutorials, written out: z-score in time, var(mean) / mean(var), EV - (1 - EV) / (N - 1)."""
    responses, _ = repeated(4, 0.2, n_targets=20)
    data = zscore(responses, axis=1)
    expected = data.mean(axis=0).var(axis=0, ddof=1) / data.var(axis=1, ddof=1).mean(axis=0)
    if bias_correction:
        expected = expected - (1 - expected) / 3
    found = explainable_variance(responses, bias_correction=bias_correction)
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    with pytest.raises(SettingError, match="bias correction"):
        explainable_variance(responses, 2, bias_correction=False)


def test_all_ways_of_halving_or_random_ones():
    responses, _ = repeated(4, 0.5, n_targets=30)
    z = zscore(responses, axis=1)
    rho = np.zeros(30)
    for pair in ((0, 1), (0, 2), (0, 3)):
        other = [index for index in range(4) if index not in pair]
        a, b = z[list(pair)].mean(axis=0), z[other].mean(axis=0)
        rho += [np.corrcoef(a[:, v], b[:, v])[0, 1] / 3 for v in range(30)]
    full = 2 * rho / (1 + rho)  # the textbook case: twice the length
    np.testing.assert_allclose(split_half_ceiling(responses, 4).values, np.sqrt(full), atol=1e-12)
    many, _ = repeated(12, 0.5, n_targets=5)
    few = split_half_ceiling(many, n_splits=10, seed=1).values
    np.testing.assert_array_equal(few, split_half_ceiling(many, n_splits=10, seed=1).values)
    np.testing.assert_allclose(few, split_half_ceiling(many, n_splits=1000).values, atol=0.05)


def trials(counts, ncsnr, n_targets=N_TARGETS, seed=1):
    rng = np.random.default_rng(seed)
    stimulus = np.repeat(np.arange(len(counts)), counts)
    signal = ncsnr * rng.normal(size=(len(counts), n_targets))
    order = rng.permutation(len(stimulus))
    stimulus = stimulus[order]
    return 5 + signal[stimulus] + rng.normal(size=(len(stimulus), n_targets)), stimulus


@pytest.mark.parametrize("counts", [[3] * 300, [1] * 100 + [2] * 100 + [3] * 100, [10] * 60])
@pytest.mark.parametrize("ncsnr", [0.3, 1.0, 2.0])
def test_ncsnr_is_that_of_the_simulation(counts, ncsnr):
    found = noise_ceiling_snr(*trials(counts, ncsnr))
    # Variances below zero are set to it: a weak signal is seen a little too large.
    assert (found**2).mean() == pytest.approx(ncsnr**2, rel=0.05, abs=0.01)
    assert found.std() < 0.1 + 0.12 * ncsnr


def test_ncsnr_agrees_with_the_formula_of_its_authors_on_many_stimuli():
    responses, stimulus = trials([3] * 400, 0.8, n_targets=20)
    noise_variance = np.mean([responses[stimulus == s].var(axis=0, ddof=1) for s in range(400)], axis=0)
    signal_variance = np.maximum(responses.var(axis=0) - noise_variance, 0)
    expected = np.sqrt(signal_variance / noise_variance)
    np.testing.assert_allclose(noise_ceiling_snr(responses, stimulus), expected, rtol=0.005)


def test_ncsnr_of_noise_of_constants_and_of_perfect_repeats():
    rng = np.random.default_rng(2)
    stimulus = np.repeat(np.arange(50), 3)
    perfect = rng.normal(size=50)[stimulus]
    found = noise_ceiling_snr(np.column_stack([np.ones(150), perfect]), stimulus)
    assert np.isnan(found[0])
    np.testing.assert_array_equal(ncsnr_ceiling(np.array([0.0, np.inf, np.nan]), 3).values, [0, 1, np.nan])
    assert found[1] > 1e6 or np.isinf(found[1])
    noise = noise_ceiling_snr(rng.normal(size=(150, 200)), stimulus)
    assert (noise == 0).mean() > 0.4
    with pytest.raises(InputError, match="at most 1 times"):
        noise_ceiling_snr(rng.normal(size=(5, 2)), np.arange(5))
    with pytest.raises(InputError, match="one is needed a trial"):
        noise_ceiling_snr(rng.normal(size=(5, 2)), np.arange(4))


def test_the_ncsnr_ceiling_takes_the_number_that_was_averaged_and_mixed_ones():
    ncsnr = np.array([0.5, 1.0])
    three = ncsnr_ceiling(ncsnr, 3)
    np.testing.assert_allclose(three.values, [0.25 / (0.25 + 1 / 3), 1 / (1 + 1 / 3)])
    assert (three.units, three.n_averaged) == ("R2", 3)
    mixed = ncsnr_ceiling(ncsnr, [1] * 5 + [2] * 3 + [3] * 2)
    inverse = (5 / 1 + 3 / 2 + 2 / 3) / 10
    np.testing.assert_allclose(mixed.values, ncsnr**2 / (ncsnr**2 + inverse))
    assert mixed.n_averaged == pytest.approx(1 / inverse)
    with pytest.raises(InputError, match="at least one repeat"):
        ncsnr_ceiling(ncsnr, 0)


@pytest.mark.parametrize("counts", [[4] * 300, [1] * 200 + [2] * 100 + [3] * 100])
def test_the_ncsnr_ceiling_is_the_r2_of_the_signal_itself(counts):
    rng = np.random.default_rng(3)
    ncsnr = 0.7
    signal = ncsnr * rng.normal(size=(len(counts), N_TARGETS))
    noise = rng.normal(size=signal.shape) / np.sqrt(counts)[:, np.newaxis]
    r2 = 1 - (noise**2).sum(axis=0) / ((signal + noise - (signal + noise).mean(axis=0)) ** 2).sum(axis=0)
    assert ncsnr_ceiling(np.array([ncsnr]), counts).values[0] == pytest.approx(r2.mean(), abs=0.01)


@pytest.mark.parametrize("n_participants", [3, 8, 20])
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_the_ceiling_across_participants_is_that_of_the_shared_signal(n_participants, share):
    responses, signal = repeated(n_participants, share, n_samples=300)
    best = np.corrcoef(signal[:, 0], responses[0][:, 0])[0, 1]
    assert best == pytest.approx(np.sqrt(share), abs=0.1)
    ceiling = across_participants_ceiling(responses)
    assert ceiling.values.shape == (n_participants, N_TARGETS)
    assert np.nanmedian(ceiling.values) == pytest.approx(np.sqrt(share), abs=0.02)
    assert np.nanstd(np.nanmean(ceiling.values, axis=0)) < 0.15
    bound = across_participants_ceiling(responses, correct_for_average=False)
    expected = np.sqrt(share * known(share, n_participants - 1))
    assert bound.values.mean() == pytest.approx(expected, abs=0.02)
    assert "lower bound" in bound.estimator


def test_the_correction_across_participants_is_that_of_the_pairwise_correlations():
    responses, _ = repeated(5, 0.5, n_targets=1)
    y = responses[:, :, 0]
    others = zscore(y[1:], axis=1)
    rho = (np.corrcoef(others).sum() - 4) / 12
    alpha = 4 * rho / (1 + 3 * rho)
    expected = np.corrcoef(y[0], others.mean(axis=0))[0, 1] / np.sqrt(alpha)
    assert across_participants_ceiling(responses).values[0, 0] == pytest.approx(expected, abs=1e-12)
    with pytest.raises(InputError, match="three participants"):
        across_participants_ceiling(responses[:2])


def test_normalised_scores_are_nan_under_the_floor_and_units_are_not_mixed():
    ceiling = Ceiling(np.array([0.25, 0.01, 0.0, -0.1, np.nan]), "any", "R2", 1.0)
    np.testing.assert_allclose(
        normalised_score(np.full(5, 0.2), "R2", ceiling, 0.05), [0.8, np.nan, np.nan, np.nan, np.nan]
    )
    np.testing.assert_allclose(
        normalised_score(np.full(5, 0.2), "r", ceiling, 0.05), [0.4, 2.0, np.nan, np.nan, np.nan]
    )
    np.testing.assert_allclose(ceiling.to("r").to("R2").values[:3], [0.25, 0.01, 0.0])
    with pytest.raises(SettingError, match="above 0"):
        normalised_score(np.zeros(5), "r", ceiling, 0.0)
    with pytest.raises(SettingError, match="units"):
        Ceiling(np.zeros(1), "any", "percent", 1.0)


def test_normalised_scores_of_a_good_model_are_its_noiseless_scores():
    """A model that explains 64 % of the signal has a normalised r of .8 whatever the noise."""
    rng = np.random.default_rng(4)
    responses, signal = repeated(6, 0.4, n_samples=400)
    prediction = np.sqrt(0.64) * signal + np.sqrt(0.36) * rng.normal(size=signal.shape)
    r = np.array([np.corrcoef(prediction[:, v], responses[0][:, v])[0, 1] for v in range(N_TARGETS)])
    normalised = normalised_score(r, "r", split_half_ceiling(responses), 0.3)
    assert np.nanmean(normalised) == pytest.approx(0.8, abs=0.02)


def test_constant_voxels_are_nan_and_bad_shapes_refused():
    responses, _ = repeated(4, 0.5, n_targets=3)
    responses[1, :, 1] = 7.0
    for estimate in (split_half_ceiling, explainable_variance):
        np.testing.assert_array_equal(np.isnan(estimate(responses).values), [False, True, False])
        with pytest.raises(InputError, match="at least two repeats"):
            estimate(responses[:1])
    assert np.isnan(across_participants_ceiling(responses).values[:, 1]).all()
