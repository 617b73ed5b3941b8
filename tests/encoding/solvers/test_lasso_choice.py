"""The choice of LASSO alphas over folds, against scikit-learn's LassoCV and an exhaustive search."""

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, LassoCV

from cinebold.encoding.solvers.elastic_net import ElasticNetSolver
from cinebold.encoding.solvers.lasso import LassoSolver
from cinebold.encoding.solvers.lasso_bound import ball, least_error, prepare_bound, slope_at
from cinebold.encoding.solvers.lasso_choice import choose_lasso_alphas
from cinebold.encoding.solvers.lasso_path import solve_lasso_path
from cinebold.encoding.statistics import accumulate, centred

N_RUNS, N_RUN = 4, 60


def runs_of(n_features=15, n_targets=60, seed=8, collinear=False):
    """Runs of features and responses, each centred: half of the targets are noise alone."""
    rng = np.random.default_rng(seed)
    features = [rng.normal(size=(N_RUN, n_features)) for _ in range(N_RUNS)]
    weights = rng.normal(size=(n_features, n_targets)) * (rng.random((n_features, n_targets)) < 0.3)
    weights[:, n_targets // 2 :] = 0
    if collinear:
        for x in features:
            x[:, 3] = x[:, 2]
    responses = [x @ weights + 2 * rng.normal(size=(N_RUN, n_targets)) for x in features]
    return [x - x.mean(axis=0) for x in features], [y - y.mean(axis=0) for y in responses]


def folds_of(features, responses):
    runs = [accumulate(x, y) for x, y in zip(features, responses, strict=True)]
    training = [centred([other for other in runs if other is not run]) for run in runs]
    return training, [centred([run]) for run in runs], centred(runs)


ALPHAS = np.logspace(-2.5, 0, 12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("collinear", [False, True])
def test_alphas_and_inner_rsquared_equal_those_of_lasso_cv(collinear, dtype):
    features, responses = runs_of(collinear=collinear)
    responses = [y.astype(dtype) for y in responses]
    training, held_out, whole = folds_of(features, responses)
    index, rsquared = LassoSolver(whole.gram, whole.n).choose_alphas(training, held_out, ALPHAS, whole)
    x, y = np.concatenate(features), np.concatenate(responses).astype(float)
    run_of = np.repeat(np.arange(N_RUNS), N_RUN)
    folds = [(np.flatnonzero(run_of != run), np.flatnonzero(run_of == run)) for run in range(N_RUNS)]
    alpha_max = np.abs(whole.cross).max(axis=0) / whole.n
    for target in range(0, y.shape[1], 3):
        reference = LassoCV(alphas=ALPHAS * alpha_max[target], cv=folds, tol=1e-9, max_iter=100_000)
        reference.fit(x, y[:, target])
        np.testing.assert_allclose(ALPHAS[index[target]] * alpha_max[target], reference.alpha_, rtol=1e-6)
        error = reference.mse_path_.mean(axis=1).min() * len(x)
        assert rsquared[target] == pytest.approx(1 - error / (y[:, target] ** 2).sum(), abs=1e-4)


def test_absolute_alphas_of_the_elastic_net_are_those_of_scikit_learn():
    features, responses = runs_of(8, 5)
    training, held_out, whole = folds_of(features, responses)
    alphas = (0.01, 0.1, 0.5, 1.5)
    solver = ElasticNetSolver(whole.gram, whole.n, 0.5, alpha_unit="absolute")
    index, rsquared = solver.choose_alphas(training, held_out, alphas, whole)
    weights = solver.weights(whole.cross, whole.total, np.asarray(alphas)[index])
    for target in range(5):
        errors = np.zeros(len(alphas))
        for run in range(N_RUNS):
            x = np.concatenate([other for place, other in enumerate(features) if place != run])
            y = np.concatenate([other for place, other in enumerate(responses) if place != run])[:, target]
            for place, alpha in enumerate(alphas):
                model = ElasticNet(alpha, l1_ratio=0.5, tol=1e-9, max_iter=100_000).fit(x, y)
                errors[place] += ((responses[run][:, target] - features[run] @ model.coef_) ** 2).sum()
        assert index[target] == errors.argmin()
        total = sum((y[:, target] ** 2).sum() for y in responses)
        assert rsquared[target] == pytest.approx(1 - errors.min() / total, abs=1e-4)
        x, y = np.concatenate(features), np.concatenate(responses)[:, target]
        refit = ElasticNet(alphas[index[target]], l1_ratio=0.5, tol=1e-9, max_iter=100_000).fit(x, y)
        np.testing.assert_allclose(weights[:, target], refit.coef_, atol=1e-4)


def test_a_voxels_choice_depends_on_no_other_voxel():
    features, responses = runs_of(20, 90)
    order = np.random.default_rng(0).permutation(90)
    results = []
    for columns in (np.arange(90), order, order[:17], order[:1]):
        training, held_out, whole = folds_of(features, [y[:, columns] for y in responses])
        # The statistics themselves may differ in the last bit with the width of the product: take them from all.
        results.append((columns, training, held_out, whole))
    (_, training, held_out, whole), *others = results
    alpha_max = np.abs(whole.cross).max(axis=0) / whole.n
    chosen, errors = choose_lasso_alphas(training, held_out, ALPHAS, alpha_max)
    for columns, *_ in others:
        part = [[_columns(fold, columns) for fold in folds] for folds in (training, held_out)]
        again, errors_again = choose_lasso_alphas(*part, ALPHAS, alpha_max[columns])
        np.testing.assert_array_equal(again, chosen[columns])
        np.testing.assert_array_equal(errors_again, errors[:, columns])


def _columns(fold, columns):
    from dataclasses import replace

    return replace(fold, mean_y=fold.mean_y[columns], cross=fold.cross[:, columns], total=fold.total[columns])


def test_bad_voxels_get_the_largest_alpha_and_disturb_no_other():
    features, responses = runs_of(10, 20)
    training, held_out, whole = folds_of(features, responses)
    expected, _ = LassoSolver(whole.gram, whole.n).choose_alphas(training, held_out, ALPHAS, whole)
    responses = [y.copy() for y in responses]
    responses[1][:, 4] = np.nan
    for y in responses:
        y[:, 5] = 0.0
    responses[0][:, 6] = 0.0  # silent in one run alone
    training, held_out, whole = folds_of(features, responses)
    index, rsquared = LassoSolver(whole.gram, whole.n).choose_alphas(training, held_out, ALPHAS, whole)
    others = np.setdiff1d(np.arange(20), [4, 5, 6])
    np.testing.assert_array_equal(index[others], expected[others])
    assert index[4] == index[5] == len(ALPHAS) - 1
    assert rsquared[4] == rsquared[5] == 0
    assert np.isfinite(rsquared).all()


def test_equal_errors_take_the_larger_alpha():
    features, responses = runs_of(6, 4)
    training, held_out, whole = folds_of(features, responses)
    index, _ = LassoSolver(whole.gram, whole.n).choose_alphas(training, held_out, (0.5, 3.0, 5.0, 9.0), whole)
    silent = LassoSolver(whole.gram, whole.n).choose_alphas(training, held_out, (3.0, 5.0, 9.0), whole)[0]
    assert (silent == 2).all()
    assert set(index) <= {0, 3}


def test_open_gaps_of_the_choice_are_told(caplog, monkeypatch):
    monkeypatch.setattr("cinebold.encoding.solvers.lasso_choice.MAX_ITERATIONS", 1)
    monkeypatch.setattr("cinebold.encoding.solvers.lasso_choice._SINGLE_PRECISION_SWEEPS", 1)
    training, held_out, whole = folds_of(*runs_of(15, 20))
    LassoSolver(whole.gram, whole.n).choose_alphas(training, held_out, ALPHAS, whole)
    assert "did not reach the duality gap" in caplog.text


@pytest.mark.parametrize("seed", range(4))
def test_no_error_further_down_the_path_is_below_the_bound(seed):
    training, held_out, whole = folds_of(*runs_of(12, 25, seed=seed))
    bound = prepare_bound(training, held_out)
    alpha_max = np.abs(whole.cross).max(axis=0) / whole.n
    falling = ALPHAS[::-1]
    paths = [
        solve_lasso_path(
            fold.gram, fold.cross, fold.total, fold.n, falling[np.newaxis], 1e-12, alpha_max=alpha_max
        )[0]
        for fold in training
    ]
    tightest = np.inf
    for target in range(25):
        for step in range(len(falling)):
            standing = np.zeros((1, N_RUNS, 5))
            for fold, (train, test, path) in enumerate(zip(training, held_out, paths, strict=True)):
                w = path[target, step]
                squared = w @ bound.grams[fold] @ w
                slope = slope_at(bound.numbers, fold, target, w @ bound.crosses[fold][:, target], squared)
                penalty = falling[step] * alpha_max[target]
                fitted = w @ train.cross[:, target] / train.n
                standing[0, fold] = (
                    w @ test.gram @ w,
                    w @ test.cross[:, target],
                    w @ bound.images[fold][:, target],
                    slope,
                    ball(bound.numbers, fold, target, train.n, penalty, fitted, 1e-9),
                )
            for later in range(step + 1, len(falling)):
                error = sum(
                    path[target, later] @ (test.gram @ path[target, later] - 2 * test.cross[:, target])
                    for test, path in zip(held_out, paths, strict=True)
                )
                lowest = least_error(
                    bound.numbers, bound.least, standing, 0, target, falling[later] / falling[step]
                )
                assert lowest <= error + 1e-4
                tightest = min(tightest, error - lowest)
    assert tightest < 0.1  # it does come near where signs are settled
