"""Solvers that work on a device against those of the CPU."""

import numpy as np
import pytest
import torch

from cinebold.encoding.estimators import solver_factory
from cinebold.encoding.gpu.solvers import DeviceRidgeSolver
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.solvers.ridge import RidgeSolver
from cinebold.encoding.statistics import accumulate, centred


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


@pytest.mark.parametrize(
    ("estimator", "options"), [("ridge", {}), ("lasso", {}), ("elastic_net", {"l1_ratio": 0.3})]
)
def test_the_factory_puts_solvers_on_the_device(torch_device, monkeypatch, estimator, options):
    """The whole way that a fit takes: choose alphas over folds, then weights; on torch's CPU as on a GPU."""
    rng = np.random.default_rng(1)
    runs = [(rng.normal(size=(50, 9)), rng.normal(size=(50, 12))) for _ in range(3)]
    truth = rng.normal(size=(9, 12)) * (rng.random((9, 12)) < 0.4)
    known = [accumulate(x, y + x @ truth) for x, y in runs]
    whole = centred(known)
    folds = [(centred(known[:i] + known[i + 1 :]), centred([known[i]])) for i in range(3)]
    settings = EncodingSettings(estimator=estimator, **options)
    found = []
    for where in ("cpu", torch_device):
        if where == torch_device == "cpu":
            # As a GPU would be chosen: the factory leaves the plain CPU to the plain solvers.
            where = "cuda"
            for module in ("lasso", "solvers"):
                monkeypatch.setattr(
                    f"cinebold.encoding.gpu.{module}.checked_device", lambda _: torch.device("cpu")
                )
        solver = solver_factory(settings, 9, where)(whole.gram, whole.n)
        grid = np.sort(solver.default_alphas)
        if hasattr(solver, "choose_alphas"):
            index, _ = solver.choose_alphas([a for a, _ in folds], [b for _, b in folds], grid, whole)
        else:
            index = np.full(12, 5)
        found.append((index, solver.weights(whole.cross, whole.total, grid[index])))
    np.testing.assert_array_equal(found[1][0], found[0][0])
    np.testing.assert_allclose(found[1][1], found[0][1], atol=1e-5)
