"""The dual path equals the primal, scikit-learn's kernel ridge and himalaya's KernelRidgeCV."""

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from cinebold.encoding.solvers.dual_ridge import ridge_cost, solve_dual_ridge
from cinebold.encoding.solvers.ridge_path import solve_ridge_over_runs
from cinebold.errors import InputError

ALPHAS = np.logspace(-2, 3, 7)


def some_runs(lengths=(20, 24, 28), n_features=60, n_targets=12, collinear=False, dtype=np.float64):
    rng = np.random.default_rng(6)
    weights = rng.normal(size=(n_features, n_targets)) * np.logspace(-2, 0, n_targets)
    x = [rng.normal(size=(n, n_features)) + 5 for n in lengths]
    if collinear:
        for run in x:
            run[:, n_features // 2 :] = run[:, : n_features - n_features // 2]
    y = [run @ weights + 2 * rng.normal(size=(len(run), n_targets)) + index for index, run in enumerate(x)]
    return [run.astype(dtype) for run in x], [run.astype(dtype) for run in y]


@pytest.mark.parametrize("n_features", [1, 8, 60, 200])
@pytest.mark.parametrize("collinear", [False, True])
@pytest.mark.parametrize("centre_runs", [False, True])
@pytest.mark.parametrize("scoring", ["r", "rsquared"])
def test_equal_to_the_primal(n_features, collinear, centre_runs, scoring):
    x, y = some_runs(n_features=n_features, collinear=collinear and n_features > 1)
    options = {"scoring": scoring, "centre_runs": centre_runs, "voxel_tile": 5}
    dual, primal = (solve(x, y, ALPHAS, **options) for solve in (solve_dual_ridge, solve_ridge_over_runs))
    np.testing.assert_array_equal(dual.alpha_index, primal.alpha_index)
    np.testing.assert_allclose(dual.weights, primal.weights, atol=1e-9)
    np.testing.assert_allclose(dual.intercept, primal.intercept, atol=1e-7)
    np.testing.assert_allclose(dual.inner_score, primal.inner_score, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_features", [30, 60, 200])
def test_single_precision_scores_choose_the_same(dtype, n_features):
    x, y = some_runs(n_features=n_features, dtype=dtype)
    dual, primal = solve_dual_ridge(x, y, ALPHAS, dtype=dtype), solve_ridge_over_runs(x, y, ALPHAS)
    np.testing.assert_array_equal(dual.alpha_index, primal.alpha_index)
    np.testing.assert_allclose(dual.weights, primal.weights, atol=1e-5)


def test_alpha_zero_is_least_squares_of_least_norm():
    x, y = some_runs()
    fit = solve_dual_ridge(x, y, [0.0])
    stacked = [np.concatenate([run - run.mean(axis=0) for run in runs]) for runs in (x, y)]
    np.testing.assert_allclose(fit.weights, np.linalg.pinv(stacked[0]) @ stacked[1], atol=1e-8)


def test_blocks_of_columns_change_nothing(monkeypatch):
    x, y = some_runs()
    at_once = solve_dual_ridge(x, y, ALPHAS)
    monkeypatch.setattr("cinebold.encoding.solvers.dual_ridge._COLUMNS", 7)
    np.testing.assert_allclose(solve_dual_ridge(x, y, ALPHAS).weights, at_once.weights, atol=1e-10)


def test_weights_equal_scikit_learn():
    x, y = some_runs()
    fit = solve_dual_ridge(x, y, [10.0], unit_free=False)
    a, b = (np.concatenate([run - run.mean(axis=0) for run in runs]) for runs in (x, y))
    np.testing.assert_allclose(fit.weights, a.T @ KernelRidge(alpha=10.0).fit(a, b).dual_coef_, atol=1e-9)


def test_equal_to_himalaya_kernel_ridge_cv():
    pytest.importorskip("himalaya")
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import KernelRidgeCV
    from himalaya.scoring import correlation_score
    from sklearn.model_selection import PredefinedSplit

    set_backend("numpy")
    x, y = some_runs((24, 24, 24), n_features=90, n_targets=30)
    x, y = ([run - run.mean(axis=0) for run in runs] for runs in (x, y))
    fit = solve_dual_ridge(x, y, ALPHAS, scoring="r", unit_free=False)
    peer = KernelRidgeCV(
        ALPHAS,
        cv=PredefinedSplit(np.repeat(np.arange(3), 24)),
        solver_params={"score_func": correlation_score},
    ).fit(np.concatenate(x), np.concatenate(y))
    np.testing.assert_allclose(ALPHAS[fit.alpha_index], peer.best_alphas_)
    np.testing.assert_allclose(fit.weights, peer.get_primal_coef(), atol=1e-9)


def test_the_cheaper_path_is_chosen():
    assert ridge_cost(3600, 400, 100_000, 4, 20).path == "primal"
    assert ridge_cost(3600, 20_000, 10_000, 4, 20).path == "dual"
    assert ridge_cost(1000, 1, 10, 5, 1).path == "primal"


def test_costs_are_those_of_a_count_by_hand():
    # n 4, p 2, V 1, two folds of 2 test and 2 training rows, one alpha.
    cost = ridge_cost(4, 2, 1, 2, 1)
    assert cost.primal == 4 * 4 + 16 + 3 * (12 * 8 + 16) + 2 * (8 - 4)
    assert cost.dual == 16 * 2 + 12 * 64 + 32 + 16 + 2 * (12 * 8 + 16 + 8 + 8) + 2 * (8 - 4)
    # p 1: kernels of one direction.
    cost = ridge_cost(4, 1, 1, 2, 1)
    assert cost.dual == 16 * 1 + 12 * 64 + 16 + 8 + 2 * (12 * 8 + 8 + 4 + 4) + 2 * (2 - 1)


def test_runs_that_do_not_fit_are_refused():
    x, y = some_runs()
    with pytest.raises(InputError, match="at least two runs"):
        solve_dual_ridge(x[:1], y[:1], ALPHAS)


def test_columns_far_from_zero_lose_no_digits_in_single_precision():
    rng = np.random.default_rng(5)
    near = [rng.normal(size=(20, 90)).astype(np.float32) for _ in range(3)]
    y = [run[:, :4] + rng.normal(size=(20, 4)).astype(np.float32) for run in near]
    # Powers of two apart, so that the shift itself costs the features no digit that matters here.
    far = [run + np.float32(4096) for run in near]
    exact = solve_dual_ridge([run.astype(np.float64) for run in far], y, (1.0,))
    found = solve_dual_ridge(far, y, (1.0,))
    np.testing.assert_allclose(found.weights, exact.weights, atol=1e-6)
