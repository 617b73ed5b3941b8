"""Solvers that work on a device against those of the CPU."""

import numpy as np
import pytest

from cinebold.encoding.ridge import RidgeSolver
from cinebold.encoding.statistics import accumulate, centred
from cinebold.encoding.torch_solvers import DeviceRidgeSolver


@pytest.mark.parametrize("options", [{}, {"alpha_unit": "absolute"}, {"n_columns": 30}])
@pytest.mark.parametrize("n_features", [1, 13, 70])
def test_ridge_equals_the_solver_of_the_cpu(torch_device, options, n_features):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, n_features)), rng.normal(size=(90, 17)).astype(np.float32)
    y += x @ rng.normal(size=(n_features, 17))
    train, test = centred([accumulate(x[:60], y[:60])]), centred([accumulate(x[60:], y[60:])])
    alphas = np.logspace(-3, 3, 5)
    here = RidgeSolver(train.gram, train.n, **options)
    there = DeviceRidgeSolver(train.gram, train.n, device=torch_device, **options)
    arguments = (train.cross, train.total, test.gram, test.cross, alphas)
    for expected, found in zip(here.held_out_sums(*arguments), there.held_out_sums(*arguments), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())
    own = rng.choice(alphas, 17)
    expected = here.weights(train.cross, train.total, own)
    np.testing.assert_allclose(there.weights(train.cross, train.total, own), expected, atol=1e-9)
    assert there.diagnostics() == here.diagnostics()
    np.testing.assert_array_equal(
        there.degrees_of_freedom(expected, own), here.degrees_of_freedom(expected, own)
    )
