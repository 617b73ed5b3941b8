"""Block permutation against permuted and correlated predictions, and false positives against binomial bounds."""

import numpy as np
import pytest
from scipy.stats import binom, pearsonr
from scipy.stats import t as student_t

from cinebold.encoding.block_permutation import BlockTest, draw_blocks, join_tiles, permute_blocks
from cinebold.encoding.folds import outer_folds
from cinebold.encoding.rows import stack_rows
from cinebold.encoding.scores import held_out_r, sums_of_predictions
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.training import train
from cinebold.encoding.training_sets import prepare_training
from cinebold.errors import InputError


def autocorrelated(rng, n, n_targets, coefficient):
    noise = rng.normal(size=(n + 100, n_targets))
    for t in range(1, n + 100):
        noise[t] += coefficient * noise[t - 1]
    return noise[100:]


def simulated_runs(rng, lengths, n_targets, dtype=np.float64):
    y = [rng.normal(size=(n, n_targets)) for n in lengths]
    prediction = [0.2 * a + rng.normal(size=a.shape) + 4 for a in y]
    return [a.astype(dtype) for a in y], [a.astype(dtype) for a in prediction]


def explicit_r(test, y, predictions, scored):
    """Every permuted r the slow way, (n_permutations, n_targets): permute, correlate."""
    found = []
    for permutation in range(test.n_permutations):
        orders = test.volume_orders(permutation)
        runs = zip(y, predictions, scored, orders, strict=True)
        found.append(
            held_out_r(
                [sums_of_predictions(a[: len(o)][w[: len(o)]], b[o][w[: len(o)]]) for a, b, w, o in runs]
            )
        )
    return np.array(found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("censored", [False, True])
def test_permutations_equal_permuted_and_correlated_predictions(censored, dtype):
    rng = np.random.default_rng(20)
    lengths = (41, 64, 50)  # with remainders of 1, 0 and 2 volumes in blocks of at least 8
    y, predictions = simulated_runs(rng, lengths, 70, dtype)
    scored = [rng.random(n) < 0.8 if censored else np.ones(n, dtype=bool) for n in lengths]
    test, warnings = draw_blocks(lengths, 8, 200, seed=1)
    assert not warnings
    assert test.block_volumes == (8, 8, 8)
    result = permute_blocks(test, y, predictions, scored)

    # In float64, as the sums are.
    y, predictions = [a.astype(float) for a in y], [a.astype(float) for a in predictions]
    permuted = test.coupling * explicit_r(test, y, predictions, scored)
    in_place = BlockTest(tuple(np.arange(n // 8)[np.newaxis] for n in lengths), (8, 8, 8))
    observed = explicit_r(in_place, y, predictions, scored)[0]
    np.testing.assert_allclose(result.observed_r, observed, atol=1e-10)
    np.testing.assert_allclose(result.maxima, permuted.max(axis=1), atol=1e-10)
    np.testing.assert_array_equal(result.n_at_least, (permuted >= observed - 1e-10).sum(axis=0))
    np.testing.assert_allclose(result.p(), (1 + (permuted >= observed - 1e-10).sum(axis=0)) / 201)
    np.testing.assert_allclose(
        result.family_wise_p(), (1 + (permuted.max(axis=1)[:, None] >= observed - 1e-10).sum(axis=0)) / 201
    )


def test_every_single_permuted_r_equals_the_explicit_one():
    """Through one voxel at a time, whose maximum over voxels is its permuted r."""
    rng = np.random.default_rng(21)
    lengths = (60, 47)
    y, predictions = simulated_runs(rng, lengths, 5)
    scored = [rng.random(60) < 0.7, np.ones(47, dtype=bool)]
    test, _ = draw_blocks(lengths, 6, 150, seed=2, coupling=1.0)
    expected = explicit_r(test, y, predictions, scored)
    for voxel in range(5):
        one = slice(voxel, voxel + 1)
        result = permute_blocks(test, [a[:, one] for a in y], [a[:, one] for a in predictions], scored)
        np.testing.assert_allclose(result.maxima, expected[:, voxel], rtol=0, atol=1e-10)


def test_without_a_remainder_the_observed_r_is_the_held_out_r():
    y, predictions = simulated_runs(np.random.default_rng(22), (60, 80), 4)
    test, _ = draw_blocks((60, 80), 10, 10, seed=0)
    result = permute_blocks(test, y, predictions, [np.ones(len(a), dtype=bool) for a in y])
    expected = held_out_r([sums_of_predictions(*pair) for pair in zip(y, predictions, strict=True)])
    np.testing.assert_allclose(result.observed_r, expected, atol=1e-12)


def test_tiles_change_nothing():
    y, predictions = simulated_runs(np.random.default_rng(23), (60, 80), 150)
    scored = [np.ones(len(a), dtype=bool) for a in y]
    test, _ = draw_blocks((60, 80), 10, 90, seed=0)
    whole = permute_blocks(test, y, predictions, scored)
    tiles = [
        permute_blocks(test, [a[:, part] for a in y], [a[:, part] for a in predictions], scored)
        for part in (slice(0, 1), slice(1, 70), slice(70, 150))
    ]
    joined = join_tiles(tiles)
    for name in ("observed_r", "n_at_least", "maxima"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


def test_constant_responses_are_nan_and_what_is_not_scored_is_not_looked_at():
    rng = np.random.default_rng(24)
    y, predictions = simulated_runs(rng, (60, 80), 3)
    y[0][:, 1] = 2.0
    predictions[1][:, 2] = 1.0
    scored = [rng.random(60) < 0.8, np.zeros(80, dtype=bool)]
    test, _ = draw_blocks((60, 80), 10, 50, seed=0)
    result = permute_blocks(test, y, predictions, scored)
    assert np.isnan(result.p()[1]) and np.isnan(result.family_wise_p()[1])
    assert np.isfinite(result.maxima).all()
    y[0][~scored[0]] = np.nan
    y[1][:] = np.nan
    again = permute_blocks(test, y, predictions, scored)
    np.testing.assert_array_equal(again.n_at_least, result.n_at_least)
    np.testing.assert_array_equal(again.maxima, result.maxima)


def test_constant_prediction_is_never_significant():
    y, _ = simulated_runs(np.random.default_rng(25), (60, 80), 2)
    test, _ = draw_blocks((60, 80), 10, 50, seed=0)
    result = permute_blocks(
        test, y, [np.full_like(a, 3.0) for a in y], [np.ones(len(a), dtype=bool) for a in y]
    )
    np.testing.assert_array_equal(result.p(), [1.0, 1.0])


def test_draws_are_uniform_follow_the_seed_and_refuse_what_cannot_be_permuted():
    test, _ = draw_blocks((30, 43), 10, 6000, seed=3)
    kinds, counts = np.unique(test.orders[0], axis=0, return_counts=True)
    assert len(kinds) == 6
    assert (np.abs(counts - 1000) < 5 * np.sqrt(1000)).all()
    assert test.block_volumes == (10, 10)
    same, _ = draw_blocks((30, 43), 10, 6000, seed=3)
    np.testing.assert_array_equal(test.orders[1], same.orders[1])
    assert (draw_blocks((30, 43), 10, 6000, seed=4)[0].orders[0] != test.orders[0]).any()
    # Blocks are as long as the run allows, so that few volumes are left over.
    assert draw_blocks((79,), 20, 1, seed=0)[0].block_volumes == (26,)
    assert "only 3 blocks" in draw_blocks((79,), 20, 1, seed=0)[1][0]
    with pytest.raises(InputError, match="No run holds two blocks of 50"):
        draw_blocks((79, 30), 50, 10, seed=0)
    with pytest.raises(InputError, match="No volume is scored"):
        y = [np.zeros((30, 1)), np.zeros((43, 1))]
        permute_blocks(test, y, y, [np.zeros(30, dtype=bool), np.zeros(43, dtype=bool)])


N_NULL = 2000
LOWER, UPPER = binom.ppf([0.005, 0.995], N_NULL, 0.05) / N_NULL


@pytest.mark.parametrize("lengths", [(300, 250), (151, 160, 150, 170)])
def test_autocorrelated_noise_keeps_the_level_where_the_parametric_test_fails(lengths):
    """Predictions learned elsewhere, without any correction."""
    rng = np.random.default_rng(26)
    y = [autocorrelated(rng, n, N_NULL, 0.6) for n in lengths]
    prediction = [autocorrelated(rng, n, N_NULL, 0.6) for n in lengths]
    test, _ = draw_blocks(lengths, 25, 400, seed=0, coupling=1.0)
    every = [np.ones(n, dtype=bool) for n in lengths]
    result = permute_blocks(test, y, prediction, every)
    assert LOWER <= (result.p() <= 0.05).mean() <= UPPER
    naive = [pearsonr(y[0][:, v], prediction[0][:, v], alternative="greater")[1] for v in range(N_NULL)]
    assert (np.array(naive) <= 0.05).mean() > 2 * UPPER


def nested_predictions(designs, responses, delays):
    """Held-out predictions of the whole nested fit, one (n_volumes, n_targets) a run."""
    rows = stack_rows(designs, delays)
    y = np.concatenate(responses)
    settings = EncodingSettings()
    alphas = np.logspace(-3, 5, 9)
    predictions = []
    for run, fold in enumerate(outer_folds(rows, max(delays))):
        prepared = prepare_training(fold, rows, designs, delays, settings)
        weights = train(prepared, y, alphas).weights
        predictions.append(prepared.features[rows.run == run] @ weights)
    return predictions, [rows.used[rows.run == run] for run in range(len(designs))]


def test_the_whole_nested_fit_on_autocorrelated_noise_keeps_the_level(simulate_runs):
    delays = (1, 2, 3)
    designs, responses = simulate_runs(
        (150, 160, 140, 150), n_features=25, n_targets=N_NULL, signal=0, autocorrelation=0.6, delays=delays
    )
    # Films are slow too: without that the noise would not matter, as a white prediction averages it out.
    rng = np.random.default_rng(27)
    for design in designs:
        design.features["a"][:] = autocorrelated(rng, design.n_volumes, 25, 0.6)
    predictions, scored = nested_predictions(designs, responses, delays)
    test, _ = draw_blocks([len(y) for y in responses], 15, 400, seed=0)
    result = permute_blocks(test, responses, predictions, scored)
    # The bound sqrt(2) is an upper one: the test may be a little strict, never loose.
    share = (result.p() <= 0.05).mean()
    assert 0.02 <= share <= UPPER

    uncorrected = BlockTest(test.orders, test.block_volumes, coupling=1.0)
    loose = permute_blocks(uncorrected, responses, predictions, scored).p()
    assert (loose <= 0.05).mean() > 1.5 * UPPER
    n = sum(len(y) for y in responses)
    r = result.observed_r
    parametric = student_t.sf(r * np.sqrt((n - 2) / (1 - r**2)), n - 2)
    assert (parametric <= 0.05).mean() > 2 * UPPER


def test_the_largest_r_of_a_null_brain_is_rarely_significant():
    """Family-wise error over 400 brains of 30 noise voxels that share part of their noise."""
    rng = np.random.default_rng(28)
    n_brains, n_voxels, lengths = 400, 30, (120, 120)
    test, _ = draw_blocks(lengths, 20, 199, seed=0, coupling=1.0)
    every = [np.ones(n, dtype=bool) for n in lengths]
    found = 0
    for _ in range(n_brains):
        y = [autocorrelated(rng, n, n_voxels, 0.3) + autocorrelated(rng, n, 1, 0.3) for n in lengths]
        prediction = [autocorrelated(rng, n, n_voxels, 0.3) for n in lengths]
        found += permute_blocks(test, y, prediction, every).family_wise_p().min() <= 0.05
    assert found / n_brains <= binom.ppf(0.995, n_brains, 0.05) / n_brains
