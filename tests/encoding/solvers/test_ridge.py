"""Ridge on statistics against scikit-learn and explicit predictions."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from cinebold.encoding.scores import sums_of_predictions
from cinebold.encoding.solvers.ridge import RidgeSolver
from cinebold.encoding.statistics import accumulate, centred


def a_problem(n_samples=50, n_features=8, n_targets=5, dtype=np.float64, collinear=False):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(n_samples, n_features))
    if collinear:
        x[:, -1] = x[:, 0] - x[:, 1]
    y = x @ rng.normal(size=(n_features, n_targets)) + 2 * rng.normal(size=(n_samples, n_targets)) + 3
    return x, y.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(50, 8), (20, 40), (50, 1)])
@pytest.mark.parametrize("collinear", [False, True])
def test_weights_equal_a_loop_over_scikit_learn(dtype, shape, collinear):
    x, y = a_problem(*shape, dtype=dtype, collinear=collinear and shape[1] > 2)
    statistics = centred([accumulate(x, y)])
    solver = RidgeSolver(statistics.gram, statistics.n)
    alphas = np.array([0.01, 0.1, 1.0, 10.0, 1000.0])
    weights = solver.weights(statistics.cross, statistics.total, alphas)
    for target, alpha in enumerate(alphas):
        penalty = alpha * np.trace(statistics.gram) / len(statistics.gram)
        reference = Ridge(penalty).fit(x, y[:, target].astype(np.float64))
        np.testing.assert_allclose(weights[:, target], reference.coef_, atol=1e-9)


@pytest.mark.parametrize("collinear", [False, True])
def test_alpha_zero_is_least_squares_of_least_norm(collinear):
    x, y = a_problem(collinear=collinear)
    statistics = centred([accumulate(x, y)])
    weights = RidgeSolver(statistics.gram, 50).weights(statistics.cross, statistics.total, np.zeros(5))
    np.testing.assert_allclose(weights, LinearRegression().fit(x, y).coef_.T, atol=1e-8)


@pytest.mark.parametrize("n_features", [1, 3, 9, 40])
def test_held_out_sums_equal_those_of_explicit_predictions(n_features):
    x, y = a_problem(45, n_features)
    train, test = centred([accumulate(x[:30], y[:30])]), centred([accumulate(x[30:], y[30:])])
    solver = RidgeSolver(train.gram, train.n)
    alphas = (0.01, 1.0, 100.0)
    product, squared = solver.held_out_sums(train.cross, train.total, test.gram, test.cross, alphas)
    for index, alpha in enumerate(alphas):
        weights = solver.weights(train.cross, train.total, np.full(5, alpha))
        expected = sums_of_predictions(y[30:], x[30:] @ weights)
        np.testing.assert_allclose(product[index], expected.product, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(squared[index], expected.prediction_squared, rtol=1e-8, atol=1e-8)


def test_alphas_are_unit_free():
    x, y = a_problem()
    large, small = centred([accumulate(1000 * x, y)]), centred([accumulate(x, y)])
    alphas = np.full(5, 3.0)
    np.testing.assert_allclose(
        RidgeSolver(large.gram, 50).weights(large.cross, large.total, alphas) * 1000,
        RidgeSolver(small.gram, 50).weights(small.cross, small.total, alphas),
        rtol=1e-9,
    )
