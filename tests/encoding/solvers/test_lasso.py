"""LASSO on statistics against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, Lasso

from cinebold.encoding.scores import sums_of_predictions
from cinebold.encoding.solvers.lasso import LassoSolver
from cinebold.encoding.solvers.lasso_path import solve_lasso_path
from cinebold.encoding.statistics import accumulate, centred
from cinebold.errors import SettingError

ALPHAS = np.array([[1.0, 0.5, 0.1, 0.02]])


def a_problem(n_samples=60, n_features=12, n_targets=7, dtype=np.float64, collinear=False):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(n_samples, n_features))
    if collinear:
        x[:, -1] = x[:, 0]
        x[:, -2] = 0.0
    weights = rng.normal(size=(n_features, n_targets)) * (rng.random((n_features, n_targets)) < 0.4)
    y = x @ weights + rng.normal(size=(n_samples, n_targets)) + 1
    return x, y.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(60, 12), (30, 45), (60, 1)])
def test_the_path_equals_scikit_learn_at_tolerance_1e_8(dtype, shape):
    x, y = a_problem(*shape, dtype=dtype)
    statistics = centred([accumulate(x, y)])
    weights, gaps = solve_lasso_path(
        statistics.gram, statistics.cross, statistics.total, statistics.n, ALPHAS
    )
    np.testing.assert_array_less(gaps, 1e-8 * (1 + 1e-9))
    for target in range(y.shape[1]):
        alpha_max = np.abs(statistics.cross[:, target]).max() / len(x)
        for step, alpha in enumerate(ALPHAS[0]):
            reference = Lasso(alpha * alpha_max, tol=1e-8, max_iter=100_000).fit(
                x, y[:, target].astype(float)
            )
            np.testing.assert_allclose(weights[target, step], reference.coef_, atol=1e-4)


def test_collinear_and_empty_columns_give_the_same_predictions():
    x, y = a_problem(collinear=True)
    statistics = centred([accumulate(x, y)])
    weights, gaps = solve_lasso_path(
        statistics.gram, statistics.cross, statistics.total, statistics.n, ALPHAS
    )
    assert gaps.max() <= 1e-8
    alpha_max = np.abs(statistics.cross[:, 0]).max() / len(x)
    reference = Lasso(0.1 * alpha_max, tol=1e-10, max_iter=100_000).fit(x, y[:, 0])
    centred_x = x - x.mean(axis=0)
    np.testing.assert_allclose(centred_x @ weights[0, 2], centred_x @ reference.coef_, atol=1e-3)


def test_the_largest_alpha_silences_and_a_silent_target_stays_so():
    x, y = a_problem()
    y[:, 0] = 4.0
    statistics = centred([accumulate(x, y)])
    weights, _ = solve_lasso_path(statistics.gram, statistics.cross, statistics.total, statistics.n, ALPHAS)
    assert not weights[:, 0].any()
    assert not weights[0].any()
    assert weights[1:, 3].any(axis=1).all()


def test_alphas_must_fall():
    x, y = a_problem()
    statistics = centred([accumulate(x, y)])
    with pytest.raises(SettingError, match="falling"):
        solve_lasso_path(statistics.gram, statistics.cross, statistics.total, 60, ALPHAS[:, ::-1])


def test_held_out_sums_equal_those_of_explicit_predictions():
    x, y = a_problem(90)
    train, test = centred([accumulate(x[:60], y[:60])]), centred([accumulate(x[60:], y[60:])])
    solver = LassoSolver(train.gram, train.n)
    alphas = (0.01, 0.1, 1.0)
    product, squared = solver.held_out_sums(train.cross, train.total, test.gram, test.cross, alphas)
    for index, alpha in enumerate(alphas):
        weights = solver.weights(train.cross, train.total, np.full(7, alpha))
        expected = sums_of_predictions(y[60:], x[60:] @ weights)
        # Scores that choose alpha are solved to a looser gap than the weights that are kept.
        np.testing.assert_allclose(product[index], expected.product, rtol=5e-3, atol=0.1)
        np.testing.assert_allclose(squared[index], expected.prediction_squared, rtol=1e-2, atol=0.1)


@pytest.mark.parametrize("n_targets", [1, 17, 40])
def test_no_voxel_depends_on_its_companions(n_targets):
    rng = np.random.default_rng(2)
    x, y = a_problem(80, 20, 40)
    statistics = centred([accumulate(x, y)])
    weights, gaps = solve_lasso_path(
        statistics.gram, statistics.cross, statistics.total, statistics.n, ALPHAS
    )
    columns = rng.permutation(40)[:n_targets]
    again, gaps_again = solve_lasso_path(
        statistics.gram, statistics.cross[:, columns], statistics.total[columns], statistics.n, ALPHAS
    )
    np.testing.assert_array_equal(again, weights[columns])
    np.testing.assert_array_equal(gaps_again, gaps[columns])


def test_a_voxel_that_is_not_finite_disturbs_no_other():
    x, y = a_problem(60, 12, 7)
    clean = centred([accumulate(x, y)])
    expected, _ = solve_lasso_path(clean.gram, clean.cross, clean.total, clean.n, ALPHAS)
    y[3, 2] = np.nan
    dirty = centred([accumulate(x, y)])
    with np.errstate(invalid="ignore"):
        weights, gaps = solve_lasso_path(dirty.gram, dirty.cross, dirty.total, dirty.n, ALPHAS)
    others = np.delete(np.arange(7), 2)
    np.testing.assert_allclose(weights[others], expected[others], atol=1e-6)
    assert not weights[2].any() and np.isfinite(gaps).all()


@pytest.mark.parametrize("l1_ratio", [0.4, 1.0])
def test_the_gap_is_that_of_scikit_learn(l1_ratio):
    x, y = a_problem(70, 15, 5)
    statistics = centred([accumulate(x, y)])
    # Stopped early, so that the gap is well above rounding.
    weights, gaps = solve_lasso_path(
        statistics.gram,
        statistics.cross,
        statistics.total,
        statistics.n,
        np.array([[0.05]]),
        0.0,
        3,
        l1_ratio=l1_ratio,
    )
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    for target in range(5):
        alpha_max = np.abs(x.T @ y[:, target]).max() / (70 * l1_ratio)
        l1, l2 = 0.05 * alpha_max * l1_ratio * 70, 0.05 * alpha_max * (1 - l1_ratio) * 70
        w = weights[target, 0]
        residual = y[:, target] - x @ w
        # The dual point of scikit-learn's cd_fast.enet_coordinate_descent, on samples.
        dual_norm = np.abs(x.T @ residual - l2 * w).max()
        shrink = min(1.0, l1 / dual_norm)
        gap = (
            0.5 * (residual @ residual + l2 * w @ w) * (1 + shrink**2)
            + l1 * np.abs(w).sum()
            - shrink * residual @ y[:, target]
        )
        assert gaps[target, 0] == pytest.approx(gap / (y[:, target] ** 2).sum(), rel=1e-6, abs=1e-14)
        assert gap > 0


@pytest.mark.parametrize("l1_ratio", [0.9, 1.0])
def test_nearly_collinear_columns_are_solved_all_the_same(l1_ratio):
    rng = np.random.default_rng(5)
    series = np.cumsum(rng.normal(size=(203, 15)), axis=0)
    x = np.concatenate([series[lag : lag + 200] for lag in range(4)], axis=1)
    x = x @ np.diag(1 / x.std(axis=0)) + 1e-5 * rng.normal(size=x.shape)
    y = x @ (rng.normal(size=(60, 6)) * (rng.random((60, 6)) < 0.2)) + rng.normal(size=(200, 6))
    statistics = centred([accumulate(x, y)])
    assert np.linalg.cond(statistics.gram) > 1e4
    alphas = np.array([[0.1, 0.01, 0.001]])
    weights, gaps = solve_lasso_path(
        statistics.gram, statistics.cross, statistics.total, statistics.n, alphas, l1_ratio=l1_ratio
    )
    assert gaps.max() <= 1e-8 * (1 + 1e-9)
    for target in range(6):
        alpha_max = np.abs(statistics.cross[:, target]).max() / (200 * l1_ratio)
        for step, alpha in enumerate(alphas[0]):
            reference = ElasticNet(alpha * alpha_max, l1_ratio=l1_ratio, tol=1e-9, max_iter=1_000_000)
            reference.fit(x, y[:, target])
            residual = (x - x.mean(axis=0)) @ (weights[target, step] - reference.coef_)
            assert (residual**2).sum() <= 1e-6 * statistics.total[target]


def test_open_gaps_are_told_and_given_back(caplog):
    x, y = a_problem(60, 30, 5)
    statistics = centred([accumulate(x, y)])
    _, gaps = solve_lasso_path(
        statistics.gram, statistics.cross, statistics.total, statistics.n, ALPHAS, max_iterations=1
    )
    assert gaps.max() > 1e-8
    assert "did not reach the duality gap" in caplog.text


def test_absolute_alphas_are_those_of_scikit_learn():
    x, y = a_problem(90)
    train, test = centred([accumulate(x[:60], y[:60])]), centred([accumulate(x[60:], y[60:])])
    solver = LassoSolver(train.gram, train.n, alpha_unit="absolute")
    weights = solver.weights(train.cross, train.total, np.full(7, 0.1))
    reference = [Lasso(0.1, tol=1e-9, max_iter=100_000).fit(x[:60], column).coef_ for column in y[:60].T]
    np.testing.assert_allclose(weights.T, reference, atol=1e-4)
    product, _ = solver.held_out_sums(train.cross, train.total, test.gram, test.cross, (0.1,))
    np.testing.assert_allclose(product[0], (weights * test.cross).sum(axis=0), rtol=5e-3, atol=0.1)
    with pytest.raises(SettingError, match="alpha_unit"):
        LassoSolver(train.gram, train.n, alpha_unit="cubits")
