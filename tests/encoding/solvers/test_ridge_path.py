"""Ridge over runs against an explicit loop of predictions and against himalaya's RidgeCV."""

import numpy as np
import pytest

from cinebold.encoding.scores import held_out_r, held_out_rsquared, sums_of_predictions
from cinebold.encoding.solvers.ridge_path import (
    choose,
    gram_root,
    path_sums,
    solve_ridge_over_runs,
    triangular,
)
from cinebold.errors import InputError, SettingError

ALPHAS = np.logspace(-2, 3, 7)


def some_runs(lengths=(30, 36, 42), n_features=8, n_targets=12, offset=0.0, collinear=False, seed=1):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(n_features, n_targets)) * np.logspace(-1.5, 0.5, n_targets)
    x = [offset + rng.normal(size=(n, n_features)) for n in lengths]
    if collinear:
        for run in x:
            run[:, -1] = run[:, 0] - run[:, 1]
    y = [run @ weights + 2 * rng.normal(size=(len(run), n_targets)) + index for index, run in enumerate(x)]
    return x, y


def by_loop(x, y, alphas, scoring, unit_free=True):
    """Each fold, alpha and voxel by normal equations and explicit predictions."""

    def weights_of(runs, alpha):
        a = np.concatenate([x[run] - x[run].mean(axis=0) for run in runs])
        b = np.concatenate([y[run] - y[run].mean(axis=0) for run in runs])
        gram = a.T @ a
        penalty = alpha * (np.trace(gram) / len(gram) if unit_free else 1)
        return np.linalg.solve(gram + penalty * np.eye(len(gram)), a.T @ b)

    everything = range(len(x))
    scores = []
    for alpha in alphas:
        sums = [
            sums_of_predictions(y[run], x[run] @ weights_of([o for o in everything if o != run], alpha))
            for run in everything
        ]
        scores.append({"r": held_out_r, "rsquared": held_out_rsquared}[scoring](sums))
    scores = np.array(scores)
    index = scores.argmax(axis=0)
    weights = np.stack([weights_of(everything, alphas[i])[:, v] for v, i in enumerate(index)], axis=1)
    return weights, index, scores.max(axis=0)


@pytest.mark.parametrize("scoring", ["r", "rsquared"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_to_a_loop_over_folds_and_alphas(scoring, dtype):
    x, y = some_runs(offset=100.0)
    fit = solve_ridge_over_runs(x, y, ALPHAS, scoring=scoring, dtype=dtype, voxel_tile=5)
    weights, index, score = by_loop(x, y, ALPHAS, scoring)
    np.testing.assert_array_equal(fit.alpha_index, index)
    np.testing.assert_allclose(fit.weights, weights, atol=1e-9 if dtype is np.float64 else 1e-6)
    np.testing.assert_allclose(fit.inner_score, score, atol=1e-9 if dtype is np.float64 else 1e-5)


@pytest.mark.parametrize("n_features", [1, 8, 50])
def test_one_feature_and_more_features_than_samples(n_features):
    x, y = some_runs((12, 13, 14), n_features, collinear=n_features > 2)
    fit = solve_ridge_over_runs(x, y, ALPHAS)
    weights, index, _ = by_loop(x, y, ALPHAS, "rsquared")
    np.testing.assert_array_equal(fit.alpha_index, index)
    np.testing.assert_allclose(fit.weights, weights, atol=1e-8)


def test_the_tile_changes_nothing_beyond_rounding():
    x, y = some_runs(n_targets=33)
    small, large = (solve_ridge_over_runs(x, y, ALPHAS, voxel_tile=tile) for tile in (4, 1000))
    np.testing.assert_array_equal(small.alpha_index, large.alpha_index)
    np.testing.assert_allclose(small.weights, large.weights, atol=1e-12)


def test_predictions_have_the_mean_of_the_responses():
    x, y = some_runs(offset=7.0)
    for centre_runs in (True, False):
        fit = solve_ridge_over_runs(x, y, ALPHAS, centre_runs=centre_runs)
        predicted = np.concatenate(x) @ fit.weights + fit.intercept
        np.testing.assert_allclose(predicted.mean(axis=0), np.concatenate(y).mean(axis=0), atol=1e-9)


def test_equal_to_himalaya_ridge_cv():
    pytest.importorskip("himalaya")
    from himalaya.backend import set_backend
    from himalaya.ridge import RidgeCV
    from himalaya.scoring import correlation_score
    from sklearn.model_selection import PredefinedSplit

    set_backend("numpy")
    x, y = some_runs((40, 40, 40), n_targets=30)
    x = [run - run.mean(axis=0) for run in x]
    y = [run - run.mean(axis=0) for run in y]
    fit = solve_ridge_over_runs(x, y, ALPHAS, scoring="r", unit_free=False)
    peer = RidgeCV(
        ALPHAS,
        cv=PredefinedSplit(np.repeat(np.arange(3), 40)),
        solver_params={"score_func": correlation_score},
    ).fit(np.concatenate(x), np.concatenate(y))
    np.testing.assert_allclose(ALPHAS[fit.alpha_index], peer.best_alphas_)
    np.testing.assert_allclose(fit.weights, peer.coef_, atol=1e-9)


@pytest.mark.parametrize("n_test", [3, 20])
def test_path_sums_equal_explicit_predictions(n_test):
    rng = np.random.default_rng(0)
    x_test, c = rng.normal(size=(n_test, 9)), rng.normal(size=(9, 4))
    y_test = rng.normal(size=(n_test, 4))
    shrinkage = rng.uniform(size=(5, 9))
    product, squared = path_sums(c, x_test.T @ y_test, triangular(gram_root(x_test.T @ x_test)), shrinkage)
    for index, d in enumerate(shrinkage):
        predicted = x_test @ (d[:, np.newaxis] * c)
        np.testing.assert_allclose(product[index], (y_test * predicted).sum(axis=0), atol=1e-10)
        np.testing.assert_allclose(squared[index], (predicted**2).sum(axis=0), rtol=1e-9)


def test_ties_go_to_the_larger_alpha_and_constant_voxels_score_nothing():
    best, index = choose(np.array([[0.5, 0.2, np.nan], [0.5, 0.3, np.nan], [0.1, 0.3, np.nan]]))
    np.testing.assert_array_equal(index, [1, 2, 2])
    np.testing.assert_array_equal(best, [0.5, 0.3, 0.0])


def test_runs_that_do_not_fit_are_refused():
    x, y = some_runs()
    with pytest.raises(InputError, match="at least two runs"):
        solve_ridge_over_runs(x[:1], y[:1], ALPHAS)
    with pytest.raises(InputError, match="Run 1 has features"):
        solve_ridge_over_runs(x, [y[0], y[1][:-1], y[2]], ALPHAS)
    with pytest.raises(SettingError, match="rise"):
        solve_ridge_over_runs(x, y, ALPHAS[::-1])
    with pytest.raises(SettingError, match="finite"):
        solve_ridge_over_runs(x, y, [-1.0, 1.0])
