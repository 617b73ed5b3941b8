"""LASSO on statistics against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Lasso

from cinebold.encoding.lasso import LassoSolver, solve_lasso_path
from cinebold.encoding.scores import sums_of_predictions
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
