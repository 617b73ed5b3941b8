"""Elastic net, OLS and the choice of alphas on statistics, against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, LassoCV, LinearRegression

from cinebold.encoding.estimators import solver_factory
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.solvers.elastic_net import ElasticNetSolver
from cinebold.encoding.solvers.lasso_choice import choose_lasso_alphas
from cinebold.encoding.solvers.lasso_path import solve_lasso_path
from cinebold.encoding.solvers.ols import OLSSolver
from cinebold.encoding.statistics import accumulate, centred
from cinebold.errors import SettingError


def a_problem(n_samples=60, n_features=12, n_targets=7, seed=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_samples, n_features))
    weights = rng.normal(size=(n_features, n_targets)) * (rng.random((n_features, n_targets)) < 0.4)
    weights[:, -1] = 0  # a target of noise alone
    return x, x @ weights + 2 * rng.normal(size=(n_samples, n_targets))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(60, 12), (30, 45), (60, 1)])
@pytest.mark.parametrize("l1_ratio", [0.2, 0.8, 1.0])
def test_the_elastic_net_equals_scikit_learn_at_tolerance_1e_8(dtype, shape, l1_ratio):
    x, y = a_problem(*shape)
    statistics = centred([accumulate(x, y.astype(dtype))])
    alphas = np.array([[0.5, 0.1, 0.02]])
    weights, gaps = solve_lasso_path(
        statistics.gram,
        statistics.cross,
        statistics.total,
        statistics.n,
        alphas,
        l1_ratio=l1_ratio,
        alpha_max=np.ones(y.shape[1]),
    )
    assert gaps.max() <= 1e-8 * (1 + 1e-9)
    for target in range(y.shape[1]):
        for step, alpha in enumerate(alphas[0]):
            reference = ElasticNet(alpha, l1_ratio=l1_ratio, tol=1e-8, max_iter=100_000)
            reference.fit(x, y[:, target].astype(dtype).astype(float))
            np.testing.assert_allclose(weights[target, step], reference.coef_, atol=1e-4)


def test_collinear_columns_share_their_weight():
    x, y = a_problem()
    x[:, 1] = x[:, 0]
    statistics = centred([accumulate(x, y)])
    weights = ElasticNetSolver(statistics.gram, statistics.n, 0.5).weights(
        statistics.cross, statistics.total, np.full(7, 0.05)
    )
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-4)


def test_held_out_sums_of_the_elastic_net_equal_those_of_its_weights():
    x, y = a_problem(120)
    train, test = centred([accumulate(x[:80], y[:80])]), centred([accumulate(x[80:], y[80:])])
    solver = ElasticNetSolver(train.gram, train.n, 0.3)
    alphas = (0.01, 0.2, 1.0)
    product, squared = solver.held_out_sums(train.cross, train.total, test.gram, test.cross, alphas)
    for index, alpha in enumerate(alphas):
        weights = solver.weights(train.cross, train.total, np.full(7, alpha))
        np.testing.assert_allclose(product[index], (weights * test.cross).sum(axis=0), rtol=2e-3, atol=0.02)
        np.testing.assert_allclose(
            squared[index], (weights * (test.gram @ weights)).sum(axis=0), rtol=4e-3, atol=0.02
        )
    assert not product[2].any()


@pytest.mark.parametrize("l1_ratio", [0.0, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(l1_ratio):
    with pytest.raises(SettingError, match="l1_ratio"):
        EncodingSettings(l1_ratio=l1_ratio)
    with pytest.raises(SettingError, match="l1_ratio"):
        ElasticNetSolver(np.eye(2), 5, l1_ratio)


def test_the_settings_reach_the_solver():
    solver = solver_factory(EncodingSettings(estimator="elastic_net", l1_ratio=0.25))(np.eye(2), 5)
    assert isinstance(solver, ElasticNetSolver) and solver.l1_ratio == 0.25
    with pytest.raises(SettingError, match="ols has no penalty"):
        EncodingSettings(estimator="ols", alphas=(1.0,))


@pytest.mark.parametrize("shape", [(60, 12), (20, 30)])
def test_ols_equals_scikit_learn(shape):
    x, y = a_problem(*shape)
    statistics = centred([accumulate(x, y)])
    solver = OLSSolver(statistics.gram, statistics.n)
    weights = solver.weights(statistics.cross, statistics.total, np.zeros(7))
    np.testing.assert_allclose(weights, LinearRegression().fit(x, y).coef_.T, atol=1e-8)
    product, squared = solver.held_out_sums(
        statistics.cross, statistics.total, statistics.gram, statistics.cross, (0.0,)
    )
    np.testing.assert_allclose(product[0], (weights * statistics.cross).sum(axis=0))
    np.testing.assert_allclose(squared[0], product[0], rtol=1e-8)


@pytest.mark.parametrize("collinear", [False, True])
def test_alphas_chosen_over_folds_equal_those_of_lasso_cv(collinear):
    rng = np.random.default_rng(8)
    x, y = a_problem(240, 15, 60)
    y[:, 30:] = rng.normal(size=(240, 30))
    if collinear:  # a singular Gram matrix: no bound, all alphas are tried
        x[:, 3] = x[:, 2]
    run_of = np.repeat(np.arange(4), 60)
    for run in range(4):
        x[run_of == run] -= x[run_of == run].mean(axis=0)
        y[run_of == run] -= y[run_of == run].mean(axis=0)
    runs = [accumulate(x[run_of == run], y[run_of == run]) for run in range(4)]
    training = [centred([other for other in runs if other is not run]) for run in runs]
    whole = centred(runs)
    alpha_max = np.abs(whole.cross).max(axis=0) / whole.n
    alphas = np.logspace(-3, 0, 20)
    held_out = [centred([run]) for run in runs]
    chosen, errors = choose_lasso_alphas(training, held_out, alphas, alpha_max)
    folds = [(np.flatnonzero(run_of != run), np.flatnonzero(run_of == run)) for run in range(4)]
    reference = [
        LassoCV(alphas=alphas * alpha_max[target], cv=folds, tol=1e-9, max_iter=100_000)
        .fit(x, y[:, target])
        .alpha_
        for target in range(60)
    ]
    np.testing.assert_allclose(alphas[chosen] * alpha_max, reference, rtol=1e-6)
    assert collinear or np.isnan(errors[0]).any()  # the bound did end some paths


def test_the_bound_leaves_out_no_alpha_that_is_better(monkeypatch):
    x, y = a_problem(200, 10, 300, seed=11)
    runs = [accumulate(x[start : start + 50], y[start : start + 50]) for start in range(0, 200, 50)]
    training = [centred([other for other in runs if other is not run]) for run in runs]
    held_out = [centred([run]) for run in runs]
    whole = centred(runs)
    alpha_max = np.abs(whole.cross).max(axis=0) / whole.n
    alphas = np.logspace(-3, 0, 30)
    chosen, errors = choose_lasso_alphas(training, held_out, alphas, alpha_max)
    monkeypatch.setattr("cinebold.encoding.solvers.lasso_choice._WELL_POSED_FROM", np.inf)
    all_chosen, all_errors = choose_lasso_alphas(training, held_out, alphas, alpha_max)
    np.testing.assert_array_equal(chosen, all_chosen)
    tried = np.isfinite(errors)
    np.testing.assert_array_equal(errors[tried], all_errors[tried])
    assert not tried.all() and np.isfinite(all_errors).all()
