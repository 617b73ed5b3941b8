"""Circular shifts against rolled arrays, and false positives against their binomial bounds."""

import numpy as np
import pytest
from scipy.stats import binom, false_discovery_control, norm, pearsonr

from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.scores import held_out_r, sums_of_predictions
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.significance import (
    ShiftTest,
    benjamini_hochberg,
    draw_shifts,
    p_values,
    permute_shifts,
    z_values,
)


def autocorrelated(rng, n, n_targets, coefficient):
    noise = rng.normal(size=(n + 100, n_targets))
    for t in range(1, n + 100):
        noise[t] += coefficient * noise[t - 1]
    return noise[100:]


@pytest.mark.parametrize("censored", [False, True])
@pytest.mark.parametrize("coupling", [1.0, np.sqrt(2)])
def test_counts_equal_those_of_rolled_predictions(censored, coupling):
    rng = np.random.default_rng(9)
    lengths = (41, 64)
    y = [rng.normal(size=(n, 6)) for n in lengths]
    prediction = [0.2 * a + rng.normal(size=a.shape) + 4 for a in y]
    scored = [rng.random(n) < 0.8 if censored else np.ones(n, dtype=bool) for n in lengths]
    shifts, warnings = draw_shifts(lengths, 5, 50, seed=1)
    assert not warnings
    runs = list(zip(y, prediction, scored, strict=True))
    observed = held_out_r([sums_of_predictions(a[keep], b[keep]) for a, b, keep in runs])
    expected = np.zeros(6, dtype=int)
    for row in shifts:
        rolled = [
            sums_of_predictions(a[keep], np.roll(b, shift, axis=0)[keep])
            for (a, b, keep), shift in zip(runs, row, strict=True)
        ]
        expected += coupling * held_out_r(rolled) >= observed
    counts, _ = permute_shifts(ShiftTest(shifts, coupling), observed, y, prediction, scored)
    np.testing.assert_array_equal(counts, expected)


def test_shifts_keep_their_distance_and_follow_the_seed_alone():
    shifts, _ = draw_shifts((100, 50), 12, 2000, seed=3)
    distance = np.minimum(shifts, np.array([100, 50]) - shifts)
    assert (distance.max(axis=1) >= 12).all()
    # Any shift of one run is drawn, as long as the other run moves.
    assert set(shifts[:, 0]) == set(range(100)) and set(shifts[:, 1]) == set(range(50))
    np.testing.assert_array_equal(shifts, draw_shifts((100, 50), 12, 2000, seed=3)[0])
    assert (shifts != draw_shifts((100, 50), 12, 2000, seed=4)[0]).any()
    assert "too few for shifts" in draw_shifts((20,), 12, 10, seed=0)[1][0]


N_NULL = 2000
LOWER, UPPER = binom.ppf([0.005, 0.995], N_NULL, 0.05) / N_NULL


@pytest.mark.parametrize("lengths", [(300, 250), (150, 150, 150)])
def test_autocorrelated_noise_keeps_the_level_where_the_parametric_test_fails(lengths):
    rng = np.random.default_rng(10)
    y = [autocorrelated(rng, n, N_NULL, 0.8) for n in lengths]
    prediction = [autocorrelated(rng, n, N_NULL, 0.8) for n in lengths]
    shifts, _ = draw_shifts(lengths, 20, 400, seed=0)
    observed = held_out_r([sums_of_predictions(*pair) for pair in zip(y, prediction, strict=True)])
    every = [np.ones(n, dtype=bool) for n in lengths]
    # The predictions were learned from none of these runs: nothing is coupled.
    p = p_values(permute_shifts(ShiftTest(shifts, coupling=1.0), observed, y, prediction, every)[0], 400)
    assert LOWER <= (p <= 0.05).mean() <= UPPER
    naive = [pearsonr(y[0][:, v], prediction[0][:, v], alternative="greater")[1] for v in range(N_NULL)]
    assert (np.array(naive) <= 0.05).mean() > 2 * UPPER


@pytest.mark.slow
def test_the_whole_nested_fit_on_autocorrelated_noise_keeps_the_level(simulate_runs):
    designs, responses = simulate_runs(
        (150, 150, 150, 150), n_features=25, n_targets=N_NULL, signal=0, autocorrelation=0.6, delays=(1, 2, 3)
    )
    result = fit_encoding_model(designs, responses, EncodingSettings(n_permutations=400), (1, 2, 3))
    share = (result.maps["p"] <= 0.05).mean()
    # The bound sqrt(2) is an upper one: the test may be a little strict, never loose.
    assert 0.025 <= share <= UPPER
    # The mean of held-out r over noise is zero: neither folds nor alphas bias it.
    assert abs(result.maps["r"].mean()) < 4 * result.maps["r"].std() / np.sqrt(N_NULL)


def test_without_the_correction_for_coupled_folds_noise_is_found_significant_too_often():
    """Why `ShiftTest.coupling` exists: two runs that predict each other count the same chance agreement twice."""
    rng = np.random.default_rng(11)
    x = [rng.normal(size=(150, 20)) for _ in range(2)]
    y = [autocorrelated(rng, 150, N_NULL, 0.5) for _ in range(2)]
    prediction = [x[0] @ (x[1].T @ y[1]), x[1] @ (x[0].T @ y[0])]
    observed = held_out_r([sums_of_predictions(a, b) for a, b in zip(y, prediction, strict=True)])
    shifts, _ = draw_shifts((150, 150), 15, 400, seed=0)
    every = [np.ones(150, dtype=bool)] * 2
    shares = [
        (
            p_values(permute_shifts(ShiftTest(shifts, coupling), observed, y, prediction, every)[0], 400)
            <= 0.05
        ).mean()
        for coupling in (1.0, np.sqrt(2))
    ]
    assert shares[0] > 1.5 * UPPER
    assert shares[1] <= UPPER


def test_p_is_never_zero_and_z_is_its_normal_quantile():
    p = p_values(np.array([0, 49, 99, 100]), 100)
    np.testing.assert_allclose(p, np.array([1, 50, 100, 101]) / 101)
    np.testing.assert_allclose(z_values(p, 100)[:3], norm.isf(p[:3]))
    assert z_values(p, 100)[3] == z_values(p, 100)[2]


@pytest.mark.parametrize("n", [1, 2, 50])
def test_q_values_equal_scipy_and_leave_nan_out(n):
    p = np.round(np.random.default_rng(n).uniform(size=n) ** 3, 2)
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p), atol=1e-14)
    with_gap = np.insert(p, 0, np.nan)
    np.testing.assert_allclose(benjamini_hochberg(with_gap)[1:], false_discovery_control(p), atol=1e-14)
    assert np.isnan(benjamini_hochberg(with_gap)[0])
