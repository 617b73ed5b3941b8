"""LASSO at one penalty, voxel after voxel, against scikit-learn and against packets of voxels."""

import numpy as np
import pytest
from sklearn.linear_model import Lasso

from cinebold.encoding.solvers.lasso_path import solve_lasso_path
from cinebold.encoding.solvers.lasso_sparse import _MOST_ACTIVE, solve_sparse
from cinebold.encoding.statistics import accumulate, centred

N_SAMPLES, N_FEATURES = 300, 60


def voxels(n_active, n_targets=40, dtype=np.float64, correlated=False):
    """Features, of which each voxel follows `n_active`, and responses."""
    rng = np.random.default_rng(n_active)
    x = rng.standard_normal((N_SAMPLES, N_FEATURES))
    if correlated:  # as delayed copies of slow features are
        x = np.cumsum(x, axis=0) * 0.2 + x
        x = np.repeat(x[:, :20], 3, axis=1) + 0.3 * rng.standard_normal(x.shape)
    weights = np.zeros((N_FEATURES, n_targets))
    for column in weights.T:
        column[rng.choice(N_FEATURES, n_active, replace=False)] = rng.standard_normal(n_active)
    y = x @ weights + rng.standard_normal((N_SAMPLES, n_targets))
    return x, y.astype(dtype)


def at_one_alpha(x, y, alpha):
    sums = centred([accumulate(x, y)])
    unit = np.ones(y.shape[1])
    return solve_lasso_path(
        sums.gram, sums.cross, sums.total, sums.n, np.array([[alpha]]), alpha_max=unit
    ), solve_lasso_path(
        sums.gram, sums.cross, sums.total, sums.n, np.array([[2 * alpha, alpha]]), alpha_max=unit
    )


def sparse_alone(x, y, alpha, tolerance=1e-8):
    sums = centred([accumulate(x, y)])
    weights, gaps = np.zeros((y.shape[1], N_FEATURES)), np.full(y.shape[1], np.nan)
    solved = np.zeros(y.shape[1], dtype=bool)
    penalties = np.full(y.shape[1], alpha)
    solve_sparse(
        sums.gram / sums.n,
        sums.cross,
        sums.total,
        sums.n,
        penalties,
        tolerance,
        slice(0, len(solved)),
        weights,
        gaps,
        solved,
    )
    return weights, gaps, solved


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_active", [0, 3, 12, 50])
@pytest.mark.parametrize("alpha", [0.3, 0.1, 0.01])
def test_weights_equal_scikit_learn_and_the_packets(n_active, dtype, alpha, correlated):
    x, y = voxels(n_active, dtype=dtype, correlated=correlated)
    (weights, gaps), (packets, _) = at_one_alpha(x, y, alpha)
    assert gaps.max() <= 1e-8
    largest = 1e-4 if not correlated else 2e-3  # a gap of 1e-8 leaves more room where columns are alike
    np.testing.assert_allclose(weights[:, 0], packets[:, 1], atol=largest)
    reference = Lasso(alpha, tol=1e-8, max_iter=100_000).fit(x, y.astype(np.float64))
    np.testing.assert_allclose(weights[:, 0], reference.coef_, atol=largest)


def test_few_weights_are_solved_to_the_last_digit():
    x, y = voxels(4)
    weights, gaps, solved = sparse_alone(x, y, 0.2)
    assert solved.all() and 1 < (weights != 0).sum(axis=1).mean() < 8
    assert gaps.max() < 1e-12
    slope = (x - x.mean(axis=0)).T @ (y - y.mean(axis=0) - (x - x.mean(axis=0)) @ weights.T) / N_SAMPLES
    active = weights.T != 0
    np.testing.assert_allclose(slope[active], 0.2 * np.sign(weights.T[active]), atol=1e-9)
    assert np.abs(slope[~active]).max() <= 0.2


def test_silent_voxels_are_solved_and_crowded_ones_left_to_the_packets():
    x, y = voxels(50)
    y[:, :5] = 0.01 * np.random.default_rng(0).standard_normal((N_SAMPLES, 5))
    weights, gaps, solved = sparse_alone(x, y, 0.01)
    np.testing.assert_array_equal(solved, np.arange(y.shape[1]) < 5)
    assert not weights.any() and not gaps[:5].any()
    (found, reached), (packets, _) = at_one_alpha(x, y, 0.01)
    assert ((found[5:, 0] != 0).sum(axis=1) > _MOST_ACTIVE).all()
    np.testing.assert_allclose(found[:, 0], packets[:, 1], atol=1e-4)
    assert reached.max() <= 1e-8


def test_alpha_max_silences_exactly():
    x, y = voxels(3)
    sums = centred([accumulate(x, y)])
    weights, gaps = solve_lasso_path(sums.gram, sums.cross, sums.total, sums.n, np.array([[1.0]]))
    assert not weights.any() and not gaps.any()
    weights, _ = solve_lasso_path(sums.gram, sums.cross, sums.total, sums.n, np.array([[0.999]]))
    np.testing.assert_array_equal((weights[:, 0] != 0).sum(axis=1), 1)


def test_no_penalty_is_left_to_the_packets():
    x, y = voxels(3, n_targets=6)
    (weights, _), _ = at_one_alpha(x, y, 0.0)
    expected = np.linalg.lstsq(x - x.mean(axis=0), y - y.mean(axis=0), rcond=None)[0]
    np.testing.assert_allclose(weights[:, 0].T, expected, atol=1e-3)


def test_equal_and_empty_columns_and_voxels_that_say_nothing():
    x, y = voxels(3)
    x[:, 1], x[:, 2] = x[:, 0], 0.0
    y[:, 0], y[3, 1] = 7.0, np.nan
    (weights, gaps), _ = at_one_alpha(x, y, 0.1)
    assert not weights[:2].any() and not gaps[:2].any()
    assert not weights[:, :, 2].any()
    good = y[:, 2:]
    reference = Lasso(0.1, tol=1e-10, max_iter=100_000).fit(x, good)
    np.testing.assert_allclose(x @ weights[2:, 0].T, x @ reference.coef_.T, atol=1e-3)


def test_neither_tiles_nor_companions_change_a_digit():
    x, y = voxels(6)
    (whole, _), _ = at_one_alpha(x, y, 0.1)
    for part in (slice(0, 1), slice(7, 30), slice(16, 40)):
        (own, _), _ = at_one_alpha(x, y[:, part], 0.1)
        # numpy's product may differ in its last digit with the shape of Y.
        np.testing.assert_allclose(own, whole[part], atol=1e-12)
