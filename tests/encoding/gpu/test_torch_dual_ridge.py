"""Dual ridge on a device against dual and primal ridge on the CPU."""

import numpy as np
import pytest

from cinebold.encoding.gpu.dual_ridge import solve_dual_ridge
from cinebold.encoding.solvers import dual_ridge, ridge_path

ALPHAS = np.logspace(-2, 3, 7)


def some_runs(n_features=90, n_targets=21, dtype=np.float64):
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(n_features, n_targets)) * np.logspace(-1.5, 0.5, n_targets)
    x = [5 + rng.normal(size=(n, n_features)) for n in (20, 23, 26)]
    y = [run @ weights + 2 * rng.normal(size=(len(run), n_targets)) + index for index, run in enumerate(x)]
    return [run.astype(dtype) for run in x], [run.astype(dtype) for run in y]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-9)])
@pytest.mark.parametrize("options", [{}, {"scoring": "r"}, {"unit_free": False}, {"centre_runs": False}])
@pytest.mark.parametrize("n_features", [90, 10])
def test_equal_to_the_dual_on_the_cpu(torch_device, monkeypatch, dtype, tolerance, options, n_features):
    monkeypatch.setattr("cinebold.encoding.gpu.dual_ridge._COLUMNS", 32)
    x, y = some_runs(n_features, dtype=dtype)
    expected = dual_ridge.solve_dual_ridge(x, y, ALPHAS, dtype=dtype, **options)
    found = solve_dual_ridge(x, y, ALPHAS, dtype=dtype, device=torch_device, voxel_tile=8, **options)
    np.testing.assert_array_equal(found.alpha_index, expected.alpha_index)
    assert found.weights.dtype == dtype
    scale = np.abs(expected.weights).max()
    np.testing.assert_allclose(found.weights, expected.weights, atol=tolerance * scale)
    np.testing.assert_allclose(found.inner_score, expected.inner_score, atol=tolerance)
    np.testing.assert_allclose(found.intercept, expected.intercept, atol=100 * tolerance * scale)


def test_equal_to_the_primal(torch_device):
    x, y = some_runs()
    expected = ridge_path.solve_ridge_over_runs(x, y, ALPHAS)
    found = solve_dual_ridge(x, y, ALPHAS, device=torch_device)
    np.testing.assert_array_equal(found.alpha_index, expected.alpha_index)
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-8)
